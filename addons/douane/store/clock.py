"""Two times from one place: ledger time, which only ever passes, and the time of day, which may be corrected.

Budgets and reviews run by ledger time: it follows the boot clock, so setting the wall clock forward empties no window
and expires nothing. Records carry the time of day; where that jumps, a `clock` record says by how much.
"""

from __future__ import annotations

import time
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path

STEP_US = 1_000_000
"""A wall clock this far from the boot clock has been set, not slewed."""

_BOOT_ID = Path("/proc/sys/kernel/random/boot_id")


def wall_us() -> int:
    """Time of day, µs since the epoch."""
    return time.time_ns() // 1000


def boot_us() -> int:
    """µs since the machine started, suspension included; setting the clock does not touch it."""
    return time.clock_gettime_ns(time.CLOCK_BOOTTIME) // 1000


def boot_id() -> str:
    """Names this run of the machine; empty where the system does not say."""
    try:
        return _BOOT_ID.read_text().strip()
    except OSError:
        return ""


@dataclass(frozen=True, slots=True)
class ClockState:
    """What of the clock outlives the process."""

    boot_id: str
    offset_us: int
    """Ledger time less boot time, while the machine has not restarted."""
    shift_us: int
    """Time of day less ledger time."""


class Clock:
    """The store's clock; `tick` once a transaction, then read."""

    def __init__(self, wall: Callable[[], int], boot: Callable[[], int], boot_id: str) -> None:
        self._wall, self._boot, self._boot_id = wall, boot, boot_id
        self._offset_us = self._shift_us = self.ledger_us = self.now_us = 0

    def resume(self, state: ClockState | None, last_ledger_us: int) -> None:
        """Go on where an earlier process stopped: seamlessly if the machine ran on, else by the wall clock."""
        self._shift_us = state.shift_us if state else 0
        if state and state.boot_id and state.boot_id == self._boot_id:
            self._offset_us = state.offset_us
            self.ledger_us = max(self._boot() + self._offset_us, last_ledger_us)
        else:
            self.ledger_us = max(self._wall() - self._shift_us, last_ledger_us)
            self._offset_us = self.ledger_us - self._boot()
        self.now_us = self.ledger_us + self._shift_us

    def tick(self) -> int:
        """Read the clocks; returns by how much (µs) the wall clock was set since the last tick, 0 if it was not."""
        self.ledger_us = max(self.ledger_us, self._boot() + self._offset_us)
        step = self._wall() - self.ledger_us - self._shift_us
        if -STEP_US <= step <= STEP_US:
            step = 0
        self._shift_us += step
        self.now_us = self.ledger_us + self._shift_us
        return step

    def glance(self) -> Clock:
        """A copy that shows this moment; the clock itself moves only with a transaction, in the writer's thread."""
        copy = Clock(self._wall, self._boot, self._boot_id)
        copy._offset_us, copy._shift_us, copy.ledger_us = self._offset_us, self._shift_us, self.ledger_us
        copy.tick()
        return copy

    @property
    def state(self) -> ClockState:
        """What to keep."""
        return ClockState(self._boot_id, self._offset_us, self._shift_us)

    def of_day(self, ledger_us: int) -> int:
        """The time of day at a ledger time, by the clock as it is set now."""
        return ledger_us + self._shift_us
