"""A request exactly as it goes upstream."""

from __future__ import annotations

from dataclasses import dataclass

METHODS = frozenset({"GET", "HEAD", "OPTIONS", "POST", "PUT", "PATCH", "DELETE"})
SAFE_METHODS = frozenset({"GET", "HEAD", "OPTIONS"})


def known_method(method: str) -> str:
    """A method for people and records: an unknown one may be anything, a secret too."""
    return method if method in METHODS else "unknown"


@dataclass(frozen=True, slots=True)
class RawRequest:
    """Exactly what goes upstream."""

    scheme: str
    host: str
    """Canonical: lower-case ASCII, no trailing dot."""
    port: int
    method: str
    target: bytes
    """Origin-form, path and query as sent."""
    headers: tuple[tuple[bytes, bytes], ...]
    """Without what is meant for proxies only."""
    body: bytes
    """As sent, possibly content-encoded."""
