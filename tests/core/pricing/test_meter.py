"""What a response costs: by its usage; and where that is missing, cut or odd, never too little."""

from __future__ import annotations

import gzip
import json
import tracemalloc
import zlib
from typing import Any

import brotli
import pytest
import zstandard
from hypothesis import given, settings
from hypothesis import strategies as st

from douane.core.charge import Charge
from douane.core.pricing import Plan, PriceBook

JSON = ((b"Content-Type", b"application/json"),)
SSE = ((b"content-type", b"text/event-stream; charset=utf-8"),)
USAGE = {"prompt_tokens": 1_000, "completion_tokens": 500, "total_tokens": 1_500}
ANSWER = {
    "id": "chatcmpl-1",
    "model": "gpt-4.1-mini-2025-04-14",
    "choices": [],
    "service_tier": "default",
    "usage": USAGE,
}
CHARGE_NANO = 1_000 * 400 + 500 * 1_600


def settle(
    book: PriceBook,
    plan: Plan,
    body: bytes,
    headers: Any = JSON,
    *,
    status: int = 200,
    complete: bool = True,
    step: int = 700,
) -> Charge:
    meter = book.meter(plan, status, headers)
    passed = b"".join(meter.feed(body[at : at + step]) for at in range(0, len(body), step))
    if complete:
        passed += meter.end()
    if not plan.strip_usage:
        assert passed == body
    charge = meter.charge(complete=complete)
    assert meter.charge(complete=not complete) == charge, "once given it stays"
    return charge


def dump(value: Any) -> bytes:
    return json.dumps(value).encode()


def event(value: Any) -> bytes:
    return b"data: " + dump(value) + b"\n\n"


def delta(text: str) -> bytes:
    return event({"id": "c", "model": "gpt-4.1-mini", "choices": [{"delta": {"content": text}}], "usage": None})


def test_a_json_answer_is_charged_by_its_usage(book: PriceBook, chat: Any) -> None:
    assert settle(book, chat({}), dump(ANSWER)) == Charge(
        CHARGE_NANO,
        "gpt-4.1-mini-2025-04-14",
        {"input_tokens": 1_000, "output_tokens": 500},
        estimated=False,
        method="usage",
        response_id="chatcmpl-1",
    )


def test_the_responses_model_and_tier_are_charged(book: PriceBook, chat: Any) -> None:
    plan = chat({"model": "gpt-5"})
    for model, tier, factor in (
        ("gpt-5-2025-08-07", "default", 1),
        ("gpt-5-2025-08-07", "priority", 2),
        ("gpt-5-2025-08-07", None, 1),
        ("gpt-5-nano", "default", 0.04),
    ):
        charge = settle(book, plan, dump(ANSWER | {"model": model, "service_tier": tier}))
        assert charge.amount_nano == (1_000 * 1_250 + 500 * 10_000) * factor
        assert (charge.method, charge.model) == ("usage", model)


@pytest.mark.parametrize(
    ("changes", "reason"),
    [
        ({"usage": None}, "no usage"),
        ({"usage": {}}, "an empty usage"),
        ({"usage": {"prompt_tokens": 0, "completion_tokens": 0}}, "nothing used"),
        ({"usage": {"total_tokens": 5}}, "no counts"),
        ({"usage": {"prompt_tokens": -5, "completion_tokens": "9"}}, "odd counts"),
        ({"service_tier": "platinum"}, "a tier without a price"),
        ({"usage": USAGE | {"completion_tokens_details": {"audio_tokens": 5}}}, "a unit without a price"),
    ],
)
def test_a_success_without_a_usable_usage_costs_the_reservation(
    book: PriceBook, chat: Any, changes: dict[str, Any], reason: str
) -> None:
    plan = chat({"max_tokens": 100_000})
    charge = settle(book, plan, dump(ANSWER | changes))
    assert (charge.amount_nano, charge.method, charge.estimated) == (plan.reserve_nano, "fallback", True), reason


@pytest.mark.parametrize(
    "body", [b"", b"[]", b"null", b"<html>", b'{"usage": {"prompt_tokens": 1', b"{}", b"[" * 100_000, b"\xff" * 300_000]
)
def test_a_body_that_cannot_be_read_costs_the_reservation(book: PriceBook, chat: Any, body: bytes) -> None:
    plan = chat({})
    charge = settle(book, plan, body)
    assert (charge.amount_nano, charge.method) == (plan.reserve_nano, "fallback")


def test_an_unknown_model_in_the_response_is_charged_as_the_requests(book: PriceBook, chat: Any) -> None:
    charge = settle(book, chat({}), dump(ANSWER | {"model": "gpt-4.1-mini-secret"}))
    assert (charge.amount_nano, charge.method, charge.estimated) == (CHARGE_NANO, "fallback", True)


