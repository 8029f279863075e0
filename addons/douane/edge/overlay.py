"""An operator's own catalog files: hosts for known APIs, and private APIs with their routes.

Judgements on shipped tools (`tools:`) are in `edge.catalog`; this reads `hosts:` and `apis:`.
"""

from __future__ import annotations

import datetime
import re
from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Any

from douane.core.catalog import Catalog, Shard, Site
from douane.core.catalog.mcp import server_of, sounds_risky
from douane.core.catalog.operation import Operation, Parameter
from douane.core.catalog.trie import Route, trie_of
from douane.core.request import METHODS
from douane.core.tool import Nature, Tier
from douane.edge.yaml import Document, Problem

ROUTE_KEYS = ("route", "tool", "tier", "nature", "reviewed", "reason", "summary", "billable")
_HOST = re.compile(r"(?:\*\*?\.)?[a-z0-9-]+(?:\.[a-z0-9-]+)*")
_TOOL = re.compile(r"[a-z][a-z0-9_-]*(?:\.[A-Za-z0-9_-]+)+")
_ROUTE = re.compile(r"([A-Z]+) (/\S*)")
_MCP_TOOL = re.compile(r"mcp\.([A-Za-z0-9-]+)\.([A-Za-z0-9_-]{1,100})")
_PART = re.compile(r"[^{}*]+|\{\*?[A-Za-z_][A-Za-z0-9_-]*\}")


@dataclass(slots=True)
class Private:
    """What overlays add to the shipped catalog."""

    sites: dict[str, Site] = field(default_factory=dict)
    shards: dict[str, Shard] = field(default_factory=dict)

    def mcp_tool(self, name: str) -> Operation | None:
        """A tool of a named MCP server, as it counts unless judged; whether the server has it nobody here knows."""
        match = _MCP_TOOL.fullmatch(name)
        servers = [
            re.escape(server_of(host.replace("*", "_"))) for host, site in self.sites.items() if site.shards == ("mcp",)
        ]
        if match is None or not any(re.fullmatch(server.replace("_", "[A-Za-z0-9-]+"), match[1]) for server in servers):
            return None
        tier = Tier.IRREVERSIBLE if sounds_risky(match[2]) else Tier.VISIBLE
        return Operation(name, tier, Nature.EXEC)


