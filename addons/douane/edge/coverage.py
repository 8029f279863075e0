"""What a built catalog covers: the report for the documentation, and what changes between two builds."""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterator, Mapping
from dataclasses import dataclass, field

from douane.core.catalog import Catalog
from douane.core.tool import Tier


@dataclass(slots=True)
class Coverage:
    """Counts of one provider."""

    routes: int = 0
    tools: set[str] = field(default_factory=set)
    tiers: Counter[str] = field(default_factory=Counter)
    """Of tools, by their worst operation."""
    reviewed: set[str] = field(default_factory=set)
    declared: set[str] = field(default_factory=set)
    """Tools whose tier is the provider's own word: an access level, a scope, a verb, GET."""


def coverage_of(catalog: Catalog) -> dict[str, Coverage]:
    """Every provider with what the catalog knows of it."""
    found: dict[str, Coverage] = {}
    for shard in catalog.shards():
        here = found.setdefault(shard.provider, Coverage())
        here.tools |= set(shard.tools())
        here.routes += sum(1 for _ in shard.routes())
        for index in range(len(shard.rows)):
            operation = shard.operation(index)
            if operation.reviewed is not None:
                here.reviewed.add(operation.tool)
            elif not operation.evidence.rpartition("; ")[2].startswith("heuristic"):
                here.declared.add(operation.tool)
    for tool, tier, _ in catalog.tiers():
        found[tool.partition(".")[0]].tiers[tier.value] += 1
    return found


def report(catalog: Catalog, sources: Mapping[str, str]) -> str:
    """The table of the documentation."""
    covered = coverage_of(catalog)
    rows = [
        "| provider | routes | tools | reversible | visible | irreversible | declared | reviewed | source |",
        "|---|---:|---:|---:|---:|---:|---:|---:|---|",
    ]
    for provider, found in sorted(covered.items()):
        tiers = " | ".join(str(found.tiers[tier.value]) for tier in Tier)
        declared = len(found.declared - found.reviewed)
        cells = [provider, found.routes, len(found.tools), tiers, declared, len(found.reviewed)]
        rows.append(f"| {' | '.join(map(str, cells))} | {sources.get(provider, 'by hand')} |")
    routes = sum(found.routes for found in covered.values())
    tools = sum(len(found.tools) for found in covered.values())
    return f"{tools} tools of {len(covered)} providers, on {routes} routes.\n\n" + "\n".join(rows) + "\n"


def changes(old: Catalog, new: Catalog) -> Iterator[str]:
    """What a reviewer of a new build has to look at: tiers that fall first, then what is gone, new or risen."""
    before = {tool: tier for tool, tier, _ in old.tiers()}
    after = {tool: tier for tool, tier, _ in new.tiers()}
    moved = [(tool, before[tool], after[tool]) for tool in sorted(before.keys() & after.keys())]
    for word, sign in (("lowered", -1), ("raised", 1)):
        for tool, one, other in moved:
            if (other.rank - one.rank) * sign > 0:
                yield f"{word}: {tool}: {one} → {other}"
    for tool in sorted(before.keys() - after.keys()):
        yield f"gone: {tool} ({before[tool]})"
    for tool in sorted(after.keys() - before.keys()):
        yield f"new: {tool} ({after[tool]})"
