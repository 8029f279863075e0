"""What commands do their work on: the running node through its API, or, with none running, the store itself."""

from __future__ import annotations

import asyncio
import contextlib
from collections.abc import Callable, Coroutine, Iterator
from pathlib import Path
from typing import Any

from douane.api.client import ApiClient, NodeNotRunning
from douane.edge.home import Home


class Backend:
    """Speaks to the node of a home, started for one command where none runs."""

    def __init__(self, home_path: Path) -> None:
        self.home = Home.prepare(home_path)
        self.client = ApiClient(self.home.api_socket)

    def request(self, method: str, path: str, body: object = None, **options: Any) -> Any:
        """An API request; with no node running this process answers it, and holds the store's lock meanwhile."""
        try:
            return self.client.request(method, path, body, **options)
        except NodeNotRunning:
            with _own_node(self.home) as call:
                return call(lambda: asyncio.to_thread(self.client.request, method, path, body, **options))


@contextlib.contextmanager
def _own_node(home: Home) -> Iterator[Callable[[Callable[[], Coroutine[Any, Any, Any]]], Any]]:
    """A node without a proxy: the same operations behind the same API, for the time of one command."""
    from douane.api.server import ApiServer  # only where no node runs
    from douane.calls.node import Node, NodeError
    from douane.edge.start import make_config
    from douane.store.interface import StoreError

    async def serve(work: Callable[[], Coroutine[Any, Any, Any]]) -> Any:
        try:
            node = await Node.open(make_config(home.root, None, ("127.0.0.1", 8080)))
        except NodeError as error:
            raise StoreError(str(error)) from error
        api = ApiServer()
        try:
            api.start(node, home.api_socket)
            node.start()
            return await work()
        finally:
            await api.stop()
            await node.close()

    yield lambda work: asyncio.run(serve(work))
