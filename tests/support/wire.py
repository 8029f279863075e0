"""Clients that send exactly the bytes they are told: tunnels through the proxy, and whole answers back."""

from __future__ import annotations

import base64
import contextlib
import socket
import ssl
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import orjson

from support.product import Agent


@dataclass(frozen=True, slots=True)
class Answer:
    """What came back."""

    status: int
    headers: tuple[tuple[str, str], ...]
    body: bytes
    whole: bool = True
    """False when the connection ended before the body did."""

    def header(self, name: str) -> str | None:
        """The first field of that name."""
        return next((value for key, value in self.headers if key.lower() == name.lower()), None)

    @property
    def decision(self) -> dict[str, Any]:
        """`decision` of a refusal's body."""
        found: dict[str, Any] = orjson.loads(self.body)["decision"]
        return found

    @property
    def code(self) -> str:
        """The refusal's reason code."""
        code: str = orjson.loads(self.body)["error"]["code"]
        return code


class ConnectionOver(Exception):
    """The other side closed before a whole head arrived; carries what did."""

    def __init__(self, got: bytes) -> None:
        super().__init__(f"closed after {got[:200]!r}")
        self.got = got


class ConnectRefused(Exception):
    """The CONNECT itself was answered with something else than 200."""

    def __init__(self, answer: Answer) -> None:
        super().__init__(f"CONNECT was answered with {answer.status}")
        self.answer = answer


def credential(agent: Agent) -> bytes:
    """The `Proxy-Authorization` field of an agent, with its line end."""
    token = base64.b64encode(f"{agent.name}:{agent.key}".encode())
    return b"Proxy-Authorization: Basic " + token + b"\r\n"


class Wire:
    """One connection; `send` bytes, `read` an answer."""

    def __init__(self, raw: socket.socket) -> None:
        self.socket: socket.socket = raw
        self._kept = b""

    @classmethod
    def open(cls, address: tuple[str, int], timeout: float = 20.0) -> Wire:
        """A plain TCP connection."""
        return cls(socket.create_connection(address, timeout))

    @classmethod
    def tunnel(
        cls,
        agent: Agent,
        address: tuple[str, int],
        host: str,
        port: int = 443,
        *,
        server_name: str | None = None,
        connect_target: str | None = None,
        timeout: float = 20.0,
    ) -> Wire:
        """A TLS connection to `host` through the proxy, by CONNECT."""
        wire = cls.connected(agent, address, connect_target or f"{host}:{port}", timeout)
        try:
            wire.start_tls(agent.ca, server_name or host)
        except BaseException:
            wire.close()
            raise
        return wire

    @classmethod
    def connected(cls, agent: Agent, address: tuple[str, int], target: str, timeout: float = 20.0) -> Wire:
        """A CONNECT that was answered with 200."""
        wire = cls.open(address, timeout)
        try:
            wire.send(b"CONNECT " + target.encode() + b" HTTP/1.1\r\nHost: " + target.encode() + b"\r\n")
            wire.send(credential(agent) + b"\r\n")
            answer = wire.head()
        except BaseException:
            wire.close()
            raise
        if answer.status != 200:
            wire.close()
            raise ConnectRefused(answer)
        return wire

    def start_tls(self, ca: Path, server_name: str | None, *, verify: bool = True) -> None:
        """TLS over what is there."""
        context = ssl.create_default_context(cafile=str(ca))
        context.check_hostname = verify and server_name is not None
        context.set_alpn_protocols(["http/1.1"])
        self.socket = context.wrap_socket(self.socket, server_hostname=server_name)

    def send(self, data: bytes) -> None:
        """All of it."""
        self.socket.sendall(data)

    def ask(self, data: bytes, *, method: str = "GET") -> Answer:
        """Send a request and read its answer."""
        self.send(data)
        return self.read(method=method)

    def head(self) -> Answer:
        """The next head, without a body."""
        while b"\r\n\r\n" not in self._kept:
            self._more()
        head, _, self._kept = self._kept.partition(b"\r\n\r\n")
        lines = head.decode("latin-1").split("\r\n")
        fields = tuple((name, value.strip()) for name, _, value in (line.partition(":") for line in lines[1:]))
        return Answer(int(lines[0].split(" ")[1]), fields, b"")

    def read(self, *, method: str = "GET") -> Answer:
        """The next answer with its body; `whole` says whether the body ended as promised."""
        got = self.head()
        while got.status in (100, 103):
            got = self.head()
        if method == "HEAD" or got.status in (204, 304):
            return got
        body, whole = b"", True
        try:
            if "chunked" in (got.header("transfer-encoding") or "").lower():
                while (chunk := self.chunk()) is not None:
                    body += chunk
            elif (length := got.header("content-length")) is not None:
                body = self.exactly(int(length))
            else:
                with contextlib.suppress(ConnectionOver):
                    while True:
                        self._more()
                body, self._kept = self._kept, b""
        except ConnectionOver as over:
            body, whole = body + over.got, False
        return Answer(got.status, got.headers, body, whole)

    def chunk(self) -> bytes | None:
        """The next chunk of a chunked body, None at its end."""
        while b"\r\n" not in self._kept:
            self._more()
        size, _, self._kept = self._kept.partition(b"\r\n")
        data = self.exactly(int(size.split(b";")[0], 16))
        self.exactly(2)
        return data or None

    def exactly(self, count: int) -> bytes:
        """So many bytes."""
        parts, have = [self._kept], len(self._kept)
        while have < count:
            self._kept = b""
            try:
                self._more()
            except ConnectionOver:
                raise ConnectionOver(b"".join(parts)) from None
            parts.append(self._kept)
            have += len(self._kept)
        data = b"".join(parts)
        self._kept = data[count:]
        return data[:count]

    def some(self) -> bytes:
        """What has come, or comes next."""
        if not self._kept:
            self._more()
        data, self._kept = self._kept, b""
        return data

    def at_end(self) -> bytes:
        """All that still comes until the other side closes."""
        with contextlib.suppress(ConnectionOver):
            while True:
                self._more()
        data, self._kept = self._kept, b""
        return data

    def _more(self) -> None:
        try:
            data = self.socket.recv(1 << 18)
        except (ConnectionError, ssl.SSLEOFError, ssl.SSLZeroReturnError):
            data = b""
        if not data:
            raise ConnectionOver(self._kept)
        self._kept += data

    def close(self) -> None:
        """Leave."""
        self.socket.close()

    def __enter__(self) -> Wire:
        return self

    def __exit__(self, *_: object) -> None:
        self.close()


def request(method: str, host: str, target: str, body: bytes = b"", *fields: str) -> bytes:
    """A plain HTTP/1.1 request in bytes."""
    lines = [f"{method} {target} HTTP/1.1", f"Host: {host}", *fields]
    if body:
        lines.append(f"Content-Length: {len(body)}")
    return ("\r\n".join(lines) + "\r\n\r\n").encode("latin-1") + body
