"""Law: no account's settled + reserved exceeds any of its caps, whatever is shared, deferred, moved or lost.

Several windows of one agent, an account that two agents share, one that counts what calls move, work that goes on
behind a response, aborts, releases, crashes and a wall clock that is set, interleaved at random; at the end the sums
are those that the register's records come to.
"""

from __future__ import annotations

from dataclasses import dataclass, field
from pathlib import Path
from tempfile import TemporaryDirectory
from typing import Any

from hypothesis import HealthCheck, settings
from hypothesis import strategies as st
from hypothesis.stateful import RuleBasedStateMachine, initialize, invariant, rule

from douane.core.decision import Budget
from douane.core.record import decode
from douane.edge.keys import load_or_create_keys
from douane.store import bodies
from douane.store.clock import Clock
from douane.store.engine import DEFERRED_US, Engine
from douane.store.interface import Admitted, CapExceeded, Intent, MustWait, Result
from douane.store.recovery import connect, open_engine
from support.register import SetClock, completed, deferred, priced, script, told_later

MINUTE, MINUTES = 60_000_000, 300_000_000
TEAM = Budget(150, MINUTE, account="@team")
OWN = {
    "one": Budget(100, MINUTE, further=(Budget(160, MINUTES), TEAM)),
    "two": Budget(None, MINUTE, further=(TEAM,)),
}
MOVED = Budget(90, 2 * MINUTE, account="@moved")
CAPS = {"one": ((100, MINUTE), (160, MINUTES)), "two": (), "@team": ((150, MINUTE),), "@moved": ((90, 2 * MINUTE),)}


def budget_of(agent: str, moves: int | None) -> Budget:
    own = OWN[agent]
    if moves is None:
        return own
    counted = Budget(MOVED.cap_nano, MOVED.window_us, account="@moved", amount_nano=moves)
    return Budget(own.cap_nano, own.window_us, further=(*own.further, counted))


@dataclass
class Account:
    """What an account must hold, by plain summing."""

    spends: list[tuple[int, int]] = field(default_factory=list)
    reserved: int = 0
    overrun: bool = False

    def settled(self, now: int, window: int) -> int:
        return sum(amount for ts, amount in self.spends if ts > now - window)

    def settle(self, now: int, reserved: int, amount: int) -> None:
        self.reserved -= reserved
        self.overrun |= amount > reserved
        if amount:
            last = self.spends[-1][0] if self.spends else 0
            self.spends.append((max(now, last + 1), amount))


@dataclass
class Open:
    """A call under way, or its work behind the response: what each account has set aside for it."""

    intent: Intent
    cost: dict[str, int]
    moves: int | None = None


