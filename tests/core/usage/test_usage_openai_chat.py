"""Chat Completions: usage is found, and a client that did not ask for it sees the stream of a direct connection."""

from __future__ import annotations

import itertools
import json
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from douane.core.usage.openai_chat import OpenAIChat, event_without_usage, measured, with_usage

USAGE = {
    "prompt_tokens": 20,
    "completion_tokens": 10,
    "total_tokens": 30,
    "prompt_tokens_details": {"cached_tokens": 5, "audio_tokens": 0},
    "completion_tokens_details": {"reasoning_tokens": 4, "audio_tokens": 0},
}


def event(value: Any) -> bytes:
    return b"data: " + json.dumps(value, separators=(",", ":"), ensure_ascii=False).encode() + b"\n\n"


def chunk(delta: dict[str, Any], **more: Any) -> dict[str, Any]:
    choice = {"index": 0, "delta": delta, "logprobs": None, "finish_reason": None}
    return {
        "id": "chatcmpl-1",
        "object": "chat.completion.chunk",
        "model": "gpt-4.1-2025-04-14",
        "choices": [choice],
        **more,
    }


def stream(asked: bool, words: list[str]) -> bytes:
    """What the provider sends with and without `include_usage`: a null in every event, and one more event."""
    extra: dict[str, Any] = {"usage": None} if asked else {}
    events = [event(chunk({"role": "assistant", "content": ""}, service_tier="default", **extra, obfuscation="aB"))]
    events += [event(chunk({"content": word}, **extra, obfuscation="x" * len(word))) for word in words]
    if asked:
        events.append(event(chunk({}) | {"choices": [], "usage": USAGE}))
    return b": keep-alive\n\n" + b"".join(events) + b"data: [DONE]\n\n"


def pass_through(reader: OpenAIChat, data: bytes, cuts: list[int]) -> bytes:
    edges = [0, *sorted(min(cut, len(data)) for cut in cuts), len(data)]
    passed = [reader.feed(data[start:end]) for start, end in itertools.pairwise(edges)]
    return b"".join(passed) + reader.end()


@given(
    st.lists(st.text(max_size=8).filter(lambda t: t.isprintable()), max_size=5),
    st.lists(st.integers(0, 3000), max_size=12),
)
def test_a_client_that_did_not_ask_gets_the_bytes_of_a_direct_connection(words: list[str], cuts: list[int]) -> None:
    reader = OpenAIChat(strip=True)
    assert pass_through(reader, stream(True, words), cuts) == stream(False, words)
    assert reader.usage.reported
    assert reader.usage.totals() == {"input_tokens": 20, "output_tokens": 10, "cache_read_tokens": 5}
    assert (reader.usage.model, reader.usage.service_tier) == ("gpt-4.1-2025-04-14", "default")
    assert reader.visible_bytes == sum(len(word.encode()) for word in words)


@given(st.lists(st.integers(0, 3000), max_size=12))
def test_a_client_that_asked_gets_every_byte_at_once(cuts: list[int]) -> None:
    reader = OpenAIChat(strip=False)
    data = stream(True, ["a", "b"])
    edges = [0, *sorted(min(cut, len(data)) for cut in cuts), len(data)]
    for start, end in itertools.pairwise(edges):
        assert reader.feed(data[start:end]) == data[start:end]
    assert reader.end() == b""
    assert reader.usage.reported


def test_only_an_incomplete_event_is_held_back() -> None:
    reader = OpenAIChat(strip=True)
    data = stream(True, ["one", "two"])
    first = data.index(b"\n\n", 20) + 2
    assert reader.feed(data[: first + 10]).endswith(b"\n\n")
    assert reader.feed(b"") == b""


@pytest.mark.parametrize(
    ("with_it", "without"),
    [
        (b'{"a":1,"usage":null}', b'{"a":1}'),
        (b'{"a":1,"usage":null,"b":2}', b'{"a":1,"b":2}'),
        (b'{"usage":null,"a":1}', b'{"a":1}'),
        (b'{"a": 1, "usage": null, "b": "\\"usage\\":null"}', b'{"a": 1, "b": "\\"usage\\":null"}'),
        (b'{"a":{"usage":null},"usage":null}', b'{"a":{"usage":null}}'),
        (b'{"a":1,"usage":{"prompt_tokens":1},"choices":[{}]}', b'{"a":1,"choices":[{}]}'),
    ],
)
def test_the_usage_member_is_cut_where_it_stands(with_it: bytes, without: bytes) -> None:
    for end in (b"\n\n", b"\r\n\r\n"):
        assert event_without_usage(b"data: " + with_it + end, with_it) == b"data: " + without + end
    assert (
        event_without_usage(b"event: x\ndata: " + with_it + b"\n\n", with_it) == b"event: x\ndata: " + without + b"\n\n"
    )


def test_an_event_that_cannot_be_read_passes_and_counts_as_seen() -> None:
    reader = OpenAIChat(strip=True)
    for odd in (
        b"data: {broken\n\n",
        b"data: [1]\n\n",
        b'data: {"choices":7}\n\n',
        b'data: {"choices":[1,{"delta":2}]}\n\n',
    ):
        assert reader.feed(odd) == odd
    assert reader.visible_bytes >= len(b"{broken")
    assert not reader.usage.reported


def test_usage_without_the_last_blank_line_still_counts() -> None:
    reader = OpenAIChat(strip=True)
    reader.feed(event({"choices": [], "usage": USAGE}).rstrip())
    assert reader.end() == b""
    assert reader.usage.reported


@pytest.mark.parametrize(
    ("usage", "wanted"),
    [
        ({"prompt_tokens": 3, "completion_tokens": 4}, (3, 4)),
        ({"prompt_tokens": 3, "total_tokens": 10}, (3, 7)),
        ({"completion_tokens": 4, "total_tokens": 10}, (6, 4)),
        ({"prompt_tokens": 3}, (3, 0)),
        ({"prompt_tokens": 3, "prompt_tokens_details": None, "completion_tokens_details": [1]}, (3, 0)),
    ],
)
def test_missing_counts(usage: dict[str, Any], wanted: tuple[int, int]) -> None:
    found = measured(usage)
    assert found is not None
    assert (found["input_tokens"], found["output_tokens"]) == wanted


@pytest.mark.parametrize(
    "usage", [{}, {"total_tokens": 5}, {"prompt_tokens": True}, {"prompt_tokens": "3"}, {"prompt_tokens": -1}]
)
def test_what_has_no_counts_is_no_usage(usage: dict[str, Any]) -> None:
    assert measured(usage) is None


@pytest.mark.parametrize(
    ("body", "wanted"),
    [
        (b'{"stream": true}', b'{"stream": true,"stream_options":{"include_usage":true}}'),
        (b'{"stream":true,"stream_options":null}\n', b'{"stream":true,"stream_options":{"include_usage":true}}\n'),
        (
            b'{"stream_options" : {"include_obfuscation": false,"include_usage":false}, "n": 1.0, "stream":true}',
            b'{"stream_options" :{"include_obfuscation":false,"include_usage":true}, "n": 1.0, "stream":true}',
        ),
    ],
)
def test_usage_is_asked_for_and_nothing_else_changes(body: bytes, wanted: bytes) -> None:
    assert with_usage(body, json.loads(body)) == wanted
