"""Price rows from `genai-prices` and from the operator's overlay: the only place that knows the library."""

from __future__ import annotations

import datetime
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from decimal import Decimal
from typing import Any

import genai_prices
from genai_prices.data import providers
from genai_prices.data_units import unit_data

from douane.core.pricing.row import PRICE_SCALE, Price, PricedUnit, PriceRow

BOOK_VERSION = f"genai-prices {genai_prices.__version__}"

_PROVIDERS = {provider.id: provider for provider in providers}
_MOST_NAME_CHARACTERS = 200
"""Of a model's name: its patterns are regular expressions."""

_UNKNOWN_CONTEXT_TOKENS = 1_050_000
"""For models whose context window nobody states: the largest in the book among providers that are metered."""

type PriceContext = tuple[tuple[str, str], ...]
"""What a request asks for beside the model, as the book's price variants name it: (`service_tier`, `priority`), …"""

_DEARER = frozenset({("service_tier", "priority"), ("service_tier", "fast"), ("speed", "fast")})
"""Contexts that have to have prices of their own: the standard price would be too little."""


@dataclass(frozen=True, slots=True)
class OverlayPrice:
    """A price that the operator states: dollars per million units, in force from a day on."""

    provider: str
    model: str
    from_day: datetime.date
    prices: Mapping[str, Decimal]
    """By unit (`input_tokens`, …)."""
    max_output_tokens: int | None
    context_tokens: int | None
    source: str


type MaxOutput = Mapping[str, Mapping[str, int]]
"""Most output tokens, by provider and prefix of the model's name."""


def known_providers() -> frozenset[str]:
    """The price book's provider ids."""
    return frozenset(_PROVIDERS)


def book_row(
    provider: str, model: str, day: datetime.date, context: PriceContext, max_output: MaxOutput
) -> PriceRow | None:
    """The book's prices of a model on a day; None where it has none."""
    known = _PROVIDERS.get(provider)
    if known is None or not model or len(model) > _MOST_NAME_CHARACTERS:
        return None
    at = datetime.datetime.combine(day, datetime.time(12), datetime.UTC)
    try:
        found = known.find_model(model, all_providers=providers)
        if found is None or not all(_has_prices(found, part, at) for part in context if part in _DEARER):
            return None
        prices = found.get_prices(at, dict(context) or None)
        priced = {
            unit: price_of(value, data["per"])
            for unit, data in unit_data.items()
            if (value := getattr(prices, data["price_key"])) is not None
        }
    except Exception:  # noqa: BLE001 - the library raises on real names; what it cannot price has no price
        return None
    if not priced:
        return None
    for unit, dollars in tool_fees(provider, found.id, day):
        priced.setdefault(unit, price_of(dollars, 1))
    window = found.context_window or _UNKNOWN_CONTEXT_TOKENS
    return row(found.id, priced, window, most_output(max_output, provider, model, found.id) or window)


def overlay_row(
    overlay: Sequence[OverlayPrice], provider: str, model: str, day: datetime.date, max_output: MaxOutput
) -> PriceRow | None:
    """The operator's price of a model on a day: the latest in force, by the model's own name or the book's for it.

    What it leaves open, context window, longest answer and fees, is as in the book.
    """
    if not overlay:
        return None
    book = book_row(provider, model, day, (), max_output)
    in_force = [price for price in overlay if price.provider == provider and price.from_day <= day]
    stated = [price for price in in_force if price.model == model]
    if not stated and book is not None:
        stated = [price for price in in_force if price.model == book.model]
    if not stated:
        return None
    latest = max(stated, key=lambda price: price.from_day)
    priced = {unit: price_of(value, unit_data[unit]["per"]) for unit, value in latest.prices.items()}
    window = latest.context_tokens or (book.context_tokens if book is not None else _UNKNOWN_CONTEXT_TOKENS)
    for unit in book.units if book is not None else ():
        if unit.kind == "fee":
            priced.setdefault(unit.name, unit.price)
    most = latest.max_output_tokens or most_output(max_output, provider, model) or window
    if book is not None and latest.max_output_tokens is None:
        most = book.max_output_tokens
    return row(model, priced, window, most)


def most_output(table: MaxOutput, provider: str, *names: str) -> int | None:
    """The table's bound for a model: that of the longest prefix of any of its names.

    Where a provider has none for a model, that of the model's maker holds: `us.anthropic.claude-…`, `openai/gpt-…`.
    """
    found = _of_longest_prefix(table.get(provider, {}), names)
    if found is None:
        bare = [name.rpartition("/")[2] for name in names]
        claude = ["claude-" + name.partition("claude-")[2].replace(".", "-") for name in bare if "claude-" in name]
        found = _of_longest_prefix(table.get("anthropic", {}), claude) if claude else None
        if found is None and not claude:
            found = _of_longest_prefix(table.get("openai", {}), bare)
    return found


def _of_longest_prefix(table: Mapping[str, int], names: Sequence[str]) -> int | None:
    fitting = [
        (len(prefix), tokens) for prefix, tokens in table.items() if any(name.startswith(prefix) for name in names)
    ]
    return max(fitting)[1] if fitting else None


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


_FEES: Mapping[str, Sequence[tuple[str, str, str]]] = {
    # (start of the model's name, unit, dollars each), as published on 2026-11-20 (platform.openai.com/docs/pricing,
    # ai.google.dev/gemini-api/docs/pricing, docs.x.ai/docs/models); the book has the other fees.
    "openai": (
        ("", "container_gigabytes", "0.03"),
        ("gpt-4o", "web_searches_preview", "0.025"),
        ("gpt-4.1", "web_searches_preview", "0.025"),
        ("", "web_searches", "0.01"),
        ("", "storage_searches", "0.0025"),
    ),
    "google": (("gemini-", "map_searches", "0.025"),),
    "x-ai": (
        ("", "web_searches", "0.005"),
        ("", "social_searches", "0.005"),
        ("", "code_executions", "0.005"),
        ("", "document_searches", "0.005"),
        ("", "storage_searches", "0.0025"),
        ("", "search_sources", "0.025"),
    ),
}


def tool_fees(provider: str, model: str, day: datetime.date) -> list[tuple[str, Decimal]]:  # noqa: ARG001
    """What a provider charges for its own tools and the book does not have: (unit, dollars each)."""
    return [(unit, Decimal(dollars)) for start, unit, dollars in _FEES.get(provider, ()) if model.startswith(start)]


def _scaled(dollars: Decimal, per: int) -> int:
    numerator, denominator = dollars.as_integer_ratio()
    return -(-numerator * PRICE_SCALE // (denominator * per))


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
