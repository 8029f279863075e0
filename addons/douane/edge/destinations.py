"""Where calls may connect to: names are resolved here, once, and every answer is checked."""

from __future__ import annotations

import asyncio
import ipaddress
import socket
import time
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from typing import Protocol

from douane.core.destination import Address, is_private, never_reached

REMEMBER_S = 30.0
MOST_REMEMBERED = 4096


class DestinationForbidden(OSError):
    """No agent may connect there; the message says why and what an operator can do."""


class PrivateDestinations(Protocol):
    """The policy's list of private destinations."""

    def destination_listed(self, host: str, port: int, address: Address) -> bool:
        """Whether the policy lets agents reach this private address."""


@dataclass(frozen=True, slots=True)
class Endpoint:
    """An address that was checked."""

    family: int
    host: str
    port: int


class Destinations:
    """Resolves and checks destinations, for admission and, once more, for the dialer."""

    def __init__(
        self, connect_to: Mapping[tuple[str, int], tuple[str, int]], policy: Callable[[], PrivateDestinations]
    ) -> None:
        self._connect_to = dict(connect_to)
        self._policy = policy
        self._own: set[tuple[Address, int]] = set()
        self._remembered: dict[tuple[str, int], float] = {}

    def add_own(self, host: str, port: int) -> None:
        """An address the node or the console listens on: never reached through the proxy."""
        for info in socket.getaddrinfo(host, port, type=socket.SOCK_STREAM):
            self._own.add((ipaddress.ip_address(info[4][0]), port))

    def forget(self) -> None:
        """Check everything anew, as when the policy changed."""
        self._remembered.clear()

    async def forbidden(self, host: str, port: int) -> str | None:
        """Why a destination is refused, or None. A name that does not resolve yet passes: the dialer checks again."""
        if (host, port) in self._connect_to or self._remembered.get((host, port), 0.0) > time.monotonic():
            return None
        try:
            async with asyncio.timeout(2.0):
                await self.endpoints(host, port)
        except DestinationForbidden as refused:
            return str(refused)
        except (TimeoutError, OSError):
            return None
        if len(self._remembered) >= MOST_REMEMBERED:
            self._remembered.clear()
        self._remembered[host, port] = time.monotonic() + REMEMBER_S
        return None

    async def endpoints(self, host: str, port: int) -> list[Endpoint]:
        """All addresses of a destination, to connect to; raises `DestinationForbidden` if any is refused."""
        if (target := self._connect_to.get((host, port))) is not None:
            return [Endpoint(family, address, target[1]) for family, address in await _resolve(*target)]
        answers = await _resolve(host, port)
        for _, text in answers:
            self._check(host, port, ipaddress.ip_address(text.partition("%")[0]))
        return [Endpoint(family, address, port) for family, address in answers]

    def _check(self, host: str, port: int, address: Address) -> None:
        if (what := never_reached(address)) is not None:
            raise DestinationForbidden(f"{host} is {what}; Douane never connects there.")
        for own, own_port in self._own:
            if port == own_port and (address == own or (own.is_unspecified and not address.is_global)):
                raise DestinationForbidden(f"{host}:{port} is Douane itself; no agent reaches it through the proxy.")
        if is_private(address) and not self._policy().destination_listed(host, port, address):
            raise DestinationForbidden(
                f"{host}:{port} is a private or loopback address. An operator can list it in the policy: "
                f'destinations: {{private: ["{host}:{port}"]}}'
            )


async def _resolve(host: str, port: int) -> list[tuple[int, str]]:
    try:
        literal = ipaddress.ip_address(host.strip("[]"))
    except ValueError:
        loop = asyncio.get_running_loop()
        infos = await loop.getaddrinfo(host, port, type=socket.SOCK_STREAM)
        return [(info[0], str(info[4][0])) for info in infos]
    return [(socket.AF_INET if literal.version == 4 else socket.AF_INET6, str(literal))]
