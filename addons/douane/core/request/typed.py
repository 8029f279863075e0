"""Requests as people type them: a method, a URL, headers and a body."""

from __future__ import annotations

import json
import re
from collections.abc import Sequence

from douane.core.identity import canonical_authority
from douane.core.request.raw import RawRequest


def raw_request_of(method: str, url: str, headers: Sequence[tuple[str, str]], body: bytes) -> RawRequest:
    """A request as a client would send it; raises `RequestAmbiguous`, `ValueError`."""
    match = re.fullmatch(r"(https?)://([^/?#\s]+)(/[^\s#]*|\?[^\s#]*)?", url)
    if match is None:
        raise ValueError(f"`{url}` is not an http or https URL")
    if not re.fullmatch(r"[A-Za-z-]{1,20}", method):
        raise ValueError(f"`{method}` is not an HTTP method")
    host, port = canonical_authority(match[2], match[1])
    target = match[3] or "/"
    target = target if target.startswith("/") else f"/{target}"
    if not target.isascii():
        raise ValueError("a URL is ASCII; percent-encode the rest")
    fields = [(b"Host", match[2].encode())] + [(name.encode(), value.encode()) for name, value in headers]
    if body:
        fields.append((b"Content-Length", b"%d" % len(body)))
    return RawRequest(match[1], host, port, method, target.encode("ascii"), tuple(fields), body)


def kind_of(body: bytes) -> str:
    """The Content-Type of a body that was typed without one."""
    try:
        json.loads(body)
    except ValueError:
        return "application/x-www-form-urlencoded"
    return "application/json"
