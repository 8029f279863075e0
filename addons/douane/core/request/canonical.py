"""One unambiguous reading of a request. What goes upstream stays the original bytes.

Traps that could make the provider read another request than the one decided on are refused. Those of path, query and
body matter only where a catalog reads these; there `Catalog.classify` refuses them.
"""

from __future__ import annotations

import re
from itertools import product
from typing import Any

from douane.core.decode import DecodeError, decode_body
from douane.core.refusal import RequestAmbiguous
from douane.core.request.fields import Pairs, read_json, read_multipart, read_pairs, read_parts
from douane.core.request.path import read_path
from douane.core.request.raw import METHODS, RawRequest

FORM = "application/x-www-form-urlencoded"
MULTIPART = "multipart/form-data"


def _spellings(*names: str) -> frozenset[bytes]:
    """Header names with `-` and `_` mixed: gateways that hand headers on as variables cannot tell them apart."""
    return frozenset(
        "".join(marked).encode()
        for name in names
        for marked in product(*[("-", "_") if ch == "-" else (ch,) for ch in name])
    )


_OVERRIDE_HEADERS = _spellings("x-http-method-override", "x-http-method", "x-method-override")
_OVERRIDE_FIELDS = frozenset(
    {"_method", "_httpmethod", "$httpmethod", "x-http-method-override", "x-http-method", "x-method-override"}
)
_HEADERS_FIELDS = frozenset({"$httpheaders", "$ct"})
"""Google reads headers out of a query; the second is the Content-Type."""
_FIRST_LETTERS = "_$xX[ "
_AROUND_A_NAME = "[] "
"""Rack reads `[_method]` and ` _method` as `_method`."""
_ONCE = frozenset(
    {b"content-type", b"content-encoding", b"content-length", b"authorization", b"transfer-encoding", b"x-amz-target"}
)
_WATCHED = _ONCE | _OVERRIDE_HEADERS | {b"expect"}

_NOT_PRINTABLE = re.compile(rb"[\x00-\x20\x7f-\xff#]")
_CHARSET = re.compile(r"charset\s*=\s*[\"']?([^\s\"';,]+)", re.IGNORECASE)
_AWS_CHUNKED = "aws-chunked"
"""How S3's clients frame an object that they sign in parts: the bytes are an object's, and nothing reads them."""
_UTF_8 = frozenset({"utf-8", "utf8", "us-ascii", "ascii"})

_UNREAD: Any = object()


class CanonicalRequest:
    """A request in its one reading. Body members are read when asked for, and once."""

    __slots__ = (
        "_form",
        "_json",
        "_multipart",
        "body",
        "content_type",
        "encoded_slash",
        "host",
        "media_type",
        "method",
        "other_method",
        "path_trap",
        "port",
        "query",
        "query_trap",
        "raw",
        "scheme",
        "segments",
    )

    def __init__(self, raw: RawRequest, content_type: str | None, body: bytes) -> None:
        self.raw = raw
        self.scheme = raw.scheme
        self.host = raw.host
        self.port = raw.port
        self.method = raw.method
        self.other_method: str | None = None
        """A method that an override asks for: nobody outside knows which of the two the provider takes."""
        self.body = body
        """Decoded."""
        self.content_type = content_type
        self.media_type = content_type.partition(";")[0].strip().lower() if content_type is not None else None
        path, _, query = raw.target.partition(b"?")
        self.segments, self.path_trap, self.encoded_slash = read_path(path)
        self.query: Pairs = ()
        self.query_trap: str | None = None
        if query:
            self.query, self.query_trap = read_pairs(query)
        self._json: Any = _UNREAD
        self._form: Any = _UNREAD
        self._multipart: Any = _UNREAD

    def __reduce__(self) -> tuple[Any, ...]:
        """Sent between processes without the members that were read, which may be far larger than the body."""
        return _from_parts, (self.raw, self.content_type, self.body, self.other_method)

    def header(self, name: str) -> str | None:
        """A header's values, joined by commas (RFC 9110, 5.3), or None."""
        wanted = name.lower().encode()
        values = [value.decode("latin-1").strip() for key, value in self.raw.headers if key.lower() == wanted]
        return ", ".join(values) if values else None

    @property
    def path(self) -> bytes:
        """The path as sent."""
        return self.raw.target.partition(b"?")[0]

    @property
    def encoded(self) -> bool:
        """Whether the body came under a Content-Encoding."""
        return self.body is not self.raw.body

    def json(self) -> Any:
        """The JSON body, or None where there is none; raises `RequestAmbiguous` for one that parsers read differently.

        JSON is read by its look too: some providers take a body for JSON whatever its Content-Type says (curl's `-d`).
        """
        if self._json is _UNREAD:
            self._json = None
            if self.body and self._looks_like_json():
                self._json = _UNREAD
                self.refuse_charset()
                self._json = read_json(self.body)
        return self._json

    def form(self) -> Pairs | None:
        """The pairs of an url-encoded body, or None; raises `RequestAmbiguous`."""
        found, trap = self._lenient_form()
        if found is not None:
            self.refuse_charset()
            if trap is not None:
                raise RequestAmbiguous(trap)
        return found

    def multipart(self) -> tuple[tuple[str, str | None], ...] | None:
        """Names and texts (None for a file's) of a form-data body, or None; raises `RequestAmbiguous`."""
        if self._multipart is _UNREAD:
            self._multipart = None
            if self.body and self.media_type == MULTIPART and self.content_type is not None:
                self._multipart = _UNREAD
                self._multipart = read_multipart(self.body, self.content_type)
        return self._multipart  # type: ignore[no-any-return]

    def parts(self) -> list[tuple[str, bool, bytes]] | None:
        """(name, whether it is a file, content) of each part of a form-data body; raises `RequestAmbiguous`."""
        if self.body and self.media_type == MULTIPART and self.content_type is not None:
            return read_parts(self.body, self.content_type)
        return None

    def _lenient_form(self) -> tuple[Pairs | None, str | None]:
        if self._form is _UNREAD:
            is_form = self.media_type == FORM and bool(self.body)
            self._form = read_pairs(self.body) if is_form else (None, None)
        return self._form  # type: ignore[no-any-return]

    def _looks_like_json(self) -> bool:
        media_type = self.media_type
        if media_type is not None and (media_type == "application/json" or media_type.endswith("+json")):
            return True
        return media_type != MULTIPART and self.body[:64].lstrip()[:1] in (b"{", b"[")

    def refuse_charset(self) -> None:
        """Raise `RequestAmbiguous` for a body that is said to be in another charset than UTF-8."""
        if self.content_type is None or ";" not in self.content_type:
            return
        if any(name.lower() not in _UTF_8 for name in _CHARSET.findall(self.content_type)):
            raise RequestAmbiguous("a body in another charset than UTF-8")


