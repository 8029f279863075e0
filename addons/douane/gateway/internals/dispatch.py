"""Fail-closed dispatch of mitmproxy's hooks: one place, every hook.

mitmproxy walks all addons for each event and, when one raises, logs it and lets the request go on. Here the functions
of each hook are looked up once, and a hook that raises, hangs or is cancelled ends in a refusal, in a closed connection
or, once the provider answered, in a cut response and a settled call. Around it stays mitmproxy's own connection.
"""

from __future__ import annotations

import asyncio
import collections
import dataclasses
import functools
import inspect
import logging
from collections.abc import Callable, Iterable
from typing import Any

from mitmproxy import connection, flow, hooks, http, options, tls
from mitmproxy.proxy import commands, events, layer, mode_specs, server, server_hooks
from mitmproxy.proxy.layers import modes
from mitmproxy.proxy.layers.websocket import WebsocketMessageHook
from mitmproxy.utils import asyncio_utils

from douane.gateway import refusals
from douane.gateway.connections import Connections
from douane.gateway.gate import DEADLINE, HOOK_S, open_call
from douane.gateway.internals.http1 import BODY_ROOM, FAILED_CLIENTS, RUN_NOW, NextTurn, NextTurnCame
from douane.gateway.internals.turns import LARGE_BYTES, Turns
from douane.gateway.protocols import ClosedLayer

logger = logging.getLogger(__name__)

READ_BYTES = 256 * 1024

type HookFunction = Callable[[Any], Any]


@dataclasses.dataclass(frozen=True, slots=True)
class Entry:
    """The functions of one hook, in the order of the addons."""

    field: str
    """The name of the hook's one argument."""
    functions: tuple[tuple[HookFunction, bool], ...]
    """Each function, and whether it is a coroutine function."""
    has_async: bool


_BEFORE_FORWARDING = frozenset({"http_connect", "http_connected", "http_connect_error", "requestheaders", "request"})


class HookTable:
    """The functions of each hook, in the order of the addons, and the name of the hook's one argument."""

    def __init__(self, addons: Iterable[object]) -> None:
        addons = tuple(addons)
        self._table: dict[str, Entry] = {}
        for name, hook in hooks.all_hooks.items():
            found = [getattr(addon, name, None) for addon in addons]
            functions = tuple(
                (function, inspect.iscoroutinefunction(function)) for function in found if callable(function)
            )
            fields = dataclasses.fields(hook)  # type: ignore[arg-type]
            if functions and len(fields) == 1:
                self._table[name] = Entry(fields[0].name, functions, any(is_async for _, is_async in functions))

    def get(self, name: str) -> Entry | None:
        """The functions of a hook; None where no addon has it."""
        return self._table.get(name)


class Deadline:
    """Until when a hook may take."""

    __slots__ = ("at", "passed")

    def __init__(self, at: float) -> None:
        self.at = at
        self.passed = False


class Deadlines:
    """Cancels hooks that take too long: one timer for all of them, as one for each would cost as much as a decision."""

    EVERY_S = 0.1

    def __init__(self) -> None:
        self._running: dict[asyncio.Task[Any], Deadline] = {}
        self._timer: asyncio.TimerHandle | None = None

    def begin(self, task: asyncio.Task[Any]) -> Deadline:
        """A hook begins in this task."""
        loop = asyncio.get_running_loop()
        deadline = self._running[task] = Deadline(loop.time() + HOOK_S)
        if self._timer is None:
            self._timer = loop.call_later(self.EVERY_S, self._look, loop)
        return deadline

    def end(self, task: asyncio.Task[Any]) -> None:
        """Its hook is over."""
        self._running.pop(task, None)

    def _look(self, loop: asyncio.AbstractEventLoop) -> None:
        now = loop.time()
        for task, deadline in list(self._running.items()):
            if now >= deadline.at and not deadline.passed:
                deadline.passed = True
                task.cancel()
        self._timer = loop.call_later(self.EVERY_S, self._look, loop) if self._running else None


