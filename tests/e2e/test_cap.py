"""A cap is a cap: no interleaving of parallel loops overshoots it, and it is no wall before its time."""

from __future__ import annotations

import json
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

import pytest

from support.agents import run_agent
from support.policy import policy_folder
from support.product import Agent, Product, client, eventually
from support.providers import INFERENCE, Providers
from support.wire import Answer, Wire, request

CAP_NANO = 50_000_000
CALL_NANO = 1_200_000
"""What the stand-in bills for a call to gpt-4.1-mini: 1,000 tokens in, 500 out."""
CHAT = json.dumps(
    {"model": "gpt-4.1-mini", "max_tokens": 500, "messages": [{"role": "user", "content": "hi"}]}
).encode()


def chat(product: Product, agent: Agent, body: bytes = CHAT) -> Answer:
    with Wire.tunnel(agent, product.proxy_address, "api.openai.com", timeout=60) as wire:
        fields = ("Authorization: Bearer sk-wire", "Content-Type: application/json")
        return wire.ask(request("POST", "api.openai.com", "/v1/chat/completions", body, *fields))


def test_parallel_loops_spend_up_to_the_cap_and_no_further(product: Product, providers: Providers) -> None:
    agent, other = product.agent("spender", cap_usd="0.05"), product.agent("frugal", cap_usd="0.05")
    loops = run_agent(product, agent, [*client("openai_loops.py"), "20", "100"])
    assert len(loops) == 20
    bill_nano = providers.bill.total_nano()
    seen = len(providers.stand_in.seen("POST"))
    assert bill_nano <= CAP_NANO
    first = min(loop["decision"]["currentCostUsd"] for loop in loops)
    assert 0.8 * 0.05 <= first <= 0.05, "refused before its time"
    assert bill_nano >= 0.8 * CAP_NANO
    for loop in loops:
        assert (loop["status"], loop["type"]) == (403, "PermissionDeniedError")
        assert loop["decision"]["reason_codes"][0] == "cost_limit_exceeded"
        assert loop["decision"]["thresholdUsd"] == 0.05
        assert loop["decision"]["windowMs"] == 86_400_000
        assert loop["retried"] == "0"
    assert sum(loop["done"] for loop in loops) == seen == providers.bill.count()
    eventually(lambda: product.spend("spender")["reserved_usd"] == 0, "the last reservation's end")
    assert product.spend("spender")["settled_usd"] == pytest.approx(bill_nano / 1e9, abs=1e-12)
    assert product.spend("spender")["source"] == "agent"

    assert chat(product, agent).code == "cost_limit_exceeded"
    assert len(providers.stand_in.seen("POST")) == seen, "a refused call reached the provider"
    assert chat(product, other).status == 200
    refusals = [record for record in product.log(kind="refusal", agent="spender") if "cost_limit" in str(record)]
    assert refusals


def test_a_loop_that_needs_less_than_the_cap_is_never_refused(product: Product, providers: Providers) -> None:
    """36 calls, 20 at a time, need $0.0432: those whose worst case does not fit beside the others wait."""
    agent = product.agent("modest", cap_usd="0.05")
    providers.stand_in.pace.close()
    with ThreadPoolExecutor(20) as pool:
        running = [pool.submit(chat, product, agent) for _ in range(36)]
        providers.stand_in.wait_for(lambda: len(providers.stand_in.seen()) >= 8, "calls beside each other")
        providers.stand_in.pace.open()
        answers = [future.result(90) for future in running]
    assert [answer.status for answer in answers] == [200] * 36
    assert providers.bill.total_nano() == 36 * CALL_NANO


@pytest.mark.parametrize("reservation", ["worst_case", "typical"])
def test_a_policy_may_set_aside_what_is_typical(
    new_product: Callable[..., Product], providers: Providers, tmp_path: Path, reservation: str
) -> None:
    """Calls that may cost over $0.03 and do cost $0.00012, under a cap of $0.05: one at a time, or ten at once."""
    product = new_product(policy=policy_folder(tmp_path / "policy", cap_usd="0.05", reservation=reservation)).start()
    agent = product.agent("hasty")
    providers.bill.input_tokens, providers.bill.output_tokens = 100, 50
    body = CHAT.replace(b'"max_tokens": 500', b'"max_tokens": 15000')
    assert [chat(product, agent, body).status for _ in range(20)] == [200] * 20
    providers.stand_in.pace.close()
    with ThreadPoolExecutor(10) as pool:
        running = [pool.submit(chat, product, agent, body) for _ in range(10)]
        beside = 10 if reservation == "typical" else 1
        providers.stand_in.wait_for(lambda: len(providers.stand_in.seen()) >= 20 + beside, "calls beside each other")
        if reservation == "worst_case":
            eventually(lambda: product.spend("hasty")["reserved_usd"] > 0.03, "the reservation of one call")
            assert len(providers.stand_in.seen()) == 21
        providers.stand_in.pace.open()
        answers = [future.result(90) for future in running]
    assert [answer.status for answer in answers] == [200] * 10
    reserved = [record["reserve_nano"] for record in product.log(kind="intent")][-10:]
    assert all((nano == 120_000) is (reservation == "typical") for nano in reserved), reserved


