"""Each provider's own client, unmodified: the events of a direct connection, charged to the nano-dollar as billed."""

from __future__ import annotations

import json
from collections.abc import Iterator

import pytest

from support.agents import AgentProcess, run_agent
from support.models import WORDS
from support.product import Product, base_environment, client, eventually
from support.providers import Providers
from support.relay import Relay

pytestmark = pytest.mark.sdk

CALLS = {
    "openai": 8,
    "anthropic": 3,
    "google": 3,
    "mistral": 3,
    "cohere": 3,
    "groq": 3,
    "bedrock": 4,
}


@pytest.fixture(scope="module")
def relay(running_providers: Providers) -> Iterator[Relay]:
    """What stands for a direct connection: it governs nothing, and changes nothing."""
    relay = Relay(running_providers.stand_in, running_providers.authority.certificate_file)
    yield relay
    relay.stop()


@pytest.mark.parametrize("name", CALLS)
def test_a_client_gets_what_a_direct_connection_gives_and_is_charged_what_is_billed(
    product: Product, providers: Providers, relay: Relay, name: str
) -> None:
    command = client(f"all_{name}.py")
    direct = AgentProcess(command, base_environment(product.home) | relay.agent.environment()).rest()
    assert len(direct) == providers.bill.count() == CALLS[name]
    asked_for_directly = providers.stand_in.seen("POST")
    billed_nano = providers.bill.total_nano()
    providers.forget()

    agent = product.agent(f"all-{name}", cap_usd="20")
    governed = run_agent(product, agent, command)
    for got, expected in zip(governed, direct, strict=True):
        assert got == expected, expected["call"]
        if "raw" not in got["call"] and "embed" not in got["call"]:
            assert all(word in json.dumps(got) for word in WORDS)
    assert len(providers.stand_in.seen("POST")) == len(asked_for_directly)
    assert providers.bill.total_nano() == billed_nano

    eventually(lambda: product.spend(agent.name)["reserved_usd"] == 0, "the end of every reservation")
    charges = product.log(kind="result", agent=agent.name)
    assert round(product.spend(agent.name)["settled_usd"] * 1e9) == billed_nano, charges


def test_only_a_client_that_asked_for_usage_sees_any(product: Product, providers: Providers) -> None:
    got = {
        line["call"]: line["events"]
        for line in run_agent(product, product.agent("usage-openai", cap_usd="20"), client("all_openai.py"))
    }
    assert len(got["chat stream with usage"]) == len(got["chat stream"]) + 1
    assert not any("usage" in chunk for chunk in got["chat stream"])
    assert all(chunk["choices"] for chunk in got["chat stream"])
    assert '"usage"' not in got["chat stream raw"][0]
    asked = [json.loads(seen.body) for seen in providers.stand_in.seen("POST", "/v1/chat/completions")]
    assert [body["stream_options"]["include_usage"] for body in asked if body.get("stream")] == [True] * 4
