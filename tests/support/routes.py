"""The API's routes, one row for each method and path, as the server has them and as `docs/api.md` tells them."""

from __future__ import annotations

import re
from pathlib import Path

import tornado.web

from douane.api.server import ROUTES

PAGE = Path(__file__).parents[2] / "docs" / "api.md"
METHODS = ("GET", "HEAD", "POST", "PUT", "PATCH", "DELETE", "OPTIONS")


def served() -> list[tuple[str, str]]:
    """Every method and path; a part that stands for any name is `{}`."""
    return [(method, path) for path, methods in paths().items() for method in methods]


def paths() -> dict[str, list[str]]:
    """Every path with the methods it has."""
    found = {}
    for pattern, handler in ROUTES:
        methods = [name for name in METHODS if _serves(handler, name.lower())]
        for path in _expanded(pattern.replace("([^/]+)", "{}")):
            found[path] = methods
    return found


def told() -> list[tuple[str, str]]:
    """Every method and path in the first column of the page's tables."""
    rows = re.findall(r"^\| `([A-Z]+) (/v1/[^`?]+)", PAGE.read_text(), re.M)
    return [(method, re.sub(r"(?<=/)[A-Z]+\b", "{}", path)) for method, path in rows]


def _serves(handler: type[tornado.web.RequestHandler], method: str) -> bool:
    return getattr(handler, method) is not getattr(tornado.web.RequestHandler, method)


def _expanded(pattern: str) -> list[str]:
    choice = re.search(r"\(([a-z|]+)\)", pattern)
    if choice is None:
        return [pattern]
    return [pattern.replace(choice[0], word) for word in choice[1].split("|")]