def test_agents_that_share_a_budget_spend_it_together(
    new_product: Callable[..., Product], providers: Providers, tmp_path: Path
) -> None:
    folder = policy_folder(tmp_path / "policy", cap_usd="1")
    shared = "budgets:\n  - {shared: pair, cap: $0.05, window: 1h, exempt: [apart]}\n"
    (folder / "shared.yaml").write_text(shared)
    product = new_product(policy=folder).start()
    pair = [product.agent("left"), product.agent("right")]

    told: list[str] = []

    def until_refused(agent: Agent) -> Answer:
        while (answer := chat(product, agent)).status == 200:
            told.append(answer.header("douane-budget") or "")
        return answer

    with ThreadPoolExecutor(2) as pool:
        refused = list(pool.map(until_refused, pair))
    assert any("budget=pair" in line for line in told), told
    for answer in refused:
        assert (answer.code, answer.decision["budget"]) == ("cost_limit_exceeded", "pair")
        assert answer.decision["thresholdUsd"] == 0.05
    assert 40_000_000 <= providers.bill.total_nano() <= 50_000_000
    assert chat(product, product.agent("apart")).status == 200
    rows = {row["agent"]: row for row in json.loads(product.run("spend", "--json").stdout)}
    assert rows["@pair"]["settled_nano"] == rows["left"]["settled_nano"] + rows["right"]["settled_nano"]
    assert rows["apart"]["settled_nano"] == CALL_NANO
    assert next(r["warned_percent"] for r in product.log(kind="intent") if "warned_percent" in r) == 50


@pytest.mark.parametrize("stream", [False, True], ids=["json", "sse"])
def test_anthropic_is_capped_too(product: Product, providers: Providers, stream: bool) -> None:
    agent = product.agent("claude-sse" if stream else "claude-json", cap_usd="0.02")
    wanted = {"model": "claude-haiku-4-5", "max_tokens": 500, "messages": [{"role": "user", "content": "hi"}]}
    body = json.dumps(wanted | ({"stream": True} if stream else {})).encode()
    fields = ("x-api-key: sk-ant-wire", "anthropic-version: 2023-06-01", "Content-Type: application/json")
    answer = None
    with Wire.tunnel(agent, product.proxy_address, "api.anthropic.com") as wire:
        for _ in range(10):
            answer = wire.ask(request("POST", "api.anthropic.com", "/v1/messages", body, *fields))
            if answer.status != 200:
                break
    assert answer is not None
    assert answer.code == "cost_limit_exceeded"
    assert 0 < providers.bill.total_nano() <= 20_000_000


@pytest.mark.parametrize(
    ("host", "path", "body"),
    [
        (
            "generativelanguage.googleapis.com",
            "/v1beta/models/veo-3.0-generate-001:predictLongRunning",
            {"instances": [{"prompt": "a cat"}]},
        ),
        (
            "generativelanguage.googleapis.com",
            "/v1beta/models/gemini-9-none:generateContent",
            {"contents": [{"parts": [{"text": "hi"}]}]},
        ),
        (INFERENCE, "/v1/chat/completions", {"model": "m", "messages": []}),
        (INFERENCE, "/anything", {"model": "m", "messages": [{"role": "user", "content": "hi"}]}),
        (
            "api.openai.com",
            "/v1/responses",
            {"model": "gpt-4.1-mini", "input": "hi", "tools": [{"type": "web_search"}]},
        ),
        ("api.openai.com", "/v1/threads/thread_1/runs", {"assistant_id": "asst_1"}),
        ("api.openai.com", "/v1/chat/completions", {"model": "no-such-model-9", "messages": []}),
    ],
)
def test_a_capped_agent_cannot_turn_to_what_cannot_be_metered(
    product: Product, providers: Providers, host: str, path: str, body: dict[str, object]
) -> None:
    agent = product.agent("roamer", cap_usd="0.05")
    with Wire.tunnel(agent, product.proxy_address, host) as wire:
        answer = wire.ask(request("POST", host, path, json.dumps(body).encode(), "Content-Type: application/json"))
    assert (answer.status, answer.code) == (403, "model_unpriced")
    assert providers.stand_in.seen(host=host) == []


