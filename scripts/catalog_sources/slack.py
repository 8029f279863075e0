"""Slack: the methods of both its SDKs; each may be called by GET and by POST."""

from __future__ import annotations

import re

from catalog_sources.described import Described, words
from catalog_sources.packages import Files
from catalog_sources.tiers import guess

_READS = re.compile(
    r"^(list|get|info|search|history|replies|test|lookup|members|counts|all|messages|files|teams?_info)"
)


def read(python: Files, node: Files) -> list[Described]:
    """Every Web API method, by its own name."""
    source = python.text("slack_sdk/web/client.py")
    gets = set(re.findall(r'api_call\(\s*"([\w.]+)",\s*http_verb="GET"', source))
    names = gets | set(re.findall(r'api_call\(\s*"([\w.]+)"', source))
    names |= set(re.findall(r"'([a-z]\w*(?:\.\w+)+)'", node.text("package/dist/methods.js")))
    found = []
    for name in sorted(names):
        tool = f"slack.{name}"
        verb = words(name.rpartition(".")[2])
        declared = "Slack: called by GET, and named as a read" if name in gets and _READS.search(verb) else ""
        members = guess(tool, "POST", declared=declared)
        found += [Described(tool, method, f"/api/{name}", members=members) for method in ("GET", "POST")]
    return found
