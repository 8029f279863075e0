"""Whose clients connect."""

from __future__ import annotations

import os
import socket
import sys

import pytest

from douane.edge.peers import OwnClients, client_users

pytestmark = pytest.mark.skipif(sys.platform != "linux", reason="reads Linux's /proc")


@pytest.mark.parametrize(
    ("family", "listen", "connect"),
    [
        (socket.AF_INET, "127.0.0.1", "127.0.0.1"),
        (socket.AF_INET, "0.0.0.0", "127.0.0.1"),
        (socket.AF_INET6, "::1", "::1"),
        (socket.AF_INET6, "::", "127.0.0.1"),
    ],
)
def test_a_clients_user_is_known(family: int, listen: str, connect: str) -> None:
    with socket.create_server((listen, 0), family=family, dualstack_ipv6=listen == "::") as server:
        port = server.getsockname()[1]
        assert client_users(port) == frozenset()
        with socket.create_connection((connect, port)):
            assert client_users(port) == {os.geteuid()}


@pytest.mark.skipif(os.geteuid() != 0, reason="only root can be someone else")
def test_another_users_client_is_not_taken_for_our_own() -> None:
    with socket.create_server(("127.0.0.1", 0)) as server:
        port = server.getsockname()[1]
        told, tell = os.pipe()
        hold, end = os.pipe()
        child = os.fork()
        if child == 0:
            os.setuid(65534)
            with socket.create_connection(("127.0.0.1", port)):
                os.write(tell, b".")
                os.close(end)
                os.read(hold, 1)
            os._exit(0)
        os.read(told, 1)
        try:
            assert client_users(port) == {65534}
            assert not OwnClients(port).found()
        finally:
            os.close(end)
            os.waitpid(child, 0)
            for fd in (told, tell, hold):
                os.close(fd)


def test_it_is_found_once() -> None:
    with socket.create_server(("127.0.0.1", 0)) as server:
        port = server.getsockname()[1]
        with socket.create_connection(("127.0.0.1", port)):
            clients = OwnClients(port)
            assert [clients.found(), clients.found()] == [True, False]
