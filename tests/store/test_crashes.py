"""kill -9 and power loss at random points: nothing that was acknowledged is lost, nothing stays open, the chain holds.

`DOUANE_LONG=1` runs the 50 rounds of kills and 20 of power loss that a release is held to.
"""

from __future__ import annotations

import os
import random
import shutil
import struct
import subprocess
import sys
import threading
import time
from dataclasses import dataclass, field
from pathlib import Path

import pytest

from douane.core.review import ReviewState
from douane.store.clock import boot_us, wall_us
from douane.store.interface import StoreError
from support.register import ROOT, Place, records, script

pytestmark = pytest.mark.faults

LONG = bool(os.environ.get("DOUANE_LONG"))
KILLS = 50 if LONG else 4
POWER_CUTS = 20 if LONG else 4
LOAD = ROOT / "tests" / "support" / "store_load.py"
SHIM = ROOT / "tests" / "support" / "power_loss.c"
chance = random.Random(20_261_123)


@dataclass
class Told:
    """What killed processes had been told is durable."""

    intents: dict[str, tuple[int, str]] = field(default_factory=dict)
    reviews: set[str] = field(default_factory=set)

    def hear(self, line: str) -> None:
        match line.split():
            case ["intent", call, seq, digest]:
                self.intents[call] = (int(seq), digest)
            case ["review", review]:
                self.reviews.add(review)
            case ["ready"] | []:
                pass
            case _:
                raise AssertionError(line)


def run_and_kill(place: Place, number: int, told: Told, *mode: str, environment: dict[str, str] | None = None) -> None:
    """One process under load, killed at a random point after its start."""
    command = [sys.executable, str(LOAD), str(place.root), str(number), *mode]
    process = subprocess.Popen(
        command, stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True, env={**os.environ, **(environment or {})}
    )
    assert process.stdout is not None
    assert process.stderr is not None
    ready = process.stdout.readline()
    assert ready == "ready\n", process.stderr.read()
    lines: list[str] = []
    reader = threading.Thread(target=lambda: lines.extend(process.stdout))
    reader.start()
    time.sleep(chance.uniform(0.02, 0.4))  # the random point, not a synchronisation
    process.kill()
    process.wait()
    reader.join()
    error = process.stderr.read()
    assert "Traceback" not in error, error
    process.stdout.close()
    process.stderr.close()
    for line in lines:
        if line.endswith("\n"):
            told.hear(line)


async def assert_whole(place: Place, told: Told) -> None:
    """Everything acknowledged is stored as acknowledged; every intent has its one result; sums and chain hold."""
    async with place.opened(clock=wall_us, boot_clock=boot_us) as store:
        intents = {record["call_id"]: record for record in await records(store, kind="intent")}
        results = [record["call_id"] for record in await records(store, kind="result")]
        assert told.intents.keys() <= intents.keys(), f"lost: {sorted(told.intents.keys() - intents.keys())[:5]}"
        assert all(intents[call]["seq"] == seq for call, (seq, _) in told.intents.items())
        stored = {entry[0]: entry[1].hex() for entry in place.sql("SELECT seq, hash FROM register")}
        assert all(stored[seq] == digest for seq, digest in told.intents.values())
        assert sorted(results) == sorted(intents)
        reviews = {review.review_id: review.state for review in await store.reviews(limit=100_000)}
        assert told.reviews <= reviews.keys()
        assert ReviewState.DISPATCHING not in reviews.values()
    assert place.sql("SELECT coalesce(sum(reserved_nano), 0), (SELECT count(*) FROM open_call) FROM balance") == [
        (0, 0)
    ]
    shutil.rmtree(place.root / "bundle", ignore_errors=True)
    assert script("verify_audit").main([str(place.bundle()), "--key", place.key(), "--quiet"]) == 0


@pytest.mark.timeout(60 + 15 * KILLS)
async def test_kill_9_loses_nothing(tmp_path: Path) -> None:
    place, told = Place(tmp_path), Told()
    for number in range(KILLS):
        run_and_kill(place, number, told)
    assert len(told.intents) > 20 * KILLS
    await assert_whole(place, told)


@pytest.fixture(scope="session")
def shim(tmp_path_factory: pytest.TempPathFactory) -> Path:
    compiler = shutil.which("gcc") or shutil.which("cc")
    if compiler is None:
        if os.environ.get("CI"):
            pytest.fail("a C compiler is needed to simulate power loss")
        pytest.skip("no C compiler: power loss is not simulated")
    library = tmp_path_factory.mktemp("shim") / "power_loss.so"
    subprocess.run([compiler, "-O1", "-shared", "-fPIC", "-o", str(library), str(SHIM), "-ldl"], check=True)
    return library


def lose_power(place: Place, number: int, told: Told, shim: Path, *mode: str) -> int:
    """One process under load, killed; then all of the WAL that was never synced is cut off. Returns the bytes lost."""
    mark = place.root / "mark"
    wal = place.database.with_name("douane.db-wal")
    mark.write_bytes(struct.pack("qqq", *[wal.stat().st_size if wal.exists() else 0] * 2, 0))
    environment = {"LD_PRELOAD": str(shim), "POWER_LOSS_MARK": str(mark)}
    run_and_kill(place, number, told, *mode, environment=environment)
    synced, written, syncs = struct.unpack("qqq", mark.read_bytes())
    assert syncs > 0, "the shim saw nothing"
    assert wal.stat().st_size >= synced
    os.truncate(wal, synced)
    place.database.with_name("douane.db-shm").unlink()
    return int(written - synced)


@pytest.mark.timeout(60 + 15 * POWER_CUTS)
async def test_power_loss_loses_nothing(tmp_path: Path, shim: Path) -> None:
    place, told = Place(tmp_path), Told()
    for number in range(POWER_CUTS):
        lose_power(place, number, told, shim)
        await assert_whole(place, told)
    assert len(told.intents) > 20 * POWER_CUTS


@pytest.mark.timeout(120)
async def test_the_mutant_that_does_not_sync_is_caught(tmp_path: Path, shim: Path) -> None:
    place, told = Place(tmp_path), Told()
    lost = lose_power(place, 0, told, shim, "normal")
    assert lost > 0
    with pytest.raises((AssertionError, StoreError), match=r"lost: |but a head of \d+ was signed"):
        await assert_whole(place, told)
