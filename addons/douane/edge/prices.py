"""Load the price book with the operator's dated overlay, `prices/*.yaml` of the policy folder."""

from __future__ import annotations

import datetime
import json
from decimal import Decimal
from pathlib import Path

from douane.core.pricing import OverlayPrice, PriceBook
from douane.edge.home import shipped_policy_dir
from douane.edge.yaml import Document, Problem, load_yaml

_UNITS = ("input", "output", "cache_read", "cache_write", "cache_write_1h")
_KEYS = {"provider", "model", "from", "max_output", "context", "source", *_UNITS}


class PricesInvalid(Exception):
    """The price overlay takes no force; `problems` has every mistake."""

    def __init__(self, problems: tuple[Problem, ...]) -> None:
        super().__init__("\n".join(str(problem) for problem in problems))
        self.problems = problems


def load_prices(policy_dir: Path | None = None) -> PriceBook:
    """The price book under the overlay of a policy folder; raises `PricesInvalid` with every mistake."""
    table = json.loads((shipped_policy_dir() / "prices" / "max_output.json").read_text())
    table.pop("source")
    found: list[OverlayPrice] = []
    problems: list[Problem] = []
    for file in sorted((policy_dir / "prices").glob("*.yaml")) if policy_dir else ():
        document = load_yaml(file, f"{policy_dir}/prices/{file.name}")
        problems += document.problems
        found += _read(document, problems)
    if problems:
        raise PricesInvalid(tuple(sorted(set(problems))))
    return PriceBook(found, table)


def _read(document: Document, problems: list[Problem]) -> list[OverlayPrice]:
    if document.value is None:
        return []
    if not isinstance(document.value, list):
        problems.append(document.problem((), "prices are a list", "- {provider: openai, model: …, from: 2026-11-23, …}"))
        return []
    found = []
    for index, entry in enumerate(document.value):
        before = len(problems)
        if not isinstance(entry, dict):
            problems.append(document.problem((index,), "a price is a mapping", "{provider: …, model: …, input: …}"))
            continue
        for key in entry.keys() - _KEYS:
            known = ", ".join(sorted(_KEYS))
            problems.append(document.problem((index, key), f"unknown key `{key}`", f"Known keys: {known}."))
        for key in ("provider", "model", "from", "input", "output"):
            if key not in entry:
                problems.append(document.problem((index,), f"`{key}` is missing", "Add it."))
        prices: dict[str, Decimal] = {}
        for unit in _UNITS:
            value = entry.get(unit)
            if value is None:
                continue
            if isinstance(value, bool) or not isinstance(value, int | float) or value < 0:
                problems.append(document.problem((index, unit), f"`{value}` is no price", "Dollars per million: 2.50"))
            else:
                prices[unit] = Decimal(str(value))
        for key in ("max_output", "context"):
            value = entry.get(key)
            if value is not None and (isinstance(value, bool) or not isinstance(value, int) or value <= 0):
                problems.append(document.problem((index, key), f"`{value}` is no number of tokens", "128000"))
        day = None
        try:
            day = datetime.date.fromisoformat(str(entry.get("from")))
        except ValueError:
            if "from" in entry:
                problems.append(document.problem((index, "from"), f"`{entry['from']}` is no day", "from: 2026-11-23"))
        if len(problems) == before and day is not None:
            found.append(
                OverlayPrice(
                    provider=str(entry["provider"]),
                    model=str(entry["model"]),
                    from_day=day,
                    prices=prices,
                    max_output_tokens=entry.get("max_output"),
                    context_tokens=entry.get("context"),
                    source=f"{document.file}:{document.line((index,))}",
                )
            )
    return found
