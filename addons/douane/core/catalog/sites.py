"""Hosts: which shards a canonical host belongs to.

A pattern is a host, with `*` for one label and a leading `**` for one or more. The most specific pattern counts: a
label before `*` before `**`, read from the right.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any, NamedTuple


class Site(NamedTuple):
    """What a host is."""

    provider: str
    shards: tuple[str, ...] = ()
    """Names of the shards with its operations; with none of them every operation is unknown."""
    refused: str = ""
    """Why nothing is sent there."""


class Sites:
    """Every host that the catalog knows."""

    def __init__(self, patterns: Mapping[str, Site], signing: Mapping[str, Sequence[str]] | None = None) -> None:
        self._signing = dict(signing or {})
        self._exact: dict[str, Site] = {}
        self._trie: dict[str, Any] = {}
        for pattern, site in patterns.items():
            if "*" not in pattern:
                self._exact[pattern] = site
            node = self._trie
            for label in reversed(pattern.split(".")):
                node = node.setdefault(label, {})
            node["/"] = site

    def site_of(self, host: str) -> Site | None:
        """The site of a canonical host, or None."""
        found = self._exact.get(host)
        return found if found is not None else _find(self._trie, host.split("."))

    def signed_for(self, service: str) -> tuple[str, ...]:
        """The shards of a service by its name in an AWS signature."""
        return tuple(self._signing.get(service, ()))

    @property
    def signing(self) -> dict[str, Sequence[str]]:
        """Shards by the names of services in AWS signatures."""
        return self._signing

    def all(self) -> dict[str, Site]:
        """Every pattern with its site."""
        found: dict[str, Site] = {}
        left: list[tuple[dict[str, Any], tuple[str, ...]]] = [(self._trie, ())]
        while left:
            node, labels = left.pop()
            for label, child in node.items():
                if label == "/":
                    found[".".join(labels)] = child
                else:
                    left.append((child, (label, *labels)))
        return dict(sorted(found.items()))


def _find(node: Mapping[str, Any], labels: Sequence[str]) -> Site | None:
    """The labels from the right; where two patterns fit, the one with the longer plain end."""
    if not labels:
        return node.get("/")
    *rest, last = labels
    for label in (last, "*"):
        child = node.get(label)
        if child is not None and label != "**" and (found := _find(child, rest)) is not None:
            return found
    below = node.get("**")
    return below.get("/") if below is not None and "" not in labels else None
