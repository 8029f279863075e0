"""A WebSocket's client that sends exactly the frames it is told; not the product's library."""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any

import orjson
from websockets.frames import Close, Frame, Opcode
from websockets.protocol import Protocol, Side, State

from support.product import Agent
from support.wire import Answer, ConnectionOver, Wire, request

HANDSHAKE = (
    "Connection: Upgrade",
    "Upgrade: websocket",
    "Sec-WebSocket-Version: 13",
    "Sec-WebSocket-Key: dGhlIHNhbXBsZSBub25jZQ==",
)
TARGET = "/v1/realtime?model=gpt-realtime"


class Socket:
    """One open WebSocket to `api.openai.com`."""

    def __init__(self, agent: Agent, address: tuple[str, int], *fields: str, target: str = TARGET) -> None:
        self.wire = Wire.tunnel(agent, address, "api.openai.com")
        self.wire.send(request("GET", "api.openai.com", target, b"", *HANDSHAKE, *fields))
        self.answer: Answer = self.wire.head()
        if self.answer.status != 101:
            self.wire.close()
            raise AssertionError(self.answer)
        self._protocol = Protocol(Side.CLIENT, state=State.OPEN, max_size=None)

    def frames(self, *parts: bytes, first: Any = Opcode.TEXT) -> None:
        """One message in so many frames, or, where the last of them is empty, its beginning."""
        whole = parts[-1] != b""
        parts = parts if whole else parts[:-1]
        for number, part in enumerate(parts):
            self._send(Frame(Opcode.CONT if number else first, part, whole and number == len(parts) - 1))

    def event(self, kind: str, **members: Any) -> None:
        """One event in one frame."""
        self.frames(orjson.dumps({"type": kind, **members}))

    def binary(self, data: bytes) -> None:
        """A message that is no text."""
        self.frames(data, first=Opcode.BINARY)

    def ping(self) -> None:
        """Ask for a pong."""
        self._send(Frame(Opcode.PING, b"x"))

    def _send(self, frame: Frame) -> None:
        self.wire.send(frame.serialize(mask=True))

    def received(self) -> Iterator[Frame]:
        """Frames as they come, until the connection's end."""
        while True:
            for event in self._protocol.events_received():
                assert isinstance(event, Frame)
                yield event
            try:
                self._protocol.receive_data(self.wire.some())
            except ConnectionOver:
                return

    def until(self, kind: str) -> dict[str, Any]:
        """The next event of a kind."""
        for frame in self.received():
            if frame.opcode is Opcode.TEXT and (event := orjson.loads(frame.data))["type"] == kind:
                return dict(event)
        raise AssertionError(f"the socket ended before {kind}")

    def end(self) -> tuple[list[dict[str, Any]], Close | None]:
        """What still comes, and how the socket is closed; None: without a word."""
        events = []
        for frame in self.received():
            if frame.opcode is Opcode.CLOSE:
                return events, Close.parse(frame.data)
            if frame.opcode is Opcode.TEXT:
                events.append(orjson.loads(frame.data))
        return events, None

    def close(self) -> None:
        """Leave without a word."""
        self.wire.close()
