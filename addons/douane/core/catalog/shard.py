"""One API's operations, and the trie that finds them by method and path.

The file is compact: `kinds` has each combination of tier, nature, evidence and the like once, `operations` one line of
text each (name behind the shard's prefix, kind, path parameters), sorted, and `trie` is finished. Operations become
values when they are asked for.
"""

from __future__ import annotations

from bisect import bisect_left
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, field, replace
from typing import Any, Literal, NamedTuple, get_args

from douane.core.catalog.operation import Operation, Reads, operation_from_json, parameters_from_text
from douane.core.catalog.trie import Choose, Selector, check, routes_of, walk
from douane.core.tool import Nature, Tier

type EncodedSlash = Literal["refused", "either", "part"]
"""What `%2F` in a path is to the provider: nothing its clients send, a slash or a part of a segment, surely a part."""


class Match(NamedTuple):
    """An operation that a request could be, and its path parameters."""

    operation: Operation
    parameters: dict[str, str]


class ShardInvalid(Exception):
    """A shard that is not of the form this program reads."""


@dataclass(frozen=True, slots=True)
class Shard:
    """Operations of one API of a provider, and their trie."""

    name: str
    """`github`, or `aws/ec2` where a provider has several."""
    prefix: str
    """Of its tools: `github.`, `aws.ec2.`."""
    kinds: tuple[Operation, ...]
    rows: Sequence[str]
    trie: Mapping[str, Any]
    reads: Reads = "json"
    """How the provider reads bodies, where an operation does not say otherwise."""
    encoded_slash: EncodedSlash = "refused"
    folds_case: bool = False
    """The provider reads paths in any case."""
    roots: frozenset[str] = frozenset()
    """First segments that only name a version: one of them is there, and matches without."""
    signing: str = ""
    """The service in an AWS signature's scope."""
    changes: Mapping[str, Mapping[str, Any]] = field(default_factory=dict)
    """An operator's judgements: members of operations by tool."""
    _made: dict[int, Operation] = field(default_factory=dict, repr=False, compare=False)

    @property
    def provider(self) -> str:
        """The first word of its tools' names."""
        return self.prefix.partition(".")[0]

    def operation(self, index: int) -> Operation:
        """One operation, under the operator's judgement."""
        found = self._made.get(index)
        if found is None:
            name, kind, parameters = self.rows[index].split(" ")
            tool = self.prefix + name
            members = {"tool": tool, "parameters": parameters_from_text(parameters), **self.changes.get(tool, {})}
            found = self._made[index] = replace(self.kinds[int(kind)], **members)
        return found

    def find(self, method: str, segments: Sequence[str], choose: Choose | None = None) -> list[Match]:
        """Every operation a method and path could be, most specific first; without `choose`, in every case."""
        if self.roots:
            if not segments or segments[0] not in self.roots:
                return []
            segments = segments[1:]
        wanted = [segment.lower() for segment in segments] if self.folds_case else segments
        out = []
        for index, captured in walk(self.trie, f"/{method}", wanted, choose):
            operation = self._made.get(index) or self.operation(index)
            out.append(Match(operation, operation.values_of(segments, captured) if operation.parameters else {}))
        return out

    def tools(self) -> Iterator[str]:
        """Every tool once, sorted."""
        before = None
        for row in self.rows:
            name = row[: row.index(" ")]
            if name != before:
                yield self.prefix + name
                before = name

    def indices_of(self, tool: str) -> range:
        """The operations of a tool: its routes whose parameters or judgements differ."""
        if not tool.startswith(self.prefix):
            return range(0)
        name = tool[len(self.prefix) :] + " "
        return range(bisect_left(self.rows, name), bisect_left(self.rows, name[:-1] + "!"))

    def worst_of(self, tool: str) -> Operation | None:
        """The riskiest operation of a tool, or None where there is no such tool."""
        found = [self.operation(index) for index in self.indices_of(tool)]
        if not found and tool in self.changes:
            return Operation(**{"nature": Nature.WRITE, **self.changes[tool], "tool": tool})
        return max(found, key=lambda operation: operation.tier.rank, default=None)

    @property
    def names_more(self) -> bool:
        """Whether there are tools that only requests name, and operators judge."""
        return any(kind.reader == "mcp" for kind in self.kinds)

    def tiers(self) -> Iterator[tuple[str, Tier, Nature]]:
        """Tier and nature of every operation by its tool, without making operations."""
        for row in self.rows:
            name, kind, _ = row.split(" ")
            tool, operation = self.prefix + name, self.kinds[int(kind)]
            changed = self.changes.get(tool) or {}
            yield tool, changed.get("tier", operation.tier), changed.get("nature", operation.nature)
        for tool in self.changes:
            if not self.indices_of(tool):
                yield tool, self.changes[tool]["tier"], self.changes[tool].get("nature", Nature.WRITE)

    def routes(self) -> Iterator[tuple[Operation, str, tuple[str, ...], Selector | None]]:
        """Every route: operation, method, segments (`{}`, `x{}y`, `{*}`), selector."""
        for index, method, path, selector in routes_of(self.trie):
            yield self.operation(index), method, path, selector

    def changed(self, changes: Mapping[str, Mapping[str, Any]]) -> Shard:
        """The shard under an operator's judgements on some tools."""
        mine = {
            tool: members
            for tool, members in changes.items()
            if self.indices_of(tool) or (self.names_more and tool.startswith(self.prefix))
        }
        return replace(self, changes=mine, _made={}) if mine else self

    def check(self) -> None:
        """Raise `ShardInvalid` where a row or a node does not hold together: what a builder proves, once."""
        if list(self.rows) != sorted(self.rows):
            raise ShardInvalid(f"{self.name}: operations out of order")
        try:
            operations = [self.operation(index) for index in range(len(self.rows))]
            check(self.trie, [_captured(operation) for operation in operations])
        except (LookupError, TypeError, ValueError, AttributeError, RecursionError) as error:
            raise ShardInvalid(f"{self.name}: cannot be read: {error!r}") from error


def _captured(operation: Operation) -> int | None:
    """How many values a path must catch, None where the parameters say themselves where they stand."""
    spans = bool(operation.parameters) and operation.parameters[0].start is not None
    return None if spans else len(operation.parameters)


_PROFILE = ("reads", "encoded_slash", "folds_case", "signing")


def shard_from_json(name: str, data: Mapping[str, Any]) -> Shard:
    """Read a shard; raises `ShardInvalid`. Its trie and rows are as the builder checked them: see `Shard.check`."""
    try:
        kinds = tuple([operation_from_json(kind) for kind in data["kinds"]])
        rows, trie, prefix = data["operations"], data["trie"], data["prefix"]
        known = data["shard"] == name and data.get("reads", "json") in get_args(Reads.__value__)
        profile = {key: data[key] for key in _PROFILE if key in data}
        roots = frozenset(data.get("roots", ()))
    except (LookupError, TypeError, ValueError, AttributeError) as error:
        raise ShardInvalid(f"{name}: cannot be read: {error!r}") from error
    if not (known and isinstance(rows, list) and isinstance(trie, dict) and str(prefix).endswith(".")):
        raise ShardInvalid(f"{name}: not a shard of this form")
    return Shard(name, prefix, kinds, rows, trie, roots=roots, **profile)
