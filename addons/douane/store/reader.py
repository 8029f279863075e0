"""Reading beside the writer: a read-only connection that never waits for it and never makes it wait."""

from __future__ import annotations

import asyncio
import sqlite3
from collections.abc import Callable, Mapping, Sequence
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from types import TracebackType
from typing import Any, Self

import orjson

from douane.core.decision import Budget
from douane.core.review import OPEN, ReviewState
from douane.store import people
from douane.store.clock import Clock, ClockState, boot_id, boot_us, wall_us
from douane.store.engine import policy_in_force
from douane.store.interface import (
    AgentRow,
    LogEntry,
    LogFilter,
    Review,
    ReviewerRow,
    Spend,
    SpendKey,
    Spent,
    StoreError,
)
from douane.store.reviews import COLUMNS, from_row

MOST = 100_000
"""Rows of one answer."""

STORY = 1_000
"""Records that are told of one call, and of one review."""


class Reader:
    """What a database holds, unchanged. When idle, its thread does not keep the interpreter from exiting."""

    latched: None = None
    """Nothing is written, so nothing can fail for good."""

    def __init__(self, path: Path, clock: Clock | None) -> None:
        self._path = path
        self._clock = clock
        self._thread = ThreadPoolExecutor(1, thread_name_prefix="douane-reader")
        self._connection: sqlite3.Connection | None = None

    @classmethod
    async def connect(cls, path: Path, clock: Clock | None) -> Reader:
        """A reader that is connected; raises `StoreError`."""
        reader = cls(path, clock)
        await reader.open()
        return reader

    async def open(self) -> None:
        """Connect; raises `StoreError` where there is no database of ours."""

        def connect() -> sqlite3.Connection:
            uri = f"{self._path.absolute().as_uri()}?mode=ro"
            return sqlite3.connect(uri, uri=True, timeout=5, isolation_level=None)

        try:
            self._connection = await self._in_thread(connect)
        except sqlite3.Error as error:
            self._thread.shutdown(wait=False)
            raise StoreError(f"{self._path} cannot be read: {error}") from error
        try:
            await self._rows("SELECT 1 FROM register LIMIT 1")
        except StoreError:
            await self.close()
            raise

    async def close(self) -> None:
        """Disconnect, after the reading under way."""
        if self._connection is not None:
            connection, self._connection = self._connection, None
            await self._in_thread(connection.close)
            self._thread.shutdown(wait=False)

    async def __aenter__(self) -> Self:
        if self._connection is None:
            await self.open()
        return self

    async def __aexit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        await self.close()

    async def _in_thread[T](self, function: Callable[[], T]) -> T:
        return await asyncio.get_running_loop().run_in_executor(self._thread, function)

    async def _rows(self, sql: str, parameters: Sequence[Any] = ()) -> list[tuple[Any, ...]]:
        return await self._read(lambda connection: connection.execute(sql, parameters).fetchall())

    async def _read[T](self, function: Callable[[sqlite3.Connection], T]) -> T:
        connection = self._connection
        if connection is None:
            raise StoreError("the reader is closed")
        try:
            return await self._in_thread(lambda: function(connection))
        except sqlite3.Error as error:
            raise StoreError(f"{self._path} cannot be read: {error}") from error

    async def _now(self) -> Clock:
        """The clock as of now: the node's own, or its state as the database tells it."""
        if self._clock is not None:
            clock = self._clock.glance()
        else:
            clock = Clock(wall_us, boot_us, boot_id())
            facts = dict(
                await self._rows("SELECT name, value FROM fact WHERE name IN ('boot_id', 'offset_us', 'shift_us')")
            )
            clock.resume(
                ClockState(facts["boot_id"], facts["offset_us"], facts["shift_us"]) if len(facts) == 3 else None, 0
            )
        return clock

    async def log(self, wanted: LogFilter) -> Sequence[LogEntry]:
        """Records that fit a filter, newest last, with the values that are still kept."""
        terms = {
            "agent = ?": wanted.agent,
            "tool = ?": wanted.tool,
            "kind = ?": wanted.kind,
            "outcome = ?": wanted.outcome,
            "call_id = ?": wanted.call_id,
            "at_us >= ?": wanted.since_us,
            "at_us < ?": wanted.until_us,
            "seq < ?": wanted.before_seq,
        }
        used = {term: value for term, value in terms.items() if value is not None}
        where = f"WHERE {' AND '.join(used)}" if used else ""
        limit = max(1, min(wanted.limit, MOST))
        found = await self._rows(
            f"SELECT seq, hash, bytes FROM register {where} ORDER BY seq DESC LIMIT ?",  # noqa: S608
            [*used.values(), limit],
        )
        found.reverse()
        return await self._entries(found)

    async def _entries(self, found: Sequence[tuple[int, bytes, bytes]]) -> Sequence[LogEntry]:
        """Records, each with the values that are still kept."""
        values: dict[int, dict[str, Any]] = {}
        for at in range(0, len(found), 500):
            some = [row[0] for row in found[at : at + 500]]
            for seq, name, data in await self._rows(
                f"SELECT seq, name, bytes FROM value WHERE seq IN ({', '.join('?' * len(some))})",  # noqa: S608
                some,
            ):
                values.setdefault(seq, {})[name] = orjson.loads(data)
        return [LogEntry(seq, digest.hex(), orjson.loads(data), values.get(seq, {})) for seq, digest, data in found]

    async def named(self, beginning: str) -> Sequence[tuple[str, str]]:
        """(`call` or `review`, id) of every id that begins so, at most 20 of each; an exact one alone."""
        found = await self._rows(
            """SELECT * FROM (SELECT DISTINCT 'call', call_id FROM register WHERE call_id >= ?1 AND call_id < ?2
                ORDER BY call_id LIMIT 20)
            UNION ALL SELECT * FROM (SELECT 'review', review_id FROM review WHERE review_id >= ?1 AND review_id < ?2
                ORDER BY review_id LIMIT 20)""",
            (beginning, f"{beginning}\U0010ffff"),
        )
        return [(what, name) for what, name in found if name == beginning] or [(what, name) for what, name in found]

    async def story(self, name: str) -> Sequence[LogEntry]:
        """All records of a call and of its review, or of a review and its calls, in order."""
        told = await self._rows("SELECT seq, hash, bytes FROM register WHERE call_id = ? LIMIT ?", (name, STORY))
        reviews = {orjson.loads(data).get("review_id", name) for _, _, data in told} or {name}
        for review_id in reviews:
            # Each record of a review is one of its agent, from the review's own record on. `NOT IN` is what lets the
            # index of the rare kinds find that one.
            told += await self._rows(
                """SELECT seq, hash, bytes FROM register WHERE agent = (SELECT agent FROM review WHERE review_id = ?1)
                AND seq >= (SELECT min(seq) FROM register WHERE kind = 'review'
                    AND kind NOT IN ('intent', 'result', 'refusal') AND instr(bytes, CAST(?1 AS BLOB)))
                AND instr(bytes, CAST(?1 AS BLOB)) ORDER BY seq LIMIT ?2""",
                (review_id, STORY),
            )
        return await self._entries(sorted({seq: (seq, digest, data) for seq, digest, data in told}.values()))

    async def spend(self, agents: Mapping[str, Budget]) -> Sequence[Spend]:
        """Each agent's settled spend in its window, and its open reservations, now."""
        now = (await self._now()).ledger_us
        answers = []
        told = [(budget.account or agent, budget) for agent, own in agents.items() for budget in (own, *own.further)]
        for agent, budget in dict.fromkeys(told):
            ((cum, reserved, before),) = await self._rows(
                """SELECT
                coalesce((SELECT cum_nano FROM balance WHERE agent = ?1), 0),
                coalesce((SELECT reserved_nano FROM balance WHERE agent = ?1), 0),
                coalesce((SELECT cum_nano FROM spend WHERE agent = ?1 AND ts <= ?2 ORDER BY ts DESC LIMIT 1), 0)""",
                (agent, now - budget.window_us),
            )
            answers.append(Spend(agent, cum - before, reserved, budget.window_us, budget))
        return answers

    async def spent(self, by: SpendKey, *, agent: str | None = None, since_us: int | None = None) -> Sequence[Spent]:
        """All that was charged, or in so many µs up to now, summed up; the dearest first."""
        since = 0 if since_us is None else (await self._now()).ledger_us - since_us
        group = {
            "agent": "s.agent",
            "model": "coalesce(json_extract(CAST(r.bytes AS TEXT), '$.model'), '')",
            "tool": "coalesce(r.tool, '')",
            "day": "date(r.at_us / 1000000, 'unixepoch')",
        }[by]
        found = await self._rows(
            f"""SELECT s.agent, {group}, sum(s.amount_nano), count(*)
            FROM spend AS s JOIN register AS r ON r.seq = s.seq
            WHERE s.ts > ?1 AND s.agent = coalesce(?2, s.agent) AND substr(s.agent, 1, 1) <> '@'
            GROUP BY 1, 2 ORDER BY 3 DESC, 1, 2""",  # noqa: S608
            (since, agent),
        )
        return [Spent(*row) for row in found]

    async def review(self, review_id: str) -> Review | None:
        """One review, as it stands now."""
        found = await self._rows(f"SELECT {COLUMNS} FROM review WHERE review_id = ?", (review_id,))  # noqa: S608
        clock = await self._now()
        return from_row(found[0], clock.ledger_us, clock.of_day) if found else None

    async def reviews(
        self, *, states: Sequence[ReviewState] = (), after_version: int = 0, limit: int = 500
    ) -> Sequence[Review]:
        """Reviews in the order of their last change: those changed after a version, else the newest."""
        clock = await self._now()
        limit = max(1, min(limit, MOST))
        terms: list[str] = []
        parameters: list[Any] = []
        if states:
            wanted = set(states)
            # An open review past its time shows as expired before the timer has said so.
            alternatives = []
            if plain := [state.value for state in wanted - OPEN]:
                alternatives.append(f"state IN ({', '.join('?' * len(plain))})")
                parameters += plain
            if still_open := [state.value for state in wanted & OPEN]:
                alternatives.append(f"(state IN ({', '.join('?' * len(still_open))}) AND expires_ts > ?)")
                parameters += [*still_open, clock.ledger_us]
            if ReviewState.EXPIRED in wanted:
                alternatives.append("(state IN ('pending', 'approved') AND expires_ts <= ?)")
                parameters.append(clock.ledger_us)
            terms.append(f"({' OR '.join(alternatives)})")
        if after_version:
            terms.append("version > ?")
            parameters.append(after_version)
        where = f"WHERE {' AND '.join(terms)}" if terms else ""
        order = "ASC" if after_version else "DESC"
        found = await self._rows(
            f"SELECT {COLUMNS} FROM review {where} ORDER BY version {order} LIMIT ?",  # noqa: S608
            [*parameters, limit],
        )
        if not after_version:
            found.reverse()
        return [from_row(row, clock.ledger_us, clock.of_day) for row in found]

    async def agents(self) -> Sequence[AgentRow]:
        """All agents."""
        now_us = (await self._now()).now_us
        return await self._read(lambda connection: people.agents(connection, now_us))

    async def ever_had_agents(self) -> bool:
        """Whether an agent was ever registered, also if it was removed since."""
        return await self._read(people.ever_had_agents)

    async def reviewers(self) -> Sequence[ReviewerRow]:
        """All reviewers."""
        return await self._read(people.reviewers)

    async def policy_in_force(self) -> tuple[str, str] | None:
        """Digest and text of the policy in force."""
        return await self._read(policy_in_force)

    async def reviewer_session(self, token_hash: str) -> str | None:
        """Whose session this is, if it has not ended."""
        clock = await self._now()
        found = await self._rows(
            "SELECT reviewer FROM reviewer_session WHERE token_hash = ? AND ends_us > ?", (token_hash, clock.now_us)
        )
        return found[0][0] if found else None
