"""What the catalog says of a request: a tool, its tier and its arguments."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from enum import StrEnum
from typing import Any


class Tier(StrEnum):
    """How much risk a tool carries, in rising order."""

    REVERSIBLE = "reversible"
    VISIBLE = "visible"
    IRREVERSIBLE = "irreversible"

    @property
    def rank(self) -> int:
        """0 for reversible, 1 for visible, 2 for irreversible."""
        return _RANKS[self]


_RANKS = {Tier.REVERSIBLE: 0, Tier.VISIBLE: 1, Tier.IRREVERSIBLE: 2}


def worst(*tiers: Tier) -> Tier:
    """The highest of some tiers."""
    return max(tiers, key=lambda tier: tier.rank)


class Nature(StrEnum):
    """What a tool does."""

    READ = "read"
    SECRET_READ = "secret-read"  # noqa: S105 - a word of the table
    WRITE = "write"
    DELETE = "delete"
    UNLINK = "unlink"
    MONEY = "money"
    SEND = "send"
    DEPLOY = "deploy"
    PERMISSIONS = "permissions"
    EXEC = "exec"
    CREDENTIAL = "credential"
    META = "meta"


@dataclass(frozen=True, slots=True)
class Classification:
    """One request mapped to the worst tool that it could be."""

    tool: str
    """Catalog name (`github.repos.delete`), `PROVIDER.unmatched.METHOD`, or `unmapped.METHOD` on an unknown host."""
    tier: Tier
    nature: Nature
    provider: str | None
    """Catalog provider (`github`), or None on an unknown host."""
    mapped: bool
    """False on an unknown host: the policy's `unmapped` preset applies."""
    billable: bool
    """True when the provider charges for the call by usage, or when it looks like inference on an unknown host."""
    arguments: Mapping[str, Any] = field(default_factory=dict)
    """Path, query and body members under the vendor's names, typed, unmasked: for conditions, never stored so."""
    in_path: tuple[str, ...] = ()
    """Those of the arguments that stand in the path: they name the resource."""
    summary: str = ""
    """A plain sentence for the reviewer: `Delete repository acme/legacy-billing`."""
    evidence: str = ""
    """Why the tier is what it is: `overlay`, `heuristic`, `body: confirm=true`, …"""
    operations: tuple[str, ...] = ()
    """All tools found, where one request carries several."""
