"""A request exactly as it goes upstream."""

from __future__ import annotations

from dataclasses import dataclass

METHODS = frozenset({"GET", "HEAD", "OPTIONS", "POST", "PUT", "PATCH", "DELETE"})
SAFE_METHODS = frozenset({"GET", "HEAD", "OPTIONS"})


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
