"""A shard's trie of path templates: one JSON object a node, finished when it is built.

A node's members are literal segments, and beside them `/p` (a parameter), `/a` (affixed parameters: prefix, suffix,
node), `/m` (a parameter over several segments, with more behind it), `/M` (one that takes all that is left) and `/GET`
and the like (what is there). No segment begins with a slash, so a literal can never be taken for one of these.

What is there is one index of an operation, or a list of indices and selectors. A selector, `[where, name, {value:
index}]`, tells operations of one route apart by a header, a parameter of query or form, or a member of the body; the
value `*` stands for any.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping, Sequence
from typing import Any, NamedTuple

from douane.core.request import METHODS

type Node = Mapping[str, Any]
type Choose = Callable[[str, str], Sequence[str]]
"""The values of a request at a place (`header`, `query`, `form`, `body`) under a name."""
type Values = tuple[str, ...]
type Found = tuple[int, Values]
"""An operation's index, and the values of its path's parameters in order."""

_MARKS = frozenset({"/p", "/m", "/M", "/a"})
_PLACES = frozenset({"header", "query", "form", "body"})
_METHODS = frozenset(f"/{method}" for method in METHODS)


class Selector(NamedTuple):
    """What tells operations of one route apart."""

    where: str
    name: str
    value: str = "*"


class Route(NamedTuple):
    """One way to one operation."""

    method: str
    template: str
    operation: int
    selector: Selector | None = None


def walk(root: Node, key: str, segments: Sequence[str], choose: Choose | None) -> list[Found]:
    """Every operation that a method's key (`/GET`) and path could be, the most specific first, backtracking included.

    Without `choose` every selector's operations count.
    """
    out: list[Found] = []
    _walk(root, segments, 0, (), key, choose, out, None)
    return out


def _walk(
    node: Node,
    segments: Sequence[str],
    at: int,
    values: Values,
    key: str,
    choose: Choose | None,
    out: list[Found],
    seen: set[tuple[int, int]] | None,
) -> None:
    """Literal before affixed parameter before parameter before several segments; every way that fits is followed."""
    if at == len(segments):
        leaf = node.get(key)
        if leaf is None:
            return
        if leaf.__class__ is int:
            out.append((leaf, values))
        else:
            _chosen(leaf, values, choose, out)
        return
    segment = segments[at]
    if (child := node.get(segment)) is not None:
        _walk(child, segments, at + 1, values, key, choose, out, seen)
    if (affixed := node.get("/a")) is not None:
        for prefix, suffix, child in affixed:
            if segment.startswith(prefix) and segment.endswith(suffix) and len(segment) > len(prefix) + len(suffix):
                value = segment[len(prefix) : len(segment) - len(suffix)]
                _walk(child, segments, at + 1, (*values, value), key, choose, out, seen)
    if (child := node.get("/p")) is not None:
        _walk(child, segments, at + 1, (*values, segment), key, choose, out, seen)
    if (child := node.get("/m")) is not None:
        # Several of these behind each other meet in the same places: each is followed once.
        seen = set() if seen is None else seen
        for end in range(at + 1, len(segments) + 1):
            if (id(child), end) not in seen:
                seen.add((id(child), end))
                _walk(child, segments, end, (*values, "/".join(segments[at:end])), key, choose, out, seen)
    if (child := node.get("/M")) is not None:
        _walk(child, segments, len(segments), (*values, "/".join(segments[at:])), key, choose, out, seen)


def _chosen(leaf: Sequence[Any], values: Values, choose: Choose | None, out: list[Found]) -> None:
    for item in leaf:
        if item.__class__ is int:
            out.append((item, values))
            continue
        where, name, choices = item
        if choose is None:
            out.extend((index, values) for index in choices.values())
            continue
        for wanted in choose(where, name):
            index = choices.get(wanted, choices.get("*"))
            if index is not None:
                out.append((index, values))


def trie_of(routes: Sequence[Route]) -> dict[str, Any]:
    """The trie of some routes; a template's `{name}` is one segment or a part of one, `{*name}` several."""
    root: dict[str, Any] = {}
    for method, template, index, selector in routes:
        node = root
        parts = template.strip("/").split("/") if template.strip("/") else []
        for at, part in enumerate(parts):
            node = _child(node, part, last=at == len(parts) - 1)
        _add(node, f"/{method}", index, selector)
    return root


