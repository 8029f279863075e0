"""GitHub: REST operations from its OpenAPI description, GraphQL mutations from its schema."""

from __future__ import annotations

import json
import re
from typing import Any

from catalog_sources.described import Described, words
from catalog_sources.packages import Files
from catalog_sources.tiers import guess

ALIASES = {
    "/repos/{owner}/{repo}": "/repositories/{repository_id}",
    "/orgs/{org}": "/organizations/{organization_id}",
}
"""Roots under which GitHub serves the same operations, and which its description lacks."""


def rest(files: Files) -> list[Described]:
    """GitHub's REST operations."""
    data = json.loads(files.read("package/generated/api.github.com.json"))
    found: list[Described] = []
    for template, methods in data["paths"].items():
        for method, described in methods.items():
            if method not in ("get", "post", "put", "patch", "delete"):
                continue
            parameters = [_resolved(data, parameter) for parameter in described.get("parameters", ())]
            group, _, name = described["operationId"].partition("/")
            members = guess(f"github.{group}.{name}", method.upper())
            for path in _paths(template, parameters):
                verbs = ("PATCH", "POST") if method == "patch" else (method.upper(),)  # GitHub takes POST for PATCH
                found += [Described(f"github.{group}.{name}", verb, path, members=members) for verb in verbs]
    return found


def _resolved(data: dict[str, Any], parameter: dict[str, Any]) -> dict[str, Any]:
    if "$ref" not in parameter:
        return parameter
    found: dict[str, Any] = data["components"]["parameters"][parameter["$ref"].rpartition("/")[2]]
    return found


def _paths(template: str, parameters: list[dict[str, Any]]) -> list[str]:
    """A template's paths: its aliases too, and one for each value of a parameter that has but two."""
    paths = [template]
    for parameter in parameters:
        name = parameter["name"]
        if parameter.get("x-multi-segment"):
            paths = [path.replace(f"{{{name}}}", f"{{*{name}}}") for path in paths]
        values = parameter["schema"].get("enum", ()) if parameter["in"] == "path" else ()
        if 0 < len(values) <= 2:
            paths = [path.replace(f"{{{name}}}", value) for path in paths for value in values]
    for root, alias in ALIASES.items():
        paths += [alias + path.removeprefix(root) for path in paths if path == root or path.startswith(f"{root}/")]
    return paths


def mutations(files: Files) -> list[Described]:
    """GraphQL mutations by name: no routes, but names that a policy can speak of."""
    schema = files.text("package/schema.graphql")
    (listed,) = re.findall(r"^type Mutation \{\n(.*?)^\}", schema, re.MULTILINE | re.DOTALL)
    names = re.findall(r"^  ([A-Za-z0-9]+)\(", listed, re.MULTILINE)
    found = []
    for name in ["mutation", *names]:
        nature = guess(f"github.{words(name)}", "POST")["nature"]
        members = {"tier": "irreversible", "nature": nature, "evidence": "GraphQL mutation"}
        found.append(Described(f"github.graphql.{name}", parameters="", members=members))
    return found
