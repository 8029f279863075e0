"""Requests inside one request, taken apart: Google's `/batch`, Microsoft Graph's `$batch`, Salesforce's composite."""

from __future__ import annotations

import re
from collections.abc import Iterable
from typing import Any
from urllib.parse import unquote

import orjson

from douane.core.refusal import RequestAmbiguous
from douane.core.request import METHODS, CanonicalRequest, RawRequest

MOST_PARTS = 1_000
"""Google takes 1,000, Graph 20, Salesforce 25."""
BATCHES = {"salesforce": "salesforce.composite"}
"""What a batch of different tools is called where it is not `PROVIDER.batch`."""

_BOUNDARY = re.compile(
    r"""multipart/mixed\s*;(?:.*;)?\s*boundary=(?:"([^"]{1,70})"|([^\s;"]{1,70}))\s*(?:;.*)?""", re.I
)
_OF_GRAPH = frozenset({"id", "method", "url", "headers", "body", "dependsOn"})
"""Members of a request in Graph's batch; another spelling of one of these would count for a parser that folds case."""
_OVERRIDES = re.compile(r"x[-_](?:http[-_])?method", re.IGNORECASE)
_REQUEST_LINE = re.compile(r"([A-Z]+) (/[^\s]*|https://[^/\s]+(/[^\s]*)) ?(?:HTTP/1\.[01])?")


def parts_of(request: CanonicalRequest, provider: str) -> tuple[RawRequest, ...] | None:
    """The requests inside a batch, None for a request that is none; raises `RequestAmbiguous`."""
    segments = request.segments
    if provider == "google" and segments[:1] == ("batch",) and request.method != "GET":
        return _google(request)
    if provider == "msgraph" and len(segments) == 2 and segments[1].lower() == "$batch" and request.method != "GET":
        return _graph(request)
    if provider == "salesforce" and segments[:2] == ("services", "data") and request.method == "POST":
        return None if request.other_method else _salesforce(request)
    return None


def _salesforce(request: CanonicalRequest) -> tuple[RawRequest, ...] | None:
    """The calls of a composite; None for what cannot be told apart beforehand, which stays irreversible as a whole."""
    match request.segments[3:]:
        case ("composite",):
            members: tuple[str, ...] = ("compositeRequest", "method", "url", "referenceId", "body")
        case ("composite", "batch"):
            members = ("batchRequests", "method", "url", "richInput")
        case _:
            return None
    body = request.json()
    listed = body.get(members[0]) if isinstance(body, dict) else None
    if not isinstance(listed, list) or not 0 < len(listed) <= MOST_PARTS:
        return None
    return _all(_salesforce_part(request, item, members) for item in listed)


def _salesforce_part(request: CanonicalRequest, item: Any, members: tuple[str, ...]) -> RawRequest | None:
    """No headers of its own, which may name another method; no `@{…}`, which an earlier answer fills in."""
    if not isinstance(item, dict) or not item.keys() <= set(members):
        return None
    url, method = item.get("url"), item.get("method")
    if not isinstance(url, str) or not isinstance(method, str) or not url.isascii() or "@{" in unquote(url):
        return None
    target = url if url.startswith("/") else f"/services/data/{url}"
    if method not in METHODS or not target.startswith("/services/data/") or "composite" in target.lower():
        return None
    content = item.get(members[-1])
    return _inner(request, method, target, b"" if content is None else orjson.dumps(content))


def _all(parts: Iterable[RawRequest | None]) -> tuple[RawRequest, ...] | None:
    found = list(parts)
    known = tuple(part for part in found if part is not None)
    return known if len(known) == len(found) else None


def _graph(request: CanonicalRequest) -> tuple[RawRequest, ...]:
    body = request.json()
    listed = body.get("requests") if isinstance(body, dict) else None
    if not isinstance(listed, list) or not 0 < len(listed) <= MOST_PARTS:
        raise RequestAmbiguous("a batch without its list of requests")
    return tuple(_graph_part(request, item) for item in listed)


def _graph_part(request: CanonicalRequest, item: Any) -> RawRequest:
    url, method = (item.get("url"), item.get("method")) if isinstance(item, dict) else (None, None)
    if not isinstance(url, str) or not isinstance(method, str) or "://" in url or not url.isascii():
        raise RequestAmbiguous("a request in a batch that cannot be read")
    headers = item.get("headers") or {}
    if not item.keys() <= _OF_GRAPH or not isinstance(headers, dict) or any(map(_OVERRIDES.search, headers)):
        raise RequestAmbiguous("a request in a batch that could ask for another method")
    target = f"/{request.segments[0]}/{url.removeprefix('/')}"
    return _inner(request, method.upper(), target, b"")


def _google(request: CanonicalRequest) -> tuple[RawRequest, ...]:
    content_type = request.content_type or ""
    match = _BOUNDARY.fullmatch(content_type)
    if match is None or content_type.lower().count("boundary") != 1:
        raise RequestAmbiguous("a batch that is not multipart/mixed")
    boundary = b"--" + (match[1] or match[2]).encode("latin-1")
    body = b"\r\n" + request.body.replace(b"\r\n", b"\n").replace(b"\n", b"\r\n")
    pieces = body.split(b"\r\n" + boundary)
    if len(pieces) < 3 or not pieces[-1].startswith(b"--") or len(pieces) > MOST_PARTS + 2:
        raise RequestAmbiguous("a batch whose parts cannot be told apart")
    return tuple(_google_part(request, piece) for piece in pieces[1:-1])


def _google_part(request: CanonicalRequest, piece: bytes) -> RawRequest:
    """A part is headers, an empty line, and a request of its own."""
    head, empty, inner = piece.partition(b"\r\n\r\n")
    if not empty or b"application/http" not in head.lower():
        raise RequestAmbiguous("a part of a batch that is no request")
    line, _, rest = inner.lstrip(b"\r\n").partition(b"\r\n")
    match = _REQUEST_LINE.fullmatch(line.decode("latin-1").strip())
    headers, _, content = rest.partition(b"\r\n\r\n")
    if match is None or _OVERRIDES.search(headers.decode("latin-1")):
        raise RequestAmbiguous("a request in a batch that cannot be read")
    return _inner(request, match[1], match[3] or match[2], content.strip())


def _inner(request: CanonicalRequest, method: str, target: str, body: bytes) -> RawRequest:
    if method not in METHODS or "batch" in target.lower().partition("?")[0].split("/")[:4]:
        raise RequestAmbiguous("a request in a batch that cannot be read, or is another batch")
    fields = ((b"Content-Type", b"application/json"),) if body else ()
    raw = request.raw
    return RawRequest(raw.scheme, raw.host, raw.port, method, target.encode("latin-1"), fields, body)
