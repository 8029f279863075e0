"""Load the catalog: the shipped shards, verified by their hashes, under the operator's own overlay."""

from __future__ import annotations

import datetime
import gc
import hashlib
import json
import re
import string
from collections import ChainMap
from collections.abc import Iterator, Mapping
from pathlib import Path
from typing import Any

import blake3
import orjson

from douane.core.catalog import Catalog, Shard, ShardInvalid, Site, Sites, shard_from_json
from douane.core.tool import Nature, Tier
from douane.edge.home import shipped_policy_dir
from douane.edge.overlay import Private, PrivateReader
from douane.edge.yaml import Document, Problem, load_yaml

SHIPPED_JUDGEMENTS = "reviewed.yaml"
"""Built into the shards already; a copy of it in an operator's folder must be the shipped one."""

SECTIONS = frozenset({"tools", "hosts", "apis"})
KEYS = ("tier", "nature", "reviewed", "reason", "summary")
_FIELD = re.compile(r"[A-Za-z_@][A-Za-z0-9_-]*(?:\|[A-Za-z_@][A-Za-z0-9_-]*)*")


class CatalogInvalid(Exception):
    """The catalog cannot be used; `problems` has every mistake."""

    def __init__(self, problems: tuple[Problem, ...]) -> None:
        super().__init__("\n".join(str(problem) for problem in problems))
        self.problems = problems


def load_catalog(overlay: Path | None = None, *, lazily: bool = False) -> Catalog:
    """The shipped catalog with the overlay `*.yaml` of a folder laid over it; raises `CatalogInvalid`.

    A node has all of it read and verified before its first call; a command that answers one question reads `lazily`.
    """
    folder = shipped_policy_dir() / "catalog"
    collects = gc.isenabled()
    gc.disable()  # a few hundred thousand nodes, none of them garbage
    try:
        index = (folder / "built" / "index.json").read_bytes()
        sites, shards = _read(folder / "built", json.loads(index), lazily=lazily)
    except (OSError, ValueError, KeyError, TypeError, AttributeError, ShardInvalid) as error:
        problem = Problem(str(folder), 1, f"the shipped catalog is damaged: {error}", "Install Douane again.")
        raise CatalogInvalid((problem,)) from error
    finally:
        if collects:
            gc.enable()
    if not lazily:
        import douane.core.catalog.graphql  # noqa: F401 - not at the first document, on the node's loop
    shipped = Catalog(sites, shards, blake3.blake3(b"douane catalog v2\n" + index).hexdigest())
    changes, private, problems = _overlays(overlay, shipped)
    if problems:
        raise CatalogInvalid(tuple(sorted(problems)))
    if not changes and not private.sites:
        return shipped
    hasher = blake3.blake3(b"douane catalog v2\n" + index)
    for name in sorted(changes):
        hasher.update(f"{name} {sorted(changes[name].items())}\n".encode())
    hasher.update(f"{sorted(private.sites.items())} {sorted(private.shards.items())}\n".encode())
    everywhere = Sites(sites.all() | private.sites, sites.signing)
    return Catalog(everywhere, _Laid(shards, changes, private.shards), hasher.hexdigest())


def read_built(folder: Path) -> Catalog:
    """A built catalog by itself; raises `OSError`, `ValueError`, `ShardInvalid`."""
    index = (folder / "index.json").read_bytes()
    return Catalog(*_read(folder, json.loads(index), lazily=False), blake3.blake3(index).hexdigest())


def sources_of(folder: Path) -> dict[str, str]:
    """The packages that each provider of a built catalog was read from."""
    found: dict[str, str] = json.loads((folder / "index.json").read_bytes())["sources"]
    return found


def _read(folder: Path, index: Mapping[str, Any], *, lazily: bool) -> tuple[Sites, Mapping[str, Shard]]:
    hosts = {host: Site(found[0], tuple(found[1:])) for host, found in index["hosts"].items()}
    hosts |= {host: Site("", (), why) for host, why in index["refused"].items()}
    shards = _Shards(folder, index["shards"])
    for site in hosts.values():
        if not set(site.shards) <= index["shards"].keys():
            raise ShardInvalid(f"the index names shards that are not there: {', '.join(site.shards)}")
    return Sites(hosts, index["signing"]), shards if lazily else dict(shards)


class _Shards(Mapping[str, Shard]):
    """The shards of a folder, each read and held against its hash when it is asked for."""

    def __init__(self, folder: Path, digests: Mapping[str, str]) -> None:
        self._folder = folder
        self._digests = digests
        self._read: dict[str, Shard] = {}

    def __getitem__(self, name: str) -> Shard:
        if name not in self._read:
            content = (self._folder / f"{name}.json").read_bytes()
            if hashlib.sha256(content).hexdigest() != self._digests[name]:
                raise ShardInvalid(f"{name}.json is not the file that the index names")
            self._read[name] = shard_from_json(name, orjson.loads(content))
        return self._read[name]

    def __iter__(self) -> Iterator[str]:
        return iter(self._digests)

    def __len__(self) -> int:
        return len(self._digests)


class _Laid(Mapping[str, Shard]):
    """Shards under an operator's judgements."""

    def __init__(
        self, shards: Mapping[str, Shard], changes: Mapping[str, Mapping[str, Any]], private: Mapping[str, Shard]
    ) -> None:
        self._shards = ChainMap(dict(private), shards)  # type: ignore[arg-type]  # nothing is written to it
        self._providers = {tool.partition(".")[0] for tool in changes}
        self._changes = changes
        self._laid: dict[str, Shard] = {}

    def __getitem__(self, name: str) -> Shard:
        found = self._laid.get(name)
        if found is None:
            found = self._shards[name]
            if name.partition("/")[0] in self._providers:
                found = found.changed(self._changes)
            self._laid[name] = found
        return found

    def __iter__(self) -> Iterator[str]:
        return iter(self._shards)

    def __len__(self) -> int:
        return len(self._shards)


