"""What the catalog knows of one route of one tool."""

from __future__ import annotations

import datetime
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, fields
from typing import Any, Literal, NamedTuple, get_args

from douane.core.tool import Nature, Tier

type Reads = Literal["json", "form", "multipart", "either", "any"]
"""How the provider reads a body: as JSON whatever its Content-Type says, as a form and nothing else, as form-data or
JSON, by its Content-Type as any of these or as bytes, or as bytes whose content does not matter."""

type Reader = Literal["graphql", "git-fetch", "git-push", "kubernetes", "mcp"]
"""Whose grammar the body has, when it names the tool itself."""


class Parameter(NamedTuple):
    """A path parameter: the next value of the path, or where its segments stand (`parent@1:5`)."""

    name: str
    start: int | None = None
    end: int | None = None
    strip: int = 0
    """Characters at its end that are not its own (`:cancel`)."""


@dataclass(frozen=True, slots=True)
class Predicate:
    """A body predicate: an argument's value that makes the call riskier, or less risky, than its tool."""

    argument: str
    equals: tuple[Any, ...]
    """Values that raise; (True,): any but a plain false; empty: any, as soon as the argument is there. Of one that
    lowers, the value it must plainly have."""
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
    parameters: tuple[Parameter, ...] = ()
    """The path's parameters in order."""
    billable: bool = False
    evidence: str = "heuristic"
    reviewed: datetime.date | None = None
    """When people judged it; without, the tier is a heuristic's guess."""
    summary: str = ""
    """A sentence with `{argument}` fields."""
    raises: tuple[Predicate, ...] = ()
    lowers: tuple[Predicate, ...] = ()
    """What the provider surely honours as a rehearsal, so that nothing happens."""
    integers: tuple[str, ...] = ()
    """Arguments that must be one integer where they stand: split or repeated they are ambiguous."""
    required: tuple[str, ...] = ()
    """Arguments without which nobody can decide: missing they are ambiguous."""
    inference: bool = False
    """Texts among the arguments are counted, not kept."""
    reader: Reader | None = None
    reads: Reads | None = None
    """Where it differs from the provider's other operations."""

    def values_of(self, segments: Sequence[str], captured: Sequence[str]) -> dict[str, str]:
        """The path's parameters by name, from its segments and from what the templates caught."""
        if not self.parameters or self.parameters[0].start is None:
            return dict(zip([parameter.name for parameter in self.parameters], captured, strict=True))
        found = {}
        for name, start, end, strip in self.parameters:
            text = "/".join(segments[start:end])
            found[name] = text[: len(text) - strip]
        return found


_TIERS = {tier.value: tier for tier in Tier}
_NATURES = {nature.value: nature for nature in Nature}
_MEMBERS = frozenset({field.name for field in fields(Operation)} - {"tool", "parameters"})


def operation_from_json(data: Mapping[str, Any]) -> Operation:
    """What several routes and tools have in common, without names; raises `LookupError`, `ValueError`, `TypeError`."""
    if not data.keys() <= _MEMBERS:
        raise ValueError(f"unknown members {sorted(data.keys() - _MEMBERS)}")
    reviewed = data.get("reviewed")
    return Operation(
        tool="",
        tier=_TIERS[data["tier"]],
        nature=_NATURES[data["nature"]],
        billable=data.get("billable", False),
        evidence=data.get("evidence", "heuristic"),
        reviewed=datetime.date.fromisoformat(reviewed) if reviewed else None,
        summary=data.get("summary", ""),
        raises=_predicates(data.get("raises", ())),
        lowers=_predicates(data.get("lowers", ())),
        integers=tuple(data.get("integers", ())),
        required=tuple(data.get("required", ())),
        inference=data.get("inference", False),
        reader=_one_of(Reader, data.get("reader")),
        reads=_one_of(Reads, data.get("reads")),
    )


def _predicates(listed: Sequence[Mapping[str, Any]]) -> tuple[Predicate, ...]:
    return tuple(
        Predicate(found["argument"], tuple(found.get("equals", ())), _TIERS[found["tier"]], found["why"])
        for found in listed
    )


def _one_of(choices: Any, value: Any) -> Any:
    if value is not None and value not in get_args(choices.__value__):
        raise ValueError(value)
    return value


def parameters_from_text(text: str) -> tuple[Parameter, ...]:
    """Path parameters of `owner,repo`, or of `parent@1:5` and `name@1::7`; raises `ValueError`."""
    if not text:
        return ()
    found = []
    for word in text.split(","):
        name, at, span = word.partition("@")
        if not at:
            found.append(Parameter(name))
            continue
        start, end, strip = [int(part) if part else None for part in (*span.split(":"), "")[:3]]
        found.append(Parameter(name, start or 0, end, strip or 0))
    return tuple(found)
