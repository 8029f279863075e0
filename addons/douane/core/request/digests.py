"""Digests of a request: of every byte that is sent, and of what the call means."""

from __future__ import annotations

import re

import blake3

from douane.core.refusal import RequestAmbiguous
from douane.core.request.canonical import MULTIPART, CanonicalRequest
from douane.core.request.fields import boundary_of
from douane.core.request.raw import RawRequest

_ESCAPED_BOUNDARY = b"\0douane boundary\0"


def request_digest(raw: RawRequest) -> str:
    """BLAKE3 (hex) over everything that goes upstream: the lengths of all fields, the fields, the body."""
    fields = [raw.scheme.encode(), raw.host.encode(), b"%d" % raw.port, raw.method.encode(), raw.target]
    for header in raw.headers:
        fields += header
    lengths = b",".join([b"%d" % len(field) for field in fields])
    hasher = blake3.blake3(b"douane request v1\n" + lengths + b"\n" + b"".join(fields))
    hasher.update(raw.body)
    return hasher.hexdigest()


DIFFERS_BETWEEN_RETRIES = frozenset(
    b"""accept-encoding age baggage cache-control connection content-length date dnt expect idempotency-key keep-alive
    pragma priority request-id traceparent tracestate transfer-encoding te trailer user-agent x-amz-date
    x-amz-content-sha256 x-amz-security-token x-amzn-trace-id amz-sdk-invocation-id amz-sdk-request b3
    x-client-request-id x-cloud-trace-context x-correlation-id x-goog-api-client x-request-id x-request-start
    x-retry-count x-stripe-client-telemetry x-stripe-client-user-agent stripe-client-telemetry sentry-trace
    sec-websocket-key""".split()
)
"""Headers that retries of one and the same call may change by design; every other header counts as meant."""

TELEMETRY_PREFIXES = (b"x-stainless-", b"x-datadog-", b"x-b3-")
"""Families of headers in which SDKs and tracers count their retries."""

_SIGV4 = re.compile(rb"AWS4-HMAC-SHA256\s+Credential=([^/,\s]+)/\d{8}/([^,\s]+)")


def semantic_digest(request: CanonicalRequest, agent: str) -> str:
    """BLAKE3 (hex) over what the call means: the same for a retry, another for anything a reviewer would care about.

    A bearer's credential counts as it is; a SigV4 signature, made anew for each try, by its access key and scope.
    """
    raw = request.raw
    body = request.body
    headers: list[bytes] = []
    for name, value in raw.headers:
        lower = name.lower()
        if lower in DIFFERS_BETWEEN_RETRIES or lower.startswith(TELEMETRY_PREFIXES):
            continue
        meant = value.strip()
        if lower == b"authorization" and (signed := _SIGV4.match(meant)):
            meant = signed.expand(rb"SigV4 \1 \2")
        elif lower == b"content-type" and request.media_type == MULTIPART:
            meant, body = _without_boundary(meant, body)
        headers.append(lower + b":" + meant)
    headers.sort()
    fields = [agent.encode(), raw.scheme.encode(), raw.host.encode(), b"%d" % raw.port, raw.method.encode(), raw.target]
    fields += headers
    lengths = b",".join([b"%d" % len(field) for field in fields])
    hasher = blake3.blake3(b"douane semantic v1\n" + lengths + b"\n" + b"".join(fields))
    hasher.update(body)
    return hasher.hexdigest()


def _without_boundary(content_type: bytes, body: bytes) -> tuple[bytes, bytes]:
    """A multipart Content-Type and body without their boundary, which is made at random for each try.

    Only where it stands between the parts and nowhere else, or two bodies would become one.
    """
    try:
        boundary = boundary_of(content_type.decode("latin-1"))
    except RequestAmbiguous:
        return content_type, body
    delimiter = re.compile(rb"(?:\A|\r\n)--" + re.escape(boundary) + rb"(?=(?:--)?[ \t]*(?:\r\n|\Z))")
    plain, parts = delimiter.subn(_ESCAPED_BOUNDARY, body)
    if content_type.count(boundary) != 1 or body.count(boundary) != parts or _ESCAPED_BOUNDARY in body:
        return content_type, body
    return content_type.replace(boundary, b""), plain


_SIGNING_SCHEMES = (
    b"aws4-",
    b"aws ",
    b"signature ",
    b"oauth ",
    b"hawk ",
    b"hmac",
    b"sharedkey",
    b"eg1-hmac",
    b"digest ",
)
_SIGNING_HEADERS = frozenset({b"signature", b"signature-input", b"content-digest", b"digest", b"content-md5", b"dpop"})
_SIGNING_PARAMETERS = frozenset({"x-amz-signature", "x-goog-signature", "signature", "sig", "oauth_signature"})


def is_signed(request: CanonicalRequest) -> bool:
    """Whether a signature or digest covers headers or body, so that nothing about the request may change."""
    for name, value in request.raw.headers:
        lower = name.lower()
        if lower == b"authorization" and value.lstrip().lower().startswith(_SIGNING_SCHEMES):
            return True
        if lower in _SIGNING_HEADERS:
            return True
    return any(name.lower() in _SIGNING_PARAMETERS for name, _ in request.query)
