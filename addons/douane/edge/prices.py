"""Load the price book with the operator's dated overlay, `prices/*.yaml` of the policy folder.

    - {provider: openai, model: gpt-7, from: 2026-12-01, input: 5.00, output: 25.00, cache_read: 0.50, context: 400000}

    - {provider: azure, model: my-deployment, from: 2026-12-01, same_as: gpt-4o}

Prices are dollars per million tokens, or per search, minute, request, …: docs/prices.md. An entry replaces the book's
price of one model, by its exact name, from its day on; the latest that is in force counts.
"""

from __future__ import annotations

import datetime
import json
from decimal import Decimal
from pathlib import Path
from typing import Any

from douane.core.hosts import PROVIDERS
from douane.core.pricing import OverlayPrice, PriceBook, ToolFee, known_providers
from douane.core.pricing.stated import MILLION, UNITS, per_words
from douane.edge.home import shipped_policy_dir
from douane.edge.yaml import Document, Problem, load_yaml

_TOKENS = frozenset(key for key, (_, per) in UNITS.items() if per == MILLION and key != "characters")
_NAMED = ("provider", "model", "from")
_COUNTS = ("max_output", "context")
_KEYS = (*_NAMED, *UNITS, *_COUNTS, "same_as", "free", "source")
_HIGHEST_USD = 1_000_000
"""Per million tokens: a dollar a token is a slip of the pen."""
_HIGHEST_EACH_USD = 1_000
"""Per search, minute or request."""


class PricesInvalid(Exception):
    """The price overlay takes no force; `problems` has every mistake."""

    def __init__(self, problems: tuple[Problem, ...]) -> None:
        super().__init__("\n".join(str(problem) for problem in problems))
        self.problems = problems


def load_prices(policy_dir: Path | None = None) -> PriceBook:
    """The price book under the overlay of a policy folder; raises `PricesInvalid` with every mistake."""
    shipped = shipped_policy_dir() / "prices"
    table = json.loads((shipped / "max_output.json").read_bytes())
    del table["source"]
    found: list[OverlayPrice] = []
    problems: list[Problem] = []
    for file in sorted((policy_dir / "prices").glob("*.yaml")) if policy_dir else ():
        document = load_yaml(file, f"prices/{file.name}")
        problems += document.problems
        found += _read(document, problems)
    _refuse_doubles(found, problems)
    book = PriceBook(found, table, read_tool_fees((shipped / "tool_fees.json").read_bytes()))
    _refuse_empty_references(found, book, problems)
    if problems:
        raise PricesInvalid(tuple(sorted(set(problems))))
    return book


def read_tool_fees(text: bytes) -> list[ToolFee]:
    """The shipped table of tool fees: for each provider its source, the day it was read, and dollars by unit."""
    return [
        ToolFee(
            provider,
            tuple(fee.get("models", [""])),
            fee["unit"],
            datetime.date.fromisoformat(fee.get("from", told["read"])),
            Decimal(fee["usd"]),
        )
        for provider, told in json.loads(text).items()
        for fee in told["fees"]
    ]


def _read(document: Document, problems: list[Problem]) -> list[OverlayPrice]:
    if document.value is None:
        return []
    if not isinstance(document.value, list):
        mend = "- {provider: openai, model: gpt-7, from: 2026-12-01, input: 5.00, output: 25.00}"
        problems.append(document.problem((), "prices are a list", mend))
        return []
    return [
        price
        for index, entry in enumerate(document.value)
        if (price := _price(document, index, entry, problems)) is not None
    ]


