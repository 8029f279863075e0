"""What one response measured, merged field by field as it streams."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Any

type Quantities = dict[str, int]
"""Counts by unit, under the price book's names: `input_tokens` (the whole input side, cached tokens included),
`output_tokens`, `cache_read_tokens`, `cache_write_tokens`, `cache_write_1h_tokens`, `input_audio_tokens`,
`output_audio_tokens`, `web_searches`."""

MOST_TOKENS = 10**12
"""Above any real count: a larger one is no count."""


def count(value: Any) -> int | None:
    """A token count as a provider wrote it; None for what is none."""
    if isinstance(value, bool) or not isinstance(value, int) or not 0 <= value <= MOST_TOKENS:
        return None
    return value


@dataclass(slots=True)
class Usage:
    """The usage of one response: of its model, and of further models that worked for it."""

    model: str | None = None
    response_id: str | None = None
    service_tier: str | None = None
    geography: str | None = None
    speed: str | None = None
    parts: list[tuple[str | None, Quantities]] = field(default_factory=list)
    """(model or None for the response's own, quantities)."""
    reported: bool = False
    """Whether the provider reported the final usage."""

    def totals(self) -> Quantities:
        """The quantities of all parts, without those that are zero."""
        totals: Quantities = {}
        for _, quantities in self.parts:
            for unit, quantity in quantities.items():
                if quantity:
                    totals[unit] = totals.get(unit, 0) + quantity
        return totals


def keep_larger(into: dict[str, Any], update: Mapping[str, Any]) -> None:
    """Merge a later usage into an earlier one: what is missing never erases, integers take the larger."""
    for name, value in update.items():
        known = into.get(name)
        if isinstance(value, Mapping):
            inner = dict(known) if isinstance(known, Mapping) else {}
            keep_larger(inner, value)
            into[name] = inner
        elif (number := count(value)) is not None:
            earlier = count(known)
            into[name] = number if earlier is None else max(earlier, number)
        elif value is not None:
            into[name] = value


def mapping(value: Any) -> Mapping[str, Any]:
    """A JSON object, or an empty one for whatever else stands there."""
    return value if isinstance(value, Mapping) else {}


def text(value: Any, known: str | None = None) -> str | None:
    """A JSON string that is not empty, or what was known before."""
    return value if isinstance(value, str) and value else known
