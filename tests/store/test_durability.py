"""What the store does when something fails: it latches, and says why; and how the next start closes what was open."""

from __future__ import annotations

import asyncio
import json
import os
import shutil
import sqlite3
import subprocess
import sys
import textwrap
import threading
from collections.abc import Sequence
from contextlib import closing
from pathlib import Path

import pytest

from douane.core.decision import Budget
from douane.core.review import ReviewState
from douane.store import sqlite as sqlite_module
from douane.store.engine import Engine
from douane.store.interface import Admitted, LogFilter, StoreBusy, StoreError, TooManyReviews
from douane.store.sqlite import SqliteStore
from douane.store.writer import Operation
from support.register import DAY_US, Place, completed, intent, priced, records, refused, review, until_settled


class Gate:
    """Holds the writer in the middle of a transaction until it is opened."""

    def __init__(self, store: SqliteStore) -> None:
        self._open = threading.Event()
        self.reached = threading.Event()
        self.passed = asyncio.ensure_future(store._do(self._wait))

    def _wait(self, _: Engine) -> None:
        self.reached.set()
        self._open.wait()

    async def close(self) -> None:
        await asyncio.to_thread(self.reached.wait)

    def open(self) -> None:
        self._open.set()


async def only_call(store: SqliteStore) -> tuple[str, str, str]:
    """The kinds of the records of the only call, and the outcome of its result."""
    await until_settled(store)
    intents, results = await records(store, kind="intent"), await records(store, kind="result")
    assert len(intents) == 1
    assert [record["call_id"] for record in results] == [intents[0]["call_id"]]
    return intents[0]["kind"], results[0]["kind"], results[0]["outcome"]


async def test_an_admission_whose_caller_left_is_closed_as_not_sent(store: SqliteStore) -> None:
    gate = Gate(store)
    await gate.close()
    waiting = asyncio.ensure_future(store.admit(priced(50, 100)))
    await asyncio.sleep(0)
    waiting.cancel()
    with pytest.raises(asyncio.CancelledError):
        await waiting
    gate.open()
    await gate.passed
    await until_settled(store)
    assert await only_call(store) == ("intent", "result", "failed")
    (spend,) = await store.spend({"worker": Budget(100)})
    assert (spend.settled_nano, spend.reserved_nano) == (0, 0)


async def test_an_admission_that_is_cancelled_with_the_answer_in_hand_is_closed_as_not_sent(
    store: SqliteStore, monkeypatch: pytest.MonkeyPatch
) -> None:
    waiting = asyncio.ensure_future(store.admit(intent()))
    await asyncio.sleep(0)
    operation = store._waiting[-1]
    answer = store._answer

    def answer_and_cancel(batch: Sequence[Operation]) -> None:
        answer(batch)
        waiting.cancel()

    monkeypatch.setattr(store, "_answer", answer_and_cancel)
    with pytest.raises(asyncio.CancelledError):
        await waiting
    assert isinstance(operation.future.result(), Admitted)
    monkeypatch.undo()
    assert await only_call(store) == ("intent", "result", "failed")


async def test_a_disk_that_does_not_answer_latches_and_the_late_intent_is_closed_as_not_sent(
    place: Place, monkeypatch: pytest.MonkeyPatch
) -> None:
    store = await place.open()
    monkeypatch.setattr(sqlite_module, "TICK_S", 0.01)
    gate = Gate(store)
    await gate.close()
    queued = asyncio.ensure_future(store.admit(intent()))
    with pytest.raises(StoreError, match="did not answer"):
        await queued
    with pytest.raises(StoreError, match="did not answer"):
        await gate.passed
    assert "did not answer" in str(store.latched)
    with pytest.raises(StoreError, match="did not answer"):
        await store.admit(intent())
    gate.open()
    await store.close()
    monkeypatch.undo()
    async with place.opened() as store:
        assert await only_call(store) in {("intent", "result", "failed"), ("intent", "result", "unknown")}


async def test_a_late_intent_is_closed_as_not_sent_while_the_process_lives(
    place: Place, monkeypatch: pytest.MonkeyPatch
) -> None:
    async with place.opened() as store:
        monkeypatch.setattr(sqlite_module, "TICK_S", 0.01)
        gate = Gate(store)
        await gate.close()
        with pytest.raises(StoreError):
            await store.admit(intent())
        gate.open()
        with pytest.raises(StoreError):
            await gate.passed
        async with asyncio.timeout(5):
            while not place.sql("SELECT 1 FROM register WHERE kind = 'result' AND outcome = 'failed'"):
                await asyncio.sleep(0.005)


