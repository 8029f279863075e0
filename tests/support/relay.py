"""A proxy that governs nothing: stand-ins are checked through it, and every test of a refusal must fail on it."""

from __future__ import annotations

import contextlib
import socket
import threading
from pathlib import Path

from support.product import Agent
from support.stand_in import StandIn


class Relay:
    """Tunnels each CONNECT to the stand-in, whoever asks for whatever."""

    def __init__(self, stand_in: StandIn, ca: Path) -> None:
        self._stand_in = stand_in
        self._listener = socket.create_server(("127.0.0.1", 0), backlog=128)
        self.port: int = self._listener.getsockname()[1]
        self.agent = Agent("nobody", "none", f"http://nobody:none@127.0.0.1:{self.port}", ca)
        threading.Thread(target=self._accept, daemon=True).start()

    def stop(self) -> None:
        """Take no more connections."""
        self._listener.close()

    def _accept(self) -> None:
        with contextlib.suppress(OSError):
            while True:
                client, _ = self._listener.accept()
                threading.Thread(target=self._tunnel, args=(client,), daemon=True).start()

    def _tunnel(self, client: socket.socket) -> None:
        with client, contextlib.suppress(OSError):
            head = b""
            while b"\r\n\r\n" not in head:
                if not (data := client.recv(65536)):
                    return
                head += data
            with socket.create_connection(("127.0.0.1", self._stand_in.port)) as upstream:
                client.sendall(b"HTTP/1.1 200 OK\r\n\r\n")
                back = threading.Thread(target=_copy, args=(upstream, client), daemon=True)
                back.start()
                _copy(client, upstream)
                back.join()


def _copy(source: socket.socket, target: socket.socket) -> None:
    with contextlib.suppress(OSError):
        while data := source.recv(65536):
            target.sendall(data)
    with contextlib.suppress(OSError):
        target.shutdown(socket.SHUT_WR)
