"""A window's spend is exact to the microsecond among many charges (`DOUANE_LONG=1`: ten million)."""

from __future__ import annotations

import os
from pathlib import Path

from support.register import script

ROWS = 10_000_000 if os.environ.get("DOUANE_LONG") else 200_000


def test_windows_are_exact_to_the_microsecond(tmp_path: Path) -> None:
    filled = script("bench_ledger").Filled(tmp_path, ROWS)
    windows = filled.windows(5_000)
    assert [filled.settled(window) for window in windows] == [filled.summed(window) for window in windows]
    assert filled.settled(1) == 0
    assert filled.settled(2) == filled.totals[-1] - filled.totals[-2], "the last charge alone, one microsecond ago"
    filled.connection.close()
