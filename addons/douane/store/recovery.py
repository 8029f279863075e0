"""Opening a database: what must hold before it is trusted with a call, and how what a crash left open is closed."""

from __future__ import annotations

import contextlib
import os
import sqlite3
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import orjson

from douane.core.record import FORMAT, Kind, RecordInvalid, decode, genesis_prev, record_hash
from douane.core.review import ReviewState
from douane.core.tree import Frontier, NoteInvalid
from douane.edge.keys import KeysInvalid, SigningKeys
from douane.store import bodies, schema
from douane.store.clock import Clock, ClockState
from douane.store.engine import Deferred, Engine, OpenCall, lost
from douane.store.interface import StoreError
from douane.store.register import TREE_EVERY, Register

VERIFY_AT_OPEN = 50_000
"""Records whose chain is verified at each start: about a quarter of a second. All of them: `verify`."""

BUSY_MS = 1000
SETTLE_AT_ONCE = 1000

type Progress = Callable[[int, int], None]
"""Told (records done, records in all)."""


class Broken(StoreError):
    """The register does not hold together; the message names the first bad record."""


def connect(path: Path) -> sqlite3.Connection:
    """The one read-write connection: WAL, every commit synced, checkpoints bounded and otherwise made when idle."""
    os.close(os.open(path, os.O_RDWR | os.O_CREAT | os.O_CLOEXEC, 0o600))  # its WAL takes the mode over
    connection = sqlite3.connect(path, isolation_level=None, cached_statements=512, timeout=BUSY_MS / 1000)
    try:
        _configure(connection)
    except BaseException:
        connection.close()
        raise
    return connection


def _configure(connection: sqlite3.Connection) -> None:
    for pragma in (
        "journal_mode = WAL",
        "synchronous = FULL",
        "wal_autocheckpoint = 4000",
        "cache_size = -65536",
        "temp_store = MEMORY",
        "secure_delete = ON",
        "foreign_keys = OFF",
        "trusted_schema = OFF",
    ):
        connection.execute(f"PRAGMA {pragma}").fetchall()


def open_engine(
    connection: sqlite3.Connection,
    keys: SigningKeys,
    clock: Clock,
    *,
    declared_gap: str | None = None,
    progress: Progress | None = None,
    boot: dict[str, Any],
) -> Engine:
    """Migrate, verify, recover; raises `StoreError` and leaves the database as it was if it cannot be trusted."""
    schema.migrate(connection, clock.now_us)
    clock.resume(_clock_state(connection), _last_ledger_us(connection))
    (size,) = connection.execute("SELECT coalesce(max(seq) + 1, 0) FROM register").fetchone()
    problems = []
    try:
        _check_keys(connection, keys, size)
    except Broken as error:
        raise StoreError(f"{error}; move the database away to begin a new register") from error
    try:
        tip_hash, tree = verify_tail(connection, keys, size, progress=progress)
        _extends_last_head(connection, keys, size)
    except KeysInvalid as error:
        raise StoreError(str(error)) from error
    except Broken as error:
        if declared_gap is None:
            raise StoreError(str(error)) from error
        problems.append(str(error))
        tip_hash, tree = _as_found(connection, keys, size)
    clock.ledger_us = max(clock.ledger_us, _last_admission_us(connection))
    register = Register(connection, size=size, tip_hash=tip_hash, tree=tree)
    (version,) = connection.execute("SELECT coalesce(max(version), 0) FROM review").fetchone()
    engine = Engine(connection, keys, clock, register, _open_calls(connection), version, _deferred(connection))
    _recover(engine, boot, declared_gap, problems)
    return engine


def _recover(engine: Engine, boot: dict[str, Any], declared_gap: str | None, problems: list[str]) -> None:
    """Close what was open, by the happy path's own functions. A crash in here leaves a shorter list for the next."""
    left = list(engine.open_calls.values())
    engine.begin()
    if engine.register.size == 0:
        engine.append(
            Kind.GENESIS, {"origin": engine.keys.origin, "public_key": engine.keys.public.hex(), "format": FORMAT}
        )
    if declared_gap is not None and problems:
        _go_on_over_gap(engine, declared_gap, problems)
    engine.record_boot("start", lost_calls=len(left), **boot)
    engine.commit()
    for at in range(0, len(left), SETTLE_AT_ONCE):
        some = left[at : at + SETTLE_AT_ONCE]
        engine.begin((call.agent, 0) for call in some)
        for call in some:
            result = lost(call)
            engine.settle(result, *bodies.result(result))
        engine.commit()
    (stuck,) = engine.connection.execute(
        "SELECT count(*) FROM review WHERE state = ?", (ReviewState.DISPATCHING.value,)
    ).fetchone()
    (reserved,) = engine.connection.execute("SELECT coalesce(sum(reserved_nano), 0) FROM balance").fetchone()
    kept = sum(work.reserve_nano * (1 + len(work.accounts.split())) for work in engine.deferred.values())
    if stuck or reserved != kept:
        raise StoreError(
            f"after recovery {stuck} reviews are still dispatching and {reserved} nano-dollars reserved, {kept} of "
            "them for work in the background"
        )


