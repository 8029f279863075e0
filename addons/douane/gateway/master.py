"""The proxy node: a lean mitmproxy master with only the addons it needs, in the order that stands here."""

from __future__ import annotations

import asyncio
import contextlib
import gc
import logging
import os
import signal
import sys
from collections.abc import Callable
from dataclasses import dataclass

from mitmproxy import master, options
from mitmproxy.addons import next_layer, proxyserver, tlsconfig
from mitmproxy.connection import Server

from douane.api.server import ApiServer
from douane.calls.node import Node, NodeError
from douane.edge.config import NodeConfig
from douane.gateway.authenticate import Authenticate
from douane.gateway.connections import Connections
from douane.gateway.gate import Gate, Interlock
from douane.gateway.internals import http1, websocket
from douane.gateway.internals.dialer import GuardedLoop
from douane.gateway.internals.dispatch import HookTable
from douane.gateway.internals.listener import Listener
from douane.gateway.options import LockedOptions
from douane.gateway.protocols import ProtocolGuard

logger = logging.getLogger(__name__)

DRAIN_S = 10.0
"""How long calls under way may take to end after the node was told to stop."""

GC_THRESHOLD = 20_000, 20, 20
"""Ten times Python's: a call leaves some hundred objects in cycles behind, which may wait a little."""
GIL_SWITCH_S = 0.0005
"""The store's thread gets its turn within this time; Python's default of 5 ms would be most of a call's latency."""


@dataclass(frozen=True, slots=True)
class NodeStatus:
    """What a node tells when it is ready."""

    proxy_host: str
    proxy_port: int
    policy_differs: bool


class ProxyNode:
    """One node with its listener and API, for `serve` and for tests that reach into it."""

    def __init__(self, config: NodeConfig, node: Node) -> None:
        self.config = config
        self.node = node
        self.connections = Connections()
        http1.install()
        websocket.install()
        self.options = options.Options()
        self.master = master.Master(self.options, asyncio.get_running_loop())
        locked = LockedOptions(config.home.ca_dir, config.upstream_ca)
        # mitmproxy's part: they define options and know TLS; dispatch does not go through its addon manager.
        mitmproxy_addons = (proxyserver.Proxyserver(), next_layer.NextLayer(), tlsconfig.TlsConfig())
        self.master.addons.add(locked, *mitmproxy_addons)
        locked.apply(self.options)
        authenticate = Authenticate(node, self.connections)
        gate = Gate(node, self.connections, authenticate, self.cut, self.hang_up)
        self.addons: list[object] = [
            authenticate,
            mitmproxy_addons[1],  # NextLayer
            ProtocolGuard(),
            mitmproxy_addons[2],  # TlsConfig
            gate,
            Interlock(self.connections),
        ]
        self.listener: Listener | None = None
        self.api = ApiServer()

    async def start(self) -> NodeStatus:
        """Listen and let calls pass; raises `NodeError`."""
        config = self.config
        loop = asyncio.get_running_loop()
        loop.set_task_factory(asyncio.eager_task_factory)
        if isinstance(loop, GuardedLoop):
            loop.destinations = self.node.destinations
        self.listener = Listener(self.options, HookTable(self.addons), self.connections)
        try:
            host, port = await self.listener.listen(config.listen_host, config.listen_port)
        except OSError as error:
            raise NodeError(
                f"cannot listen on {config.listen_host}:{config.listen_port}: {error.strerror or error}. "
                "Stop the other program or choose another address with --listen HOST:PORT."
            ) from error
        self.node.destinations.add_own(host, port)
        if config.console is not None:
            self.node.destinations.add_own(*config.console)
        self.api.start(self.node, config.home.api_socket)
        self.node.start()
        return NodeStatus(host, port, self.node.policy_differs)

    def cut(self, connection_id: str) -> None:
        """End one client's connection at once."""
        if self.listener is not None:
            self.listener.cut(connection_id)

    def hang_up(self, connection_id: str, server: Server) -> None:
        """End a provider's connection in the middle of what it sends."""
        if self.listener is not None:
            self.listener.hang_up(connection_id, server)

    async def stop(self) -> None:
        """Refuse new calls, let those under way end, give each its result, close the store: in this order."""
        self.node.drain()
        if self.listener is not None:
            self.listener.stop_listening()
            loop = asyncio.get_running_loop()
            give_up = loop.time() + DRAIN_S
            # Those that a person is asked about are refused now, and hear it before their connection ends.
            while (self.connections.open_calls() or self.node.deciding()) and loop.time() < give_up:  # noqa: ASYNC110
                await asyncio.sleep(0.02)
            await self.listener.close(wait_s=3.0)
        self.connections.finish_all("the node stopped")
        await self.api.stop()
        await self.node.close()


async def serve(config: NodeConfig, *, ready: Callable[[NodeStatus], None]) -> int:
    """Run a node until SIGINT or SIGTERM; returns the exit code; raises `NodeError` where it cannot start."""
    sys.setswitchinterval(GIL_SWITCH_S)
    loop = asyncio.get_running_loop()
    stop = asyncio.Event()
    for number in (signal.SIGINT, signal.SIGTERM):
        loop.add_signal_handler(number, stop.set)
    node = await Node.open(config)
    proxy = ProxyNode(config, node)
    heartbeat = asyncio.create_task(_beat(config.heartbeat_fd))
    try:
        status = await proxy.start()
        # What was loaded so far stays: looking through it for garbage would stop all calls for 80 ms each time.
        gc.collect()
        gc.freeze()
        gc.set_threshold(*GC_THRESHOLD)
        ready(status)
        await stop.wait()
    finally:
        await proxy.stop()
        heartbeat.cancel()
    return 0


def run(config: NodeConfig, *, ready: Callable[[NodeStatus], None]) -> int:
    """Run a node on a loop that dials only checked addresses; raises `NodeError`."""
    with asyncio.Runner(loop_factory=GuardedLoop) as runner:
        return runner.run(serve(config, ready=ready))


async def _beat(heartbeat_fd: int | None) -> None:
    """Tell the supervisor each second that the loop turns."""
    while heartbeat_fd is not None:
        with contextlib.suppress(BlockingIOError):
            os.write(heartbeat_fd, b".")
        await asyncio.sleep(1.0)
