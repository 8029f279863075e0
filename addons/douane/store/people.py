"""Agents, their keys, reviewers and their logins, inside one transaction; each change leaves an `admin` record.

Expected refusals (`KeyError`: no such name, `ValueError`: the name is taken) are returned, not raised: an operation
that raises has failed half-way, and latches the store.
"""

from __future__ import annotations

import sqlite3
from collections.abc import Mapping
from typing import TYPE_CHECKING, Any

import orjson

from douane.core.record import Kind, integer, present, text
from douane.store import bodies
from douane.store.interface import AgentRow, ReviewerRow

if TYPE_CHECKING:
    from douane.store.engine import Engine

KEY_ID_CHARS = 16
"""Enough of a key's hash to tell keys apart in the register."""


def agents(connection: sqlite3.Connection, now_us: int) -> list[AgentRow]:
    """All agents, with the keys that are valid now."""
    keys: dict[str, dict[str, int | None]] = {}
    for key_hash, agent, ends in connection.execute(
        "SELECT key_hash, agent, ends_us FROM agent_key WHERE ends_us IS NULL OR ends_us > ?", (now_us,)
    ):
        keys.setdefault(agent, {})[key_hash] = ends
    return [
        AgentRow(name, orjson.loads(labels), cap, bool(suspended), created, keys.get(name, {}))
        for name, labels, cap, suspended, created in connection.execute(
            "SELECT name, labels, cap_nano, suspended, created_us FROM agent ORDER BY name"
        )
    ]


def agent(engine: Engine, name: str) -> AgentRow | None:
    """One agent."""
    row = engine.connection.execute(
        "SELECT name, labels, cap_nano, suspended, created_us FROM agent WHERE name = ?", (name,)
    ).fetchone()
    if row is None:
        return None
    keys = engine.connection.execute(
        "SELECT key_hash, ends_us FROM agent_key WHERE agent = ? AND (ends_us IS NULL OR ends_us > ?)",
        (name, engine.clock.now_us),
    ).fetchall()
    return AgentRow(row[0], orjson.loads(row[1]), row[2], bool(row[3]), row[4], dict(keys))


def add_agent(
    engine: Engine, name: str, labels: Mapping[str, str], cap_nano: int | None, key_hash: str
) -> AgentRow | ValueError:
    """Register an agent with its first key."""
    if agent(engine, name) is not None:
        return ValueError(f"there is an agent {name} already")
    if _key_taken(engine, key_hash):
        return ValueError("the key is in use")
    execute = engine.connection.execute
    execute(
        "INSERT INTO agent VALUES (?, ?, ?, 0, ?)",
        (name, bodies.value_bytes(dict(labels)), cap_nano, engine.clock.now_us),
    )
    execute("INSERT INTO agent_key VALUES (?, ?, NULL)", (key_hash, name))
    execute("INSERT OR REPLACE INTO fact VALUES ('ever_had_agents', 1)")
    return _changed(engine, "agent.add", name, None)


def rotate_agent(engine: Engine, name: str, key_hash: str) -> AgentRow | KeyError | ValueError:
    """Replace the agent's own key; session keys go on until they end."""
    before = agent(engine, name)
    if before is None:
        return KeyError(name)
    if _key_taken(engine, key_hash):
        return ValueError("the key is in use")
    execute = engine.connection.execute
    execute("DELETE FROM agent_key WHERE agent = ? AND ends_us IS NULL", (name,))
    execute("INSERT INTO agent_key VALUES (?, ?, NULL)", (key_hash, name))
    return _changed(engine, "agent.rotate", name, before)


def remove_agent(engine: Engine, name: str) -> KeyError | None:
    """Forget an agent and all its keys. Its spend stays: a name taken up again does not start with an empty window."""
    before = agent(engine, name)
    if before is None:
        return KeyError(name)
    engine.connection.execute("DELETE FROM agent_key WHERE agent = ?", (name,))
    engine.connection.execute("DELETE FROM agent WHERE name = ?", (name,))
    admin(engine, "agent.remove", name, before=_shown(before))
    return None


def suspend_agent(engine: Engine, name: str, suspended: bool) -> AgentRow | KeyError:
    """Stop or resume an agent."""
    before = agent(engine, name)
    if before is None:
        return KeyError(name)
    engine.connection.execute("UPDATE agent SET suspended = ? WHERE name = ?", (int(suspended), name))
    return _changed(engine, "agent.suspend" if suspended else "agent.resume", name, before)


def add_session_key(engine: Engine, name: str, key_hash: str, ends_us: int) -> AgentRow | KeyError | ValueError:
    """Add a key that ends by itself; keys that have ended are cleared away."""
    before = agent(engine, name)
    if before is None:
        return KeyError(name)
    if _key_taken(engine, key_hash):
        return ValueError("the key is in use")
    execute = engine.connection.execute
    execute("DELETE FROM agent_key WHERE ends_us <= ?", (engine.clock.now_us,))
    execute("INSERT INTO agent_key VALUES (?, ?, ?)", (key_hash, name, ends_us))
    return _changed(engine, "agent.session", name, before)


def end_session_key(engine: Engine, name: str, key_hash: str) -> AgentRow | KeyError:
    """End a session key; the agent's own key does not end this way."""
    before = agent(engine, name)
    if before is None:
        return KeyError(name)
    cursor = engine.connection.execute(
        "DELETE FROM agent_key WHERE agent = ? AND key_hash = ? AND ends_us IS NOT NULL", (name, key_hash)
    )
    return _changed(engine, "agent.session.end", name, before) if cursor.rowcount else before


