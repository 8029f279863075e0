"""What the stand-ins charge, whatever the product believes."""

from __future__ import annotations

import threading
from dataclasses import dataclass

NANO_PER_TOKEN = {
    "gpt-4o-mini": (150, 600),
    "gpt-4.1-mini": (400, 1_600),
    "gpt-4.1": (2_000, 8_000),
    "claude-haiku-4-5": (1_000, 5_000),
    "claude-sonnet-4-6": (3_000, 15_000),
    "text-embedding-3-small": (20, 0),
    "gemini-2.5-flash": (300, 2_500),
    "gemini-embedding-001": (150, 0),
    "mistral-medium-latest": (1_500, 7_500),
    "mistral-embed": (100, 0),
    "command-a-03-2025": (2_500, 10_000),
    "embed-v4.0": (120, 0),
    "llama-3.3-70b-versatile": (590, 790),
    "us.amazon.nova-lite-v1:0": (60, 240),
    "us.anthropic.claude-haiku-4-5-20251001-v1:0": (1_100, 5_500),
    "global.anthropic.claude-haiku-4-5-20251001-v1:0": (1_000, 5_000),
}
"""List prices, input and output, in nano-dollars a token."""


@dataclass(frozen=True, slots=True)
class Billed:
    """One line of the provider's bill."""

    key: str
    """The credential that pays."""
    model: str
    amount_nano: int


class Bill:
    """What a provider will charge, whatever the product believes."""

    def __init__(self) -> None:
        self._lock = threading.Lock()
        self._lines: list[Billed] = []
        self.input_tokens = 1_000
        self.output_tokens = 500

    def add(self, key: str, model: str, *, percent: int = 100) -> tuple[int, int]:
        """Book one answer at the usage in force; the usage. Models whose output costs nothing have none."""
        price = NANO_PER_TOKEN[model]
        usage = (self.input_tokens, self.output_tokens if price[1] else 0)
        with self._lock:
            self._lines.append(Billed(key, model, (usage[0] * price[0] + usage[1] * price[1]) * percent // 100))
        return usage

    def book(self, key: str, model: str, amount_nano: int) -> None:
        """Book one answer at a price of its own."""
        with self._lock:
            self._lines.append(Billed(key, model, amount_nano))

    def total_nano(self, key: str | None = None) -> int:
        """The sum so far, of all or of one credential."""
        with self._lock:
            return sum(line.amount_nano for line in self._lines if key in (None, line.key))

    def count(self) -> int:
        """How many answers were charged."""
        with self._lock:
            return len(self._lines)

    def clear(self) -> None:
        """A new month."""
        with self._lock:
            self._lines.clear()
        self.input_tokens, self.output_tokens = 1_000, 500
