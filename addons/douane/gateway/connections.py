"""What is known of each client connection: who it is, where its tunnel leads, which calls it carries."""

from __future__ import annotations

import asyncio
import contextlib
from collections import Counter
from dataclasses import dataclass, field

from douane.calls.agents import Credential
from douane.calls.call import OpenCall

MOST_AGENT_BODY_BYTES = 256 * 1024 * 1024
"""Of one agent's requests under way together: a body is held in memory until its call has its result."""


@dataclass(slots=True, eq=False)
class ConnectionState:
    """One client connection, from accept to close."""

    loopback: bool
    agent: str | None = None
    """The agent it is counted for; who it speaks for is asked anew for every request."""
    credential: Credential | None = None
    authenticated: bool = False
    tunnel: tuple[str, int] | None = None
    """The CONNECT target, as canonical host and port."""
    poisoned: str | None = None
    """Set when a hook failed on this connection: nothing passes on it any more."""
    gone: asyncio.Event = field(default_factory=asyncio.Event)
    """Set when the client left."""
    open: dict[str, OpenCall] = field(default_factory=dict)
    """Calls that owe a result."""
    body_bytes: int = 0
    """What the request under way holds, if it is large."""
    body_owner: str = ""
    """The agent that this is counted for."""


class Connections:
    """All client connections by mitmproxy's connection id."""

    def __init__(self) -> None:
        self._states: dict[str, ConnectionState] = {}
        self._per_agent: Counter[str] = Counter()
        self._body_bytes: Counter[str] = Counter()

    def __len__(self) -> int:
        return len(self._states)

    def connected(self, connection_id: str, *, loopback: bool) -> ConnectionState:
        """A client connected."""
        state = self._states[connection_id] = ConnectionState(loopback=loopback)
        return state

    def get(self, connection_id: str) -> ConnectionState:
        """The state of a connection; one nobody announced is poisoned."""
        state = self._states.get(connection_id)
        if state is None:
            state = self._states[connection_id] = ConnectionState(loopback=False, poisoned="unannounced connection")
        return state

    @property
    def several_agents(self) -> bool:
        """Whether there are connections of more than one agent."""
        return len(self._per_agent) > 1

    def agent_of(self, connection_id: str) -> str | None:
        """The agent that a connection is counted for, if it is known."""
        state = self._states.get(connection_id)
        return state.agent if state is not None else None

    def count(self, state: ConnectionState, agent: str) -> int:
        """Count a connection for its agent; returns how many the agent has now."""
        if state.agent != agent:
            self._uncount(state)
            state.agent = agent
            self._per_agent[agent] += 1
        return self._per_agent[agent]

    def hold_body(self, connection_id: str, size: int) -> bool:
        """Count what a connection's request holds now; False where its agent's requests would hold too much.

        Those whose agent is not known yet count together.
        """
        state = self._states.get(connection_id)
        if state is None:
            return False
        self._release(state)
        owner = state.agent or ""
        if self._body_bytes[owner] + size > MOST_AGENT_BODY_BYTES:
            return False
        self._body_bytes[owner] += size
        state.body_bytes, state.body_owner = size, owner
        return True

    def release_body(self, connection_id: str) -> None:
        """The request under way is over."""
        state = self._states.get(connection_id)
        if state is not None:
            self._release(state)

    def _release(self, state: ConnectionState) -> None:
        if state.body_bytes:
            self._body_bytes[state.body_owner] -= state.body_bytes
            state.body_bytes = 0
            if not self._body_bytes[state.body_owner]:
                del self._body_bytes[state.body_owner]

    def disconnected(self, connection_id: str) -> None:
        """A client left: its waiting calls stop waiting, its open calls get their result."""
        state = self._states.pop(connection_id, None)
        if state is None:
            return
        state.gone.set()
        self._release(state)
        self._uncount(state)
        for open_call in list(state.open.values()):
            open_call.finish(complete=False, error="client gone")

    def _uncount(self, state: ConnectionState) -> None:
        if state.agent is not None:
            self._per_agent[state.agent] -= 1
            if not self._per_agent[state.agent]:
                del self._per_agent[state.agent]
            state.agent = None

    def open_on(self, connection_id: str) -> dict[str, OpenCall]:
        """The calls of one connection that owe a result."""
        state = self._states.get(connection_id)
        return state.open if state is not None else {}

    def open_calls(self) -> list[OpenCall]:
        """All calls that owe a result."""
        return [call for state in self._states.values() for call in state.open.values()]

    def finish_all(self, error: str) -> None:
        """Give every open call its result, as when the node ends."""
        for call in self.open_calls():
            with contextlib.suppress(Exception):
                call.finish(complete=False, error=error)
