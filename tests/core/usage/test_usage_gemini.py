"""Gemini: counts are cumulative, by modality; a stream comes as events or as a growing array."""

from __future__ import annotations

import json
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from douane.core.usage.framing import Framing
from douane.core.usage.gemini import Gemini, GeminiEmbeddings, measured
from support.reading import dump, event, read


def answer(text: str, written: int, **usage: Any) -> dict[str, Any]:
    candidate = {"content": {"parts": [{"text": text}], "role": "model"}, "index": 0}
    counts = {"promptTokenCount": 10, "candidatesTokenCount": written, "thoughtsTokenCount": 5, **usage}
    return {
        "candidates": [candidate],
        "usageMetadata": {"totalTokenCount": 15 + written, **counts},
        "modelVersion": "gemini-2.5-flash",
        "responseId": "r",
    }


ANSWERS = [answer("Grü", 2), answer("ße", 4, serviceTier="standard"), answer('"}],', 7)]
STREAMS: dict[Framing, bytes] = {
    "sse": b"".join(event(value) for value in ANSWERS),
    "array": json.dumps(ANSWERS, indent=2).encode(),
}


@pytest.mark.parametrize("framing", STREAMS)
@given(cuts=st.lists(st.integers(0, 1_500), max_size=12))
def test_the_last_counts_of_a_stream_hold(framing: Framing, cuts: list[int]) -> None:
    reader = read(Gemini(framing), STREAMS[framing], cuts)
    assert reader.usage.parts == [(None, {"input_tokens": 10, "output_tokens": 12, "cache_read_tokens": 0})]
    assert reader.usage.reported
    assert (reader.usage.model, reader.usage.response_id) == ("gemini-2.5-flash", "r")
    assert reader.usage.service_tier == "standard"
    assert reader.visible_bytes == len('Grüße"}],'.encode())


def test_an_array_that_is_cut_has_what_came_before() -> None:
    data = STREAMS["array"]
    reader = read(Gemini("array"), data[: data.index(b'"ca', data.index(b"modelVersion"))])
    assert reader.usage.totals() == {"input_tokens": 10, "output_tokens": 7}


@pytest.mark.parametrize(
    ("usage", "expected"),
    [
        (
            {"promptTokenCount": 10, "candidatesTokenCount": 3, "totalTokenCount": 13},
            {"input_tokens": 10, "output_tokens": 3},
        ),
        (
            {"promptTokenCount": 10, "totalTokenCount": 42, "thoughtsTokenCount": 35},
            {"input_tokens": 10, "output_tokens": 35},
        ),
        ({"promptTokenCount": 10, "totalTokenCount": 42}, {"input_tokens": 10, "output_tokens": 32}),
        (
            {"promptTokenCount": 10, "toolUsePromptTokenCount": 90, "candidatesTokenCount": 3, "totalTokenCount": 103},
            {"input_tokens": 100, "output_tokens": 3},
        ),
        (
            {"promptTokenCount": 100, "cachedContentTokenCount": 80, "candidatesTokenCount": 1},
            {"input_tokens": 100, "output_tokens": 1, "cache_read_tokens": 80},
        ),
        (
            {
                "promptTokenCount": 100,
                "candidatesTokenCount": 50,
                "promptTokensDetails": [
                    {"modality": "TEXT", "tokenCount": 20},
                    {"modality": "AUDIO", "tokenCount": 30},
                    {"modality": 2, "tokenCount": 25},
                    {"modality": "DOCUMENT", "tokenCount": 25},
                ],
                "candidatesTokensDetails": [{"modality": "IMAGE", "tokenCount": 50}],
            },
            {
                "input_tokens": 100,
                "output_tokens": 50,
                "input_audio_tokens": 30,
                "input_image_tokens": 50,
                "output_image_tokens": 50,
            },
        ),
        ({"promptTokenCount": 1, "responseTokenCount": 4}, {"input_tokens": 1, "output_tokens": 4}),
        ({}, None),
        ({"promptTokenCount": "10"}, None),
        ({"promptTokenCount": -1, "candidatesTokenCount": True}, None),
        ({"promptTokenCount": 1, "promptTokensDetails": [7, {"modality": []}, {"tokenCount": 3}]}, {"input_tokens": 1}),
    ],
)
def test_a_usage_metadata(usage: dict[str, Any], expected: dict[str, int] | None) -> None:
    found = measured(usage)
    assert (found and {unit: number for unit, number in found.items() if number}) == expected


def test_searches_are_counted_once_each_and_maps_once() -> None:
    def grounded(*queries: str, maps: bool = False) -> dict[str, Any]:
        chunks = [{"web": {"uri": "a"}}, *([{"maps": {"uri": "b"}}] if maps else [])]
        value = answer("x", 1)
        value["candidates"][0]["groundingMetadata"] = {"webSearchQueries": list(queries), "groundingChunks": chunks}
        return value

    stream = event(grounded("a")) + event(grounded("a", "b", maps=True)) + event(answer("y", 2))
    assert read(Gemini(), stream).usage.totals() == {
        "input_tokens": 10,
        "output_tokens": 7,
        "web_searches": 2,
        "map_searches": 1,
    }


@pytest.mark.parametrize(
    ("traffic", "tier"), [("ON_DEMAND_FLEX", "flex"), ("ON_DEMAND_PRIORITY", "priority"), ("ON_DEMAND", None)]
)
def test_vertex_names_the_tier_by_its_traffic(traffic: str, tier: str | None) -> None:
    assert read(Gemini(), event(answer("x", 1, trafficType=traffic))).usage.service_tier == tier


def test_an_event_too_large_to_keep_still_has_its_counts() -> None:
    value = answer("x" * 3_000_000, 9)
    reader = read(Gemini("array"), dump([value]), range(0, 3_000_000, 65_536))
    assert reader.usage.totals() == {"input_tokens": 10, "output_tokens": 14}


def test_vectors_have_only_an_input() -> None:
    reader = GeminiEmbeddings()
    reader.whole({"embeddings": [{"values": [0.1]}], "usageMetadata": {"promptTokenCount": 9}})
    assert reader.usage.totals() == {"input_tokens": 9}
    reader = GeminiEmbeddings()
    vectors = [
        {"embeddings": {"statistics": {"token_count": count, "truncated": False}, "values": []}} for count in (3, 4)
    ]
    reader.whole({"predictions": vectors})
    assert (reader.usage.totals(), reader.usage.reported) == ({"input_tokens": 7}, True)
    reader = GeminiEmbeddings()
    reader.whole({"embedding": {"values": [0.1]}})
    assert not reader.usage.reported, "where nothing is told the reservation counts"
