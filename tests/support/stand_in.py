"""A provider on loopback: TLS under the providers' own names, every byte on record, paced by the test."""

from __future__ import annotations

import asyncio
import contextlib
import socket
import ssl
import struct
import threading
from collections import deque
from collections.abc import Awaitable, Callable
from dataclasses import dataclass
from enum import Enum, auto

import orjson

from support.certificates import Authority

PATIENCE_S = 60.0
"""How long a test waits for something that must happen; it never decides what is asserted."""


@dataclass(frozen=True, slots=True)
class Seen:
    """One request as it arrived."""

    server_name: str | None
    """What the TLS handshake asked for."""
    method: str
    target: str
    headers: tuple[tuple[str, str], ...]
    head: bytes
    """Request line and fields, byte for byte."""
    body: bytes
    """De-chunked."""

    @property
    def host(self) -> str:
        """The Host field's name, without a port."""
        return (self.header("host") or "").partition(":")[0].lower()

    @property
    def path(self) -> str:
        """The target up to the query."""
        return self.target.partition("?")[0]

    def header(self, name: str) -> str | None:
        """The first field of that name."""
        return next((value for key, value in self.headers if key.lower() == name.lower()), None)


class Cut(Enum):
    """How a provider may fail."""

    RESET = auto()
    """TCP reset."""
    CLOSE = auto()
    """The connection ends without the rest of what was promised."""
    HANG = auto()
    """Nothing more comes until the test says `release_hangs()`."""


@dataclass(frozen=True, slots=True)
class Fault:
    """What goes wrong with one answer: before its head (`after_chunks=-1`), or after so many chunks of its body."""

    cut: Cut
    after_chunks: int = -1


class Gone(Exception):
    """The exchange is over, by a fault or because the other side left."""


class Pace:
    """Lets a stand-in go on one step at a time; open unless closed."""

    def __init__(self) -> None:
        self._condition = threading.Condition()
        self._free = True
        self._steps = 0
        self._wakes: list[tuple[asyncio.AbstractEventLoop, asyncio.Event]] = []

    def close(self) -> None:
        """From now on each step needs a `release`."""
        with self._condition:
            self._free, self._steps = False, 0

    def release(self, steps: int = 1) -> None:
        """Let so many steps happen."""
        with self._condition:
            self._steps += steps
        self._wake()

    def open(self) -> None:
        """Everything goes at full speed again."""
        with self._condition:
            self._free = True
        self._wake()

    def _wake(self) -> None:
        with self._condition:
            wakes, self._wakes = self._wakes, []
        for loop, event in wakes:
            with contextlib.suppress(RuntimeError):  # the loop of a stopped stand-in
                loop.call_soon_threadsafe(event.set)

    async def step(self) -> None:
        """Wait for leave to take one step."""
        while True:
            with self._condition:
                if self._free:
                    return
                if self._steps:
                    self._steps -= 1
                    return
                event = asyncio.Event()
                self._wakes.append((asyncio.get_running_loop(), event))
            await event.wait()


@dataclass(slots=True)
class Exchange:
    """One request and the answer that goes back."""

    seen: Seen
    stand_in: StandIn
    _writer: asyncio.StreamWriter
    fault: Fault | None = None
    chunks_sent: int = 0
    _chunked: bool = False
    started: bool = False
    close_after: bool = False
    _reader: asyncio.StreamReader | None = None

    async def more(self) -> bytes:
        """What the client sends behind its request, as it comes; nothing at its end."""
        assert self._reader is not None
        return await self._reader.read(65536)

    def abort(self) -> None:
        """End the connection without a word."""
        self._writer.transport.abort()

    async def respond(
        self, status: int, body: bytes = b"", headers: tuple[tuple[str, str], ...] = (), media_type: str = ""
    ) -> None:
        """A whole answer with its length."""
        fields = (("Content-Type", media_type),) if media_type else ()
        length = () if status in (204, 304) else (("Content-Length", str(len(body))),)
        await self.start(status, (*fields, *length, *headers), chunked=False)
        if body:
            await self.send(body)

    async def json(self, status: int, value: object, headers: tuple[tuple[str, str], ...] = ()) -> None:
        """A JSON answer."""
        await self.respond(status, orjson.dumps(value), headers, "application/json")

    async def raw(self, data: bytes) -> None:
        """Bytes as they are."""
        self._writer.write(data)
        await self._drain()

    async def start(self, status: int, headers: tuple[tuple[str, str], ...], *, chunked: bool = True) -> None:
        """The head of an answer."""
        await self._maybe_cut(-1)
        self._chunked = chunked
        self.started = True
        lines = [f"HTTP/1.1 {status} {'OK' if status < 400 else 'Error'}"]
        lines += [f"{name}: {value}" for name, value in headers]
        if chunked:
            lines.append("Transfer-Encoding: chunked")
        self._writer.write(("\r\n".join(lines) + "\r\n\r\n").encode("latin-1"))
        await self._drain()

    async def send(self, chunk: bytes) -> None:
        """A piece of the body, flushed at once."""
        await self._maybe_cut(self.chunks_sent)
        self._writer.write(b"%x\r\n%b\r\n" % (len(chunk), chunk) if self._chunked else chunk)
        self.chunks_sent += 1
        await self._drain()

    async def finish(self) -> None:
        """The end of a chunked answer."""
        await self._maybe_cut(self.chunks_sent)
        if self._chunked:
            self._writer.write(b"0\r\n\r\n")
            await self._drain()

    async def _drain(self) -> None:
        try:
            await self._writer.drain()
        except (ConnectionError, ssl.SSLError) as error:
            raise Gone from error

    async def _maybe_cut(self, at: int) -> None:
        if self.fault is None or at != self.fault.after_chunks:
            return
        match self.fault.cut:
            case Cut.RESET:
                raw = self._writer.get_extra_info("socket")
                with contextlib.suppress(OSError):
                    raw.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, struct.pack("ii", 1, 0))
                self._writer.transport.abort()
            case Cut.CLOSE:
                self._writer.close()
            case Cut.HANG:
                await self.stand_in.hang()
        raise Gone


