"""What mitmproxy's HTTP/1 layers lack: limits on headers and bodies, and error pages in our own words.

The classes take the place of mitmproxy's in its module, once per process, before the first connection.
"""

from __future__ import annotations

import contextlib
import re
import weakref
from dataclasses import dataclass

from mitmproxy import connection, flow, http, version
from mitmproxy.net.http import http1, status_codes
from mitmproxy.proxy import commands, events, layer, tunnel
from mitmproxy.proxy.layers import http as http_layer
from mitmproxy.proxy.layers.http import _http1
from mitmproxy.proxy.layers.http._base import ReceiveHttp
from mitmproxy.proxy.layers.http._events import (
    ErrorCode,
    RequestData,
    RequestHeaders,
    RequestProtocolError,
    ResponseProtocolError,
)
from mitmproxy.proxy.layers.http._hooks import HttpErrorHook, HttpRequestHeadersHook

from douane.core.refusal import ReasonCode, Refusal
from douane.gateway import refusals
from douane.gateway.connections import MOST_AGENT_BODY_BYTES
from douane.gateway.internals import MITMPROXY_VERSION

MOST_HEADER_BYTES = 64 * 1024
MOST_HEADER_FIELDS = 100
MOST_RESPONSE_HEADER_BYTES = 256 * 1024
MOST_BODY_BYTES = 64 * 1024 * 1024
LARGE_BODY_BYTES = 64 * 1024
PIECE_BYTES = 256 * 1024
MOST_CHUNKS = 256
"""Of a body, handled in one turn: each costs some 5 µs, be it a single byte."""

RUN_NOW = "run_now"
"""Attribute of a client: runs a hook that needs no waiting; False for one that does."""

BODY_ROOM = "body_room"
"""Attribute of a client: takes the bytes that its request holds now; False where its agent holds too many."""

FAILED_CLIENTS: weakref.WeakSet[connection.Client] = weakref.WeakSet()
"""Clients on whose connection a hook failed."""

TOO_LARGE = "the request body is too large"
TOO_MUCH = "the agent's requests under way hold too much"

_REASONS = {
    400: (ReasonCode.REQUEST_AMBIGUOUS, "The request is not valid HTTP and was not sent."),
    413: (
        ReasonCode.LIMIT_EXCEEDED,
        f"The request body is over {MOST_BODY_BYTES // 1024 // 1024} MiB and was not sent.",
    ),
    431: (ReasonCode.LIMIT_EXCEEDED, "The request's header is over 64 KiB or 100 fields and was not sent."),
}


_CALL = "; call="
"""Parts what went wrong from the call that it went wrong with, on the way to the error page."""

_HOLDS_TOO_MUCH = Refusal(
    ReasonCode.LIMIT_EXCEEDED,
    f"The bodies of the agent's requests under way hold over {MOST_AGENT_BODY_BYTES // 1024 // 1024} MiB and this one "
    "was not sent. Wait for some of them to end.",
)


def error_page(status: int, message: str = "") -> bytes:
    """An error response as bytes: a refusal where the call was refused, a gateway error where the provider failed."""
    if refusals.FAILED_INSIDE_MARK in message or refusals.NO_DECISION_MARK in message:
        response = refusals.response(refusals.FAILED_INSIDE, "", None)
    elif message == TOO_MUCH:
        response = refusals.response(_HOLDS_TOO_MUCH, "", None)
    elif status in _REASONS:
        response = refusals.response(Refusal(*_REASONS[status]), "", None)
        response.status_code = status
    else:
        why, _, call_id = message.rpartition(_CALL)
        response = refusals.upstream_failed(status, why, call_id)
    response.reason = status_codes.RESPONSES.get(response.status_code, "")
    response.headers["Connection"] = "close"
    page: bytes = http1.assemble_response(response)
    return page


class NextTurn(commands.Command):
    """Goes on in the loop's next turn, after others had theirs."""

    blocking = True


@dataclass(repr=False)
class NextTurnCame(events.CommandCompleted):
    """The turn has come."""

    command: NextTurn
    reply: None = None


