"""What MCP servers themselves say of their tools, read from their answers to `tools/list` as these pass by.

A server that calls a tool destructive is believed, so that the tool is held; one that calls it harmless is not.
"""

from __future__ import annotations

from dataclasses import replace
from functools import partial
from typing import Any

import orjson

from douane.core.catalog.mcp import server_of, tool_of
from douane.core.listener import Listener
from douane.core.request import CanonicalRequest
from douane.core.tool import Classification, Tier

MOST_TOOLS = 10_000
"""Those that were named destructive longest ago are forgotten first."""


class Hints:
    """The tools that their servers call destructive, as far as this node has seen."""

    def __init__(self) -> None:
        self._destructive: dict[str, None] = {}

    def raised(self, found: Classification) -> Classification:
        """A call as risky as its server says; an operator's own judgement stands."""
        if (
            found.tier is Tier.IRREVERSIBLE
            or not found.tool.startswith("mcp.")
            or found.evidence.startswith("operator:")
        ):
            return found
        if not any(tool in self._destructive for tool in (found.tool, *found.operations)):
            return found
        return replace(found, tier=Tier.IRREVERSIBLE, evidence="MCP: a tool that its server calls destructive")

    def listener(self, request: CanonicalRequest, found: Classification) -> Listener | None:
        """What reads the answer to a call, if that lists tools."""
        lists = any(
            tool.startswith("mcp.") and tool.endswith(".tools.list") for tool in (found.tool, *found.operations)
        )
        return Listener(partial(self._read, server_of(request.host))) if lists else None

    def _read(self, server: str, text: bytes) -> None:
        if b"destructiveHint" not in text:
            return
        try:
            read = orjson.loads(text)
        except orjson.JSONDecodeError:
            return
        for answer in read if isinstance(read, list) else [read]:
            for tool in _list(_member(_member(answer, "result"), "tools")):
                name = _member(tool, "name")
                if isinstance(name, str) and _member(_member(tool, "annotations"), "destructiveHint") is True:
                    self.note(tool_of(server, name))

    def note(self, tool: str) -> None:
        """Remember that a server calls this tool destructive."""
        self._destructive.pop(tool, None)
        self._destructive[tool] = None
        if len(self._destructive) > MOST_TOOLS:
            del self._destructive[next(iter(self._destructive))]


def _member(value: Any, name: str) -> Any:
    return value.get(name) if isinstance(value, dict) else None


def _list(value: Any) -> list[Any]:
    return value if isinstance(value, list) else []
