"""The database's shape: numbered migrations, each applied once, in a transaction."""

from __future__ import annotations

import sqlite3

from douane.store.interface import StoreError

APPLICATION_ID = 0x446F756E  # "Doun"

MIGRATIONS: tuple[tuple[str, ...], ...] = (
    (
        # The register. `bytes` is the record; the other columns repeat members of it, for filters only.
        """CREATE TABLE register (
            seq INTEGER PRIMARY KEY, hash BLOB NOT NULL, bytes BLOB NOT NULL, at_us INTEGER NOT NULL,
            kind TEXT NOT NULL, agent TEXT, tool TEXT, outcome TEXT, call_id TEXT
        ) STRICT""",
        "CREATE INDEX register_agent ON register (agent, seq) WHERE agent IS NOT NULL",
        "CREATE INDEX register_call ON register (call_id) WHERE call_id IS NOT NULL",
        """CREATE INDEX register_rare ON register (kind, seq) WHERE kind NOT IN ('intent', 'result', 'refusal')""",
        # What commitments stand for. Erasing a row leaves the chain whole.
        """CREATE TABLE value (
            seq INTEGER NOT NULL, name TEXT NOT NULL, salt BLOB NOT NULL, bytes BLOB NOT NULL, PRIMARY KEY (seq, name)
        ) STRICT, WITHOUT ROWID""",
        # The right edge of the tree at some sizes, to go on from.
        "CREATE TABLE tree (size INTEGER PRIMARY KEY, peaks BLOB NOT NULL) STRICT",
        "CREATE TABLE head (size INTEGER PRIMARY KEY, note TEXT NOT NULL, reason TEXT NOT NULL) STRICT",
        # Intents that have no result yet, by the seq of their intent.
        """CREATE TABLE open_call (
            seq INTEGER PRIMARY KEY, call_id TEXT NOT NULL, agent TEXT NOT NULL, tool TEXT NOT NULL,
            reserve_nano INTEGER NOT NULL CHECK (reserve_nano >= 0), model TEXT, review_id TEXT
        ) STRICT""",
        # Spend as running totals: what was spent between two times is one subtraction. `ts` is ledger time.
        """CREATE TABLE spend (
            agent TEXT NOT NULL, ts INTEGER NOT NULL, amount_nano INTEGER NOT NULL, cum_nano INTEGER NOT NULL,
            seq INTEGER NOT NULL, PRIMARY KEY (agent, ts)
        ) STRICT, WITHOUT ROWID""",
        """CREATE TABLE balance (
            agent TEXT PRIMARY KEY, cum_nano INTEGER NOT NULL CHECK (cum_nano >= 0),
            reserved_nano INTEGER NOT NULL CHECK (reserved_nano >= 0), last_ts INTEGER NOT NULL
        ) STRICT, WITHOUT ROWID""",
        """CREATE TABLE review (
            review_id TEXT PRIMARY KEY, agent TEXT NOT NULL, semantic_digest TEXT NOT NULL, state TEXT NOT NULL,
            version INTEGER NOT NULL, created_ts INTEGER NOT NULL, expires_ts INTEGER NOT NULL, card BLOB NOT NULL,
            reviewer TEXT, channel TEXT, note TEXT, decided_ts INTEGER, call_id TEXT, result_status INTEGER
        ) STRICT, WITHOUT ROWID""",
        """CREATE UNIQUE INDEX review_open ON review (agent, semantic_digest) WHERE state IN ('pending', 'approved')""",
        "CREATE INDEX review_rejected ON review (agent, semantic_digest, expires_ts) WHERE state = 'rejected'",
        "CREATE INDEX review_due ON review (expires_ts) WHERE state IN ('pending', 'approved')",
        "CREATE UNIQUE INDEX review_version ON review (version)",
        """CREATE TABLE agent (
            name TEXT PRIMARY KEY, labels BLOB NOT NULL, cap_nano INTEGER, suspended INTEGER NOT NULL,
            created_us INTEGER NOT NULL
        ) STRICT, WITHOUT ROWID""",
        """CREATE TABLE agent_key (
            key_hash TEXT PRIMARY KEY, agent TEXT NOT NULL, ends_us INTEGER
        ) STRICT, WITHOUT ROWID""",
        """CREATE TABLE reviewer (
            name TEXT PRIMARY KEY, secret_hash TEXT NOT NULL, created_us INTEGER NOT NULL
        ) STRICT, WITHOUT ROWID""",
        """CREATE TABLE login_link (
            link_hash TEXT PRIMARY KEY, reviewer TEXT NOT NULL, ends_us INTEGER NOT NULL
        ) STRICT, WITHOUT ROWID""",
        """CREATE TABLE reviewer_session (
            token_hash TEXT PRIMARY KEY, reviewer TEXT NOT NULL, ends_us INTEGER NOT NULL
        ) STRICT, WITHOUT ROWID""",
        "CREATE TABLE policy (text_blake3 TEXT PRIMARY KEY, digest TEXT NOT NULL, text TEXT NOT NULL) STRICT",
        # Single values: the clock's shift, the boot it belongs to, the review version, whether there ever was an agent.
        "CREATE TABLE fact (name TEXT PRIMARY KEY, value ANY NOT NULL) STRICT, WITHOUT ROWID",
        "CREATE TABLE migration (number INTEGER PRIMARY KEY, at_us INTEGER NOT NULL) STRICT",
    ),
    (
        # Work that goes on behind a response, its reservation still open: its usage comes with a later response.
        """CREATE TABLE deferred (
            response_id TEXT PRIMARY KEY, agent TEXT NOT NULL, call_id TEXT NOT NULL, tool TEXT NOT NULL,
            reserve_nano INTEGER NOT NULL CHECK (reserve_nano >= 0), model TEXT, ends_ts INTEGER NOT NULL,
            accounts TEXT NOT NULL
        ) STRICT, WITHOUT ROWID""",
        # The shared accounts that a call's reservation stands in besides its agent's own, separated by blanks.
        "ALTER TABLE open_call ADD COLUMN accounts TEXT NOT NULL DEFAULT ''",
    ),
)


def migrate(connection: sqlite3.Connection, at_us: int) -> None:
    """Bring a database up to this version's shape; a crash between two steps leaves the older, whole shape.

    Raises `StoreError` for a database of a newer version, or one that is not Douane's.
    """
    (application,) = connection.execute("PRAGMA application_id").fetchone()
    (version,) = connection.execute("PRAGMA user_version").fetchone()
    (objects,) = connection.execute("SELECT count(*) FROM sqlite_schema").fetchone()
    if objects and application != APPLICATION_ID:
        raise StoreError("the database is not Douane's")
    if version > len(MIGRATIONS):
        raise StoreError(
            f"the database has shape {version}, this version knows up to {len(MIGRATIONS)}: upgrade Douane"
        )
    for number in range(version, len(MIGRATIONS)):
        connection.execute("BEGIN IMMEDIATE")
        for statement in MIGRATIONS[number]:
            connection.execute(statement)
        connection.execute("INSERT INTO migration VALUES (?, ?)", (number + 1, at_us))
        connection.execute(f"PRAGMA application_id = {APPLICATION_ID}")
        connection.execute(f"PRAGMA user_version = {number + 1}")
        connection.execute("COMMIT")
