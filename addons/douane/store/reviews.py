"""Reviews inside one transaction: each change is a compare-and-swap, together with its record.

Expiry is tested wherever a review is used; the timer only makes it visible sooner.
"""

from __future__ import annotations

import sqlite3
from collections.abc import Callable
from typing import Any

import orjson

from douane.core.review import OPEN, IllegalTransition, ReviewEvent, ReviewState, advance
from douane.store.interface import Review, StoreError

COLUMNS = (
    "review_id, agent, semantic_digest, state, version, created_ts, expires_ts, card, "
    "reviewer, channel, note, decided_ts, call_id, result_status"
)


def from_row(row: tuple[Any, ...], now: int, of_day: Callable[[int], int]) -> Review:
    """A review as it stands at ledger time `now`: an open one past its time counts as expired before anyone says so."""
    review_id, agent, digest, state, version, created, expires, card, reviewer, channel, note, decided, call, status = (
        row
    )
    members = orjson.loads(card)
    members["reason_codes"] = tuple(members["reason_codes"])
    members["operations"] = tuple(members["operations"])
    state = ReviewState(state)
    return Review(
        review_id=review_id,
        state=ReviewState.EXPIRED if state in OPEN and expires <= now else state,
        agent=agent,
        semantic_digest=digest,
        created_us=of_day(created),
        expires_at_us=of_day(expires),
        version=version,
        reviewer=reviewer,
        channel=channel,
        note=note,
        decided_us=None if decided is None else of_day(decided),
        call_id=call,
        result_status=status,
        **members,
    )


class Reviews:
    """The review table, while the store's transaction is open."""

    def __init__(self, connection: sqlite3.Connection, version: int) -> None:
        self._connection = connection
        self._version = version

    def row(self, review_id: str) -> tuple[Any, ...] | None:
        """One review's columns."""
        found: tuple[Any, ...] | None = self._connection.execute(
            f"SELECT {COLUMNS} FROM review WHERE review_id = ?",  # noqa: S608
            (review_id,),
        ).fetchone()
        return found

    def binding(self, agent: str, digest: str, now: int) -> tuple[Any, ...] | None:
        """The review that answers this call: one that is open (its time may be up), or a rejection until its expiry."""
        found: tuple[Any, ...] | None = self._connection.execute(
            f"""SELECT {COLUMNS} FROM review
            WHERE agent = ? AND semantic_digest = ? AND state IN ('pending', 'approved')
            UNION ALL SELECT {COLUMNS} FROM review
            WHERE agent = ? AND semantic_digest = ? AND state = 'rejected' AND expires_ts > ? LIMIT 1""",  # noqa: S608
            (agent, digest, agent, digest, now),
        ).fetchone()
        return found

    def due(self, now: int, limit: int) -> list[tuple[Any, ...]]:
        """Open reviews whose time is up."""
        return self._connection.execute(
            f"""SELECT {COLUMNS} FROM review
            WHERE state IN ('pending', 'approved') AND expires_ts <= ? ORDER BY expires_ts LIMIT ?""",  # noqa: S608
            (now, limit),
        ).fetchall()

    def count_open(self, agent: str, now: int) -> int:
        """How many reviews of an agent are open."""
        (count,) = self._connection.execute(
            """SELECT count(*) FROM review INDEXED BY review_open
            WHERE agent = ? AND state IN ('pending', 'approved') AND expires_ts > ?""",
            (agent, now),
        ).fetchone()
        return int(count)

    def insert(self, review_id: str, agent: str, digest: str, now: int, expires: int, card: bytes) -> None:
        """Open a review."""
        self._connection.execute(
            f"INSERT INTO review ({COLUMNS}) VALUES (?, ?, ?, ?, ?, ?, ?, ?, "  # noqa: S608
            "NULL, NULL, NULL, NULL, NULL, NULL)",
            (review_id, agent, digest, ReviewState.PENDING.value, self._next(), now, expires, card),
        )

    def change(self, row: tuple[Any, ...], event: ReviewEvent, **columns: Any) -> ReviewState:
        """Move a review on, compare-and-swap; raises `IllegalTransition` before anything is written."""
        before = ReviewState(row[3])
        after = advance(before, event)
        names = "".join(f", {name} = ?" for name in columns)
        cursor = self._connection.execute(
            f"UPDATE review SET state = ?, version = ?{names} WHERE review_id = ? AND state = ? AND version = ?",  # noqa: S608
            (after.value, self._next(), *columns.values(), row[0], before.value, row[4]),
        )
        if cursor.rowcount != 1:
            raise StoreError(f"review {row[0]} is not what was read a moment ago")
        return after

    def _next(self) -> int:
        self._version += 1
        return self._version


def illegal(row: tuple[Any, ...], event: ReviewEvent, now: int) -> IllegalTransition:
    """Why an event does not fit a review as it stands at `now`."""
    state = ReviewState(row[3])
    return IllegalTransition(ReviewState.EXPIRED if state in OPEN and row[6] <= now else state, event)
