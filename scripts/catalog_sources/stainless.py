"""SDKs that Stainless makes: resource path and method, beta twins under their general name."""

from __future__ import annotations

import ast
import re

from catalog_sources.described import Described
from catalog_sources.packages import Files
from catalog_sources.tiers import guess

_VERBS = {
    "_get": "GET",
    "_get_api_list": "GET",
    "_post": "POST",
    "_put": "PUT",
    "_patch": "PATCH",
    "_delete": "DELETE",
}


def read(files: Files, package: str, root_class: str, provider: str, root: str) -> list[Described]:
    """Every operation, its path below `root` unless it has a version of its own."""
    trees: dict[str, ast.Module] = {}
    found: list[Described] = []

    def tree_of(name: str) -> ast.Module:
        if name not in trees:
            trees[name] = ast.parse(files.text(name))
        return trees[name]

    def walk(name: str, wanted: str, path: tuple[str, ...]) -> None:
        tree = tree_of(name)
        node = next((n for n in tree.body if isinstance(n, ast.ClassDef) and n.name == wanted), None)
        if node is None:
            source = _imported(files, tree, name, wanted)
            if source is not None:
                walk(source, wanted, path)
            return
        for member in node.body:
            if not isinstance(member, ast.FunctionDef):
                continue
            cached = any(getattr(d, "id", "") == "cached_property" for d in member.decorator_list)
            if cached and isinstance(member.returns, ast.Name) and not member.name.startswith("with_"):
                source = _imported(files, tree, name, member.returns.id)
                if source is not None:
                    walk(source, member.returns.id, (*path, member.name))
            elif not cached:
                for method, route in _requests(member):
                    tool = ".".join((*path, member.name))
                    for full in _full(route, root):
                        found.append(Described(tool, method, full, members=guess(tool, method)))

    walk(f"{package}/_client.py", root_class, (provider,))
    return _without_twins(found)


def _full(route: str, root: str) -> list[str]:
    path = (route if root and route.startswith(root) else root + route).partition("?")[0]
    if "{account_or_zone}" in path:  # either, and nothing else
        return [path.replace("{account_or_zone}", kind) for kind in ("accounts", "zones")]
    return [path]


def _imported(files: Files, tree: ast.Module, file: str, name: str) -> str | None:
    """The file that a relative import takes a name from."""
    for node in ast.walk(tree):
        if isinstance(node, ast.ImportFrom) and node.level and any((a.asname or a.name) == name for a in node.names):
            base = file.split("/")[: -node.level]
            target = "/".join([*base, *(node.module or "").split(".")]).rstrip("/")
            plain, package = f"{target}.py", f"{target}/__init__.py"
            return plain if plain in files else package if package in files else None
    return None


def _requests(function: ast.FunctionDef) -> list[tuple[str, str]]:
    found = []
    for call in ast.walk(function):
        if isinstance(call, ast.Call) and getattr(call.func, "attr", "") in _VERBS and call.args:
            path: ast.expr | str = call.args[0]
            if isinstance(path, ast.Call) and getattr(path.func, "id", "") == "path_template":
                path = path.args[0]
            if isinstance(path, ast.JoinedStr):
                path = "".join(_piece(value) for value in path.values)
            elif isinstance(path, ast.Constant):
                path = str(path.value)
            if isinstance(path, str) and path.startswith("/"):
                verb = _VERBS[call.func.attr]  # type: ignore[attr-defined]
                said = [k.value.value for k in call.keywords if k.arg == "method" and isinstance(k.value, ast.Constant)]
                found.append((str(said[0]).upper() if said else verb, path))
    return found


def _piece(value: ast.expr) -> str:
    if isinstance(value, ast.Constant):
        return str(value.value)
    assert isinstance(value, ast.FormattedValue)
    return "{" + re.sub(r"\W+", "_", ast.unparse(value.value)) + "}"


def _without_twins(operations: list[Described]) -> list[Described]:
    """One operation a route: the generally available name before a beta's, the plain method before its helpers."""
    best: dict[tuple[str, str], tuple[tuple[bool, bool, int, str], Described]] = {}
    for found in operations:
        helper = found.tool.endswith((".stream", ".parse", "_and_poll"))
        rank = (".beta." in found.tool, helper, len(found.tool), found.tool)
        known = best.get((found.method, found.template))
        if known is None or rank < known[0]:
            best[found.method, found.template] = rank, found
    return [found for _, found in best.values()]
