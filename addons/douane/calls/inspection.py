"""Inspection: what one request is and may cost, read out of its bytes before anything is decided.

Small requests are read where they arrive. Reading a large one could take seconds and stall every other call, so it is
read by a process of its own, in turn with the other agents' large ones.
"""

from __future__ import annotations

import asyncio
import datetime
import weakref
from dataclasses import dataclass, replace
from pickle import UnpicklingError
from typing import Any

from douane.calls.call import Call
from douane.core.catalog import Catalog
from douane.core.charge import Unpriced
from douane.core.policy import Policy
from douane.core.pricing import Plan, PriceBook
from douane.core.refusal import RequestAmbiguous
from douane.core.request import CanonicalRequest, RawRequest, canonicalise, is_signed, request_digest
from douane.core.tool import Classification
from douane.edge import worker
from douane.edge.worker import Worker

INLINE_BYTES = 256 * 1024
INLINE_VALUES = 8_000
"""Of JSON, guessed by its commas and brackets: some 10 ms."""
INLINE_GRAPHQL_BYTES = 8 * 1024
"""A document costs some 4 µs a token."""
INLINE_PACK_BYTES = 32 * 1024
"""Of a push: what reading it may cost grows with its size, see `core.catalog.pack`."""
MOST_ARGUMENTS = 50_000
"""Values of all arguments: far above any real call, far below what would stall the loop."""
PATIENCE_S = 20.0


_PACK = b"PACK\0\0\0"
"""The beginning of any git pack."""
_DECIDES_ENCODING = frozenset({b"accept-encoding"})
_DECIDES_LENGTH = frozenset({b"accept-encoding", b"content-length", b"content-encoding", b"transfer-encoding"})


class TooLargeToInspect(Exception):
    """A request of which more would have to be read than Douane reads."""


@dataclass(frozen=True, slots=True)
class RuleSet:
    """Policy, catalog and prices that are in force together; a change replaces all three."""

    policy: Policy
    catalog: Catalog
    prices: PriceBook
    digest: str


@dataclass(frozen=True, slots=True)
class Inspection:
    """What was read out of one request before anything was decided."""

    request: CanonicalRequest
    classification: Classification
    plan: Plan | Unpriced | None
    forward: RawRequest
    """The request that may go upstream: with the rewritten body, where there is one."""
    digest: str

    def clamped(self, prices: PriceBook, raw: RawRequest, room_nano: int) -> Inspection | None:
        """The same request, asking for no more output than an amount affords; None where that would do harm."""
        request = self.request
        if not isinstance(self.plan, Plan) or is_signed(request) or request.media_type == "multipart/form-data":
            return None
        plan = prices.clamp(self.plan, self.request.body, room_nano)
        if plan is None:
            return None
        forward = _metered(raw, self.request, plan)
        return replace(self, plan=plan, forward=forward, digest=request_digest(forward))


def today() -> datetime.date:
    """The day whose prices hold."""
    return datetime.datetime.now(datetime.UTC).date()


def inspect(raw: RawRequest, catalog: Catalog, prices: PriceBook) -> Inspection:
    """Read one request: its plain form, its tool and how it would be charged; raises `RequestAmbiguous`."""
    request = canonicalise(raw)
    classification = catalog.classify(request)
    forward = raw
    plan = prices.plan(request, classification, today())
    if isinstance(plan, Plan):
        forward = _metered(raw, request, plan)
    return Inspection(request, classification, plan, forward, request_digest(forward))


