"""The tap on a response: counts, meters and hands on every chunk as it comes."""

from __future__ import annotations

import logging
from collections.abc import Callable, Iterable

from douane.calls.call import OpenCall

logger = logging.getLogger(__name__)


OUTRUN = "cut: the provider reported more than was reserved"


class Tap:
    """What mitmproxy calls with each chunk as the provider sent it, and with b"" at the end.

    It must never raise: mitmproxy would drop the chunk and go on. When the meter fails the response is cut instead, and
    the call settled at what it may have cost at most. Returns `[]` where nothing is to be sent, since an empty chunk
    would end a chunked body.
    """

    __slots__ = ("_call", "_cut", "_dead", "_hang_up")

    def __init__(self, call: OpenCall, cut: Callable[[], None], hang_up: Callable[[], None]) -> None:
        self._call = call
        self._cut = cut
        """Ends the client's connection at once."""
        self._hang_up = hang_up
        """Ends the provider's; what the client was sent still reaches it."""
        self._dead = False

    def __call__(self, data: bytes) -> bytes | Iterable[bytes]:
        """Take one chunk; returns what goes to the client now."""
        if self._dead:
            return []
        call = self._call
        call.response_bytes += len(data)
        if (listener := call.passage.listener) is not None:
            listener.feed(data)
        meter = call.meter
        if meter is None:
            return data or []
        try:
            if not data:
                return meter.end() or []
            sent = meter.feed(data)
            if (farewell := meter.farewell()) is not None:
                self._dead = True
                call.finish(complete=False, error=OUTRUN)
                self._hang_up()
                sent += farewell
            return sent or []
        except Exception:
            self._dead = True
            logger.exception("the meter of call %s failed; its response is cut", call.passage.call_id)
            call.finish(complete=False, error="meter failed")
            self._cut()
            return []
