"""Many rows in one statement: sqlite3 lets go of the interpreter lock at every step, and has to wait for it again."""

from __future__ import annotations

import sqlite3
from collections.abc import Sequence
from functools import cache
from typing import Any

_CHUNK = 64


@cache
def _values(width: int, rows: int) -> str:
    row = f"({', '.join('?' * width)})"
    return ", ".join([row] * rows)


def insert(connection: sqlite3.Connection, head: str, rows: Sequence[tuple[Any, ...]]) -> None:
    """`head` (`INSERT INTO … VALUES`) for all rows, in chunks of powers of two, so that few statements are prepared."""
    at, left = 0, len(rows)
    while left:
        size = min(_CHUNK, 1 << (left.bit_length() - 1))
        parameters = [value for row in rows[at : at + size] for value in row]
        connection.execute(f"{head} {_values(len(rows[at]), size)}", parameters)
        at += size
        left -= size


def values(width: int, rows: int) -> str:
    """Place-holders of a VALUES clause."""
    return _values(width, rows)
