"""One unambiguous reading of a request, and its digests. What goes upstream stays the original bytes.

Traps that could make the provider read another request than the one decided on are refused. Those of the path matter
only where a catalog maps paths to tools, so they are kept as `path_trap` for the catalog to refuse.
"""

from __future__ import annotations

import json
import re
from collections import Counter
from dataclasses import dataclass
from typing import Any
from urllib.parse import parse_qsl, unquote_to_bytes

import blake3

from douane.core.decode import DecodeError, decode_body
from douane.core.refusal import RequestAmbiguous

MOST_PATH_BYTES = 8 * 1024
MOST_SEGMENTS = 256
MOST_FIELDS = 4096
"""Of a query or form: far above any real call, far below what would stall the loop."""

METHODS = frozenset({"GET", "HEAD", "OPTIONS", "POST", "PUT", "PATCH", "DELETE"})
SAFE_METHODS = frozenset({"GET", "HEAD", "OPTIONS"})

_OVERRIDE_HEADERS = frozenset({b"x-http-method-override", b"x-http-method", b"x-method-override"})
_OVERRIDE_FIELDS = frozenset({"_method", "_httpmethod", "$httpmethod", "x-http-method-override", "x-http-method"})
_ONCE = frozenset(
    {b"content-type", b"content-encoding", b"content-length", b"authorization", b"transfer-encoding", b"x-amz-target"}
)

_PLAIN_PATH = re.compile(rb"(?:/[A-Za-z0-9_.~:@!$&'()*+,=-]+)+/?|/")
_CONTROL = re.compile(rb"[\x00-\x20\x7f-\xff]")
_ENCODED_AGAIN = re.compile(r"%[0-9A-Fa-f]{2}")
_BAD_PERCENT = re.compile(rb"%(?![0-9A-Fa-f]{2})")


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


_UNREAD: Any = object()


class CanonicalRequest:
    """A request in its one reading. Body members are read when asked for, and once."""

    __slots__ = ("_form", "_json", "body", "host", "media_type", "method", "other_method", "path_trap", "port", "query",
                 "raw", "scheme", "segments")  # fmt: skip

    def __init__(
        self,
        raw: RawRequest,
        segments: tuple[str, ...],
        query: tuple[tuple[str, str], ...],
        media_type: str | None,
        body: bytes,
        path_trap: str | None,
    ) -> None:
        self.raw = raw
        self.scheme = raw.scheme
        self.host = raw.host
        self.port = raw.port
        self.method = raw.method
        self.other_method: str | None = None
        """A method that an override asks for: the worse of both counts."""
        self.segments = segments
        self.query = query
        self.media_type = media_type
        self.body = body
        """Decoded."""
        self.path_trap = path_trap
        self._json: Any = _UNREAD
        self._form: Any = _UNREAD

    def header(self, name: str) -> str | None:
        """The first value of a header, or None."""
        wanted = name.lower().encode()
        for key, value in self.raw.headers:
            if key.lower() == wanted:
                return value.decode("latin-1").strip()
        return None

    @property
    def path(self) -> bytes:
        """The path as sent."""
        return self.raw.target.partition(b"?")[0]

    def json(self) -> Any:
        """The JSON body, or None where there is none; raises `RequestAmbiguous` for one that parsers read differently."""
        if self._json is _UNREAD:
            self._json = _parse_json(self.body) if self._looks_like_json() else None
        return self._json

    def form(self) -> tuple[tuple[str, str], ...] | None:
        """The pairs of an url-encoded body, or None; raises `RequestAmbiguous`."""
        if self._form is _UNREAD:
            is_form = self.media_type == "application/x-www-form-urlencoded" and bool(self.body)
            self._form = _pairs(self.body, "body") if is_form else None
        return self._form  # type: ignore[no-any-return]

    def _looks_like_json(self) -> bool:
        if not self.body:
            return False
        if self.media_type is None or self.media_type == "text/plain":
            return self.body.lstrip()[:1] in (b"{", b"[")
        return self.media_type == "application/json" or self.media_type.endswith("+json")