def ever_had_agents(connection: sqlite3.Connection) -> bool:
    """Whether an agent was ever registered."""
    return connection.execute("SELECT 1 FROM fact WHERE name = 'ever_had_agents'").fetchone() is not None


def reviewers(connection: sqlite3.Connection) -> list[ReviewerRow]:
    """All reviewers."""
    return [ReviewerRow(*row) for row in connection.execute("SELECT name, created_us FROM reviewer ORDER BY name")]


def add_reviewer(engine: Engine, name: str, secret_hash: str) -> ReviewerRow | ValueError:
    """Register a reviewer."""
    if secret_hash_of(engine, name) is not None:
        return ValueError(f"there is a reviewer {name} already")
    row = ReviewerRow(name, engine.clock.now_us)
    engine.connection.execute("INSERT INTO reviewer VALUES (?, ?, ?)", (name, secret_hash, row.created_us))
    admin(engine, "reviewer.add", name, after={"name": text(name)})
    return row


def remove_reviewer(engine: Engine, name: str) -> KeyError | None:
    """Forget a reviewer, with links and sessions."""
    if secret_hash_of(engine, name) is None:
        return KeyError(name)
    for statement in (
        "DELETE FROM reviewer WHERE name = ?",
        "DELETE FROM login_link WHERE reviewer = ?",
        "DELETE FROM reviewer_session WHERE reviewer = ?",
    ):
        engine.connection.execute(statement, (name,))
    admin(engine, "reviewer.remove", name, before={"name": text(name)})
    return None


def secret_hash_of(engine: Engine, name: str) -> str | None:
    """The hash of a reviewer's secret."""
    row = engine.connection.execute("SELECT secret_hash FROM reviewer WHERE name = ?", (name,)).fetchone()
    return row[0] if row else None


def add_login_link(engine: Engine, reviewer: str, link_hash: str, ends_us: int) -> KeyError | None:
    """Add a link that logs in once."""
    if secret_hash_of(engine, reviewer) is None:
        return KeyError(reviewer)
    engine.connection.execute("DELETE FROM login_link WHERE ends_us <= ?", (engine.clock.now_us,))
    engine.connection.execute("INSERT OR REPLACE INTO login_link VALUES (?, ?, ?)", (link_hash, reviewer, ends_us))
    admin(engine, "reviewer.link", reviewer, after={"ends_us": integer(ends_us)})
    return None


def spend_login_link(engine: Engine, link_hash: str) -> str | None:
    """Take a link: whoever comes second finds none."""
    row = engine.connection.execute(
        "DELETE FROM login_link WHERE link_hash = ? AND ends_us > ? RETURNING reviewer",
        (link_hash, engine.clock.now_us),
    ).fetchall()
    if not row:
        return None
    admin(engine, "reviewer.link.spent", row[0][0])
    return str(row[0][0])


def add_reviewer_session(engine: Engine, reviewer: str, token_hash: str, ends_us: int) -> KeyError | None:
    """Log a reviewer in."""
    if secret_hash_of(engine, reviewer) is None:
        return KeyError(reviewer)
    engine.connection.execute("DELETE FROM reviewer_session WHERE ends_us <= ?", (engine.clock.now_us,))
    engine.connection.execute(
        "INSERT OR REPLACE INTO reviewer_session VALUES (?, ?, ?)", (token_hash, reviewer, ends_us)
    )
    admin(engine, "reviewer.login", reviewer, after={"ends_us": integer(ends_us)})
    return None


def reviewer_session(engine: Engine, token_hash: str) -> str | None:
    """Whose session this is, if it has not ended."""
    row = engine.connection.execute(
        "SELECT reviewer FROM reviewer_session WHERE token_hash = ? AND ends_us > ?",
        (token_hash, engine.clock.now_us),
    ).fetchone()
    return row[0] if row else None


def end_reviewer_session(engine: Engine, token_hash: str) -> None:
    """Log out."""
    row = engine.connection.execute(
        "DELETE FROM reviewer_session WHERE token_hash = ? RETURNING reviewer", (token_hash,)
    ).fetchall()
    if row:
        admin(engine, "reviewer.logout", row[0][0])


def admin(
    engine: Engine,
    action: str,
    subject: str,
    *,
    before: dict[str, Any] | None = None,
    after: dict[str, Any] | None = None,
) -> None:
    """Record a change: what it was before and is after, without secrets."""
    engine.append(
        Kind.ADMIN,
        present({"action": action, "subject": text(subject), "by": "operator", "before": before, "after": after}),
    )


def _key_taken(engine: Engine, key_hash: str) -> bool:
    return engine.connection.execute("SELECT 1 FROM agent_key WHERE key_hash = ?", (key_hash,)).fetchone() is not None


def _changed(engine: Engine, action: str, name: str, before: AgentRow | None) -> AgentRow:
    after = agent(engine, name)
    assert after is not None
    admin(engine, action, name, before=_shown(before) if before else None, after=_shown(after))
    return after


def _shown(row: AgentRow) -> dict[str, Any]:
    return present(
        {
            "labels": bodies.labels(row.labels),
            "cap_nano": None if row.cap_nano is None else integer(row.cap_nano),
            "suspended": row.suspended,
            "keys": sorted(key[:KEY_ID_CHARS] for key, ends in row.key_hashes.items() if ends is None),
            "sessions": sorted(key[:KEY_ID_CHARS] for key, ends in row.key_hashes.items() if ends is not None)[:32],
        }
    )
