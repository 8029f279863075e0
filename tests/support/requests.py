"""Requests as values, for tests of what is read out of them."""

from __future__ import annotations

import json
from functools import cache
from typing import Any

from douane.core.catalog import Catalog
from douane.core.request import CanonicalRequest, RawRequest, canonicalise
from douane.core.tool import Classification
from douane.edge.catalog import load_catalog

FORM = "application/x-www-form-urlencoded"


@cache
def shipped_catalog() -> Catalog:
    """The catalog as it ships."""
    return load_catalog()


def raw(method: str, url: str, body: bytes | str = b"", *headers: str, **fields: Any) -> RawRequest:
    """A raw request; `json=` and `form=` make the body and its Content-Type."""
    scheme, _, rest = url.partition("://")
    authority, slash, target = rest.partition("/")
    host, _, port = authority.partition(":")
    lines = [f"Host: {authority}", *headers]
    if "json" in fields:
        body = json.dumps(fields["json"])
        lines.append("Content-Type: application/json")
    if "form" in fields:
        body = fields["form"]
        lines.append(f"Content-Type: {FORM}")
    content = body.encode() if isinstance(body, str) else body
    return RawRequest(
        scheme,
        host,
        int(port or {"https": 443, "http": 80}[scheme]),
        method,
        (slash + target).encode(),
        tuple((name.encode(), value.encode("latin-1")) for name, _, value in (line.partition(": ") for line in lines)),
        content,
    )


def canonical(method: str, url: str, body: bytes | str = b"", *headers: str, **fields: Any) -> CanonicalRequest:
    """The one reading of such a request."""
    return canonicalise(raw(method, url, body, *headers, **fields))


def classified(method: str, url: str, body: bytes | str = b"", *headers: str, **fields: Any) -> Classification:
    """What the shipped catalog says of such a request."""
    return shipped_catalog().classify(canonical(method, url, body, *headers, **fields))
