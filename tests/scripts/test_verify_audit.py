"""The other pair of eyes: every change to a bundle is found and named, and what is not proven is said."""

from __future__ import annotations

import json
import shutil
import subprocess
import sys
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import pytest
from blake3 import blake3

from douane.core.record import Kind, record_hash
from douane.store.interface import Admitted
from support.register import ROOT, Place, completed, intent, script, tell_every_kind, until_settled

verifier = script("verify_audit")
VERIFIED, TAMPERED, INCOMPLETE, NO_TRUSTED_KEY = 0, 1, 2, 3


@pytest.fixture
async def place(tmp_path: Path) -> Place:
    """A register with a record of every kind, stopped and exported."""
    place = Place(tmp_path)
    async with place.opened(boot_clock=place.clock) as store:
        await tell_every_kind(store, place.clock)
        await store._do(lambda engine: engine.append(Kind.ERASE, {"by": "operator", "record": 2, "name": "arguments"}))
        await store._do(lambda engine: engine.append(Kind.PRUNE, {"before": 0}))
        await store._do(lambda engine: engine.append(Kind.CLOCK, {"step_us": 5, "ledger_us": 7}))
        await until_settled(store)
    place.bundle()
    return place


def run(bundle: Path, key: str | None, capsys: pytest.CaptureFixture[str], *more: str) -> tuple[int, str]:
    arguments = [str(bundle), "--quiet", *more]
    code = verifier.main([*arguments, "--key", key] if key else arguments)
    return code, capsys.readouterr().out


def lines_of(bundle: Path) -> list[bytes]:
    return (bundle / "records.jsonl").read_bytes().splitlines()


def rewritten(bundle: Path, lines: list[bytes]) -> Path:
    (bundle / "records.jsonl").write_bytes(b"".join(line + b"\n" for line in lines))
    return bundle


def write(record: dict[str, Any]) -> bytes:
    return json.dumps(record, ensure_ascii=False, sort_keys=True, separators=(",", ":")).encode()


def leaves(value: Any, path: tuple[Any, ...] = ()) -> Iterator[tuple[Any, ...]]:
    match value:
        case dict():
            for name, member in value.items():
                yield from leaves(member, (*path, name))
        case list() if value:
            for number, member in enumerate(value):
                yield from leaves(member, (*path, number))
        case _:
            yield path


def mutated(record: dict[str, Any], path: tuple[Any, ...]) -> dict[str, Any]:
    changed: dict[str, Any] = json.loads(json.dumps(record))
    at: Any = changed
    for step in path[:-1]:
        at = at[step]
    value = at[path[-1]]
    match value:
        case bool():
            at[path[-1]] = not value
        case int():
            at[path[-1]] = value + 1
        case str():
            at[path[-1]] = ("0" if value[:1] != "0" else "1") + value[1:]
        case _:
            at[path[-1]] = ["x"]
    return changed


def rechained(lines: list[bytes], start: int) -> list[bytes]:
    """What someone does who knows the format, but not the key."""
    lines = list(lines)
    for number in range(start + 1, len(lines)):
        record = json.loads(lines[number])
        record["prev"] = record_hash(lines[number - 1])
        lines[number] = write(record)
    return lines


def test_an_untouched_bundle_verifies(place: Place, capsys: pytest.CaptureFixture[str]) -> None:
    code, out = run(place.root / "bundle", place.key(), capsys)
    assert code == VERIFIED, out
    assert "key pinned" in out
    assert "not proven" in out
    kinds = json.loads((place.root / "bundle" / "manifest.json").read_text())["kinds"]
    assert set(kinds) == {kind.value for kind in Kind} - {"gap"}


def test_a_leaf_changed_in_any_kind_of_record_is_found_and_named(
    place: Place, capsys: pytest.CaptureFixture[str]
) -> None:
    bundle, key = place.root / "bundle", place.key()
    lines = lines_of(bundle)
    tried = 0
    for number, line in enumerate(lines):
        record = json.loads(line)
        for path in leaves(record):
            changed = [*lines[:number], write(mutated(record, path)), *lines[number + 1 :]]
            code, out = run(rewritten(bundle, changed), key, capsys)
            assert code == TAMPERED, (record["kind"], path, out)
            assert f"record {number}" in out, (record["kind"], path, out)
            code, out = run(rewritten(bundle, rechained(changed, number)), key, capsys)
            assert code == TAMPERED, (record["kind"], path, out)
            tried += 1
    assert tried > 300


