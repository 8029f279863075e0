"""What commands do their work on: the running node through its API, or, with none running, the store itself."""

from __future__ import annotations

import asyncio
import contextlib
from collections.abc import AsyncIterator, Callable
from pathlib import Path
from typing import TYPE_CHECKING, Any, cast

from douane.api.client import ApiClient, NodeNotRunning
from douane.cli.options import existing_home
from douane.edge.home import Home, scratch_folder, shipped_policy_dir

if TYPE_CHECKING:
    from douane.calls.node import Node
    from douane.store.interface import Store


class Backend:
    """Speaks to the node of a home, started for one command where none runs."""

    def __init__(self, home_path: Path, *, make: bool = False) -> None:
        self.home = Home.prepare(home_path) if make else existing_home(home_path)
        self.client = ApiClient(self.home.api_socket)

    def request(self, method: str, path: str, body: object = None, **options: Any) -> Any:
        """An API request. With no node running this process answers it: what only reads leaves no trace in the store,
        what changes something holds its lock meanwhile.
        """
        try:
            return self.client.request(method, path, body, **options)
        except NodeNotRunning:
            reads = method == "GET" and self.home.database.is_file()
            opened = _reading_node(self.home) if reads else _own_node(self.home)
            return asyncio.run(_ask(opened, lambda client: client.request(method, path, body, **options)))


async def _ask(
    opened: contextlib.AbstractAsyncContextManager[tuple[Node, Path]], ask: Callable[[ApiClient], Any]
) -> Any:
    """Ask a node of our own, behind the same API."""
    from douane.api.server import ApiServer  # only where no node runs
    from douane.calls.node import NodeError
    from douane.store.interface import StoreError

    api = ApiServer()
    try:
        async with opened as (node, socket):
            try:
                api.start(node, socket)
                return await asyncio.to_thread(ask, ApiClient(socket))
            finally:
                await api.stop()
    except NodeError as error:
        raise StoreError(str(error)) from error


@contextlib.asynccontextmanager
async def _own_node(home: Home) -> AsyncIterator[tuple[Node, Path]]:
    """A node without a proxy, for the time of one command."""
    from douane.calls.node import Node
    from douane.edge.start import make_config

    node = await Node.open(make_config(home.root, None, ("127.0.0.1", 8080)))
    try:
        node.start()
        yield node, home.api_socket
    finally:
        await node.close()


@contextlib.asynccontextmanager
async def _reading_node(home: Home) -> AsyncIterator[tuple[Node, Path]]:
    """What a node would answer that stands still: no lock, no record, no timer, no file of the home touched."""
    from douane.calls.agents import Agents
    from douane.calls.node import Node, load_rules
    from douane.edge.config import NodeConfig
    from douane.edge.policy.bundle import lay_out
    from douane.store.sqlite import SqliteStore

    with scratch_folder() as folder:
        async with SqliteStore.read_only(home.database) as store:
            policy_dir = shipped_policy_dir()
            if (in_force := await store.policy_in_force()) is not None:
                lay_out(in_force[1], policy_dir := Path(folder) / "in-force")
            _, rules = load_rules(policy_dir)
            agents = Agents(await store.agents(), ever_registered=await store.ever_had_agents())
            # The routes that read ask of a store only what a reader has.
            node = Node(NodeConfig(home, policy_dir), cast("Store", store), agents, rules)
            try:
                yield node, Path(folder) / "api.sock"
            finally:
                node.inspector.close()
