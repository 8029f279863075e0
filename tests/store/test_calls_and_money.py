"""Admission and settlement: room, waiting, refusal, and the rolling window."""

from __future__ import annotations

import asyncio

import pytest

from douane.core.charge import Charge
from douane.core.decision import Budget
from douane.store.interface import Admitted, CapExceeded, MustWait, Result, Spend
from douane.store.sqlite import SqliteStore
from support.register import (
    DAY_US,
    Place,
    SetClock,
    completed,
    intent,
    priced,
    records,
    until_settled,
)


async def spend(store: SqliteStore, agent: str = "worker", window_us: int = DAY_US) -> tuple[int, int]:
    await until_settled(store)
    (found,) = await store.spend({agent: Budget(None, window_us=window_us)})
    return found.settled_nano, found.reserved_nano


async def test_a_call_has_an_intent_and_one_result(store: SqliteStore) -> None:
    call = intent()
    admitted = await store.admit(call)
    assert isinstance(admitted, Admitted)
    store.settle(completed(call))
    store.settle(completed(call))
    await until_settled(store)
    found = await records(store, call_id=call.call_id)
    assert [record["kind"] for record in found] == ["intent", "result"]
    assert found[0]["seq"] == admitted.seq
    assert found[1]["intent"] == admitted.seq
    assert found[1]["outcome"] == "completed"


async def test_a_result_is_durable_without_another_commit(store: SqliteStore) -> None:
    call = intent()
    await store.admit(call)
    store.settle(completed(call))
    async with asyncio.timeout(2):
        while len(await records(store, call_id=call.call_id)) < 2:
            await asyncio.sleep(0.001)


async def test_what_fits_beside_open_reservations_is_admitted_and_what_does_not_waits(store: SqliteStore) -> None:
    first = priced(60, 100)
    assert isinstance(await store.admit(first), Admitted)
    assert await store.admit(priced(41, 100)) == MustWait(settled_nano=0, reserved_nano=60)
    assert isinstance(await store.admit(priced(40, 100)), Admitted)
    store.settle(completed(first, 10))
    assert await store.admit(priced(60, 100)) == MustWait(settled_nano=10, reserved_nano=40)
    assert isinstance(await store.admit(priced(50, 100)), Admitted)
    assert await spend(store) == (10, 90)


async def test_only_settled_spend_refuses(store: SqliteStore, clock: SetClock) -> None:
    call = priced(60, 100)
    await store.admit(call)
    store.settle(completed(call, 60))
    await until_settled(store)
    spent_at = clock.now_us
    clock.pass_by(10)
    assert await store.admit(priced(41, 100)) == CapExceeded(60, 0, spent_at + DAY_US)
    assert await store.admit(priced(101, 100)) == CapExceeded(60, 0, None)
    assert isinstance(await store.admit(priced(40, 100)), Admitted)


async def test_it_resets_when_enough_has_aged_out(store: SqliteStore, clock: SetClock) -> None:
    times = []
    for _ in range(5):
        call = priced(20, 100, window_us=60_000_000)
        assert isinstance(await store.admit(call), Admitted)
        store.settle(completed(call, 20))
        await until_settled(store)
        times.append(clock.now_us)
        clock.pass_by(1)
    answer = await store.admit(priced(50, 100, window_us=60_000_000))
    assert answer == CapExceeded(100, 0, times[2] + 60_000_000)
    clock.now_us = times[2] + 60_000_000 - 1
    assert isinstance(await store.admit(priced(50, 100, window_us=60_000_000)), CapExceeded)
    clock.pass_by(0.000001)
    assert isinstance(await store.admit(priced(50, 100, window_us=60_000_000)), Admitted)


async def test_spend_ages_out_to_the_microsecond(store: SqliteStore, clock: SetClock) -> None:
    call = priced(5, None)
    await store.admit(call)
    store.settle(completed(call, 5))
    assert await spend(store, window_us=60_000_000) == (5, 0)
    clock.pass_by(59.999999)
    assert await spend(store, window_us=60_000_000) == (5, 0)
    clock.pass_by(0.000001)
    assert await spend(store, window_us=60_000_000) == (0, 0)
    assert await spend(store, window_us=61_000_000) == (5, 0)


