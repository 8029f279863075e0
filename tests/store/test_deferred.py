"""Work that goes on behind a response: its reservation stays until its usage is known, and it is charged once."""

from __future__ import annotations

from typing import Any

from douane.core.decision import Budget
from douane.store.interface import Admitted, CapExceeded, MustWait
from douane.store.sqlite import SqliteStore
from support.register import (
    DAY_US,
    Place,
    SetClock,
    completed,
    deferred,
    intent,
    priced,
    records,
    script,
    told_later,
    until_settled,
)

CAP = 1_000


async def balance(store: SqliteStore, agent: str = "worker") -> tuple[int, int]:
    await until_settled(store)
    (found,) = await store.spend({agent: Budget(None, window_us=7 * DAY_US)})
    return found.settled_nano, found.reserved_nano


async def begun(store: SqliteStore, response_id: str, reserve_nano: int = 600) -> str:
    call = priced(reserve_nano, CAP)
    assert isinstance(await store.admit(call), Admitted)
    store.settle(deferred(call, response_id))
    await until_settled(store)
    return call.call_id


async def asked(store: SqliteStore, response_id: str, charge_nano: int, agent: str = "worker") -> None:
    call = intent(agent=agent)
    assert isinstance(await store.admit(call), Admitted)
    store.settle(told_later(call, response_id, charge_nano))


def verified(place: Place, capsys: Any) -> None:
    verifier = script("verify_audit")
    code = verifier.main([str(place.bundle()), "--quiet", "--key", place.key()])
    assert code == 0, capsys.readouterr().out


async def test_it_is_reserved_until_its_usage_is_told_and_charged_once(place: Place, capsys: Any) -> None:
    async with place.opened() as store:
        call_id = await begun(store, "resp_1")
        assert await balance(store) == (0, 600)
        assert isinstance(await store.admit(priced(500, CAP)), MustWait)
        for _ in range(3):
            await asked(store, "resp_1", 40)
        await asked(store, "resp_unknown", 40)
        assert await balance(store) == (40, 0)
        (adjust,) = await records(store, kind="adjust")
        assert (adjust["call_id"], adjust["reserve_nano"], adjust["charge_nano"]) == (call_id, 600, 40)
        assert (adjust["outcome"], adjust["usage"], adjust["cum_nano"]) == ("settled", {"output_tokens": 9}, "40")
    verified(place, capsys)


async def test_another_agents_question_charges_who_began_it(place: Place, capsys: Any) -> None:
    async with place.opened() as store:
        await begun(store, "resp_1")
        await asked(store, "resp_1", 700, agent="curious")
        assert await balance(store) == (700, 0)
        assert await balance(store, "curious") == (0, 0)
        (adjust,) = await records(store, kind="adjust")
        assert (adjust["agent"], adjust["overrun_nano"]) == ("worker", 100)
        assert isinstance(await store.admit(priced(301, CAP)), CapExceeded)
    verified(place, capsys)


async def test_what_nobody_asks_after_counts_whole_in_the_end(place: Place, clock: SetClock, capsys: Any) -> None:
    async with place.opened(boot_clock=place.clock) as store:
        await begun(store, "resp_1")
        clock.pass_by(47 * 3600)
        await store.expire_due()
        assert await balance(store) == (0, 600)
        clock.pass_by(3600)
        await store.expire_due()
        assert await balance(store) == (600, 0)
        await asked(store, "resp_1", 40)
        assert await balance(store) == (600, 0)
        (adjust,) = await records(store, kind="adjust")
        assert (adjust["outcome"], adjust["estimated"]) == ("expired", True)
    verified(place, capsys)


async def test_it_outlives_a_crash(place: Place, capsys: Any) -> None:
    store = await place.open()
    await begun(store, "resp_1")
    lost = priced(100, CAP)
    assert isinstance(await store.admit(lost), Admitted)
    await until_settled(store)
    await place.crash(store)
    async with place.opened() as store:
        assert await balance(store) == (100, 600)
        await asked(store, "resp_1", 40)
        assert await balance(store) == (140, 0)
    verified(place, capsys)


async def test_work_under_a_name_that_is_taken_is_not_reserved_twice(place: Place, capsys: Any) -> None:
    async with place.opened() as store:
        await begun(store, "resp_1", 300)
        await begun(store, "resp_1", 300)
        assert await balance(store) == (0, 300)
        store.settle(completed(intent()))
    verified(place, capsys)
