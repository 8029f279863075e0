"""What one response measured, merged field by field as it streams."""

from __future__ import annotations

import math
from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Any

from douane.core.money import nano_from_usd_ceiling

type Quantities = dict[str, int]
"""Counts by unit, under the price book's names: `input_tokens` (the whole input side, cached tokens included),
`output_tokens` (reasoning included), `cache_read_tokens`, `cache_write_tokens`, `cache_write_1h_tokens`,
`input_audio_tokens`, `output_audio_tokens`, …, `input_characters`, `input_audio_seconds`; and fees of tools that the
provider runs: `web_searches`, `storage_searches`, …"""

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
    stated_nano: int | None = None
    """What the provider itself says that the call cost, rounded up."""
    pending: bool = False
    """The work goes on behind the response: its usage comes with a later one, under the same id."""
    tools_unseen: bool = False
    """Whether calls of the provider's tools may stand where the answer was too large to read."""
    batch: bool = False
    """Done as part of a batch, at its prices."""

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


def whole_number(value: Any) -> int | None:
    """A count that some providers write as a float (`28.0`), rounded up; None for what is none."""
    if isinstance(value, float) and 0 <= value <= MOST_TOKENS:
        return math.ceil(value)
    return count(value)


def nano_of(dollars: Any) -> int | None:
    """Nano-dollars of a JSON number of dollars, rounded up; None for what is no amount."""
    if isinstance(dollars, bool) or not isinstance(dollars, int | float) or not 0 <= dollars <= MOST_TOKENS:
        return None
    return nano_from_usd_ceiling(str(dollars))  # the shortest text that reads back as this float: what was sent


def stated_cost(usage: Mapping[str, Any]) -> int | None:
    """Nano-dollars that a usage object says the call cost; None where it says nothing, or zero.

    OpenRouter states `cost`, to which a key of one's own adds the upstream's; Perplexity a breakdown with a total; xAI
    ticks of 1e-10 dollars.
    """
    ticks = count(usage.get("cost_in_usd_ticks"))
    if ticks:
        return -(-ticks // 10)
    cost = usage.get("cost")
    if isinstance(cost, Mapping):
        return nano_of(cost.get("total_cost")) or None
    nano = nano_of(cost) or 0
    if usage.get("is_byok") is True:
        nano += nano_of(mapping(usage.get("cost_details")).get("upstream_inference_cost")) or 0
    return nano or None


def mapping(value: Any) -> Mapping[str, Any]:
    """A JSON object, or an empty one for whatever else stands there."""
    return value if isinstance(value, Mapping) else {}


def text(value: Any, known: str | None = None) -> str | None:
    """A JSON string that is not empty, or what was known before."""
    return value if isinstance(value, str) and value else known
