"""Who is calling: checked at CONNECT, and again for every request on the connection."""

from __future__ import annotations

import base64
import binascii
import ipaddress
import time

from mitmproxy import connection, http

from douane.calls.agents import AGENT_UNKNOWN, Credential
from douane.calls.call import new_call_id
from douane.calls.node import Node
from douane.core.decision import Principal
from douane.core.identity import canonical_host
from douane.core.refusal import RequestAmbiguous
from douane.gateway import refusals
from douane.gateway.connections import Connections, ConnectionState

_SLOW_AFTER_FAILURES = 20


class Authenticate:
    """The addon that tells agents by `Proxy-Authorization` and takes that header out of every request."""

    def __init__(self, node: Node, connections: Connections) -> None:
        self._node = node
        self._connections = connections
        self._failures: dict[str, tuple[int, float]] = {}

    def client_connected(self, client: connection.Client) -> None:
        """Start the state of a connection."""
        loopback = bool(client.peername) and ipaddress.ip_address(client.peername[0]).is_loopback
        self._connections.connected(client.id, loopback=loopback)

    def client_disconnected(self, client: connection.Client) -> None:
        """End it: whatever is open on it gets its result."""
        self._connections.disconnected(client.id)

    def http_connect(self, flow: http.HTTPFlow) -> None:
        """Answer 407 unless the agent is known; everything else is refused inside the tunnel."""
        state = self._connections.get(flow.client_conn.id)
        if self._identify(state, flow) is None:
            flow.response = refusals.proxy_authentication_required()
            return
        try:
            state.tunnel = canonical_host(flow.request.host), flow.request.port
        except RequestAmbiguous:
            state.tunnel = "", flow.request.port  # no request's Host header is the same, so each is refused
        self._limit(state, flow)

    def requestheaders(self, flow: http.HTTPFlow) -> None:
        """Refuse before the body is read where nobody is there to answer for it."""
        flow.id = new_call_id()
        state = self._connections.get(flow.client_conn.id)
        if state.poisoned is not None:
            flow.response = refusals.response(refusals.FAILED_INSIDE, flow.id, None, flow.request.host)
        elif state.tunnel is None:
            if self._identify(state, flow) is None:
                flow.response = refusals.proxy_authentication_required()
                return
            self._limit(state, flow)
        elif self.principal(state) is None:
            flow.response = refusals.response(AGENT_UNKNOWN, flow.id, None, flow.request.host)
        flow.request.headers.pop("proxy-authorization", None)

    def principal(self, state: ConnectionState) -> Principal | None:
        """Who the connection speaks for at this moment."""
        if not state.authenticated or (state.credential is None and not state.loopback):
            return None
        return self._node.agents.principal(state.credential)

    def _identify(self, state: ConnectionState, flow: http.HTTPFlow) -> Principal | None:
        presented = flow.request.headers.get_all("proxy-authorization")
        flow.request.headers.pop("proxy-authorization", None)
        if not presented:
            state.credential, state.authenticated = None, True
            principal = self.principal(state)
            state.authenticated = principal is not None
            return principal
        state.credential = self._credential(presented[0], flow.client_conn) if len(presented) == 1 else None
        state.authenticated = state.credential is not None
        return self.principal(state)

    def _credential(self, header: str, client: connection.Client) -> Credential | None:
        scheme, _, encoded = header.partition(" ")
        if scheme.lower() != "basic":
            return None
        try:
            name, _, key = base64.b64decode(encoded.strip(), validate=True).decode().partition(":")
        except (binascii.Error, UnicodeDecodeError):
            return None
        address = client.peername[0] if client.peername else ""
        failures, until = self._failures.get(address, (0, 0.0))
        if failures > _SLOW_AFTER_FAILURES and time.monotonic() < until:
            return None
        credential = self._node.agents.credential(name, key)
        if credential is None:
            if len(self._failures) > 1000:
                self._failures.clear()
            self._failures[address] = failures + 1, time.monotonic() + 1.0
        else:
            self._failures.pop(address, None)
        return credential

    def _limit(self, state: ConnectionState, flow: http.HTTPFlow) -> None:
        principal = self.principal(state)
        if principal is None:
            return
        limits = self._node.rules.policy.limits(principal.name, principal.labels)
        if self._connections.count(state, principal.name) > limits.connections:
            flow.kill()
