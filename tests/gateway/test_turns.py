"""Turns: one piece of an agent in a turn of the loop, in their order, and nobody waits for another's."""

from __future__ import annotations

import asyncio

from douane.gateway.internals.turns import Turns


async def test_one_piece_of_an_agent_in_a_turn() -> None:
    turns, order = Turns(), []

    async def piece(agent: str, number: int) -> None:
        await turns.take(agent)
        order.append((agent, number))

    greedy = [asyncio.create_task(piece("greedy", number)) for number in range(50)]
    await asyncio.sleep(0)
    assert order == [("greedy", 0)], "the first waits for nobody"
    await asyncio.gather(piece("modest", 0))
    assert order.index(("modest", 0)) <= 3
    await asyncio.gather(*greedy)
    assert [number for agent, number in order if agent == "greedy"] == list(range(50))


async def test_a_piece_whose_connection_ended_takes_nobodys_turn() -> None:
    turns = Turns()
    await turns.take("a")
    waiting = [asyncio.create_task(turns.take("a")) for _ in range(3)]
    await asyncio.sleep(0)
    waiting[0].cancel()
    waiting[1].cancel()
    await asyncio.wait_for(waiting[2], 5)


async def test_nothing_is_kept_and_nothing_spins_when_nobody_waits() -> None:
    turns = Turns()
    for number in range(100):
        await turns.take(f"agent{number}")
    await asyncio.sleep(0)
    await asyncio.sleep(0)
    assert turns._queues == {}
    await asyncio.wait_for(turns.take("agent0"), 5)
