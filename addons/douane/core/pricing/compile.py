"""Price rows from `genai-prices` and from the operator's overlay: the only place that knows the library."""

from __future__ import annotations

import datetime
import re
from collections.abc import Mapping, Sequence
from dataclasses import replace
from decimal import Decimal
from typing import Any

import genai_prices
from genai_prices.data import providers
from genai_prices.data_units import unit_data
from genai_prices.types import StartDateConstraint

from douane.core.pricing.row import MEASURES, PRICE_SCALE, Price, PricedUnit, PriceRow
from douane.core.pricing.stated import MaxOutput, OverlayPrice, ToolFee, fees_on, in_force, most_output

BOOK_VERSION = f"genai-prices {genai_prices.__version__}"

_PROVIDERS = {provider.id: provider for provider in providers}
_MOST_NAME_CHARACTERS = 200
"""Of a model's name: its patterns are regular expressions."""

_UNKNOWN_CONTEXT_TOKENS = 1_050_000
"""For models whose context window nobody states: the largest in the book among providers that are metered."""

type PriceContext = tuple[tuple[str, str], ...]
"""What a request asks for beside the model, as the book's price variants name it: (`service_tier`, `priority`), …"""

_SOLD_AT_LIST_PRICE = frozenset({"anthropic", "cohere", "google", "openai", "perplexity", "x-ai"})
"""Makers whose models nobody else prices: OpenRouter passes their list prices on."""

_DEARER = frozenset({("service_tier", "priority"), ("service_tier", "fast"), ("speed", "fast")})
"""Contexts that have to have prices of their own: the standard price would be too little."""


def known_providers() -> frozenset[str]:
    """The price book's provider ids."""
    return frozenset(_PROVIDERS)


def known_models(provider: str) -> list[tuple[str, tuple[PriceContext, ...]]]:
    """The book's models of a provider, each with its price variants."""
    known = _PROVIDERS.get(provider)
    return [
        (model.id, tuple(dict.fromkeys(tuple(sorted(variant.when.items())) for variant in model.price_variants or ())))
        for model in (known.models if known is not None else ())
    ]


def book_row(
    provider: str,
    model: str,
    day: datetime.date,
    context: PriceContext,
    max_output: MaxOutput,
    fees: Sequence[ToolFee] = (),
) -> PriceRow | None:
    """The book's prices of a model on a day; None where it has none."""
    known = _PROVIDERS.get(provider)
    if known is None or not model or len(model) > _MOST_NAME_CHARACTERS:
        return None
    at = datetime.datetime.combine(day, datetime.time(12), datetime.UTC)
    free = is_free(provider, model)
    try:
        found = known.find_model(model, all_providers=providers)
        if provider == "openrouter" and (found is None or _is_before_its_history(found, at)):
            found = _of_maker(model) or found
        if found is None or not all(_has_prices(found, part, at) for part in context if part in _DEARER):
            return _free_row(provider, model, day, max_output, fees) if free and not context else None
        prices = found.get_prices(at, dict(context) or None)
        priced = {
            unit: price_of(value, data["per"])
            for unit, data in unit_data.items()
            if (value := getattr(prices, data["price_key"])) is not None
        }
    except Exception:  # noqa: BLE001 - the library raises on real names; what it cannot price has no price
        return None
    if not priced and not free:
        return None
    for unit, dollars in fees_on(fees, provider, found.id, day).items():
        priced.setdefault(unit, price_of(dollars, 1))
    window = found.context_window or _UNKNOWN_CONTEXT_TOKENS
    most = most_output(max_output, provider, model, found.id) or window
    compiled = row(found.id, priced, window, most)
    return replace(compiled, free=True) if free and not any(unit.kind != "fee" for unit in compiled.units) else compiled


def overlay_row(
    overlay: Sequence[OverlayPrice],
    provider: str,
    model: str,
    day: datetime.date,
    max_output: MaxOutput,
    fees: Sequence[ToolFee] = (),
) -> PriceRow | None:
    """The operator's price of a model on a day: the latest in force, by the model's own name or the book's for it.

    What it leaves open, context window, longest answer and fees, is as in the book. A `same_as` is resolved before.
    """
    if provider != LOCAL and not overlay:
        return None
    book = book_row(provider, model, day, (), max_output, fees)
    latest = in_force(overlay, provider, model, day) or (in_force(overlay, provider, book.model, day) if book else None)
    if latest is None:
        return _free_row(provider, model, day, max_output, fees) if provider == LOCAL else None
    priced = {unit: price_of(dollars, per) for unit, (dollars, per) in latest.prices.items()}
    for unit in book.units if book is not None else ():
        if unit.kind == "fee" and not (latest.free and unit.name.endswith(MEASURES)):
            priced.setdefault(unit.name, unit.price)
    for name, each in fees_on(fees, provider, model, day).items():
        priced.setdefault(name, price_of(each, 1))
    window = latest.context_tokens or (book.context_tokens if book is not None else _UNKNOWN_CONTEXT_TOKENS)
    most = latest.max_output_tokens or most_output(max_output, provider, model) or window
    if book is not None and latest.max_output_tokens is None:
        most = book.max_output_tokens
    return replace(row(model, priced, window, most), free=latest.free)


