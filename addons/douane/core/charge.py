"""What a model call may cost at worst, and what it did cost."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field


@dataclass(frozen=True, slots=True)
class Charge:
    """The price of one call, from its usage."""

    amount_nano: int
    model: str | None
    usage: Mapping[str, int] = field(default_factory=dict)
    """Measured quantities by unit (`input_tokens`, `output_tokens`, `cache_read_tokens`, …)."""
    estimated: bool = False
    """True when the provider did not report the usage; `method` says how it was bounded."""
    method: str = "usage"
    """`usage`, `stated`, `aborted-floor`, `full-reservation`, `released`, `fallback`, `request`, `deferred`."""
    response_id: str | None = None
    deferred: bool = False
    """The work goes on behind the response: what it costs comes with a later one, under the same `response_id`."""
    later: bool = False
    """What an earlier call deferred under this `response_id`; nothing is owed for one that is not known, or paid."""


@dataclass(frozen=True, slots=True)
class Estimate:
    """The worst case of a call that can be metered."""

    reserve_nano: int
    model: str


@dataclass(frozen=True, slots=True)
class Unpriced:
    """A billable call whose charge cannot be known beforehand."""

    model: str | None
    message: str
    """Names the model and the line of the price overlay to add, or says that the API is not metered yet."""
    provider: str | None = None
    """The price book's, where all that lacks is a price of the model."""
