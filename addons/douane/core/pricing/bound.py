"""The worst case: the most that a request can use, read out of its body. One function per API.

A text request has at most as many tokens as its body has bytes, and what the provider adds of its own. Media and what
is only referred to are bounded by the model's context window; tools that the provider runs read it once per use.
"""

from __future__ import annotations

import re
from collections.abc import Callable, Iterable, Mapping
from dataclasses import dataclass
from typing import Any

from douane.core.charge import Unpriced
from douane.core.pricing.row import PriceRow
from douane.core.usage.tokens import count, mapping

HIDDEN_INPUT_TOKENS = 4_096
"""What a provider adds of its own to a text request: templates, tool definitions."""

SERVER_LOOPS = 10
"""Rounds that Anthropic's own tools make in one request before it answers `pause_turn`."""

_OPENAI_PLAIN = ("gpt-4o", "gpt-4.1", "gpt-4-", "gpt-4.5", "gpt-3.5", "chatgpt-4o", "gpt-5-chat")
_ANTHROPIC_PLAIN = ("claude-3", "claude-opus-4", "claude-sonnet-4", "claude-haiku-4")
"""Models that generate nothing unseen unless asked to."""

_OPENAI_TEXT = frozenset({"text", "refusal"})
_ANTHROPIC_TEXT = frozenset(
    {"text", "thinking", "redacted_thinking", "tool_use", "tool_result", "server_tool_use", "web_search_tool_result"}
    | {"search_result", "tool_reference", "tool_search_tool_result", "advisor_tool_result", "compaction", "fallback"}
)
"""Content that is all in the body; whatever else there is may stand for more."""

_CLIENT_TOOLS = ("bash_", "text_editor_", "computer_", "memory_")
_ESCAPED_ASCII = re.compile(rb"\\u00[0-7]")


@dataclass(frozen=True, slots=True)
class Work:
    """What one model may use for a request, at most."""

    input_tokens: int
    output_tokens: int
    units: frozenset[str] = frozenset({"cache_read_tokens"})
    """Units that may occur beside plain input and output."""
    web_searches: int = 0
    model: str | None = None
    """None: the request's."""


@dataclass(frozen=True, slots=True)
class Bound:
    """The worst case of one request."""

    works: tuple[Work, ...]
    hidden_output: bool
    """Whether the provider may generate, or do, what the client does not see."""


type RowOf = Callable[[str], PriceRow | None]


def bound_openai_chat(body: Mapping[str, Any], body_bytes: bytes, row: PriceRow, row_of: RowOf) -> Bound | Unpriced:  # noqa: ARG001
    """The worst case of a Chat Completions request."""
    model = str(body["model"])
    if "search" in model or body.get("web_search_options") is not None:
        return Unpriced(model, "Web searches of Chat Completions are charged beside their tokens and not metered yet.")
    for tool in _items(body.get("tools")):
        if (kind := mapping(tool).get("type")) not in ("function", "custom"):
            return Unpriced(model, f"The tool type {shown(kind)} runs at the provider and is not metered yet.")
    several = 1 if body.get("n") is None else count(body["n"])
    if not several:
        return Unpriced(model, "`n` has to be a positive integer: it multiplies what the call may cost.")
    spoken_in = b"audio" in body_bytes or _is_escaped(body_bytes)
    units = {"cache_read_tokens"}
    if "cache_write_tokens" in row.names:
        units.add("cache_write_tokens")
    if spoken_in and "input_audio_tokens" in row.names:
        units.add("input_audio_tokens")
    if "audio" in _items(body.get("modalities")):
        units.add("output_audio_tokens")
    refers = any(
        _holds_more(mapping(message).get("content"), _OPENAI_TEXT) or mapping(message).get("audio") is not None
        for message in _items(body.get("messages"))
    )
    output = _limit(body, ("max_completion_tokens", "max_tokens"), row) * several
    if body.get("prediction") is not None:  # what is predicted and not used is charged as output
        output += len(body_bytes) * several
    work = Work(_input_bound(len(body_bytes), row, refers=refers), output, frozenset(units))
    return Bound((work,), hidden_output=not model.startswith(_OPENAI_PLAIN))


