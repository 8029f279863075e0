"""The one thread that writes: it commits whatever queued while the last commit was under way.

No timer makes anybody wait: alone, a call pays one fdatasync; among many it shares one. Results ride along; only when
no commit comes by for 20 ms does one go for them.
"""

from __future__ import annotations

import asyncio
import os
import sqlite3
import threading
import time
from collections import deque
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from pathlib import Path
from queue import Empty, SimpleQueue
from typing import Any, Literal

from douane.core.record import RecordInvalid
from douane.store import bodies
from douane.store.engine import Engine
from douane.store.interface import Result, StoreError

AT_ONCE = 512
"""Operations in one transaction, about: bounds how long the first of them waits for the last."""

RIDE_S = 0.02
CHECKPOINT_AFTER = 4000
"""Records after which an idle moment is used to empty the WAL into the database."""

LOOK_AT_SPACE_S = 0.25
LOW_WATER_BYTES = 64 << 20
"""With less free space than this only results are written: every call under way can still be closed."""

type Run = Callable[[Engine], Any]


class Operation:
    """One thing to do inside a transaction; its answer is a value, or an expected exception as a value."""

    __slots__ = ("answer", "call_id", "future", "money", "needs_room", "run", "tick")

    def __init__(
        self,
        run: Run,
        future: asyncio.Future[Any],
        *,
        money: tuple[tuple[str, int], ...] = (),
        call_id: str | None = None,
        needs_room: bool = True,
    ) -> None:
        self.run = run
        self.future = future
        self.money = money
        self.call_id = call_id
        """Set for an admission: what has to be closed if nobody waits for the answer any more."""
        self.needs_room = needs_room
        self.answer: Any = None
        self.tick = 0


@dataclass(frozen=True, slots=True)
class Rider:
    """A result on its way to the next commit."""

    result: Result
    body: bodies.Body
    values: bodies.Values


type Item = list[Operation] | Literal["ride", "stop"]


class Writer(threading.Thread):
    """Owns the connection from its opening to its end."""

    def __init__(
        self,
        path: Path,
        open_engine: Callable[[], Engine],
        *,
        opened: Callable[[BaseException | None], None],
        answered: Callable[[Sequence[Operation]], None],
        broken: Callable[[str], None],
        low_water_bytes: int,
    ) -> None:
        super().__init__(name="douane-store", daemon=True)
        self._path = path
        self._open_engine = open_engine
        self._opened, self._answered, self._broken = opened, answered, broken
        self._low_water_bytes = low_water_bytes
        self._looked_at_space = 0.0
        self._low: StoreError | None = None
        self._since_checkpoint = 0
        self.queue: SimpleQueue[Item] = SimpleQueue()
        self.riders: deque[Rider] = deque()
        self.failure: str | None = None
        self.engine: Engine | None = None

    def run(self) -> None:
        """Open, then work until told to stop or something fails; whatever fails, fails for good."""
        try:
            self.engine = self._open_engine()
        except BaseException as error:  # noqa: BLE001 — handed to who opens, whatever it is
            self._opened(error)
            return
        self._opened(None)
        try:
            self._work(self.engine)
        except BaseException as error:  # noqa: BLE001 — the store latches on anything
            self.failure = describe(error)
            self._broken(self.failure)
        finally:
            self._let_go(self.engine.connection)

    def _work(self, engine: Engine) -> None:
        while True:
            batch, stop = self._next_batch()
            if batch or self.riders:
                self._commit(engine, batch)
            if stop:
                return
            if self._since_checkpoint >= CHECKPOINT_AFTER and self.queue.empty():
                engine.connection.execute("PRAGMA wal_checkpoint(PASSIVE)").fetchall()
                self._since_checkpoint = 0

    def _next_batch(self) -> tuple[list[Operation], bool]:
        batch: list[Operation] = []
        item = self.queue.get()
        while True:
            if item == "stop":
                return batch, True
            if item != "ride":
                batch += item
            if len(batch) >= AT_ONCE:
                return batch, False
            try:
                item = self.queue.get_nowait()
            except Empty:
                return batch, False

    def _commit(self, engine: Engine, batch: list[Operation]) -> None:
        """One transaction. Killed before COMMIT returned, nobody was told anything and no call was sent."""
        riders = [self.riders.popleft() for _ in range(min(len(self.riders), AT_ONCE))]
        low = self._low_on_space()
        money = {pair for operation in batch for pair in operation.money}
        for rider in riders:
            call = engine.open_calls.get(rider.body["call_id"])
            if call is not None and (call.reserve_nano or rider.result.charge is not None):
                money.add((call.agent, 0))
        before = engine.register.size
        try:
            engine.begin(money)
            for rider in riders:
                engine.settle(rider.result, rider.body, rider.values)
            for operation in batch:
                operation.answer = low if low is not None and operation.needs_room else operation.run(engine)
            engine.commit()
        except BaseException:
            _roll_back(engine.connection)
            raise
        self._since_checkpoint += engine.register.size - before
        if batch:
            self._answered(batch)
        if self.riders:
            self.queue.put("ride")

    def _low_on_space(self) -> StoreError | None:
        now = time.monotonic()
        if now - self._looked_at_space >= LOOK_AT_SPACE_S:
            self._looked_at_space = now
            space = os.statvfs(self._path.parent)
            free = space.f_bavail * space.f_frsize
            self._low = None
            if free < self._low_water_bytes:
                self._low = StoreError(
                    f"{free >> 20} MiB are free beside {self._path.name}, under the mark of "
                    f"{self._low_water_bytes >> 20}: no new calls until there is room"
                )
        return self._low

    def _let_go(self, connection: sqlite3.Connection) -> None:
        try:
            connection.close()
        except sqlite3.Error as error:
            self.failure = self.failure or describe(error)


def _roll_back(connection: sqlite3.Connection) -> None:
    if connection.in_transaction:
        try:
            connection.execute("ROLLBACK")
        except sqlite3.Error:
            return  # the error that led here is the one to tell; recovery at the next start does the rest


def describe(error: BaseException) -> str:
    """Why the store stopped, for people."""
    match error:
        case StoreError():
            return str(error)
        case sqlite3.OperationalError():
            return f"the database failed: {error}"
        case RecordInvalid():
            return f"a record could not be written: {error}"
        case OSError():
            return f"the disk failed: {error.strerror or error}"
        case _:
            return f"the writer failed: {type(error).__name__}: {error}"
