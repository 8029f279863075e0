"""What people have judged, laid over the guesses: `policy/catalog/reviewed.yaml`."""

from __future__ import annotations

from collections import defaultdict
from pathlib import Path
from typing import Any

import yaml

from catalog_sources.described import Api, Described
from catalog_sources.tiers import guess
from douane.core.catalog.trie import Selector

NEEDED = {"tier", "nature", "reviewed", "reason"}


class JudgementInvalid(Exception):
    """A judgement that is not whole, or about nothing."""


def read(file: Path) -> dict[str, Any]:
    """The file as it stands."""
    loaded: dict[str, Any] = yaml.safe_load(file.read_text())
    return loaded


def judgements(reviewed: dict[str, Any]) -> dict[str, dict[str, Any]]:
    """Every judgement by tool, those made of several tools alike included."""
    found: dict[str, dict[str, Any]] = {}
    for tools in reviewed["tools"].values():
        found |= tools
    for groups in reviewed["alike"].values():
        for group in groups:
            for name in group["tools"]:
                if name in found:
                    raise JudgementInvalid(f"reviewed.yaml: {name} is judged twice")
                found[name] = {key: value for key, value in group.items() if key != "tools"}
    for name, judged in found.items():
        if not judged.keys() >= NEEDED:
            raise JudgementInvalid(f"reviewed.yaml: {name} lacks tier, nature, reviewed or reason")
    for sentences in reviewed["sentences"].values():
        for name, sentence in sentences.items():
            if name not in found or "summary" in found[name]:
                raise JudgementInvalid(f"reviewed.yaml: {name} is not judged, or has two sentences")
            found[name] = found[name] | {"summary": sentence}
    return found


def lay(apis: list[Api], reviewed: dict[str, Any]) -> None:
    """Lay the judgements over the APIs' operations; a name that no operation has is an error."""
    judged = judgements(reviewed)
    by_tool: dict[str, list[Described]] = defaultdict(list)
    for api in apis:
        for found in api.operations:
            by_tool[found.tool].append(found)
    for name, members in judged.items():
        if "routes" in members:
            api = _home(apis, name)
            routes = [Described(name, method, path) for method, path, *_ in members["routes"]]
            for route in routes:
                route.members = guess(name, route.method)
            added = routes or [Described(name, parameters="")]  # without a route: named by what reads the body
            if selector := members.get("only_if"):
                for route in added:
                    route.selector = Selector(*selector)
            api.operations += added
            by_tool[name] += added
        elif name not in by_tool:
            raise JudgementInvalid(f"reviewed.yaml: {name} is no tool of the sources and has no routes")
        for found in by_tool[name]:
            found.members = _members(found.members, members)


def _home(apis: list[Api], tool: str) -> Api:
    """The API that a tool's name belongs to: the one with the longest prefix, of equal ones the pack of that name."""
    near = [api for api in apis if tool.startswith(api.prefix)]
    if not near:
        raise JudgementInvalid(f"reviewed.yaml: {tool} belongs to no provider")
    return max(near, key=lambda api: (len(api.prefix), api.prefix == f"{api.name}."))


def _members(before: dict[str, Any], judged: dict[str, Any]) -> dict[str, Any]:
    members = {key: value for key, value in judged.items() if key not in ("reason", "routes", "only_if")}
    laid = before | members | {"reviewed": str(judged["reviewed"]), "evidence": f"reviewed: {judged['reason']}"}
    return {key: value for key, value in laid.items() if value not in ([], "", None, False)}
