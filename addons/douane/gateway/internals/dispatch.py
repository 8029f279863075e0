"""Fail-closed dispatch of mitmproxy's hooks: one place, every hook.

mitmproxy walks all addons for each event and, when one raises, logs it and lets the request go on. Here the functions
of each hook are looked up once, and a hook that raises, hangs or is cancelled ends in a refusal, a closed connection or,
once the provider answered, a cut response and a settled call. Around it stays mitmproxy's own connection handling.
"""

from __future__ import annotations

import asyncio
import dataclasses
import inspect
import logging
from collections.abc import Callable, Iterable
from typing import Any

from mitmproxy import connection, flow, hooks, http, options, tls
from mitmproxy.proxy import commands, layer, mode_specs, server, server_hooks
from mitmproxy.proxy.layers import modes

from douane.gateway import refusals
from douane.gateway.connections import Connections
from douane.gateway.gate import DEADLINE, HOOK_S, open_call
from douane.gateway.protocols import ClosedLayer

logger = logging.getLogger(__name__)

type HookFunction = Callable[[Any], Any]
type Entry = tuple[str, tuple[tuple[HookFunction, bool], ...]]

_BEFORE_FORWARDING = frozenset({"http_connect", "http_connected", "http_connect_error", "requestheaders", "request"})


class HookTable:
    """The functions of each hook, in the order of the addons, and the name of the hook's one argument."""

    def __init__(self, addons: Iterable[object]) -> None:
        addons = tuple(addons)
        self._table: dict[str, Entry] = {}
        for name, hook in hooks.all_hooks.items():
            found = [getattr(addon, name, None) for addon in addons]
            functions = tuple((function, inspect.iscoroutinefunction(function)) for function in found if callable(function))
            fields = dataclasses.fields(hook)  # type: ignore[arg-type]
            if functions and len(fields) == 1:
                self._table[name] = (fields[0].name, functions)

    def get(self, name: str) -> Entry | None:
        """The argument's name and the functions of a hook; None where no addon has it."""
        return self._table.get(name)


class GovernedConnection(server.LiveConnectionHandler):
    """One client connection, its hooks dispatched fail-closed."""

    def __init__(
        self,
        reader: asyncio.StreamReader,
        writer: asyncio.StreamWriter,
        opts: options.Options,
        mode: mode_specs.ProxyMode,
        table: HookTable,
        connections: Connections,
    ) -> None:
        super().__init__(reader, writer, opts, mode)
        self.layer = modes.HttpProxy(self.layer.context)
        self._table = table
        self._connections = connections

    async def handle_hook(self, hook: commands.StartHook) -> None:
        """Run a hook's functions; whatever goes wrong fails closed and never reaches mitmproxy."""
        entry = self._table.get(hook.name)
        if entry is None:
            return
        field, functions = entry
        data = getattr(hook, field)
        with self.timeout_watchdog.disarm():
            try:
                for function, is_async in functions:
                    if is_async:
                        await self._bounded(function, data)
                    else:
                        function(data)
            except (Exception, asyncio.CancelledError, SystemExit) as error:
                self._fail_closed(hook.name, data, error)
                task = asyncio.current_task()
                if isinstance(error, asyncio.CancelledError) and task is not None and task.cancelling():
                    if not isinstance(data, flow.Flow):
                        raise  # the connection's own task is being ended
                    task.uncancel()

    async def _bounded(self, function: HookFunction, data: Any) -> None:
        async with asyncio.timeout(HOOK_S) as deadline:
            if isinstance(data, flow.Flow):
                data.metadata[DEADLINE] = deadline
            await function(data)

    def _fail_closed(self, name: str, data: Any, error: BaseException) -> None:
        logger.error("the hook %s failed; its call is refused", name, exc_info=error)
        self._poison(name)
        if isinstance(data, http.HTTPFlow):
            call = open_call(data)
            if name in _BEFORE_FORWARDING:
                if name != "http_connect":
                    data.response = refusals.response(refusals.FAILED_INSIDE, data.id, None)
            elif data.killable and name == "responseheaders":
                data.kill()
            if call is not None:
                call.upstream_touched = call.upstream_touched or name not in _BEFORE_FORWARDING
                call.finish(complete=False, error=f"hook {name} failed")
        elif isinstance(data, server_hooks.ServerConnectionHookData):
            data.server.error = refusals.FAILED_INSIDE_MARK
            self._abort(data.server)
        elif isinstance(data, layer.NextLayer):
            data.layer = ClosedLayer(data.context)
        elif isinstance(data, tls.TlsData):
            self._abort(data.conn)

    def _poison(self, why: str) -> None:
        self._connections.get(self.client.id).poisoned = why

    def _abort(self, conn: connection.Connection) -> None:
        """Close a transport at once: what is written to it afterwards goes nowhere."""
        io = self.transports.get(conn)
        if io is not None and isinstance(io.writer, asyncio.StreamWriter):
            io.writer.transport.abort()

    def cut(self) -> None:
        """End the client's connection in the middle of whatever it receives."""
        self._abort(self.client)

    def log(self, message: str, level: int = logging.INFO, exc_info: Any = None) -> None:
        """Log quietly; a crash of a protocol layer ends the connection, which would hang open otherwise."""
        if message.startswith("mitmproxy has crashed"):
            logger.error("a protocol layer crashed; the connection is closed", exc_info=exc_info)
            self.cut()
        elif level >= logging.ERROR:
            logger.log(level, message.partition("\n")[0][:200], exc_info=exc_info)