def _overlays(overlay: Path | None, shipped: Catalog) -> tuple[dict[str, dict[str, Any]], Private, list[Problem]]:
    """Judgements on shipped tools, what is the operator's own, and every mistake in both."""
    private = Private()
    changes: dict[str, dict[str, Any]] = {}
    problems: list[Problem] = []
    if overlay is not None and overlay.is_dir():
        for file in sorted(overlay.glob("*.yaml")):
            if file.name == SHIPPED_JUDGEMENTS:
                problems += _check_shipped(file, shipped_policy_dir() / "catalog" / SHIPPED_JUDGEMENTS)
                continue
            document = load_yaml(file, f"catalog/{file.name}")
            problems += document.problems or _Overlay(document, shipped, changes, private).read()
    return changes, private, problems


def _check_shipped(file: Path, shipped: Path) -> list[Problem]:
    """A changed copy of the shipped judgements would look as if it were in force."""
    try:
        if file.read_bytes() == shipped.read_bytes():
            return []
    except OSError:
        pass
    message = "the shipped judgements are changed here, which has no effect"
    return [Problem(f"catalog/{file.name}", 1, message, "Remove the file; put your own judgements in another one.")]


class _Overlay:
    """One overlay file: judgements on tools by their exact names."""

    def __init__(
        self, document: Document, shipped: Catalog, changes: dict[str, dict[str, Any]], private: Private
    ) -> None:
        self._document = document
        self._shipped = shipped
        self._private = private
        self._changes = changes
        self._problems: list[Problem] = []

    def read(self) -> list[Problem]:
        """Add the judgements to the changes; returns every mistake."""
        value = self._document.value
        known = isinstance(value, dict) and bool(value) and value.keys() <= SECTIONS
        if not known or not all(isinstance(part, dict) for part in value.values()):
            mend = "tools: {github.pulls.merge: {tier: visible, …}}"
            self._problem((), "an overlay has the keys `tools`, `hosts` and `apis`, or some of them", mend)
            return self._problems
        reader = PrivateReader(self._document, self._shipped, self._private)
        reader.read(value)
        for tool, judged in value.get("tools", {}).items():
            self._judge(str(tool), judged)
        return self._problems + reader.problems

    def _problem(self, path: tuple[str | int, ...], message: str, mend: str) -> None:
        self._problems.append(self._document.problem(path, message, mend))

    def _judge(self, tool: str, judged: Any) -> None:
        path = ("tools", tool)
        before = self._shipped.tool(tool) or self._private.mcp_tool(tool)
        if before is None:
            pattern = any(ch in tool for ch in "*?[")
            mend = "Names are exact; a pattern would judge what nobody looked at." if pattern else "Check its spelling."
            if tool.startswith("mcp."):
                mend = "mcp.tools-corp-example.TOOL, with `tools.corp.example: mcp` under `hosts` here or before."
            self._problem(path, f"the catalog has no tool `{tool}`", mend)
            return
        if tool in self._changes:
            self._problem(path, f"`{tool}` is judged twice", "Keep one of the two.")
            return
        if not isinstance(judged, dict) or "tier" not in judged:
            self._problem(path, "a judgement names a tier", "{tier: irreversible, reviewed: 2026-11-23, reason: …}")
            return
        for key in judged.keys() - set(KEYS):
            self._problem((*path, key), f"unknown key `{key}`", f"Known are {', '.join(KEYS)}.")
        found: dict[str, Any] = {"evidence": f"operator: {judged.get('reason') or 'no reason given'}"}
        found["tier"] = self._one_of(Tier, (*path, "tier"), judged["tier"])
        if "nature" in judged:
            found["nature"] = self._one_of(Nature, (*path, "nature"), judged["nature"])
        if "reviewed" in judged:
            found["reviewed"] = self._date((*path, "reviewed"), judged["reviewed"])
        if "summary" in judged:
            found["summary"] = self._sentence((*path, "summary"), judged["summary"])
        if "reason" in judged and not isinstance(judged["reason"], str):
            self._problem((*path, "reason"), "a reason is a sentence", "reason: what makes it so")
        lowered = found["tier"] is not None and found["tier"].rank < before.tier.rank
        if lowered and not (judged.get("reason") and judged.get("reviewed")):
            self._problem(
                path,
                f"the tier is lowered from {before.tier} without `reviewed` and `reason`",
                "Say when somebody looked at this tool, and why it is less of a risk.",
            )
        self._changes[tool] = found

    def _one_of[T: (Tier, Nature)](self, kind: type[T], path: tuple[str | int, ...], value: Any) -> T | None:
        try:
            return kind(value)
        except ValueError:
            self._problem(path, f"there is no {kind.__name__.lower()} `{value}`", f"One of {', '.join(kind)}.")
            return None

    def _date(self, path: tuple[str | int, ...], value: Any) -> datetime.date | None:
        try:
            return datetime.date.fromisoformat(str(value))
        except ValueError:
            self._problem(path, "not a date", "reviewed: 2026-11-23")
            return None

    def _sentence(self, path: tuple[str | int, ...], value: Any) -> str:
        try:
            fields = [name for _, name, spec, conversion in string.Formatter().parse(str(value)) if name is not None]
        except ValueError:
            fields = ["{"]
        if not all(_FIELD.fullmatch(name) for name in fields):
            self._problem(path, "a field that is not just a name", "summary: Delete {repo} of {owner}")
        return str(value)
