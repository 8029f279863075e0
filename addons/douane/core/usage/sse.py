"""Server-sent events, split wherever the chunks fall (WHATWG HTML, 9.2)."""

from __future__ import annotations

import re
from typing import NamedTuple

MOST_EVENT_BYTES = 1024 * 1024
"""An event that grows past this is passed on unread: the largest real ones carry some seconds of audio."""

_END = re.compile(rb"\r\n\r\n|\n\n|\r\r|\r\n\r(?!\n)|\n\r(?!\n)|\r\n\n|\n\r\n")


class Piece(NamedTuple):
    """A stretch of the stream as it came."""

    data: bytes
    whole: bool
    """Whether it is one whole event with its blank line; if not, it is part of one that was too large to keep."""


class EventSplitter:
    """Cuts a stream into whole events, byte for byte; memory is bounded by one event."""

    def __init__(self) -> None:
        self._rest = bytearray()
        self._searched = 0
        self._skipping = False
        """Within an event that was too large: its bytes pass as they come until its blank line."""

    def feed(self, data: bytes) -> list[Piece]:
        """What is complete now, in order."""
        rest = self._rest
        rest += data
        pieces = []
        start = 0
        searched = self._searched
        while (end := _END.search(rest, searched)) is not None:
            if end.end() == len(rest) and rest[-1] == 13:  # a "\n" may still belong to this line end
                break
            pieces.append(Piece(bytes(rest[start : end.end()]), not self._skipping))
            self._skipping = False
            start = searched = end.end()
        if start:
            del rest[:start]
        keep = 3  # a blank line's bytes may be split over chunks
        if self._skipping or len(rest) > MOST_EVENT_BYTES:
            self._skipping = True
            if len(rest) > keep:
                pieces.append(Piece(bytes(rest[:-keep]), False))
                del rest[:-keep]
        self._searched = max(0, len(rest) - keep)
        return pieces

    def rest(self) -> Piece:
        """What came after the last whole event, once the stream is over."""
        rest = Piece(bytes(self._rest), not self._skipping)
        self._rest, self._searched, self._skipping = bytearray(), 0, False
        return rest


def data_of(event: bytes) -> bytes:
    """The `data` of an event, its lines joined."""
    if event.startswith(b"data:") and event.count(b"data:") == 1 and b"\r" not in event:
        return event[5:].partition(b"\n")[0].removeprefix(b" ")
    lines = [line[5:].removeprefix(b" ") for line in re.split(rb"\r\n|\n|\r", event) if line.startswith(b"data:")]
    return b"\n".join(lines)