type Provider = Callable[[Exchange], Awaitable[None]]


class StandIn:
    """A TLS server in a thread of its own that answers under many host names."""

    def __init__(self, authority: Authority, providers: dict[str, Provider], extra_hosts: tuple[str, ...] = ()) -> None:
        self.providers = providers
        self.hosts = (*providers, *extra_hosts)
        self.pace = Pace()
        self.faults: deque[Fault] = deque()
        """Each answer takes the first of them, if there is one."""
        self.connections = 0
        self.gone = 0
        """Exchanges that ended before their answer did."""
        self._context = authority.server_context(self.hosts)
        self._server_names: dict[int, str] = {}
        self._context.sni_callback = self._note_server_name
        self._seen: list[Seen] = []
        self._changed = threading.Condition()
        self._loop = asyncio.new_event_loop()
        self._hangs = asyncio.Event()
        self._tasks: set[asyncio.Task[None]] = set()
        self._thread = threading.Thread(target=self._loop.run_forever, daemon=True, name="stand-in")
        self._thread.start()
        self._server = asyncio.run_coroutine_threadsafe(self._listen(), self._loop).result(PATIENCE_S)
        self.port: int = self._server.sockets[0].getsockname()[1]

    def connect_to(self) -> list[str]:
        """`HOST:443=127.0.0.1:PORT` for every name it answers under."""
        return [f"{host}:443=127.0.0.1:{self.port}" for host in self.hosts]

    def seen(self, method: str | None = None, path: str | None = None, host: str | None = None) -> list[Seen]:
        """What arrived, in order."""
        with self._changed:
            return [
                request
                for request in self._seen
                if method in (None, request.method) and path in (None, request.path) and host in (None, request.host)
            ]

    def forget(self) -> None:
        """Start counting anew."""
        with self._changed:
            self._seen.clear()
            self.connections = self.gone = 0
            self.faults.clear()
        self.pace.open()

    def wait_for(self, condition: Callable[[], bool], what: str) -> None:
        """Block until something happened here; fails by name if it never does."""
        with self._changed:
            if not self._changed.wait_for(condition, PATIENCE_S):
                raise AssertionError(f"the stand-in never saw: {what}")

    def release_hangs(self) -> None:
        """Let hung answers end (as cut)."""
        self._loop.call_soon_threadsafe(self._hangs.set)

    async def hang(self) -> None:
        """Wait until the test lets go."""
        await self._hangs.wait()

    def stop(self) -> None:
        """Close everything and end the thread."""
        self.pace.open()
        asyncio.run_coroutine_threadsafe(self._close(), self._loop).result(PATIENCE_S)
        self._loop.call_soon_threadsafe(self._loop.stop)
        self._thread.join(PATIENCE_S)
        self._loop.close()

    async def _listen(self) -> asyncio.Server:
        return await asyncio.start_server(
            self._connected, "127.0.0.1", 0, ssl=self._context, limit=1 << 20, backlog=1024
        )

    async def _close(self) -> None:
        self._server.close()
        self._hangs.set()
        for task in self._tasks:
            task.cancel()
        await asyncio.gather(*self._tasks, return_exceptions=True)

    def _note_server_name(self, connection: ssl.SSLObject, name: str | None, _: ssl.SSLContext) -> None:
        if name is not None:
            self._server_names[id(connection)] = name

    def _notice(self, request: Seen) -> None:
        with self._changed:
            self._seen.append(request)
            self._changed.notify_all()

    async def _connected(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        task = asyncio.current_task()
        assert task is not None
        self._tasks.add(task)
        with self._changed:
            self.connections += 1
            self._changed.notify_all()
        server_name = self._server_names.pop(id(writer.get_extra_info("ssl_object")), None)
        try:
            while (request := await _read(reader, server_name)) is not None:
                self._notice(request)
                fault = self.faults.popleft() if self.faults else None
                exchange = Exchange(request, self, writer, fault, _reader=reader)
                provider = self.providers.get(request.host, _echo)
                await provider(exchange)
                if exchange.close_after:
                    break
        except (Gone, ConnectionError, asyncio.IncompleteReadError, ssl.SSLError):
            with self._changed:
                self.gone += 1
                self._changed.notify_all()
        except asyncio.CancelledError:
            pass
        finally:
            self._tasks.discard(task)
            writer.close()


async def _echo(exchange: Exchange) -> None:
    await exchange.json(200, {"method": exchange.seen.method, "path": exchange.seen.path})


async def _read(reader: asyncio.StreamReader, server_name: str | None) -> Seen | None:
    try:
        head = await reader.readuntil(b"\r\n\r\n")
    except asyncio.IncompleteReadError as error:
        if error.partial:
            raise
        return None
    lines = head[:-4].split(b"\r\n")
    method, target, _ = lines[0].decode("latin-1").split(" ", 2)
    headers = tuple(
        (name.decode("latin-1"), value.strip().decode("latin-1"))
        for name, _, value in (line.partition(b":") for line in lines[1:])
    )
    known = {name.lower(): value for name, value in headers}
    if "chunked" in known.get("transfer-encoding", "").lower():
        body = b""
        while size := int((await reader.readline()).split(b";")[0], 16):
            body += await reader.readexactly(size)
            await reader.readexactly(2)
        while (await reader.readline()).strip():
            pass
    else:
        body = await reader.readexactly(int(known.get("content-length", "0")))
    return Seen(server_name, method, target, headers, head, body)
