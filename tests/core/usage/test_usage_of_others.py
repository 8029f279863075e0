"""Cohere, Ollama, batches of messages, embeddings, images and audio."""

from __future__ import annotations

from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from douane.core.usage.anthropic import AnthropicBatch
from douane.core.usage.cohere import Cohere, measured
from douane.core.usage.ollama import Ollama
from douane.core.usage.openai_media import Audio, Embeddings, Images
from douane.core.usage.reader import Reader
from support.reading import dump, event, read

CUTS = st.lists(st.integers(0, 2_000), max_size=12)
BILLED = {
    "billed_units": {"input_tokens": 5.0, "output_tokens": 3.0},
    "tokens": {"input_tokens": 71, "output_tokens": 3},
}
CHARGED = {"input_tokens": 5, "output_tokens": 3}


@given(CUTS)
def test_a_stream_of_coheres_second_version(cuts: list[int]) -> None:
    stream = (
        event({"id": "c", "type": "message-start", "delta": {"message": {"role": "assistant"}}}, "message-start")
        + event({"type": "content-delta", "delta": {"message": {"content": {"text": "Grüße"}}}}, "content-delta")
        + event({"type": "message-end", "delta": {"finish_reason": "COMPLETE", "usage": BILLED}}, "message-end")
        + b"data: [DONE]\n\n"
    )
    reader = read(Cohere(), stream, cuts)
    assert (reader.usage.totals(), reader.usage.reported, reader.usage.response_id) == (CHARGED, True, "c")
    assert reader.visible_bytes >= len("Grüße".encode())


@given(CUTS)
def test_a_stream_of_coheres_first_version(cuts: list[int]) -> None:
    ending = {"event_type": "stream-end", "response": {"generation_id": "g", "meta": BILLED}}
    lines = (
        {"event_type": "stream-start", "generation_id": "g"},
        {"event_type": "text-generation", "text": "Grüße"},
        ending,
    )
    reader = read(Cohere("lines"), b"".join(dump(line) + b"\n" for line in lines), cuts)
    assert (reader.usage.totals(), reader.usage.reported, reader.usage.response_id) == (CHARGED, True, "g")
    assert reader.visible_bytes == len("Grüße".encode())


@pytest.mark.parametrize(
    ("usage", "expected"),
    [
        (BILLED, CHARGED),
        ({"tokens": {"input_tokens": 71, "output_tokens": 3}}, {"input_tokens": 71, "output_tokens": 3}),
        ({"billed_units": {"input_tokens": 2.5}}, {"input_tokens": 3}),
        ({"billed_units": {"search_units": 2}}, {"rerank_searches": 2}),
        ({"billed_units": {"images": 2, "image_tokens": 900}}, {"input_tokens": 900}),
        ({"billed_units": {"images": 2}}, {"images_unmeasured": 2}),
        ({"billed_units": {}}, None),
        ({"billed_units": {"input_tokens": -1, "output_tokens": True}}, None),
        ({"api_version": {"version": "2"}}, None),
    ],
)
def test_what_cohere_bills(usage: dict[str, Any], expected: dict[str, int] | None) -> None:
    found = measured(usage)
    assert (found and {unit: number for unit, number in found.items() if number}) == expected


@given(CUTS)
def test_ollamas_last_line_has_the_counts(cuts: list[int]) -> None:
    lines = (
        {"model": "m", "message": {"role": "assistant", "content": "Grü"}, "done": False},
        {"model": "m", "message": {"role": "assistant", "content": "ße"}, "done": False},
        {"model": "m", "message": {"content": ""}, "done": True, "prompt_eval_count": 9, "eval_count": 4},
    )
    reader = read(Ollama(), b"".join(dump(line) + b"\n" for line in lines), cuts)
    assert reader.usage.totals() == {"input_tokens": 9, "output_tokens": 4}
    assert (reader.usage.reported, reader.usage.model) == (True, "m")
    assert reader.visible_bytes == len("Grüße".encode())
    cut = read(Ollama(), dump(lines[0]) + b"\n" + dump(lines[2])[:-5])
    assert not cut.usage.reported


