"""Several windows at once, and budgets that agents share: a call has to fit them all, and is booked to each account."""

from __future__ import annotations

from dataclasses import replace
from typing import Any

import pytest

from douane.core.charge import Charge
from douane.core.decision import Budget
from douane.store.interface import Admitted, CapExceeded, Intent, MustWait, Result
from douane.store.sqlite import SqliteStore
from support.register import Place, SetClock, completed, deferred, priced, records, script, told_later, until_settled

MINUTE, HOUR = 60_000_000, 3_600_000_000
TEAM = Budget(100, HOUR, account="@team")


def under(*further: Budget, cap: int | None = 1_000) -> Budget:
    return Budget(cap, HOUR, further=further)


def verified(place: Place, capsys: Any) -> None:
    code = script("verify_audit").main([str(place.bundle()), "--quiet", "--key", place.key()])
    assert code == 0, capsys.readouterr().out


async def spent(store: SqliteStore, agent: str, budget: Budget) -> dict[tuple[str, int], tuple[int, int]]:
    await until_settled(store)
    return {
        (row.agent, row.window_us): (row.settled_nano, row.reserved_nano) for row in await store.spend({agent: budget})
    }


async def test_a_call_fits_every_window_of_its_agent(place: Place, clock: SetClock, capsys: Any) -> None:
    budget = Budget(50, MINUTE, further=(Budget(80, HOUR),))
    async with place.opened(boot_clock=clock) as store:
        for _ in range(2):
            call = priced(40, None, budget=budget)
            assert isinstance(await store.admit(call), Admitted)
            store.settle(completed(call, 40))
            await until_settled(store)
            full = await store.admit(priced(11, None, budget=budget))
            assert isinstance(full, CapExceeded)
            clock.pass_by(61)
        assert full.budget is not None
        assert full.budget.window_us == HOUR, "the minute's cap has room sooner"
        assert await spent(store, "worker", budget) == {("worker", MINUTE): (0, 0), ("worker", HOUR): (80, 0)}
        clock.pass_by(3_600)
        assert isinstance(await store.admit(priced(50, None, budget=budget)), Admitted)
    verified(place, capsys)


async def test_agents_share_a_budget(place: Place, capsys: Any) -> None:
    async with place.opened() as store:
        one, two = priced(60, None, budget=under(TEAM)), priced(60, None, budget=under(TEAM), agent="other")
        assert isinstance(await store.admit(one), Admitted)
        assert isinstance(await store.admit(two), MustWait)
        store.settle(completed(one, 30))
        await until_settled(store)
        assert isinstance(await store.admit(two), Admitted)
        store.settle(completed(two, 60))
        full = await store.admit(priced(11, None, budget=under(TEAM)))
        assert isinstance(full, CapExceeded)
        assert full.budget == TEAM
        assert isinstance(await store.admit(priced(11, None, budget=under(), agent="exempt")), Admitted)
        found = await spent(store, "worker", under(TEAM))
        assert found == {("worker", HOUR): (30, 0), ("@team", HOUR): (90, 0)}
        assert (await spent(store, "other", under(TEAM)))["other", HOUR] == (60, 0)
    verified(place, capsys)


async def test_an_agent_without_a_cap_of_its_own_draws_on_the_shared_one(place: Place, capsys: Any) -> None:
    budget = under(TEAM, cap=None)
    async with place.opened() as store:
        call = priced(90, None, budget=budget)
        assert isinstance(await store.admit(call), Admitted)
        store.settle(completed(call, 90))
        await until_settled(store)
        assert isinstance(await store.admit(priced(11, None, budget=budget)), CapExceeded)
        assert (await spent(store, "worker", budget))["@team", HOUR] == (90, 0)
    verified(place, capsys)


async def test_what_was_open_at_a_crash_counts_in_every_account(place: Place, capsys: Any) -> None:
    store = await place.open()
    assert isinstance(await store.admit(priced(60, None, budget=under(TEAM))), Admitted)
    behind = priced(20, None, budget=under(TEAM))
    assert isinstance(await store.admit(behind), Admitted)
    store.settle(deferred(behind, "resp_1"))
    await until_settled(store)
    await place.crash(store)
    async with place.opened() as store:
        assert (await spent(store, "worker", under(TEAM)))["@team", HOUR] == (60, 20)
        asks = priced(0, None, budget=None)
        assert isinstance(await store.admit(asks), Admitted)
        store.settle(told_later(asks, "resp_1", 5))
        assert await spent(store, "worker", under(TEAM)) == {("worker", HOUR): (65, 0), ("@team", HOUR): (65, 0)}
    verified(place, capsys)


async def test_a_failed_call_gives_back_to_every_account(place: Place, capsys: Any) -> None:
    async with place.opened() as store:
        call = priced(60, None, budget=under(TEAM))
        assert isinstance(await store.admit(call), Admitted)
        store.settle(Result(call.call_id, "failed", None, Charge(0, None, method="released")))
        assert await spent(store, "worker", under(TEAM)) == {("worker", HOUR): (0, 0), ("@team", HOUR): (0, 0)}
    verified(place, capsys)


def counting(amount: int, *further: Budget) -> Budget:
    """What a call moves counts against its own budget, beside or without its price."""
    return Budget(None, HOUR, further=(*further, Budget(100, HOUR, account="@refunds", amount_nano=amount)))


