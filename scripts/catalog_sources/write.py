"""Shards and the index, byte for byte the same from the same operations."""

from __future__ import annotations

import hashlib
import json
from pathlib import Path
from typing import Any

from catalog_sources.described import Api
from douane.core.catalog.shard import shard_from_json
from douane.core.catalog.trie import Route, trie_of

_DEFAULTS: dict[str, Any] = {
    "reads": "json",
    "encoded_slash": "refused",
    "folds_case": False,
    "signing": "",
    "roots": [],
}


def compact(value: Any) -> str:
    """JSON without a space too many, its keys sorted."""
    return json.dumps(value, sort_keys=True, separators=(",", ":"), ensure_ascii=False)


def shard_text(api: Api) -> str:
    """One shard: its kinds and operations a line each, so that a change shows as a line."""
    kinds: dict[str, int] = {}
    for kind in sorted({compact(found.members) for found in api.operations}):
        kinds[kind] = len(kinds)
    rows: dict[str, int] = {}
    lines = {}
    for found in api.operations:
        name = found.tool.removeprefix(api.prefix)
        assert name != found.tool, (found.tool, api.prefix)
        assert " " not in name, found.tool
        lines[id(found)] = f"{name} {kinds[compact(found.members)]} {found.parameter_text()}"
    for line in sorted(set(lines.values())):
        rows[line] = len(rows)
    routes = sorted(
        {
            Route(found.method, found.template, rows[lines[id(found)]], found.selector)
            for found in api.operations
            if found.method
        },
        key=lambda route: (route.template, route.method, route.selector or ("", "", ""), route.operation),
    )
    head = {key: value for key, value in api.profile.items() if value != _DEFAULTS[key]}
    head |= {"shard": api.name, "prefix": api.prefix}
    return (
        f"{compact(head)[:-1]},\n"
        + '"kinds":[\n' + ",\n".join(kinds) + "\n],\n"
        + '"operations":[\n' + ",\n".join(json.dumps(row, ensure_ascii=False) for row in rows) + "\n],\n"
        + f'"trie":{compact(trie_of(routes))}}}\n'
    )  # fmt: skip


def write(folder: Path, apis: list[Api], refused: dict[str, str], others: dict[str, list[str]]) -> None:
    """Write every shard and the index, and take away what is no longer built."""
    hosts: dict[str, list[str]] = {host: list(found) for host, found in others.items()}
    digests = {}
    for api in apis:
        text = shard_text(api)
        shard_from_json(api.name, json.loads(text)).check()
        path = folder / f"{api.name}.json"
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_text(text)
        digests[api.name] = hashlib.sha256(text.encode()).hexdigest()
        for host in api.hosts:
            hosts.setdefault(host, [api.prefix.partition(".")[0]]).append(api.name)
    _widen(hosts)
    for path in sorted(folder.rglob("*.json")):
        if str(path.relative_to(folder).with_suffix("")) not in digests | {"index": ""}:
            path.unlink()
    sources: dict[str, str] = {}
    for api in apis:
        if api.source:
            sources[api.prefix.partition(".")[0]] = api.source
    signing: dict[str, list[str]] = {}
    for api in apis:
        if api.profile.get("signing"):
            signing.setdefault(api.profile["signing"], []).append(api.name)
    lines = [
        f'"hosts":{{\n{_lines(hosts)}\n}}',
        f'"refused":{{\n{_lines(refused)}\n}}',
        f'"shards":{{\n{_lines(digests)}\n}}',
        f'"signing":{{\n{_lines(signing)}\n}}',
        f'"sources":{{\n{_lines(sources)}\n}}',
    ]
    (folder / "index.json").write_text("{\n" + ",\n".join(lines) + "\n}\n")


def _widen(hosts: dict[str, list[str]]) -> None:
    """Give every pattern the shards of the wider ones too, which would be hidden behind it."""
    for pattern, found in hosts.items():
        labels = pattern.split(".")
        places = [at for at, label in enumerate(labels[:-2]) if "*" not in label]
        for count in range(1, 1 << len(places)):
            wider = list(labels)
            for bit, at in enumerate(places):
                if count >> bit & 1:
                    wider[at] = "*"
            found += [name for name in hosts.get(".".join(wider), ())[1:] if name not in found]


def _lines(members: dict[str, Any]) -> str:
    return ",\n".join(f"{json.dumps(key)}:{compact(value)}" for key, value in sorted(members.items()))
