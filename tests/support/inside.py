"""The node inside the test's process, in a thread of its own, for faults that no one causes from outside."""

from __future__ import annotations

import asyncio
import threading
from collections.abc import Callable, Coroutine
from concurrent.futures import Future
from pathlib import Path
from typing import Any

from douane.calls.node import Node
from douane.core.decision import Budget
from douane.edge.ca import ensure_ca
from douane.edge.config import NodeConfig
from douane.edge.home import Home, shipped_policy_dir
from douane.gateway.internals.dialer import GuardedLoop
from douane.gateway.master import ProxyNode
from douane.store.interface import LogFilter
from support.product import Agent
from support.providers import Providers
from support.stand_in import PATIENCE_S


class InsideNode:
    """A real node: the master, the addons, the store; `change` may reach into it before it starts to listen."""

    def __init__(
        self,
        providers: Providers,
        folder: Path,
        *,
        policy: Path | None = None,
        change: Callable[[ProxyNode], None] = lambda _: None,
    ) -> None:
        home = Home.prepare(folder / "home")
        ensure_ca(home)
        routes = [route.replace("=", ":").split(":") for route in providers.stand_in.connect_to()]
        self.config = NodeConfig(
            home=home,
            policy_dir=policy or shipped_policy_dir(),
            listen_port=0,
            connect_to=tuple((host, int(port), to, int(to_port)) for host, port, to, to_port in routes),
            upstream_ca=providers.authority.certificate_file,
        )
        self._runner = asyncio.Runner(loop_factory=GuardedLoop)
        self.loop = self._runner.get_loop()
        self._thread = threading.Thread(target=self._run, daemon=True, name="node")
        self._thread.start()
        self._stopping: Future[None] | None = None
        try:
            self.proxy: ProxyNode = self.call(self._make())
            change(self.proxy)
            status = self.call(self.proxy.start())
        except BaseException:
            self._end()
            raise
        self.address = (status.proxy_host, status.proxy_port)

    async def _make(self) -> ProxyNode:
        return ProxyNode(self.config, await Node.open(self.config))

    def _run(self) -> None:
        self.loop.run_forever()

    def call[T](self, coroutine: Coroutine[Any, Any, T]) -> T:
        """Run something on the node's loop."""
        return asyncio.run_coroutine_threadsafe(coroutine, self.loop).result(PATIENCE_S)

    def on_loop(self, function: Callable[[], Any]) -> None:
        """Run a function on the node's loop, and wait for it."""

        async def run() -> None:
            function()

        self.call(run())

    @property
    def node(self) -> Node:
        """The node's parts."""
        return self.proxy.node

    def agent(self, name: str = "agent", cap_nano: int | None = 5_000_000_000) -> Agent:
        """A registered agent."""
        _, key = self.call(self.node.add_agent(name, {}, cap_nano))
        return Agent(name, key, f"http://{name}:{key}@127.0.0.1:{self.address[1]}", self.config.home.ca_cert)

    def records(self, kind: str) -> list[dict[str, Any]]:
        """Records of one kind, oldest first."""
        found = self.call(self.node.store.log(LogFilter(kind=kind, limit=10_000)))
        return [dict(entry.record) for entry in found]

    def spend_nano(self, name: str = "agent") -> tuple[int, int]:
        """Settled and reserved of an agent."""
        (row,) = self.call(self.node.store.spend({name: Budget(None)}))
        return row.settled_nano, row.reserved_nano

    def begin_stop(self) -> Future[None]:
        """Start to stop, as on SIGTERM; the future ends when the node has."""
        if self._stopping is None:
            self._stopping = asyncio.run_coroutine_threadsafe(self.proxy.stop(), self.loop)
        return self._stopping

    def stop(self) -> None:
        """End the node and its thread."""
        self.begin_stop().result(PATIENCE_S)
        self._end()

    def _end(self) -> None:
        self.loop.call_soon_threadsafe(self.loop.stop)
        self._thread.join(PATIENCE_S)
        self._runner.close()