class LimitedHttp1Server(_http1.Http1Server):
    """Answers 431 and closes before a header grows past its limits."""

    def read_headers(self, event: events.ConnectionEvent) -> layer.CommandGenerator[None]:
        """Read a request head within its limits."""
        if isinstance(event, events.DataReceived):
            head, _, _ = bytes(self.buf).partition(b"\r\n\r\n")
            if len(head) > MOST_HEADER_BYTES or head.count(b"\n") > MOST_HEADER_FIELDS:
                yield commands.SendData(self.conn, error_page(431))
                yield commands.CloseConnection(self.conn)
                self.state = self.done
                return
        yield from super().read_headers(event)

    def read_body(self, event: events.Event) -> layer.CommandGenerator[None]:
        """Hand on chunks that came together in one piece, and no more of them in a turn than cost a millisecond."""
        pieces: list[bytes] = []
        for command in super().read_body(event):
            if isinstance(command, ReceiveHttp) and isinstance(command.event, RequestData):
                pieces.append(command.event.data)
                if len(pieces) < MOST_CHUNKS:
                    continue
                command = NextTurn()
            if pieces:
                yield ReceiveHttp(RequestData(self.stream_id, b"".join(pieces)))
                pieces.clear()
            yield command
        if pieces:
            yield ReceiveHttp(RequestData(self.stream_id, b"".join(pieces)))


_STATUS_LINE = re.compile(rb"HTTP/1\.[01] (\d{3})[ \r\n]")
_HEAD_END = re.compile(rb"\n\r?\n")


class LimitedHttp1Client(_http1.Http1Client):
    """Reads one response for one request, and no endless head."""

    def read_body(self, event: events.Event) -> layer.CommandGenerator[None]:
        """Hand on no more chunks in a turn than cost a few milliseconds."""
        chunks = 0
        for command in super().read_body(event):
            yield command
            chunks += isinstance(command, ReceiveHttp)
            if chunks == MOST_CHUNKS:
                chunks = 0
                yield NextTurn()

    def read_headers(self, event: events.ConnectionEvent) -> layer.CommandGenerator[None]:
        """Read a response head; skip interim ones (RFC 9110, 15.2).

        mitmproxy takes those for the answer, and each later answer for that to the request after its own.
        """
        if isinstance(event, events.DataReceived) and self.request and self.stream_id is not None:
            held = bytes(self.buf)
            while _is_interim(held) and self.buf.maybe_extract_lines():
                held = bytes(self.buf)
            if not held:
                return
            end = _HEAD_END.search(held)
            odd = len(held) > len("HTTP/1.1 200") and not _STATUS_LINE.match(held)
            if odd or (end.start() if end else len(held)) > MOST_RESPONSE_HEADER_BYTES:
                yield commands.CloseConnection(self.conn)
                what = "is not HTTP/1" if odd else "has an endless header"
                yield ReceiveHttp(
                    ResponseProtocolError(self.stream_id, f"the response {what}", ErrorCode.GENERIC_SERVER_ERROR)
                )
                return
        yield from super().read_headers(event)


def _is_interim(held: bytes) -> bool:
    line = _STATUS_LINE.match(held)
    return line is not None and line[1][:1] == b"1" and line[1] != b"101"


