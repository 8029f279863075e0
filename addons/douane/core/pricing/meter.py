"""Meters one response: never raises, never holds back more than an incomplete event that has to be stripped."""

from __future__ import annotations

from typing import TYPE_CHECKING

from douane.core.charge import Charge
from douane.core.decode import DecodeError, Decoder, Plain, decoder
from douane.core.usage.anthropic import AnthropicMessages
from douane.core.usage.openai_chat import OpenAIChat
from douane.core.usage.tokens import Measured, Usage

if TYPE_CHECKING:
    from douane.core.pricing.book import Plan, PriceBook

MOST_JSON_BYTES = 32 * 1024 * 1024
"""Of a JSON response that is kept to be read; a larger one is charged at the full reservation."""


class ResponseMeter:
    """Reads the usage of one response as it passes."""

    def __init__(self, book: PriceBook, plan: Plan, status: int, headers: tuple[tuple[bytes, bytes], ...]) -> None:
        self._book = book
        self._plan = plan
        self._status = status
        values = {name.lower(): value for name, value in headers}
        self._stream = values.get(b"content-type", b"").strip().lower().startswith(b"text/event-stream")
        encoding = values.get(b"content-encoding", b"").decode("latin-1")
        self._blind = False
        """True once the response can no longer be read; it is passed on all the same."""
        self._decoder: Decoder = Plain()
        try:
            self._decoder = decoder(encoding, MOST_JSON_BYTES if not self._stream else 2**40)
        except DecodeError:
            self._blind = True
        strip = plan.strip_usage and self._stream and isinstance(self._decoder, Plain)
        self._strip = strip
        self._reader: OpenAIChat | AnthropicMessages = (
            OpenAIChat(stream=self._stream, strip=strip)
            if plan.api == "openai.chat"
            else AnthropicMessages(stream=self._stream)
        )
        self._json = bytearray()

    def feed(self, chunk: bytes) -> bytes:
        """Take a chunk as sent; returns what goes to the client now."""
        if self._blind:
            return chunk
        try:
            plain = self._decoder.feed(chunk)
            if self._stream:
                passed = self._reader.feed(plain)
                return passed if self._strip else chunk
            self._json += plain
            if len(self._json) > MOST_JSON_BYTES:
                self._blind = True
                self._json.clear()
        except Exception:  # noqa: BLE001 - whatever it is, the response goes on and the charge is the reservation
            self._blind = True
        return chunk

    def end(self) -> bytes:
        """The provider ended its body; returns what is still to forward."""
        return self._reader.end() if self._strip and not self._blind else b""

    def charge(self, *, complete: bool) -> Charge:
        """The charge for what was seen."""
        usage = self._usage()
        if usage.reported and not self._blind:
            amount = self._book.charge_nano(self._plan, usage)
            if amount is not None:
                return Charge(amount, usage.model or self._plan.model, _totals(usage), False, "usage", usage.response_id)
            return self._full("fallback", usage)
        if self._status >= 400 and not usage.parts:
            return Charge(0, self._plan.model, method="released")
        if complete:
            return self._full("fallback", usage)
        return self._aborted(usage)

    def _usage(self) -> Usage:
        if not self._stream and not self._blind and self._json:
            try:
                self._reader.whole(bytes(self._json))
            except (ValueError, RecursionError):
                self._blind = True
            self._json.clear()
        return self._reader.usage

    def _full(self, method: str, usage: Usage) -> Charge:
        seen = self._book.charge_nano(self._plan, usage) or 0
        return Charge(
            max(self._plan.reserve_nano, seen), usage.model or self._plan.model, _totals(usage), True, method, usage.response_id
        )

    def _aborted(self, usage: Usage) -> Charge:
        """The client left in mid-stream. The usage so far is the floor; what was generated unseen is unknown.

        For models that reason unseen the whole reservation counts. For others at least half a token a visible byte.
        """
        if not self._stream or self._blind or not usage.parts or may_reason(usage.model or self._plan.model):
            return self._full("full-reservation", usage)
        output = -(-self._reader.visible_bytes // 2) + 64
        floor = [
            (model, _with_output(quantities, output if index == len(usage.parts) - 1 else 0))
            for index, (model, quantities) in enumerate(usage.parts)
        ]
        usage.parts = floor
        amount = self._book.charge_nano(self._plan, usage)
        if amount is None:
            return self._full("full-reservation", usage)
        amount = min(amount, max(self._plan.reserve_nano, 0)) if amount > self._plan.reserve_nano else amount
        return Charge(amount, usage.model or self._plan.model, _totals(usage), True, "aborted-floor", usage.response_id)


def _with_output(quantities: Measured, at_least: int) -> Measured:
    quantities.output_tokens = max(quantities.output_tokens, at_least)
    return quantities


def may_reason(model: str) -> bool:
    """Whether a model may generate tokens that no one sees."""
    name = model.rpartition("/")[2]
    return not name.startswith(("gpt-4o", "gpt-4.1", "gpt-4-", "gpt-3.5", "chatgpt-4o", "claude-3-haiku", "claude-3-5", "claude-3-opus"))


def _totals(usage: Usage) -> dict[str, int]:
    totals: dict[str, int] = {}
    for _, quantities in usage.parts:
        for name, value in quantities.units().items():
            totals[name] = totals.get(name, 0) + value
    return totals
