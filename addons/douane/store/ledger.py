"""Budgets inside one transaction: balances read from the database, decided on, and written back under a guard.

Nothing else can write between reading and writing: the transaction holds the write lock. The guard in the UPDATE states
the law once more in SQL (settled + reserved ≤ cap); if it does not hold for every agent, the transaction fails.
"""

from __future__ import annotations

import sqlite3
from collections.abc import Iterable, Sequence
from dataclasses import dataclass, field

from douane.core.decision import Budget
from douane.store import rows
from douane.store.interface import CapExceeded, MustWait, StoreError

AT_ONCE = 500
"""Agents in one statement: far below what SQLite takes."""

_NEVER = 2**63

_SPENT_BEFORE = """SELECT s.cum_nano FROM spend AS s
    WHERE s.agent = w.agent AND s.ts <= w.since ORDER BY s.ts DESC LIMIT 1"""


@dataclass(slots=True)
class Balance:
    """An agent's running totals within the open transaction."""

    cum_nano: int = 0
    reserved_nano: int = 0
    last_ts: int = 0
    changed: bool = False
    cap_nano: int | None = None
    since: int = 0
    """Cap and start of the window of the last admission: what the guard checks."""
    further: list[tuple[int, int]] = field(default_factory=list)
    """(cap, what was spent before its window) of other windows of that admission."""


