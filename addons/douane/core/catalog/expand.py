"""Several calls in one request: each is classified, and the worst decides."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import replace

from douane.core.catalog.batch import BATCHES
from douane.core.catalog.mcp import read_calls
from douane.core.mask import printable
from douane.core.request import CanonicalRequest
from douane.core.tool import Classification, worst

_MOST_NAMED = 20


def of_batch(parts: Sequence[Classification], provider: str) -> Classification:
    """A batch as one call: under its own name unless all of it is one tool, in the worst tier of its parts."""
    names = tuple(dict.fromkeys(part.tool for part in parts))
    first = max(parts, key=lambda part: part.tier.rank)
    listed = ", ".join(names[:_MOST_NAMED])
    return Classification(
        tool=names[0] if len(names) == 1 else BATCHES.get(provider, f"{provider}.batch"),
        tier=first.tier,
        nature=first.nature,
        provider=provider,
        mapped=True,
        billable=any(part.billable for part in parts),
        arguments=dict(parts[0].arguments) if len(parts) == 1 else {"calls": [part.tool for part in parts]},
        in_path=parts[0].in_path if len(parts) == 1 else (),
        summary=printable(f"{len(parts)} calls in one request: {listed}"),
        evidence=first.evidence,
        operations=names if len(names) > 1 else (),
    )


def as_mcp(request: CanonicalRequest, found: Classification) -> Classification:
    """A request to a host that nobody described, under the name of the MCP call that it holds; never lowered."""
    calls = read_calls(request, described=False)
    if calls is None:
        return found
    return replace(
        found,
        tool=calls.tool,
        tier=worst(found.tier, calls.tier),
        nature=calls.nature,
        arguments=calls.arguments,
        summary=printable(f"Call {calls.tool} at {request.host}"),
        evidence=calls.evidence,
        operations=calls.operations,
    )
