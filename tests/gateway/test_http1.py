"""What is changed about mitmproxy's HTTP/1 keeps its meaning."""

import mitmproxy.http
from hypothesis import given
from hypothesis import strategies as st

from douane.gateway.internals import http1

NAMES = st.sampled_from([b"Host", b"host", b"HOST", b"Connection", b"connection", b"X-Odd"])
VALUES = st.binary(max_size=12).filter(lambda value: b"\r" not in value and b"\n" not in value)
STOCK = mitmproxy.http.Headers.__mro__[1].get  # what Mapping gives, whatever was installed before


@given(
    st.lists(st.tuples(NAMES, VALUES), max_size=6), st.sampled_from(["host", "HOST", "connection", "absent", "x-odd"])
)
def test_headers_are_looked_up_as_before(fields: list[tuple[bytes, bytes]], name: str) -> None:
    headers = mitmproxy.http.Headers(fields)
    assert http1._get(headers, name) == STOCK(headers, name)
    assert http1._get(headers, name.encode(), "none") == STOCK(headers, name.encode(), "none")


def test_error_pages_tell_refusals_from_failures() -> None:
    refused = http1.error_page(502, "Connection killed: douane failed inside")
    assert refused.startswith(b"HTTP/1.1 503 ")
    assert b'"not_ready"' in refused
    assert b"x-should-retry: false" in refused
    failed = http1.error_page(502, "[Errno 111] Connect call failed: refused; call=01a2")
    assert b"it refuses connections (call 01a2)" in failed
    assert failed.startswith(b"HTTP/1.1 502 ")
    assert b"upstream_failed" in failed
    assert b"x-should-retry" not in failed
    assert http1.error_page(413).startswith(b"HTTP/1.1 413 ")
