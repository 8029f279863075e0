"""Google: every discovery document of googleapiclient."""

from __future__ import annotations

import json
import re
from collections import defaultdict
from typing import Any
from urllib.parse import urlsplit

from catalog_sources.described import Api, Described, tool_name
from catalog_sources.packages import Files
from catalog_sources.tiers import RAISING, guess, words

_MODELS = frozenset({"aiplatform", "generativelanguage"})
"""APIs that serve models: whatever is posted there is charged."""


_WRITES = re.compile(r"(^|[_.])(create|insert|update|copy\w*|touch|trash|untrash|renew)$")
"""What writes although a scope is listed that only reads: some documents list every scope that the API has."""


def read(files: Files) -> list[Api]:
    """One API for all versions of each."""
    documents: dict[str, list[dict[str, Any]]] = defaultdict(list)
    for name in files.names("googleapiclient/discovery_cache/documents/", ".json"):
        if not name.endswith("index.json"):
            document = json.loads(files.read(name))
            documents[document["name"]].append(document)
    return [_api(name, sorted(found, key=_age), files.source) for name, found in sorted(documents.items())]


def _age(document: dict[str, Any]) -> tuple[bool, str]:
    """General releases before betas: whose scopes and ids count first."""
    return bool(re.search(r"alpha|beta|p\d", document["version"])), document["version"]


def _api(name: str, documents: list[dict[str, Any]], source: str) -> Api:
    operations: list[Described] = []
    hosts: set[str] = set()
    for document in documents:
        hosts |= _hosts(name, document)
        for method in _methods(document):
            operations += _routes(name, document, method)
    prefix = f"google.{name}."
    if not all(found.tool.startswith(prefix) for found in operations):
        prefix = "google."
    profile = {"reads": "either", "encoded_slash": "part"}
    return Api(f"google/{name}", prefix, operations, sorted(hosts), profile, source)


def _hosts(name: str, document: dict[str, Any]) -> set[str]:
    hosts = {urlsplit(document[key]).hostname or "" for key in ("rootUrl", "mtlsRootUrl") if document.get(key)}
    hosts |= {urlsplit(found["endpointUrl"]).hostname or "" for found in document.get("endpoints", ())}
    if not any("{" in host for host in hosts):
        hosts |= {f"{name}.googleapis.com", f"{name}.mtls.googleapis.com", f"{name}.*.rep.googleapis.com"}
    if document["servicePath"] and not re.match(r"v\d", document["servicePath"]):
        hosts |= {"www.googleapis.com", "www.mtls.googleapis.com", "content.googleapis.com"}
    return {host for host in hosts if host and "{" not in host}


def _methods(node: dict[str, Any]) -> list[dict[str, Any]]:
    found = list(node.get("methods", {}).values())
    for child in node.get("resources", {}).values():
        found += _methods(child)
    return found


def _routes(name: str, document: dict[str, Any], method: dict[str, Any]) -> list[Described]:
    tool = "google." + tool_name(method["id"])
    verb = method["httpMethod"]
    members = guess(tool, verb, declared=_declared(tool, method))
    if name in _MODELS and verb == "POST" and members["tier"] != "reversible":
        members["billable"] = True
    if "validateOnly" in method["parameters"] if "parameters" in method else False:
        members["lowers"] = [
            {"argument": "validateOnly", "equals": ["true"], "tier": "reversible", "why": "only validates"}
        ]
    paths = [document["servicePath"] + method["path"]]
    upload = method.get("mediaUpload", {}).get("protocols", {})
    paths += [protocol["path"] for _, protocol in sorted(upload.items())]
    found = []
    for path in dict.fromkeys(paths):
        template, parameters = _template(path, method.get("parameters", {}))
        uploads = {"reads": "any"} if path != paths[0] else {}
        found.append(Described(tool, verb, template, parameters, members=members | uploads))
    return found


def _declared(tool: str, method: dict[str, Any]) -> str:
    """A scope that only reads suffices: for GET and POST the provider's word that the method only reads."""
    scopes = method.get("scopes", ())
    readonly = [scope for scope in scopes if scope.endswith((".readonly", ".read-only", "/readonly"))]
    if not readonly or method["httpMethod"] not in ("GET", "POST"):
        return ""
    name = words(tool.partition(".")[2])
    if method["httpMethod"] == "POST" and (RAISING.search(name) or _WRITES.search(name)):
        return ""
    return "Google: a readonly scope suffices"


def _template(path: str, described: dict[str, Any]) -> tuple[str, str | None]:
    """A template with each `{+name}` drawn by its pattern, and where its parameters stand."""
    if "{+" not in path and "{/" not in path:
        return "/" + path.lstrip("/"), None
    parts: list[str] = []
    spans: list[tuple[str, int, int, int]] = []
    for part in path.replace("{/", "/{+").replace("*}", "}").lstrip("/").split("/"):
        match = re.fullmatch(r"([^{}]*)\{(\+?)([^{}]+)\}([^{}]*)", part)
        if match is None:
            parts.append(part)
            continue
        before, plus, name, after = match.groups()
        pieces = _pieces(described.get(name, {}).get("pattern", "")) if plus and not before else [f"{{{name}}}"]
        pieces[0] = before + pieces[0]
        start = len(parts)
        parts += pieces
        parts[-1] = _affixed(parts[-1], after)
        spans.append((tool_name(name), start, len(parts), len(after)))
    many = next((at for at, part in enumerate(parts) if part.startswith("{*")), len(parts))
    words = []
    for name, start, end, strip in spans:
        first = start if start <= many else start - len(parts)
        last: int | str = end if end <= many else "" if end == len(parts) else end - len(parts)
        words.append(f"{name}@{first}:{last}" + (f":{strip}" if strip else ""))
    return "/" + "/".join(parts), ",".join(words)


def _affixed(part: str, after: str) -> str:
    if after and part.startswith("{*"):
        return part  # several segments to the end, whatever the verb behind them
    return part + after


def _pieces(pattern: str) -> list[str]:
    """The segments of a parameter's pattern: `^projects/[^/]+$` → `projects`, `{_}`."""
    body = pattern.removeprefix("^").removesuffix("$")
    if not body or not pattern.startswith("^"):  # matched anywhere: slashes may be in it
        return ["{*_}"]
    pieces = []
    for piece in re.sub(r"\[\^/\]", "§", body).split("/"):
        if piece in (".*", ".+"):
            pieces.append("{*_}")
        elif re.fullmatch(r"[A-Za-z0-9_.~-]+", piece):
            pieces.append(piece)
        elif re.fullmatch(r"[A-Za-z0-9_.~-]*§\+", piece):
            pieces.append(piece.replace("§+", "{_}"))
        else:
            pieces.append("{_}")
    return pieces
