"""What every bound is made of, and what their reading of requests has in common.

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
from douane.core.usage.tokens import count

HIDDEN_INPUT_TOKENS = 4_096
"""What a provider adds of its own to a text request: templates, tool definitions."""

MOST_SHOWN = 140
"""Characters of a request's own word: an ARN of an inference profile has up to 120."""

_HOLDERS = frozenset(
    {None, "message", "tool_result", "search_result", "function_call_output", "custom_tool_call_output", "reasoning"}
)
"""Content with content of its own that may be of any kind."""

_ESCAPED_ASCII = re.compile(rb"\\u00[0-7]")


@dataclass(frozen=True, slots=True)
class Work:
    """What one model may use for a request, at most."""

    input_tokens: int
    output_tokens: int
    units: frozenset[str] = frozenset({"cache_read_tokens"})
    """Units that may occur beside plain input and output."""
    fees: tuple[tuple[str, int], ...] = ()
    """(unit, times) of what is charged beside tokens."""
    model: str | None = None
    """None: the request's."""


@dataclass(frozen=True, slots=True)
class OutputLimit:
    """Where a request says how much may be generated, and what may be written there without harm."""

    path: tuple[str, ...]
    """Member by member, from the body's top."""
    times: int = 1
    """Answers that each may be so long."""


@dataclass(frozen=True, slots=True)
class Bound:
    """The worst case of one request."""

    works: tuple[Work, ...]
    hidden_output: bool
    """Whether the provider may generate, or do, what the client does not see."""
    exact: bool = False
    """Whether it is the charge: what is paid for stands in the request."""
    limit: OutputLimit | None = None
    """None: a shorter answer than asked for would be a broken one."""


type RowOf = Callable[[str], PriceRow | None]


def at_the_provider(model: str, kind: Any) -> Unpriced:
    """The refusal of a tool that nobody outside can bound."""
    return Unpriced(model, f"The tool type {shown(kind)} runs at the provider and is not metered yet.")


def is_escaped(body: bytes) -> bool:
    """Whether plain letters are written as escapes, so that looking for a word in the bytes could miss it."""
    return b"\\u00" in body and _ESCAPED_ASCII.search(body) is not None


def input_bound(body_bytes: int, row: PriceRow, *, refers: bool) -> int:
    """The most input tokens of a body; `refers`: it has media, or names what stands elsewhere."""
    return row.context_tokens if refers else body_bytes + HIDDEN_INPUT_TOKENS


def most_asked(body: Mapping[str, Any], names: Iterable[str], row: PriceRow) -> int:
    """The output that is asked for at most; the model's maximum where nothing (or what is no count) is asked."""
    asked = [body[name] for name in names if body.get(name) is not None]
    limits = [count(limit) or row.max_output_tokens for limit in asked]
    return max(limits) if limits else row.max_output_tokens


def holds_more(content: Any, known: frozenset[str | None]) -> bool:
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
            if not isinstance(kind, str | None) or kind not in known:
                return True
            if kind in _HOLDERS:
                inner = (part.get("content"), part.get("output"), part.get("summary"))
                parts += [value for value in inner if not isinstance(value, str | None)]
        elif not isinstance(part, str):
            return True
    return False


def input_units(row: PriceRow, *names: str) -> frozenset[str]:
    """Of some units those that the row prices, and what may always be read from a cache."""
    return frozenset(names) & row.names | {"cache_read_tokens"}


def items(value: Any) -> list[Any]:
    """A JSON array, or an empty one for whatever else stands there."""
    return value if isinstance(value, list) else []


def shown(value: Any) -> str:
    """A request's own word, safe to show."""
    return "".join(ch if ch.isascii() and ch.isprintable() else "?" for ch in str(value)[:MOST_SHOWN])
