"""OpenAI's Realtime API through the product: its own client, configured by its environment only."""

from __future__ import annotations

import json
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

from support.agents import AgentProcess, run_agent, start_agent
from support.policy import policy_folder
from support.product import Agent, Product, client, eventually
from support.providers import Providers
from support.wire import Wire, request

pytestmark = pytest.mark.sdk

CLIENT = client("openai_realtime.py")
WORST_NANO = 32_768 * 32_000 + 4_096 * 64_000
"""Of one response of `gpt-realtime`: its window in audio, its longest answer in audio."""
DONE = {"event": "response.done"}
CREATED = {"event": "response.created"}
HANDSHAKE = (
    "Connection: Upgrade",
    "Upgrade: websocket",
    "Sec-WebSocket-Version: 13",
    "Sec-WebSocket-Key: dGhlIHNhbXBsZSBub25jZQ==",
)


def settled_nano(product: Product, agent: Agent) -> int:
    """Waits until nothing is reserved: the socket has its result."""
    eventually(lambda: product.spend(agent.name)["reserved_usd"] == 0, "the last reservation's end")
    eventually(lambda: not product.api("GET", "/v1/health").body["open_calls"], "the socket's result")
    return round(product.spend(agent.name)["settled_usd"] * 1e9)


def results(product: Product, agent: Agent) -> tuple[dict[str, Any], list[dict[str, Any]]]:
    """(the socket's own result, those of its responses)."""
    intents = product.log(kind="intent", agent=agent.name)
    found = {record["call_id"]: record for record in product.log(kind="result", agent=agent.name)}
    assert sorted(found) == sorted(intent["call_id"] for intent in intents), "an intent without its one result"
    (socket,) = [intent for intent in intents if "socket" not in intent]
    parts = [intent for intent in intents if "socket" in intent]
    assert {part["socket"] for part in parts} == {socket["call_id"]}
    assert socket["reserve_nano"] == 0
    return found[socket["call_id"]], [found[part["call_id"]] for part in parts]


def wait_for(running: AgentProcess, event: dict[str, Any]) -> None:
    while running.next() != event:
        pass


