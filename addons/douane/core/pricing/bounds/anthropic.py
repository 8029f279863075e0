"""Anthropic Messages, at Anthropic and at those who offer it."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import replace
from typing import Any

import orjson

from douane.core.charge import Unpriced
from douane.core.pricing.bounds.work import (
    Bound,
    OutputLimit,
    RowOf,
    Work,
    at_the_provider,
    holds_more,
    input_bound,
    is_escaped,
    items,
    most_asked,
    shown,
)
from douane.core.pricing.row import PriceRow
from douane.core.usage.tokens import count, mapping

SERVER_LOOPS = 10
"""Rounds that Anthropic's own tools make in one request before it answers `pause_turn`."""

_PLAIN = ("claude-3", "claude-opus-4", "claude-sonnet-4", "claude-haiku-4")
"""Models that generate nothing unseen unless asked to."""

_TEXT = frozenset(
    {"text", "thinking", "redacted_thinking", "tool_use", "tool_result", "server_tool_use", "web_search_tool_result"}
    | {"search_result", "tool_reference", "tool_search_tool_result", "advisor_tool_result", "compaction", "fallback"}
)
"""Content that is all in the body; whatever else there is may stand for more."""

_CLIENT_TOOLS = ("bash_", "text_editor_", "computer_", "memory_")


def messages(body: Mapping[str, Any], body_bytes: bytes, row: PriceRow, row_of: RowOf) -> Bound | Unpriced:
    """The worst case of a Messages request."""
    model = str(body["model"])
    if body.get("mcp_servers") or body.get("container") is not None:
        return Unpriced(
            model, "MCP servers and containers at the provider run without a limit and are not metered yet."
        )
    if any("fallback" in name for name in body):
        return Unpriced(model, "A call that further models may answer is not metered yet.")
    rounds, searches, works = 0, 0, []
    for tool in items(body.get("tools")):
        found = _server_tool(model, mapping(tool), row_of)
        if isinstance(found, Unpriced):
            return found
        uses, advice = found
        rounds += uses
        if advice is not None:
            works.append(advice)
        elif str(mapping(tool).get("type")).startswith("web_search_"):
            searches += uses
    escaped = is_escaped(body_bytes)
    units = {"cache_read_tokens"}
    if escaped or b"cache_control" in body_bytes:
        units.add("cache_write_tokens")
        if escaped or b'"1h"' in body_bytes:
            units.add("cache_write_1h_tokens")
    contents = [mapping(message).get("content") for message in items(body.get("messages"))]
    refers = any(holds_more(content, _TEXT) for content in (*contents, body.get("system")))
    input_tokens = input_bound(len(body_bytes), row, refers=refers)
    output_tokens = most_asked(body, ("max_tokens",), row)
    if rounds:
        input_tokens, output_tokens = row.context_tokens * (1 + rounds), output_tokens * (1 + rounds)
    edits = items(mapping(body.get("context_management")).get("edits"))
    if any(not str(mapping(edit).get("type")).startswith("clear_") for edit in edits):
        # Compaction reads the whole conversation once more and writes a summary of its own.
        input_tokens *= 2
        output_tokens += row.max_output_tokens * (1 + rounds)
    thinking = body.get("thinking")
    hidden = (
        bool(rounds or edits)
        or (thinking is not None and mapping(thinking).get("type") != "disabled")
        or not model.startswith(_PLAIN)
    )
    fees = (("web_searches", searches),) if searches else ()
    works.insert(0, Work(input_tokens, output_tokens, frozenset(units), fees))
    structured = body.get("output_config") is not None or body.get("output_format") is not None
    limit = None if hidden or structured else OutputLimit(("max_tokens",))
    return Bound(tuple(works), hidden, limit=limit)


def batch(body: Mapping[str, Any], body_bytes: bytes, row: PriceRow, row_of: RowOf) -> Bound | Unpriced:  # noqa: ARG001
    """The worst case of all messages of a batch."""
    works: list[Work] = []
    for request in items(body.get("requests")):
        asked = mapping(mapping(request).get("params"))
        model = str(asked.get("model"))
        own = row_of(model)
        if own is None:
            return Unpriced(model, f"There is no price for the model {shown(model)} of one of the batch's requests.")
        found = messages(asked, orjson.dumps(asked), own, row_of)
        if isinstance(found, Unpriced):
            return found
        works += [work if work.model is not None else replace(work, model=model) for work in found.works]
    return Bound(tuple(works), hidden_output=True)


def first_model(body: Mapping[str, Any]) -> Any:
    """The model of a batch's first request."""
    requests = items(body.get("requests"))
    return mapping(mapping(requests[0]).get("params")).get("model") if requests else None


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
    return at_the_provider(model, kind)