def _price(document: Document, index: int, entry: Any, problems: list[Problem]) -> OverlayPrice | None:
    before = len(problems)

    def wrong(key: str | None, message: str, mend: str) -> None:
        problems.append(document.problem((index,) if key is None else (index, key), message, mend))

    if not isinstance(entry, dict):
        wrong(None, "a price is a mapping", "{provider: …, model: …, from: …, input: …, output: …}")
        return None
    for key in entry.keys() - set(_KEYS):
        wrong(key, f"unknown key `{key}`", f"Known keys: {', '.join(_KEYS)}.")
    for key in _required(entry):
        if entry.get(key) is None:
            wrong(
                None, f"`{key}` is missing", f"Add `{key}:`." if key in _NAMED else f"Add `{key}:`, 0 if it has none."
            )
    for key in ("provider", "model", "source", "same_as"):
        if entry.get(key) is not None and (not isinstance(entry[key], str) or not entry[key]):
            wrong(key, f"`{key}` is no text", "Write it as a word, in quotes if it looks like a number.")
    provider = entry.get("provider")
    if isinstance(provider, str) and provider and provider not in PROVIDERS | known_providers():
        wrong("provider", f"unknown provider `{provider}`", "As in the refusal of the call: openai, anthropic, …")
    if (free := entry.get("free")) is not None and free is not True:
        wrong("free", "`free` is `true` or absent", "Leave it out.")
    for key in ("same_as", "free"):
        if entry.get(key) is not None and (beside := [name for name in entry if name in _REPLACED[key]]):
            wrong(key, f"`{key}` and `{beside[0]}` contradict each other", "Leave one of them.")
    prices: dict[str, tuple[Decimal, int]] = {}
    for key, (unit, per) in UNITS.items():
        value = entry.get(key)
        if value is None:
            continue
        highest = _HIGHEST_USD if per == MILLION else _HIGHEST_EACH_USD
        if isinstance(value, bool) or not isinstance(value, int | float) or not 0 <= value <= highest:
            wrong(key, f"`{key}` is no price", f"Dollars {per_words(key)}: 2.50")
        else:
            prices[unit] = Decimal(str(value)), per
    for key in _COUNTS:
        value = entry.get(key)
        if value is not None and (isinstance(value, bool) or not isinstance(value, int) or not 0 < value <= 10**9):
            wrong(key, f"`{key}` is no number of tokens", "128000")
    day = _day(entry.get("from"))
    if day is None and entry.get("from") is not None:
        wrong("from", "`from` is no day", "from: 2026-12-01")
    if len(problems) > before or day is None:
        return None
    return OverlayPrice(
        provider=entry["provider"],
        model=entry["model"],
        from_day=day,
        prices=prices,
        max_output_tokens=entry.get("max_output"),
        context_tokens=entry.get("context"),
        source=f"{document.file}:{document.line((index,))}",
        same_as=entry.get("same_as"),
        free=entry.get("free") is True,
    )


_REPLACED = {"same_as": frozenset({*UNITS, *_COUNTS, "free"}), "free": frozenset(UNITS)}
"""What an entry cannot say beside these."""


def _required(entry: dict[str, Any]) -> tuple[str, ...]:
    """Tokens have prices on both sides, except where all that is priced is counted otherwise."""
    told = {key for key in entry if key in UNITS}
    if entry.get("same_as") is not None or entry.get("free") is not None or (told and not told & _TOKENS):
        return _NAMED
    return (*_NAMED, "input", "output")


def _refuse_empty_references(found: list[OverlayPrice], book: PriceBook, problems: list[Problem]) -> None:
    aliases = {(price.provider, price.model) for price in found if price.same_as is not None}
    for price in found:
        if price.same_as is None:
            continue
        file, _, line = price.source.rpartition(":")
        if (price.provider, price.same_as) in aliases:
            message, mend = f"{price.same_as} is priced as another model itself", "Name that one."
        elif book.row(price.provider, price.same_as, price.from_day, ()) is None:
            message = f"{price.same_as} of {price.provider} has no price on {price.from_day}"
            mend = "Name a model that has one: `douane prices` lists them."
        else:
            continue
        problems.append(Problem(file, int(line), message, mend))


def _day(value: Any) -> datetime.date | None:
    try:
        return datetime.datetime.strptime(str(value), "%Y-%m-%d").replace(tzinfo=datetime.UTC).date()
    except ValueError:
        return None


def _refuse_doubles(found: list[OverlayPrice], problems: list[Problem]) -> None:
    seen: dict[tuple[str, str, datetime.date], str] = {}
    for price in found:
        key = price.provider, price.model, price.from_day
        if key in seen:
            file, _, line = price.source.rpartition(":")
            message = f"{price.model} has a price from {price.from_day} already, at {seen[key]}"
            problems.append(Problem(file, int(line), message, "Keep one of them."))
        else:
            seen[key] = price.source