def test_near_the_cap_an_answer_is_made_shorter_and_then_refused(product: Product, providers: Providers) -> None:
    agent = product.agent("brief", cap_usd="0.03")
    whole = json.loads(CHAT) | {"max_tokens": 8_000}
    body = json.dumps(whole).encode()
    limits = []
    while (answer := chat(product, agent, body)).status == 200:
        limits.append(int(answer.header("douane-output-limit") or 8_000))
        assert json.loads(providers.stand_in.seen("POST")[-1].body) == whole | {"max_tokens": limits[-1]}
    assert answer.code == "cost_limit_exceeded"
    assert limits[0] == 8_000, "nothing is touched while there is room"
    assert limits == sorted(limits, reverse=True)
    assert 1_024 <= limits[-1] < 8_000
    assert 22_000_000 < providers.bill.total_nano() <= 30_000_000
    clamped = [record for record in product.log(kind="intent", agent="brief") if "output_clamped" in str(record)]
    assert len(clamped) == len([limit for limit in limits if limit < 8_000])

    billed = providers.bill.total_nano()
    for changed in ({"response_format": {"type": "json_object"}}, {"model": "gpt-5", "max_completion_tokens": 8_000}):
        careful = product.agent(f"careful{len(changed)}", cap_usd="0.01")
        assert chat(product, careful, json.dumps(whole | changed).encode()).code == "cost_limit_exceeded"
    assert providers.bill.total_nano() == billed


def test_a_stream_that_outruns_its_reservation_is_cut(product: Product, providers: Providers) -> None:
    """The provider reports a thousand times what a body so small can have."""
    agent = product.agent("victim", cap_usd="1")
    providers.bill.input_tokens = 100_000
    wanted = {"model": "claude-haiku-4-5", "max_tokens": 500, "messages": [{"role": "user", "content": "hi"}]}
    fields = ("x-api-key: sk-ant-wire", "anthropic-version: 2023-06-01", "Content-Type: application/json")
    providers.stand_in.pace.close()
    with Wire.tunnel(agent, product.proxy_address, "api.anthropic.com") as wire:
        providers.stand_in.pace.release(1)
        body = json.dumps(wanted | {"stream": True}).encode()
        answer = wire.ask(request("POST", "api.anthropic.com", "/v1/messages", body, *fields))
    providers.stand_in.pace.open()
    assert answer.status == 200
    assert not answer.whole
    assert b"message_start" in answer.body
    assert b"content_block_start" not in answer.body
    last = answer.body.rstrip().rpartition(b"\n\n")[2]
    assert last.startswith(b"event: error\ndata: ")
    assert json.loads(last.partition(b"data: ")[2])["error"]["type"] == "cost_limit_exceeded"
    eventually(lambda: product.spend("victim")["settled_usd"] >= 0.1, "the charge of what was reported")
    assert product.spend("victim")["reserved_usd"] == 0
    (result,) = product.log(kind="result", agent="victim")
    assert result["outcome"] == "aborted"
    assert result["overrun_nano"] > 0


@pytest.mark.timeout(200)
def test_spend_ages_out_of_a_window_of_one_minute(
    new_product: Callable[..., Product], providers: Providers, tmp_path: Path
) -> None:
    product = new_product(policy=policy_folder(tmp_path / "policy", cap_usd="0.005", window="1m")).start()
    agent = product.agent("minute")
    while (answer := chat(product, agent)).status == 200:
        assert providers.bill.total_nano() <= 5_000_000
    assert answer.code == "cost_limit_exceeded"
    assert answer.decision["windowMs"] == 60_000
    assert answer.decision["resets_at"]
    assert providers.bill.count() >= 1
    eventually(lambda: chat(product, agent).status == 200, "the spend to age out", patience_s=90)


def test_a_stream_whose_client_leaves_is_settled_and_nothing_stays_reserved(
    product: Product, providers: Providers
) -> None:
    agent = product.agent("leaver", cap_usd="0.05")
    providers.stand_in.pace.close()
    wanted = json.loads(CHAT) | {"stream": True}
    with Wire.tunnel(agent, product.proxy_address, "api.openai.com") as wire:
        fields = ("Authorization: Bearer sk-wire", "Content-Type: application/json")
        wire.send(request("POST", "api.openai.com", "/v1/chat/completions", json.dumps(wanted).encode(), *fields))
        providers.stand_in.pace.release(3)
        wire.head()
        assert wire.chunk()
    eventually(lambda: product.spend("leaver")["reserved_usd"] == 0, "the reservation's end")
    assert product.spend("leaver")["settled_usd"] > 0
    (result,) = product.log(kind="result", agent="leaver")
    assert "aborted" in str(result)
