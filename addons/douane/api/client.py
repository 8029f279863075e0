"""The API's client, for the commands and the console: plain HTTP over the node's Unix socket."""

from __future__ import annotations

import base64
import contextlib
import http.client
import json
import socket
import threading
from pathlib import Path
from typing import Any
from urllib.parse import quote


def path(*parts: str) -> str:
    """The path of a route, with its parts quoted: a name with a slash in it leads to no other route."""
    return "/v1/" + "/".join(quote(part, safe="") for part in parts)


class NodeNotRunning(Exception):
    """No node answers on the socket."""


class ApiError(Exception):
    """The node refused a request."""

    def __init__(self, status: int, code: str, message: str, body: dict[str, Any]) -> None:
        super().__init__(message)
        self.status = status
        self.code = code
        self.body = body


class _UnixConnection(http.client.HTTPConnection):
    def __init__(self, path: Path, timeout_s: float) -> None:
        super().__init__("localhost", timeout=timeout_s)
        self._path = path

    def connect(self) -> None:
        self.sock = socket.socket(socket.AF_UNIX)
        self.sock.settimeout(self.timeout)
        self.sock.connect(str(self._path))


class ApiClient:
    """Speaks to one node; safe to use from several threads."""

    def __init__(self, socket_path: Path) -> None:
        self._socket = socket_path
        self._open: set[socket.socket] = set()
        self._closed = False
        self._lock = threading.Lock()

    def close(self) -> None:
        """End the requests under way and all later ones, so that no long poll keeps a process from ending."""
        with self._lock:
            self._closed = True
            for sock in self._open:
                with contextlib.suppress(OSError):
                    sock.shutdown(socket.SHUT_RDWR)

    def request(
        self,
        method: str,
        path: str,
        body: object = None,
        *,
        bearer: str | None = None,
        basic: tuple[str, str] | None = None,
        timeout_s: float = 30.0,
    ) -> Any:
        """The JSON of an answer; raises `ApiError`, `NodeNotRunning`; `TimeoutError` where the outcome is unknown."""
        headers = {"Content-Type": "application/json"}
        if bearer is not None:
            headers["Authorization"] = f"Bearer {bearer}"
        elif basic is not None:
            headers["Authorization"] = "Basic " + base64.b64encode(":".join(basic).encode()).decode()
        connection = _UnixConnection(self._socket, timeout_s)
        sock: socket.socket | None = None
        try:
            try:
                connection.connect()
            except OSError as error:
                raise NodeNotRunning(f"no node answers on {self._socket}; start one with `douane up`") from error
            with self._lock:
                if self._closed:
                    raise NodeNotRunning("this client is closed")
                self._open.add(sock := connection.sock)
            connection.request(method, path, None if body is None else json.dumps(body), headers)
            answer = connection.getresponse()
            text = answer.read()
            if answer.status < 400:
                return json.loads(text)  # every route answers JSON: what is none was cut
        except (http.client.HTTPException, ConnectionError, ValueError) as error:
            raise TimeoutError("the node ended while it answered; what came of the request is not known") from error
        finally:
            if sock is not None:
                with self._lock:
                    self._open.discard(sock)
            connection.close()
        raise _error(answer.status, text)


def _error(status: int, text: bytes) -> ApiError:
    """What the node refused, and, where it could not say it in JSON, what it said."""
    try:
        body = json.loads(text)
        told = body["error"]
        return ApiError(status, told["code"], told["message"], body)
    except (ValueError, KeyError, TypeError):
        return ApiError(status, "error", text.decode("utf-8", "replace") or f"the node answered {status}", {})
