"""Connections that wait: for a reviewer's verdict, or for their agent's own reservations."""

from __future__ import annotations

import asyncio
import contextlib
from collections import Counter, defaultdict, deque
from collections.abc import Awaitable, Callable, Iterable, Iterator
from typing import Any

from douane.calls.call import Call


class Verdicts:
    """Wakes the connections that wait on a review, and those who follow the list of reviews."""

    def __init__(self) -> None:
        self._waiting: dict[str, set[asyncio.Future[None]]] = defaultdict(set)
        self._attending: Counter[str] = Counter()
        self._followers: set[asyncio.Future[None]] = set()

    def waiting(self, review_id: str) -> int:
        """How many connections wait on a review now."""
        return self._attending[review_id]

    @contextlib.contextmanager
    def attending(self, review_id: str) -> Iterator[None]:
        """Count a connection as waiting on a review, for the reviewer to see."""
        self._attending[review_id] += 1
        self.list_changed()
        try:
            yield
        finally:
            self._attending[review_id] -= 1
            if not self._attending[review_id]:
                del self._attending[review_id]
            self.list_changed()

    def changed(self, review_id: str) -> None:
        """Wake everyone who waits on this review: they read it again."""
        _wake(self._waiting.get(review_id, ()))
        self.list_changed()

    def all_changed(self) -> None:
        """Wake every waiting connection, as when the node stops."""
        for futures in list(self._waiting.values()):
            _wake(futures)
        self.list_changed()

    def list_changed(self) -> None:
        """Wake those who follow the list."""
        followers, self._followers = self._followers, set()
        _wake(followers)

    async def next_change(self, timeout_s: float) -> None:
        """Return when any review changes, or after `timeout_s`."""
        future: asyncio.Future[None] = asyncio.get_running_loop().create_future()
        self._followers.add(future)
        try:
            await asyncio.wait({future}, timeout=timeout_s)
        finally:
            self._followers.discard(future)

    async def wait(self, review_id: str, call: Call, timeout_s: float) -> None:
        """Return when the review may have changed, the client left or `timeout_s` passed."""
        future: asyncio.Future[Any] = asyncio.get_running_loop().create_future()
        futures = self._waiting[review_id]
        futures.add(future)
        call.patience.extend(timeout_s)
        gone: asyncio.Future[Any] = asyncio.ensure_future(call.gone.wait())
        try:
            await asyncio.wait({future, gone}, timeout=timeout_s, return_when=asyncio.FIRST_COMPLETED)
        finally:
            gone.cancel()
            call.patience.restore()
            futures.discard(future)
            if not futures:
                self._waiting.pop(review_id, None)


def _wake(futures: Iterable[asyncio.Future[None]]) -> None:
    for future in list(futures):
        if not future.done():
            future.set_result(None)


class BudgetQueue:
    """The calls of each agent that wait in order until its own open reservations leave room."""

    def __init__(self) -> None:
        self._queues: dict[str, deque[asyncio.Future[bool]]] = defaultdict(deque)

    def is_empty(self, agent: str) -> bool:
        """Whether no call of the agent waits."""
        return not self._queues.get(agent)

    def settled(self, agent: str) -> None:
        """A reservation of the agent was closed: the first in line tries again."""
        queue = self._queues.get(agent)
        if queue and not queue[0].done():
            queue[0].set_result(True)

    def room_for_all(self) -> None:
        """A reservation in a shared budget was closed: the first in each line tries again."""
        for agent in list(self._queues):
            self.settled(agent)

    def all_changed(self) -> None:
        """Every call in line tries once more, as when the node stops."""
        for queue in self._queues.values():
            for turn in queue:
                if not turn.done():
                    turn.set_result(True)

    async def turn(self, agent: str, call: Call, wait_s: float, attempt: Callable[[], Awaitable[bool]]) -> bool:
        """Stand in line and try whenever it is this call's turn and money came free.

        `attempt` says True when the call has its answer. Returns False when the client left, or when nothing of the
        agent settled for `wait_s`: a queue that moves is not cut short.
        """
        loop = asyncio.get_running_loop()
        queue = self._queues[agent]
        turn: asyncio.Future[bool] = loop.create_future()
        queue.append(turn)
        if queue[0] is turn:
            turn.set_result(True)
        gone: asyncio.Future[Any] = asyncio.ensure_future(call.gone.wait())
        try:
            moved = loop.time()
            length = len(queue)
            while True:
                call.patience.extend(wait_s + 1)
                await asyncio.wait(
                    {turn, gone}, timeout=max(0.0, moved + wait_s - loop.time()), return_when=asyncio.FIRST_COMPLETED
                )
                if call.gone.is_set():
                    return False
                if not turn.done():
                    if len(queue) < length:  # others ahead got their answer: the line moves
                        length, moved = len(queue), loop.time()
                        continue
                    return False
                call.patience.restore()
                position = queue.index(turn)
                turn = loop.create_future()
                queue[position] = turn
                if await attempt():
                    return True
                moved = loop.time()
        finally:
            gone.cancel()
            queue.remove(turn)
            call.patience.restore()
            if queue:
                self.settled(agent)
            else:
                self._queues.pop(agent, None)