LOCAL = "ollama"
"""Whose models cost nothing unless the operator says so: they run on one's own machine, or by subscription."""


def is_free(provider: str, model: str) -> bool:
    """Whether a model's name says that it is free of charge: OpenRouter's variants do."""
    return provider == "openrouter" and model.endswith(":free")


def _free_row(
    provider: str, model: str, day: datetime.date, max_output: MaxOutput, fees: Sequence[ToolFee]
) -> PriceRow:
    priced = {unit: price_of(dollars, 1) for unit, dollars in fees_on(fees, provider, model, day).items()}
    most = most_output(max_output, provider, model) or _UNKNOWN_CONTEXT_TOKENS
    return replace(row(model, priced, _UNKNOWN_CONTEXT_TOKENS, most), free=True)


def row(model: str, prices: Mapping[str, Price], context_tokens: int, max_output_tokens: int) -> PriceRow:
    """A row of the units that have a price, parts before wholes."""
    names = sorted(prices, key=lambda name: (-len(_dimensions(name)), name))
    units = [
        PricedUnit(
            name,
            prices[name],
            _kind(name),
            tuple(place for place, part in enumerate(names) if part != name and _is_part(part, name)),
        )
        for name in names
    ]
    return PriceRow(model, tuple(units), context_tokens, max_output_tokens, frozenset(names))


def price_of(value: Any, per: int) -> Price:
    """A price as the book has it, a Decimal per so many units or one with tiers, scaled and rounded up."""
    if isinstance(value, Decimal | int):
        return Price(_scaled(Decimal(value), per))
    tiers = tuple((int(tier.start), _scaled(tier.price, per)) for tier in value.tiers)
    return Price(_scaled(value.base, per), tuple(sorted(tiers)))


def _scaled(dollars: Decimal, per: int) -> int:
    numerator, denominator = dollars.as_integer_ratio()
    return -(-numerator * PRICE_SCALE // (denominator * per))


def _is_before_its_history(model: Any, at: datetime.datetime) -> bool:
    """Whether a day is before the first on which somebody looked at a model's price."""
    starts = [
        price.constraint.start_date
        for price in (model.prices if isinstance(model.prices, list) else ())
        if isinstance(price.constraint, StartDateConstraint)
    ]
    return bool(starts) and at.date() < min(starts)


def _of_maker(name: str) -> Any:
    """The model of `MAKER/MODEL` at its maker, by that very name: `MODEL-fast` and `MODEL:free` are priced apart."""
    maker, _, model = name.partition("/")
    found = _PROVIDERS[maker].find_model(model, all_providers=providers) if maker in _SOLD_AT_LIST_PRICE else None
    if found is None:
        return None
    shorter, longer = sorted((model.replace(".", "-"), found.id.replace(".", "-")), key=len)
    is_same = re.fullmatch(re.escape(shorter) + r"(-[0-9]{4,8}|-[0-9-]{10})?", longer)  # the book matches `…-fast` too
    return found if is_same else None


def _has_prices(model: Any, part: tuple[str, str], at: datetime.datetime) -> bool:
    return any(
        variant.when.get(part[0]) == part[1]
        and any(price is not None for price in variant.prices.__dict__.values())
        and (variant.constraint is None or variant.constraint.active(at))
        for variant in model.price_variants or ()
    )


def _dimensions(unit: str) -> Mapping[str, str]:
    found: Mapping[str, str] = unit_data[unit]["dimensions"] if unit in unit_data else {"family": unit}
    return found


def _is_part(part: str, whole: str) -> bool:
    return _dimensions(whole).items() < _dimensions(part).items()


def _kind(unit: str) -> Any:
    dimensions = _dimensions(unit)
    return dimensions["direction"] if dimensions["family"] == "tokens" else "fee"