def ended(intent: Intent, status: int | None, outcome: str = "completed") -> Result:
    return Result(intent.call_id, outcome, status, None)


async def test_what_a_call_moves_counts_beside_its_price(place: Place, capsys: Any) -> None:
    async with place.opened() as store:
        one, two = priced(0, None, budget=counting(60)), priced(0, None, budget=counting(60), agent="other")
        assert isinstance(await store.admit(one), Admitted)
        assert isinstance(await store.admit(two), MustWait)
        store.settle(ended(one, 402))
        await until_settled(store)
        assert isinstance(await store.admit(two), Admitted), "what the provider declined is given back"
        store.settle(ended(two, 200))
        await until_settled(store)
        full = await store.admit(priced(0, None, budget=counting(41)))
        assert isinstance(full, CapExceeded)
        assert (full.settled_nano, full.budget and full.budget.account) == (60, "@refunds")
        both = priced(30, None, budget=counting(40, TEAM))
        assert isinstance(await store.admit(both), Admitted)
        store.settle(completed(both, 20))
        found = await spent(store, "worker", counting(0, TEAM))
        assert found == {("worker", HOUR): (20, 0), ("@team", HOUR): (20, 0), ("@refunds", HOUR): (100, 0)}
    verified(place, capsys)


@pytest.mark.parametrize(
    ("status", "outcome", "moved"),
    [
        *((200, "completed", 60), (302, "completed", 60), (404, "completed", 0), (429, "completed", 0)),
        *((500, "completed", 60), (None, "aborted", 60), (200, "aborted", 60), (None, "failed", 0)),
    ],
)
async def test_what_may_have_moved_counts(
    place: Place, capsys: Any, status: int | None, outcome: str, moved: int
) -> None:
    async with place.opened() as store:
        call = priced(0, None, budget=counting(60))
        assert isinstance(await store.admit(call), Admitted)
        store.settle(ended(call, status, outcome))
        assert (await spent(store, "worker", counting(0)))["@refunds", HOUR] == (moved, 0)
    verified(place, capsys)


async def test_what_was_moving_at_a_crash_counts_and_work_behind_a_response_counts_once(
    place: Place, capsys: Any
) -> None:
    store = await place.open()
    assert isinstance(await store.admit(priced(0, None, budget=counting(30))), Admitted)
    behind = priced(20, None, budget=counting(40, TEAM))
    assert isinstance(await store.admit(behind), Admitted)
    store.settle(deferred(behind, "resp_1"))
    await until_settled(store)
    await place.crash(store)
    async with place.opened() as store:
        assert (await spent(store, "worker", counting(0)))["@refunds", HOUR] == (70, 0)
        asks = priced(0, None, budget=None)
        assert isinstance(await store.admit(asks), Admitted)
        store.settle(told_later(asks, "resp_1", 5))
        found = await spent(store, "worker", counting(0, TEAM))
        assert found == {("worker", HOUR): (5, 0), ("@team", HOUR): (5, 0), ("@refunds", HOUR): (70, 0)}
    verified(place, capsys)


async def test_a_mark_that_spend_passes_is_on_record_once(place: Place) -> None:
    async with place.opened() as store:
        told = []
        for amount in (40, 15, 5, 20, 10, 6):
            call = priced(amount, None, budget=replace(under(), cap_nano=100))
            admitted = await store.admit(call)
            assert isinstance(admitted, Admitted), amount
            told.append(admitted.warned_percent)
            store.settle(completed(call, amount))
            await until_settled(store)
        assert told == [None, None, 50, None, 75, 90]
        marks = [
            record["warned_percent"] for record in await records(store, kind="intent") if "warned_percent" in record
        ]
        assert marks == [50, 75, 90]


async def test_tampering_with_a_shared_account_is_found(place: Place, capsys: Any) -> None:
    async with place.opened() as store:
        call = priced(60, None, budget=under(TEAM))
        assert isinstance(await store.admit(call), Admitted)
        await until_settled(store)
        engine = store._writer.engine
        assert engine is not None
        engine.open_calls[call.call_id] = replace(engine.open_calls[call.call_id], accounts="")
        store.settle(completed(call, 60))
        await until_settled(store)
    code = script("verify_audit").main([str(place.bundle()), "--quiet", "--key", place.key()])
    assert code == 1
    assert "other accounts" in capsys.readouterr().out


@pytest.mark.parametrize(
    ("accounts", "told"),
    [("", "leaves open what"), ("@refunds=50", "another amount"), ("@refunds", "leaves open what")],
)
async def test_tampering_with_what_counts_is_found(place: Place, capsys: Any, accounts: str, told: str) -> None:
    async with place.opened() as store:
        call = priced(0, None, budget=counting(60))
        assert isinstance(await store.admit(call), Admitted)
        await until_settled(store)
        engine = store._writer.engine
        assert engine is not None
        engine.open_calls[call.call_id] = replace(engine.open_calls[call.call_id], accounts=accounts)
        store.settle(ended(call, 200))
        await until_settled(store)
    code = script("verify_audit").main([str(place.bundle()), "--quiet", "--key", place.key()])
    assert code == 1
    assert told in capsys.readouterr().out
