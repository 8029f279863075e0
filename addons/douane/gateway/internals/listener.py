"""The listening socket: accepts clients and hands each to a governed connection."""

from __future__ import annotations

import asyncio
import contextlib

from mitmproxy import options
from mitmproxy.connection import Server
from mitmproxy.proxy import mode_specs

from douane.edge.ports import raise_descriptors
from douane.gateway.connections import Connections
from douane.gateway.internals.dispatch import Deadlines, GovernedConnection, HookTable
from douane.gateway.internals.turns import Turns

MOST_CONNECTIONS = 4096
"""Of all clients together. Beyond it a client that never said who it is gives way, or else the new one."""


DESCRIPTORS_EACH = 3
"""A client's socket, its provider's, and what the rest of the program needs."""


class Listener:
    """Serves a proxy port until it is stopped."""

    def __init__(self, opts: options.Options, table: HookTable, connections: Connections) -> None:
        self._options = opts
        self._table = table
        self._connections = connections
        self._deadlines = Deadlines()
        self._turns = Turns()
        self._mode = mode_specs.ProxyMode.parse("regular")
        self._server: asyncio.Server | None = None
        self._live: dict[str, GovernedConnection] = {}
        self._most = min(MOST_CONNECTIONS, raise_descriptors() // DESCRIPTORS_EACH)
        self._tasks: set[asyncio.Task[None]] = set()

    async def listen(self, host: str, port: int) -> tuple[str, int]:
        """Start to accept; returns the address; raises `OSError` where the port is in use."""
        self._server = await asyncio.start_server(self._serve, host, port, backlog=1024)
        address = self._server.sockets[0].getsockname()
        return str(address[0]), int(address[1])

    async def _serve(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        if len(self._live) >= self._most and not self._make_room():
            writer.transport.abort()
            return
        task = asyncio.current_task()
        assert task is not None
        self._tasks.add(task)
        handler = GovernedConnection(
            reader, writer, self._options, self._mode, self._table, self._connections, self._deadlines, self._turns
        )
        self._live[handler.client.id] = handler
        try:
            await handler.handle_client()
        finally:
            del self._live[handler.client.id]
            self._tasks.discard(task)
            self._connections.disconnected(handler.client.id)

    def _make_room(self) -> bool:
        for connection_id, handler in self._live.items():
            if self._connections.agent_of(connection_id) is None and not handler.ending:
                handler.cut()
                return True
        return False

    def cut(self, connection_id: str) -> None:
        """End one client's connection at once."""
        handler = self._live.get(connection_id)
        if handler is not None:
            handler.cut()

    def hang_up(self, connection_id: str, server: Server) -> None:
        """End a provider's connection; its client's ends after what it was sent."""
        handler = self._live.get(connection_id)
        if handler is not None:
            handler.hang_up(server)

    def stop_listening(self) -> None:
        """Accept no further client."""
        if self._server is not None:
            self._server.close()

    async def close(self, wait_s: float) -> None:
        """End every connection, what was written to it sent, and wait until each has ended its calls."""
        for end in (GovernedConnection.end, GovernedConnection.cut):
            for handler in list(self._live.values()):
                end(handler)
            with contextlib.suppress(TimeoutError):
                async with asyncio.timeout(wait_s):
                    while self._tasks:
                        await asyncio.wait(self._tasks)