def test_text_turns_are_charged_as_the_provider_bills_them(product: Product, providers: Providers) -> None:
    agent = product.agent("texter", cap_usd="2")
    told = run_agent(product, agent, [*CLIENT, "turns", "3", "0"])
    assert told == [CREATED, DONE] * 3 + [{"end": "turns"}]
    assert settled_nano(product, agent) == providers.bill.total_nano() > 0
    socket, parts = results(product, agent)
    assert (socket["outcome"], socket["status"], "charge_nano" in socket) == ("completed", 101, False)
    assert [part["charge_nano"] for part in parts] == [providers.bill.total_nano() // 3] * 3
    assert not any(part["estimated"] for part in parts)
    (seen,) = providers.stand_in.seen(path="/v1/realtime")
    assert seen.header("sec-websocket-extensions") is None
    items = [event["item"] for event in providers.realtime.got if event["type"] == "conversation.item.create"]
    assert {item["content"][0]["text"] for item in items} == {"Grüße, 世界"}


def test_audio_turns_and_their_transcripts_are_charged_too(product: Product, providers: Providers) -> None:
    agent = product.agent("speaker", cap_usd="10")
    session = {"type": "realtime", "audio": {"input": {"transcription": {"model": "whisper-1"}}}}
    told = run_agent(product, agent, [*CLIENT, "turns", "1", "2"], SESSION=json.dumps(session))
    heard = {"event": "conversation.item.input_audio_transcription.completed"}
    assert told == [CREATED, DONE, heard, CREATED, DONE, heard, CREATED, DONE, {"end": "turns"}]
    assert settled_nano(product, agent) == providers.bill.total_nano() > 0
    _, parts = results(product, agent)
    assert sorted(part["charge_nano"] for part in parts if part["charge_nano"])[:2] == [300_000, 300_000]


def test_a_socket_that_reaches_the_cap_is_told_and_closed(product: Product, providers: Providers) -> None:
    agent = product.agent("spender", cap_usd="1.33")
    told = run_agent(product, agent, [*CLIENT, "loop"])
    done = told.count(DONE)
    bill_nano = providers.bill.total_nano()
    assert bill_nano + WORST_NANO > 1_330_000_000, "cut before its time"
    assert bill_nano == settled_nano(product, agent) <= 1_330_000_000
    assert told[2 * done :] == [
        {"error": "cost_limit_exceeded", "type": "cost_limit_exceeded"},
        {"closed": 1008, "reason": "cost_limit_exceeded"},
    ]
    assert [event["type"] for event in providers.realtime.got].count("response.create") == done
    (refusal,) = product.log(kind="refusal", agent=agent.name)
    assert refusal["code"] == "cost_limit_exceeded"
    socket, _ = results(product, agent)
    assert socket["outcome"] == "aborted"
    refused = {"refused": 403, "body": "cost_limit_exceeded"}
    assert run_agent(product, agent, [*CLIENT, "turns", "1", "0"]) == [refused], "no room for a first response"


def test_a_response_in_flight_counts_at_its_worst_when_its_client_leaves(
    product: Product, providers: Providers
) -> None:
    agent = product.agent("leaver", cap_usd="5")
    providers.stand_in.pace.close()
    running = start_agent(product, agent, [*CLIENT, "loop"])
    try:
        providers.stand_in.pace.release()
        wait_for(running, DONE)
        wait_for(running, CREATED)
    finally:
        running.kill()
    assert settled_nano(product, agent) == providers.bill.total_nano() + WORST_NANO
    _, parts = results(product, agent)
    assert [(part["outcome"], part["estimated"]) for part in parts] == [("completed", False), ("aborted", True)]


def test_a_response_that_the_provider_breaks_off_counts_at_its_worst(product: Product, providers: Providers) -> None:
    agent = product.agent("forsaken", cap_usd="5")
    providers.realtime.aborts_after_created = True
    told = run_agent(product, agent, [*CLIENT, "turns", "1", "0"])
    assert told == [CREATED, {"closed": None, "reason": None}], "a broken connection must not look like an end"
    assert settled_nano(product, agent) == WORST_NANO
    socket, (part,) = results(product, agent)
    assert (socket["outcome"], part["outcome"], part["estimated"]) == ("aborted", "aborted", True)


def test_a_response_that_outruns_its_reservation_cuts_the_socket(product: Product, providers: Providers) -> None:
    agent = product.agent("outrun", cap_usd="50")
    providers.realtime.overcharges = 1_000
    told = run_agent(product, agent, [*CLIENT, "loop"])
    assert told == [CREATED, DONE, {"closed": 1008, "reason": "cost_limit_exceeded"}]
    assert settled_nano(product, agent) == providers.bill.total_nano() > WORST_NANO
    _, (part,) = results(product, agent)
    assert part["overrun_nano"] == providers.bill.total_nano() - WORST_NANO


@pytest.mark.faults
def test_a_killed_node_settles_what_was_reserved(new_product: Callable[..., Product], providers: Providers) -> None:
    product = new_product().start()
    agent = product.agent("orphan", cap_usd="5")
    providers.stand_in.pace.close()
    running = start_agent(product, agent, [*CLIENT, "loop"])
    try:
        providers.stand_in.pace.release()
        wait_for(running, DONE)
        wait_for(running, CREATED)
        product.kill()
        assert running.next() == {"closed": None, "reason": None}
    finally:
        running.kill()
    product.start()
    spend = product.spend(agent.name)
    assert spend["reserved_usd"] == 0
    assert round(spend["settled_usd"] * 1e9) == providers.bill.total_nano() + WORST_NANO
    socket, parts = results(product, agent)
    assert [socket["outcome"], *(part["outcome"] for part in parts)] == ["unknown", "completed", "unknown"]


def test_a_stopping_node_cuts_sockets_and_records_their_results(
    new_product: Callable[..., Product], providers: Providers
) -> None:
    product = new_product().start()
    agent = product.agent("late", cap_usd="5")
    providers.stand_in.pace.close()
    running = start_agent(product, agent, [*CLIENT, "loop"])
    try:
        wait_for(running, CREATED)
        assert product.stop() == 0
        assert running.next() == {"closed": None, "reason": None}
    finally:
        running.kill()
    product.start()
    _, (part,) = results(product, agent)
    assert (part["outcome"], part["charge_nano"], part["estimated"]) == ("aborted", WORST_NANO, True)


def test_a_suspended_agents_socket_ends_with_its_next_message(product: Product, providers: Providers) -> None:
    agent = product.agent("gone", cap_usd="5")
    providers.stand_in.pace.close()
    running = start_agent(product, agent, [*CLIENT, "loop"])
    try:
        wait_for(running, CREATED)
        product.run("agent", "suspend", "gone")
        providers.stand_in.pace.open()
        assert {"error": "agent_unknown", "type": "agent_unknown"} in running.rest()
    finally:
        running.kill()
    assert len([event for event in providers.realtime.got if event["type"] == "response.create"]) == 1


@pytest.mark.parametrize(
    "session",
    [
        {"type": "realtime", "tools": [{"type": "mcp", "server_label": "x", "server_url": "https://x.example"}]},
        {"type": "realtime", "prompt": {"id": "pmpt_1"}},
        {"type": "realtime", "audio": {"input": {"transcription": {"model": "nobody-knows"}}}},
        {"type": "transcription"},
    ],
    ids=["mcp", "prompt", "transcripts", "another-session"],
)
def test_what_cannot_be_bounded_cuts_the_socket_before_it_is_sent(
    product: Product, providers: Providers, session: dict[str, Any]
) -> None:
    agent = product.agent("clever", cap_usd="5")
    told = run_agent(product, agent, [*CLIENT, "turns", "1", "0"], SESSION=json.dumps(session))
    assert told[0] == {"error": "model_unpriced", "type": "model_unpriced"}
    assert providers.realtime.got == []


@pytest.mark.parametrize(
    ("host", "target", "code"),
    [
        ("api.openai.com", "/v1/realtime?model=no-such-model", "model_unpriced"),
        ("api.openai.com", "/v1/realtime", "model_unpriced"),
        ("api.openai.com", "/v1/realtime?model=gpt-realtime&call_id=rtc_1", "model_unpriced"),
        ("api.openai.com", "/v1/responses", "protocol_forbidden"),
        ("api.openai.com", "/v1/realtime/?model=gpt-realtime", "protocol_forbidden"),
        ("api.openai.com", "/v1/%72ealtime?model=gpt-realtime", "protocol_forbidden"),
        ("api.github.com", "/v1/realtime?model=gpt-realtime", "protocol_forbidden"),
    ],
)
@pytest.mark.parametrize("cap", ["5", None], ids=["capped", "uncapped"])
def test_other_sockets_are_refused_before_the_upgrade(
    new_product: Callable[..., Product],
    product: Product,
    providers: Providers,
    host: str,
    target: str,
    code: str,
    cap: str | None,
) -> None:
    agent = product.agent("wire" if cap else "wire-uncapped", cap_usd=cap)
    with Wire.tunnel(agent, product.proxy_address, host) as wire:
        answer = wire.ask(request("GET", host, target, b"", *HANDSHAKE))
    assert (answer.status, answer.code) == (403, code)
    assert providers.stand_in.seen() == []


@pytest.mark.parametrize(
    "fields",
    [
        (*HANDSHAKE[:3], "Sec-WebSocket-Key: AAAA"),
        (*HANDSHAKE, "Upgrade: websocket"),
        (HANDSHAKE[0], "Upgrade: h2c, websocket", *HANDSHAKE[2:]),
        (*HANDSHAKE[:2], "Sec-WebSocket-Version: 8", HANDSHAKE[3]),
        (*HANDSHAKE[1:],),
    ],
    ids=["short-key", "two-upgrades", "two-protocols", "old-version", "no-connection"],
)
def test_odd_handshakes_are_refused(product: Product, providers: Providers, fields: tuple[str, ...]) -> None:
    agent = product.agent("odd", cap_usd="5")
    with Wire.tunnel(agent, product.proxy_address, "api.openai.com") as wire:
        answer = wire.ask(request("GET", "api.openai.com", "/v1/realtime?model=gpt-realtime", b"", *fields))
    assert (answer.status, answer.code) == (403, "protocol_forbidden")
    assert providers.stand_in.seen() == []


def test_denied_by_the_policy_is_denied(
    new_product: Callable[..., Product], providers: Providers, tmp_path: Path
) -> None:
    product = new_product(policy=policy_folder(tmp_path / "policy", deny=["openai.realtime.connect"])).start()
    agent = product.agent("denied", cap_usd="5")
    with Wire.tunnel(agent, product.proxy_address, "api.openai.com") as wire:
        answer = wire.ask(request("GET", "api.openai.com", "/v1/realtime?model=gpt-realtime", b"", *HANDSHAKE))
    assert (answer.status, answer.code) == (403, "rule_denied")
    assert providers.stand_in.seen() == []
