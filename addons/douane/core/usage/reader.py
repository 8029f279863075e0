"""What all readers share: a response, whole or in events of any framing, read as it passes and never held back."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

import orjson

from douane.core.usage.framing import Framing, splitter
from douane.core.usage.members import MemberScanner
from douane.core.usage.sse import Piece
from douane.core.usage.tokens import Usage


class Reader:
    """Reads one response and changes nothing about it. What it cannot read counts as visible bytes."""

    members: tuple[str, ...] = ()
    """What is read of a JSON answer, or event, that is too large to keep."""
    level = 1
    """How deep these members stand in an event."""
    reads_head = False
    """Whether the response's headers tell of its usage."""
    tool_member = ""
    """The member that shows which tools the provider ran."""

    def __init__(self, framing: Framing = "sse") -> None:
        self._splitter = splitter(framing)
        self._scanner: MemberScanner | None = None
        """Reads an event that is too large to keep."""
        self.usage = Usage()
        self.visible_bytes = 0
        """Of the answer as far as it came."""

    def feed(self, data: bytes) -> bytes:
        """Read a chunk of a stream; returns what goes to the client."""
        for piece in self._splitter.feed(data):
            self._piece(piece)
        return data

    def end(self) -> bytes:
        """The stream is over; returns what is still to send."""
        self._piece(self._splitter.rest())
        self._large_event_ends()
        return b""

    def whole(self, answer: Mapping[str, Any]) -> None:
        """Read a JSON answer, or what was read of one."""
        raise NotImplementedError

    def partly(self, members: Mapping[str, Any]) -> None:
        """Read the members of an answer, or event, that was too large to keep."""
        if self.tool_member not in members:
            self.usage.tools_unseen = bool(self.tool_member)
        self.whole(members)

    def head(self, headers: Mapping[str, str]) -> None:
        """Read the response's headers, by their names in lower case."""

    def event(self, event: Mapping[str, Any]) -> None:
        """Read one event of a stream."""
        self.whole(event)

    def _piece(self, piece: Piece) -> None:
        if not piece.whole:
            self.visible_bytes += len(piece.data)
            if self._scanner is None:
                self._scanner = MemberScanner(*self.members, level=self.level)
            self._scanner.feed(piece.data)
            return
        self._large_event_ends()
        try:
            self.read(self._splitter.payload(piece.data))
        except Exception:  # noqa: BLE001 - an event that cannot be read goes on as it came
            self.visible_bytes += len(piece.data)

    def read(self, payload: bytes) -> None:
        """Read the JSON that an event carries; raises whatever is wrong with it."""
        if payload[:1] == b"{":
            self.event(orjson.loads(payload))

    def _large_event_ends(self) -> None:
        scanner, self._scanner = self._scanner, None
        if scanner is None or not scanner.members:
            return
        try:
            self.partly(scanner.members)
        except Exception:  # noqa: BLE001 - as above
            return


def size(value: Any) -> int:
    """Bytes of an answer's text, or of anything else that stands in its place."""
    if isinstance(value, str):
        return len(value.encode("utf-8", "replace"))
    return len(orjson.dumps(value)) if value else 0