def test_a_member_added_or_taken_away_is_found(place: Place, capsys: pytest.CaptureFixture[str]) -> None:
    bundle, key = place.root / "bundle", place.key()
    lines = lines_of(bundle)
    for number, line in enumerate(lines):
        record = json.loads(line)
        for changed in ({**record, "zz": 1}, *({k: v for k, v in record.items() if k != name} for name in record)):
            code, out = run(rewritten(bundle, [*lines[:number], write(changed), *lines[number + 1 :]]), key, capsys)
            assert code == TAMPERED, out
            assert f"record {number}" in out


@pytest.mark.parametrize("redone", [False, True], ids=["as it is", "chained anew"])
def test_deleting_inserting_reordering_and_cutting_are_found_and_named(
    place: Place, capsys: pytest.CaptureFixture[str], redone: bool
) -> None:
    bundle, key = place.root / "bundle", place.key()
    for repeated in ("records.csv", "manifest.json"):
        (bundle / repeated).unlink()
    lines = lines_of(bundle)
    last = len(lines) - 1
    for number in range(len(lines)):
        attacks = {
            "delete": [*lines[:number], *lines[number + 1 :]],
            "insert": [*lines[:number], lines[number], *lines[number:]],
            "cut": lines[:number],
        }
        if number < last:
            attacks["swap"] = [*lines[:number], lines[number + 1], lines[number], *lines[number + 2 :]]
        for name, changed in attacks.items():
            if redone:
                renumbered = [write(json.loads(line) | {"seq": at}) for at, line in enumerate(changed)]
                changed = rechained(renumbered, max(0, number - 1)) if renumbered else []
            code, out = run(rewritten(bundle, changed), key, capsys)
            appended = name == "insert" and number == last and redone
            assert code == (INCOMPLETE if appended else TAMPERED), (name, number, out)
            if not redone:
                wanted = number + 1 if name == "insert" else number
                assert f"record {wanted}" in out or f"records {wanted} to" in out, (name, number, out)


