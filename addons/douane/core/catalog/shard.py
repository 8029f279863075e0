"""One provider's operations, and the trie that finds them by method and path.

The finished trie is the file: nodes are JSON objects with `l` (literal segment → node), `a` (list of prefix, suffix,
node: an affixed parameter), `p` (node: a parameter), `m` (node: a parameter over several segments) and `o` (method →
indices of operations).
"""

from __future__ import annotations

import datetime
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace
from typing import Any, get_args

from douane.core.catalog.operation import Discriminator, Operation, Raise, Reader, Reads
from douane.core.tool import Nature, Tier

type Match = tuple[Operation, tuple[str, ...]]
"""An operation, and the values of its path's parameters in order."""


class ShardInvalid(Exception):
    """A shard that is not of the form this program reads."""


@dataclass(frozen=True, slots=True)
class Shard:
    """A provider's operations and their trie."""

    provider: str
    operations: tuple[Operation, ...]
    trie: Mapping[str, Any]
    reads: Reads = "json"
    """How the provider reads bodies, where an operation does not say otherwise."""
    encoded_slash: bool = False
    """The provider's clients encode slashes in parameters; elsewhere an encoded slash is refused."""

    def find(self, method: str, segments: Sequence[str]) -> list[Match]:
        """Every operation a method and path could be, most specific first, each with its path parameters' values."""
        out: list[Match] = []
        _walk(self.trie, segments, 0, (), method, self.operations, out)
        return out

    def changed(self, changes: Mapping[str, Mapping[str, Any]]) -> Shard:
        """The shard with members of some tools' operations replaced."""
        if changes.keys().isdisjoint(operation.tool for operation in self.operations):
            return self
        laid = tuple(replace(found, **changes.get(found.tool, {})) for found in self.operations)
        return replace(self, operations=laid)


def shard_from_json(provider: str, data: Mapping[str, Any]) -> Shard:
    """Read a shard; raises `ShardInvalid`."""
    try:
        reads = data.get("reads", "json")
        if data["provider"] != provider or reads not in get_args(Reads.__value__):
            raise ShardInvalid(f"{provider}: not a shard of this form")
        operations = tuple([_operation(found) for found in data["operations"]])
        trie = data["trie"]
        _check(trie, operations, 0)
    except (LookupError, TypeError, ValueError, AttributeError, RecursionError) as error:
        raise ShardInvalid(f"{provider}: cannot be read: {error!r}") from error
    return Shard(provider, operations, trie, reads, bool(data.get("encoded_slash", False)))


_TIERS = {tier.value: tier for tier in Tier}
_NATURES = {nature.value: nature for nature in Nature}


def _operation(data: Mapping[str, Any]) -> Operation:
    reviewed = data.get("reviewed")
    return Operation(
        tool=data["tool"],
        tier=_TIERS[data["tier"]],
        nature=_NATURES[data["nature"]],
        parameters=tuple(data.get("parameters", ())),
        billable=data.get("billable", False),
        evidence=data.get("evidence", "heuristic"),
        reviewed=datetime.date.fromisoformat(reviewed) if reviewed else None,
        summary=data.get("summary", ""),
        only_if=Discriminator(*data["only_if"]) if "only_if" in data else None,
        raises=tuple(
            Raise(found["argument"], tuple(found.get("equals", ())), _TIERS[found["tier"]], found["why"])
            for found in data.get("raises", ())
        ),
        integers=tuple(data.get("integers", ())),
        required=tuple(data.get("required", ())),
        inference=data.get("inference", False),
        reader=_one_of(Reader, data.get("reader")),
        reads=_one_of(Reads, data.get("reads")),
    )


def _one_of(choices: Any, value: Any) -> Any:
    if value is not None and value not in get_args(choices.__value__):
        raise ValueError(value)
    return value


def _check(node: Mapping[str, Any], operations: Sequence[Operation], values: int) -> None:
    """Every operation that a path leads to is there, and has a name for each of the path's values."""
    if not node.keys() <= {"l", "a", "p", "m", "o"}:
        raise ValueError("a node with unknown members")
    for indices in node.get("o", {}).values():
        for index in indices:
            if index < 0 or len(operations[index].parameters) != values:
                raise ValueError(f"an operation that does not fit its path: {operations[index].tool}")
    for child in node.get("l", {}).values():
        _check(child, operations, values)
    for _, _, child in node.get("a", ()):
        _check(child, operations, values + 1)
    for kind in ("p", "m"):
        if kind in node:
            _check(node[kind], operations, values + 1)


def _walk(
    node: Mapping[str, Any],
    segments: Sequence[str],
    at: int,
    values: tuple[str, ...],
    method: str,
    operations: Sequence[Operation],
    out: list[Match],
) -> None:
    """Literal before affixed parameter before parameter before several segments; every way that fits is followed."""
    if at == len(segments):
        here = node.get("o")
        if here is not None and (indices := here.get(method)) is not None:
            for index in indices:
                out.append((operations[index], values))  # noqa: PERF401  (a comprehension costs twice as much here)
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
        last = len(segments)
        first = at + 1 if len(child) > ("o" in child) else last  # a leaf takes all that is left
        for end in range(first, last + 1):
            _walk(child, segments, end, (*values, "/".join(segments[at:end])), method, operations, out)


def trie_of(routes: Sequence[tuple[str, str, int]], multi: frozenset[tuple[str, str]] = frozenset()) -> dict[str, Any]:
    """The trie of (method, template, operation index); `multi` has each (template, parameter) over several segments."""
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
