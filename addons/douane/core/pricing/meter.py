"""Meters one response: never raises, never holds back more than an incomplete event that has to be stripped."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import orjson

from douane.core.charge import Charge
from douane.core.decode import DecodeError, Decoder, Plain, decoder
from douane.core.pricing import apis
from douane.core.pricing.apis import Api
from douane.core.usage.framing import Framing
from douane.core.usage.members import MemberScanner
from douane.core.usage.openai_chat import OpenAIChat
from douane.core.usage.reader import Reader
from douane.core.usage.tokens import Quantities, Usage

if TYPE_CHECKING:
    from douane.core.pricing.book import Plan, PriceBook

KEPT_JSON_BYTES = 256 * 1024
"""Of a JSON answer that is kept and parsed at its end; of a larger one only some members are read, as it passes."""

MOST_DECODED_BYTES = 16 * 1024 * 1024
"""Of a compressed answer, though none is asked for; a larger one is charged at the full reservation."""

_FRAMINGS: dict[str, Framing] = {
    "text/event-stream": "sse",
    "application/vnd.amazon.eventstream": "aws",
    "application/x-ndjson": "lines",
    "application/jsonl": "lines",
    "application/x-jsonl": "lines",
    "application/stream+json": "lines",
}

MOST_PARTS = 256
"""Messages of a batch that are priced at a time."""

UNSEEN_TOKENS = 64
"""Generated beyond the last byte that was seen of an aborted stream."""


class ResponseMeter:
    """Reads the usage of one response as it passes."""

    def __init__(self, book: PriceBook, plan: Plan, status: int, headers: tuple[tuple[bytes, bytes], ...]) -> None:
        self._book = book
        self._plan = plan
        self._status = status
        self._blind = False
        """True once the response can no longer be read; it is passed on all the same."""
        kind, encoding = "", b""
        for name, value in headers:
            lower = name.lower()
            if lower == b"content-type":
                kind = value.decode("latin-1").partition(";")[0].strip().lower()
            elif lower == b"content-encoding":
                encoding += value
        framing = _FRAMINGS.get(kind) or (plan.api.streams_as if plan.stream else None)
        self._stream = framing is not None
        self._decoder: Decoder = Plain()
        if encoding:
            try:
                self._decoder = decoder(encoding.decode("latin-1"), MOST_DECODED_BYTES)
            except DecodeError:
                self._blind = True
        self._strips = plan.strip_usage and framing == "sse" and not self._blind and isinstance(self._decoder, Plain)
        self._reader: Reader = OpenAIChat(strip=True) if self._strips else plan.api.reader(framing or "sse")
        if self._reader.reads_head:
            self._reader.head({name.lower().decode("latin-1"): value.decode("latin-1") for name, value in headers})
        self._sends_events = framing == "sse" and isinstance(self._decoder, Plain)
        self._checked = self._reader.usage.parts
        """The usage that was last held against the reservation."""
        self._kept: bytearray | None = bytearray()
        self._scanner: MemberScanner | None = None
        self._charge: Charge | None = None
        self._priced: tuple[int, Quantities] | None = (0, {})
        """Price and quantities of parts that were let go of; None once some of them had no price."""

    def feed(self, chunk: bytes) -> bytes:
        """Take a chunk as sent; returns what goes to the client now."""
        if self._strips:
            return self._reader.feed(chunk)
        if not self._blind:
            try:
                self._read(self._decoder.feed(chunk))
            except Exception:  # noqa: BLE001 - whatever it is, the response goes on and the charge is the reservation
                self._blind = True
                self._kept = None
        return chunk

    def farewell(self) -> bytes | None:
        """An error event in the provider's shape where what it reported so far costs more than was reserved, or None.

        Only what the provider itself reports counts: no stream is cut for an estimate.
        """
        parts = self._reader.usage.parts
        if not self._stream or parts is self._checked:
            return None
        self._checked = parts
        try:
            outran = self._seen_nano(self._reader.usage) > self._plan.reserve_nano
        except Exception:  # noqa: BLE001 - the charge will say so, at the stream's end
            return None
        return error_event(self._plan.api) if outran and self._sends_events else b"" if outran else None

    def end(self) -> bytes:
        """The provider ended its body; returns what is still to forward."""
        if self._strips:
            return self._reader.end()
        if self._stream and not self._blind:
            self._reader.end()
        return b""

    def charge(self, *, complete: bool) -> Charge:
        """The charge for what was seen; once given it stays."""
        if self._charge is None:
            try:
                self._charge = self._settle(complete=complete)
            except Exception:  # noqa: BLE001 - a charge is owed whatever the response held
                plan = self._plan
                self._charge = Charge(plan.reserve_nano, plan.model, estimated=True, method="full-reservation")
        return self._charge

    def _read(self, data: bytes) -> None:
        if self._stream:
            self._reader.feed(data)
            if len(self._reader.usage.parts) >= MOST_PARTS:
                self._price_parts(self._reader.usage)
        elif self._scanner is not None:
            self._scanner.feed(data)
        elif self._kept is not None:
            self._kept += data
            if len(self._kept) > KEPT_JSON_BYTES:
                self._scanner = MemberScanner(*self._reader.members)
                self._scanner.feed(bytes(self._kept))
                self._kept = None

    def _settle(self, *, complete: bool) -> Charge:
        usage = self._usage()
        if self._plan.earlier is not None:
            return self._later(usage, complete=complete)
        if usage.pending and usage.response_id is not None and not usage.reported:
            return Charge(
                0, usage.model or self._plan.model, {}, method="deferred", response_id=usage.response_id, deferred=True
            )
        unseen = self._add_unseen_tools(usage)
        if (stated := self._book.stated_nano(self._plan, usage)) is not None and usage.reported:
            return self._charged(stated, usage, "stated")
        if usage.reported and usage.totals():  # nothing used for an answer would be free of charge in silence
            priced = self._book.charge_nano(self._plan, usage)
            if priced is None:
                return self._full("fallback", usage)
            amount, exact = priced
            exact = exact and not unseen
            return self._charged(amount, usage, "usage" if exact else "fallback", estimated=not exact)
        if self._status >= 400 and not usage.parts:
            return self._charged(0, usage, "released")
        if complete and self._plan.bound.exact:
            return self._charged(self._plan.reserve_nano, usage, "request")
        if complete:
            return self._full("pending" if usage.pending else "fallback", usage)
        return self._aborted(usage)

    def _later(self, usage: Usage, *, complete: bool) -> Charge:
        """What earlier work did cost; nothing where the answer does not tell all of it, or not yet."""
        self._price_parts(usage)
        told = complete and self._status < 400 and usage.reported and not usage.tools_unseen
        if not told or self._priced is None:
            return Charge(0, usage.model, method="released")
        amount, totals = self._priced
        return Charge(amount, usage.model, totals, response_id=self._plan.earlier, later=True)

    def _price_parts(self, usage: Usage) -> None:
        """Price what was read so far and let go of it: a batch has up to 100,000 messages."""
        if self._priced is None:
            return
        priced, totals = self._book.charge_nano(self._plan, usage), usage.totals()
        usage.parts = []
        if priced is None:
            self._priced = None
            return
        amount, earlier = self._priced
        for unit, quantity in earlier.items():
            totals[unit] = totals.get(unit, 0) + quantity
        self._priced = (amount + priced[0], totals)

    def _add_unseen_tools(self, usage: Usage) -> bool:
        """Charge the tools that may have run where the answer was too large to be read for their calls: at the most."""
        if not usage.tools_unseen or not usage.parts:
            return False
        quantities = usage.parts[0][1]
        unseen = {unit: times for unit, times in self._plan.bound.works[0].fees if not quantities.get(unit)}
        if any(work.model is not None for work in self._plan.bound.works[1:]) and len(usage.parts) == 1:
            unseen["images_unmeasured"] = 1  # has no price: the reservation counts
        quantities.update(unseen)
        return bool(unseen)

    def _usage(self) -> Usage:
        if self._stream or self._blind:
            return self._reader.usage
        if self._scanner is not None:
            self._reader.partly(self._scanner.members)
        elif self._kept:
            try:
                answer: Any = orjson.loads(self._kept)
            except orjson.JSONDecodeError:
                answer = None
            if isinstance(answer, dict):
                self._reader.whole(answer)
        return self._reader.usage

    def _seen_nano(self, usage: Usage) -> int:
        priced = self._book.charge_nano(self._plan, usage)
        return priced[0] if priced is not None else 0

    def _full(self, method: str, usage: Usage) -> Charge:
        return self._charged(max(self._plan.reserve_nano, self._seen_nano(usage)), usage, method, estimated=True)

    def _aborted(self, usage: Usage) -> Charge:
        """The response was cut. The usage so far is the floor; at least half a token was generated for each byte seen.

        Where the provider may have worked unseen the whole reservation counts.
        """
        plan = self._plan
        if not self._stream or self._blind or plan.bound.hidden_output:
            return self._full("full-reservation", usage)
        floor = self._seen_nano(usage)
        output = -(-self._reader.visible_bytes // 2) + UNSEEN_TOKENS
        if usage.parts:
            _, last = usage.parts[-1]
            last["output_tokens"] = max(last.get("output_tokens", 0), output)
            estimate = self._seen_nano(usage)
        else:
            estimate = self._book.worst_nano(plan, output) or plan.reserve_nano
        amount = max(floor, min(estimate, plan.reserve_nano))
        return self._charged(amount, usage, "aborted-floor", estimated=True)

    def _charged(self, amount_nano: int, usage: Usage, method: str, *, estimated: bool = False) -> Charge:
        model = usage.model or self._plan.model
        return Charge(amount_nano, model, usage.totals(), estimated, method, usage.response_id)


def error_event(api: Api) -> bytes:
    """The event that tells a client of the provider's SDK that the stream ends here, and why."""
    code, message = "cost_limit_exceeded", "The response cost more than was reserved for it and was cut by Douane."
    match api:
        case apis.MESSAGES:
            error: Any = {"type": "error", "error": {"type": code, "message": message}}
        case apis.RESPONSES:
            error = {"type": "error", "code": code, "message": message, "param": None, "sequence_number": 0}
        case apis.GEMINI:
            error = {"error": {"code": 403, "status": "PERMISSION_DENIED", "message": message}}
        case _:
            error = {"error": {"type": code, "code": code, "message": message, "param": None}}
    head = b"event: error\n" if "type" in error else b""
    return b"\n\n" + head + b"data: " + orjson.dumps(error) + b"\n\n"