def bound_anthropic(body: Mapping[str, Any], body_bytes: bytes, row: PriceRow, row_of: RowOf) -> Bound | Unpriced:
    """The worst case of a Messages request."""
    model = str(body["model"])
    if body.get("mcp_servers") or body.get("container") is not None:
        return Unpriced(
            model, "MCP servers and containers at the provider run without a limit and are not metered yet."
        )
    if any("fallback" in name for name in body):
        return Unpriced(model, "A call that further models may answer is not metered yet.")
    rounds, searches, works = 0, 0, []
    for tool in _items(body.get("tools")):
        found = _server_tool(model, mapping(tool), row_of)
        if isinstance(found, Unpriced):
            return found
        uses, advice = found
        rounds += uses
        if advice is not None:
            works.append(advice)
        elif str(mapping(tool).get("type")).startswith("web_search_"):
            searches += uses
    escaped = _is_escaped(body_bytes)
    units = {"cache_read_tokens"}
    if escaped or b"cache_control" in body_bytes:
        units.add("cache_write_tokens")
        if escaped or b'"1h"' in body_bytes:
            units.add("cache_write_1h_tokens")
    contents = [mapping(message).get("content") for message in _items(body.get("messages"))]
    refers = any(_holds_more(content, _ANTHROPIC_TEXT) for content in (*contents, body.get("system")))
    input_tokens = _input_bound(len(body_bytes), row, refers=refers)
    output_tokens = _limit(body, ("max_tokens",), row)
    if rounds:
        input_tokens, output_tokens = row.context_tokens * (1 + rounds), output_tokens * (1 + rounds)
    edits = _items(mapping(body.get("context_management")).get("edits"))
    if any(not str(mapping(edit).get("type")).startswith("clear_") for edit in edits):
        # Compaction reads the whole conversation once more and writes a summary of its own.
        input_tokens *= 2
        output_tokens += row.max_output_tokens * (1 + rounds)
    thinking = body.get("thinking")
    hidden = (
        bool(rounds or edits)
        or (thinking is not None and mapping(thinking).get("type") != "disabled")
        or not model.startswith(_ANTHROPIC_PLAIN)
    )
    works.insert(0, Work(input_tokens, output_tokens, frozenset(units), searches))
    return Bound(tuple(works), hidden)


def _server_tool(model: str, tool: Mapping[str, Any], row_of: RowOf) -> tuple[int, Work | None] | Unpriced:
    """(rounds that a tool adds, work of another model); 0 for tools that the client runs."""
    kind = tool.get("type")
    if kind is None or kind == "custom" or (isinstance(kind, str) and kind.startswith(_CLIENT_TOOLS)):
        return 0, None
    uses = count(tool.get("max_uses"))
    name = str(kind)
    if name.startswith(("web_search_", "advisor_")) and uses is None:
        return Unpriced(model, f"The tool {shown(kind)} may run without a limit. Give it `max_uses`.")
    if name.startswith("web_search_"):
        return uses or 0, None
    if name.startswith(("web_fetch_", "tool_search_tool_")):
        return SERVER_LOOPS if uses is None else uses, None
    if name.startswith("advisor_"):
        adviser = tool.get("model")
        row = row_of(adviser) if isinstance(adviser, str) else None
        if row is None or uses is None:
            return Unpriced(model, f"There is no price for the advisor's model {shown(adviser)}.")
        units = frozenset({"cache_read_tokens", "cache_write_tokens", "cache_write_1h_tokens"}) & row.names
        return uses, Work(row.context_tokens * uses, row.max_output_tokens * uses, units, model=str(adviser))
    return Unpriced(model, f"The tool type {shown(kind)} runs at the provider and is not metered yet.")


def _is_escaped(body: bytes) -> bool:
    """Whether plain letters are written as escapes, so that looking for a word in the bytes could miss it."""
    return b"\\u00" in body and _ESCAPED_ASCII.search(body) is not None


def _input_bound(body_bytes: int, row: PriceRow, *, refers: bool) -> int:
    return row.context_tokens if refers else body_bytes + HIDDEN_INPUT_TOKENS


def _limit(body: Mapping[str, Any], names: Iterable[str], row: PriceRow) -> int:
    """The output that is asked for at most; the model's maximum where nothing (or what is no count) is asked."""
    asked = [body[name] for name in names if body.get(name) is not None]
    limits = [count(limit) or row.max_output_tokens for limit in asked]
    return max(limits) if limits else row.max_output_tokens


def _holds_more(content: Any, known: frozenset[str]) -> bool:
    """Whether content has parts that may stand for more tokens than they have bytes."""
    if content is None or isinstance(content, str):
        return False
    parts = [content]
    while parts:
        part = parts.pop()
        if isinstance(part, list):
            parts += part
        elif isinstance(part, dict):
            kind = part.get("type")
            if kind not in known:
                return True
            if kind in ("tool_result", "search_result") and not isinstance(inner := part.get("content"), str | None):
                parts.append(inner)
        elif not isinstance(part, str):
            return True
    return False


def _items(value: Any) -> list[Any]:
    return value if isinstance(value, list) else []


def shown(value: Any) -> str:
    """A request's own word, safe to show."""
    return "".join(ch if ch.isascii() and ch.isprintable() else "?" for ch in str(value)[:80])
