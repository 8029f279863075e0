"""The prices in force as people read them, and the models that were seen and have none."""

from __future__ import annotations

import datetime
import re
from collections.abc import Iterable, Iterator, Mapping
from dataclasses import dataclass
from decimal import Decimal
from typing import Any

from douane.core.hosts import PROVIDERS, provider_of
from douane.core.pricing.apis import model_name
from douane.core.pricing.book import PriceBook
from douane.core.pricing.compile import BOOK_VERSION, LOCAL, is_free, known_models, known_providers
from douane.core.pricing.row import PRICE_SCALE, PriceRow
from douane.core.pricing.stated import MILLION, UNITS, overlay_line

_KEYS = {unit: (key, per) for key, (unit, per) in UNITS.items()}


@dataclass(frozen=True, slots=True)
class Listed:
    """What holds for one model on a day; dollars as the overlay writes them (per million tokens, or for each)."""

    provider: str
    model: str
    prices: Mapping[str, Decimal]
    tiers: tuple[tuple[int, Mapping[str, Decimal]], ...]
    """(input tokens above which they hold, prices)."""
    variants: Mapping[str, Mapping[str, Decimal]]
    """By what is asked for: `flex`, `priority`, `batch`, …"""
    context_tokens: int
    max_output_tokens: int
    source: str
    from_day: datetime.date | None
    """Of the operator's price."""
    free: bool


def listed(book: PriceBook, provider: str, model: str, day: datetime.date) -> Listed | None:
    """One model by any of its names; None where it has no price."""
    row = book.row(provider, model, day, ())
    if row is None:
        return None
    stated = book.stated(provider, model, day) or book.stated(provider, row.model, day)
    own = model if stated is not None else row.model
    variants = {
        "+".join(value for _, value in context): _dollars(other)
        for context in _variants(provider, row.model)
        if (other := book.row(provider, model, day, context)) is not None and other != row
    }
    if stated is not None:
        source = stated.source
    elif is_free(provider, model):
        source = "free by its name"
    else:
        source = "free unless priced" if provider == LOCAL else BOOK_VERSION
    return Listed(
        provider,
        own,
        _dollars(row),
        _tiers(row),
        variants,
        row.context_tokens,
        row.max_output_tokens,
        source,
        stated.from_day if stated is not None else None,
        row.free,
    )


def search(book: PriceBook, wanted: str | None, provider: str | None, day: datetime.date) -> list[Listed]:
    """The models that a name or a pattern means, by provider and name: a name first as it is, then as a part of one."""
    ours = [(price.provider, price.model) for price in book.overlay]
    sellers = sorted(PROVIDERS | known_providers() | {name for name, _ in ours})
    sellers = [name for name in sellers if provider in (None, name)]
    names = {
        (seller, model)
        for seller in sellers
        for model in [*(model for model, _ in known_models(seller)), *(model for by, model in ours if by == seller)]
    }
    if wanted is None:
        return _all(book, names, day)
    if "*" in wanted:
        pattern = re.compile(re.escape(wanted).replace(r"\*", ".*"), re.IGNORECASE)
        return _all(book, (name for name in names if pattern.fullmatch(name[1])), day)
    exact = [(seller, model) for seller, model in names if model_name(seller, wanted) == model]
    if not exact:
        exact = [(seller, wanted) for seller in sellers if provider is not None or seller != LOCAL]
    return _all(book, exact, day) or _all(book, (name for name in names if wanted.lower() in name[1].lower()), day)


def _all(book: PriceBook, names: Iterable[tuple[str, str]], day: datetime.date) -> list[Listed]:
    found = (listed(book, seller, model, day) for seller, model in names)
    by_name = {(one.provider, one.model): one for one in found if one is not None}
    return [by_name[name] for name in sorted(by_name)]


@dataclass(slots=True)
class Seen:
    """A model that agents asked for, or were answered by, and that has no price now."""

    provider: str
    model: str
    line: str
    """To add to the operator's prices."""
    refused: int = 0
    charged: int = 0
    """Calls that were charged otherwise for want of its price."""
    last_us: int = 0


def seen_unpriced(book: PriceBook, records: Iterable[Mapping[str, Any]], day: datetime.date) -> list[Seen]:
    """The models of some records of the register, oldest first, that have no price on a day."""
    found: dict[tuple[str, str], Seen] = {}
    asked: dict[str, tuple[str | None, str | None]] = {}
    """(provider, model) by call."""
    for record in records:
        kind, model, provider = record.get("kind"), record.get("model"), record.get("provider")
        if kind == "intent":
            provider = provider_of(record.get("host", ""))
            asked[record["call_id"]] = provider, model
        elif kind == "result":
            provider, named = asked.get(record["call_id"], (None, None))
            if model == named or not record.get("estimated"):  # counted by its intent, or charged as it should be
                continue
        elif kind != "refusal":
            continue
        if not model or provider is None or book.row(provider, model_name(provider, model), day, ()) is not None:
            continue
        one = found.setdefault((provider, model), Seen(provider, model, overlay_line(provider, model, day)))
        if kind == "refusal":
            one.refused += record.get("count", 1)
        else:
            one.charged += 1
        one.last_us = max(one.last_us, record.get("at_us", 0))
    return [found[name] for name in sorted(found)]


def _variants(provider: str, model: str) -> Iterator[tuple[tuple[str, str], ...]]:
    for name, contexts in known_models(provider):
        if name == model:
            yield from contexts


_ORDER = {unit: place for place, (unit, _) in enumerate(UNITS.values())}


def _dollars(row: PriceRow, input_tokens: int = 0) -> dict[str, Decimal]:
    found: dict[str, Decimal] = {}
    for unit in sorted(row.units, key=lambda unit: (_ORDER.get(unit.name, len(_ORDER)), unit.name)):
        key, per = _KEYS.get(unit.name, (unit.name, MILLION if unit.kind != "fee" else 1))
        found[key] = Decimal(unit.price.at(input_tokens)) * per / PRICE_SCALE
    return found


def _tiers(row: PriceRow) -> tuple[tuple[int, Mapping[str, Decimal]], ...]:
    starts = sorted({start for unit in row.units for start, _ in unit.price.tiers})
    plain = _dollars(row)
    return tuple(
        (start, {key: usd for key, usd in _dollars(row, start + 1).items() if usd != plain[key]}) for start in starts
    )
