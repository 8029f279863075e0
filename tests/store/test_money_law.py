"""Law: settled + reserved never exceed the cap, under any interleaving of reserve, settle, time and crash."""

from __future__ import annotations

import sqlite3
from dataclasses import dataclass, field
from pathlib import Path
from tempfile import TemporaryDirectory
from typing import Any

from hypothesis import HealthCheck, settings
from hypothesis import strategies as st
from hypothesis.stateful import RuleBasedStateMachine, initialize, invariant, rule

from douane.edge.keys import SigningKeys, load_or_create_keys
from douane.store import bodies
from douane.store.clock import Clock
from douane.store.engine import Engine
from douane.store.interface import Admitted, CapExceeded, Intent, MustWait
from douane.store.recovery import connect, open_engine
from support.register import SetClock, completed, priced

WINDOW_US = 60_000_000
AGENTS = ("one", "two")
CAPS = {"one": 100, "two": 1000}


@dataclass
class Model:
    """What the ledger must hold, by plain summing."""

    spends: list[tuple[int, int]] = field(default_factory=list)
    open: dict[str, tuple[Intent, int]] = field(default_factory=dict)
    overrun: bool = False

    def settled(self, now: int) -> int:
        return sum(amount for ts, amount in self.spends if ts > now - WINDOW_US)

    def reserved(self) -> int:
        return sum(amount for _, amount in self.open.values())


class Money(RuleBasedStateMachine):
    @initialize()
    def begin(self) -> None:
        self.folder = TemporaryDirectory(prefix="douane-law-")
        self.path = Path(self.folder.name) / "private"
        self.path.mkdir(mode=0o700)
        self.keys: SigningKeys = load_or_create_keys(self.path)
        self.clock = SetClock()
        self.models = {agent: Model() for agent in AGENTS}
        self.connection: sqlite3.Connection | None = None
        self.engine = self.open()

    def open(self) -> Engine:
        self.connection = connect(self.path / "douane.db")
        return open_engine(self.connection, self.keys, Clock(self.clock, self.clock, ""), boot={})

    def teardown(self) -> None:
        if getattr(self, "connection", None) is not None:
            self.connection.close()
            self.folder.cleanup()

    def transact(self, operations: list[tuple[str, Any]]) -> None:
        """One transaction: riding results first, then admissions, as the writer does."""
        engine = self.engine
        agents = {(told[0].agent, 0) for kind, told in operations if kind == "settle"}
        agents |= {(told.agent, WINDOW_US) for kind, told in operations if kind == "admit"}
        engine.begin(agents)
        for kind, told in operations:
            if kind == "settle":
                call, charge = told
                result = completed(call, charge)
                engine.settle(result, *bodies.result(result))
                model = self.models[call.agent]
                _, reserved = model.open.pop(call.call_id)
                if charge:
                    last = model.spends[-1][0] if model.spends else 0
                    model.spends.append((max(engine.clock.ledger_us, last + 1), charge))
                model.overrun |= charge > reserved
            else:
                self.admit(told)
        engine.commit()

    def admit(self, call: Intent) -> None:
        model, cap, now = self.models[call.agent], CAPS[call.agent], self.engine.clock.ledger_us
        settled, reserved = model.settled(now), model.reserved()
        answer = self.engine.admit(call, *bodies.intent(call))
        if settled + call.reserve_nano > cap:
            assert isinstance(answer, CapExceeded)
            assert (answer.settled_nano, answer.reserved_nano) == (settled, reserved)
            self.check_reset(model, call, cap, answer.resets_at_us)
        elif settled + reserved + call.reserve_nano > cap:
            assert answer == MustWait(settled, reserved)
        else:
            assert isinstance(answer, Admitted)
            model.open[call.call_id] = (call, call.reserve_nano)

    def check_reset(self, model: Model, call: Intent, cap: int, resets_at_us: int | None) -> None:
        if call.reserve_nano > cap:
            assert resets_at_us is None
            return
        assert resets_at_us is not None
        assert model.settled(resets_at_us) + call.reserve_nano <= cap
        assert model.settled(resets_at_us - 1) + call.reserve_nano > cap

    @rule(
        settles=st.lists(st.tuples(st.integers(0, 50), st.integers(0, 130)), max_size=3),
        admits=st.lists(st.tuples(st.sampled_from(AGENTS), st.integers(0, 120)), max_size=4),
    )
    def work(self, settles: list[tuple[int, int]], admits: list[tuple[str, int]]) -> None:
        operations: list[tuple[str, Any]] = []
        left = [call for model in self.models.values() for call, _ in model.open.values()]
        for pick, percent in settles:
            if left:
                call = left.pop(pick % len(left))
                operations.append(("settle", (call, call.reserve_nano * percent // 100)))
        operations += [
            ("admit", priced(reserve, CAPS[agent], window_us=WINDOW_US, agent=agent)) for agent, reserve in admits
        ]
        if operations:
            self.transact(operations)

    @rule(seconds=st.sampled_from([0.0, 0.000001, 1.0, 20.0, 59.999999, 61.0]))
    def time_passes(self, seconds: float) -> None:
        self.clock.pass_by(seconds)

    @rule(unwritten=st.integers(0, 3))
    def crash(self, unwritten: int) -> None:
        """The process ends in the middle of a transaction; what was open is settled at its reservation."""
        self.engine.begin([(agent, WINDOW_US) for agent in AGENTS])
        for _ in range(unwritten):
            call = priced(1, CAPS["one"], window_us=WINDOW_US, agent="one")
            self.engine.admit(call, *bodies.intent(call))
        self.engine.register.flush()
        assert self.connection is not None
        self.connection.close()
        lost = {agent: [amount for _, amount in model.open.values()] for agent, model in self.models.items()}
        self.engine = self.open()
        for agent, amounts in lost.items():
            model = self.models[agent]
            model.open.clear()
            for amount in amounts:
                if amount:
                    last = model.spends[-1][0] if model.spends else 0
                    model.spends.append((max(self.engine.clock.ledger_us, last + 1), amount))

    @invariant()
    def balances_are_what_plain_sums_say(self) -> None:
        if not hasattr(self, "engine"):
            return
        assert self.connection is not None
        for agent, model in self.models.items():
            row = self.connection.execute(
                "SELECT cum_nano, reserved_nano FROM balance WHERE agent = ?", (agent,)
            ).fetchone() or (0, 0)
            assert row == (sum(amount for _, amount in model.spends), model.reserved())
            if not model.overrun:
                assert model.settled(self.engine.clock.ledger_us) + model.reserved() <= CAPS[agent]


def test_ledger_time_does_not_go_back_over_a_crash() -> None:
    """It runs ahead where two charges fall on one microsecond, and a call was admitted by it."""
    state = Money()
    try:
        state.begin()
        state.work([], [("one", 1), ("one", 73)])
        state.crash(0)
        state.crash(0)
        state.time_passes(59.999999)
        state.work([], [("one", 27)])
        state.crash(0)
        state.balances_are_what_plain_sums_say()
    finally:
        state.teardown()


TestMoney = Money.TestCase
TestMoney.settings = settings(
    max_examples=40, stateful_step_count=25, deadline=None, suppress_health_check=[HealthCheck.too_slow]
)
