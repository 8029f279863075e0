"""One governed call, from its request to its single result."""

from __future__ import annotations

import asyncio
import secrets
import time
import uuid
from collections.abc import Callable
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Protocol

from douane.core.charge import Charge
from douane.core.decision import Principal
from douane.core.listener import Listener
from douane.core.request import RawRequest
from douane.core.tool import Classification
from douane.store.interface import Result

if TYPE_CHECKING:
    from douane.calls.socket import Socket


def new_call_id() -> str:
    """A UUID that rises with time (RFC 9562, version 7), so that the register's index grows at its end."""
    value = (time.time_ns() // 1_000_000 << 80) | secrets.randbits(80)
    value = value & ~(0xF << 76) | 0x7 << 76
    return str(uuid.UUID(int=value & ~(0x3 << 62) | 0x2 << 62))


class Meter(Protocol):
    """Reads a response as it passes; never raises."""

    def feed(self, chunk: bytes) -> bytes:
        """Take a chunk as the provider sent it; returns what goes to the client now."""

    def end(self) -> bytes:
        """The provider ended its body; returns what is still to forward."""

    def farewell(self) -> bytes | None:
        """An error event for the client where the response has to be cut here: it costs more than was reserved."""

    def charge(self, *, complete: bool) -> Charge:
        """The charge for what was seen."""


class Patience(Protocol):
    """Lets a call wait longer than a hook may: it tells its caller until when."""

    def extend(self, seconds: float) -> None:
        """The call may wait this long from now."""

    def restore(self) -> None:
        """The wait is over: the usual limit holds again."""


@dataclass(slots=True)
class Call:
    """A call on its way in."""

    call_id: str
    principal: Principal
    request: RawRequest
    patience: Patience
    gone: asyncio.Event
    """Set when the client left."""
    authentic: Callable[[], bool]
    """Whether the agent's key is still valid: calls wait, and keys end meanwhile."""
    classification: Classification | None = None
    request_digest: str | None = None
    started_ns: int = field(default_factory=time.monotonic_ns)


@dataclass(frozen=True, slots=True)
class Passage:
    """Leave for one request, byte for byte, to go upstream: its intent is durable."""

    call_id: str
    agent: str
    request: RawRequest
    """What may go: any rewriting is done."""
    classification: Classification
    effect: str
    rule: str
    receipt: str
    reserve_nano: int
    """The most that the call may cost."""
    model: str | None
    review_id: str | None
    meter: Callable[[int, tuple[tuple[bytes, bytes], ...]], Meter] | None
    """Makes the meter of a billable call from the response's status and headers."""
    rewrites_response: bool = False
    """True where usage is read from a stream whose client did not ask for it: it loses what only the meter wanted."""
    clamped_tokens: int | None = None
    """The answer's length where the request asks for less than its client did: no more was affordable."""
    budget_told: str | None = None
    """How far the spend was of the cap that is nearest, once it is past half of it."""
    warned_percent: int | None = None
    """The mark that spend passed with this call."""
    shares: bool = False
    """Whether other agents draw on a budget that the call is booked to."""
    assumed_nano: int = 0
    """Charged whatever the response says, for a call that cannot be metered."""
    listener: Listener | None = None
    """Reads what the response says about later calls, and changes nothing of it."""
    socket: Socket | None = None
    """The reservations of a WebSocket that is metered message by message."""


class OpenCall:
    """A call that has an intent and owes exactly one result."""

    def __init__(self, passage: Passage, settle: Callable[[Result, OpenCall], None], started_ns: int) -> None:
        self.passage = passage
        self.status: int | None = None
        self.response_bytes = 0
        self.started_ns = started_ns
        self.upstream_touched = False
        """True once the provider may have seen a byte of the request."""
        self.meter: Meter | None = None
        self.charge: Charge | None = None
        self._settle = settle
        self._finished = False

    @property
    def finished(self) -> bool:
        """Whether the one result is given."""
        return self._finished

    def respond(self, status: int, headers: tuple[tuple[bytes, bytes], ...]) -> None:
        """The provider answered; a billable call starts to be metered."""
        self.status = status
        if self.passage.listener is not None:
            self.passage.listener.start(status, headers)
        if self.passage.meter is not None:
            self.meter = self.passage.meter(status, headers)

    def finish(self, *, complete: bool, error: str | None = None) -> None:
        """Give the one result; whatever comes later is ignored.

        `complete` means that the provider's whole response was seen. Without it the charge is what the meter bounds it
        to, and the full reservation where the provider may have worked unseen.
        """
        if self._finished:
            return
        self._finished = True
        outcome = "completed" if complete else "aborted" if self.upstream_touched else "failed"
        self.charge = self._charge(complete=complete)
        self._settle(
            Result(
                call_id=self.passage.call_id,
                outcome=outcome,
                status=self.status,
                charge=self.charge,
                response_bytes=self.response_bytes,
                duration_us=(time.monotonic_ns() - self.started_ns) // 1000,
                error=error,
            ),
            self,
        )

    def _charge(self, *, complete: bool) -> Charge | None:
        passage = self.passage
        if passage.socket is not None:
            return passage.socket.end()
        if passage.meter is None and not passage.assumed_nano:
            return None
        if not self.upstream_touched:
            return Charge(0, None, method="released")
        if self.meter is not None:
            try:
                return self.meter.charge(complete=complete)
            except Exception:  # noqa: BLE001 - a meter must not raise; if it does, money errs on the safe side
                return Charge(passage.reserve_nano, None, estimated=True, method="full-reservation")
        return Charge(passage.reserve_nano, None, estimated=True, method="full-reservation")
