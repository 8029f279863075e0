"""OpenAI's other APIs, at OpenAI and at those who offer the same: the worst case of a call."""

from __future__ import annotations

from typing import Any

import pytest

from douane.core.charge import Unpriced
from douane.core.pricing import Plan

HOST = "api.openai.com"
MINI = "gpt-4.1-mini"
EMBEDDER = "text-embedding-3-small"


def respond(call: Any, body: dict[str, Any]) -> Plan:
    plan = call(HOST, "/v1/responses", {"model": MINI, "input": "hi", "max_output_tokens": 100} | body)
    assert isinstance(plan, Plan), plan
    return plan


def embed(call: Any, body: dict[str, Any], host: str = HOST, path: str = "/v1/embeddings") -> Plan:
    plan = call(host, path, {"model": EMBEDDER} | body)
    assert isinstance(plan, Plan), plan
    return plan


def work(plan: Plan) -> tuple[int, int]:
    return plan.bound.works[0].input_tokens, plan.bound.works[0].output_tokens


@pytest.mark.parametrize(
    ("body", "output"),
    [
        ({}, 100),
        ({"max_output_tokens": None}, 32_768),
        ({"max_output_tokens": "100"}, 32_768),
        ({"max_output_tokens": 0}, 32_768),
        ({"max_tokens": 5}, 100),
        ({"context_management": [{"type": "compaction"}]}, 100 + 32_768),
    ],
)
def test_responses_are_bounded_by_what_is_asked(call: Any, body: dict[str, Any], output: int) -> None:
    input_tokens, output_tokens = work(respond(call, body))
    assert output_tokens == output
    assert input_tokens < 10_000


@pytest.mark.parametrize(
    "body",
    [
        {"previous_response_id": "resp_1"},
        {"conversation": "conv_1"},
        {"input": [{"role": "user", "content": [{"type": "input_image", "image_url": "https://example.com/a.png"}]}]},
        {"input": [{"role": "user", "content": [{"type": "input_file", "file_id": "f"}]}]},
        {"input": [{"type": "item_reference", "id": "msg_1"}]},
        {"input": [{"type": "function_call_output", "call_id": "c", "output": [{"type": "input_image"}]}]},
        {"input": [{"type": "what_comes_next"}]},
    ],
)
def test_what_responses_refer_to_is_bounded_by_the_window(call: Any, body: dict[str, Any]) -> None:
    assert work(respond(call, body))[0] == 1_000_000


def test_a_conversation_of_text_and_client_tools_is_bounded_by_its_bytes(call: Any) -> None:
    body = {
        "instructions": "Be brief.",
        "input": [
            {"role": "user", "content": "a"},
            {"type": "message", "role": "user", "content": [{"type": "input_text", "text": "input_image"}]},
            {"type": "function_call", "call_id": "c", "name": "f", "arguments": "{}"},
            {"type": "function_call_output", "call_id": "c", "output": "x"},
            {"type": "reasoning", "id": "rs_1", "summary": [{"type": "summary_text", "text": "so"}]},
        ],
        "tools": [{"type": "function", "name": "f"}, {"type": "custom", "name": "g"}],
    }
    assert work(respond(call, body))[0] < 6_000


@pytest.mark.parametrize(
    ("tool", "model", "fees"),
    [
        ({"type": "web_search"}, MINI, {"web_searches": 3}),
        ({"type": "web_search_preview"}, MINI, {"web_searches_preview": 3}),
        ({"type": "web_search_preview"}, "gpt-5-mini", {"web_searches": 3}),
        ({"type": "file_search", "vector_store_ids": ["v"]}, MINI, {"storage_searches": 3}),
        ({"type": "code_interpreter", "container": {"type": "auto"}}, MINI, {"container_gigabytes": 3}),
        (
            {"type": "code_interpreter", "container": {"type": "auto", "memory_limit": "16g"}},
            MINI,
            {"container_gigabytes": 48},
        ),
    ],
)
def test_tools_at_openai_read_the_window_once_per_call(
    call: Any, tool: dict[str, Any], model: str, fees: dict[str, int]
) -> None:
    plan = respond(call, {"model": model, "tools": [tool], "max_tool_calls": 3})
    row_window = {MINI: 1_000_000, "gpt-5-mini": 400_000}[model]
    assert work(plan)[0] == 4 * row_window
    assert dict(plan.bound.works[0].fees) == fees
    assert plan.bound.hidden_output


def test_what_a_tool_draws_is_bounded_at_its_own_model(call: Any) -> None:
    plan = respond(call, {"tools": [{"type": "image_generation"}], "max_tool_calls": 2})
    _own, drawn = plan.bound.works
    assert (drawn.model, drawn.output_tokens) == ("gpt-image-1", 2 * 16_384)
    assert plan.reserve_nano > 2 * 16_384 * 40_000


