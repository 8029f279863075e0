"""Whose processes connect to the proxy: the kernel's table of TCP sockets names each one's user (Linux)."""

from __future__ import annotations

import contextlib
import os
import time
from collections.abc import Iterator
from pathlib import Path

LOOK_S = 2.0
"""How often the table is read until there is something to tell; it takes milliseconds with thousands of sockets."""

_TABLES = (Path("/proc/net/tcp"), Path("/proc/net/tcp6"))
_ESTABLISHED = "01"
_MAPPED = "0000000000000000FFFF0000"
"""What stands before an IPv4 address in the table of IPv6 sockets."""


def client_users(port: int) -> frozenset[int]:
    """The user ids of processes on this machine that are connected to a port of this machine; none where unknown."""
    users = {(local, remote): user for local, remote, user in _established()}
    # Both ends stand in the table only if both are here: a connection to another machine's port is not meant.
    return frozenset(
        user for (local, remote), user in users.items() if remote.endswith(f":{port:04X}") and (remote, local) in users
    )


def _established() -> Iterator[tuple[str, str, int]]:
    for table in _TABLES:
        with contextlib.suppress(OSError):
            for line in table.read_text().splitlines()[1:]:
                fields = line.split()
                if fields[3] == _ESTABLISHED:
                    yield fields[1].removeprefix(_MAPPED), fields[2].removeprefix(_MAPPED), int(fields[7])


class OwnClients:
    """Finds out, once, that an agent runs as the node's own user, and so could read its keys."""

    def __init__(self, port: int) -> None:
        self._port = port
        self._next_look = 0.0

    def found(self) -> bool:
        """Whether such a client is connected now; true at most once."""
        now = time.monotonic()
        if now < self._next_look:
            return False
        self._next_look = now + LOOK_S
        if os.geteuid() not in client_users(self._port):
            return False
        self._next_look = float("inf")
        return True