async def test_an_operation_that_fails_latches_and_leaves_nothing(place: Place) -> None:
    store = await place.open()
    before = await records(store)

    def fail(engine: Engine) -> None:
        engine.heartbeat()
        engine.register.flush()
        raise OSError(5, "Input/output error")

    with pytest.raises(StoreError, match="Input/output error"):
        await store._do(fail)
    assert store.latched == "the disk failed: Input/output error"
    for call in (store.admit(intent()), store.refuse(refused()), store.agents(), store.spend({}), store.expire_due()):
        with pytest.raises(StoreError, match="Input/output error"):
            await call
    store.settle(completed(intent()))
    await store.close()
    async with place.opened() as again:
        assert (await records(again))[: len(before)] == before
        assert await records(again, kind="heartbeat") == []


async def test_a_full_queue_refuses_and_does_not_latch(store: SqliteStore, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(sqlite_module, "QUEUED_AT_MOST", 3)
    gate = Gate(store)
    await gate.close()
    waiting = [asyncio.ensure_future(store.admit(intent())) for _ in range(4)]
    await asyncio.sleep(0)
    gate.open()
    answers = await asyncio.gather(*waiting, return_exceptions=True)
    assert [type(answer) for answer in answers] == [Admitted, Admitted, StoreError, StoreError]
    assert store.latched is None
    await gate.passed


async def test_little_space_refuses_new_calls_but_takes_results(place: Place) -> None:
    async with place.opened() as store:
        call = priced(10, 100)
        await store.admit(call)
        store._writer._low_water_bytes = 1 << 60
        store._writer._looked_at_space = 0.0
        with pytest.raises(StoreError, match="MiB are free"):
            await store.admit(intent())
        with pytest.raises(StoreError, match="MiB are free"):
            await store.refuse(refused())
        store.settle(completed(call, 5))
        await until_settled(store)
        assert await only_call(store) == ("intent", "result", "completed")
        store._writer._low_water_bytes = 0
        store._writer._looked_at_space = 0.0
        assert isinstance(await store.admit(intent()), Admitted)


async def test_floods_of_refusals_are_counted(place: Place) -> None:
    async with place.opened() as store:
        for _ in range(500):
            await store.refuse(refused())
        await store.refuse(refused(tool="stripe.refunds.create"))
    async with place.opened() as store:
        found = await records(store, kind="refusal")
    assert len(found) < 20
    assert sum(record.get("count", 1) for record in found) == 501
    assert found[-1]["agent"] == "worker"


async def test_a_second_process_is_kept_out(place: Place, store: SqliteStore) -> None:
    with pytest.raises(StoreBusy, match=str(os.getpid())):
        await place.open()


async def test_an_opening_that_is_cancelled_lets_go(place: Place) -> None:
    for moment in range(12):
        opening = asyncio.ensure_future(place.open())
        for _ in range(moment):
            await asyncio.sleep(0)
        opening.cancel()
        with pytest.raises(asyncio.CancelledError):
            await opening
    async with place.opened() as store:
        assert isinstance(await store.admit(intent()), Admitted)


async def test_it_reads_beside_the_node_and_alone(place: Place) -> None:
    async with place.opened() as store:
        call = priced(10, 100)
        await store.admit(call)
        store.settle(completed(call, 5))
        await until_settled(store)
        async with SqliteStore.read_only(place.database) as reader:
            assert await reader.log(LogFilter()) == await store.log(LogFilter())
    async with SqliteStore.read_only(place.database) as reader:
        (spend,) = await reader.spend({"worker": Budget(100, window_us=DAY_US * 5000)})
        assert spend.settled_nano == 5
        assert (await reader.log(LogFilter()))[-1].record["event"] == "stop"


async def test_reading_what_is_not_there_says_so(tmp_path: Path) -> None:
    with pytest.raises(StoreError, match="cannot be read"):
        async with SqliteStore.read_only(tmp_path / "none.db"):
            pass


async def test_what_a_crash_left_open_is_closed_at_the_start(place: Place) -> None:
    store = await place.open()
    lost, held = priced(60, 100), review()
    opened = await store.open_review(held, most_open=5)
    assert not isinstance(opened, TooManyReviews)
    waiting = review()
    await store.open_review(waiting, most_open=5)
    await store.give_verdict(held.review_id, approve=True, reviewer="rita", channel="cli", note=None)
    ticket = intent(review_id=held.review_id)
    assert isinstance(await store.admit(lost), Admitted)
    assert isinstance(await store.admit(ticket), Admitted)
    await place.crash(store)
    async with place.opened() as store:
        results = await records(store, kind="result")
        assert {(record["call_id"], record["outcome"]) for record in results} == {
            (lost.call_id, "unknown"),
            (ticket.call_id, "unknown"),
        }
        (spend,) = await store.spend({"worker": Budget(100)})
        assert (spend.settled_nano, spend.reserved_nano) == (60, 0)
        found = {row.review_id: row.state for row in await store.reviews()}
        assert found == {held.review_id: ReviewState.UNKNOWN, waiting.review_id: ReviewState.PENDING}
        (_, boot) = await records(store, kind="boot")
        assert boot["lost_calls"] == 2


async def test_a_restored_backup_is_refused_until_the_gap_is_declared(place: Place) -> None:
    async with place.opened():
        pass
    backup = place.root / "backup.db"
    shutil.copy(place.database, backup)
    async with place.opened() as store:
        await store.admit(intent())
    shutil.copy(backup, place.database)
    for rest in ("-wal", "-shm"):
        place.database.with_name(f"douane.db{rest}").unlink(missing_ok=True)
    with pytest.raises(StoreError, match="restored or cut"):
        await place.open()
    async with place.opened(declared_gap="restored after a disk failure") as store:
        (gap,) = await records(store, kind="gap")
        assert gap["reason"] == "restored after a disk failure"
        assert gap["last_head"].startswith("douane/")
    async with place.opened() as store:
        assert isinstance(await store.admit(intent()), Admitted)


async def test_a_lost_head_file_is_noticed(place: Place) -> None:
    async with place.opened():
        pass
    (place.private / "register.head").unlink()
    with pytest.raises(StoreError, match="last signed head is gone"):
        await place.open()


@pytest.mark.parametrize(
    ("change", "message"),
    [
        ("UPDATE register SET bytes = replace(bytes, 'acme', 'evil') WHERE seq = 3", "record 3 is"),
        ("DELETE FROM register WHERE seq = 3", "record 3 is missing"),
        ("DELETE FROM register WHERE seq = (SELECT max(seq) FROM register)", "restored or cut"),
        ("UPDATE register SET hash = zeroblob(32) WHERE seq = 3", "record 3 is not what was written"),
        ("UPDATE register SET seq = seq + 1000 WHERE seq = 3", "record 3 is missing"),
        ("UPDATE head SET note = replace(note, 'douane', 'evilll')", "not signed by this node's key"),
        ("DELETE FROM register WHERE seq = 0", "record 0 is missing"),
    ],
)
async def test_a_database_that_was_changed_is_refused(place: Place, change: str, message: str) -> None:
    async with place.opened() as store:
        await store.admit(intent(arguments={}, tool="acme"))
        await store.admit(intent(arguments={}, tool="acme"))
    place.sql(change.replace("replace(bytes, 'acme', 'evil')", "CAST(replace(bytes, 'acme', 'evil') AS BLOB)"))
    with pytest.raises(StoreError, match=message):
        await place.open()


async def test_another_key_is_refused(place: Place) -> None:
    async with place.opened():
        pass
    (place.private / "register.key").unlink()
    (place.private / "register.head").unlink()
    with pytest.raises(StoreError, match="another key"):
        await place.open()


async def test_a_newer_database_is_refused(place: Place) -> None:
    async with place.opened():
        pass
    place.sql("PRAGMA user_version = 99")
    with pytest.raises(StoreError, match="upgrade Douane"):
        await place.open()


async def test_a_foreign_database_is_refused(place: Place) -> None:
    place.private.mkdir()
    place.sql("CREATE TABLE something (else_ TEXT)")
    with pytest.raises(StoreError, match="not Douane's"):
        await place.open()
    place.database.write_bytes(b"this is no database at all, but it is long enough to look like one" * 100)
    with pytest.raises(StoreError, match="not a database"):
        await place.open()


async def test_an_old_clock_after_a_reboot_frees_no_budget(place: Place) -> None:
    async with place.opened() as store:
        call = priced(100, 100)
        await store.admit(call)
        store.settle(completed(call, 100))
    place.clock.pass_by(-30 * 86_400)
    async with place.opened() as store:
        (spend,) = await store.spend({"worker": Budget(100)})
        assert spend.settled_nano == 100


async def test_the_window_does_not_empty_when_the_clock_is_set_forward(place: Place) -> None:
    boot = type(place.clock)(1_000_000)
    async with place.opened(boot_clock=boot) as store:
        call = priced(100, 100)
        await store.admit(call)
        store.settle(completed(call, 100))
        await until_settled(store)
        place.clock.pass_by(30 * 86_400)
        (spend,) = await store.spend({"worker": Budget(100)})
        assert spend.settled_nano == 100
        boot.pass_by(86_400)
        place.clock.pass_by(86_400)
        (spend,) = await store.spend({"worker": Budget(100)})
        assert spend.settled_nano == 0


@pytest.mark.faults
async def test_a_locked_database_latches(place: Place) -> None:
    store = await place.open()
    with closing(sqlite3.connect(place.database, isolation_level=None)) as intruder:
        intruder.execute("BEGIN IMMEDIATE")
        with pytest.raises(StoreError, match="database is locked"):
            await store.admit(intent())
        intruder.execute("ROLLBACK")
    assert "locked" in str(store.latched)
    await store.close()
    async with place.opened() as again:
        assert isinstance(await again.admit(intent()), Admitted)


@pytest.mark.faults
def test_a_full_disk_latches_and_nothing_that_was_told_is_lost(tmp_path: Path) -> None:
    """`RLIMIT_FSIZE` makes the WAL run full in the middle of work."""
    program = textwrap.dedent("""
        import asyncio, json, resource, signal, sys
        from pathlib import Path
        sys.path.insert(0, sys.argv[2])
        from support.register import Place, completed, intent, records
        from douane.store.interface import StoreError

        async def main():
            place = Place(Path(sys.argv[1]))
            store = await place.open()
            signal.signal(signal.SIGXFSZ, signal.SIG_IGN)
            resource.setrlimit(resource.RLIMIT_FSIZE, (2_000_000, resource.RLIM_INFINITY))
            told = []
            try:
                while True:
                    call = intent()
                    await store.admit(call)
                    told.append(call.call_id)
            except StoreError as error:
                reason = str(error)
            assert store.latched == reason
            await store.close()
            resource.setrlimit(resource.RLIMIT_FSIZE, (resource.RLIM_INFINITY, resource.RLIM_INFINITY))
            async with place.opened() as store:
                stored = [record["call_id"] for record in await records(store, kind="intent")]
                closed = [record["call_id"] for record in await records(store, kind="result")]
            print(json.dumps([reason, told, stored, closed]))

        asyncio.run(main())
    """)
    done = subprocess.run(
        [sys.executable, "-c", program, str(tmp_path), str(Path(__file__).parents[1])],
        capture_output=True,
        text=True,
        timeout=60,
        check=False,
    )
    assert done.returncode == 0, done.stderr
    reason, told, stored, closed = json.loads(done.stdout)
    assert reason.startswith("the database failed:")
    assert len(told) > 20
    assert set(told) <= set(stored)
    assert sorted(closed) == sorted(stored)


@pytest.mark.faults
def test_an_unwritable_folder_is_one_clear_line(tmp_path: Path) -> None:
    if os.geteuid() == 0 and shutil.which("setpriv") is None:
        pytest.skip("root writes everywhere and setpriv is missing")
    program = textwrap.dedent("""
        import asyncio, sys
        from pathlib import Path
        sys.path.insert(0, sys.argv[2])
        from douane.store.interface import StoreError
        from douane.store.sqlite import SqliteStore

        async def main():
            private = Path(sys.argv[1])
            try:
                await SqliteStore.open(private / "new.db", None)
            except StoreError as error:
                print(error)

        asyncio.run(main())
    """)
    folder = tmp_path / "shut"
    folder.mkdir()
    folder.chmod(0o555)
    command = [sys.executable, "-c", program, str(folder), str(Path(__file__).parents[1])]
    if os.geteuid() == 0:
        command = ["setpriv", "--inh-caps=-all", "--bounding-set=-all", *command]
    done = subprocess.run(command, capture_output=True, text=True, timeout=60, check=False)
    assert done.stdout.count("\n") == 1, done.stdout + done.stderr
    assert "Permission denied" in done.stdout
