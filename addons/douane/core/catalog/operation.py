"""What the catalog knows of one route of one tool."""

from __future__ import annotations

import datetime
from dataclasses import dataclass
from typing import Any, Literal, NamedTuple

from douane.core.tool import Nature, Tier

type Reads = Literal["json", "form", "multipart", "any"]
"""How the provider reads a body: as JSON whatever its Content-Type says, as a form and nothing else, as form-data or
JSON, or as bytes whose content does not matter."""

type Reader = Literal["graphql", "git-fetch", "git-push"]
"""Whose grammar the body has, when it names the tool itself."""


class Discriminator(NamedTuple):
    """What tells operations of one route apart; the value `*` asks only that it is there."""

    where: Literal["query", "header", "body"]
    name: str
    value: str


@dataclass(frozen=True, slots=True)
class Raise:
    """A body predicate: an argument's value that makes the call riskier than its tool."""

    argument: str
    equals: tuple[Any, ...]
    """Values that raise; (True,): any but a plain false; empty: any, as soon as the argument is there."""
    tier: Tier
    why: str

    def applies_to(self, value: Any) -> bool:
        """Whether this value of the argument raises."""
        if not self.equals:
            return True
        if self.equals == (True,):
            return not (value is False or (isinstance(value, str) and value.lower() == "false"))
        return isinstance(value, str) and value.lower() in self.equals


@dataclass(frozen=True, slots=True)
class Operation:
    """One route of one tool."""

    tool: str
    tier: Tier
    nature: Nature
    parameters: tuple[str, ...] = ()
    """Names of the path's parameters in order."""
    billable: bool = False
    evidence: str = "heuristic"
    reviewed: datetime.date | None = None
    """When people judged it; without, the tier is a heuristic's guess."""
    summary: str = ""
    """A sentence with `{argument}` fields."""
    only_if: Discriminator | None = None
    raises: tuple[Raise, ...] = ()
    integers: tuple[str, ...] = ()
    """Arguments that must be one integer where they stand: split or repeated they are ambiguous."""
    required: tuple[str, ...] = ()
    """Arguments without which nobody can decide: missing they are ambiguous."""
    inference: bool = False
    """Texts among the arguments are counted, not kept."""
    reader: Reader | None = None
    reads: Reads | None = None
    """Where it differs from the provider's other operations."""
