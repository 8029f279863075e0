"""WebSockets as mitmproxy's layer does not have them: bounded, fail-closed, and cut with a word to the client.

mitmproxy keeps every message for ever, buffers any length, inflates whatever was compressed, and forwards a message
whose hook failed. Here a message is held until its hook is over, then sent on in its own frames or dropped.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator
from dataclasses import dataclass
from typing import Any

import wsproto.events
from mitmproxy import http, websocket
from mitmproxy.proxy import commands, context, events, layer, layers
from mitmproxy.proxy.layers.websocket import WebsocketConnection, WebsocketEndHook, WebsocketMessageHook
from wsproto.connection import ConnectionState, ConnectionType
from wsproto.frame_protocol import CloseReason, Opcode

from douane.gateway.internals.http1 import BODY_ROOM, LARGE_BODY_BYTES

MOST_MESSAGE_BYTES = 24 * 1024 * 1024
"""An event of the Realtime API has 15 MiB of audio at most, a third more as base64."""
MOST_PIECES = 16 * 1024
"""Of one message: frames, and reads that a frame came in."""
MOST_AFTER_CLOSE_BYTES = 1024 * 1024
"""From a client that was told to close; its connection is ended then."""

CUT = "douane.cut"
"""Metadata of a flow: the `Cut` that a hook wants."""

type Piece = wsproto.events.Message[Any]


@dataclass(frozen=True, slots=True)
class Cut:
    """How a hook ends a socket: behind the message that it looked at, unless that is dropped."""

    told: str
    """An event for the client."""
    reason: str
    code: int = CloseReason.POLICY_VIOLATION


class GovernedWebsocket(layer.Layer):
    """Relays one WebSocket, message by message, each through the hook `websocket_message`."""

    def __init__(self, ctx: context.Context, flow: http.HTTPFlow) -> None:
        super().__init__(ctx)
        self.flow = flow
        self._sides: dict[bool, WebsocketConnection] = {}
        """By whether it is the client's."""
        self._held: dict[bool, list[Piece]] = {True: [], False: []}
        self._bytes = {True: 0, False: 0}
        self._counted = 0
        self._after_close = 0

        self._state: Callable[[events.Event], layer.CommandGenerator[None]] = self._start

    def _handle_event(self, event: events.Event) -> layer.CommandGenerator[None]:
        yield from self._state(event)

    def _start(self, _: events.Event) -> layer.CommandGenerator[None]:
        self._sides = {
            True: WebsocketConnection(ConnectionType.SERVER, [], conn=self.context.client),
            False: WebsocketConnection(ConnectionType.CLIENT, [], conn=self.context.server),
        }
        self._state = self._relay
        yield from ()

    def _relay(self, event: events.Event) -> layer.CommandGenerator[None]:
        if not isinstance(event, events.ConnectionEvent):  # an injected message
            yield from self._end(Cut("", "not from here"))
            return
        from_client = event.connection is self.context.client
        source, target = self._sides[from_client], self._sides[not from_client]
        if isinstance(event, events.ConnectionClosed):
            yield from self._lost(from_client)
            return
        assert isinstance(event, events.DataReceived)
        source.receive_data(event.data)
        for found in source.events():
            match found:
                case wsproto.events.Message():
                    yield from self._message(found, from_client)
                case wsproto.events.Ping() | wsproto.events.Pong():
                    yield target.send2(found)
                case wsproto.events.CloseConnection():
                    yield from self._closed(found, from_client)
            if self._state != self._relay:
                return

    def _message(self, piece: Piece, from_client: bool) -> layer.CommandGenerator[None]:
        held = self._held[from_client]
        held.append(piece)
        self._bytes[from_client] += len(_data(piece))
        size = self._bytes[from_client]
        if size > MOST_MESSAGE_BYTES or len(held) > MOST_PIECES or not self._has_room():
            yield from self._end(Cut("", "a message is too large", CloseReason.MESSAGE_TOO_BIG))
            return
        if not piece.message_finished:
            return
        frames = list(_frames(held))
        content = b"".join(_data(frame) for frame in frames)
        held.clear()
        kind = Opcode.TEXT if isinstance(piece, wsproto.events.TextMessage) else Opcode.BINARY
        message = websocket.WebSocketMessage(kind, from_client, content)
        assert self.flow.websocket is not None
        self.flow.websocket.messages[:] = [message]
        yield WebsocketMessageHook(self.flow)
        self.flow.websocket.messages.clear()
        self._bytes[from_client] = 0
        self._has_room()
        if not message.dropped:
            for frame in frames:
                yield self._sides[not from_client].send2(frame)
        cut = self.flow.metadata.pop(CUT, None)
        if cut is not None:
            yield from self._end(cut)

    def _has_room(self) -> bool:
        """Count what both sides' messages hold among what the agent's requests may hold."""
        size = self._bytes[True] + self._bytes[False]
        size = size if size > LARGE_BODY_BYTES else 0
        has_room = getattr(self.context.client, BODY_ROOM, None)
        if has_room is None or size == self._counted:
            return True
        self._counted = size
        return bool(has_room(size))

    def _closed(self, close: wsproto.events.CloseConnection, from_client: bool) -> layer.CommandGenerator[None]:
        """One side says that it is over, or broke the protocol; the other one is told the same."""
        assert self.flow.websocket is not None
        self.flow.websocket.closed_by_client = from_client
        self.flow.websocket.close_code, self.flow.websocket.close_reason = close.code, close.reason
        yield from self._hang_up(close, client_waits=from_client)

    def _lost(self, from_client: bool) -> layer.CommandGenerator[None]:
        """One side is gone without a word: so is the other."""
        assert self.flow.websocket is not None
        self.flow.websocket.closed_by_client = from_client
        self.flow.websocket.close_code = CloseReason.ABNORMAL_CLOSURE
        self._state = self._over
        for side in self._sides.values():
            yield commands.CloseConnection(side.conn)
        yield WebsocketEndHook(self.flow)

    def _end(self, cut: Cut) -> layer.CommandGenerator[None]:
        """End the socket from here."""
        assert self.flow.websocket is not None
        self.flow.websocket.closed_by_client = None
        self.flow.websocket.close_code, self.flow.websocket.close_reason = cut.code, cut.reason
        client = self._sides[True]
        if cut.told and client.state is ConnectionState.OPEN:
            yield client.send2(wsproto.events.TextMessage(cut.told))
        yield from self._hang_up(wsproto.events.CloseConnection(cut.code, cut.reason), client_waits=False)

    def _hang_up(self, close: wsproto.events.CloseConnection, *, client_waits: bool) -> layer.CommandGenerator[None]:
        """Close both sides. A client that still sends gets to read what was told before its connection ends."""
        self._state = self._over if client_waits else self._closing
        self._held = {True: [], False: []}
        for is_client, side in self._sides.items():
            if side.state in (ConnectionState.OPEN, ConnectionState.REMOTE_CLOSING):
                yield side.send2(close)
            if client_waits or not is_client:
                yield commands.CloseConnection(side.conn)
        yield WebsocketEndHook(self.flow)

    def _closing(self, event: events.Event) -> layer.CommandGenerator[None]:
        """Wait for the client's end; nothing that it sends goes anywhere."""
        if not isinstance(event, events.ConnectionEvent) or event.connection is not self.context.client:
            return
        is_over = isinstance(event, events.ConnectionClosed)
        if isinstance(event, events.DataReceived):
            self._after_close += len(event.data)
            client = self._sides[True]
            client.receive_data(event.data)
            is_over = any(isinstance(found, wsproto.events.CloseConnection) for found in client.events())
        if is_over or self._after_close > MOST_AFTER_CLOSE_BYTES:
            self._state = self._over
            yield commands.CloseConnection(self.context.client)

    def _over(self, _: events.Event) -> layer.CommandGenerator[None]:
        yield from ()


def _data(piece: Piece) -> bytes:
    data: str | bytes | bytearray = piece.data
    return data.encode() if isinstance(data, str) else bytes(data)


def _frames(pieces: list[Piece]) -> Iterator[Piece]:
    """The frames that a message came in, whatever pieces they were read in."""
    begun: list[Piece] = []
    for piece in pieces:
        begun.append(piece)
        if not piece.frame_finished:
            continue
        joined = begun[0].data[:0].join(part.data for part in begun) if len(begun) > 1 else piece.data
        yield type(piece)(data=joined, frame_finished=True, message_finished=piece.message_finished)
        begun = []


def install() -> None:
    """Put the layer in mitmproxy's place."""
    layers.websocket.WebsocketLayer = GovernedWebsocket  # type: ignore[misc,assignment]
