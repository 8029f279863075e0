"""OpenAI Chat Completions: usage in the JSON, or in a stream's last chunk where `include_usage` asked for it."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

import orjson

from douane.core.usage.framing import Framing
from douane.core.usage.members import with_member, with_value, without_member
from douane.core.usage.reader import Reader, size
from douane.core.usage.sse import Piece
from douane.core.usage.tokens import Quantities, count, keep_larger, mapping, stated_cost, text


class OpenAIChat(Reader):
    """Reads one response; a stream loses what only the meter asked for."""

    members = ("id", "model", "service_tier", "usage", "x_groq")

    def __init__(self, framing: Framing = "sse", *, strip: bool = False) -> None:
        super().__init__(framing)
        self._strip = strip
        self._usage: dict[str, Any] = {}
        self._kept: list[bytes] = []
        """Of the chunk that is being read: what goes on to a client that did not ask for usage."""
        self._event = b""

    def feed(self, data: bytes) -> bytes:
        """Read a chunk of a stream; returns what goes to the client."""
        super().feed(data)
        return self._taken() if self._strip else data

    def end(self) -> bytes:
        """The stream is over; returns what is still to send."""
        super().end()
        return self._taken() if self._strip else b""

    def whole(self, answer: Mapping[str, Any]) -> None:
        """Read a JSON answer, a chunk, or what was read of one."""
        usage = self.usage
        usage.model = text(answer.get("model"), usage.model)
        usage.response_id = text(answer.get("id"), usage.response_id)
        usage.service_tier = text(answer.get("service_tier"), usage.service_tier)
        reported = answer.get("usage")
        if not isinstance(reported, Mapping):
            reported = mapping(answer.get("x_groq")).get("usage")
        if isinstance(reported, Mapping):
            keep_larger(self._usage, reported)
            usage.stated_nano = stated_cost(self._usage) or usage.stated_nano
            if (found := measured(self._usage)) is not None:
                usage.parts = [(None, found)]
                usage.reported = True

    def event(self, event: Mapping[str, Any]) -> None:
        """Read one chunk."""
        choices = event.get("choices")
        if isinstance(choices, list):
            self.visible_bytes += sum(_answer_bytes(choice) for choice in choices)
        self.whole(event)

    def _taken(self) -> bytes:
        kept, self._kept = b"".join(self._kept), []
        return kept

    def _piece(self, piece: Piece) -> None:
        self._event = piece.data
        super()._piece(piece)
        if self._strip:
            self._kept.append(self._event)

    def read(self, payload: bytes) -> None:
        """Read the JSON of one chunk, and cut out of it what nobody asked for."""
        if payload[:1] != b"{":
            return
        chunk = orjson.loads(payload)
        self.event(chunk)
        if not self._strip or "usage" not in chunk:
            return
        if not chunk.get("choices") and chunk["usage"] is not None:
            self._event = b""
        else:
            self._event = event_without_usage(self._event, payload)


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
    total = size(mapping(choice).get("text"))  # Completions have no delta
    for name, value in mapping(mapping(choice).get("delta")).items():
        total += size(value) if name not in ("role", "token_id") else 0
    return total


def measured(usage: Mapping[str, Any]) -> Quantities | None:
    """The quantities of a `usage` object; None where it has no counts.

    Cached, written and spoken tokens are parts of the prompt; what contradicts that is left as it is, for the price to
    be a conservative one. A total beyond both counts is reasoning that xAI and Google leave out of the completion.
    """
    prompt, completion = count(usage.get("prompt_tokens")), count(usage.get("completion_tokens"))
    total = count(usage.get("total_tokens")) or 0
    if prompt is None and completion is None:
        return None
    inputs, outputs = mapping(usage.get("prompt_tokens_details")), mapping(usage.get("completion_tokens_details"))
    prompt = prompt if prompt is not None else max(0, total - (completion or 0))
    completion = max(completion or 0, total - prompt)
    cached = (inputs.get("cached_tokens"), usage.get("cached_tokens"), usage.get("prompt_cache_hit_tokens"))
    found = {
        "input_tokens": prompt,
        "output_tokens": completion,
        "cache_read_tokens": max(count(value) or 0 for value in cached),
        "cache_write_tokens": count(inputs.get("cache_write_tokens")) or 0,
        "input_audio_tokens": count(inputs.get("audio_tokens")) or 0,
        "output_audio_tokens": count(outputs.get("audio_tokens")) or 0,
    }
    return found if _EXTRAS.isdisjoint(usage) else found | _extras(usage)


_EXTRAS = frozenset(
    {"citation_tokens", "reasoning_tokens", "num_search_queries", "num_sources_used", "server_tool_use"}
    | {"server_side_tool_usage_details", "num_server_side_tools_used"}
)


def _extras(usage: Mapping[str, Any]) -> Quantities:
    """What Perplexity, xAI and OpenRouter charge beside the prompt and the completion."""
    found: Quantities = {}
    if cited := count(usage.get("citation_tokens")):
        found["output_citation_tokens"] = cited
    if reasoned := count(usage.get("reasoning_tokens")):
        found["output_reasoning_tokens"] = reasoned
    if searched := count(usage.get("num_search_queries")):
        found["web_searches"] = searched
    if sources := count(usage.get("num_sources_used")):
        found["search_sources"] = sources
    if requested := count(mapping(usage.get("server_tool_use")).get("web_search_requests")):
        found["web_searches"] = requested
    return found | server_side_tools(usage)


def server_side_tools(usage: Mapping[str, Any]) -> Quantities:
    """The calls of xAI's own tools."""
    told = mapping(usage.get("server_side_tool_usage_details"))
    found = {
        unit: number
        for unit, name in (
            ("web_searches", "web_search_calls"),
            ("social_searches", "x_search_calls"),
            ("code_executions", "code_interpreter_calls"),
            ("storage_searches", "file_search_calls"),
            ("document_searches", "document_search_calls"),
        )
        if (number := count(told.get(name)))
    }
    unnamed = (count(usage.get("num_server_side_tools_used")) or 0) - sum(found.values())
    if unnamed > 0 and not told:
        found["web_searches"] = unnamed  # at the dearest of their prices
    return found