def canonicalise(raw: RawRequest) -> CanonicalRequest:
    """Read a request; raises `RequestAmbiguous` with the trap's name, never with the request's values."""
    if raw.method not in METHODS:
        raise RequestAmbiguous("an unknown or oddly spelled method")
    path, has_query, query_bytes = raw.target.partition(b"?")
    if _CONTROL.search(raw.target) or b"#" in raw.target:
        raise RequestAmbiguous("a control character, space, fragment or raw non-ASCII byte in the request target")
    if not path.startswith(b"/"):
        raise RequestAmbiguous("a request target that is not a path")
    content_type = content_encoding = None
    override: set[str] = set()
    seen: Counter[bytes] = Counter()
    for name, value in raw.headers:
        lower = name.lower()
        if lower in _ONCE:
            seen[lower] += 1
            if lower == b"content-type":
                content_type = value.decode("latin-1")
            elif lower == b"content-encoding":
                content_encoding = value.decode("latin-1").strip().lower()
        elif lower in _OVERRIDE_HEADERS:
            override.add(value.decode("latin-1").strip().upper())
    if seen and max(seen.values()) > 1:
        raise RequestAmbiguous("a header that may stand only once and stands twice")
    segments, trap = _segments(path)
    query = _pairs(query_bytes, "query") if has_query else ()
    body = raw.body
    if content_encoding and content_encoding != "identity" and body:
        try:
            body = decode_body(body, content_encoding)
        except DecodeError as error:
            raise RequestAmbiguous(str(error)) from None
    media_type = _media_type(content_type) if content_type is not None else None
    request = CanonicalRequest(raw, segments, query, media_type, body, trap)
    for name, text in query:
        if name.lower() in _OVERRIDE_FIELDS:
            override.add(text.upper())
    if media_type == "application/x-www-form-urlencoded":
        for name, text in request.form() or ():
            if name.lower() in _OVERRIDE_FIELDS:
                override.add(text.upper())
    if override - {raw.method}:
        request.other_method = _overriding(raw.method, override)
    return request


def _overriding(method: str, override: set[str]) -> str:
    if len(override) > 1:
        raise RequestAmbiguous("method overrides that differ")
    (other,) = override
    if other not in METHODS:
        raise RequestAmbiguous("a method override to an unknown method")
    if method != "POST":
        raise RequestAmbiguous("a method override on a request that is not a POST")
    return other


def _segments(path: bytes) -> tuple[tuple[str, ...], str | None]:
    """The path's segments, each decoded once, and the trap in it, if any."""
    trap = None
    if len(path) > MOST_PATH_BYTES:
        return (), "a path over 8 KiB"
    parts = path[1:].split(b"/")
    if parts[-1] == b"":
        parts.pop()  # a trailing slash is not significant
    if len(parts) > MOST_SEGMENTS:
        return (), "a path of more than 256 segments"
    if _PLAIN_PATH.fullmatch(path):
        segments = tuple(part.decode("ascii") for part in parts)
        if b"/." in path and any(part in (".", "..") for part in segments):
            trap = "a dot segment in the path"
        return segments, trap
    if _BAD_PERCENT.search(path):
        return (), "a broken percent-encoding in the path"
    found = []
    for part in parts:
        decoded = unquote_to_bytes(part)
        try:
            text = decoded.decode("utf-8")
        except UnicodeDecodeError:
            return (), "a percent-encoding in the path that is not UTF-8"
        if not text:
            trap = trap or "an empty segment in the path"
        elif text in (".", ".."):
            trap = trap or "a dot segment in the path"
        elif "/" in text:
            trap = trap or "an encoded slash in the path"
        elif "\\" in text:
            trap = trap or "a backslash in the path"
        elif any(ch < " " or ch == "\x7f" for ch in text):
            trap = trap or "a control character in the path"
        elif ";" in text:
            trap = trap or "a path parameter (;)"
        elif _ENCODED_AGAIN.search(text):
            trap = trap or "a doubly encoded path"
        found.append(text)
    return tuple(found), trap


def _pairs(encoded: bytes, where: str) -> tuple[tuple[str, str], ...]:
    if not encoded:
        return ()
    try:
        return tuple(
            parse_qsl(
                encoded.decode("ascii"), keep_blank_values=True, encoding="utf-8", errors="strict",
                max_num_fields=MOST_FIELDS,
            )  # fmt: skip
        )
    except ValueError:
        raise RequestAmbiguous(f"a {where} that is not UTF-8, or of too many fields") from None


def _media_type(content_type: str) -> str:
    media_type, _, parameters = content_type.partition(";")
    charset = re.search(r"charset\s*=\s*\"?([A-Za-z0-9_.:-]+)", parameters, re.IGNORECASE)
    if charset and charset[1].lower() not in ("utf-8", "utf8", "us-ascii", "ascii"):
        raise RequestAmbiguous("a body in another charset than UTF-8")
    return media_type.strip().lower()


