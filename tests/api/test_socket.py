"""The API's socket and its client: who may open it, what replaces it, and how a request under way ends."""

from __future__ import annotations

import os
import socket
import stat
import threading
from collections.abc import Callable, Iterator
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

import pytest

from douane.api.client import ApiClient, ApiError, NodeNotRunning, path
from support.product import Product
from support.stand_in import PATIENCE_S


def only_its_owner_opens(sock: Path) -> None:
    assert stat.S_ISSOCK(sock.stat().st_mode)
    assert stat.S_IMODE(sock.stat().st_mode) == 0o600
    assert stat.S_IMODE(sock.parent.stat().st_mode) == 0o700
    assert sock.stat().st_uid == os.geteuid()


def test_only_its_owner_opens_the_socket_and_one_that_a_killed_node_left_is_replaced(
    new_product: Callable[..., Product],
) -> None:
    product = new_product().start()
    sock = product.home / "private" / "api.sock"
    only_its_owner_opens(sock)
    product.kill()
    assert sock.exists()
    with pytest.raises(NodeNotRunning):
        ApiClient(sock).request("GET", path("health"))
    product.start()
    assert product.api("GET", "/v1/health").body["ready"]
    only_its_owner_opens(sock)
    assert product.stop() == 0
    assert not sock.exists()


# the client, before a server that says what a test wants


class Said:
    """A socket that answers each request with the same bytes, or with silence."""

    def __init__(self, folder: Path) -> None:
        self.path = folder / "api.sock"
        self.answer: bytes | None = None
        self.asked = threading.Event()
        self._listener = socket.socket(socket.AF_UNIX)
        self._listener.bind(str(self.path))
        self._listener.listen()
        self._thread = threading.Thread(target=self._serve)
        self._thread.start()

    def _serve(self) -> None:
        while True:
            connection, _ = self._listener.accept()
            with connection:
                if not connection.recv(65536):
                    return
                self.asked.set()
                if self.answer is None:
                    connection.recv(1)  # until the client leaves
                else:
                    connection.sendall(self.answer)

    def stop(self) -> None:
        with socket.socket(socket.AF_UNIX) as last:
            last.connect(str(self.path))
        self._thread.join(PATIENCE_S)
        self._listener.close()


@pytest.fixture
def said(tmp_path: Path) -> Iterator[Said]:
    server = Said(tmp_path)
    yield server
    server.stop()


def test_closing_the_client_ends_a_long_poll_at_once(said: Said) -> None:
    client = ApiClient(said.path)
    with ThreadPoolExecutor(1) as pool:
        poll = pool.submit(client.request, "GET", "/v1/reviews/changes?wait=60", timeout_s=PATIENCE_S * 2)
        assert said.asked.wait(PATIENCE_S)
        client.close()
        with pytest.raises(TimeoutError, match="is not known"):
            poll.result(PATIENCE_S)
    with pytest.raises(NodeNotRunning, match="closed"):
        client.request("GET", "/v1/health")


@pytest.mark.parametrize(
    "answer",
    [b"", b"HTTP/1.1 200 OK\r\nContent-Le", b"HTTP/1.1 200 OK\r\nContent-Length: 9\r\n\r\n{", b"nonsense\r\n\r\n"],
)
def test_an_answer_that_breaks_off_is_not_known(said: Said, answer: bytes) -> None:
    said.answer = answer
    with pytest.raises(TimeoutError, match="what came of the request is not known"):
        ApiClient(said.path).request("POST", "/v1/agents", {})


def test_silence_is_not_known_either(said: Said) -> None:
    with pytest.raises(TimeoutError):
        ApiClient(said.path).request("GET", "/v1/health", timeout_s=0.2)


@pytest.mark.parametrize(
    ("body", "code", "message"),
    [
        (b'{"error":{"code":"conflict","message":"taken"}}', "conflict", "taken"),
        (b"", "error", "the node answered 409"),
        (b"[1]", "error", "[1]"),
        (b"<html>", "error", "<html>"),
        (b'{"error":"no"}', "error", '{"error":"no"}'),
    ],
)
def test_an_error_is_told_whatever_its_body(said: Said, body: bytes, code: str, message: str) -> None:
    said.answer = b"HTTP/1.1 409 Conflict\r\nContent-Length: %d\r\n\r\n" % len(body) + body
    with pytest.raises(ApiError) as caught:
        ApiClient(said.path).request("GET", "/v1/health")
    assert (caught.value.status, caught.value.code, str(caught.value)) == (409, code, message)


def test_a_name_leads_to_no_other_route() -> None:
    assert path("agents", "a/rotate?x=1#y z") == "/v1/agents/a%2Frotate%3Fx%3D1%23y%20z"
    assert path("agents", "ä\n") == "/v1/agents/%C3%A4%0A"
