"""The gate: turns mitmproxy's hooks into one call's life and applies what the call's answer is."""

from __future__ import annotations

import asyncio
from collections.abc import Callable
from typing import Protocol

import orjson
from mitmproxy import http
from mitmproxy.connection import Server
from mitmproxy.proxy import server_hooks

from douane.calls.agents import AGENT_UNKNOWN
from douane.calls.call import Call, OpenCall
from douane.calls.node import Node
from douane.core.hosts import is_realtime
from douane.core.identity import canonical_host, one_destination
from douane.core.refusal import ReasonCode, Refusal, RequestAmbiguous
from douane.core.request import RawRequest, answers_handshake, asks_for_websocket
from douane.gateway import refusals
from douane.gateway.authenticate import Authenticate
from douane.gateway.connections import Connections, ConnectionState
from douane.gateway.internals.websocket import CUT, Cut
from douane.gateway.tap import Tap

DEADLINE = "douane.deadline"
CALL = "douane.call"
PROBE_HOST = "probe.douane.invalid"
"""Answered by the node itself, so that `douane doctor` can tell who comes through the proxy."""

HOOK_S = 2.5
"""How long a hook may take, except where a call waits on purpose: a refusal is out within 3 s."""

_OURS = (b"douane-", b"x-should-retry")
_ABNORMAL = 1006
"""The close code of a WebSocket that ended without a word (RFC 6455, 7.1.5)."""
_PROXY_ONLY = frozenset({b"proxy-authorization", b"proxy-connection", b"proxy-authenticate"})


class Waiting(Protocol):
    """Until when a hook may take, on the loop's clock."""

    at: float


class HookPatience:
    """Moves the deadline of the hook that a call runs in."""

    def __init__(self, deadline: Waiting | None) -> None:
        self._deadline = deadline

    def extend(self, seconds: float) -> None:
        """The call may wait this long from now."""
        if self._deadline is not None:
            self._deadline.at = asyncio.get_running_loop().time() + seconds + HOOK_S

    def restore(self) -> None:
        """The wait is over."""
        self.extend(0.0)