def test_contradicting_counts_are_charged_at_the_dearest(book: PriceBook, chat: Any) -> None:
    usage = {"prompt_tokens": 10, "completion_tokens": 1, "prompt_tokens_details": {"cached_tokens": 1_000}}
    charge = settle(book, chat({}), dump(ANSWER | {"usage": usage}))
    assert (charge.amount_nano, charge.method, charge.estimated) == (1_000 * 400 + 1_600, "fallback", True)


def test_what_was_used_beyond_the_reservation_is_charged(book: PriceBook, chat: Any) -> None:
    plan = chat({"max_tokens": 1})
    charge = settle(book, plan, dump(ANSWER | {"usage": {"prompt_tokens": 10**6, "completion_tokens": 10**6}}))
    assert charge.amount_nano == 2_000_000_000 > plan.reserve_nano


@pytest.mark.parametrize("status", [400, 401, 404, 413, 429, 500, 503, 529])
@pytest.mark.parametrize("complete", [True, False])
def test_an_error_of_the_provider_releases(book: PriceBook, chat: Any, status: int, complete: bool) -> None:
    charge = settle(book, chat({}), dump({"error": {"message": "no"}}), status=status, complete=complete)
    assert (charge.amount_nano, charge.method, charge.estimated) == (0, "released", False)


def test_an_error_with_usage_is_charged(book: PriceBook, chat: Any) -> None:
    assert settle(book, chat({}), dump(ANSWER), status=500).amount_nano == CHARGE_NANO


@pytest.mark.parametrize(
    ("encoding", "encode"),
    [
        (b"gzip", gzip.compress),
        (b"deflate", zlib.compress),
        (b"br", brotli.compress),
        (b"zstd", zstandard.ZstdCompressor().compress),
        (b"GZIP", gzip.compress),
        (b"identity", bytes),
    ],
)
def test_an_encoded_answer_is_read_and_passes_as_it_came(
    book: PriceBook, chat: Any, encoding: bytes, encode: Any
) -> None:
    headers = (*JSON, (b"Content-Encoding", encoding))
    for step in (1, 7, 10_000):
        assert settle(book, chat({}), encode(dump(ANSWER)), headers, step=step).amount_nano == CHARGE_NANO


@pytest.mark.parametrize("encoding", [b"gzip", b"br", b"zstd", b"compress", b"gzip, br"])
def test_an_encoding_that_is_not_true_costs_the_reservation(book: PriceBook, chat: Any, encoding: bytes) -> None:
    plan = chat({})
    charge = settle(book, plan, dump(ANSWER), (*JSON, (b"Content-Encoding", encoding)))
    assert (charge.amount_nano, charge.method) == (plan.reserve_nano, "fallback")


def test_a_decompression_bomb_is_passed_on_unread_in_bounded_memory(book: PriceBook, chat: Any) -> None:
    plan = chat({})
    bomb = brotli.compress(b" " * (128 * 1024 * 1024), quality=1)
    tracemalloc.start()
    charge = settle(book, plan, bomb, (*JSON, (b"content-encoding", b"br")))
    peak = tracemalloc.get_traced_memory()[1]
    tracemalloc.stop()
    assert charge.amount_nano == plan.reserve_nano
    assert peak < 64 * 1024 * 1024


@pytest.mark.parametrize("content", ["x" * 10_000_000, '{"usage":' * 300_000], ids=["text", "quotes"])
def test_a_body_of_any_size_is_charged_exactly_in_bounded_memory(book: PriceBook, chat: Any, content: str) -> None:
    body = dump({"first": {"message": {"content": content, "usage": {"prompt_tokens": 1}}}} | ANSWER)
    plan = chat({})
    meter = book.meter(plan, 200, JSON)
    tracemalloc.start()
    for at in range(0, len(body), 65_536):
        meter.feed(body[at : at + 65_536])
    peak = tracemalloc.get_traced_memory()[1]
    tracemalloc.stop()
    assert meter.end() == b""
    assert meter.charge(complete=True).amount_nano == CHARGE_NANO
    assert peak < 4 * 1024 * 1024


def test_a_stream_is_charged_by_its_last_chunk(book: PriceBook, chat: Any) -> None:
    stream = delta("a") + delta("b") + event(ANSWER) + b"data: [DONE]\n\n"
    for step in (1, 9, 100_000):
        charge = settle(book, chat({"stream": True}), stream, SSE, step=step)
        assert (charge.amount_nano, charge.method) == (CHARGE_NANO, "usage")
    asked = chat({"stream": True, "stream_options": {"include_usage": True}})
    assert settle(book, asked, stream, SSE).amount_nano == CHARGE_NANO


