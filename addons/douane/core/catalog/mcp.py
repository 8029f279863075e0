"""MCP over HTTP: JSON-RPC calls of tools, named `mcp.SERVER.TOOL`.

Anybody can write `jsonrpc` into a body, so on a host that nobody described a call is named and raised by it, never
lowered.
"""

from __future__ import annotations

import re
from dataclasses import dataclass, field
from typing import Any

from douane.core.refusal import RequestAmbiguous
from douane.core.request import CanonicalRequest
from douane.core.tool import Nature, Tier

MOST_CALLS = 100
"""In one array."""

_READS = frozenset(
    {"initialize", "ping", "tools/list", "resources/list", "resources/read", "resources/templates/list", "prompts/list",
     "prompts/get", "completion/complete", "logging/setLevel", "resources/subscribe", "resources/unsubscribe",
     "server/discover"}
)  # fmt: skip
_METHOD = re.compile(
    r"(?:tools|resources|prompts|completion|logging|notifications|sampling|roots|elicitation|tasks|server)/\S+"
    r"|initialize|ping"
)
_RISKY = re.compile(
    r"(?i)(?:^|[^a-z])(?:delet|remov|destroy|drop|purg|eras|wip|truncat|terminat|kill|revok|reset|cancel|send|publish|deploy"
    r"|releas|merg|pay|transfer|refund|charg|purchas|buy|order|exec|run|shell|command|eval|sql|grant|invit|approv|post)"
)
_NAME = re.compile(r"[^A-Za-z0-9_-]")


@dataclass(frozen=True, slots=True)
class Calls:
    """What a request's JSON-RPC calls do, all together."""

    tool: str
    tier: Tier
    nature: Nature
    operations: tuple[str, ...]
    arguments: dict[str, Any] = field(default_factory=dict)
    evidence: str = ""


def read_calls(request: CanonicalRequest, *, described: bool) -> Calls | None:
    """The MCP calls of a request, None where it has none; `described`: an operator says that the host speaks MCP.

    Raises `RequestAmbiguous` for headers that name another call than the body.
    """
    if request.method != "POST" or b"jsonrpc" not in request.body:
        return None
    body = request.json()
    items = body if isinstance(body, list) else [body]
    if not 0 < len(items) <= MOST_CALLS or not all(_is_call(item) for item in items):
        return None
    _check_headers(request, items)
    server = _NAME.sub("-", request.host)
    calls = [_read(server, item, described=described) for item in items]
    worst = max(calls, key=lambda call: call.tier.rank)
    if len(calls) == 1:
        return worst
    names = tuple(dict.fromkeys(call.tool for call in calls))
    return Calls(worst.tool, worst.tier, worst.nature, names, {"calls": list(names)}, worst.evidence)


def _is_call(item: Any) -> bool:
    if not isinstance(item, dict) or item.get("jsonrpc") != "2.0":
        return False
    method = item.get("method")
    if method is None:  # an answer to the server
        return "result" in item or "error" in item
    return isinstance(method, str) and bool(_METHOD.fullmatch(method))


def _read(server: str, item: dict[str, Any], *, described: bool) -> Calls:
    method = item.get("method") or "response"
    least = Tier.REVERSIBLE if described else Tier.VISIBLE
    if method != "tools/call":
        reads = method in _READS or method.startswith("notifications/") or method == "response"
        tool = f"mcp.{server}.{_NAME.sub('.', method)}"
        return Calls(tool, least if reads else Tier.VISIBLE, Nature.META, (), {}, "MCP: no tool is called")
    parameters = item.get("params")
    name = parameters.get("name") if isinstance(parameters, dict) else None
    if not isinstance(name, str) or not name:
        raise RequestAmbiguous("an MCP call without its tool")
    arguments = parameters.get("arguments") if isinstance(parameters, dict) else None
    risky = _RISKY.search(re.sub(r"(?<=[a-z0-9])(?=[A-Z])", "_", name))
    return Calls(
        f"mcp.{server}.{_NAME.sub('_', name)[:100]}",
        Tier.IRREVERSIBLE if risky else Tier.VISIBLE,
        Nature.EXEC if risky else Nature.WRITE,
        (),
        dict(arguments) if isinstance(arguments, dict) else {},
        "MCP: a tool that sounds of loss" if risky else "MCP: a tool that nobody judged",
    )


def _check_headers(request: CanonicalRequest, items: list[dict[str, Any]]) -> None:
    """Headers that repeat method and name for gateways must say what the body says."""
    method, name = request.header("Mcp-Method"), request.header("Mcp-Name")
    if method is None and name is None:
        return
    parameters = items[0].get("params")
    called = (parameters.get("name") or parameters.get("uri")) if isinstance(parameters, dict) else None
    differs = method not in (None, items[0].get("method")) or name not in (None, called)
    if len(items) > 1 or differs:
        raise RequestAmbiguous("an MCP header that names another call than the body")
