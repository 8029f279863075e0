"""OpenAI's Realtime API: the worst case of one response, and of one transcript beside it."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from douane.core.charge import Unpriced
from douane.core.pricing.bounds.work import Bound, RowOf, Work, input_units
from douane.core.pricing.row import PriceRow
from douane.core.usage.tokens import Quantities

_LEAST_CONTEXT_TOKENS = 32_768
"""The window of `gpt-realtime`, which the price book rounds."""
_MOST_CONTEXT_TOKENS = 128_000
"""The largest window of a model of this API."""

MOST_SESSION_S = 3_600
"""A session ends after an hour, and with it whatever is heard in it."""


def response(body: Mapping[str, Any], body_bytes: bytes, row: PriceRow, row_of: RowOf) -> Bound | Unpriced:  # noqa: ARG001
    """The worst case of one response: a full window in, the longest answer out, both in their dearest kind."""
    window = min(max(row.context_tokens, _LEAST_CONTEXT_TOKENS), _MOST_CONTEXT_TOKENS)
    units = input_units(
        row,
        *("input_audio_tokens", "input_image_tokens", "output_audio_tokens"),
        *("cache_audio_read_tokens", "cache_image_read_tokens"),
    )
    return Bound((Work(window, min(row.max_output_tokens, window), units),), hidden_output=True)


def seconds(row: PriceRow, number: int) -> Quantities:
    """Seconds of speech under all names that a model's row prices them by: the one is part of the other."""
    return {unit: number for unit in ("audio_seconds", "input_audio_seconds") if unit in row.names}


def transcript_nano(row: PriceRow, percent: int) -> int | None:
    """The most that one transcript can cost; None where the model has no price for it."""
    if whole := seconds(row, MOST_SESSION_S):
        return row.charge_nano_ceiling(whole, percent=percent)
    window = min(row.context_tokens, _MOST_CONTEXT_TOKENS)
    longest = min(row.max_output_tokens, window)
    return row.bound_nano_ceiling(window, longest, input_units(row, "input_audio_tokens"), percent=percent)