def _go_on_over_gap(engine: Engine, declared_gap: str, problems: list[str]) -> None:
    """Record the break and what was signed last; later starts verify from here on, an export shows all of it."""
    last = engine.keys.last_head()
    size = engine.register.size
    execute = engine.connection.execute
    execute("INSERT OR REPLACE INTO tree VALUES (?, ?)", (size, engine.register.tree.dump()))
    execute("INSERT OR REPLACE INTO fact VALUES ('trusted_from', ?)", (size,))
    execute("DELETE FROM head")
    engine.record_gap(declared_gap, problems, last[1] if last else None)


def records(connection: sqlite3.Connection, first: int, last: int) -> Iterator[tuple[int, bytes, bytes]]:
    """(seq, hash, bytes) of a range of records, both ends included."""
    yield from connection.execute(
        "SELECT seq, hash, bytes FROM register WHERE seq BETWEEN ? AND ? ORDER BY seq", (first, last)
    )


def verify_tail(
    connection: sqlite3.Connection,
    keys: SigningKeys,
    size: int,
    *,
    at_most: int | None = VERIFY_AT_OPEN,
    progress: Progress | None = None,
) -> tuple[str, Frontier]:
    """Verify chain and tree of the last records (None: of all) and against every signed head that lies among them.

    Returns the tip's hash and the tree's edge. The tree is taken up at a kept edge; that edge is itself under the root
    of the next signed head.
    """
    start, tree = _edge_before(connection, size, at_most)
    last_head = keys.last_head()
    heads = _signed_heads(connection, keys, start)
    if last_head is not None and last_head[0].size <= size:
        heads[last_head[0].size] = last_head[0].root
    if start in heads and tree.root() != heads[start]:
        raise Broken(f"the tree over the first {start} records is not the one that was signed")
    previous = genesis_prev(keys.origin, keys.public) if start == 0 else _hash_at(connection, start - 1)
    expected = start
    for seq, stored, data in records(connection, start, size - 1):
        if seq != expected:
            raise Broken(f"record {expected} is missing")
        digest = record_hash(data)
        if stored.hex() != digest:
            raise Broken(f"record {seq} is not what was written")
        try:
            record = orjson.loads(data)
            continues = record["seq"] == seq and record["prev"] == previous
        except (orjson.JSONDecodeError, LookupError, TypeError) as error:
            raise Broken(f"record {seq} is damaged: {error}") from error
        if not continues:
            raise Broken(f"record {seq} does not continue the chain")
        previous = digest
        tree.append(data)
        expected += 1
        if expected in heads and tree.root() != heads[expected]:
            raise Broken(f"the first {expected} records are not those that were signed")
        if progress is not None and expected % 4096 == 0:
            progress(expected - start, size - start)
    if expected != size:
        raise Broken(f"record {expected} is missing")
    if progress is not None:
        progress(size - start, size - start)
    return previous, tree


def _signed_heads(connection: sqlite3.Connection, keys: SigningKeys, start: int) -> dict[int, bytes]:
    heads = {}
    for size, note in connection.execute("SELECT size, note FROM head WHERE size >= ?", (start,)):
        try:
            head = keys.verifying.open_note(note)
        except NoteInvalid as error:
            raise Broken(f"the kept head of {size} records is not signed by this node's key: {error}") from error
        if head.size != size:
            raise Broken(f"the kept head of {size} records was signed for {head.size}")
        heads[size] = head.root
    return heads


