"""The prices of one model, compiled into integers, and what quantities cost by them.

The price book prices *units* (`input_tokens`, `cache_read_tokens`, …) that contain each other: a cached token is an
input token too, and is charged as the most particular priced unit that it belongs to.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from dataclasses import dataclass, field
from typing import Literal

from douane.core.usage.tokens import Quantities

PRICE_SCALE = 10**24
"""Prices are kept as 10⁻²⁴ dollars a unit: the finest price in the book has 18 decimals, for a million units."""

_PER_NANO = PRICE_SCALE // 10**9

CHEAPER_THAN_WHOLE = frozenset(
    {"cache_read_tokens", "cache_audio_read_tokens", "cache_image_read_tokens", "cache_video_read_tokens"}
    | {"input_image_tokens", "input_video_tokens", "output_reasoning_tokens"}
)
"""Units that are charged as what contains them where they have no price of their own: that is never too little."""

MEASURES = ("_tokens", "_characters", "_seconds", "_pages", "_pixels", "_messages", "requests", "rerank_searches")
"""Ends of the units that measure a model's own work, not that of the provider's tools."""


class InconsistentUsage(Exception):
    """Parts that are more than the whole, as real providers report them at times."""


@dataclass(frozen=True, slots=True)
class Price:
    """One unit's price, scaled: base, and what holds once the whole input is over a threshold."""

    base: int
    tiers: tuple[tuple[int, int], ...] = ()
    """(input tokens above which it holds, price), rising by threshold."""

    def at(self, input_tokens: int) -> int:
        """The price in a call of so many input tokens."""
        price = self.base
        for threshold, other in self.tiers:
            if input_tokens > threshold:
                price = other
        return price

    def highest(self, input_tokens: int) -> int:
        """The highest price in any call of up to so many input tokens."""
        if not self.tiers:
            return self.base
        return max([self.base, *(price for threshold, price in self.tiers if input_tokens > threshold)])


@dataclass(frozen=True, slots=True)
class PricedUnit:
    """A unit with its price."""

    name: str
    price: Price
    kind: Literal["input", "output", "fee"]
    contains: tuple[int, ...] = ()
    """Places of the units in the row that are part of this one; they stand before it."""


@dataclass(frozen=True, slots=True)
class PriceRow:
    """All that is needed to price a call of one model."""

    model: str
    units: tuple[PricedUnit, ...]
    """Priced units, parts before wholes."""
    context_tokens: int
    max_output_tokens: int
    """The most that one answer can have; the context window where no better bound is known."""
    names: frozenset[str]
    """Of the priced units."""
    free: bool = False
    """Whether what has no price here costs nothing; fees of the provider's own tools have prices, or none is known."""
    _tokens: tuple[PricedUnit, ...] = field(init=False, repr=False, compare=False)
    _fees: Mapping[str, int] = field(init=False, repr=False, compare=False)
    """By unit, scaled."""

    def __post_init__(self) -> None:
        object.__setattr__(self, "_tokens", tuple(unit for unit in self.units if unit.kind != "fee"))
        object.__setattr__(self, "_fees", {unit.name: unit.price.base for unit in self.units if unit.kind == "fee"})

    def lacking(self, units: Iterable[str]) -> list[str]:
        """Of some units, sorted, those that have no price, and none in what contains them."""
        missing = set(units) - self.names - CHEAPER_THAN_WHOLE
        return sorted(unit for unit in missing if not self._costs_nothing(unit))

    def _costs_nothing(self, unit: str) -> bool:
        return self.free and unit.endswith(MEASURES)

    def charge_nano_ceiling(self, used: Quantities, *, percent: int = 100) -> int | None:
        """The price of quantities in nano-dollars, rounded up; None where one of them has no price.

        `percent` is a surcharge on tokens (110: a tenth more). Raises `InconsistentUsage`.
        """
        names = self.names
        for unit, quantity in used.items():
            if quantity and unit not in names and unit not in CHEAPER_THAN_WHOLE and not self._costs_nothing(unit):
                return None
        input_tokens = used.get("input_tokens", 0)
        tokens = fees = 0
        charged: list[int] = []
        for priced in self.units:
            quantity = 1 if priced.name == "requests" else used.get(priced.name, 0)
            for part in priced.contains:
                quantity -= charged[part]
            if quantity < 0:
                raise InconsistentUsage(f"the parts of {priced.name} are more than all of them")
            charged.append(quantity)
            if quantity:
                if priced.kind == "fee":
                    fees += quantity * priced.price.at(input_tokens)
                else:
                    tokens += quantity * priced.price.at(input_tokens)
        return -(-(tokens * percent + fees * 100) // (100 * _PER_NANO))

    def bound_nano_ceiling(
        self,
        input_tokens: int,
        output_tokens: int,
        units: Iterable[str] = (),
        *,
        fees: Iterable[tuple[str, int]] = (),
        percent: int = 100,
    ) -> int | None:
        """The most that a call of up to so many tokens can cost, rounded up; None where one of its units has no price.

        `units` may occur beside plain input and output; `fees` are (unit, times) beside tokens.
        """
        occurring = set(units)
        if input_tokens:
            occurring.add("input_tokens")
        if output_tokens:
            occurring.add("output_tokens")
        if not occurring <= self.names and self.lacking(occurring):
            return None
        beside = self._fees.get("requests", 0)
        for unit, times in fees:
            if unit not in self._fees:
                if self.lacking((unit,)):
                    return None
                continue
            beside += (times - (unit == "requests")) * self._fees[unit]
        told = written = 0
        for priced in self._tokens:
            if priced.name in occurring:
                price = priced.price.highest(input_tokens)
                if priced.kind == "input":
                    told = max(told, price)
                else:
                    written = max(written, price)
        tokens = input_tokens * told + output_tokens * written
        return -(-(tokens * percent + beside * 100) // (100 * _PER_NANO))
