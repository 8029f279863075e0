"""One provider's operations, and the trie that finds them by method and path.

The finished trie is the file: nodes are JSON objects with `l` (literal segment → node), `a` (list of prefix, suffix,
node: an affixed parameter), `p` (node: a parameter), `m` (node: a parameter over several segments) and `o` (method →
indices of operations).
"""

from __future__ import annotations

import datetime
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace
from typing import Any

from douane.core.tool import Nature, Tier


class ShardInvalid(Exception):
    """A shard that is not of the form this program reads."""


@dataclass(frozen=True, slots=True)
class Raise:
    """A body predicate: an argument's value that makes the call riskier than its tool."""

    argument: str
    equals: tuple[Any, ...]
    """Values that raise; empty: any value, as soon as the argument is there."""
    tier: Tier
    why: str


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
    summary: str = ""
    """A sentence with `{argument}` fields."""
    only_if: tuple[str, str, str] | None = None
    """A discriminator: (`query` | `header` | `json`, name, value)."""
    raises: tuple[Raise, ...] = ()
    integers: tuple[str, ...] = ()
    """Arguments that must be one integer where they stand: split or repeated they are ambiguous."""
    required: tuple[str, ...] = ()
    inference: bool = False
    """Texts among the arguments are counted, not kept."""
    reader: str | None = None
    """`graphql`: the body names the tool."""

    def changed(self, **members: Any) -> Operation:
        """The operation with some members replaced."""
        return replace(self, **members)


def operation_from_json(data: Mapping[str, Any]) -> Operation:
    """Read an operation; raises `ShardInvalid`."""
    try:
        reviewed = data.get("reviewed")
        return Operation(
            tool=data["tool"],
            tier=Tier(data["tier"]),
            nature=Nature(data["nature"]),
            parameters=tuple(data.get("parameters", ())),
            billable=bool(data.get("billable", False)),
            evidence=data.get("evidence", "heuristic"),
            reviewed=datetime.date.fromisoformat(reviewed) if reviewed else None,
            summary=data.get("summary", ""),
            only_if=tuple(data["only_if"]) if "only_if" in data else None,
            raises=tuple(
                Raise(r["argument"], tuple(r.get("equals", ())), Tier(r["tier"]), r["why"]) for r in data.get("raises", ())
            ),
            integers=tuple(data.get("integers", ())),
            required=tuple(data.get("required", ())),
            inference=bool(data.get("inference", False)),
            reader=data.get("reader"),
        )
    except (KeyError, TypeError, ValueError) as error:
        raise ShardInvalid(f"an operation that cannot be read: {error}") from error


@dataclass(frozen=True, slots=True)
class Shard:
    """A provider's operations and their trie."""

    provider: str
    operations: tuple[Operation, ...]
    trie: Mapping[str, Any]

    def find(self, method: str, segments: Sequence[str]) -> list[tuple[Operation, tuple[str, ...]]]:
        """Every operation a method and path could be, most specific first, each with its path parameters' values."""
        out: list[tuple[Operation, tuple[str, ...]]] = []
        _walk(self.trie, segments, 0, (), method, self.operations, out)
        return out


def _walk(
    node: Mapping[str, Any],
    segments: Sequence[str],
    at: int,
    values: tuple[str, ...],
    method: str,
    operations: Sequence[Operation],
    out: list[tuple[Operation, tuple[str, ...]]],
) -> None:
    if at == len(segments):
        here = node.get("o")
        if here is not None:
            out.extend((operations[index], values) for index in here.get(method, ()))
        return
    segment = segments[at]
    literals = node.get("l")
    if literals is not None and (child := literals.get(segment)) is not None:
        _walk(child, segments, at + 1, values, method, operations, out)
    for prefix, suffix, child in node.get("a", ()):
        if segment.startswith(prefix) and segment.endswith(suffix) and len(segment) > len(prefix) + len(suffix):
            value = segment[len(prefix) : len(segment) - len(suffix)]
            _walk(child, segments, at + 1, (*values, value), method, operations, out)
    if (child := node.get("p")) is not None:
        _walk(child, segments, at + 1, (*values, segment), method, operations, out)
    if (child := node.get("m")) is not None:
        for end in range(at + 1, len(segments) + 1):
            _walk(child, segments, end, (*values, "/".join(segments[at:end])), method, operations, out)


def trie_of(routes: Sequence[tuple[str, str, int]], multi: frozenset[tuple[str, str]] = frozenset()) -> dict[str, Any]:
    """The trie of (method, path template, operation index); `multi` has the (template, parameter) over several segments."""
    root: dict[str, Any] = {}
    for method, template, index in routes:
        node = root
        for part in template.strip("/").split("/") if template.strip("/") else ():
            start, end = part.find("{"), part.rfind("}")
            if start < 0:
                node = node.setdefault("l", {}).setdefault(part, {})
            elif (template, part[start + 1 : end].lstrip("+")) in multi:
                node = node.setdefault("m", {})
            elif start == 0 and end == len(part) - 1:
                node = node.setdefault("p", {})
            else:
                prefix, suffix = part[:start], part[end + 1 :]
                affixed = node.setdefault("a", [])
                known = [child for p, s, child in affixed if (p, s) == (prefix, suffix)]
                if not known:
                    known = [{}]
                    affixed.append([prefix, suffix, known[0]])
                node = known[0]
        node.setdefault("o", {}).setdefault(method, []).append(index)
    return root