class Ledger:
    """Reserve and settle."""

    def __init__(self, connection: sqlite3.Connection) -> None:
        self._connection = connection
        self._balances: dict[str, Balance] = {}
        self._before: dict[tuple[str, int], int] = {}
        self._spends: list[tuple[str, int, int, int, int]] = []
        self._now = 0

    def begin(self, now: int, wanted: Iterable[tuple[str, int]]) -> None:
        """Read the balances of (agent, window in µs) at ledger time `now`; window 0 where none is checked."""
        self._now = now
        self._balances.clear()
        self._before.clear()
        self._spends.clear()
        windows = list(dict.fromkeys(wanted))
        for at in range(0, len(windows), AT_ONCE):
            some = windows[at : at + AT_ONCE]
            parameters = [value for agent, window in some for value in (agent, now - window, window)]
            for agent, window, cum, reserved, last, before in self._connection.execute(
                f"""WITH w (agent, since, width) AS (VALUES {rows.values(3, len(some))})
                SELECT w.agent, w.width, b.cum_nano, b.reserved_nano, b.last_ts, ({_SPENT_BEFORE})
                FROM w LEFT JOIN balance AS b ON b.agent = w.agent""",  # noqa: S608
                parameters,
            ):
                self._balances[agent] = Balance(cum or 0, reserved or 0, last or 0)
                self._before[agent, window] = before or 0

    def reserve(self, agent: str, amount_nano: int, caps: Sequence[Budget]) -> MustWait | CapExceeded | None:
        """Set an amount aside in every account; None when done. It waits, or is refused, where it does not fit.

        All caps of one account count the same amount.
        """
        wait: MustWait | None = None
        full: CapExceeded | None = None
        amounts = {agent: amount_nano}
        for budget in caps:
            if budget.account is not None:
                amounts[budget.account] = amount_nano if budget.amount_nano is None else budget.amount_nano
        for budget in caps:
            cap, account = budget.cap_nano, budget.account or agent
            assert cap is not None
            balance, needed = self._balances[account], amounts[account]
            settled = balance.cum_nano - self._before[account, budget.window_us]
            if settled + needed > cap:
                resets_at = self._resets_at(account, needed, cap, budget)
                if full is None or (full.resets_at_us or _NEVER) < (resets_at or _NEVER):  # the last one to have room
                    full = CapExceeded(settled, balance.reserved_nano, resets_at, budget)
            elif wait is None and settled + balance.reserved_nano + needed > cap:
                wait = MustWait(settled, balance.reserved_nano)
        if full is not None or wait is not None:
            return full or wait
        for account, needed in amounts.items():
            balance = self._balances[account]
            balance.cap_nano = None
            balance.further.clear()
            balance.reserved_nano += needed
            balance.changed = True
        for budget in caps:
            balance = self._balances[budget.account or agent]
            cap = budget.cap_nano
            if balance.cap_nano is None:
                balance.cap_nano, balance.since = cap, self._now - budget.window_us
            elif cap is not None:
                balance.further.append((cap, self._before[budget.account or agent, budget.window_us]))
        return None

    def settled(self, agent: str, budget: Budget) -> tuple[int, int]:
        """Settled spend in the window and open reservations, as of this point of the transaction."""
        account = budget.account or agent
        balance = self._balances[account]
        return balance.cum_nano - self._before[account, budget.window_us], balance.reserved_nano

    def settle(self, agent: str, reserved_nano: int, amount_nano: int, seq: int) -> tuple[int, int]:
        """Book a charge in place of its reservation; returns the agent's running total and the time it is dated."""
        balance = self._balances.get(agent) or self._load(agent)
        balance.reserved_nano -= reserved_nano
        balance.changed = True
        if amount_nano:
            balance.cum_nano += amount_nano
            balance.last_ts = max(self._now, balance.last_ts + 1)
            self._spends.append((agent, balance.last_ts, amount_nano, balance.cum_nano, seq))
        return balance.cum_nano, balance.last_ts

    def _load(self, agent: str) -> Balance:
        """The balance of an agent whose own calls are not in this transaction."""
        row = self._connection.execute(
            "SELECT cum_nano, reserved_nano, last_ts FROM balance WHERE agent = ?", (agent,)
        ).fetchone()
        found = self._balances[agent] = Balance(*row) if row else Balance()
        return found

    def flush(self) -> None:
        """Write the balances back; `StoreError` if any of them breaks its cap."""
        changed = [(agent, balance) for agent, balance in self._balances.items() if balance.changed]
        for _, balance in changed:
            for cap, before in balance.further:
                if balance.cum_nano - before + balance.reserved_nano > cap:
                    raise StoreError("a reservation would break a cap; nothing of this transaction was written")
        for at in range(0, len(changed), AT_ONCE):
            some = changed[at : at + AT_ONCE]
            parameters = [
                value
                for agent, balance in some
                for value in (
                    agent,
                    balance.cum_nano,
                    balance.reserved_nano,
                    balance.last_ts,
                    balance.cap_nano,
                    balance.since,
                )
            ]
            cursor = self._connection.execute(
                f"""INSERT INTO balance
                WITH w (agent, cum, reserved, ts, cap, since) AS (VALUES {rows.values(6, len(some))})
                SELECT agent, cum, reserved, ts FROM w
                WHERE cap IS NULL OR cum - coalesce(({_SPENT_BEFORE}), 0) + reserved <= cap
                ON CONFLICT (agent) DO UPDATE SET
                    cum_nano = excluded.cum_nano, reserved_nano = excluded.reserved_nano, last_ts = excluded.last_ts
                WHERE balance.cum_nano <= excluded.cum_nano AND balance.last_ts <= excluded.last_ts""",  # noqa: S608
                parameters,
            )
            if cursor.rowcount != len(some):
                raise StoreError("a reservation would break its cap; nothing of this transaction was written")
        rows.insert(self._connection, "INSERT INTO spend VALUES", self._spends)

    def _resets_at(self, agent: str, amount_nano: int, cap_nano: int, budget: Budget) -> int | None:
        """Ledger time at which so much spend has left the window that the call fits; None if it never fits."""
        if amount_nano > cap_nano:
            return None
        must_leave = self._balances[agent].cum_nano + amount_nano - cap_nano
        early, late = self._now - budget.window_us, max(self._now, self._balances[agent].last_ts)
        while early < late:  # running totals rise with time: halve the window until the spend that must leave is found
            middle = (early + late) // 2
            if self._cum_at(agent, middle) >= must_leave:
                late = middle
            else:
                early = middle + 1
        return late + budget.window_us

    def _cum_at(self, agent: str, ts: int) -> int:
        for pending in reversed(self._spends):  # booked in this transaction, not yet written
            if pending[0] == agent and pending[1] <= ts:
                return pending[3]
        row = self._connection.execute(
            "SELECT cum_nano FROM spend WHERE agent = ? AND ts <= ? ORDER BY ts DESC LIMIT 1", (agent, ts)
        ).fetchone()
        return int(row[0]) if row else 0
