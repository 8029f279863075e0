"""How the API writes what the store holds."""

from __future__ import annotations

import dataclasses
import datetime
from typing import Any

from douane.core.decision import Budget
from douane.core.money import usd_from_nano
from douane.store.interface import AgentRow, LogEntry, Review, Spend, Spent


def rfc3339(at_us: int | None) -> str | None:
    """A time in UTC, to the millisecond."""
    if at_us is None:
        return None
    moment = datetime.datetime.fromtimestamp(at_us / 1e6, datetime.UTC)
    return moment.isoformat(timespec="milliseconds").replace("+00:00", "Z")


def review_json(review: Review, waiting: int) -> dict[str, Any]:
    """A review, with how many connections wait on it now."""
    return {
        **dataclasses.asdict(review),
        "state": review.state.value,
        "waiting": waiting,
        "created_at": rfc3339(review.created_us),
        "expires_at": rfc3339(review.expires_at_us),
        "decided_at": rfc3339(review.decided_us),
        "cost_usd": usd_from_nano(review.cost_nano),
    }


def agent_json(row: AgentRow) -> dict[str, Any]:
    """An agent, without its keys' hashes."""
    return {
        "name": row.name,
        "labels": dict(row.labels),
        "cap_usd": None if row.cap_nano is None else usd_from_nano(row.cap_nano),
        "cap_nano": row.cap_nano,
        "suspended": row.suspended,
        "created_at": rfc3339(row.created_us),
        "session_keys": sum(ends is not None for ends in row.key_hashes.values()),
    }


def spend_json(row: Spend, budget: Budget) -> dict[str, Any]:
    """An agent's spend against its cap."""
    return {
        "agent": row.agent,
        "settled_usd": usd_from_nano(row.settled_nano),
        "reserved_usd": usd_from_nano(row.reserved_nano),
        "settled_nano": row.settled_nano,
        "reserved_nano": row.reserved_nano,
        "cap_usd": None if budget.cap_nano is None else usd_from_nano(budget.cap_nano),
        "cap_nano": budget.cap_nano,
        "window_seconds": budget.window_us / 1e6,
        "source": budget.source,
    }


def spent_json(row: Spent, by: str) -> dict[str, Any]:
    """What was charged to an agent in one group."""
    group = {} if by == "agent" else {by: row.group}
    return {
        "agent": row.agent,
        **group,
        "calls": row.calls,
        "charge_usd": usd_from_nano(row.charge_nano),
        "charge_nano": row.charge_nano,
    }


def log_json(entry: LogEntry) -> dict[str, Any]:
    """A record with the values that its commitments stand for."""
    return {"seq": entry.seq, "hash": entry.hash, "record": dict(entry.record), "values": dict(entry.values)}
