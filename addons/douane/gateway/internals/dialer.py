"""The event loop that dials only checked addresses: the last gate before a byte leaves the machine.

mitmproxy opens upstream connections with `asyncio.open_connection(host, port)`. Overriding the loop's
`create_connection` leaves names, SNI and keep-alive alone, which rewriting a flow's server address would not.
"""

from __future__ import annotations

import asyncio
from typing import Any

from douane.edge.destinations import Destinations


class GuardedLoop(asyncio.SelectorEventLoop):
    """A loop whose outgoing TCP connections go to checked addresses only; without a dialer they fail."""

    destinations: Destinations | None = None

    async def create_connection(self, protocol_factory: Any, host: Any = None, port: Any = None, **kwargs: Any) -> Any:
        """Connect to the first checked address that answers; raises `DestinationForbidden`, `OSError`."""
        if host is None or kwargs.get("sock") is not None:
            return await super().create_connection(protocol_factory, host, port, **kwargs)
        if self.destinations is None:
            raise OSError("no destination is open before the node is ready")
        errors: list[OSError] = []
        for endpoint in await self.destinations.endpoints(str(host), int(port)):
            try:
                return await super().create_connection(
                    protocol_factory, endpoint.host, endpoint.port, **{**kwargs, "family": endpoint.family}
                )
            except OSError as error:
                errors.append(error)
        raise errors[0] if errors else OSError(f"{host} has no address")
