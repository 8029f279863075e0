"""Requests as the vendors' own clients build them, caught before they are sent, and what the catalog makes of them."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Any
from urllib.parse import urlsplit

from douane.core.refusal import RequestAmbiguous
from douane.core.request import RawRequest, canonicalise
from douane.core.tool import Tier
from support.requests import shipped_catalog


class Built(BaseException):
    """A client has built its request and is about to send it."""


def raw_request(method: str, url: str, headers: Mapping[str, Any], body: bytes | str | None) -> RawRequest:
    parts = urlsplit(url)
    target = (parts.path or "/") + (f"?{parts.query}" if parts.query else "")
    fields = tuple((name.encode(), _bytes(value)) for name, value in headers.items())
    content = body if isinstance(body, bytes | bytearray) else (body or "").encode()
    assert parts.hostname is not None
    return RawRequest(
        parts.scheme, parts.hostname, parts.port or 443, method.upper(), target.encode(), fields, bytes(content)
    )


def _bytes(value: Any) -> bytes:
    return value if isinstance(value, bytes) else str(value).encode()


@dataclass
class Tally:
    """How the catalog named a vendor's requests."""

    exact: int = 0
    alike: list[str] = field(default_factory=list)
    """Named beside another operation of the same request."""
    wrong: list[str] = field(default_factory=list)
    lower: list[str] = field(default_factory=list)
    """Mapped to a tool of a lower tier: never."""
    not_built: list[str] = field(default_factory=list)

    @property
    def requests(self) -> int:
        return self.exact + len(self.alike) + len(self.wrong)

    def add(self, called: str, request: RawRequest) -> None:
        """Hold what the catalog says of a request against the operation that was called."""
        known = shipped_catalog().tool(called)
        try:
            found = shipped_catalog().classify(canonicalise(request))
        except RequestAmbiguous as trap:
            self.wrong.append(f"{called}: refused: {trap}")
            return
        if found.tool == called:
            self.exact += 1
        elif called in found.operations:
            self.alike.append(f"{called}: {found.tool}")
        else:
            self.wrong.append(f"{called}: {found.tool}")
        tier = known.tier if known is not None else Tier.IRREVERSIBLE
        if found.tool != called and found.tier.rank < tier.rank and not found.evidence.startswith("body: "):
            self.lower.append(f"{called}: {found.tool} is only {found.tier}")