class GovernedStream(http_layer.HttpStream):
    """Bounds request bodies, one by one and all together; response bodies go through the tap and have no bound."""

    def _handle_event(self, event: events.Event) -> layer.CommandGenerator[None]:
        """Run what needs no waiting here: a hook would travel through all layers to the connection and back."""
        run_now = getattr(self.context.client, RUN_NOW, None)
        steps = super()._handle_event(event)
        reply = None
        with contextlib.suppress(StopIteration):
            while True:
                command = steps.send(reply)
                reply = None
                if isinstance(command, commands.StartHook) and run_now is not None and run_now(command):
                    continue
                if not isinstance(command, commands.Log):
                    reply = yield command

    def state_wait_for_request_headers(self, event: RequestHeaders) -> layer.CommandGenerator[None]:
        """Keep the scheme that the request line named: mitmproxy overwrites it with the connection's."""
        event.request.named_scheme = event.request.data.scheme.decode("latin-1").lower()  # type: ignore[attr-defined]
        yield from super().state_wait_for_request_headers(event)

    def handle_protocol_error(
        self, event: RequestProtocolError | ResponseProtocolError
    ) -> layer.CommandGenerator[None]:
        """Tell a client whose connection failed inside so, instead of blaming the provider."""
        if isinstance(event, ResponseProtocolError) and self.context.client in FAILED_CLIENTS:
            event = ResponseProtocolError(event.stream_id, refusals.FAILED_INSIDE_MARK, event.code)
        elif isinstance(event, ResponseProtocolError):
            event = ResponseProtocolError(event.stream_id, f"{event.message}{_CALL}{self.flow.id}", event.code)
        yield from super().handle_protocol_error(event)

    def state_consume_request_body(self, event: events.Event) -> layer.CommandGenerator[None]:
        """Send a large body in pieces: as one, its encryption would stall every other connection."""
        steps = super().state_consume_request_body(event)
        reply = None
        with contextlib.suppress(StopIteration):
            while True:
                command = steps.send(reply)
                if isinstance(command, http_layer.SendHttp) and isinstance(command.event, RequestData):
                    body = memoryview(command.event.data)
                    for at in range(0, len(body), PIECE_BYTES):
                        if at:
                            yield NextTurn()
                        piece = RequestData(self.stream_id, bytes(body[at : at + PIECE_BYTES]))
                        yield http_layer.SendHttp(piece, command.connection)
                    reply = None
                else:
                    reply = yield command

    def check_body_size(self, request: bool) -> layer.CommandGenerator[bool]:
        """Refuse a request body that is too large before any of it goes upstream."""
        if not request:
            return False
        size = len(self.request_body_buf)
        if not size:
            with contextlib.suppress(ValueError):
                size = http1.expected_http_body_size(self.flow.request) or 0
        why = TOO_LARGE
        if size <= MOST_BODY_BYTES:
            has_room = getattr(self.context.client, BODY_ROOM, None)
            if size <= LARGE_BODY_BYTES or has_room is None or has_room(size):
                return False
            why = TOO_MUCH
        if not self.request_body_buf:
            yield HttpRequestHeadersHook(self.flow)
        self.flow.error = flow.Error(why)
        yield HttpErrorHook(self.flow)
        yield http_layer.SendHttp(
            ResponseProtocolError(self.stream_id, why, ErrorCode.REQUEST_TOO_LARGE), self.context.client
        )
        self.client_state = self.state_errored
        self.flow.live = False
        self.request_body_buf.clear()
        return True


def _event_to_child(self: tunnel.TunnelLayer, event: events.Event) -> layer.CommandGenerator[None]:
    """Hand an event inwards, and encrypt what is sent for it in one piece: a head and its body are two otherwise."""
    if self.tunnel_state is tunnel.TunnelState.ESTABLISHING and not self.command_to_reply_to:
        self._event_queue.append(event)
        return
    pieces: list[bytes] = []
    for command in self.child_layer.handle_event(event):
        if isinstance(command, commands.SendData):
            if command.connection is self.conn:
                pieces.append(command.data)
                continue
        elif pieces:
            yield from self.send_data(b"".join(pieces))
            pieces.clear()
        yield from self._handle_command(command)
    if pieces:
        yield from self.send_data(b"".join(pieces) if len(pieces) > 1 else pieces[0])


def install() -> None:
    """Put the classes in mitmproxy's place; raises `RuntimeError` on another mitmproxy than they were written for."""
    if version.VERSION != MITMPROXY_VERSION:
        raise RuntimeError(f"Douane is built against mitmproxy {MITMPROXY_VERSION}, not {version.VERSION}")
    http_layer.Http1Server = LimitedHttp1Server  # type: ignore[attr-defined]
    http_layer.Http1Client = LimitedHttp1Client  # type: ignore[attr-defined]
    http_layer.HttpStream = GovernedStream  # type: ignore[misc]
    tunnel.TunnelLayer.event_to_child = _event_to_child  # type: ignore[method-assign]
    _http1.make_error_response = error_page  # type: ignore[assignment]
    # A tenth of a small call's CPU goes into checking the types of what mitmproxy's own parser made a moment before.
    http.MessageData.__post_init__ = _unchecked  # type: ignore[method-assign]
    # Some twenty look-ups of headers that are not there would raise and catch a KeyError each.
    http.Headers.get = _get  # type: ignore[method-assign,assignment]


def _unchecked(self: http.MessageData) -> None:
    """Take a message's fields as they are."""


def _get(self: http.Headers, key: str | bytes, default: str | None = None) -> str | None:
    """`Headers.get` without an exception for what is absent; several values are folded as mitmproxy does."""
    wanted = key.lower() if isinstance(key, bytes) else key.lower().encode("utf-8", "surrogateescape")
    values = [value for name, value in self.fields if name.lower() == wanted]
    if not values:
        return default
    return ", ".join([value.decode("utf-8", "surrogateescape") for value in values])