def _child(node: dict[str, Any], part: str, *, last: bool) -> dict[str, Any]:
    start, end = part.find("{"), part.rfind("}")
    found: dict[str, Any]
    if start < 0:
        found = node.setdefault(part, {})
    elif part.startswith("{*"):
        found = node.setdefault("/M" if last else "/m", {})
    elif start == 0 and end == len(part) - 1:
        found = node.setdefault("/p", {})
    else:
        prefix, suffix = part[:start], part[end + 1 :]
        affixed = node.setdefault("/a", [])
        known = [child for p, s, child in affixed if (p, s) == (prefix, suffix)]
        if not known:
            known = [{}]
            affixed.append([prefix, suffix, known[0]])
            affixed.sort(key=lambda entry: (-len(entry[0]) - len(entry[1]), entry[0], entry[1]))
        found = known[0]
    return found


def _add(node: dict[str, Any], key: str, index: int, selector: Selector | None) -> None:
    """Selectors stand before plain operations, as the more specific."""
    if selector is None and key not in node:
        node[key] = index
        return
    leaf = node[key] if isinstance(node.get(key), list) else [node[key]] if key in node else []
    node[key] = leaf
    if selector is None:
        if index not in leaf:
            leaf.append(index)
        return
    for item in leaf:
        if isinstance(item, list) and item[:2] == [selector.where, selector.name] and selector.value not in item[2]:
            item[2][selector.value] = index
            return
    place = sum(isinstance(item, list) for item in leaf)
    leaf.insert(place, [selector.where, selector.name, {selector.value: index}])


def routes_of(node: Node, path: tuple[str, ...] = ()) -> Iterator[tuple[int, str, tuple[str, ...], Selector | None]]:
    """Every route of a trie: operation's index, method, segments (`{}`, `x{}y`, `{*}`), selector."""
    for name, child in node.items():
        if name in _METHODS:
            for item in child if isinstance(child, list) else [child]:
                if isinstance(item, int):
                    yield item, name[1:], path, None
                else:
                    where, key, choices = item
                    for value, index in choices.items():
                        yield index, name[1:], path, Selector(where, key, value)
        elif name == "/a":
            for prefix, suffix, below in child:
                yield from routes_of(below, (*path, f"{prefix}{{}}{suffix}"))
        else:
            shown = {"/p": "{}", "/m": "{*}", "/M": "{*}"}.get(name, name)
            yield from routes_of(child, (*path, shown))


def check(node: Any, captured: Sequence[int | None], values: int = 0) -> None:
    """Raise for a trie that is not of this form; `captured` has how many values each operation names."""
    if not isinstance(node, dict):
        raise TypeError("a node that is none")
    for name, child in node.items():
        if name in _METHODS:
            for item in child if isinstance(child, list) else [child]:
                _check_leaf(item, captured, values)
        elif name == "/a":
            for prefix, suffix, below in child:
                if not prefix + suffix:
                    raise ValueError("an affixed parameter without affix")
                check(below, captured, values + 1)
        elif name in _MARKS:
            check(child, captured, values + 1)
        elif name.startswith("/"):
            raise ValueError("a node with unknown members")
        else:
            check(child, captured, values)


def _check_leaf(item: Any, captured: Sequence[int | None], values: int) -> None:
    if isinstance(item, list):
        where, name, choices = item
        if where not in _PLACES or not isinstance(name, str) or not choices:
            raise ValueError("a selector that is none")
        indices = list(choices.values())
    else:
        indices = [item]
    for index in indices:
        if not isinstance(index, int) or not 0 <= index < len(captured) or captured[index] not in (None, values):
            raise ValueError(f"an operation that does not fit its path: {index}")
