"""Bedrock: Converse by its metadata; Invoke by Claude's own usage, by headers, or by the last event's metrics."""

from __future__ import annotations

import base64
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from douane.core.usage.bedrock import Converse, Invoke, measured
from support.more_models import aws_message
from support.reading import dump, read

CUTS = st.lists(st.integers(0, 2_000), max_size=12)
METRICS = {"inputTokenCount": 30, "outputTokenCount": 40, "invocationLatency": 5}


def frames(*events: tuple[str, Any]) -> bytes:
    return b"".join(aws_message(kind, dump(value)) for kind, value in events)


def chunks(*events: Any) -> bytes:
    return frames(*(("chunk", {"bytes": base64.b64encode(dump(value)).decode()}) for value in events))


@given(CUTS)
def test_a_converse_stream_reports_at_its_end(cuts: list[int]) -> None:
    stream = frames(
        ("messageStart", {"role": "assistant"}),
        ("contentBlockDelta", {"contentBlockIndex": 0, "delta": {"text": "Grüße"}}),
        ("messageStop", {"stopReason": "end_turn"}),
        ("metadata", {"usage": {"inputTokens": 10, "outputTokens": 3, "cacheReadInputTokens": 7}, "metrics": {}}),
    )
    reader = read(Converse("aws"), stream, cuts)
    assert reader.usage.totals() == {"input_tokens": 17, "output_tokens": 3, "cache_read_tokens": 7}
    assert reader.usage.reported
    assert reader.visible_bytes == len(dump({"text": "Grüße"}).replace(b" ", b""))


def test_a_converse_stream_that_is_cut_has_reported_nothing() -> None:
    stream = frames(("contentBlockDelta", {"delta": {"text": "abc"}}), ("metadata", {"usage": {"inputTokens": 1}}))
    reader = read(Converse("aws"), stream[:-1])
    assert not reader.usage.reported
    assert reader.visible_bytes > 3


def test_the_router_of_converse_names_who_answered() -> None:
    reader = Converse("aws")
    trace = {"promptRouter": {"invokedModelId": "us.amazon.nova-lite-v1:0"}}
    reader.whole({"usage": {"inputTokens": 1, "outputTokens": 2}, "trace": trace, "serviceTier": {"type": "flex"}})
    assert (reader.usage.model, reader.usage.service_tier) == ("us.amazon.nova-lite-v1:0", "flex")


@pytest.mark.parametrize(
    ("usage", "expected"),
    [
        ({"inputTokens": 5, "outputTokens": 6, "totalTokens": 11}, {"input_tokens": 5, "output_tokens": 6}),
        ({"inputTokens": 5}, {"input_tokens": 5}),
        (
            {
                "inputTokens": 5,
                "outputTokens": 6,
                "cacheWriteInputTokens": 100,
                "cacheDetails": [{"ttl": "1h", "inputTokens": 60}, {"ttl": "5m", "inputTokens": 40}],
            },
            {"input_tokens": 105, "output_tokens": 6, "cache_write_tokens": 100, "cache_write_1h_tokens": 60},
        ),
        ({"inputTokens": 1, "cacheReadInputTokenCount": 9}, {"input_tokens": 10, "cache_read_tokens": 9}),
        ({}, None),
        ({"inputTokens": "5"}, None),
    ],
)
def test_a_usage_of_converse(usage: dict[str, Any], expected: dict[str, int] | None) -> None:
    found = measured(usage)
    assert (found and {unit: number for unit, number in found.items() if number}) == expected


CLAUDE_START = {
    "type": "message_start",
    "message": {
        "id": "msg_bdrk_1",
        "model": "claude-haiku-4-5-20251001",
        "usage": {"input_tokens": 30, "cache_read_input_tokens": 8, "output_tokens": 1},
    },
}


@given(CUTS)
def test_claude_reports_as_it_does_itself_and_keeps_the_requests_model(cuts: list[int]) -> None:
    stream = chunks(
        CLAUDE_START,
        {"type": "content_block_delta", "index": 0, "delta": {"type": "text_delta", "text": "Grüße"}},
        {"type": "message_delta", "delta": {"stop_reason": "end_turn"}, "usage": {"output_tokens": 40}},
        {"type": "message_stop", "amazon-bedrock-invocationMetrics": METRICS},
    )
    reader = read(Invoke("aws"), stream, cuts)
    assert reader.usage.totals() == {"input_tokens": 38, "output_tokens": 40, "cache_read_tokens": 8}
    assert reader.usage.reported
    assert (reader.usage.model, reader.usage.response_id) == (None, "msg_bdrk_1")
    assert reader.visible_bytes == len("Grüße".encode())


@given(CUTS)
def test_other_models_report_by_the_metrics_of_their_last_event(cuts: list[int]) -> None:
    stream = chunks({"outputText": "Grü"}, {"outputText": "ße", "amazon-bedrock-invocationMetrics": METRICS})
    reader = read(Invoke("aws"), stream, cuts)
    assert reader.usage.totals() == {"input_tokens": 30, "output_tokens": 40}
    assert reader.visible_bytes == len("Grüße".encode())


@pytest.mark.parametrize(
    ("answer", "expected"),
    [
        (
            {"inputTextTokenCount": 3, "results": [{"tokenCount": 4, "outputText": "a"}, {"tokenCount": 5}]},
            {"input_tokens": 3, "output_tokens": 9},
        ),
        (
            {"generation": "a", "prompt_token_count": 3, "generation_token_count": 4},
            {"input_tokens": 3, "output_tokens": 4},
        ),
        ({"output": {}, "usage": {"inputTokens": 3, "outputTokens": 4}}, {"input_tokens": 3, "output_tokens": 4}),
        (
            {"choices": [], "usage": {"prompt_tokens": 3, "completion_tokens": 4}},
            {"input_tokens": 3, "output_tokens": 4},
        ),
        ({"embedding": [0.1], "inputTextTokenCount": 3}, {"input_tokens": 3}),
        (
            {"content": [], "usage": {"input_tokens": 3, "output_tokens": 4, "cache_creation_input_tokens": 5}},
            {"input_tokens": 8, "output_tokens": 4, "cache_write_tokens": 5},
        ),
        ({"outputs": [{"text": "a"}]}, {}),
        ({"usage": 7, "results": 7}, {}),
    ],
)
def test_each_models_own_shape(answer: dict[str, Any], expected: dict[str, int]) -> None:
    reader = Invoke("aws")
    reader.whole(answer)
    assert reader.usage.totals() == expected
    assert reader.usage.reported is bool(expected)


def test_the_headers_have_counts_where_the_answer_has_none() -> None:
    heads = {"x-amzn-bedrock-input-token-count": "7", "x-amzn-bedrock-output-token-count": "9"}
    reader = Invoke("aws")
    reader.head(heads)
    reader.whole({"outputs": [{"text": "a"}]})
    assert reader.usage.totals() == {"input_tokens": 7, "output_tokens": 9}
    reader = Invoke("aws")
    reader.head(heads)
    reader.whole({"usage": {"input_tokens": 3, "output_tokens": 9, "cache_read_input_tokens": 4}})
    assert reader.usage.totals() == {"input_tokens": 7, "output_tokens": 9, "cache_read_tokens": 4}
    reader = Invoke("aws")
    reader.head({"x-amzn-bedrock-input-token-count": "-7", "x-amzn-bedrock-output-token-count": "٣"})
    assert not reader.usage.reported


def test_an_error_in_the_stream_reports_nothing() -> None:
    reader = read(Invoke("aws"), frames(("modelStreamErrorException", {"message": "no"})))
    assert not reader.usage.reported
