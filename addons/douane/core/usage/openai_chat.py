"""OpenAI Chat Completions: usage in the JSON, or in a stream's last chunk where `include_usage` asked for it."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

import orjson

from douane.core.usage.members import with_member, with_value, without_member
from douane.core.usage.sse import EventSplitter, Piece, data_of
from douane.core.usage.tokens import Quantities, Usage, count, keep_larger, mapping, text


class OpenAIChat:
    """Reads one response; a stream loses what only the meter asked for. Streams never make it raise."""

    members: tuple[str, ...] = ("id", "model", "service_tier", "usage")
    """What is read of a JSON answer."""

    def __init__(self, *, strip: bool) -> None:
        self._splitter = EventSplitter()
        self._strip = strip
        self._usage: dict[str, Any] = {}
        self.usage = Usage()
        self.visible_bytes = 0
        """Of the answer as far as it came."""

    def feed(self, data: bytes) -> bytes:
        """Read a chunk of a stream; returns what goes to the client."""
        kept = [self._passed(piece) for piece in self._splitter.feed(data)]
        return b"".join(kept) if self._strip else data

    def end(self) -> bytes:
        """The stream is over; returns what is still to send."""
        rest = self._passed(self._splitter.rest())
        return rest if self._strip else b""

    def whole(self, answer: Mapping[str, Any]) -> None:
        """Read a JSON answer, or what was read of one."""
        usage = self.usage
        usage.model = text(answer.get("model"), usage.model)
        usage.response_id = text(answer.get("id"), usage.response_id)
        usage.service_tier = text(answer.get("service_tier"), usage.service_tier)
        if isinstance(reported := answer.get("usage"), Mapping):
            keep_larger(self._usage, reported)
            if (found := measured(self._usage)) is not None:
                usage.parts = [(None, found)]
                usage.reported = True

    def _passed(self, piece: Piece) -> bytes:
        try:
            return self._piece(piece)
        except Exception:  # noqa: BLE001 - an event that cannot be read goes on as it came
            self.visible_bytes += len(piece.data)
            return piece.data

    def _piece(self, piece: Piece) -> bytes:
        event = piece.data
        if not piece.whole:
            self.visible_bytes += len(event)
            return event
        data = data_of(event)
        if not data.startswith(b"{"):
            return event
        try:
            chunk = orjson.loads(data)
        except orjson.JSONDecodeError:
            self.visible_bytes += len(data)
            return event
        choices = chunk.get("choices")
        if isinstance(choices, list):
            self.visible_bytes += sum(_answer_bytes(choice) for choice in choices)
        self.whole(chunk)
        if not self._strip or "usage" not in chunk:
            return event
        if not choices and chunk["usage"] is not None:
            return b""
        return event_without_usage(event, data)


def event_without_usage(event: bytes, data: bytes) -> bytes:
    """The event as it is when nobody asked for usage."""
    if event.count(b',"usage":null') == 1 and event.count(b'"usage"') == 1:  # as OpenAI writes it
        return event.replace(b',"usage":null', b"")
    cut = without_member(data, "usage")
    if event.count(data) == 1:
        return event.replace(data, cut)
    return b"data: " + cut.replace(b"\n", b"") + b"\n\n"


def with_usage(body: bytes, parsed: Mapping[str, Any]) -> bytes:
    """A request's body with `stream_options.include_usage`, changed in this one place and otherwise as it was."""
    options = orjson.dumps({**mapping(parsed.get("stream_options")), "include_usage": True})
    change = with_value if "stream_options" in parsed else with_member
    return change(body, "stream_options", options)


def _answer_bytes(choice: Any) -> int:
    """Bytes of text, arguments and the like in one choice's delta."""
    total = 0
    for name, value in mapping(mapping(choice).get("delta")).items():
        if isinstance(value, str):
            total += len(value.encode("utf-8", "replace")) if name != "role" else 0
        elif value:
            total += len(orjson.dumps(value))
    return total


def measured(usage: Mapping[str, Any]) -> Quantities | None:
    """The quantities of a `usage` object; None where it has no counts.

    Cached, written and spoken tokens are parts of the prompt; what contradicts that is left as it is, for the price to
    be a conservative one.
    """
    prompt, completion = count(usage.get("prompt_tokens")), count(usage.get("completion_tokens"))
    total = count(usage.get("total_tokens"))
    if prompt is None and completion is None:
        return None
    inputs, outputs = mapping(usage.get("prompt_tokens_details")), mapping(usage.get("completion_tokens_details"))
    prompt = prompt if prompt is not None else max(0, (total or 0) - (completion or 0))
    completion = completion if completion is not None else max(0, (total or 0) - prompt)
    return {
        "input_tokens": prompt,
        "output_tokens": completion,
        "cache_read_tokens": count(inputs.get("cached_tokens")) or 0,
        "cache_write_tokens": count(inputs.get("cache_write_tokens")) or 0,
        "input_audio_tokens": count(inputs.get("audio_tokens")) or 0,
        "output_audio_tokens": count(outputs.get("audio_tokens")) or 0,
    }
