"""Turns: each agent gets one large piece of traffic handled in a turn of the loop, over all its connections."""

from __future__ import annotations

import asyncio
from collections import deque

LARGE_BYTES = 16 * 1024


class Turns:
    """Hands out turns, first come first served among the pieces of one agent."""

    def __init__(self) -> None:
        self._queues: dict[str, deque[asyncio.Future[None]]] = {}

    async def take(self, agent: str) -> None:
        """Return in a turn in which no other piece of the agent is handled; at once where that is this one."""
        loop = asyncio.get_running_loop()
        if (queue := self._queues.get(agent)) is None:
            if not self._queues:
                loop.call_soon(self._next, loop)
            self._queues[agent] = deque()
            return
        future = loop.create_future()
        queue.append(future)
        await future

    def _next(self, loop: asyncio.AbstractEventLoop) -> None:
        for agent, queue in list(self._queues.items()):
            while queue and (future := queue.popleft()):
                if not future.done():  # or its connection has ended
                    future.set_result(None)
                    break
            else:
                del self._queues[agent]
        if self._queues:
            loop.call_soon(self._next, loop)
