"""What one response measured, merged field by field as it streams."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Any

MOST_TOKENS = 10**12
"""Above any real count: a larger one is no count."""


def count(value: Any) -> int | None:
    """A token count as a provider wrote it; None for what is none."""
    if isinstance(value, bool) or not isinstance(value, int) or not 0 <= value <= MOST_TOKENS:
        return None
    return value


@dataclass(slots=True)
class Measured:
    """Token counts of one model, by unit; the input is the whole input side, cached tokens included."""

    input_tokens: int = 0
    output_tokens: int = 0
    cache_read_tokens: int = 0
    cache_write_tokens: int = 0
    """All cache writes; `cache_write_1h_tokens` of them for an hour."""
    cache_write_1h_tokens: int = 0
    input_audio_tokens: int = 0
    output_audio_tokens: int = 0
    cache_audio_read_tokens: int = 0
    web_searches: int = 0

    def units(self) -> dict[str, int]:
        """The quantities that are not zero."""
        return {name: value for name in self.__slots__ if (value := getattr(self, name))}


@dataclass(slots=True)
class Usage:
    """The usage of one response: of its model, and of further models that worked for it."""

    model: str | None = None
    response_id: str | None = None
    service_tier: str | None = None
    geography: str | None = None
    speed: str | None = None
    parts: list[tuple[str | None, Measured]] = field(default_factory=list)
    """(model or None for the response's own, quantities)."""
    reported: bool = False
    """Whether the provider reported the final usage."""


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
