"""Anthropic Messages: the input side comes first, the output grows, iterations are work of their own."""

from __future__ import annotations

import itertools
import json
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from douane.core.usage.anthropic import AnthropicMessages, measured, parts_of

START = {
    "input_tokens": 10,
    "cache_creation_input_tokens": 30,
    "cache_read_input_tokens": 100,
    "cache_creation": {"ephemeral_5m_input_tokens": 20, "ephemeral_1h_input_tokens": 10},
    "output_tokens": 1,
    "service_tier": "standard",
    "inference_geo": "us",
}


def event(kind: str, **data: Any) -> bytes:
    return b"event: %b\ndata: %b\n\n" % (kind.encode(), json.dumps({"type": kind, **data}, ensure_ascii=False).encode())


def stream(final: dict[str, Any] | None, text: str = "Grüße") -> bytes:
    message = {"id": "msg_1", "type": "message", "model": "claude-sonnet-4-6", "content": [], "usage": START}
    events = [
        event("message_start", message=message),
        event("content_block_start", index=0, content_block={"type": "text", "text": ""}),
        event("ping"),
        event("content_block_delta", index=0, delta={"type": "text_delta", "text": text}),
        event("content_block_delta", index=0, delta={"type": "signature_delta", "signature": "x" * 500}),
        event("content_block_stop", index=0),
    ]
    if final is not None:
        events += [event("message_delta", delta={"stop_reason": "end_turn"}, usage=final), event("message_stop")]
    return b"".join(events)


def read(data: bytes, cuts: list[int] | None = None) -> AnthropicMessages:
    reader = AnthropicMessages()
    edges = [0, *sorted(min(cut, len(data)) for cut in cuts or ()), len(data)]
    for start, end in itertools.pairwise(edges):
        assert reader.feed(data[start:end]) == data[start:end]
    assert reader.end() == b""
    return reader


@given(st.lists(st.integers(0, 1500), max_size=12))
def test_a_stream_is_merged_field_by_field(cuts: list[int]) -> None:
    reader = read(stream({"output_tokens": 40, "input_tokens": 10, "cache_read_input_tokens": 100}), cuts)
    assert reader.usage.reported
    assert reader.usage.parts == [
        (
            None,
            {
                "input_tokens": 140,
                "output_tokens": 40,
                "cache_read_tokens": 100,
                "cache_write_tokens": 30,
                "cache_write_1h_tokens": 10,
                "web_searches": 0,
            },
        )
    ]
    assert (reader.usage.model, reader.usage.geography, reader.usage.response_id) == (
        "claude-sonnet-4-6",
        "us",
        "msg_1",
    )
    assert reader.visible_bytes == len("Grüße".encode())


def test_a_cut_stream_has_the_input_and_is_not_final() -> None:
    reader = read(stream(None))
    assert not reader.usage.reported
    assert reader.usage.totals()["input_tokens"] == 140


def test_explicit_zeros_and_nulls_erase_nothing() -> None:
    reader = read(
        stream({"output_tokens": 40, "input_tokens": 0, "cache_read_input_tokens": 0, "cache_creation": None})
    )
    assert reader.usage.totals() | {} == {
        "input_tokens": 140,
        "output_tokens": 40,
        "cache_read_tokens": 100,
        "cache_write_tokens": 30,
        "cache_write_1h_tokens": 10,
    }


def test_iterations_are_summed_each_at_its_model() -> None:
    usage = {
        "input_tokens": 4_727,
        "output_tokens": 3_391,
        "server_tool_use": {"web_search_requests": 2},
        "iterations": [
            {"type": "message", "input_tokens": 1_051, "output_tokens": 35},
            {"type": "advisor_message", "model": "claude-opus-4-7", "input_tokens": 2_728, "output_tokens": 3_880},
            {"type": "message", "input_tokens": 3_676, "output_tokens": 3_356},
        ],
    }
    parts = parts_of(usage)
    assert [(model, q["input_tokens"], q["output_tokens"]) for model, q in parts] == [
        (None, 1_051, 35),
        ("claude-opus-4-7", 2_728, 3_880),
        (None, 3_676, 3_356),
    ]
    assert sum(q.get("web_searches", 0) for _, q in parts) == 2


def test_a_count_that_is_ahead_of_its_iterations_is_owed() -> None:
    usage = {"input_tokens": 50, "output_tokens": 9, "iterations": [{"input_tokens": 50, "output_tokens": 5}]}
    ((_, quantities),) = parts_of(usage)
    assert quantities["output_tokens"] == 9


@pytest.mark.parametrize("iterations", [None, 7, [], [None, 3, {}], "x"])
def test_iterations_that_are_none_leave_the_top_level(iterations: Any) -> None:
    ((model, quantities),) = parts_of({"input_tokens": 5, "output_tokens": 6, "iterations": iterations})
    assert model is None
    assert (quantities["input_tokens"], quantities["output_tokens"]) == (5, 6)


def test_cache_writes_beyond_the_split_count_as_the_dearer_kind_where_there_is_one() -> None:
    split = {"ephemeral_5m_input_tokens": 20, "ephemeral_1h_input_tokens": 10}
    found = measured({"input_tokens": 0, "cache_creation_input_tokens": 100, "cache_creation": split})
    assert found is not None
    assert (found["cache_write_tokens"], found["cache_write_1h_tokens"]) == (100, 80)
    found = measured({"input_tokens": 0, "cache_creation_input_tokens": 100})
    assert found is not None
    assert (found["cache_write_tokens"], found["cache_write_1h_tokens"]) == (100, 0)
    assert measured({"cache_read_input_tokens": 3}) is None


@given(st.binary(max_size=200))
def test_no_bytes_make_it_raise(data: bytes) -> None:
    reader = read(data + b"\n\ndata: " + data + b"\n\n")
    assert not reader.usage.reported


@pytest.mark.parametrize(
    "odd",
    [
        {"type": "message_start"},
        {"type": "message_start", "message": []},
        {"type": "message_delta", "usage": 7, "delta": None},
        {"type": "content_block_delta", "delta": "x"},
        {"type": "content_block_start", "content_block": 1},
        [],
        None,
    ],
)
def test_odd_events_are_passed_over(odd: Any) -> None:
    reader = read(b"data: " + json.dumps(odd).encode() + b"\n\n")
    assert not reader.usage.parts
