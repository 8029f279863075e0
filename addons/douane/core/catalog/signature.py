"""AWS signatures: their scope names the service, wherever the request is sent."""

from __future__ import annotations

import re

from douane.core.refusal import RequestAmbiguous
from douane.core.request import CanonicalRequest

_CREDENTIAL = re.compile(r"[^/,\s]+/\d{8}/(?:[a-z0-9-]+/)?([a-z0-9._-]+)/aws4_request")


def signed_service(request: CanonicalRequest) -> str | None:
    """The service that a request is signed for, by its header or its address (presigned), or None; raises
    `RequestAmbiguous` where both say something else."""
    found = set()
    for key, value in request.raw.headers:
        if key.lower() == b"authorization" and value[:5] == b"AWS4-":
            found |= set(_CREDENTIAL.findall(value.decode("latin-1")))
    for name, text in request.query:
        if name.lower() == "x-amz-credential":
            found |= set(_CREDENTIAL.findall(text))
    if len(found) > 1:
        raise RequestAmbiguous("two AWS signatures for different services")
    return found.pop() if found else None
