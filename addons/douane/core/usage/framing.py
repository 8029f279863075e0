"""How a streamed response is cut into its events: server-sent events, lines, one JSON array, AWS event streams.

Every splitter keeps at most one event; one that is too large to keep passes in parts, marked as such.
"""

from __future__ import annotations

import base64
import binascii
import re
from typing import Literal, Protocol

import orjson

from douane.core.usage.sse import MOST_EVENT_BYTES, EventSplitter, Piece, data_of

type Framing = Literal["sse", "lines", "array", "aws"]

_AWS_PRELUDE_BYTES = 12
_AWS_MOST_FRAME_BYTES = 16 * 1024 * 1024 + 16
"""Above what AWS allows for one message: such a length is no event stream."""
_AWS_EVENT_TYPE = b"\x0b:event-type\x07"
_AWS_EXCEPTION_TYPE = b"\x0f:exception-type\x07"

_MARKS = re.compile(rb'["{}\[\]]')
_STRING_ENDS = re.compile(rb'["\\]')


class Splitter(Protocol):
    """Cuts a stream into events."""

    def feed(self, data: bytes) -> list[Piece]:
        """What is complete now, in order."""

    def rest(self) -> Piece:
        """What came after the last whole event, once the stream is over."""

    def payload(self, event: bytes) -> bytes:
        """The JSON that an event carries; empty where it carries none."""


def splitter(framing: Framing) -> Splitter:
    """A splitter for a framing."""
    match framing:
        case "sse":
            return ServerSentEvents()
        case "lines":
            return Lines()
        case "array":
            return ArrayElements()
        case "aws":
            return AwsMessages()


class ServerSentEvents(EventSplitter):
    """`text/event-stream`."""

    def payload(self, event: bytes) -> bytes:
        """The joined `data` lines."""
        return data_of(event)


class Lines:
    """NDJSON and JSON Lines: one JSON document a line."""

    def __init__(self) -> None:
        self._rest = bytearray()
        self._skipping = False

    def feed(self, data: bytes) -> list[Piece]:
        """What is complete now, in order."""
        pieces = []
        start = 0
        while (end := data.find(b"\n", start)) >= 0:
            self._rest += data[start : end + 1]
            pieces.append(Piece(bytes(self._rest), not self._skipping))
            self._rest.clear()
            self._skipping = False
            start = end + 1
        self._rest += data[start:]
        if len(self._rest) > MOST_EVENT_BYTES:
            self._skipping = True
            pieces.append(Piece(bytes(self._rest), False))
            self._rest.clear()
        return pieces

    def rest(self) -> Piece:
        """What came after the last line's end."""
        rest = Piece(bytes(self._rest), not self._skipping)
        self._rest, self._skipping = bytearray(), False
        return rest

    def payload(self, event: bytes) -> bytes:
        """The line."""
        return event.strip()


class ArrayElements:
    """The objects of one JSON array that is sent as it grows, as Google does without `alt=sse`."""

    def __init__(self) -> None:
        self._rest = bytearray()
        self._depth = 0
        self._in_string = False
        self._escaped = False
        self._skipping = False

    def feed(self, data: bytes) -> list[Piece]:
        """What is complete now, in order."""
        pieces = []
        start = at = 0
        while at < len(data):
            if self._in_string:
                at = self._string(data, at)
                continue
            found = _MARKS.search(data, at)
            if found is None:
                break
            at, mark = found.end(), data[found.start()]
            match mark:
                case 34:
                    self._in_string = True
                case 123 | 91:
                    if self._depth == 0 and mark == 123:  # one object where an array was expected
                        self._depth = 1
                    self._depth += 1
                    if self._depth <= 1 + (mark == 123):  # the array's own bracket, or an element's first
                        self._rest.clear()
                        start = found.start() if mark == 123 else at
                case _:
                    self._depth -= 1
                    if self._depth == 1 and mark == 125:
                        self._rest += data[start:at]
                        pieces.append(Piece(bytes(self._rest), not self._skipping))
                        self._rest.clear()
                        self._skipping = False
                        start = at
        self._rest += data[start:]
        if self._depth < 2 and not self._in_string:  # between elements: commas and blanks
            self._rest.clear()
        if len(self._rest) > MOST_EVENT_BYTES:
            self._skipping = True
            pieces.append(Piece(bytes(self._rest), False))
            self._rest.clear()
        return pieces

    def _string(self, data: bytes, at: int) -> int:
        """Within a string; returns where to go on."""
        if self._escaped:
            self._escaped = False
            at += 1
        while (found := _STRING_ENDS.search(data, at)) is not None:
            if data[found.start()] == 34:
                self._in_string = False
                return found.end()
            at = found.end() + 1
        self._escaped = at > len(data)
        return len(data)

    def rest(self) -> Piece:
        """What came of an element that was cut."""
        rest = Piece(bytes(self._rest), not self._skipping)
        self._rest = bytearray()
        return rest

    def payload(self, event: bytes) -> bytes:
        """The element."""
        return event


class AwsMessages:
    """`application/vnd.amazon.eventstream`: length, headers, payload, checksums (smithy.io, Amazon Event Stream).

    Checksums are not verified: the client does that, and a broken stream reports no usage.
    """

    def __init__(self) -> None:
        self._rest = bytearray()
        self._left = 0
        """Bytes still to come of a message that is too large to keep."""
        self._lost = False
        """True once the bytes are no event stream."""

    def feed(self, data: bytes) -> list[Piece]:
        """What is complete now, in order."""
        if self._lost:
            return [Piece(data, False)]
        pieces = []
        if self._left:
            pieces.append(Piece(data[: self._left], False))
            data, self._left = data[self._left :], max(0, self._left - len(data))
        self._rest += data
        while len(self._rest) >= _AWS_PRELUDE_BYTES:
            length = int.from_bytes(self._rest[:4])
            if not 16 <= length <= _AWS_MOST_FRAME_BYTES:
                self._lost = True
                pieces.append(Piece(bytes(self._rest), False))
                self._rest.clear()
            elif length <= len(self._rest):
                pieces.append(Piece(bytes(self._rest[:length]), True))
                del self._rest[:length]
            elif length > MOST_EVENT_BYTES:
                self._left = length - len(self._rest)
                pieces.append(Piece(bytes(self._rest), False))
                self._rest.clear()
            else:
                break
        return pieces

    def rest(self) -> Piece:
        """What came of a message that was cut: neither JSON, nor bytes to look for members in."""
        rest = Piece(bytes(self._rest), True)
        self._rest = bytearray()
        return rest

    def payload(self, event: bytes) -> bytes:
        """The JSON of Invoke's inner `bytes`; of Converse's event `{"metadata": {…}}`, under its event's type."""
        headers = int.from_bytes(event[4:8])
        head, body = event[_AWS_PRELUDE_BYTES : 12 + headers], event[12 + headers : -4]
        if _AWS_EXCEPTION_TYPE in head or not body.startswith(b"{"):
            return b""
        kind = _text_after(head, _AWS_EVENT_TYPE)
        if kind == b"chunk":
            inner = orjson.loads(body).get("bytes")
            try:
                return base64.b64decode(inner, validate=True) if isinstance(inner, str) else b""
            except binascii.Error:
                return b""
        return b'{"%b":%b}' % (kind, body) if kind.isalnum() else b""


def _text_after(head: bytes, name: bytes) -> bytes:
    """The value of a header whose name and type stand before it."""
    at = head.find(name)
    if at < 0:
        return b""
    at += len(name)
    return head[at + 2 : at + 2 + int.from_bytes(head[at : at + 2])]