class SharedMoney(RuleBasedStateMachine):
    @initialize()
    def begin(self) -> None:
        self.folder = TemporaryDirectory(prefix="douane-law-")
        self.path = Path(self.folder.name) / "private"
        self.path.mkdir(mode=0o700)
        self.keys = load_or_create_keys(self.path)
        self.wall, self.boot = SetClock(), SetClock(1_000_000_000)
        self.accounts = {name: Account() for name in CAPS}
        self.calls: list[Open] = []
        self.behind: dict[str, Open] = {}
        self.engine = self.open()

    def open(self) -> Engine:
        self.connection = connect(self.path / "douane.db")
        return open_engine(self.connection, self.keys, Clock(self.wall, self.boot, "boot"), boot={})

    def teardown(self) -> None:
        if not hasattr(self, "engine"):
            return
        story = script("verify_audit").Story()
        for (data,) in self.connection.execute("SELECT bytes FROM register ORDER BY seq"):
            story.add(decode(data))
        for name, account in self.accounts.items():
            told = story.accounts.get(name)
            found = (told.cum_nano, told.reserved_nano) if told else (0, 0)
            assert found == (sum(amount for _, amount in account.spends), account.reserved), name
        self.connection.close()
        self.folder.cleanup()

    def begun(self, *agents: str) -> None:
        windows = [(agent, window) for agent in agents for _, window in CAPS[agent] or ((0, 0),)]
        self.engine.begin([*windows, ("@team", MINUTE), ("@moved", 2 * MINUTE)])

    @rule(agent=st.sampled_from(["one", "two"]), reserve=st.integers(0, 120), moves=st.none() | st.integers(0, 60))
    def admit(self, agent: str, reserve: int, moves: int | None) -> None:
        self.begun(agent)
        now = self.engine.clock.ledger_us
        amounts = {agent: reserve, "@team": reserve} | ({} if moves is None else {"@moved": moves})
        call = priced(reserve, None, agent=agent, budget=budget_of(agent, moves))
        answer = self.engine.admit(call, *bodies.intent(call))
        held = [(name, cap, window) for name in amounts for cap, window in CAPS[name]]
        settled = {(name, window): self.accounts[name].settled(now, window) for name, _, window in held}
        if any(settled[name, window] + amounts[name] > cap for name, cap, window in held):
            assert isinstance(answer, CapExceeded), answer
        elif any(
            settled[name, width] + self.accounts[name].reserved + amounts[name] > cap for name, cap, width in held
        ):
            assert isinstance(answer, MustWait), answer
        else:
            assert isinstance(answer, Admitted), answer
            for name, amount in amounts.items():
                self.accounts[name].reserved += amount
            self.calls.append(Open(call, {agent: reserve, "@team": reserve}, moves))
        self.engine.commit()

    @rule(pick=st.integers(0, 50), percent=st.integers(0, 130), status=st.sampled_from([200, 302, 402, 503]))
    def settle(self, pick: int, percent: int, status: int) -> None:
        if self.calls:
            call = self.calls[pick % len(self.calls)]
            charge = call.intent.reserve_nano * percent // 100
            self.end(call, completed(call.intent, charge, status=status), charge, moved=status != 402)

    @rule(pick=st.integers(0, 50))
    def abort(self, pick: int) -> None:
        """Cut behind the request, with nothing known of its cost."""
        if self.calls:
            call = self.calls[pick % len(self.calls)]
            result = Result(call.intent.call_id, "aborted", None, None)
            self.end(call, result, call.intent.reserve_nano, moved=True)

    @rule(pick=st.integers(0, 50))
    def release(self, pick: int) -> None:
        if self.calls:
            call = self.calls[pick % len(self.calls)]
            self.end(call, Result(call.intent.call_id, "failed", None, None), 0, moved=False)

    @rule(pick=st.integers(0, 50))
    def defer(self, pick: int) -> None:
        if self.calls:
            call = self.calls[pick % len(self.calls)]
            response_id = f"resp-{call.intent.call_id}"
            self.end(call, deferred(call.intent, response_id), None, moved=True)
            self.behind[response_id] = Open(call.intent, call.cost)

    def end(self, call: Open, result: Result, charge: int | None, *, moved: bool) -> None:
        self.begun(call.intent.agent)
        self.engine.settle(result, *bodies.result(result))
        self.engine.settle(result, *bodies.result(result))  # a second result changes nothing
        now = self.engine.clock.ledger_us
        if charge is not None:
            for name, amount in call.cost.items():
                self.accounts[name].settle(now, amount, charge)
        if call.moves is not None:
            self.accounts["@moved"].settle(now, call.moves, call.moves if moved else 0)
        self.calls.remove(call)
        self.engine.commit()

    @rule(pick=st.integers(0, 50), percent=st.integers(0, 130), again=st.booleans())
    def told(self, pick: int, percent: int, again: bool) -> None:
        """An answer tells what work behind an earlier response did cost, and perhaps tells it twice."""
        if not self.behind:
            return
        response_id = sorted(self.behind)[pick % len(self.behind)]
        work = self.behind.pop(response_id)
        charge = work.intent.reserve_nano * percent // 100
        for _ in range(2 if again else 1):
            asks = priced(0, None, agent=work.intent.agent, budget=None)
            self.begun(work.intent.agent)
            assert isinstance(self.engine.admit(asks, *bodies.intent(asks)), Admitted)
            self.engine.commit()
            self.begun(work.intent.agent)
            result = told_later(asks, response_id, charge)
            self.engine.settle(result, *bodies.result(result))
            self.engine.commit()
        for name, amount in work.cost.items():
            self.accounts[name].settle(self.engine.clock.ledger_us, amount, charge)

    @rule()
    def work_behind_responses_expires(self) -> None:
        self.boot.pass_by(DEFERRED_US / 1e6)
        self.wall.pass_by(DEFERRED_US / 1e6)
        self.engine.begin()
        self.engine.expire_due()
        for work in self.behind.values():
            for name, amount in work.cost.items():
                self.accounts[name].settle(self.engine.clock.ledger_us, amount, amount)
        self.behind.clear()
        self.engine.commit()

    @rule(seconds=st.sampled_from([0.0, 0.000001, 1.0, 20.0, 59.999999, 61.0, 250.0]))
    def time_passes(self, seconds: float) -> None:
        self.boot.pass_by(seconds)
        self.wall.pass_by(seconds)

    @rule(seconds=st.sampled_from([-86_400.0, -61.0, 61.0, 86_400.0]))
    def the_wall_clock_is_set(self, seconds: float) -> None:
        """No spend leaves a window sooner for it, and none comes back."""
        self.wall.pass_by(seconds)

    @rule()
    def crash(self) -> None:
        """In the middle of a transaction: what was open counts in full, work behind responses stays reserved."""
        self.begun("one")
        call = priced(1, None, agent="one", budget=budget_of("one", 1))
        self.engine.admit(call, *bodies.intent(call))
        self.engine.register.flush()
        self.connection.close()
        self.engine = self.open()
        now = self.engine.clock.ledger_us
        for lost in self.calls:
            for name, amount in lost.cost.items():
                self.accounts[name].settle(now, amount, amount)
            if lost.moves is not None:
                self.accounts["@moved"].settle(now, lost.moves, lost.moves)
        self.calls.clear()

    @invariant()
    def balances_are_what_plain_sums_say(self) -> None:
        if not hasattr(self, "engine"):
            return
        for name, account in self.accounts.items():
            row: Any = self.connection.execute(
                "SELECT cum_nano, reserved_nano FROM balance WHERE agent = ?", (name,)
            ).fetchone()
            assert (row or (0, 0)) == (sum(amount for _, amount in account.spends), account.reserved), name
            for cap, window in CAPS[name] if not account.overrun else ():
                assert account.settled(self.engine.clock.ledger_us, window) + account.reserved <= cap, name


TestSharedMoney = SharedMoney.TestCase
TestSharedMoney.settings = settings(
    max_examples=200, stateful_step_count=40, deadline=None, suppress_health_check=[HealthCheck.too_slow]
)
