"""Waiting in order for money, and for people."""

import asyncio
from collections.abc import Awaitable, Callable

import pytest

from douane.calls.call import Call
from douane.calls.waiting import BudgetQueue, Verdicts
from douane.core.decision import Principal
from douane.core.request import RawRequest


class Unhurried:
    def extend(self, seconds: float) -> None: ...

    def restore(self) -> None: ...


def a_call() -> Call:
    request = RawRequest("https", "api.example.com", 443, "GET", b"/", (), b"")
    return Call("call", Principal("bot", {}), request, Unhurried(), asyncio.Event(), lambda: True)


def attempts(answers: list[bool], taken: list[str], name: str) -> Callable[[], Awaitable[bool]]:
    async def attempt() -> bool:
        taken.append(name)
        return answers.pop(0)

    return attempt


async def until(condition: Callable[[], bool]) -> None:
    async with asyncio.timeout(5):
        while not condition():
            await asyncio.sleep(0)


async def test_calls_get_their_turn_in_order() -> None:
    queue, taken = BudgetQueue(), []
    first = asyncio.create_task(queue.turn("bot", a_call(), 5, attempts([False, True], taken, "first")))
    await until(lambda: taken == ["first"])
    second = asyncio.create_task(queue.turn("bot", a_call(), 5, attempts([True], taken, "second")))
    await until(lambda: not queue.is_empty("bot"))
    queue.settled("bot")
    assert await first
    assert await second
    assert taken == ["first", "first", "second"]
    assert queue.is_empty("bot")


async def test_a_settlement_during_the_attempt_is_not_lost() -> None:
    queue = BudgetQueue()
    tries = 0

    async def attempt() -> bool:
        nonlocal tries
        tries += 1
        queue.settled("bot")
        return tries == 2

    assert await queue.turn("bot", a_call(), 5, attempt)
    assert tries == 2


async def test_a_line_that_does_not_move_is_left() -> None:
    queue, taken = BudgetQueue(), []
    assert not await queue.turn("bot", a_call(), 0.01, attempts([False], taken, "only"))
    assert queue.is_empty("bot")


async def test_a_client_that_leaves_frees_its_place() -> None:
    queue, taken = BudgetQueue(), []
    call = a_call()
    waiting = asyncio.create_task(queue.turn("bot", call, 60, attempts([False], taken, "gone")))
    await until(lambda: taken == ["gone"])
    call.gone.set()
    assert not await waiting
    assert queue.is_empty("bot")


async def test_another_agent_does_not_wait() -> None:
    queue, taken = BudgetQueue(), []
    stuck = asyncio.create_task(queue.turn("bot", a_call(), 60, attempts([False, True], taken, "stuck")))
    await until(lambda: taken == ["stuck"])
    assert await queue.turn("other", a_call(), 60, attempts([True], taken, "free"))
    queue.settled("bot")
    assert await stuck


async def test_a_failing_attempt_frees_its_place() -> None:
    queue = BudgetQueue()

    async def attempt() -> bool:
        raise OSError("disk")

    with pytest.raises(OSError, match="disk"):
        await queue.turn("bot", a_call(), 5, attempt)
    assert queue.is_empty("bot")


async def test_a_verdict_wakes_all_who_wait_on_it() -> None:
    verdicts = Verdicts()
    waiting = [asyncio.create_task(verdicts.wait("r1", a_call(), 60)) for _ in range(3)]
    await asyncio.sleep(0)
    verdicts.changed("r1")
    async with asyncio.timeout(5):
        await asyncio.gather(*waiting)


async def test_a_client_that_leaves_stops_waiting() -> None:
    verdicts, call = Verdicts(), a_call()
    waiting = asyncio.create_task(verdicts.wait("r1", call, 60))
    await asyncio.sleep(0)
    call.gone.set()
    async with asyncio.timeout(5):
        await waiting


async def test_followers_hear_of_a_client_that_waits() -> None:
    verdicts = Verdicts()
    follower = asyncio.create_task(verdicts.next_change(60))
    await asyncio.sleep(0)
    with verdicts.attending("r1"):
        assert verdicts.waiting("r1") == 1
        async with asyncio.timeout(5):
            await follower
    assert verdicts.waiting("r1") == 0