def _from_parts(raw: RawRequest, content_type: str | None, body: bytes, other_method: str | None) -> CanonicalRequest:
    request = CanonicalRequest(raw, content_type, body)
    request.other_method = other_method
    return request


def canonicalise(raw: RawRequest) -> CanonicalRequest:
    """Read a request; raises `RequestAmbiguous` with the trap's name, never with the request's values."""
    if raw.method not in METHODS:
        raise RequestAmbiguous("an unknown or oddly spelled method")
    if _NOT_PRINTABLE.search(raw.target):
        raise RequestAmbiguous("a control character, space, fragment or raw non-ASCII byte in the request target")
    if raw.target[:1] != b"/":
        raise RequestAmbiguous("a request target that is not a path")
    content_type = content_encoding = None
    override: set[str] | None = None
    seen: set[bytes] = set()
    for name, value in raw.headers:
        lower = name.lower()
        if lower not in _WATCHED:
            continue
        if lower in _OVERRIDE_HEADERS:
            override = override or set()
            override.add(value.decode("latin-1").strip().upper())
            continue
        if lower == b"expect":  # the plain one is answered and taken out where the head is read
            raise RequestAmbiguous("an Expect header other than 100-continue")
        if lower in seen:
            raise RequestAmbiguous("a header that may stand only once and stands twice")
        seen.add(lower)
        if lower == b"content-type":
            content_type = value.decode("latin-1")
        elif lower == b"content-encoding":
            content_encoding = value.decode("latin-1").strip().lower()
    body = raw.body
    if content_encoding and content_encoding != "identity" and _AWS_CHUNKED not in content_encoding and body:
        body = _decoded(body, content_encoding)
    request = CanonicalRequest(raw, content_type, body)
    if request.query:
        override = _overrides_in(request.query, override)
    if request.media_type == FORM:
        override = _overrides_in(request._lenient_form()[0] or (), override)
    if override and override != {raw.method}:
        request.other_method = _overriding(raw.method, override)
    return request


def _overrides_in(pairs: Pairs, override: set[str] | None) -> set[str] | None:
    for name, text in pairs:
        if name[:1] not in _FIRST_LETTERS:
            continue
        lower = name.lower().strip(_AROUND_A_NAME)
        if lower in _HEADERS_FIELDS:
            raise RequestAmbiguous("headers inside a parameter")
        if lower in _OVERRIDE_FIELDS:
            override = override or set()
            override.add(text.strip().upper())
    return override


def override_in(members: Any) -> str | None:
    """The name of the method override among a JSON object's members, or None."""
    for name in members:
        if isinstance(name, str) and name[:1] in _FIRST_LETTERS and name.lower() in _OVERRIDE_FIELDS:
            return name
    return None


def _overriding(method: str, override: set[str]) -> str:
    if len(override) > 1:
        raise RequestAmbiguous("method overrides that differ")
    (other,) = override
    if other not in METHODS:
        raise RequestAmbiguous("a method override to an unknown method")
    if method != "POST":
        raise RequestAmbiguous("a method override on a request that is not a POST")
    return other


def _decoded(body: bytes, encoding: str) -> bytes:
    if body[:64].lstrip()[:1] in (b"{", b"[", b'"'):
        raise RequestAmbiguous("a body that is JSON as it stands and is said to be compressed")
    try:
        return decode_body(body, encoding)
    except DecodeError as error:
        raise RequestAmbiguous(str(error)) from None
