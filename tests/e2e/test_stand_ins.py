"""The stand-ins behave as the providers do: the real clients are content with them when nothing is in between."""

from __future__ import annotations

import json
import os
import subprocess
from collections.abc import Iterator
from pathlib import Path

import pytest

from support.models import WORDS
from support.product import client
from support.providers import Providers
from support.relay import Relay
from support.tools import need, need_node

pytestmark = pytest.mark.sdk


@pytest.fixture
def direct(providers: Providers) -> Iterator[Relay]:
    relay = Relay(providers.stand_in, providers.authority.certificate_file)
    yield relay
    relay.stop()


def run(relay: Relay, command: list[str], **variables: str) -> list[dict]:
    environment = os.environ | relay.agent.environment() | variables
    done = subprocess.run(command, env=environment, capture_output=True, text=True, timeout=60, check=False)
    assert done.returncode == 0, done.stderr
    return [json.loads(line) for line in done.stdout.splitlines()]


@pytest.mark.parametrize("script", ["openai_chat.py", "anthropic_messages.py"])
def test_model_clients_read_json_and_streams(direct: Relay, providers: Providers, script: str) -> None:
    assert run(direct, client(script)) == [{"text": "".join(WORDS), "tokens": 500}]
    streamed = run(direct, [*client(script), "--stream"])
    assert "".join(line.get("delta") or "" for line in streamed) == "".join(WORDS)
    assert providers.bill.count() == 2


def test_pygithub_deletes(direct: Relay, providers: Providers) -> None:
    assert run(direct, [*client("github_delete.py"), "acme/legacy-billing"]) == [{"deleted": "acme/legacy-billing"}]
    assert len(providers.stand_in.seen("DELETE")) == 1


def test_stripe_makes_charges(direct: Relay, providers: Providers) -> None:
    calls = json.dumps([["charges", "create", {"amount": 9999, "currency": "usd", "source": "tok_visa"}]])
    made = run(direct, [*client("stripe_money.py"), calls])
    assert [line["id"][:2] for line in made] == ["ch"]
    assert b"amount=9999" in providers.stand_in.seen("POST", "/v1/charges")[0].body


def test_git_clones(direct: Relay, providers: Providers, tmp_path: Path) -> None:
    command = [need("git"), "clone", "-q", "https://github.com/acme/website", str(tmp_path / "clone")]
    run(direct, command, GIT_CONFIG_NOSYSTEM="1", GIT_CONFIG_GLOBAL=os.devnull)
    assert (tmp_path / "clone" / "README.md").read_text() == "hello\n"


def test_node_fetches_a_stream(direct: Relay, providers: Providers) -> None:
    lines = run(direct, [need_node(), str(Path(client("fetch.mjs")[1]))])
    assert "[DONE]" in "".join(line["chunk"] for line in lines)