def result(kind: str, model: str, **usage: Any) -> dict[str, Any]:
    message = {"id": "msg", "model": model, "usage": {"input_tokens": 10, "output_tokens": 2, **usage}}
    return {"custom_id": "c", "result": {"type": kind, "message": message}}


@given(CUTS)
def test_a_batch_is_the_sum_of_what_succeeded_each_at_its_model(cuts: list[int]) -> None:
    lines = (
        result("succeeded", "claude-haiku-4-5"),
        {"custom_id": "d", "result": {"type": "errored", "error": {}}},
        result("succeeded", "claude-opus-4-7", inference_geo="us", cache_read_input_tokens=5),
        {"custom_id": "e", "result": {"type": "expired"}},
    )
    reader = read(AnthropicBatch(), b"\n".join(dump(line) for line in lines), cuts)
    assert [(model, quantities["input_tokens"]) for model, quantities in reader.usage.parts] == [
        ("claude-haiku-4-5", 10),
        ("claude-opus-4-7", 15),
    ]
    assert (reader.usage.batch, reader.usage.reported, reader.usage.geography) == (True, True, "us")


def test_a_batch_in_which_nothing_succeeded_is_reported_and_empty() -> None:
    reader = read(AnthropicBatch(), dump({"custom_id": "d", "result": {"type": "canceled"}}) + b"\n")
    assert (reader.usage.parts, reader.usage.reported) == ([], True)


@pytest.mark.parametrize(
    ("reader", "answer", "expected"),
    [
        (Embeddings(), {"usage": {"prompt_tokens": 4, "total_tokens": 4}}, {"input_tokens": 4}),
        (Embeddings(), {"usage": {"total_tokens": 6}}, {"input_tokens": 6}),
        (Embeddings(), {"usage": {"prompt_tokens": "4"}}, None),
        (Embeddings(), {"data": []}, None),
        (
            Images(),
            {
                "usage": {
                    "input_tokens": 50,
                    "output_tokens": 1_056,
                    "input_tokens_details": {"text_tokens": 10, "image_tokens": 40, "cached_tokens": 5},
                    "output_tokens_details": {"image_tokens": 1_056},
                }
            },
            {
                "input_tokens": 50,
                "output_tokens": 1_056,
                "input_image_tokens": 40,
                "output_image_tokens": 1_056,
                "cache_read_tokens": 5,
            },
        ),
        (Images(), {"data": [{"url": "https://example.com/a.png"}]}, None),
        (Audio(), {"text": "a", "usage": {"type": "duration", "seconds": 11.2}}, {"input_audio_seconds": 12}),
        (Audio(), {"text": "a", "duration": "8.47"}, {"input_audio_seconds": 9}),
        (Audio(), {"text": "a", "duration": 8, "usage": {"seconds": 9}}, {"input_audio_seconds": 9}),
        (Audio(), {"text": "a", "usage": {"prompt_audio_seconds": 3}}, {"input_audio_seconds": 3}),
        (
            Audio(),
            {"usage": {"input_tokens": 14, "output_tokens": 45, "input_token_details": {"audio_tokens": 14}}},
            {"input_tokens": 14, "output_tokens": 45, "input_audio_tokens": 14},
        ),
        (Audio(), {"text": "a"}, None),
        (Audio(), {"text": "a", "duration": "long"}, None),
    ],
)
def test_media_as_a_whole(reader: Reader, answer: dict[str, Any], expected: dict[str, int] | None) -> None:
    reader.whole(answer)
    assert reader.usage.totals() == (expected or {})
    assert reader.usage.reported is (expected is not None)


@given(CUTS)
def test_media_as_streams_report_in_their_last_event(cuts: list[int]) -> None:
    usage = {"input_tokens": 14, "output_tokens": 45}
    spoken = event({"type": "transcript.text.delta", "delta": "Grüße"}) + event(
        {"type": "transcript.text.done", "text": "Grüße", "usage": usage}
    )
    heard = read(Audio(), spoken, cuts)
    assert heard.usage.totals() == usage
    assert heard.visible_bytes == len("Grüße".encode())
    drawn = event({"type": "image_generation.partial_image", "b64_json": "aGk="}) + event(
        {"type": "image_generation.completed", "b64_json": "aGk=", "usage": usage}
    )
    assert read(Images(), drawn, cuts).usage.totals() == usage
