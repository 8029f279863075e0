"""The export script, run as it is: without a node it takes the store itself; whatever is wrong is one clear line."""

from __future__ import annotations

import csv
import os
import subprocess
import sys
from pathlib import Path

import pytest

from support.register import ROOT, Place, intent, tell_every_kind, until_settled

EXPORT, VERIFY = ROOT / "scripts" / "export_audit.py", ROOT / "scripts" / "verify_audit.py"


def run(*arguments: str | Path) -> subprocess.CompletedProcess[str]:
    return subprocess.run(
        [sys.executable, *map(str, arguments)], capture_output=True, text=True, timeout=60, check=False
    )


@pytest.fixture
async def place(tmp_path: Path) -> Place:
    place = Place(tmp_path / "home")
    async with place.opened() as store:
        await tell_every_kind(store, place.clock)
        await until_settled(store)
    return place


def test_it_exports_and_its_own_verifier_verifies(place: Place, tmp_path: Path) -> None:
    out = tmp_path / "bundle"
    done = run(EXPORT, "--home", place.root, "--out", out)
    assert done.returncode == 0, done.stderr
    assert f"--key {place.key()}" in done.stdout
    public = place.root / "register-key.pub"
    done = run(out / "verify.py", out, "--key", public)
    assert done.returncode == 0, done.stdout + done.stderr
    assert (out / "verify.py").read_bytes() == VERIFY.read_bytes()
    assert out.stat().st_mode & 0o077 == 0


def test_values_can_be_left_out(place: Place, tmp_path: Path) -> None:
    out = tmp_path / "bundle"
    assert run(EXPORT, "--home", place.root, out, "--without-values").returncode == 0
    assert not (out / "values.jsonl").exists()
    done = run(VERIFY, out, "--key", place.key())
    assert done.returncode == 0
    assert "0 match their commitments" in done.stdout


async def test_a_cell_is_no_formula(place: Place, tmp_path: Path) -> None:
    async with place.opened() as store:
        await store.admit(intent(tool="=HYPERLINK(1)"))
    assert run(EXPORT, "--home", place.root, tmp_path / "bundle").returncode == 0
    with (tmp_path / "bundle" / "records.csv").open(newline="") as file:
        tools = {row["tool"] for row in csv.DictReader(file)}
    assert "'=HYPERLINK(1)" in tools


def test_errors_are_one_line(place: Place, tmp_path: Path) -> None:
    out = tmp_path / "bundle"
    out.mkdir()
    for arguments, said in (
        (("--home", place.root, out), "is there already"),
        (("--home", tmp_path / "nowhere", tmp_path / "new"), "there is no register"),
    ):
        done = run(EXPORT, *arguments)
        assert (done.returncode, done.stderr.count("\n")) == (1, 1), done.stderr
        assert said in done.stderr


async def test_a_store_in_use_by_no_node_is_named(place: Place, tmp_path: Path) -> None:
    async with place.opened():
        done = run(EXPORT, "--home", place.root, tmp_path / "bundle")
        assert done.returncode == 1
        assert f"in use by process {os.getpid()}" in done.stderr
        done = run(EXPORT, "--home", place.root, tmp_path / "as-is", "--as-is")
        assert done.returncode == 0, done.stderr
    assert run(VERIFY, tmp_path / "as-is", "--key", place.key()).returncode == 0


def test_a_broken_store_is_exported_as_it_is(place: Place, tmp_path: Path) -> None:
    place.sql("UPDATE register SET bytes = zeroblob(9) WHERE seq = 5")
    done = run(EXPORT, "--home", place.root, tmp_path / "bundle")
    assert (done.returncode, "record 5" in done.stderr) == (1, True)
    assert run(EXPORT, "--home", place.root, tmp_path / "bundle", "--as-is").returncode == 0
    done = run(VERIFY, tmp_path / "bundle", "--key", place.key())
    assert (done.returncode, "record 5" in done.stdout) == (1, True)
