"""Stripe: the service classes of its Python package, named by their accessor path."""

from __future__ import annotations

import ast

from catalog_sources.described import Described
from catalog_sources.packages import Files
from catalog_sources.tiers import guess


def read(files: Files) -> list[Described]:
    """Every operation of the v1 and v2 services."""
    classes: dict[str, tuple[ast.ClassDef, ast.Module]] = {}
    for name in files.names("stripe/", ".py"):
        if not name.endswith(("_service.py", "_v1_services.py", "_v2_services.py")):
            continue
        tree = ast.parse(files.text(name))
        for node in tree.body:
            if isinstance(node, ast.ClassDef):
                classes[f"{name.removesuffix('.py').replace('/', '.')}.{node.name}"] = node, tree
    found: list[Described] = []

    def walk(key: str, path: tuple[str, ...]) -> None:
        node, tree = classes[key]
        for member in node.body:
            if isinstance(member, ast.FunctionDef):
                for method, route in _requests(member):
                    tool = ".".join((*path, member.name))
                    reads = {"reads": "json"} if route.startswith("/v2/") else {}
                    found.append(Described(tool, method, route, members=guess(tool, method) | reads))
        for name, child in _children(tree).items():
            if child in classes:
                walk(child, (*path, name))

    for root in sorted(key for key in classes if key.endswith((".V1Services", ".V2Services"))):
        walk(root, ("stripe",))
    return found


def _children(tree: ast.Module) -> dict[str, str]:
    for node in tree.body:
        if isinstance(node, ast.Assign) and getattr(node.targets[0], "id", "") == "_subservices":
            listed = ast.literal_eval(node.value)
            return {name: f"{module}.{name_of}" for name, (module, name_of) in listed.items()}
    return {}


def _requests(function: ast.FunctionDef) -> list[tuple[str, str]]:
    found = []
    for call in ast.walk(function):
        if isinstance(call, ast.Call) and getattr(call.func, "attr", "") in ("_request", "_request_stream"):
            method, path = call.args[0], call.args[1]
            if isinstance(path, ast.Call) and isinstance(path.func, ast.Attribute):
                path = path.func.value  # "…".format(…)
            if isinstance(method, ast.Constant) and isinstance(path, ast.Constant):
                found.append((str(method.value).upper(), str(path.value)))
    return found