class Gate:
    """The addon that admits requests and settles responses."""

    def __init__(
        self,
        node: Node,
        connections: Connections,
        authenticate: Authenticate,
        cut: Callable[[str], None],
        hang_up: Callable[[str, Server], None],
    ) -> None:
        self._node = node
        self._connections = connections
        self._authenticate = authenticate
        self._cut = cut
        self._hang_up = hang_up

    async def request(self, flow: http.HTTPFlow) -> None:
        """Ask for leave; without it the flow carries a refusal and never goes upstream."""
        if flow.response is not None:
            return
        flow.response = refusals.UNDECIDED  # refused first; only a decision clears it
        state = self._connections.get(flow.client_conn.id)
        answer = await self._answer(flow, state)
        if isinstance(answer, OpenCall):
            if state.gone.is_set():
                answer.finish(complete=False, error="client gone")
                return
            flow.response = None
        else:
            flow.response = answer

    async def _answer(self, flow: http.HTTPFlow, state: ConnectionState) -> OpenCall | http.Response:
        principal = self._authenticate.principal(state)
        if state.poisoned:
            return refusals.response(refusals.FAILED_INSIDE, flow.id, None)
        if principal is None:
            return refusals.response(AGENT_UNKNOWN, flow.id, None)

        def authentic() -> bool:
            return self._authenticate.principal(state) is not None

        try:
            raw = raw_request(flow, state)
        except RequestAmbiguous as trap:
            raw = RawRequest(
                "https", flow.request.host[:253], flow.request.port, flow.request.method[:32], b"/", (), b""
            )
            call = Call(flow.id, principal, raw, HookPatience(None), state.gone, authentic)
            refusal = ambiguous(trap)
            await self._node.refuse(call, refusal)
            return refusals.response(refusal, flow.id, None, flow.request.host)
        call = Call(flow.id, principal, raw, HookPatience(flow.metadata.get(DEADLINE)), state.gone, authentic)
        if (forbidden := forbidden_protocol(raw)) is not None:
            await self._node.refuse(call, forbidden)
            return refusals.response(forbidden, flow.id, None, raw.host)
        if raw.host == PROBE_HOST:
            content = orjson.dumps({"douane": "governed", "agent": principal.name})
            return http.Response.make(200, content, {"Content-Type": "application/json"})
        answer = await self._node.admit(call)
        if isinstance(answer, Refusal):
            return refusals.response(answer, flow.id, call.classification, raw.host, raw.body)
        passage = answer.passage
        if passage.request is not raw:
            flow.request.data.headers.fields = passage.request.headers
            flow.request.data.content = passage.request.body
        flow.metadata[CALL] = answer
        state.open[flow.id] = answer
        return answer

    def responseheaders(self, flow: http.HTTPFlow) -> None:
        """Start to meter, mark the response as governed and put the tap on."""
        call = open_call(flow)
        if call is None or call.finished:
            return
        response = flow.response
        assert response is not None
        call.upstream_touched = True
        switches = response.status_code == 101
        if switches and not _is_wanted(call, response.data.headers.fields):
            call.finish(complete=False, error="protocol switch refused")
            flow.kill()
            return
        fields = [pair for pair in response.data.headers.fields if not _stripped(pair[0])]
        call.respond(response.status_code, tuple(fields))
        if call.passage.rewrites_response:  # the body may lose bytes on its way: its length is not the provider's
            fields = [pair for pair in fields if pair[0].lower() not in (b"content-length", b"transfer-encoding")]
            fields.append((b"Transfer-Encoding", b"chunked"))
        passage = call.passage
        decision = f"{passage.effect}; tool={passage.classification.tool}; call={flow.id}"
        fields.append((b"Douane-Decision", decision.encode("ascii", "replace")))
        fields.append((b"Douane-Receipt", passage.receipt.encode()))
        if passage.clamped_tokens is not None:
            fields.append((b"Douane-Output-Limit", b"%d" % passage.clamped_tokens))
        if passage.budget_told is not None:
            fields.append((b"Douane-Budget", passage.budget_told.encode("ascii", "replace")))
        response.data.headers.fields = tuple(fields)
        if switches:
            return
        client_id, server = flow.client_conn.id, flow.server_conn
        response.stream = Tap(call, lambda: self._cut(client_id), lambda: self._hang_up(client_id, server))

    def response(self, flow: http.HTTPFlow) -> None:
        """The provider's response is complete, or a refusal is. A WebSocket begins here."""
        self._connections.release_body(flow.client_conn.id)
        if flow.websocket is not None:
            return
        self._finish(flow, complete=True, error=None)

    def error(self, flow: http.HTTPFlow) -> None:
        """The call ended before its response did."""
        self._connections.release_body(flow.client_conn.id)
        message = flow.error.msg if flow.error else ""
        self._finish(
            flow, complete=False, error="client gone" if "disconnected" in message else "connection failed or cut"
        )

    async def websocket_message(self, flow: http.HTTPFlow) -> None:
        """One message, either way: the call's reservations cover what it sets off, or the socket is cut."""
        assert flow.websocket is not None
        message = flow.websocket.messages[-1]
        call = open_call(flow)
        state = self._connections.get(flow.client_conn.id)
        if call is None or call.finished or call.passage.socket is None or state.poisoned:
            message.drop()
            flow.metadata[CUT] = Cut("", "no call is open")
            return
        socket = call.passage.socket
        call.response_bytes += 0 if message.from_client else len(message.content)
        if message.from_client:
            dropped = message.content
            message.drop()  # refused first; only the reservations clear it
            socket.call.patience = HookPatience(flow.metadata.get(DEADLINE))
            refusal = await socket.sent(dropped, is_text=message.is_text)
            message.dropped = refusal is not None or call.finished
        else:
            socket.call.patience = HookPatience(flow.metadata.get(DEADLINE))
            refusal = await socket.came(message.content, is_text=message.is_text)
        if refusal is not None:
            flow.metadata[CUT] = Cut(refusals.event(refusal, flow.id), refusal.code.value)
            call.finish(complete=False, error=refusal.code.value)
            await self._node.refuse(socket.call, refusal)

    def websocket_end(self, flow: http.HTTPFlow) -> None:
        """The socket is over: complete where one side said so and nothing was under way."""
        call, socket = open_call(flow), flow.websocket
        if call is None or socket is None or call.passage.socket is None:
            return
        said = socket.closed_by_client is not None and socket.close_code != _ABNORMAL
        error = None if said else "client gone" if socket.closed_by_client else "connection failed or cut"
        self._finish(flow, complete=said and call.passage.socket.idle, error=error)

    def _finish(self, flow: http.HTTPFlow, *, complete: bool, error: str | None) -> None:
        call = open_call(flow)
        if call is None:
            return
        if flow.server_conn.timestamp_tcp_setup is not None:
            call.upstream_touched = True
        call.finish(complete=complete, error=error)
        self._connections.open_on(flow.client_conn.id).pop(flow.id, None)


class Interlock:
    """The last addon: takes back every request that does not carry a passage for exactly its bytes."""

    def __init__(self, connections: Connections) -> None:
        self._connections = connections

    def request(self, flow: http.HTTPFlow) -> None:
        """Compare what mitmproxy is about to send with what the passage was given for."""
        if flow.response is not None:
            return
        call = open_call(flow)
        if call is None or call.finished or sent_request(flow, call) != call.passage.request:
            if call is not None:
                call.finish(complete=False, error="the request changed after its decision")
            flow.response = refusals.response(refusals.FAILED_INSIDE, flow.id, None)

    def server_connect(self, data: server_hooks.ServerConnectionHookData) -> None:
        """Open no connection that no open call leads to."""
        server, client = data.server, data.client
        wanted = {
            (call.passage.request.host, call.passage.request.port)
            for call in self._connections.open_on(client.id).values()
            if not call.finished
        }
        address = server.address
        if address is None or not any(_same(address, destination) for destination in wanted):
            server.error = refusals.NO_DECISION_MARK


