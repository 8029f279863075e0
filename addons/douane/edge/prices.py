"""Load the price book with the operator's dated overlay, `prices/*.yaml` of the policy folder.

    - {provider: openai, model: gpt-7, from: 2026-12-01, input: 5.00, output: 25.00, cache_read: 0.50, context: 400000}

Prices are dollars per million tokens. An entry replaces the book's price of one model, by its exact name, from its day
on; the latest that is in force counts.
"""

from __future__ import annotations

import datetime
import json
from decimal import Decimal
from pathlib import Path
from typing import Any

from douane.core.hosts import PROVIDERS
from douane.core.pricing import OverlayPrice, PriceBook, known_providers
from douane.edge.home import shipped_policy_dir
from douane.edge.yaml import Document, Problem, load_yaml

_UNITS = ("input", "output", "cache_read", "cache_write", "cache_write_1h")
_REQUIRED = ("provider", "model", "from", "input", "output")
_COUNTS = ("max_output", "context")
_KEYS = (*_REQUIRED, *_UNITS[2:], *_COUNTS, "source")
_HIGHEST_USD = 1_000_000
"""Per million tokens: a dollar a token is a slip of the pen."""


class PricesInvalid(Exception):
    """The price overlay takes no force; `problems` has every mistake."""

    def __init__(self, problems: tuple[Problem, ...]) -> None:
        super().__init__("\n".join(str(problem) for problem in problems))
        self.problems = problems


def load_prices(policy_dir: Path | None = None) -> PriceBook:
    """The price book under the overlay of a policy folder; raises `PricesInvalid` with every mistake."""
    table = json.loads((shipped_policy_dir() / "prices" / "max_output.json").read_bytes())
    del table["source"]
    found: list[OverlayPrice] = []
    problems: list[Problem] = []
    for file in sorted((policy_dir / "prices").glob("*.yaml")) if policy_dir else ():
        document = load_yaml(file, f"prices/{file.name}")
        problems += document.problems
        found += _read(document, problems)
    _refuse_doubles(found, problems)
    if problems:
        raise PricesInvalid(tuple(sorted(set(problems))))
    return PriceBook(found, table)


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
    for key in _REQUIRED:
        if entry.get(key) is None:
            wrong(None, f"`{key}` is missing", f"Add `{key}:`.")
    for key in ("provider", "model", "source"):
        if entry.get(key) is not None and (not isinstance(entry[key], str) or not entry[key]):
            wrong(key, f"`{key}` is no text", "Write it as a word, in quotes if it looks like a number.")
    provider = entry.get("provider")
    if isinstance(provider, str) and provider and provider not in PROVIDERS | known_providers():
        wrong("provider", f"unknown provider `{provider}`", "As in the refusal of the call: openai, anthropic, …")
    prices: dict[str, Decimal] = {}
    for unit in _UNITS:
        value = entry.get(unit)
        if value is None:
            continue
        if isinstance(value, bool) or not isinstance(value, int | float) or not 0 <= value <= _HIGHEST_USD:
            wrong(unit, f"`{unit}` is no price", "Dollars per million tokens: 2.50")
        else:
            prices[f"{unit}_tokens"] = Decimal(str(value))
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
    )


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