async def test_an_overrun_is_recorded_and_refuses_the_next_call(store: SqliteStore) -> None:
    call = priced(60, 100)
    await store.admit(call)
    store.settle(completed(call, 150))
    assert await store.admit(priced(1, 100)) == CapExceeded(150, 0, store.now_us() + DAY_US)
    assert await store.admit(priced(0, 100)) == CapExceeded(150, 0, store.now_us() + DAY_US)
    (result,) = await records(store, kind="result")
    assert (result["charge_nano"], result["reserve_nano"], result["overrun_nano"]) == (150, 60, 90)


@pytest.mark.parametrize(
    ("outcome", "charge", "settled"),
    [
        ("completed", Charge(7, "m"), 7),
        ("completed", Charge(0, "m", method="released"), 0),
        ("completed", None, 50),
        ("aborted", None, 50),
        ("unknown", None, 50),
        ("failed", None, 0),
        ("completed", Charge(-5, "m"), 0),
    ],
)
async def test_a_reservation_is_settled_never_lost(
    store: SqliteStore, outcome: str, charge: Charge | None, settled: int
) -> None:
    call = priced(50, 100)
    await store.admit(call)
    store.settle(Result(call.call_id, outcome, None, charge))
    assert await spend(store) == (settled, 0)


async def test_agents_do_not_share_a_budget(store: SqliteStore) -> None:
    call = priced(100, 100)
    await store.admit(call)
    store.settle(completed(call, 100))
    assert isinstance(await store.admit(priced(1, 100)), CapExceeded)
    assert isinstance(await store.admit(priced(100, 100, agent="other")), Admitted)


async def test_racers_never_pass_the_cap(store: SqliteStore) -> None:
    cap, admitted, most = 1000, [], 0

    async def race(number: int) -> None:
        nonlocal most
        for _ in range(20):
            call = priced(90 + number, cap)
            answer = await store.admit(call)
            if isinstance(answer, Admitted):
                admitted.append(call)
                await asyncio.sleep(0)
                store.settle(completed(call, 10 + number))
            settled, reserved = await spend(store)
            most = max(most, settled + reserved)

    await asyncio.gather(*(race(number) for number in range(12)))
    assert 0 < most <= cap
    assert len(admitted) > 20
    settled, reserved = await spend(store)
    assert reserved == 0
    assert settled == sum(record["charge_nano"] for record in await records(store, kind="result"))


async def test_a_call_admitted_twice_latches(store: SqliteStore) -> None:
    call = intent()
    await store.admit(call)
    with pytest.raises(Exception, match="admitted before"):
        await store.admit(call)
    assert store.latched


async def test_hostile_values_are_recorded_and_do_not_latch(store: SqliteStore) -> None:
    hostile = "\ud800" + "\u202e" + "\x00" + "x" * 100_000
    deep: dict[str, object] = {}
    for _ in range(2000):
        deep = {"a": deep}
    call = priced(
        2**80,
        None,
        host=hostile,
        method=hostile,
        tool=hostile,
        rule=hostile,
        reason_codes=(hostile,) * 1000,
        agent="worker",
        arguments={hostile: hostile, "deep": deep, "many": [hostile] * 100, "number": 2**100, "odd": float("nan")},
    )
    assert isinstance(await store.admit(call), Admitted)
    store.settle(
        completed(
            call,
            status=2**70,
            response_bytes=2**90,
            error=hostile,
            charge=Charge(2**80, hostile, {hostile: 2**70, "é": 1}, response_id=hostile),
        )
    )
    await until_settled(store)
    found = await records(store, agent="worker")
    assert [record["kind"] for record in found] == ["intent", "result"]
    assert store.latched is None


async def test_the_balance_and_the_register_tell_the_same(place: Place, store: SqliteStore) -> None:
    for charge in (3, 4, 5):
        call = priced(10, 1000)
        await store.admit(call)
        store.settle(completed(call, charge))
    await until_settled(store)
    results = await records(store, kind="result")
    assert [result["cum_nano"] for result in results] == ["3", "7", "12"]
    assert place.sql("SELECT cum_nano, reserved_nano FROM balance WHERE agent = 'worker'") == [(12, 0)]
    assert await store.spend({"nobody": Budget(5)}) == [Spend("nobody", 0, 0, DAY_US)]
