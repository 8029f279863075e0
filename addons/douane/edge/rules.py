"""All that a policy folder says: policy, catalog and prices, with every mistake of all three told at once."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

from douane.core.catalog import Catalog
from douane.core.pricing import PriceBook
from douane.edge.catalog import CatalogInvalid, load_catalog
from douane.edge.policy import LoadedPolicy, PolicyInvalid, Problem, check_names, load_policy
from douane.edge.prices import PricesInvalid, load_prices


class RulesInvalid(Exception):
    """A policy folder has mistakes."""

    def __init__(self, problems: Sequence[Problem]) -> None:
        super().__init__("\n".join(str(problem) for problem in problems))
        self.problems = tuple(problems)


@dataclass(frozen=True, slots=True)
class LoadedRules:
    """A policy folder without mistakes."""

    loaded: LoadedPolicy
    catalog: Catalog
    prices: PriceBook
    warnings: tuple[Problem, ...]


def load_rules(folder: Path) -> LoadedRules:
    """Read a policy folder; raises `RulesInvalid` with all mistakes."""
    problems: list[Problem] = []
    loaded = catalog = prices = None
    warnings: list[Problem] = []
    try:
        loaded = load_policy(folder)
    except PolicyInvalid as invalid:
        problems += invalid.problems
    try:
        catalog = load_catalog(folder / "catalog")
    except CatalogInvalid as invalid:
        problems += invalid.problems
    try:
        prices = load_prices(folder)
    except PricesInvalid as invalid:
        problems += invalid.problems
    if loaded is not None and catalog is not None:
        mistakes, warnings = check_names(loaded, catalog)
        problems += mistakes
    if problems or loaded is None or catalog is None or prices is None:
        raise RulesInvalid(problems)
    return LoadedRules(loaded, catalog, prices, tuple(warnings))
