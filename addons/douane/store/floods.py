"""Floods of identical refusals: the first of each second are recorded one by one, the rest as a count."""

from __future__ import annotations

import asyncio
from collections.abc import Callable
from dataclasses import dataclass

from douane.store.bodies import Body
from douane.store.interface import Refused

EACH_SECOND = 10
"""Identical refusals recorded one by one within a second."""

WINDOW_S = 1.0
KINDS = 1000
"""Different refusals told apart within a second; an agent that makes up more is counted by agent and code alone."""

type Key = tuple[str | None, ...]


@dataclass(slots=True)
class _Count:
    seen: int = 0
    counted: int = 0
    agent: str | None = None
    body: Body | None = None


class Floods:
    """Counts refusals by what they have in common. A crash loses at most a second's counts, never a passage."""

    def __init__(self, loop: asyncio.AbstractEventLoop, record: Callable[[str | None, Body], None]) -> None:
        self._loop = loop
        self._record = record
        self._counts: dict[Key, _Count] = {}
        self._timer: asyncio.TimerHandle | None = None

    def is_flooding(self, refused: Refused, body: Body) -> bool:
        """Whether this refusal was counted; otherwise it is to be recorded by itself."""
        key: Key = (refused.agent, refused.code, refused.tool, refused.host, refused.method, refused.rule)
        count = self._counts.get(key)
        if count is None and len(self._counts) >= KINDS:
            key = (refused.agent, refused.code)
            count = self._counts.get(key)
        if count is None:
            count = self._counts[key] = _Count()
        if self._timer is None:
            self._timer = self._loop.call_later(WINDOW_S, self.flush)
        count.seen += 1
        if count.seen <= EACH_SECOND:
            return False
        count.counted += 1
        count.agent = refused.agent
        if len(key) == 2:
            body = {name: body[name] for name in ("call_id", "code", "outcome", "reason_codes") if name in body}
        count.body = body
        return True

    def flush(self) -> None:
        """Record the counts; each record stands for as many refusals and carries the last one's members."""
        if self._timer is not None:
            self._timer.cancel()
            self._timer = None
        counts, self._counts = self._counts, {}
        for count in counts.values():
            if count.body is not None:
                self._record(count.agent, {**count.body, "count": count.counted})