class PrivateReader:
    """Reads `hosts:` and `apis:` of one file, and tells every mistake."""

    def __init__(self, document: Document, shipped: Catalog, private: Private) -> None:
        self._document = document
        self._sites = shipped.sites
        self._shipped = {name: name.partition("/")[0] for name in shipped.names()}
        self._private = private
        self.problems: list[Problem] = []

    def read(self, value: Mapping[str, Any]) -> None:
        """Add what the file says."""
        for host, name in _members(value.get("hosts")):
            path = ("hosts", host)
            if not _HOST.fullmatch(host):
                self._problem(path, "not a host", "k8s.corp.example, or *.corp.example for any host below")
            elif name not in self._shipped:
                self._problem(path, f"there is no API `{name}`", "One of k8s, mcp, github, gitlab, aws/s3, …")
            elif self._is_free(path, host):
                self._private.sites[host] = Site(self._shipped[name], (name,))
        for name, api in _members(value.get("apis")):
            self._api(name, api)

    def _problem(self, path: tuple[str | int, ...], message: str, mend: str) -> None:
        self.problems.append(self._document.problem(path, message, mend))

    def _is_free(self, path: tuple[str | int, ...], host: str) -> bool:
        """Whether an operator may say what a host is: it is nobody's, or known only as some host of a provider."""
        site = self._sites.site_of(host)
        if host in self._private.sites or (site is not None and (site.shards or site.refused)):
            self._problem(path, f"`{host}` is described already", "Judge its tools by name under `tools:`.")
            return False
        return True

    def _api(self, name: str, api: Any) -> None:
        path = ("apis", name)
        providers = {*self._shipped.values(), *self._private.shards}
        if name in providers or not re.fullmatch(r"[a-z][a-z0-9_-]*", name):
            self._problem(path, f"`{name}` is taken, or no name for an API", "A word in lower case of your own.")
            return
        if not isinstance(api, dict) or set(api) != {"hosts", "routes"}:
            self._problem(path, "an API has two keys, `hosts` and `routes`", "{hosts: [api.corp.example], routes: […]}")
            return
        hosts = api["hosts"] if isinstance(api["hosts"], list) else []
        for at, host in enumerate(hosts):
            if not isinstance(host, str) or not _HOST.fullmatch(host):
                self._problem((*path, "hosts", at), "not a host", "api.corp.example")
            else:
                self._is_free((*path, "hosts", at), host)
        if not hosts or not isinstance(api["routes"], list) or not api["routes"]:
            self._problem(
                path, "an API has at least one host and one route", "{hosts: [api.corp.example], routes: […]}"
            )
            return
        operations = [self._route(name, (*path, "routes", at), route) for at, route in enumerate(api["routes"])]
        found = sorted((one for one in operations if one is not None), key=lambda one: (one[0].tool, one[1], one[2]))
        self._private.shards[name] = _shard(name, found)
        for host in hosts:
            self._private.sites[str(host)] = Site(name, (name,))

    def _route(self, api: str, path: tuple[str | int, ...], route: Any) -> tuple[Operation, str, str] | None:
        before = len(self.problems)
        if not isinstance(route, dict) or not {"route", "tool", "tier"} <= route.keys():
            self._problem(path, "a route has `route`, `tool` and `tier`", "{route: GET /v1/x/{id}, tool: …, tier: …}")
            return None
        for key in route.keys() - set(ROUTE_KEYS):
            self._problem((*path, key), f"unknown key `{key}`", f"Known are {', '.join(ROUTE_KEYS)}.")
        match = _ROUTE.fullmatch(str(route["route"]))
        parts = match[2].strip("/").split("/") if match and match[2] != "/" else []
        if match is None or match[1] not in METHODS or not all(_PART.fullmatch(part) for part in parts):
            self._problem((*path, "route"), "not a method and path", "DELETE /v1/invoices/{id}; {*path} for several")
        tool = str(route["tool"])
        if not _TOOL.fullmatch(tool) or not tool.startswith(f"{api}."):
            self._problem((*path, "tool"), f"not a tool's name that begins with `{api}.`", f"{api}.invoices.delete")
        if route["tier"] not in set(Tier):
            self._problem((*path, "tier"), f"there is no tier `{route['tier']}`", f"One of {', '.join(Tier)}.")
        if route.get("nature", "write") not in set(Nature):
            self._problem((*path, "nature"), f"there is no nature `{route['nature']}`", f"One of {', '.join(Nature)}.")
        judged = bool(route.get("reviewed") and route.get("reason"))
        if match and match[1] == "DELETE" and route["tier"] != Tier.IRREVERSIBLE and not judged:
            self._problem(
                path, "a DELETE that is not irreversible needs `reviewed` and `reason`", "Say why it can be undone."
            )
        if match and tool.endswith(".*"):
            self._problem((*path, "tool"), "names are exact", "Name each tool.")
        if len(self.problems) > before or match is None:
            return None
        return _operation(route, match[1], parts), match[1], match[2]


def _members(value: Any) -> list[tuple[str, Any]]:
    return [(str(key), item) for key, item in value.items()] if isinstance(value, dict) else []


def _operation(route: Mapping[str, Any], method: str, parts: list[str]) -> Operation:
    natures = {"GET": Nature.READ, "HEAD": Nature.READ, "DELETE": Nature.DELETE}
    return Operation(
        tool=str(route["tool"]),
        tier=Tier(route["tier"]),
        nature=Nature(route["nature"]) if "nature" in route else natures.get(method, Nature.WRITE),
        parameters=tuple(Parameter(part.strip("{*}")) for part in parts if part.startswith("{")),
        billable=bool(route.get("billable", False)),
        reviewed=route.get("reviewed") if isinstance(route.get("reviewed"), datetime.date) else None,
        evidence=f"operator: {route.get('reason') or 'no reason given'}",
        summary=str(route.get("summary", "")),
    )


def _shard(name: str, found: list[tuple[Operation, str, str]]) -> Shard:
    rows = [
        " ".join((operation.tool.removeprefix(f"{name}."), str(at), ",".join(one.name for one in operation.parameters)))
        for at, (operation, _, _) in enumerate(found)
    ]
    routes = [Route(method, template, at) for at, (_, method, template) in enumerate(found)]
    return Shard(name, f"{name}.", tuple(operation for operation, _, _ in found), rows, trie_of(routes), reads="either")
