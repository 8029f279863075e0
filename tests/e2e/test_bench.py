"""The bench runs: its figures are for people, a test only sees that it measures."""

from __future__ import annotations

import json
import subprocess
import sys
from pathlib import Path

import pytest

ROOT = Path(__file__).parents[2]


@pytest.mark.bench
@pytest.mark.alone
@pytest.mark.timeout(300)
def test_bench_measures_all_three(tmp_path: Path) -> None:
    result = tmp_path / "bench.json"
    command = [sys.executable, str(ROOT / "scripts" / "bench.py"), "--quick", "--growth", "400", "--json", str(result)]
    done = subprocess.run(command, capture_output=True, text=True, timeout=280, check=False)
    assert done.returncode == 0, done.stdout + done.stderr
    told = json.loads(result.read_text())
    assert told["fdatasync_ms"] > 0
    for work, systems in told["medians"].items():
        assert {"direct", "mitmdump", "douane"} <= systems.keys(), work
        assert systems["douane"]["rate"] > 0
        assert systems["douane"]["rate_to_mitmdump"] > 0.1
        assert systems["douane"]["rss_mib"] > 0
    assert told["growth"]["calls"] == 400
    assert len(told["targets"]) >= 3
