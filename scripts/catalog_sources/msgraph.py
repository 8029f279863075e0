"""Microsoft Graph: the request builders of its Python SDK."""

from __future__ import annotations

import re
from urllib.parse import unquote

from catalog_sources.described import Api, Described, tool_name
from catalog_sources.packages import Files
from catalog_sources.tiers import guess

HOSTS = ["graph.microsoft.com", "graph.microsoft.us", "dod-graph.microsoft.us", "microsoftgraph.chinacloudapi.cn"]
_TEMPLATE = re.compile(r'super\(\).__init__\(request_adapter, "\{\+baseurl\}([^"]*)"')
_METHOD = re.compile(r"RequestInformation\(Method\.([A-Z]+)")


def read(files: Files) -> Api:
    """Every route of version 1.0; a beta's path is read the same."""
    operations = []
    for name in files.names("msgraph/generated/", "_request_builder.py"):
        text = files.text(name)
        match = _TEMPLATE.search(text)
        methods = sorted(set(_METHOD.findall(text)))
        if match is None or not methods:
            continue
        path = unquote(re.split(r"\{?\?", match[1])[0])  # also before `?endDateTime={…}`, a query that must be there
        is_collection = "def by_" in text
        for template in _aliases(path):
            for method in methods:
                tool = _tool(path, method, methods, is_collection=is_collection)
                operations.append(Described(tool, method, template, members=guess(tool, method)))
    profile = {"reads": "either", "encoded_slash": "part", "roots": ["v1.0", "beta"]}
    return Api("msgraph", "msgraph.", operations, HOSTS, profile, files.source)


def _aliases(path: str) -> list[str]:
    paths = [path]
    if path == "/users/{user-id}" or path.startswith("/users/{user-id}/"):
        paths.append("/me" + path.removeprefix("/users/{user-id}"))
    return paths


def _tool(path: str, method: str, methods: list[str], *, is_collection: bool) -> str:
    """Resource words and a verb; an action's name is its verb."""
    parts = path.strip("/").split("/")
    names = [_plain(part) for part in parts if not re.fullmatch(r"\{[^}]*\}", part)]
    if parts[-1].startswith("microsoft.graph.") or (methods == ["POST"] and not is_collection):
        return "msgraph." + ".".join(names)
    verbs = {"PATCH": "update", "PUT": "replace", "DELETE": "delete"}
    verb = verbs.get(method) or (("list" if method == "GET" else "create") if is_collection else method.lower())
    return "msgraph." + ".".join([*names, verb])


def _plain(part: str) -> str:
    part = re.sub(r"\{[^}]*\}", "", part.removeprefix("microsoft.graph."))
    return tool_name(
        re.sub(r"\(.*\)", lambda match: "By" + re.sub(r"\W+", "", match[0].title()) if match[0] != "()" else "", part)
    )
