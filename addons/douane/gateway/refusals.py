"""Refusals on the wire: one body that every SDK surfaces and none retries."""

from __future__ import annotations

import re
from typing import Any
from xml.sax.saxutils import escape

import orjson
from mitmproxy import http

from douane.core.catalog.mcp import request_id
from douane.core.refusal import ReasonCode, Refusal
from douane.core.tool import Classification

_UNSAFE = re.compile(r"[^\x20-\x7e]")
_XML_HOSTS = re.compile(r"(^|\.)(s3|ec2)[.-].*amazonaws\.com(\.cn)?$|^s3\.amazonaws\.com$")

FAILED_INSIDE = Refusal(
    ReasonCode.NOT_READY,
    "Douane failed while it handled this call and did not send it; an operator finds more in its log.",
)
"""What a call gets when a hook raised, hung or was cancelled."""

FAILED_INSIDE_MARK = "douane failed inside"
"""Marks a server connection that was refused because a hook failed."""

NO_DECISION_MARK = "no decision leads there"
"""Marks a server connection that no admitted call asked for."""


def header_value(text: str) -> str:
    """A header value without control characters and non-ASCII."""
    return _UNSAFE.sub("?", text)


JSON_RPC_CODE = -32003
"""Of a refused MCP call: one of those that JSON-RPC leaves to servers."""


def body(refusal: Refusal, call_id: str, found: Classification | None, request_body: bytes = b"") -> bytes:
    """The JSON that carries a refusal in the shapes of all providers at once; of an MCP call, as JSON-RPC."""
    decision: dict[str, Any] = {
        "outcome": refusal.outcome,
        "call_id": call_id,
        "tool": found.tool if found else None,
        "tier": found.tier.value if found else None,
        "reason_codes": [refusal.code.value, *(code for code in refusal.reason_codes if code != refusal.code.value)],
        **refusal.details,
    }
    code = refusal.code.value
    if found and found.tool.startswith("mcp.") and (asked := request_id(request_body)) is not None:
        error = {"code": JSON_RPC_CODE, "message": refusal.message, "data": decision}
        return orjson.dumps({"jsonrpc": "2.0", "id": asked, "error": error})
    return orjson.dumps(
        {
            "type": "error",
            "message": refusal.message,
            "error": {"type": code, "code": code, "message": refusal.message, "status": "PERMISSION_DENIED"},
            "detail": refusal.message,
            "__type": "AccessDeniedException",
            "decision": decision,
        }
    )


def event(refusal: Refusal, call_id: str) -> str:
    """The event that tells the client of a WebSocket why it is cut, in OpenAI's shape."""
    code = refusal.code.value
    error = {"type": code, "code": code, "message": refusal.message, "param": None, "event_id": None}
    decision = {
        "outcome": refusal.outcome,
        "call_id": call_id,
        "reason_codes": [code, *(other for other in refusal.reason_codes if other != code)],
        **refusal.details,
    }
    told = {"type": "error", "event_id": f"event_{call_id}", "error": error, "decision": decision}
    return orjson.dumps(told).decode()


def response(
    refusal: Refusal, call_id: str, found: Classification | None, host: str = "", request_body: bytes = b""
) -> http.Response:
    """The response for a refused call: 403 or 503, never with Retry-After."""
    if _XML_HOSTS.search(host):
        content = (
            f'<?xml version="1.0" encoding="UTF-8"?><Error><Code>{refusal.code.value}</Code>'
            f"<Message>{escape(refusal.message)}</Message><RequestId>{call_id}</RequestId></Error>"
        ).encode()
        media_type = "application/xml"
    else:
        content = body(refusal, call_id, found, request_body)
        media_type = "application/json"
    outcome = "hold" if refusal.outcome == "ESCALATE" else "refuse"
    parts = [outcome, f"reason={refusal.code.value}", f"call={call_id}"]
    if found:
        parts.insert(1, f"tool={found.tool}")
    if "review_id" in refusal.details:
        parts.append(f"review={refusal.details['review_id']}")
    return http.Response.make(
        refusal.status,
        content,
        {
            "Content-Type": media_type,
            "Douane-Decision": header_value("; ".join(parts)),
            "x-should-retry": "false",
            "Cache-Control": "no-store",
        },
    )


UNDECIDED = response(FAILED_INSIDE, "", None)
"""Stands on every request until it is decided; made once, since almost none is ever sent."""


def proxy_authentication_required() -> http.Response:
    """The only status that is answered to CONNECT itself: clients take any other for a broken proxy and retry."""
    return http.Response.make(
        407,
        b'{"message":"Douane needs to know the agent: set HTTPS_PROXY=http://NAME:KEY@HOST:PORT '
        b'as `douane agent add` printed it. Keys of agents that were removed, rotated or suspended do not count."}',
        {"Content-Type": "application/json", "Proxy-Authenticate": 'Basic realm="douane"', "x-should-retry": "false"},
    )


_FAILURES = (
    (r"certificate", "its certificate is not trusted: a private one needs `--upstream-ca`"),
    (r"tls|ssl", "no TLS connection could be made"),
    (r"refused|connect call failed", "it refuses connections"),
    (r"name or service|name resolution|no address|nodename|getaddrinfo|gaierror", "its name has no address"),
    (r"timed? ?out|unreachable|no route", "it cannot be reached"),
    (r"closed|reset|eof|disconnect", "it closed the connection without a whole answer"),
    (r"http|response|chunk|header", "its answer is not valid HTTP"),
)
"""Words of an error that mitmproxy or the system gives, and what to tell: their texts may quote the traffic."""


def upstream_failed(status: int, error_text: str = "", call_id: str = "") -> http.Response:
    """The response where the provider could not be reached, or its answer was cut or malformed: not a refusal."""
    known = (told for words, told in _FAILURES if re.search(words, error_text, re.IGNORECASE))
    why = next(known, "it could not be reached, or its answer was cut or malformed")
    call = f" (call {call_id})" if call_id else ""
    message = f"Douane let the call pass, but the provider failed: {why}{call}."
    error = {"type": "upstream_failed", "code": "upstream_failed", "message": message}
    content = orjson.dumps({"type": "error", "message": message, "error": error, "detail": message})
    return http.Response.make(status, content, {"Content-Type": "application/json"})