def test_an_encoded_stream_is_read_and_passes_as_it_came(book: PriceBook, chat: Any) -> None:
    plan = chat({"stream": True})
    stream = gzip.compress(delta("a") + event(ANSWER))
    meter = book.meter(plan, 200, (*SSE, (b"content-encoding", b"gzip")))
    assert meter.feed(stream) + meter.end() == stream
    assert meter.charge(complete=True).amount_nano == CHARGE_NANO


def test_a_json_answer_to_a_streamed_request_is_read_and_not_stripped(book: PriceBook, chat: Any) -> None:
    plan = chat({"stream": True})
    meter = book.meter(plan, 200, JSON)
    assert meter.feed(dump(ANSWER)) + meter.end() == dump(ANSWER)
    assert meter.charge(complete=True).amount_nano == CHARGE_NANO


def test_a_whole_stream_without_usage_costs_the_reservation(book: PriceBook, chat: Any) -> None:
    plan = chat({"stream": True})
    charge = settle(book, plan, delta("a") + b"data: [DONE]\n\n", SSE)
    assert (charge.amount_nano, charge.method) == (plan.reserve_nano, "fallback")


def test_a_client_that_leaves_after_the_usage_pays_what_it_used(book: PriceBook, chat: Any) -> None:
    charge = settle(book, chat({"stream": True}), delta("a") + event(ANSWER), SSE, complete=False)
    assert (charge.amount_nano, charge.method) == (CHARGE_NANO, "usage")


def test_a_client_that_leaves_pays_for_what_it_saw_and_somewhat_more(book: PriceBook, chat: Any) -> None:
    plan = chat({"stream": True, "max_tokens": 30_000, "service_tier": "default"})
    charge = settle(book, plan, delta("x" * 1_000), SSE, complete=False)
    asked = plan.bound.works[0].input_tokens
    assert (charge.method, charge.estimated) == ("aborted-floor", True)
    assert charge.amount_nano == asked * 400 + (500 + 64) * 1_600 < plan.reserve_nano
    huge = settle(book, plan, delta("x" * 1_000_000), SSE, complete=False)
    assert huge.amount_nano == plan.reserve_nano, "an estimate is never more than the reservation"


@pytest.mark.parametrize("model", ["gpt-5", "o3", "gpt-6-sol", "gpt-chat-latest"])
def test_of_a_model_that_thinks_unseen_the_reservation_is_charged(book: PriceBook, chat: Any, model: str) -> None:
    plan = chat({"model": model, "stream": True})
    charge = settle(book, plan, delta("a"), SSE, complete=False)
    assert (charge.amount_nano, charge.method) == (plan.reserve_nano, "full-reservation")


def test_a_json_answer_that_was_cut_costs_the_reservation(book: PriceBook, chat: Any) -> None:
    plan = chat({})
    for cut in (0, 10, len(dump(ANSWER)) - 1):
        charge = settle(book, plan, dump(ANSWER)[:cut], complete=False)
        assert (charge.amount_nano, charge.method) == (plan.reserve_nano, "full-reservation")


START = {
    "input_tokens": 2_000,
    "cache_read_input_tokens": 0,
    "output_tokens": 3,
    "service_tier": "standard",
    "inference_geo": "global",
}


def message_stream(*, geography: str = "global", final: bool = True, text: str = "x" * 100) -> bytes:
    start = {"id": "msg", "model": "claude-sonnet-4-6", "usage": START | {"inference_geo": geography}}
    events = [
        {"type": "message_start", "message": start},
        {"type": "content_block_delta", "delta": {"type": "text_delta", "text": text}},
    ]
    if final:
        events.append({"type": "message_delta", "delta": {"stop_reason": "end_turn"}, "usage": {"output_tokens": 700}})
    return b"".join(event(value) for value in events)


def test_a_message_stream_is_charged(book: PriceBook, messages: Any) -> None:
    charge = settle(book, messages({"stream": True}), message_stream(), SSE)
    assert (charge.amount_nano, charge.method, charge.response_id) == (2_000 * 3_000 + 700 * 15_000, "usage", "msg")
    domestic = settle(book, messages({"stream": True}), message_stream(geography="us"), SSE)
    assert domestic.amount_nano == (2_000 * 3_000 + 700 * 15_000) * 11 // 10


