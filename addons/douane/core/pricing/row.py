"""The prices of one model, compiled from the price book into integers."""

from __future__ import annotations

import datetime
from collections.abc import Mapping
from dataclasses import dataclass
from decimal import Decimal
from typing import Any

from douane.core.usage.tokens import Measured

SCALE = 10**18
"""Prices are kept as 10⁻¹⁸ dollars per million units: the finest price in the book has 18 decimals."""

_PER_NANO = 10**15  # SCALE × million units per (million × nano-dollar)


@dataclass(frozen=True, slots=True)
class OverlayPrice:
    """A price that the operator states: dollars per million units, in force from a day on."""

    provider: str
    model: str
    from_day: datetime.date
    prices: Mapping[str, Decimal]
    """`input`, `output`, `cache_read`, `cache_write`, `cache_write_1h`."""
    max_output_tokens: int | None
    context_tokens: int | None
    source: str


@dataclass(frozen=True, slots=True)
class Price:
    """One unit's price: base, and what holds once the whole input is over a threshold."""

    base: int
    tiers: tuple[tuple[int, int], ...] = ()
    """(input tokens above which it holds, price), rising."""

    def at(self, input_tokens: int) -> int:
        """The price for a call of so many input tokens."""
        price = self.base
        for threshold, higher in self.tiers:
            if input_tokens > threshold:
                price = higher
        return price

    def highest(self, input_tokens: int) -> int:
        """The highest price for any call of up to so many input tokens."""
        return max([self.base, *(higher for threshold, higher in self.tiers if input_tokens > threshold)])


@dataclass(frozen=True, slots=True)
class PriceRow:
    """All that is needed to price a call of one model."""

    model: str
    input: Price
    output: Price
    cache_read: Price
    cache_write: Price
    cache_write_1h: Price
    input_audio: Price | None
    output_audio: Price | None
    cache_audio_read: Price | None
    web_search_nano: int | None
    """Of one search; None where searches have no price."""
    context_tokens: int
    max_output_tokens: int | None

    def charge_nano_ceiling(self, used: Measured) -> int | None:
        """The price of quantities in nano-dollars, rounded up; None where a quantity has no price."""
        if (used.input_audio_tokens and self.input_audio is None) or (
            used.output_audio_tokens and self.output_audio is None
        ):
            return None
        if used.web_searches and self.web_search_nano is None:
            return None
        whole = used.input_tokens
        audio_read = min(used.cache_audio_read_tokens, used.cache_read_tokens, used.input_audio_tokens)
        audio = used.input_audio_tokens - audio_read
        read = used.cache_read_tokens - audio_read
        hour = min(used.cache_write_1h_tokens, used.cache_write_tokens)
        plain = max(0, whole - read - audio_read - audio - used.cache_write_tokens)
        spoken = min(used.output_audio_tokens, used.output_tokens)
        total = (
            plain * self.input.at(whole)
            + read * self.cache_read.at(whole)
            + (used.cache_write_tokens - hour) * self.cache_write.at(whole)
            + hour * self.cache_write_1h.at(whole)
            + (used.output_tokens - spoken) * self.output.at(whole)
        )
        if audio or audio_read:
            assert self.input_audio is not None
            cached = self.cache_audio_read or self.input_audio
            total += audio * self.input_audio.at(whole) + audio_read * cached.at(whole)
        if spoken:
            assert self.output_audio is not None
            total += spoken * self.output_audio.at(whole)
        searches = used.web_searches * (self.web_search_nano or 0)
        return -(-total // _PER_NANO) + searches

    def bound_nano_ceiling(self, input_tokens: int, output_tokens: int, *, cached: bool, hour: bool, audio: bool) -> int:
        """The most that a call of up to so many tokens can cost, in nano-dollars, rounded up."""
        inputs = [self.input.highest(input_tokens)]
        if cached:
            inputs += [self.cache_write.highest(input_tokens), self.cache_read.highest(input_tokens)]
        if hour:
            inputs.append(self.cache_write_1h.highest(input_tokens))
        outputs = [self.output.highest(input_tokens)]
        if audio:
            inputs += [self.input_audio.highest(input_tokens)] if self.input_audio else []
            outputs += [self.output_audio.highest(input_tokens)] if self.output_audio else []
        return -(-(input_tokens * max(inputs) + output_tokens * max(outputs)) // _PER_NANO)


def price_of(value: Any) -> Price | None:
    """A price as the price book has it: a Decimal per million, or one with tiers."""
    if value is None:
        return None
    if isinstance(value, Decimal | int):
        return Price(_scaled(Decimal(value)))
    tiers = tuple(sorted((int(tier.start), _scaled(tier.price)) for tier in value.tiers))
    return Price(_scaled(value.base), tiers)


def _scaled(dollars_per_million: Decimal) -> int:
    scaled = dollars_per_million * SCALE
    whole = int(scaled)
    return whole if whole == scaled else whole + 1


def row_from_book(model: Any, prices: Any, max_output_tokens: int | None) -> PriceRow | None:
    """A row from a `genai_prices` model and its prices in force; None where input or output has no price."""
    plain, out = price_of(getattr(prices, "input_mtok", None)), price_of(getattr(prices, "output_mtok", None))
    if plain is None or out is None:
        return None
    write = price_of(prices.cache_write_mtok) or plain
    search = getattr(prices, "web_searches_kcount", None)
    search_price = price_of(search)
    return PriceRow(
        model=model.id,
        input=plain,
        output=out,
        cache_read=price_of(prices.cache_read_mtok) or plain,
        cache_write=write,
        cache_write_1h=price_of(getattr(prices, "cache_write_1h_mtok", None)) or write,
        input_audio=price_of(getattr(prices, "input_audio_mtok", None)),
        output_audio=price_of(getattr(prices, "output_audio_mtok", None)),
        cache_audio_read=price_of(getattr(prices, "cache_audio_read_mtok", None)),
        web_search_nano=-(-search_price.base // (1000 * 10**9)) if search_price is not None else None,
        context_tokens=model.context_window or 0,
        max_output_tokens=max_output_tokens,
    )


def row_from_overlay(overlay: OverlayPrice) -> PriceRow:
    """A row from the operator's own price."""
    found = {name: Price(_scaled(value)) for name, value in overlay.prices.items()}
    write = found.get("cache_write", found["input"])
    return PriceRow(
        model=overlay.model,
        input=found["input"],
        output=found["output"],
        cache_read=found.get("cache_read", found["input"]),
        cache_write=write,
        cache_write_1h=found.get("cache_write_1h", write),
        input_audio=None,
        output_audio=None,
        cache_audio_read=None,
        web_search_nano=None,
        context_tokens=overlay.context_tokens or 200_000,
        max_output_tokens=overlay.max_output_tokens,
    )