def _metered(raw: RawRequest, request: CanonicalRequest, plan: Plan) -> RawRequest:
    """The request as it is sent where the response is to be read: plain encoding, and the plan's body."""
    if plan.api.is_socket:  # frames are read as they are, never inflated
        headers = [(name, value) for name, value in raw.headers if name.lower() != b"sec-websocket-extensions"]
        return RawRequest(raw.scheme, raw.host, raw.port, raw.method, raw.target, tuple(headers), raw.body)
    if is_signed(request):
        return raw
    body = raw.body if plan.body is None else plan.body
    changed = _DECIDES_ENCODING if plan.body is None else _DECIDES_LENGTH
    headers = [(name, value) for name, value in raw.headers if name.lower() not in changed]
    headers.append((b"Accept-Encoding", b"identity"))
    if plan.body is not None:
        headers.append((b"Content-Length", b"%d" % len(body)))
    return RawRequest(raw.scheme, raw.host, raw.port, raw.method, raw.target, tuple(headers), body)


def is_small(raw: RawRequest) -> bool:
    """Whether reading a request cannot take long."""
    body = raw.body
    if not body:
        return True
    if len(body) > (INLINE_GRAPHQL_BYTES if b"graphql" in raw.target else INLINE_BYTES):
        return False
    if len(body) > INLINE_PACK_BYTES and _PACK in body:
        return False
    if any(name.lower() == b"content-encoding" for name, _ in raw.headers):
        return False
    return len(body) <= INLINE_VALUES or body.count(b",") + body.count(b"{") + body.count(b"[") <= INLINE_VALUES


class Inspector:
    """Reads the requests of one node; the process for large ones starts when it is first needed."""

    def __init__(self) -> None:
        self._worker: Worker | None = None
        self._digest = ""
        self._lane = asyncio.Lock()
        self._turns: weakref.WeakValueDictionary[str, asyncio.Lock] = weakref.WeakValueDictionary()

    async def inspect(self, call: Call, rules: RuleSet) -> Inspection:
        """Raises `RequestAmbiguous`, `TooLargeToInspect`."""
        if is_small(call.request):
            return inspect(call.request, rules.catalog, rules.prices)
        agent = call.principal.name
        turn = self._turns.setdefault(agent, asyncio.Lock())
        call.patience.extend(10 * PATIENCE_S)
        try:
            # An agent has one request in the lane at most, so nobody waits behind all of another's.
            async with turn, self._lane:
                return await self._large(call.request, rules)
        finally:
            call.patience.restore()

    async def _large(self, raw: RawRequest, rules: RuleSet) -> Inspection:
        if self._worker is None or self._digest != rules.digest or not self._worker.alive:
            self.close()
            self._worker = await asyncio.to_thread(Worker, __name__, (rules.catalog, rules.prices))
            self._digest = rules.digest
        answer: Inspection | Exception | None = None
        try:
            answer = await asyncio.wait_for(asyncio.to_thread(self._worker.ask, raw, raw.body), PATIENCE_S)
        except (TimeoutError, OSError, EOFError, UnpicklingError):
            raise TooLargeToInspect from None
        finally:
            if answer is None:  # an exchange that was left in the middle; its thread ends with the process
                self.close()
        if isinstance(answer, Exception):
            raise answer
        assert answer is not None
        return answer

    def close(self) -> None:
        """End the process."""
        if self._worker is not None:
            self._worker.kill()
            self._worker = None


def serve() -> None:
    """The process for large requests."""
    worker.serve(_inspect_large, lambda raw: raw.body)


def _inspect_large(raw: RawRequest, rules: tuple[Catalog, PriceBook]) -> Inspection | Exception:
    try:
        found = inspect(raw, *rules)
        if not _fits(found.classification.arguments, MOST_ARGUMENTS):
            return TooLargeToInspect()
    except RequestAmbiguous as trap:
        return trap
    except (MemoryError, RecursionError):
        return TooLargeToInspect()
    return found


def _fits(value: Any, room: int) -> bool:
    """Whether a tree has no more than so many values."""
    left = [value]
    while left:
        room -= 1
        if room < 0:
            return False
        last = left.pop()
        if isinstance(last, dict):
            left += last.values()
        elif isinstance(last, list | tuple):
            if len(last) > room:
                return False
            left += last
    return True
