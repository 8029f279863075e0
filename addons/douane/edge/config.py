"""How a node is started."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path

from douane.edge.home import Home


@dataclass(frozen=True, slots=True)
class NodeConfig:
    """Everything a proxy node is told at its start."""

    home: Home
    policy_dir: Path
    listen_host: str = "127.0.0.1"
    listen_port: int = 8080
    connect_to: tuple[tuple[str, int, str, int], ...] = ()
    """(host, port, to host, to port): where calls to a destination are dialled instead; name, SNI and policy stay."""
    upstream_ca: Path | None = None
    """PEM file of CAs to trust for providers, in place of the public ones."""
    heartbeat_fd: int | None = None
    """A pipe to the supervisor: a byte a second."""
    console: tuple[str, int] | None = None
    """The console's address, which no agent may reach through the proxy."""
