"""`docs/refusals.md` tells the refusals as they are sent, and as five clients show them."""

from __future__ import annotations

import json
import re
import sys
from collections.abc import Callable
from pathlib import Path

import pytest

from douane.core.refusal import ReasonCode, Refusal
from douane.gateway import refusals
from douane.gateway.internals.http1 import error_page
from support.agents import run_agent
from support.policy import policy_folder
from support.product import Product
from support.providers import Providers

ROOT = Path(__file__).parents[2]
PAGE = (ROOT / "docs" / "refusals.md").read_text()


def table(head: str) -> list[list[str]]:
    """The rows of the table whose first column has that name, without their backticks."""
    lines = PAGE.partition(f"\n| {head} | ")[2].split("\n\n")[0].splitlines()[2:]
    rows = [[cell.strip().strip("`") for cell in line[1:-1].split("|")] for line in lines]
    assert rows
    return rows


def test_the_reasons_are_those_of_the_program_in_their_order() -> None:
    shown = [(code, int(status), outcome) for code, status, outcome, *_ in table("code")]
    sent = [(code.value, (r := Refusal(code, "")).status, r.outcome) for code in ReasonCode]
    assert shown == sent


def test_every_reason_says_whether_repeating_helps_and_what_to_do() -> None:
    for code, _, _, means, repeating, then in table("code"):
        assert means, code
        assert re.match(r"(yes|no|not)\b", repeating), code
        assert then, code


def test_the_reasons_that_are_not_sent_are_those_that_no_code_builds() -> None:
    source = "\n".join(path.read_text() for path in (ROOT / "addons" / "douane").rglob("*.py"))
    unused = [code.value for code in ReasonCode if f"ReasonCode.{code.name}" not in source]
    assert [code for code, _, _, means, *_ in table("code") if means.startswith("not sent by this version")] == unused


@pytest.mark.parametrize("code", ReasonCode)
def test_the_example_has_the_shape_of_what_is_sent(code: ReasonCode) -> None:
    example = json.loads(re.search(r"```json\n(.*?)```", PAGE, re.S)[1])  # type: ignore[index]
    response = refusals.response(Refusal(code, "no"), "call", None)
    sent = json.loads(response.content or b"")
    assert list(sent) == list(example)
    assert list(sent["error"]) == list(example["error"])
    assert set(sent["decision"]) <= set(example["decision"])
    assert (response.headers["x-should-retry"], "retry-after" in response.headers) == ("false", False)
    assert f"reason={code}" in response.headers["Douane-Decision"]


def test_details_of_a_decision_are_told() -> None:
    source = (ROOT / "addons" / "douane" / "calls" / "admission.py").read_text()
    details = set(re.findall(r'^ {8}"(\w+)": ', source, re.M)) | set(re.findall(r'details=\{"(\w+)"', source))
    assert {"review_id", "rule", "currentCostUsd"} <= details
    assert [name for name in details if not re.search(rf"`[^`\n]*\b{name}\b[^`]*`", PAGE)] == []


def test_s3_and_ec2_get_xml() -> None:
    for host in ("s3.amazonaws.com", "bucket.s3.eu-west-1.amazonaws.com", "ec2.eu-west-1.amazonaws.com"):
        response = refusals.response(Refusal(ReasonCode.RULE_DENIED, "<no>"), "call", None, host)
        assert response.headers["content-type"] == "application/xml"
        assert b"<Error><Code>rule_denied</Code><Message>&lt;no&gt;</Message><RequestId>call" in (
            response.content or b""
        )


def test_what_is_no_refusal_has_the_status_and_code_that_are_told() -> None:
    assert refusals.proxy_authentication_required().status_code == 407
    shown = {int(status): code for status, code, _ in table("status") if code}
    sent = {}
    for status in (400, 413, 431, 502):
        head, _, body = error_page(status).partition(b"\r\n\r\n")
        assert head.startswith(f"HTTP/1.1 {status} ".encode())
        sent[status] = json.loads(body)["error"]["code"]
    assert shown == sent


@pytest.mark.sdk
def test_each_client_shows_a_refusal_where_the_page_says(
    new_product: Callable[..., Product], providers: Providers, tmp_path: Path
) -> None:
    denied = ["openai.*", "anthropic.*", "stripe.*", "github.*"]
    product = new_product(policy=policy_folder(tmp_path / "policy", deny=denied)).start()
    rows = table("client")
    command = [sys.executable, str(Path(__file__).with_name("refused.py")), json.dumps(rows)]
    shown = run_agent(product, product.agent("coder"), command)
    assert [client for client, *_ in shown] == [client for client, *_ in rows]
    for client, right_error, code, message, decision in shown:
        assert (right_error, code) == (True, "rule_denied"), client
        assert "is denied by the policy (denied-by-the-test): The test says so." in message, client
        assert (decision["outcome"], decision["rule"]) == ("BLOCK", "denied-by-the-test"), client
        assert decision["reason_codes"][0] == "rule_denied", client
    assert len(product.log(kind="refusal")) == len(rows), "no client asked twice"
    assert providers.stand_in.seen() == []
