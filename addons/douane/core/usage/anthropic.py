"""Anthropic Messages: usage in the JSON, or spread over a stream's `message_start` and cumulative `message_delta`."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

import orjson

from douane.core.usage.sse import EventSplitter, data_of
from douane.core.usage.tokens import Measured, Usage, count, keep_larger


class AnthropicMessages:
    """Reads one response and changes nothing about it."""

    def __init__(self, *, stream: bool) -> None:
        self._splitter = EventSplitter() if stream else None
        self._usage: dict[str, Any] = {}
        self.usage = Usage()
        self.visible_bytes = 0

    def feed(self, data: bytes) -> bytes:
        """Read a chunk of a stream; returns it."""
        assert self._splitter is not None
        for event in self._splitter.feed(data):
            if not self._splitter.overflowed:
                self._event(data_of(event))
        return data

    def end(self) -> bytes:
        """The stream is over; nothing was kept back."""
        return b""

    def whole(self, body: bytes) -> None:
        """Read a whole JSON response; raises `ValueError`."""
        answer = orjson.loads(body)
        if isinstance(answer, dict):
            self._message(answer)
            self.usage.reported = bool(self.usage.parts)

    def _event(self, data: bytes) -> None:
        try:
            event = orjson.loads(data) if data else None
        except orjson.JSONDecodeError:
            return
        if not isinstance(event, dict):
            return
        match event.get("type"):
            case "message_start" if isinstance(message := event.get("message"), dict):
                self._message(message)
            case "message_delta":
                self._take(event.get("usage"))
                delta = event.get("delta")
                if isinstance(delta, dict) and delta.get("stop_reason"):
                    self.usage.reported = bool(self.usage.parts)
            case "content_block_delta" if isinstance(delta := event.get("delta"), dict):
                self.visible_bytes += sum(
                    len(value.encode("utf-8", "replace"))
                    for name, value in delta.items()
                    if isinstance(value, str) and name not in ("type", "signature")
                )

    def _message(self, message: Mapping[str, Any]) -> None:
        if isinstance(model := message.get("model"), str):
            self.usage.model = model
        if isinstance(response_id := message.get("id"), str):
            self.usage.response_id = response_id
        self._take(message.get("usage"))

    def _take(self, reported: Any) -> None:
        if not isinstance(reported, Mapping):
            return
        keep_larger(self._usage, reported)
        for name, attribute in (("service_tier", "service_tier"), ("inference_geo", "geography"), ("speed", "speed")):
            if isinstance(value := self._usage.get(name), str):
                setattr(self.usage, attribute, value)
        self.usage.parts = parts_of(self._usage)


def parts_of(usage: Mapping[str, Any]) -> list[tuple[str | None, Measured]]:
    """The quantities by model.

    `iterations` (compaction, advisors, fallbacks) has all of the work, each piece at its own model; the top level has
    only the last message's input, so it counts only where there are no iterations.
    """
    iterations = usage.get("iterations")
    found: list[tuple[str | None, Measured]] = []
    for part in iterations if isinstance(iterations, list) else ():
        if isinstance(part, Mapping) and (quantities := measured(part)) is not None:
            model = part.get("model")
            found.append((model if isinstance(model, str) else None, quantities))
    whole = measured(usage)
    if not found:
        found = [(None, whole)] if whole is not None else []
    elif whole is not None and sum(q.output_tokens for _, q in found) < whole.output_tokens:
        # A stream's iterations may lag behind its cumulative count: the larger of the two is owed.
        found[-1][1].output_tokens += whole.output_tokens - sum(q.output_tokens for _, q in found)
    tools = usage.get("server_tool_use")
    if found and isinstance(tools, Mapping):
        found[0][1].web_searches = count(tools.get("web_search_requests")) or 0
    return found


def measured(usage: Mapping[str, Any]) -> Measured | None:
    """The quantities of one usage object; None where it has no counts."""
    plain, output = count(usage.get("input_tokens")), count(usage.get("output_tokens"))
    if plain is None and output is None:
        return None
    read = count(usage.get("cache_read_input_tokens")) or 0
    split = usage.get("cache_creation")
    split = split if isinstance(split, Mapping) else {}
    hour = count(split.get("ephemeral_1h_input_tokens")) or 0
    five = count(split.get("ephemeral_5m_input_tokens")) or 0
    written = max(count(usage.get("cache_creation_input_tokens")) or 0, hour + five)
    return Measured(
        input_tokens=(plain or 0) + read + written,
        output_tokens=output or 0,
        cache_read_tokens=read,
        cache_write_tokens=written,
        cache_write_1h_tokens=hour,
    )
