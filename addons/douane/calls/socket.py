"""One metered WebSocket: each response on it is a call of its own, with an intent before it can begin and one result.

The socket's own intent reserves nothing. What `kill -9` leaves open is settled at start-up like any other call.
"""

from __future__ import annotations

import time
from collections import deque
from collections.abc import Awaitable, Callable
from dataclasses import dataclass, replace
from typing import Any, Protocol

import orjson

from douane.calls.agents import AGENT_UNKNOWN
from douane.calls.call import Call, new_call_id
from douane.core.charge import Charge
from douane.core.pricing.realtime import RealtimeMeter, Work
from douane.core.refusal import ReasonCode, Refusal
from douane.core.request.fields import read_json
from douane.core.usage.members import spans
from douane.store.interface import Intent, Result

PARSED_STRICTLY_BYTES = 256 * 1024
"""Of an event in which no member may stand twice; in a larger one, which is audio, none of the topmost."""

UNREADABLE = Refusal(
    ReasonCode.PROTOCOL_FORBIDDEN,
    "A message on the socket is no JSON object that can be read in one way only; the socket is closed.",
)
OUTRUN = Refusal(
    ReasonCode.COST_LIMIT_EXCEEDED,
    "The provider reported a higher charge than was set aside for one response; the socket is closed.",
)


class Admits(Protocol):
    """Reserves for one piece of a socket's work; `waits`: behind the agent's other calls, where that is enough."""

    def __call__(self, call: Call, intent: Intent, *, waits: bool) -> Awaitable[Intent | Refusal]:
        """Return the intent once it is durable, or why there is none."""


@dataclass(frozen=True, slots=True)
class _Part:
    call_id: str
    reserve_nano: int
    begun_ns: int


class Socket:
    """The reservations of one socket. Its methods are never called beside each other."""

    def __init__(
        self, call: Call, intent: Intent, meter: RealtimeMeter, admit: Admits, settle: Callable[[Result, Intent], None]
    ) -> None:
        self.call = call
        self.intent = intent
        self._meter = meter
        self._admit = admit
        self._settle = settle
        self._open: dict[Work, deque[_Part]] = {work: deque() for work in Work}
        self._unreserved_nano = 0
        """Charged without a reservation; goes into the socket's own result, as an overrun."""
        self._ended = False

    async def open(self) -> Refusal | None:
        """Reserve for the first response, before the handshake goes out."""
        return await self._reserve(Work.RESPONSE, 1)

    async def sent(self, content: bytes, *, is_text: bool) -> Refusal | None:
        """The agent sends a message: everything that it may set off is reserved now, or the refusal says why not."""
        if not self.call.authentic():
            return AGENT_UNKNOWN
        event = _event(content) if is_text else None
        if event is None:
            return UNREADABLE
        return self._meter.sent(event) or await self._cover()

    async def came(self, content: bytes, *, is_text: bool) -> Refusal | None:
        """The provider sent a message, which the agent gets in any case; a refusal cuts the socket behind it."""
        event = orjson.loads(content) if is_text else None
        if not isinstance(event, dict):
            return UNREADABLE
        charges, refusal = self._meter.came(event)
        for work, charge in charges:
            refusal = self._book(work, charge) or refusal
        if refusal is None and not self.call.authentic():
            return AGENT_UNKNOWN
        return refusal or await self._cover()

    @property
    def idle(self) -> bool:
        """Whether nothing is under way that would cost something."""
        return not any(self._meter.under_way(work) for work in Work)

    def end(self) -> Charge | None:
        """The socket is over: what was under way counts at its worst, the rest is given back. Returns what is left."""
        if self._ended:
            return None
        self._ended = True
        for work, parts in self._open.items():
            lost = self._meter.under_way(work)
            for part in parts:
                if lost > 0:
                    lost -= 1
                    self._give_result(part, "aborted", self._meter.lost(work, part.reserve_nano))
                else:
                    self._give_result(part, "failed", Charge(0, self._meter.model_of(work), method="released"))
            parts.clear()
        if not self._unreserved_nano:
            return None
        return Charge(self._unreserved_nano, self._meter.model, estimated=True, method="usage")

    def _book(self, work: Work, charge: Charge) -> Refusal | None:
        if not self._open[work]:
            self._unreserved_nano += charge.amount_nano
            return OUTRUN if charge.amount_nano else None
        part = self._open[work].popleft()
        self._give_result(part, "completed", charge)
        return OUTRUN if charge.amount_nano > part.reserve_nano else None

    async def _cover(self) -> Refusal | None:
        for work in Work:
            if (refusal := await self._reserve(work, self._meter.needed(work))) is not None:
                return refusal
        return None

    async def _reserve(self, work: Work, needed: int) -> Refusal | None:
        """Open reservations until there are as many as needed. Each is durable before the next step."""
        while len(self._open[work]) < needed:
            intent = _part_of(self.intent, self._meter.model_of(work), self._meter.worst_nano(work))
            # While something is under way on this very socket its end is read by whoever would wait here.
            admitted = await self._admit(self.call, intent, waits=not any(self._open.values()))
            if isinstance(admitted, Refusal):
                return admitted
            part = _Part(admitted.call_id, admitted.reserve_nano, time.monotonic_ns())
            if self._ended:  # the agent left meanwhile
                self._give_result(part, "failed", Charge(0, admitted.model, method="released"))
                return UNREADABLE
            self._open[work].append(part)
        return None

    def _give_result(self, part: _Part, outcome: str, charge: Charge) -> None:
        duration_us = (time.monotonic_ns() - part.begun_ns) // 1000
        self._settle(
            Result(call_id=part.call_id, outcome=outcome, status=None, charge=charge, duration_us=duration_us),
            self.intent,
        )


def _part_of(intent: Intent, model: str, reserve_nano: int) -> Intent:
    return replace(
        intent, call_id=new_call_id(), model=model, reserve_nano=reserve_nano, review_id=None, socket=intent.call_id
    )


def _event(content: bytes) -> dict[str, Any] | None:
    """A message as JSON; None for what is no object, or what two parsers could read differently."""
    try:
        if len(content) <= PARSED_STRICTLY_BYTES:
            event = read_json(content)
        else:
            event = orjson.loads(content)
            names = [name.casefold() for name, *_ in spans(content)]
            if len(set(names)) != len(names):
                return None
    except Exception:  # noqa: BLE001 - whatever is wrong with it, it is not sent
        return None
    return event if isinstance(event, dict) else None
