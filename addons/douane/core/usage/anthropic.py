"""Anthropic Messages: usage in the JSON, in a stream's first and later events, or in the results of a batch."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from douane.core.usage.framing import Framing
from douane.core.usage.reader import Reader, size
from douane.core.usage.tokens import Quantities, count, keep_larger, mapping, stated_cost, text


class AnthropicMessages(Reader):
    """Reads one message."""

    members: tuple[str, ...] = ("id", "model", "usage")

    def __init__(self, framing: Framing = "sse") -> None:
        super().__init__(framing)
        self._usage: dict[str, Any] = {}

    def whole(self, answer: Mapping[str, Any]) -> None:
        """Read a JSON answer, or what was read of one."""
        self._message(answer)
        self.usage.reported = bool(self.usage.parts)

    def event(self, event: Mapping[str, Any]) -> None:
        """Read one event of a stream."""
        match event.get("type"):
            case "message_start":
                self._message(mapping(event.get("message")))
            case "message_delta":
                self._take(event.get("usage"))
                if mapping(event.get("delta")).get("stop_reason"):
                    self.usage.reported = bool(self.usage.parts)
            case "content_block_start":
                block = mapping(event.get("content_block"))
                self.visible_bytes += sum(size(block.get(name)) for name in ("text", "thinking", "input", "content"))
            case "content_block_delta":
                delta = mapping(event.get("delta"))
                self.visible_bytes += sum(
                    size(value) for name, value in delta.items() if name not in ("type", "signature")
                )

    def _message(self, message: Mapping[str, Any]) -> None:
        self.usage.model = text(message.get("model"), self.usage.model)
        self.usage.response_id = text(message.get("id"), self.usage.response_id)
        self._take(message.get("usage"))

    def _take(self, reported: Any) -> None:
        if not isinstance(reported, Mapping):
            return
        keep_larger(self._usage, reported)
        usage = self.usage
        usage.service_tier = text(self._usage.get("service_tier"), usage.service_tier)
        usage.geography = text(self._usage.get("inference_geo"), usage.geography)
        usage.speed = text(self._usage.get("speed"), usage.speed)
        usage.stated_nano = stated_cost(self._usage) or usage.stated_nano
        usage.parts = parts_of(self._usage)


class BatchBegun(Reader):
    """The answer to a batch: its work goes on, and its usage comes with its results."""

    members = ("id", "processing_status")

    def whole(self, answer: Mapping[str, Any]) -> None:
        """Read a JSON answer."""
        self.usage.response_id = text(answer.get("id"))
        self.usage.pending = self.usage.response_id is not None and answer.get("processing_status") != "ended"


class AnthropicBatch(Reader):
    """The results of a batch: a line for each message, with the message's own usage (docs: Message Batches).

    Whoever prices them takes `parts` away from time to time: a batch has up to 100,000 messages.
    """

    def __init__(self, framing: Framing = "lines") -> None:
        super().__init__(framing)
        self.usage.batch = True

    def whole(self, answer: Mapping[str, Any]) -> None:
        """Read one line, or a download of only one."""
        result = mapping(answer.get("result"))
        self.usage.reported = self.usage.reported or "custom_id" in answer
        if result.get("type") != "succeeded":
            return
        message = mapping(result.get("message"))
        model = text(message.get("model"))
        reported = mapping(message.get("usage"))
        self.usage.geography = text(reported.get("inference_geo"), self.usage.geography)
        for own, quantities in parts_of(reported):
            self.usage.parts.append((own or model, quantities))


def parts_of(usage: Mapping[str, Any]) -> list[tuple[str | None, Quantities]]:
    """The quantities by model.

    `iterations` (compaction, advisors, fallbacks) has all of the work, each piece at its own model; the top level has
    some of it, so it counts only where there are no iterations, and as a floor.
    """
    iterations = usage.get("iterations")
    found = [
        (text(part.get("model")), quantities)
        for part in (iterations if isinstance(iterations, list) else ())
        if (quantities := measured(mapping(part))) is not None
    ]
    whole = measured(usage)
    if not found:
        found = [(None, whole)] if whole is not None else []
    elif whole is not None:
        for unit in ("input_tokens", "output_tokens"):  # a cumulative count may be ahead: the larger is owed
            ahead = whole[unit] - sum(quantities[unit] for _, quantities in found)
            found[-1][1][unit] += max(0, ahead)
    if found:
        tools = mapping(usage.get("server_tool_use"))
        found[0][1]["web_searches"] = count(tools.get("web_search_requests")) or 0
    return found


def measured(usage: Mapping[str, Any]) -> Quantities | None:
    """The quantities of one usage object; None where it has no counts."""
    plain, output = count(usage.get("input_tokens")), count(usage.get("output_tokens"))
    if plain is None and output is None:
        return None
    read = count(usage.get("cache_read_input_tokens")) or 0
    split = mapping(usage.get("cache_creation"))
    hour = count(split.get("ephemeral_1h_input_tokens")) or 0
    five = count(split.get("ephemeral_5m_input_tokens")) or 0
    written = max(count(usage.get("cache_creation_input_tokens")) or 0, hour + five)
    if hour:  # what a stream wrote after its split was told is taken for the dearer kind
        hour = written - five
    return {
        "input_tokens": (plain or 0) + read + written,
        "output_tokens": output or 0,
        "cache_read_tokens": read,
        "cache_write_tokens": written,
        "cache_write_1h_tokens": hour,
    }