class WideReader:
    """Reads whatever has arrived."""

    def __init__(self, reader: asyncio.StreamReader) -> None:
        self._reader = reader

    async def read(self, _: int) -> bytes:
        """The next bytes; none at the end."""
        return await self._reader.read(READ_BYTES)


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
        deadlines: Deadlines,
        turns: Turns,
    ) -> None:
        super().__init__(reader, writer, opts, mode)
        self.layer = modes.HttpProxy(self.layer.context)
        self._table = table
        self._connections = connections
        self._deadlines = deadlines
        self._turns = turns
        self._turns_due = 0
        self._turn_came = asyncio.Event()
        self.ending = False
        setattr(self.client, RUN_NOW, self._run_now)
        setattr(self.client, BODY_ROOM, functools.partial(connections.hold_body, self.client.id))

    async def handle_connection(self, connection: connection.Connection) -> None:
        """Read a connection to its end in large pieces: each costs a way through all layers."""
        io = self.transports[connection]
        if isinstance(io.reader, asyncio.StreamReader):
            io.reader = WideReader(io.reader)  # type: ignore[assignment]
        try:
            await super().handle_connection(connection)
        finally:
            if io.writer is not None:  # still open where it was ended while what was read waited for its turn
                io.writer.close()

    async def handle_hook(self, hook: commands.StartHook) -> None:
        """Run a hook's functions; whatever goes wrong fails closed and never reaches mitmproxy."""
        entry = self._table.get(hook.name)
        if entry is None or self._run_now(hook):
            return
        data = getattr(hook, entry.field)
        with self.timeout_watchdog.disarm():
            try:
                for function, is_async in entry.functions:
                    if is_async:
                        await self._bounded(function, data)
                    else:
                        function(data)
            except (Exception, asyncio.CancelledError, SystemExit) as error:  # noqa: BLE001 - whatever it is: closed
                self._fail_closed(hook.name, data, error)
                task = asyncio.current_task()
                if isinstance(error, asyncio.CancelledError) and task is not None and task.cancelling():
                    # Without an end of the hook its layer would wait for ever; a connection that is being ended ends
                    # all the same, since its transport is gone.
                    task.uncancel()

    def _run_now(self, hook: commands.StartHook) -> bool:
        """Run a hook without a coroutine function; False for any other."""
        entry = self._table.get(hook.name)
        if entry is None:
            return True
        if entry.has_async:
            return False
        data = getattr(hook, entry.field)
        try:
            for function, _ in entry.functions:
                function(data)
        except (Exception, asyncio.CancelledError, SystemExit) as error:  # noqa: BLE001 - whatever it is, it fails closed
            self._fail_closed(hook.name, data, error)
        return True

    async def server_event(self, event: events.Event) -> None:
        """Feed one event to the layers and carry out what they command.

        Differs from mitmproxy's own in two ways. Hooks without a coroutine function run at once, where mitmproxy starts
        a task for each. And what is written to one transport goes out in one piece. A crash of a layer ends the
        connection, which would hang open otherwise. Large pieces take turns with the agent's other connections.
        """
        if isinstance(event, events.DataReceived):
            while self._turns_due:  # or what is read would pile up in front of a layer that waits for its turn
                await self._turn_came.wait()
        is_large = isinstance(event, events.DataReceived) and len(event.data) > LARGE_BYTES
        if (is_large or isinstance(event, NextTurnCame)) and self._connections.several_agents:
            await self._turns.take(self._connections.agent_of(self.client.id) or self.client.id)
        async with self._server_event_lock:  # no await beyond this point
            self.timeout_watchdog.register_activity()
            waiting = collections.deque((event,))
            out: dict[connection.Connection, list[bytes]] = {}
            try:
                while waiting:
                    for command in self.layer.handle_event(waiting.popleft()):
                        if isinstance(command, commands.StartHook):
                            if isinstance(command, WebsocketMessageHook):
                                self._pause()
                                asyncio_utils.create_task(self._message(command), name=command.name, keep_ref=True)
                            elif not self._run_now(command):
                                asyncio_utils.create_task(self.hook_task(command), name=command.name, keep_ref=True)
                            elif command.blocking:
                                waiting.append(events.HookCompleted(command))
                        elif isinstance(command, commands.SendData):
                            if command.connection in self.transports:
                                out.setdefault(command.connection, []).append(command.data)
                        elif isinstance(command, commands.Log):
                            self.log(command.message, command.level)
                        else:
                            self._write(out)
                            self._carry_out(command)
            except Exception:
                logger.exception("a protocol layer crashed; the connection is closed")
                self.cut()
            finally:
                self._write(out)

    def _write(self, out: dict[connection.Connection, list[bytes]]) -> None:
        for conn, pieces in out.items():
            io = self.transports.get(conn)
            if io is not None and io.writer is not None and not io.writer.is_closing():
                io.writer.write(b"".join(pieces) if len(pieces) > 1 else pieces[0])
        out.clear()

    def _carry_out(self, command: commands.Command) -> None:
        if isinstance(command, commands.OpenConnection):
            task = asyncio_utils.create_task(self.open_connection(command), name="server connection", keep_ref=False)
            self.transports.setdefault(command.connection, server.ConnectionIO(handler=task))
        elif isinstance(command, commands.RequestWakeup):
            timer = asyncio_utils.create_task(self.wakeup(command), name="wakeup timer", keep_ref=False)
            self.wakeup_timer.add(timer)
        elif isinstance(command, NextTurn):
            self._pause()
            asyncio_utils.create_task(self._next_turn(command), name="next turn", keep_ref=True)
        elif isinstance(command, commands.ConnectionCommand):
            if command.connection in self.transports:
                half_close = isinstance(command, commands.CloseTcpConnection) and command.half_close
                self.close_connection(command.connection, half_close)
        else:
            raise TypeError(f"unexpected command: {command}")

    def _pause(self) -> None:
        """Hand nothing that is read to the layers until they have gone on."""
        self._turns_due += 1
        self._turn_came.clear()

    def _go_on(self) -> None:
        self._turns_due -= 1
        if not self._turns_due:
            self._turn_came.set()

    async def _next_turn(self, command: NextTurn) -> None:
        try:
            await self.server_event(NextTurnCame(command))
        finally:
            self._go_on()

    async def _message(self, command: WebsocketMessageHook) -> None:
        """Run the hook of a WebSocket's message while nothing further of the socket piles up."""
        try:
            await self.hook_task(command)
        finally:
            self._go_on()

    async def _bounded(self, function: HookFunction, data: Any) -> None:
        task = asyncio.current_task()
        assert task is not None
        deadline = self._deadlines.begin(task)
        if isinstance(data, flow.Flow):
            data.metadata[DEADLINE] = deadline
        try:
            await function(data)
        finally:
            self._deadlines.end(task)
        if deadline.passed:  # it was cancelled for its time, and went on all the same
            raise TimeoutError

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
            elif data.websocket is not None:
                for message in data.websocket.messages:
                    message.drop()
                self.cut()
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
        FAILED_CLIENTS.add(self.client)

    def _abort(self, conn: connection.Connection) -> None:
        """Close a transport at once: what is written to it afterwards goes nowhere."""
        io = self.transports.get(conn)
        if io is not None and isinstance(io.writer, asyncio.StreamWriter):
            io.writer.transport.abort()

    def end(self) -> None:
        """End the client's connection once all that was written to it is sent."""
        io = self.transports.get(self.client)
        if io is not None and io.writer is not None:
            io.writer.close()

    def cut(self) -> None:
        """End the client's connection in the middle of whatever it receives."""
        self.ending = True
        self._abort(self.client)

    def hang_up(self, server: connection.Server) -> None:
        """End a provider's connection in the middle of whatever it sends; its client's ends after what it was sent."""
        self._abort(server)

    def log(self, message: str, level: int = logging.INFO, exc_info: Any = None) -> None:
        """Log errors only, and only their first line: mitmproxy's messages quote the traffic."""
        if level >= logging.ERROR:
            logger.log(level, message.partition("\n")[0].partition(":")[0][:200], exc_info=exc_info)
