#!/usr/bin/env python3
"""Measure the ledger: what one look at an agent's window costs among many charges, and whether it is exact.

    python scripts/bench_ledger.py [--rows N] [--json FILE]

Fills a database by the product's own schema, compares windows that begin on, before and after charges with plain sums,
and exits 1 where one differs by a nano-dollar or a look-up takes longer than its limit.
"""

from __future__ import annotations

import argparse
import json
import random
import sqlite3
import sys
import tempfile
import time
from array import array
from bisect import bisect_right
from collections.abc import Iterator
from pathlib import Path

from rich.progress import track

from douane.core.decision import Budget
from douane.store.ledger import Ledger
from douane.store.recovery import connect
from douane.store.schema import migrate

LIMIT_US = 20.0
LOOKUPS = 20_000
AT_ONCE = 100_000
AGENT = "spender"


class Filled:
    """A ledger with some number of charges of one agent, and the same charges as plain arrays."""

    def __init__(self, folder: Path, rows: int) -> None:
        self.times, self.totals = array("q"), array("q")
        self.connection: sqlite3.Connection = connect(folder / "douane.db")
        migrate(self.connection, 0)
        for at in track(range(0, rows, AT_ONCE), description="writing charges", transient=True):
            self.connection.execute("BEGIN")
            self.connection.executemany("INSERT INTO spend VALUES (?, ?, ?, ?, ?)", self._charges(at, rows))
            self.connection.execute("COMMIT")
        balance = (AGENT, self.totals[-1], 0, self.times[-1])
        self.connection.execute("INSERT INTO balance VALUES (?, ?, ?, ?)", balance)
        self.ledger = Ledger(self.connection)
        self.now = self.times[-1] + 1

    def _charges(self, at: int, rows: int) -> Iterator[tuple[str, int, int, int, int]]:
        ts, cum = (self.times[-1], self.totals[-1]) if self.times else (0, 0)
        for seq in range(at, min(at + AT_ONCE, rows)):
            ts += 1 + seq * 7_919 % 997  # often one microsecond after the last, never two at once
            amount = 1 + seq * 104_729 % 1_000_003
            cum += amount
            self.times.append(ts)
            self.totals.append(cum)
            yield AGENT, ts, amount, cum, seq

    def settled(self, window_us: int) -> int:
        """What the ledger says was spent in the window."""
        self.ledger.begin(self.now, ((AGENT, window_us),))
        return self.ledger.settled(AGENT, Budget(0, window_us))[0]

    def summed(self, window_us: int) -> int:
        """The same by the arrays: charges later than the window's start."""
        before = bisect_right(self.times, self.now - window_us)
        return self.totals[-1] - (self.totals[before - 1] if before else 0)

    def windows(self, number: int) -> list[int]:
        """Windows that begin at charges, one microsecond beside them, before the first and at the last."""
        chance = random.Random(7)
        starts = [chance.choice(self.times) + chance.choice((-1, 0, 1)) for _ in range(number)]
        return [self.now - start for start in (*starts, 0, self.times[0], self.times[-1], self.now)]


def measure(filled: Filled) -> tuple[int, float]:
    """(windows that are not exact, µs of one look-up: the best mean of five runs)."""
    wrong = sum(filled.settled(window) != filled.summed(window) for window in filled.windows(LOOKUPS))
    windows, best = filled.windows(LOOKUPS), float("inf")
    for _ in range(5):
        started = time.perf_counter()
        for window in windows:
            filled.settled(window)
        best = min(best, (time.perf_counter() - started) / len(windows))
    return wrong, best * 1e6


def main() -> None:
    """Measure, print, judge."""
    parser = argparse.ArgumentParser(description=(__doc__ or "").splitlines()[0])
    parser.add_argument("--rows", type=int, default=10_000_000, help="charges in the database (default 10,000,000)")
    parser.add_argument("--json", type=Path, help="write the figures to this file")
    options = parser.parse_args()
    with tempfile.TemporaryDirectory(prefix="douane-ledger-") as folder:
        wrong, lookup_us = measure(Filled(Path(folder), options.rows))
    print(f"{options.rows:,} charges: {wrong} of {LOOKUPS:,} windows differ, a look-up takes {lookup_us:.1f} µs")
    if options.json:
        found = {"rows": options.rows, "wrong": wrong, "lookup_us": lookup_us, "limit_us": LIMIT_US}
        options.json.write_text(json.dumps(found))
    sys.exit(1 if wrong or lookup_us > LIMIT_US else 0)


if __name__ == "__main__":
    main()
