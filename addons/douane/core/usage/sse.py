"""Server-sent events, split wherever the chunks fall (WHATWG HTML, 9.2)."""

from __future__ import annotations

import re

MOST_EVENT_BYTES = 4 * 1024 * 1024
"""An event that grows past this is passed on unread."""

_END = re.compile(rb"\r\n\r\n|\n\n|\r\r")


class EventSplitter:
    """Cuts a stream into whole events, each with its closing blank line, byte for byte."""

    def __init__(self) -> None:
        self._rest = bytearray()
        self._searched = 0
        self.overflowed = False
        """True once an event was too large to be kept: nothing is split any more."""

    def feed(self, data: bytes) -> list[bytes]:
        """The events that are complete now; after an overflow, the bytes as they come."""
        if self.overflowed:
            return [data]
        self._rest += data
        events = []
        start = 0
        while (end := _END.search(self._rest, max(start, self._searched - 3))) is not None:
            events.append(bytes(self._rest[start : end.end()]))
            start = self._searched = end.end()
        del self._rest[:start]
        self._searched = len(self._rest)
        if len(self._rest) > MOST_EVENT_BYTES:
            self.overflowed = True
            events.append(self.rest())
        return events

    def rest(self) -> bytes:
        """What came after the last whole event."""
        rest, self._rest, self._searched = bytes(self._rest), bytearray(), 0
        return rest


def data_of(event: bytes) -> bytes:
    """The `data` of an event, its lines joined."""
    if event.startswith(b"data:") and event.count(b"data:") == 1:
        line = event[5:].partition(b"\n")[0].rstrip(b"\r")
        return line.removeprefix(b" ")
    lines = [line[5:].removeprefix(b" ") for line in re.split(rb"\r\n|\n|\r", event) if line.startswith(b"data:")]
    return b"\n".join(lines)