@pytest.mark.parametrize(
    ("body", "word"),
    [
        ({"tools": [{"type": "web_search"}]}, "max_tool_calls"),
        ({"tools": [{"type": "web_search"}], "max_tool_calls": "3"}, "max_tool_calls"),
        ({"tools": [{"type": "mcp", "server_url": "https://example.com"}], "max_tool_calls": 3}, "mcp"),
        ({"tools": [{"type": "image_generation", "model": "none-1"}], "max_tool_calls": 3}, "none-1"),
        ({"prompt": {"id": "pmpt_1"}}, "stored prompt"),
        ({"plugins": [{"id": "web"}]}, "plugins"),
        ({"models": ["a", "b"]}, "models"),
        ({"model": "gpt-4o:online"}, "price"),
        ({"model": "gpt-99"}, "gpt-99"),
    ],
)
def test_what_responses_may_do_without_a_limit_has_no_price(call: Any, body: dict[str, Any], word: str) -> None:
    found = call(HOST, "/v1/responses", {"model": MINI, "input": "hi"} | body)
    assert isinstance(found, Unpriced)
    assert word in found.message


@pytest.mark.parametrize(
    ("given", "most"),
    [
        ("see the url of an image " * 10, 400),
        (["a url", "an image"], 200),
        ([1, 2, 3], 200),
        ([[1, 2], [3]], 200),
        (["x"] * 100, 1_500),
    ],
)
def test_texts_and_tokens_to_embed_are_bounded_by_their_bytes(call: Any, given: Any, most: int) -> None:
    assert 40 < work(embed(call, {"input": given}))[0] < most


def test_pictures_to_embed_are_bounded_by_the_window(call: Any) -> None:
    host, path, model = "api.cohere.com", "/v2/embed", "embed-v4.0"
    picture = {"content": [{"type": "image_url", "image_url": {"url": "data:image/png;base64,aGk="}}]}
    assert work(embed(call, {"model": model, "images": ["data:image/png;base64,aGk="]}, host, path))[0] >= 128_000
    assert work(embed(call, {"model": model, "inputs": [picture] * 3}, host, path))[0] >= 3 * 128_000
    assert work(embed(call, {"model": model, "texts": ["an image"]}, host, path))[0] < 200


def test_speech_is_charged_by_its_characters(call: Any, book: Any) -> None:
    plan = call(HOST, "/v1/audio/speech", {"model": "tts-1", "input": "Grüße!", "voice": "alloy"})
    assert plan.bound.exact
    assert plan.reserve_nano == 6 * 15_000
    meter = book.meter(plan, 200, ((b"content-type", b"audio/mpeg"),))
    meter.feed(b"\xff\xfb" * 1_000)
    charge = meter.charge(complete=True)
    assert (charge.amount_nano, charge.method, charge.estimated) == (6 * 15_000, "request", False)
    found = call(HOST, "/v1/audio/speech", {"model": "tts-1", "input": ["a"]})
    assert isinstance(found, Unpriced)


def form(**fields: str) -> tuple[bytes, tuple[bytes, bytes]]:
    parts = [
        b'Content-Disposition: form-data; name="%b"\r\n\r\n%b' % (k.encode(), v.encode()) for k, v in fields.items()
    ]
    parts.append(b'Content-Disposition: form-data; name="file"; filename="a.mp3"\r\n\r\n' + b"x" * 48_000)
    body = b"".join(b"--b\r\n%b\r\n" % part for part in parts) + b"--b--\r\n"
    return body, (b"content-type", b"multipart/form-data; boundary=b")


def test_a_transcript_is_bounded_by_the_length_of_the_file(call: Any) -> None:
    body, kind = form(model="whisper-1")
    plan = call(HOST, "/v1/audio/transcriptions", body, kind)
    assert isinstance(plan, Plan), plan
    assert plan.reserve_nano >= 96 * 100_000
    ((unit, seconds),) = plan.bound.works[0].fees
    assert (unit, seconds >= 96) == ("input_audio_seconds", True)
    body, kind = form(model="gpt-4o-transcribe")
    plan = call(HOST, "/v1/audio/transcriptions", body, kind)
    assert work(plan)[0] >= 96 * 10
    assert "input_audio_tokens" in plan.bound.works[0].units


def test_pictures_are_bounded_by_their_number(call: Any) -> None:
    ask = {"model": "gpt-image-1", "prompt": "a cat"}
    one = call(HOST, "/v1/images/generations", ask)
    four = call(HOST, "/v1/images/generations", ask | {"n": 4})
    assert work(four)[1] == 4 * work(one)[1] == 4 * 16_384
    body, kind = form(model="gpt-image-1", prompt="a cat", n="4")
    assert work(call(HOST, "/v1/images/edits", body, kind))[1] == 4 * 16_384
    for n in (0, "2", 1.5):
        assert isinstance(call(HOST, "/v1/images/generations", ask | {"n": n}), Unpriced)
    assert isinstance(call(HOST, "/v1/images/generations", ask | {"model": "dall-e-3"}), Unpriced)
    body, kind = form(model="gpt-image-1", n="many")
    assert isinstance(call(HOST, "/v1/images/edits", body, kind), Unpriced)