def _same(address: tuple[str, int], destination: tuple[str, int]) -> bool:
    try:
        return address == destination or (canonical_host(address[0]), address[1]) == destination
    except RequestAmbiguous:
        return False


def open_call(flow: http.HTTPFlow) -> OpenCall | None:
    """The call of a flow that was admitted."""
    call = flow.metadata.get(CALL)
    assert call is None or isinstance(call, OpenCall)
    return call


def _is_wanted(call: OpenCall, fields: tuple[tuple[bytes, bytes], ...]) -> bool:
    """Whether a switch of protocols is to a WebSocket that is metered."""
    passage = call.passage
    return passage.socket is not None and answers_handshake(passage.request, fields)


def _stripped(name: bytes) -> bool:
    lower = name.lower()
    return lower.startswith(_OURS) or lower == b"alt-svc"


def raw_request(flow: http.HTTPFlow, state: ConnectionState) -> RawRequest:
    """The request as it will go upstream, freed of what is meant for proxies; raises `RequestAmbiguous`."""
    request = flow.request
    data = request.data
    tls = flow.client_conn.tls and state.tunnel is not None
    scheme = "https" if tls else "http"
    fields: list[tuple[bytes, bytes]] = []
    hosts: list[str] = []
    for name, value in data.headers.fields:
        lower = name.lower()
        if b"\0" in value or b"\r" in value or b"\n" in value:
            raise RequestAmbiguous("a header value with a line break or NUL")
        if lower == b"host":
            hosts.append(value.decode("latin-1").strip())
        elif lower == b"transfer-encoding" and value.strip().lower() != b"chunked":
            raise RequestAmbiguous("a transfer coding other than chunked")
        elif lower in _PROXY_ONLY or lower.startswith(_OURS):
            continue
        fields.append((name, value))
    if getattr(request, "named_scheme", "") not in ("", scheme):
        raise RequestAmbiguous("a request line that names another scheme than the connection's")
    host, port = one_destination(
        scheme=scheme,
        target=(data.host, data.port),
        hosts=hosts,
        authority=data.authority.decode("latin-1"),
        tunnel=state.tunnel,
        sni=flow.client_conn.sni,
        tls=bool(tls),
    )
    fields = without_h2c(fields)
    data.headers.fields = tuple(fields)
    data.authority = b""
    return RawRequest(scheme, host, port, request.method, data.path, tuple(fields), data.content or b"")


def sent_request(flow: http.HTTPFlow, call: OpenCall) -> RawRequest:
    """The request that mitmproxy holds now, under the destination that was decided on."""
    data = flow.request.data
    decided = call.passage.request
    return RawRequest(
        decided.scheme if flow.request.scheme == decided.scheme else flow.request.scheme,
        decided.host
        if _same((data.host, data.port), (decided.host, decided.port)) and not data.authority
        else data.host,
        data.port,
        flow.request.method,
        data.path,
        data.headers.fields,
        data.content or b"",
    )


def without_h2c(fields: list[tuple[bytes, bytes]]) -> list[tuple[bytes, bytes]]:
    """The fields without an upgrade to cleartext HTTP/2, in whatever letter case."""
    if not any(name.lower() == b"upgrade" and value.strip().lower() == b"h2c" for name, value in fields):
        return fields
    kept = []
    for name, value in fields:
        lower = name.lower()
        if lower in (b"upgrade", b"http2-settings"):
            continue
        if lower == b"connection":
            tokens = [t.strip() for t in value.split(b",") if t.strip().lower() not in (b"upgrade", b"http2-settings")]
            if not tokens:
                continue
            kept.append((name, b", ".join(tokens)))
            continue
        kept.append((name, value))
    return kept


def forbidden_protocol(raw: RawRequest) -> Refusal | None:
    """The refusal of gRPC and of all upgrades, which nothing here can read, but for WebSockets that are metered."""
    path = raw.target.partition(b"?")[0].decode("latin-1")
    is_metered = raw.scheme == "https" and asks_for_websocket(raw) and is_realtime(raw.host, path)
    for name, value in raw.headers:
        lower = name.lower()
        if lower == b"upgrade" and not is_metered:
            return _protocol("an upgrade to another protocol (WebSocket)")
        if lower == b"content-type" and value.strip().lower().startswith(b"application/grpc"):
            return _protocol("gRPC")
    if raw.method.upper() in ("CONNECT", "TRACE", "PRI"):
        return _protocol(f"the method {raw.method[:16]}")
    return None


def _protocol(what: str) -> Refusal:
    return Refusal(
        ReasonCode.PROTOCOL_FORBIDDEN, f"Douane cannot read {what} and did not send the request. Use plain HTTP calls."
    )


def ambiguous(trap: RequestAmbiguous) -> Refusal:
    """The refusal of a request whose destination is not one."""
    return Refusal(
        ReasonCode.REQUEST_AMBIGUOUS, f"The request was not sent because it has {trap}. Send it in its plain form."
    )
