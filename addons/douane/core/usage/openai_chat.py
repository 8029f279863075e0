"""OpenAI Chat Completions: usage in the JSON, or in a stream's last chunk where `include_usage` asked for it."""

from __future__ import annotations

import json
from collections.abc import Mapping
from typing import Any

import orjson

from douane.core.usage.sse import EventSplitter, data_of
from douane.core.usage.tokens import Measured, Usage, count, keep_larger


class OpenAIChat:
    """Reads one response; a stream loses what only the meter asked for."""

    def __init__(self, *, stream: bool, strip: bool) -> None:
        self._splitter = EventSplitter() if stream else None
        self._strip = strip
        self._usage: dict[str, Any] = {}
        self.usage = Usage()
        self.visible_bytes = 0
        """Of the answer as far as it came."""

    def feed(self, data: bytes) -> bytes:
        """Read a chunk of a stream; returns what goes to the client."""
        assert self._splitter is not None
        out = []
        for event in self._splitter.feed(data):
            kept = event if self._splitter.overflowed else self._event(event)
            if kept:
                out.append(kept)
        return b"".join(out) if self._strip else data

    def end(self) -> bytes:
        """The stream is over; returns what is still to send."""
        rest = self._splitter.rest() if self._splitter is not None else b""
        return rest if self._strip else b""

    def whole(self, body: bytes) -> None:
        """Read a whole JSON response; raises `ValueError`."""
        self._take(orjson.loads(body))

    def _event(self, event: bytes) -> bytes:
        data = data_of(event)
        if not data.startswith(b"{"):
            return event
        try:
            chunk = orjson.loads(data)
        except orjson.JSONDecodeError:
            return event
        if not isinstance(chunk, dict):
            return event
        for choice in chunk.get("choices") or ():
            if isinstance(choice, dict) and isinstance(delta := choice.get("delta"), dict):
                self.visible_bytes += _text_bytes(delta)
        self._take(chunk)
        if not self._strip or "usage" not in chunk:
            return event
        if chunk["usage"] is not None and not chunk.get("choices"):
            return b""
        return _without_usage(event, chunk)

    def _take(self, answer: Any) -> None:
        if not isinstance(answer, dict):
            return
        if isinstance(model := answer.get("model"), str):
            self.usage.model = model
        if isinstance(response_id := answer.get("id"), str):
            self.usage.response_id = response_id
        if isinstance(tier := answer.get("service_tier"), str):
            self.usage.service_tier = tier
        if isinstance(reported := answer.get("usage"), Mapping):
            keep_larger(self._usage, reported)
            found = measured(self._usage)
            if found is not None:
                self.usage.parts = [(None, found)]
                self.usage.reported = True


def _text_bytes(delta: Mapping[str, Any]) -> int:
    total = 0
    for value in delta.values():
        if isinstance(value, str):
            total += len(value.encode("utf-8", "replace"))
        elif isinstance(value, list | dict):
            total += len(orjson.dumps(value))
    return total


def _without_usage(event: bytes, chunk: dict[str, Any]) -> bytes:
    """The event without its `usage` member: cut out where it stands plainly, else written anew."""
    for plain in (b',"usage":null', b', "usage": null', b'"usage":null,', b'"usage": null, '):
        if event.count(plain) == 1 and event.count(b'"usage"') == 1:
            return event.replace(plain, b"")
    kept = {name: value for name, value in chunk.items() if name != "usage"}
    return b"data: " + json.dumps(kept, separators=(",", ":"), ensure_ascii=False).encode() + b"\n\n"


def measured(usage: Mapping[str, Any]) -> Measured | None:
    """The quantities of a `usage` object; None where it has no counts."""
    prompt, completion = count(usage.get("prompt_tokens")), count(usage.get("completion_tokens"))
    if prompt is None and completion is None:
        return None
    total = count(usage.get("total_tokens"))
    inputs = usage.get("prompt_tokens_details") or {}
    outputs = usage.get("completion_tokens_details") or {}
    inputs = inputs if isinstance(inputs, Mapping) else {}
    outputs = outputs if isinstance(outputs, Mapping) else {}
    prompt = prompt or 0
    completion = completion if completion is not None else max(0, (total or 0) - prompt)
    audio = count(inputs.get("audio_tokens")) or 0
    return Measured(
        input_tokens=prompt,
        output_tokens=completion,
        cache_read_tokens=min(count(inputs.get("cached_tokens")) or 0, prompt),
        cache_write_tokens=min(count(inputs.get("cache_write_tokens")) or 0, prompt),
        input_audio_tokens=min(audio, prompt),
        output_audio_tokens=min(count(outputs.get("audio_tokens")) or 0, completion),
    )
