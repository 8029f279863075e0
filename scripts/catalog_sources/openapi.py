"""OpenAPI documents: the long tail, from the collection of APIs.guru."""

from __future__ import annotations

import json
import re
from collections import defaultdict
from typing import Any
from urllib.parse import urlsplit

from catalog_sources.described import Api, Described, template_of, tool_name
from catalog_sources.packages import Files
from catalog_sources.tiers import guess

_METHODS = ("get", "put", "post", "delete", "patch", "head")


def read(files: Files, provider: str, names: list[str], *, hosts: list[str] | None = None) -> Api:
    """One API of some documents that share a provider."""
    operations: list[Described] = []
    found_hosts: set[str] = set()
    for name in names:
        document = json.loads(files.read(f"package/api/{name}.json"))
        host, base = _server(document)
        found_hosts.add(host)
        operations += _operations(provider, base, document)
    wanted = sorted(hosts if hosts is not None else {host for host in found_hosts if host and "{" not in host})
    profile = {"reads": "either", "encoded_slash": "part"}
    return Api(provider, f"{provider}.", operations, wanted, profile, files.source)


def arm(files: Files) -> Api:
    """Azure's Resource Manager: every document of it, paths in any case."""
    operations: dict[tuple[str, str], Described] = {}
    for name in files.names("package/api/azure.com/", ".json"):
        document = json.loads(files.read(name))
        if _server(document)[0] != "management.azure.com":
            continue
        for found in _operations("azure", "", document):
            found.template = _lower(found.template)
            operations.setdefault((found.method, re.sub(r"\{[^}]*\}", "{}", found.template)), found)
    profile = {"reads": "either", "encoded_slash": "part", "folds_case": True}
    hosts = ["management.azure.com", "management.usgovcloudapi.net", "management.chinacloudapi.cn"]
    return Api("azure", "azure.", list(operations.values()), hosts, profile, files.source)


def _lower(template: str) -> str:
    return re.sub(r"(^|\})[^{]*", lambda match: match[0].lower(), template)


def _server(document: dict[str, Any]) -> tuple[str, str]:
    if "swagger" in document:
        return document.get("host", ""), document.get("basePath", "").rstrip("/")
    url = (document.get("servers") or [{"url": ""}])[0]["url"]
    parts = urlsplit(url if "//" in url else f"https://x{url}")
    return parts.netloc, parts.path.rstrip("/")


def _operations(provider: str, base: str, document: dict[str, Any]) -> list[Described]:
    found = []
    taken: dict[str, int] = defaultdict(int)
    for path, methods in sorted(document["paths"].items()):
        template = template_of(base + path.partition("?")[0].partition("#")[0])
        for method in _METHODS:
            if method not in methods or template is None:
                continue
            tool = f"{provider}.{_name(methods[method], method, path)}"
            taken[tool] += 1
            if taken[tool] > 1 and not methods[method].get("operationId"):
                tool += f".{taken[tool]}"
            found.append(Described(tool, method.upper(), template, members=guess(tool, method.upper())))
    return found


def _name(operation: dict[str, Any], method: str, path: str) -> str:
    """The vendor's operation id, `Group_Verb` as `Group.Verb`; else the path's words and the method."""
    if operation.get("operationId"):
        return tool_name(str(operation["operationId"]).replace("/", ".").replace("_", ".", 1))
    words = [tool_name(part) for part in path.strip("/").split("/") if part and not part.startswith("{")]
    return ".".join([*(word for word in words if word), method])
