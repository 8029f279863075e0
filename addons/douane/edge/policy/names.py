"""Tools that rules name, held against the catalog."""

from __future__ import annotations

import difflib

from douane.core.catalog import Catalog
from douane.core.decision import Effect
from douane.edge.policy.load import LoadedPolicy, NamedTool
from douane.edge.yaml import Problem

MOST_COMPARED = 3_000
"""Names that a mistyped one is compared with, letter by letter: some 100 ms."""

_METHODS = frozenset({"get", "head", "options", "post", "put", "patch", "delete"})


def check_names(loaded: LoadedPolicy, catalog: Catalog) -> tuple[list[Problem], list[Problem]]:
    """Mistakes and warnings: names that the catalog does not know.

    In an `allow` such a name is a mistake: it looks as if a call were free that is held. Elsewhere it is a warning: a
    policy may be ahead of the catalog.
    """
    providers = catalog.providers()
    mistakes: list[Problem] = []
    warnings: list[Problem] = []
    for named in loaded.named:
        if _is_made_up_at_run_time(named.tool, providers) or catalog.tool(named.tool) is not None:
            continue
        lower = _lower(named.tool, catalog)
        if named.tool.endswith(".*"):
            known = any(tool.startswith(named.tool[:-1].lower()) for tool in lower)
        else:
            known = named.effect is not Effect.ALLOW and named.tool.lower() in lower
        if not known:
            problem = Problem(named.file, named.line, f"the catalog has no tool `{named.tool}`", _mend(named, lower))
            (mistakes if named.effect is Effect.ALLOW else warnings).append(problem)
    return mistakes, warnings


def _lower(name: str, catalog: Catalog) -> dict[str, str]:
    """The tools of a name's provider by their names in lower case; of its API alone where it has one."""
    provider, _, rest = name.lower().partition(".")
    near = [shard for shard in catalog.shards() if shard.provider == provider]
    api = f"{provider}.{rest.partition('.')[0]}."
    near = [shard for shard in near if shard.prefix.lower() == api] or near
    return {tool.lower(): tool for shard in near for tool in shard.tools()}


def _is_made_up_at_run_time(tool: str, providers: frozenset[str]) -> bool:
    """Names the catalog gives to what it has no entry for, and to GraphQL fields and MCP tools."""
    first, _, rest = tool.partition(".")
    if first in ("unmapped", "mcp"):
        return first == "mcp" or rest in _METHODS | {"*"}
    return first in providers and rest.startswith(("unmatched.", "graphql."))


def _mend(named: NamedTool, lower: dict[str, str]) -> str:
    near = lower if len(lower) <= MOST_COMPARED else [tool for tool in lower if tool[:12] == named.tool[:12].lower()]
    close = difflib.get_close_matches(named.tool.lower(), near, 1)
    return f"Did you mean `{lower[close[0]]}`?" if close else "See `douane policy explain METHOD URL` for names."
