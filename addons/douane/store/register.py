"""The register while it is being written: the chain's tip, the tree's edge, each agent's counter."""

from __future__ import annotations

import os
import sqlite3
from collections.abc import Mapping
from typing import Any

from douane.core.record import Kind, commitment, decode, encode, record_hash
from douane.core.tree import Frontier
from douane.store import rows

TREE_EVERY = 4096
"""The tree's edge is kept every so many records: at most as many are hashed again at a start."""

_SALT_BYTES = 32
_SALTS_AT_ONCE = 256


class Register:
    """Appends records to the open transaction; its state is right again only after a rollback if it is read anew."""

    def __init__(self, connection: sqlite3.Connection, *, size: int, tip_hash: str, tree: Frontier) -> None:
        self._connection = connection
        self.size = size
        self.tip_hash = tip_hash
        self.tree = tree
        self._counters: dict[str, int] = {}
        self._records: list[tuple[Any, ...]] = []
        self._values: list[tuple[int, str, bytes, bytes]] = []
        self._edges: list[tuple[int, bytes]] = []
        self._salts = b""

    def append(
        self,
        kind: Kind,
        at_us: int,
        body: dict[str, Any],
        *,
        agent: str | None = None,
        values: Mapping[str, bytes] | None = None,
    ) -> tuple[int, str]:
        """Add a record with these members; returns its seq and hash. It is written by `flush`."""
        seq = self.size
        body["seq"] = seq
        body["prev"] = self.tip_hash
        body["at_us"] = at_us
        body["kind"] = kind.value
        if agent is not None:
            body["agent"] = agent
            body["n"] = self._counters[agent] = self._counter(agent) + 1
        if values:
            committed = {}
            for name, value in values.items():
                salt = self._salt()
                committed[name] = commitment(value, salt)
                self._values.append((seq, name, salt, value))
            body["committed"] = committed
        data = encode(body)
        digest = record_hash(data)
        self.tree.append(data)
        self.size = seq + 1
        self.tip_hash = digest
        get = body.get
        self._records.append(
            (seq, bytes.fromhex(digest), data, at_us, kind.value, agent, get("tool"), get("outcome"), get("call_id"))
        )
        if self.size % TREE_EVERY == 0:
            self._edges.append((self.size, self.tree.dump()))
        return seq, digest

    def flush(self) -> None:
        """Write what was appended into the open transaction."""
        rows.insert(self._connection, "INSERT INTO register VALUES", self._records)
        rows.insert(self._connection, "INSERT INTO value VALUES", self._values)
        rows.insert(self._connection, "INSERT INTO tree VALUES", self._edges)
        self._records.clear()
        self._values.clear()
        self._edges.clear()

    def _counter(self, agent: str) -> int:
        if (counter := self._counters.get(agent)) is not None:
            return counter
        row = self._connection.execute(
            "SELECT bytes FROM register WHERE agent = ? ORDER BY seq DESC LIMIT 1", (agent,)
        ).fetchone()
        return int(decode(row[0])["n"]) if row else 0

    def _salt(self) -> bytes:
        if not self._salts:
            self._salts = os.urandom(_SALT_BYTES * _SALTS_AT_ONCE)
        salt, self._salts = self._salts[:_SALT_BYTES], self._salts[_SALT_BYTES:]
        return salt
