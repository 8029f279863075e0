"""Real clients, configured by their environment only, work through the product and stream as the provider sends."""

from __future__ import annotations

import json
import subprocess
from collections.abc import Callable
from pathlib import Path

import pytest

from support.agents import QUIET_GIT, AgentProcess, run_agent, start_agent, start_under_run
from support.bill import NANO_PER_TOKEN
from support.models import WORDS
from support.product import Product, base_environment, client, eventually
from support.providers import Providers
from support.tools import need, need_node

pytestmark = pytest.mark.sdk

type Starter = Callable[..., AgentProcess]
MODELS = [("openai_chat.py", "gpt-4.1-mini"), ("anthropic_messages.py", "claude-haiku-4-5")]


@pytest.mark.parametrize("start", [start_agent, start_under_run], ids=["exports", "douane-run"])
@pytest.mark.parametrize(("script", "model"), MODELS)
def test_model_clients_work_and_are_charged_what_the_provider_bills(
    product: Product, providers: Providers, script: str, model: str, start: Starter
) -> None:
    agent = product.agent(f"{Path(script).stem.replace('_', '-')}-{start.__name__.replace('_', '-')}", cap_usd="5")
    assert start(product, agent, client(script)).rest() == [{"text": "".join(WORDS), "tokens": 500}]
    price = NANO_PER_TOKEN[model]
    charged_usd = (1_000 * price[0] + 500 * price[1]) / 1e9
    assert providers.bill.total_nano() == round(charged_usd * 1e9)
    eventually(lambda: product.spend(agent.name)["settled_usd"] == pytest.approx(charged_usd, abs=1e-12), "the charge")
    eventually(lambda: product.spend(agent.name)["reserved_usd"] == 0, "the reservation's end")


@pytest.mark.parametrize(("script", "model"), MODELS)
def test_streams_arrive_chunk_by_chunk(product: Product, providers: Providers, script: str, model: str) -> None:
    """Each chunk reaches the client before the provider is allowed to make the next one."""
    agent = product.agent(f"stream-{Path(script).stem.replace('_', '-')}", cap_usd="5")
    pace = providers.stand_in.pace
    pace.close()
    running = start_agent(product, agent, [*client(script), "--stream"])
    try:
        got = []
        pace.release(1)  # the head
        if script.startswith("openai"):
            assert running.next()["delta"] == ""
        else:
            pace.release(2)  # content_block_start, ping
        for word in WORDS:
            pace.release(1)
            got.append(running.next()["delta"])
            assert got[-1] == word
        pace.open()
        rest = running.rest()
    finally:
        pace.open()
        running.kill()
    assert got == list(WORDS)
    if script.startswith("openai"):  # the client did not ask for usage, and sees none
        assert not any(line["usage"] for line in rest)
        assert json.loads(providers.stand_in.seen("POST")[0].body)["stream_options"]["include_usage"] is True
    else:
        assert rest == [{"tokens": 500}]
    eventually(
        lambda: product.spend(agent.name)["settled_usd"] == pytest.approx(providers.bill.total_nano() / 1e9, abs=1e-12),
        "the charge of the stream",
    )


def test_stripe_charges(product: Product, providers: Providers) -> None:
    calls = json.dumps([["charges", "create", {"amount": 9999, "currency": "usd", "source": "tok_visa"}]])
    made = run_agent(product, product.agent("shop"), [*client("stripe_money.py"), calls])
    assert [line.get("id", line)[:2] for line in made] == ["ch"]
    assert len(providers.stand_in.seen("POST", "/v1/charges")) == 1


def test_pygithub_reads(product: Product, providers: Providers) -> None:
    code = "import github; print(github.Github(auth=github.Auth.Token('t')).get_repo('acme/website').id)"
    assert run_agent(product, product.agent("reader"), [client("x")[0], "-c", code]) == [1296269]
    assert len(providers.stand_in.seen("GET", "/repos/acme/website")) == 1


def test_curl(product: Product, providers: Providers) -> None:
    command = [need("curl"), "-sS", "--fail", "https://api.github.com/user"]
    assert run_agent(product, product.agent("curl"), command)[0]["login"] == "octocat"
    seen = providers.stand_in.seen("GET", "/user")
    assert len(seen) == 1
    assert seen[0].header("proxy-authorization") is None


@pytest.mark.parametrize("start", [start_agent, start_under_run], ids=["exports", "douane-run"])
def test_git_clones(product: Product, providers: Providers, tmp_path: Path, start: Starter) -> None:
    command = [need("git"), "clone", "-q", "https://github.com/acme/website", str(tmp_path / "clone")]
    assert start(product, product.agent("git"), command, **QUIET_GIT).rest() == []
    assert (tmp_path / "clone" / "README.md").read_text() == "hello\n"
    assert not product.reviews("pending")


@pytest.mark.parametrize("start", [start_agent, start_under_run], ids=["exports", "douane-run"])
def test_node_fetch_streams(product: Product, providers: Providers, start: Starter) -> None:
    pace = providers.stand_in.pace
    agent = product.agent("node", cap_usd="5")
    pace.close()
    running = start(product, agent, [need_node(), client("fetch.mjs")[1]])
    try:
        pace.release(1)
        first = running.next()
        pace.open()
        rest = running.rest()
    finally:
        pace.open()
        running.kill()
    assert first["status"] == 200
    text = "".join(line["chunk"] for line in [first, *rest])
    assert text.rstrip().endswith("data: [DONE]")
    assert '"usage"' not in text


def test_an_agent_without_a_key_gets_407(product: Product, providers: Providers) -> None:
    product.agent("somebody")
    command = [need("curl"), "-sS", "-o", "-", "-w", "%{http_connect}", "https://api.github.com/user"]
    proxy = f"http://somebody:wrong@127.0.0.1:{product.proxy_port}"
    environment = base_environment(product.home) | {"HTTPS_PROXY": proxy, "CURL_CA_BUNDLE": str(product.ca)}
    done = subprocess.run(command, env=environment, capture_output=True, text=True, timeout=60, check=False)
    assert done.returncode != 0
    assert "407" in done.stdout
    assert providers.stand_in.connections == 0