def _edge_before(connection: sqlite3.Connection, size: int, at_most: int | None) -> tuple[int, Frontier]:
    trusted = connection.execute("SELECT value FROM fact WHERE name = 'trusted_from'").fetchone()
    wanted = 0 if at_most is None or size <= at_most + TREE_EVERY else size - at_most
    wanted = max(wanted, trusted[0] if trusted else 0)
    row = connection.execute(
        "SELECT size, peaks FROM tree WHERE size <= ? ORDER BY size DESC LIMIT 1", (wanted,)
    ).fetchone()
    if row is None:
        return 0, Frontier()
    try:
        return row[0], Frontier.load(row[0], row[1])
    except ValueError as error:
        raise Broken(f"the kept tree over {row[0]} records is damaged: {error}") from error


def _hash_at(connection: sqlite3.Connection, seq: int) -> str:
    row = connection.execute("SELECT bytes FROM register WHERE seq = ?", (seq,)).fetchone()
    if row is None:
        raise Broken(f"record {seq} is missing")
    return record_hash(row[0])


def _check_keys(connection: sqlite3.Connection, keys: SigningKeys, size: int) -> None:
    """The register must have begun with this node's key."""
    if size == 0:
        return
    row = connection.execute("SELECT bytes FROM register WHERE seq = 0").fetchone()
    if row is None:
        raise Broken("record 0 is missing")
    try:
        genesis = decode(row[0])
    except RecordInvalid as error:
        raise Broken(f"record 0 is damaged: {error}") from error
    if genesis.get("prev") != genesis_prev(keys.origin, keys.public) or genesis.get("origin") != keys.origin:
        raise Broken(f"the register was begun by {genesis.get('origin')} with another key than {keys.origin}'s")


def _extends_last_head(connection: sqlite3.Connection, keys: SigningKeys, size: int) -> None:
    """Never go on from a database that is older than the last head signed: a restored backup would fork the register.

    The head is kept in a file of its own, durable before its row in the database is.
    """
    last = keys.last_head()
    (kept,) = connection.execute("SELECT max(size) FROM head").fetchone()
    if last is None:
        if kept is not None:
            raise Broken(f"the file of the last signed head is gone; the database knows one of {kept} records")
        return
    head, _ = last
    if head.size > size:
        raise Broken(
            f"the database holds {size} records, but a head of {head.size} was signed: it was restored or cut. "
            "If that was meant, declare the gap"
        )
    if kept is not None and kept > head.size:
        raise Broken(f"the last signed head ({head.size} records) is older than one in the database ({kept})")


def _as_found(connection: sqlite3.Connection, keys: SigningKeys, size: int) -> tuple[str, Frontier]:
    """Tip and tree of a register that does not hold together, for the operator who declares the gap."""
    tree = Frontier()
    count = 0
    for _, _, data in records(connection, 0, size - 1):
        tree.append(data)
        count += 1
    if count != size:
        raise StoreError(f"{size - count} records are missing inside the register: it cannot go on")
    return (_hash_at(connection, size - 1) if size else genesis_prev(keys.origin, keys.public)), tree


def _open_calls(connection: sqlite3.Connection) -> list[OpenCall]:
    return [
        OpenCall(*row)
        for row in connection.execute(
            "SELECT seq, call_id, agent, tool, reserve_nano, model, review_id, accounts FROM open_call ORDER BY seq"
        )
    ]


def _last_admission_us(connection: sqlite3.Connection) -> int:
    """Ledger time of the last call under way: before it, spend that had aged out by then would count once more."""
    intents = connection.execute("SELECT bytes FROM register WHERE seq IN (SELECT seq FROM open_call)")
    times = [0]
    for (data,) in intents:
        with contextlib.suppress(RecordInvalid):  # behind a break that the operator goes on over
            times.append(decode(data).get("ledger_us", 0))
    return max(times)


def _deferred(connection: sqlite3.Connection) -> list[Deferred]:
    return [Deferred(*row) for row in connection.execute("SELECT * FROM deferred ORDER BY ends_ts")]


def _clock_state(connection: sqlite3.Connection) -> ClockState | None:
    facts = dict(
        connection.execute("SELECT name, value FROM fact WHERE name IN ('boot_id', 'offset_us', 'shift_us')").fetchall()
    )
    return ClockState(facts["boot_id"], facts["offset_us"], facts["shift_us"]) if len(facts) == 3 else None


def _last_ledger_us(connection: sqlite3.Connection) -> int:
    (last,) = connection.execute(
        """SELECT max(
            (SELECT coalesce(max(last_ts), 0) FROM balance), (SELECT coalesce(max(created_ts), 0) FROM review),
            (SELECT coalesce(max(decided_ts), 0) FROM review),
            (SELECT coalesce(max(value), 0) FROM fact WHERE name = 'ledger_us'))"""
    ).fetchone()
    return int(last)