def test_a_register_written_anew_with_another_key_is_found(
    place: Place, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    other = Place(tmp_path / "other")
    (other.root / "private").mkdir(parents=True)
    other_key = other.key()
    code, out = run(place.root / "bundle", other_key, capsys)
    assert code == TAMPERED
    assert "not signed by" in out


def test_a_value_or_salt_changed_is_found_and_named(place: Place, capsys: pytest.CaptureFixture[str]) -> None:
    bundle, key = place.root / "bundle", place.key()
    path = bundle / "values.jsonl"
    values = path.read_bytes().splitlines()
    assert len(values) > 8
    for number, line in enumerate(values):
        value = json.loads(line)
        for leaf in leaves(value):
            path.write_bytes(b"\n".join([*values[:number], write(mutated(value, leaf)), *values[number + 1 :], b""]))
            code, out = run(bundle, key, capsys)
            assert code == TAMPERED, (value, leaf, out)
        path.write_bytes(b"\n".join([*values[:number], *values[number + 1 :], b""]))
        code, out = run(bundle, key, capsys)
        assert code == VERIFIED, "an erased value leaves the chain whole"
        assert "1 withheld or erased" in out


def test_what_people_read_of_it_is_checked(place: Place, capsys: pytest.CaptureFixture[str]) -> None:
    bundle = place.root / "bundle"
    table, manifest = bundle / "records.csv", bundle / "manifest.json"
    rows = table.read_text().splitlines(keepends=True)
    for number in (1, len(rows) // 2, len(rows) - 1):
        changed = rows[number].replace(",", ",x", 1)
        for wrong in ([*rows[:number], changed, *rows[number + 1 :]], [*rows[:number], *rows[number + 1 :]]):
            table.write_text("".join(wrong))
            code, out = run(bundle, place.key(), capsys)
            assert (code, f"records.csv: the row of record {number - 1} " in out) == (TAMPERED, True), out
    table.write_text("".join([*rows, rows[-1]]))
    assert "records.csv: rows after" in run(bundle, place.key(), capsys)[1]
    table.write_text("".join(rows))
    told = json.loads(manifest.read_text())
    for name in ("origin", "size", "first", "last", "kinds", "agents", "gaps"):
        manifest.write_text(json.dumps(told | {name: "other"}))
        code, out = run(bundle, place.key(), capsys)
        assert (code, f"manifest.json: its `{name}`" in out) == (TAMPERED, True), out
    table.unlink()
    manifest.unlink()
    assert run(bundle, place.key(), capsys)[0] == 0


def test_heads_and_policies_are_checked(place: Place, capsys: pytest.CaptureFixture[str]) -> None:
    bundle, key = place.root / "bundle", place.key()
    heads = (bundle / "checkpoints.txt").read_text()
    (bundle / "checkpoints.txt").write_text(heads.replace("\n4\n", "\n5\n", 1).replace("\n2\n", "\n3\n", 1))
    assert run(bundle, key, capsys)[0] == TAMPERED
    (bundle / "checkpoints.txt").write_text("nonsense\n")
    code, out = run(bundle, key, capsys)
    assert (code, "line 1" in out) == (TAMPERED, True)
    (bundle / "checkpoints.txt").write_text("")
    code, out = run(bundle, key, capsys)
    assert (code, "a signed head" in out) == (INCOMPLETE, True)
    (bundle / "checkpoints.txt").write_text(heads)
    (policy,) = (bundle / "policies").iterdir()
    text = policy.read_text()
    policy.write_text(text + " ")
    code, out = run(bundle, key, capsys)
    assert (code, policy.name in out) == (TAMPERED, True)
    policy.unlink()
    code, out = run(bundle, key, capsys)
    assert (code, "the policy of record" in out) == (INCOMPLETE, True)


def test_a_head_kept_outside_shows_what_was_cut_with_its_head(place: Place, capsys: pytest.CaptureFixture[str]) -> None:
    bundle, key = place.root / "bundle", place.key()
    kept = place.root / "kept.txt"
    shutil.copy(place.private / "register.head", kept)
    first = (bundle / "checkpoints.txt").read_text().partition("\n\ndouane")[0] + "\n"
    size = int(first.split("\n")[1])
    (bundle / "checkpoints.txt").write_text(first)
    rewritten(bundle, lines_of(bundle)[:size])
    for name in ("values.jsonl", "records.csv", "manifest.json"):
        (bundle / name).unlink()
    assert run(bundle, key, capsys)[0] == VERIFIED, "an older state, whole in itself"
    code, out = run(bundle, key, capsys, "--head", str(kept))
    assert (code, "were cut off" in out) == (TAMPERED, True)


def test_a_receipt_is_held_against_its_record(place: Place, capsys: pytest.CaptureFixture[str]) -> None:
    bundle, key = place.root / "bundle", place.key()
    number = 5
    receipt = f"{number}/{record_hash(lines_of(bundle)[number])}"
    assert run(bundle, key, capsys, "--receipt", receipt)[0] == VERIFIED
    code, out = run(bundle, key, capsys, "--receipt", f"{number}/{'0' * 64}")
    assert (code, f"record {number} is not the one" in out) == (TAMPERED, True)
    code, out = run(bundle, key, capsys, "--receipt", f"9999/{'0' * 64}")
    assert (code, "record 9999, for which" in out) == (INCOMPLETE, True)
    assert run(bundle, key, capsys, "--receipt", "nonsense")[0] == INCOMPLETE


def test_without_the_pinned_key_nothing_is_proven(place: Place, capsys: pytest.CaptureFixture[str]) -> None:
    bundle = place.root / "bundle"
    code, out = run(bundle, None, capsys)
    assert code == NO_TRUSTED_KEY
    assert "proves nothing" in out
    assert run(bundle, "not-a-file", capsys)[0] == NO_TRUSTED_KEY
    assert run(bundle, "a+b+c", capsys)[0] == NO_TRUSTED_KEY


GARBAGE: dict[str, Callable[[Path], object]] = {
    "no records": lambda bundle: (bundle / "records.jsonl").unlink(),
    "binary records": lambda bundle: (bundle / "records.jsonl").write_bytes(bytes(range(256)) * 9),
    "an endless line": lambda bundle: (bundle / "records.jsonl").write_bytes(b"{" * 200_000),
    "deep nesting": lambda bundle: (bundle / "records.jsonl").write_bytes(b"[" * 60_000 + b"]" * 5_000 + b"\n"),
    "a list": lambda bundle: (bundle / "records.jsonl").write_bytes(b"[]\n"),
    "a number": lambda bundle: (bundle / "records.jsonl").write_bytes(b"9" * 5000 + b"\n"),
    "an empty line": lambda bundle: (bundle / "records.jsonl").write_bytes(b"\n"),
    "binary heads": lambda bundle: (bundle / "checkpoints.txt").write_bytes(b"\xff\xfe"),
    "binary values": lambda bundle: (bundle / "values.jsonl").write_bytes(b"\xff\xfe\n"),
    "odd values": lambda bundle: (bundle / "values.jsonl").write_bytes(b'{"seq":[],"name":1,"salt":2,"value":{}}\n'),
    "no keys": lambda bundle: (bundle / "keys").unlink(),
}


@pytest.mark.parametrize("spoil", GARBAGE.values(), ids=GARBAGE.keys())
@pytest.mark.parametrize("pinned", [True, False])
def test_garbage_is_answered_without_a_traceback(
    place: Place, capsys: pytest.CaptureFixture[str], spoil: Callable[[Path], object], pinned: bool
) -> None:
    bundle = place.root / "bundle"
    spoil(bundle)
    code, out = run(bundle, place.key() if pinned else None, capsys)
    assert code in {VERIFIED, TAMPERED, INCOMPLETE, NO_TRUSTED_KEY}
    assert out.strip()


async def test_what_the_records_tell_must_add_up(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    """Records of a node that is wrong (or of a key holder who invents): sound chain, sound heads, impossible story."""
    for number, (kind, body) in enumerate(
        {
            Kind.RESULT: {"call_id": "none", "intent": 0, "outcome": "completed"},
            Kind.VERDICT: {"review_id": "none", "reviewer": "rita", "outcome": "approved"},
            Kind.EXPIRY: {"review_id": "none"},
            Kind.ADJUST: {"call_id": "none", "reserve_nano": 0, "charge_nano": 5, "ledger_us": 1},
            Kind.INTENT: {"call_id": "x", "review_id": "none", "reserve_nano": 0},
        }.items()
    ):
        place = Place(tmp_path / str(number))
        async with place.opened() as store:
            await store._do(lambda engine, kind=kind, body=body: engine.append(kind, dict(body), agent="worker"))
        code, out = run(place.bundle(), place.key(), capsys)
        assert (code, "record 2" in out) == (TAMPERED, True), (kind, out)


async def test_a_declared_gap_is_incomplete(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    place = Place(tmp_path)
    async with place.opened():
        pass
    older = place.database.read_bytes()
    async with place.opened() as store:
        assert isinstance(await store.admit(intent()), Admitted)
    place.database.write_bytes(older)
    for rest in ("-wal", "-shm"):
        place.database.with_name(f"douane.db{rest}").unlink(missing_ok=True)
    async with place.opened(declared_gap="disk replaced"):
        pass
    code, out = run(place.bundle(), place.key(), capsys)
    assert (code, "declared a gap" in out) == (INCOMPLETE, True)


async def test_damage_in_the_database_is_exported_as_it_is_and_named(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    place = Place(tmp_path)
    async with place.opened() as store:
        for _ in range(3):
            call = intent()
            await store.admit(call)
            store.settle(completed(call))
    place.sql("UPDATE register SET bytes = zeroblob(7) WHERE seq = 4")
    code, out = run(place.bundle(), place.key(), capsys)
    assert (code, "record 4" in out) == (TAMPERED, True)


def test_the_fallback_computes_the_same_hashes() -> None:
    for size in (0, 1, 63, 64, 65, 1023, 1024, 1025, 2048, 2049, 3073, 7000):
        data, key = bytes(at % 251 for at in range(size)), bytes(range(32))
        assert verifier.SlowBlake3.plain(data) == blake3(data).hexdigest()
        assert verifier.SlowBlake3.keyed(data, key) == blake3(data, key=key).hexdigest()
        assert verifier.SlowBlake3.derived(data, "a use") == blake3(data, derive_key_context="a use").hexdigest()


def test_it_runs_alone_on_a_bare_python(place: Place) -> None:
    """`-I -S`: no site packages, no package, no `blake3`."""
    bundle = place.root / "bundle"
    alone = place.root / "elsewhere.py"
    shutil.copy(ROOT / "scripts" / "verify_audit.py", alone)
    command = [sys.executable, "-I", "-S", str(alone), str(bundle), "--key", place.key()]
    done = subprocess.run(command, capture_output=True, text=True, timeout=60, check=False)
    assert done.returncode == VERIFIED, done.stdout + done.stderr
    done = subprocess.run([*command[:4], "--nonsense"], capture_output=True, text=True, timeout=60, check=False)
    assert (done.returncode, "Traceback" in done.stderr) == (64, False)