def _parse_json(body: bytes) -> Any:
    if body[:3] == b"\xef\xbb\xbf" or body[:2] in (b"\xff\xfe", b"\xfe\xff") or b"\0" in body[:4]:
        raise RequestAmbiguous("a JSON body with a byte order mark or not in UTF-8")
    try:
        return json.loads(body, object_pairs_hook=_object, parse_constant=_no_constant)
    except RecursionError:
        raise RequestAmbiguous("a JSON body nested too deeply") from None
    except ValueError:
        raise RequestAmbiguous("a body that is said to be JSON and is not") from None


def _object(pairs: list[tuple[str, Any]]) -> dict[str, Any]:
    found = dict(pairs)
    if len(found) != len(pairs):
        raise RequestAmbiguous("a JSON object with the same key twice")
    return found


def _no_constant(name: str) -> Any:
    raise RequestAmbiguous(f"{name} in a JSON body")


# digests


def request_digest(raw: RawRequest) -> str:
    """BLAKE3 (hex) over everything that goes upstream. Line breaks cannot occur before the body, so they delimit."""
    head = [raw.scheme.encode(), raw.host.encode(), b"%d" % raw.port, raw.method.encode(), raw.target]
    head += [name + b":" + value for name, value in raw.headers]
    return blake3.blake3(b"douane request v1\n" + b"\n".join(head) + b"\n\n" + raw.body).hexdigest()


DIFFERS_BETWEEN_RETRIES = frozenset(
    b"""accept-encoding age baggage cache-control connection content-length date dnt expect if-modified-since
    idempotency-key keep-alive pragma priority request-id traceparent tracestate transfer-encoding te trailer
    user-agent x-amz-date x-amz-content-sha256 x-amz-security-token x-amzn-trace-id amz-sdk-invocation-id
    amz-sdk-request b3 x-b3-traceid x-b3-spanid x-b3-sampled x-client-request-id x-cloud-trace-context
    x-correlation-id x-datadog-trace-id x-datadog-parent-id x-datadog-sampling-priority x-goog-api-client
    x-request-id x-request-start x-retry-count x-stripe-client-telemetry x-stripe-client-user-agent sentry-trace
    x-ratelimit-limit stripe-client-telemetry""".split()
)
"""Headers that retries of one and the same call may change by design; every other header counts as meant."""

_TELEMETRY_PREFIXES = (b"x-stainless-", b"x-datadog-", b"x-b3-")
_SIGV4 = re.compile(r"AWS4-HMAC-SHA256\s+Credential=([^/,\s]+)/\d{8}/([^,\s]+)")
_BOUNDARY = re.compile(rb"boundary=\"?([^\";\s]{1,200})")


def semantic_digest(request: CanonicalRequest, agent: str) -> str:
    """BLAKE3 (hex) over what the call means: the same for a retry, another for anything a reviewer would care about."""
    raw = request.raw
    hasher = blake3.blake3(b"douane semantic v1\n")
    fields = []
    body = request.body
    for name, value in raw.headers:
        lower = name.lower()
        if lower in DIFFERS_BETWEEN_RETRIES or lower.startswith(_TELEMETRY_PREFIXES):
            continue
        if lower == b"content-encoding":
            continue  # the decoded body counts
        if lower == b"authorization":
            signed = _SIGV4.match(value.decode("latin-1"))
            value = signed.expand(r"\1 \2").encode() if signed else value  # noqa: PLW2901
        elif lower == b"content-type" and (boundary := _BOUNDARY.search(value)):
            body = body.replace(boundary[1], b"boundary")
            value = value.replace(boundary[1], b"boundary")  # noqa: PLW2901
        fields.append(lower + b":" + value.strip())
    fields.sort()
    head = [agent.encode(), raw.scheme.encode(), raw.host.encode(), b"%d" % raw.port, raw.method.encode(), raw.target]
    hasher.update(b"\n".join([*head, *fields]) + b"\n\n")
    hasher.update(body)
    return hasher.hexdigest()


def is_signed(request: CanonicalRequest) -> bool:
    """Whether a signature covers the request, so that nothing about it may change."""
    authorization = request.header("authorization") or ""
    if authorization.startswith(("AWS4-", "Signature ", "AWS ")) or request.header("signature-input") is not None:
        return True
    return any(name.lower() in ("x-amz-signature", "x-goog-signature", "sig") for name, _ in request.query)

