"""`douane catalog`: what it finds, shows and matches, for people and for machines."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import pytest
from click.testing import CliRunner

from douane.cli.main import cli


def run(*words: str, code: int = 0) -> str:
    result = CliRunner().invoke(cli, ["catalog", *words], catch_exceptions=False)
    assert result.exit_code == code, result.output
    return result.output


def matched(*words: str) -> dict[str, Any]:
    told: dict[str, Any] = json.loads(run("match", *words, "--json"))
    return told


def test_a_search_lists_tools_with_all_words() -> None:
    assert "aws.ec2.TerminateInstances" in run("search", "EC2", "terminate")
    found = [json.loads(line) for line in run("search", "github.repos.", "--tier", "visible", "--json").splitlines()]
    assert {entry["tier"] for entry in found} == {"visible"}
    assert "no such tool" in run("search", "no-such-word")
    assert "more: add a word" in run("search", "delete", "--limit", "3")


def test_a_tool_is_shown_with_routes_tier_and_why() -> None:
    told = run("show", "github.repos.delete")
    for expected in ("irreversible", "DELETE /repos/{owner}/{repo}", "owner, repo", "2026-11-23", "api.github.com"):
        assert expected in told
    assert "where form Action is TerminateInstances" in run("show", "aws.ec2.TerminateInstances")
    assert json.loads(run("show", "stripe.charges.create", "--json"))["tier"] == "visible"
    assert "no tool github.repos.destroy" in run("show", "github.repos.destroy", code=1)


@pytest.mark.parametrize(
    ("words", "tool", "tier"),
    [
        (["DELETE", "https://bucket.s3.amazonaws.com/a.csv"], "aws.s3.DeleteObject", "irreversible"),
        (["POST", "https://slack.com/api/chat.delete", "--data", "channel=C1"], "slack.chat.delete", "irreversible"),
        (
            ["POST", "https://dynamodb.eu-west-1.amazonaws.com/", "--data", "{}",
             "--header", "X-Amz-Target: DynamoDB_20120810.DeleteTable"], "aws.dynamodb.DeleteTable", "irreversible",
        ),
        (["GET", "https://www.googleapis.com/drive/v3/files/x"], "google.drive.files.get", "reversible"),
        (["POST", "https://example.com/x"], "unmapped.post", "visible"),
    ],
)  # fmt: skip
def test_a_request_is_matched(words: list[str], tool: str, tier: str) -> None:
    told = matched(*words)
    assert (told["tool"], told["tier"]) == (tool, tier)
    assert tool in run("match", *words)


def test_a_request_that_could_be_two_is_refused_with_exit_0() -> None:
    words = ("GET", "https://api.github.com/repos/acme/../x")
    assert matched(*words) == {"refused": "request_ambiguous", "why": "a dot segment in the path"}
    assert "refused" in run("match", *words)


def test_arguments_are_typed_and_secrets_are_not_shown() -> None:
    told = matched("POST", "https://api.stripe.com/v1/charges", "--data", "amount=900&currency=usd")
    assert told["arguments"] == {"amount": 900, "currency": "usd"}
    shown = run("match", "POST", "https://api.github.com/user/repos", "--data", '{"token": "ghp_secret"}')
    assert "ghp_secret" not in shown


def test_the_operators_overlay_counts(tmp_path: Path) -> None:
    folder = tmp_path / "catalog"
    folder.mkdir()
    (folder / "own.yaml").write_text("tools:\n  github.issues.create: {tier: irreversible, reason: mailed}\n")
    words = ("POST", "https://api.github.com/repos/a/b/issues", "--policy", str(tmp_path))
    assert matched(*words)["tier"] == "irreversible"
    (folder / "own.yaml").write_text("tools:\n  github.issues.create: {tier: harmless}\n")
    assert "no tier `harmless`" in run("match", *words, code=2)


def test_a_url_that_is_none_is_a_mistake() -> None:
    assert "not an http" in run("match", "GET", "ftp://x", code=2)
