"""Load the catalog: the shipped shards, verified by their hashes, under the operator's own overlay."""

from __future__ import annotations

import datetime
import hashlib
import json
from dataclasses import replace
from pathlib import Path
from typing import Any

import blake3

from douane.core.catalog import Catalog, Operation, Shard, ShardInvalid
from douane.core.catalog.shard import operation_from_json
from douane.core.tool import Nature, Tier
from douane.edge.home import shipped_policy_dir
from douane.edge.yaml import Document, Problem, load_yaml


class CatalogInvalid(Exception):
    """The catalog cannot be used; `problems` has every mistake."""

    def __init__(self, problems: tuple[Problem, ...]) -> None:
        super().__init__("\n".join(str(problem) for problem in problems))
        self.problems = problems


def load_catalog(overlay: Path | None = None) -> Catalog:
    """The shipped catalog with the overlay `*.yaml` of a folder laid over it; raises `CatalogInvalid`."""
    folder = shipped_policy_dir() / "catalog" / "built"
    hasher = blake3.blake3(b"douane catalog v1\n")
    try:
        index_bytes = (folder / "index.json").read_bytes()
        index = json.loads(index_bytes)
        shards = {name: _load_shard(folder, name, entry) for name, entry in index["shards"].items()}
    except (OSError, ValueError, KeyError, ShardInvalid) as error:
        raise CatalogInvalid((Problem(str(folder), 1, f"the shipped catalog is damaged: {error}", "Install again."),)) from error
    hasher.update(index_bytes)
    problems: list[Problem] = []
    if overlay is not None and overlay.is_dir():
        changes: dict[str, dict[str, Any]] = {}
        for file in sorted(overlay.glob("*.yaml")):
            if file.name == "reviewed.yaml":  # the shipped judgements, already in the shards
                continue
            document = load_yaml(file, f"catalog/{file.name}")
            problems += document.problems
            problems += _read_overlay(document, shards, changes)
            hasher.update(file.read_bytes())
        shards = {name: _laid_over(shard, changes) for name, shard in shards.items()}
    if problems:
        raise CatalogInvalid(tuple(sorted(problems)))
    hosts = {host: shards[name] for host, name in index["hosts"].items()}
    return Catalog(hosts, {}, hasher.hexdigest())


def _load_shard(folder: Path, name: str, entry: dict[str, str]) -> Shard:
    content = (folder / entry["file"]).read_bytes()
    if hashlib.sha256(content).hexdigest() != entry["sha256"]:
        raise ShardInvalid(f"{entry['file']} is not the file that the index names")
    data = json.loads(content)
    return Shard(name, tuple(operation_from_json(found) for found in data["operations"]), data["trie"])


_KEYS = {"tier", "nature", "reviewed", "reason", "summary"}


def _read_overlay(document: Document, shards: dict[str, Shard], changes: dict[str, dict[str, Any]]) -> list[Problem]:
    problems: list[Problem] = []
    value = document.value
    if not isinstance(value, dict) or set(value) != {"tools"} or not isinstance(value["tools"], dict):
        return [document.problem((), "an overlay has one key, `tools`", "tools: {github.repos.merge: {tier: visible, …}}")]
    known = {operation.tool: operation for shard in shards.values() for operation in shard.operations}
    for tool, judged in value["tools"].items():
        path = ("tools", tool)
        if tool not in known:
            mend = "Names are exact; patterns are not allowed." if "*" in tool else "See `douane policy explain` for names."
            problems.append(document.problem(path, f"the catalog has no tool `{tool}`", mend))
            continue
        if not isinstance(judged, dict):
            problems.append(document.problem(path, "a judgement is a mapping", "{tier: irreversible, reason: …}"))
            continue
        for key in judged.keys() - _KEYS:
            problems.append(document.problem((*path, key), f"unknown key `{key}`", f"Known: {', '.join(sorted(_KEYS))}."))
        try:
            tier = Tier(judged["tier"]) if "tier" in judged else known[tool].tier
            nature = Nature(judged["nature"]) if "nature" in judged else known[tool].nature
        except ValueError as error:
            problems.append(document.problem(path, str(error), "Tiers: reversible, visible, irreversible."))
            continue
        if tier.rank < known[tool].tier.rank and not (judged.get("reason") and judged.get("reviewed")):
            problems.append(document.problem(path, "a tier is lowered without `reviewed` and `reason`", "Say who judged and why."))
            continue
        changes[tool] = {"tier": tier, "nature": nature, "evidence": f"operator: {judged.get('reason', 'raised')}"}
        if "summary" in judged:
            changes[tool]["summary"] = str(judged["summary"])
        if "reviewed" in judged:
            try:
                changes[tool]["reviewed"] = datetime.date.fromisoformat(str(judged["reviewed"]))
            except ValueError:
                problems.append(document.problem((*path, "reviewed"), "not a date", "reviewed: 2026-11-23"))
    return problems


def _laid_over(shard: Shard, changes: dict[str, dict[str, Any]]) -> Shard:
    if not any(operation.tool in changes for operation in shard.operations):
        return shard
    operations: tuple[Operation, ...] = tuple(
        operation.changed(**changes[operation.tool]) if operation.tool in changes else operation
        for operation in shard.operations
    )
    return replace(shard, operations=operations)
