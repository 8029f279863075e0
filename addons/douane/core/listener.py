"""Reads an answer as it passes, for what it says about later calls, and changes nothing of it."""

from __future__ import annotations

from collections.abc import Callable

from douane.core.decode import DecodeError, Decoder, decoder
from douane.core.usage.sse import EventSplitter, data_of

MOST_BYTES = 1024 * 1024
"""Of one answer: several hundred MCP tools. A longer one is not read."""


class Listener:
    """Hands the text of one answer, or of each of its events, to `read`, which must not raise."""

    def __init__(self, read: Callable[[bytes], None]) -> None:
        self._hand_on = read
        self._decoder: Decoder | None = None
        self._events: EventSplitter | None = None
        self._kept = bytearray()

    def start(self, status: int, headers: tuple[tuple[bytes, bytes], ...]) -> None:
        """The head of the answer."""
        fields = {name.lower(): value.decode("latin-1") for name, value in headers}
        if fields.get(b"content-type", "").startswith("text/event-stream"):
            self._events = EventSplitter()
        try:
            self._decoder = decoder(fields.get(b"content-encoding", ""), MOST_BYTES) if status == 200 else None
        except DecodeError:
            self._decoder = None

    def feed(self, data: bytes) -> None:
        """The next bytes of the answer, nothing at its end. An event is read before the client has all of it."""
        if self._decoder is None:
            return
        try:
            decoded = self._decoder.feed(data) if data else b""
        except DecodeError:
            self._decoder = None
            return
        if self._events is not None:
            for piece in self._events.feed(decoded):
                self._hand_on(data_of(piece.data))
            return
        self._kept += decoded
        if len(self._kept) > MOST_BYTES:
            self._decoder = None
        elif not data:
            self._hand_on(bytes(self._kept))