def test_an_aborted_message_stream_has_its_input_and_an_estimate(book: PriceBook, messages: Any) -> None:
    charge = settle(book, messages({"stream": True}), message_stream(final=False), SSE, complete=False)
    assert (charge.amount_nano, charge.method) == (2_000 * 3_000 + (50 + 64) * 15_000, "aborted-floor")
    thinking = messages({"stream": True, "thinking": {"type": "enabled", "budget_tokens": 1_024}})
    charge = settle(book, thinking, message_stream(final=False), SSE, complete=False)
    assert (charge.amount_nano, charge.method) == (thinking.reserve_nano, "full-reservation")


def test_what_was_used_is_the_floor_of_an_aborted_stream(book: PriceBook, messages: Any) -> None:
    plan = messages({"stream": True, "max_tokens": 1})
    start = {
        "type": "message_start",
        "message": {"model": "claude-sonnet-4-6", "usage": {"input_tokens": 100_000, "output_tokens": 9}},
    }
    charge = settle(book, plan, event(start), SSE, complete=False)
    assert charge.amount_nano == 100_000 * 3_000 + 9 * 15_000 > plan.reserve_nano


def test_web_searches_and_iterations_are_charged(book: PriceBook, messages: Any) -> None:
    usage = {
        "input_tokens": 10,
        "output_tokens": 20,
        "server_tool_use": {"web_search_requests": 2},
        "iterations": [
            {"type": "message", "input_tokens": 10, "output_tokens": 20},
            {"type": "advisor_message", "model": "claude-opus-4-7", "input_tokens": 100, "output_tokens": 200},
        ],
    }
    charge = settle(book, messages({}), dump({"id": "m", "model": "claude-sonnet-4-6", "usage": usage}))
    assert charge.amount_nano == 10 * 3_000 + 20 * 15_000 + 2 * 10_000_000 + 100 * 5_000 + 200 * 25_000
    assert charge.usage == {"input_tokens": 110, "output_tokens": 220, "web_searches": 2}
    usage["iterations"][1]["model"] = "claude-unheard-of"  # type: ignore[index]
    charge = settle(book, messages({}), dump({"id": "m", "model": "claude-sonnet-4-6", "usage": usage}))
    assert (charge.method, charge.estimated) == ("fallback", True)


@settings(deadline=None)
@given(
    st.lists(
        st.binary(max_size=60)
        | st.sampled_from([delta("a"), event(ANSWER), b"\n\n", b"data: ", b"\r\n\r\n", b'{"usage":']),
        max_size=12,
    ),
    st.sampled_from([JSON, SSE, (*SSE, (b"content-encoding", b"gzip")), (*JSON, (b"content-encoding", b"br")), ()]),
    st.sampled_from([200, 204, 302, 400, 500]),
    st.booleans(),
)
def test_whatever_comes_nothing_raises_and_a_success_is_never_free(
    book: PriceBook, chat: Any, messages: Any, chunks: list[bytes], headers: Any, status: int, complete: bool
) -> None:
    for plan in (chat({"stream": True}), chat({}), messages({"stream": True})):
        meter = book.meter(plan, status, headers)
        passed = b"".join(meter.feed(chunk) for chunk in chunks)
        if complete:
            passed += meter.end()
        if not plan.strip_usage or headers is not SSE:
            assert passed == b"".join(chunks)
        charge = meter.charge(complete=complete)
        assert charge.amount_nano > 0 or charge.method == "released"
        assert (charge.method == "released") <= (status >= 400)


@pytest.mark.parametrize(
    ("tools", "told", "charged"),
    [
        ([], {}, (0, "usage")),
        ([{"type": "web_search"}], {}, (3 * 10_000_000, "fallback")),
        ([{"type": "web_search"}], {"tool_usage": {"web_search": {"num_requests": 1}}}, (10_000_000, "usage")),
        ([{"type": "image_generation"}], {}, (None, "fallback")),
    ],
)
def test_tools_that_may_have_run_unseen_in_a_huge_answer_are_charged(
    book: PriceBook, call: Any, tools: Any, told: Any, charged: tuple[int | None, str]
) -> None:
    plan = call("api.openai.com", "/v1/responses", {"model": "gpt-4.1-mini", "tools": tools, "max_tool_calls": 3})
    output = [{"type": "message", "content": [{"type": "output_text", "text": "x" * 600_000}]}]
    usage = {"input_tokens": 1_000, "output_tokens": 500}
    answer = {"id": "resp_1", "model": "gpt-4.1-mini", "output": output, "usage": usage, **told}
    charge = settle(book, plan, dump(answer), step=65_536)
    fees, method = charged
    assert (charge.method, charge.estimated) == (method, method != "usage")
    assert charge.amount_nano == (plan.reserve_nano if fees is None else CHARGE_NANO + fees)
