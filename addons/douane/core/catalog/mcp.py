"""MCP over HTTP: JSON-RPC calls of tools, named `mcp.SERVER.TOOL`.

What a tool does only its server knows. On a host that an operator's overlay names as an MCP server, the overlay's
judgement on a tool decides; without one, a tool is visible, and irreversible where its name sounds of loss.

Anybody can write `jsonrpc` into a body, so on a host that nobody described a call is named and raised by it, never
lowered.
"""

from __future__ import annotations

import base64
import binascii
import re
from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Any

import orjson

from douane.core.refusal import RequestAmbiguous
from douane.core.request import CanonicalRequest
from douane.core.request.fields import refuse_twins
from douane.core.tool import Nature, Tier

MOST_CALLS = 100
"""In one array."""
MOST_ANSWERED_BYTES = 256 * 1024
"""A refused call that is longer is not read once more for its id."""

_READS = frozenset(
    {"initialize", "ping", "tools/list", "resources/list", "resources/read", "resources/templates/list", "prompts/list",
     "prompts/get", "completion/complete", "logging/setLevel", "resources/subscribe", "resources/unsubscribe",
     "server/discover", "subscriptions/listen"}
)  # fmt: skip
_METHOD = re.compile(
    r"(?:tools|resources|prompts|completion|logging|notifications|sampling|roots|elicitation|tasks|server|subscriptions)"
    r"/\S+"
    r"|initialize|ping"
)
_RISKY = re.compile(
    r"(?i)(?:^|[^a-z])(?:delet|remov|destroy|drop|purg|eras|wip|truncat|terminat|kill|revok|reset|cancel|send|publish|deploy"
    r"|releas|merg|pay|transfer|refund|charg|purchas|buy|order|exec|run|shell|command|eval|sql|grant|invit|approv|post"
    r"|uninstall|unpublish|undeploy|redeploy|restor|rollback|revert|rebas|migrate(?!d)|apply_migrat|finaliz|disabl"
    r"|deactivat|suspend|flush|clear|empty|overwrit|prun|trash(?!ed)|unlink|stop|shut|restart|reboot|rotat|forward"
    r"|force_push|archive(?!d|s)|evict|drain|unsubscrib|ban_|rm$"
    r"|(?:creat|add|set|updat|generat|issu)[a-z]*_(?:[a-z]+_)?(?:key|token|secret|credential|permission|role|collaborator))"
)
_NAME = re.compile(r"[^A-Za-z0-9_-]")
_MOST_NAME = 100
_ENCODED = re.compile(r"=\?base64\?(.*)\?=")
"""How clients write a name into a header that could not stand there."""


@dataclass(frozen=True, slots=True)
class Calls:
    """What a request's JSON-RPC calls do, all together."""

    tool: str
    tier: Tier
    nature: Nature
    operations: tuple[str, ...]
    arguments: dict[str, Any] = field(default_factory=dict)
    evidence: str = ""


type Judgements = Mapping[str, Mapping[str, Any]]
"""An operator's: tier, nature and evidence of tools by name."""


def server_of(host: str) -> str:
    """A host as it stands in the names of its tools."""
    return _NAME.sub("-", host)


def tool_of(server: str, name: str) -> str:
    """The catalog's name of a server's tool."""
    return f"mcp.{server}.{_NAME.sub('_', name)[:_MOST_NAME]}"


def sounds_risky(name: str) -> bool:
    """Whether a tool's name sounds of loss."""
    return bool(_RISKY.search(re.sub(r"(?<=[a-z0-9])(?=[A-Z])", "_", name)))


def read_calls(request: CanonicalRequest, *, described: bool, judged: Judgements | None = None) -> Calls | None:
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
    server = server_of(request.host)
    calls = [_read(server, item, judged or {}, described=described) for item in items]
    worst = max(calls, key=lambda call: call.tier.rank)
    if len(calls) == 1:
        return worst
    names = tuple(dict.fromkeys(call.tool for call in calls))
    tool = worst.tool if len(names) == 1 else "mcp.batch"  # what is allowed of one must not let the others through
    return Calls(tool, worst.tier, worst.nature, names, {"calls": list(names)}, worst.evidence)


def _is_call(item: Any) -> bool:
    if not isinstance(item, dict) or item.get("jsonrpc") != "2.0":
        return False
    method = item.get("method")
    if method is None:  # an answer to the server
        return "result" in item or "error" in item
    return isinstance(method, str) and bool(_METHOD.fullmatch(method))


def _read(server: str, item: dict[str, Any], judged: Judgements, *, described: bool) -> Calls:
    refuse_twins(item)
    refuse_twins(item.get("params"))
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
    risky = sounds_risky(name)
    tool = tool_of(server, name)
    tier, nature = (Tier.IRREVERSIBLE, Nature.EXEC) if risky else (Tier.VISIBLE, Nature.WRITE)
    evidence = "MCP: a tool that sounds of loss" if risky else "MCP: a tool that nobody judged"
    judgement = judged.get(tool)
    # Another tool's name may be written the same way: then the judgement only raises.
    if judgement is not None and (tool.endswith(f".{name}") or judgement["tier"].rank >= tier.rank):
        tier, evidence = judgement["tier"], judgement["evidence"]
        nature = judgement.get("nature", nature)
    return Calls(tool, tier, nature, (), dict(arguments) if isinstance(arguments, dict) else {}, evidence)


def _check_headers(request: CanonicalRequest, items: list[dict[str, Any]]) -> None:
    """Headers that repeat method and name for gateways must say what the body says."""
    method, name = request.header("Mcp-Method"), request.header("Mcp-Name")
    if method is None and name is None:
        return
    parameters = items[0].get("params")
    called = (parameters.get("name") or parameters.get("uri")) if isinstance(parameters, dict) else None
    differs = method not in (None, items[0].get("method")) or (name is not None and _decoded(name) != called)
    if len(items) > 1 or differs:
        raise RequestAmbiguous("an MCP header that names another call than the body")


def request_id(body: bytes) -> int | str | None:
    """The id under which a client awaits the answer to a single call."""
    try:
        read = orjson.loads(body) if len(body) <= MOST_ANSWERED_BYTES else None
    except orjson.JSONDecodeError:
        return None
    found = read.get("id") if isinstance(read, dict) else None
    return found if isinstance(found, int | str) else None


def _decoded(value: str) -> str | None:
    match = _ENCODED.fullmatch(value)
    if match is None:
        return value
    try:
        return base64.b64decode(match[1], validate=True).decode("utf-8")
    except (binascii.Error, UnicodeDecodeError):
        return None
