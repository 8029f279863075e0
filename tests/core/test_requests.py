"""A request has one reading or none, and its digests say what they should."""

from __future__ import annotations

import gzip
import json
import zlib
from dataclasses import fields, replace

import brotli
import pytest
import zstandard
from hypothesis import given
from hypothesis import strategies as st

from douane.core.refusal import RequestAmbiguous
from douane.core.request import RawRequest, canonicalise, is_signed, request_digest, semantic_digest
from support.requests import FORM, canonical, raw

URL = "https://api.github.com/repos/acme/site"
JSON = "Content-Type: application/json"

REFUSED = [
    ("an unknown verb", ("PROPFIND", URL)),
    ("a verb in lower case", ("delete", URL)),
    ("a space in the target", ("GET", f"{URL} x")),
    ("a raw control character", ("GET", f"{URL}\x01")),
    ("a raw letter outside ASCII", ("GET", f"{URL}/é")),
    ("a fragment", ("GET", f"{URL}#x")),
    ("an expectation that proxies read differently", ("POST", URL, "{}", JSON, "Expect: 100-continue, 100-continue")),
    ("asterisk form", ("OPTIONS", "https://api.github.com")),
    ("two Content-Types", ("POST", URL, "{}", JSON, "Content-Type: text/plain")),
    ("two Content-Types, one upper case", ("POST", URL, "{}", JSON, "CONTENT-TYPE: application/json")),
    ("two Authorizations", ("GET", URL, "", "Authorization: Bearer a", "Authorization: Bearer b")),
    ("two X-Amz-Targets", ("POST", URL, "", "X-Amz-Target: A.Read", "X-Amz-Target: A.Delete")),
    ("an override on GET", ("GET", URL, "", "X-HTTP-Method-Override: DELETE")),
    ("an override on GET in the query", ("GET", f"{URL}?_method=delete")),
    ("overrides that differ", ("POST", URL, "", "X-HTTP-Method-Override: PUT", "X-HTTP-Method: DELETE")),
    ("an override in header and query that differ", ("POST", f"{URL}?_method=PUT", "", "X-Method-Override: DELETE")),
    ("an override to nonsense", ("POST", URL, "", "X-HTTP-Method-Override: FROBNICATE")),
    ("headers inside a parameter", ("POST", f"{URL}?$httpHeaders=x")),
    ("an unknown encoding", ("POST", URL, "x", "Content-Encoding: lzma")),
    ("a chain of encodings", ("POST", URL, "x", "Content-Encoding: gzip, gzip")),
    ("a lie about the encoding", ("POST", URL, "plain", "Content-Encoding: gzip")),
    ("JSON that is said to be compressed", ("POST", URL, '{"a": 1}', "Content-Encoding: br")),
    ("more fields than anybody sends", ("GET", f"{URL}?{'a=1&' * 5000}")),
]


@pytest.mark.parametrize("arguments", [row[1] for row in REFUSED], ids=[row[0] for row in REFUSED])
def test_refused_wherever_it_goes(arguments: tuple[str, ...]) -> None:
    with pytest.raises(RequestAmbiguous):
        canonical(*arguments)


PATHS = [
    ("/repos//site", "empty segment"),
    ("/repos/./site", "dot segment"),
    ("/repos/../site", "dot segment"),
    ("/repos/%2e%2e/site", "dot segment"),
    ("/repos/.%2E/site", "dot segment"),
    ("/repos/a%2F..%2Fb", "dot segment"),
    ("/repos/a%2F%2Fb", "empty segment"),
    ("/repos/a%5Cb", "backslash"),
    ("/repos/a\\b", "backslash"),
    ("/repos/a%00", "control character"),
    ("/repos/a%0d%0ab", "control character"),
    ("/repos/a%C2%85", "control character"),
    ("/repos/a;x=1", "path parameter"),
    ("/repos/a%3Bx", "path parameter"),
    ("/repos/%2561cme", "doubly encoded"),
    ("/repos/a%zz", "broken percent-encoding"),
    ("/repos/a%", "broken percent-encoding"),
    ("/repos/%ff", "not UTF-8"),
    ("/" + "a/" * 300, "256 segments"),
    ("/" + "a" * 9000, "8 KiB"),
]


@pytest.mark.parametrize(("path", "trap"), PATHS)
def test_traps_of_the_path_are_kept_for_the_catalog(path: str, trap: str) -> None:
    found = canonical("GET", f"https://api.github.com{path}").path_trap
    assert found is not None
    assert trap in found


@pytest.mark.parametrize(
    ("path", "segments"),
    [
        ("/", ()),
        ("/repos", ("repos",)),
        ("/repos/", ("repos",)),
        ("/%72epos/acme", ("repos", "acme")),
        ("/a%20b/c+d", ("a b", "c+d")),
        ("/%C3%A9", ("é",)),
        ("/v1/models/x:generate", ("v1", "models", "x:generate")),
        ("/a%3Fb%23c", ("a?b#c",)),
        ("/a/...", ("a", "...")),
    ],
)
def test_each_segment_is_decoded_once(path: str, segments: tuple[str, ...]) -> None:
    request = canonical("GET", f"https://api.github.com{path}")
    assert request.segments == segments
    assert request.path_trap is None


def test_an_encoded_slash_is_noted_beside_the_segments() -> None:
    request = canonical("GET", f"{URL}/branches/feature%2Fx")
    assert (request.segments[-1], request.encoded_slash, request.path_trap) == ("feature/x", True, None)


@given(st.binary(max_size=60))
def test_no_path_makes_it_raise_anything_else(path: bytes) -> None:
    try:
        request = canonicalise(RawRequest("https", "api.github.com", 443, "GET", b"/" + path, (), b""))
    except RequestAmbiguous:
        return
    assert all(0x20 < byte < 0x7F for byte in path)
    assert request.path_trap is not None or all(s not in ("", ".", "..") for s in request.segments)


@pytest.mark.parametrize(
    ("encoding", "encode"),
    [("gzip", gzip.compress), ("deflate", zlib.compress), ("br", brotli.compress), ("zstd", zstandard.compress)],
)
def test_a_compressed_body_is_read_whole_or_not_at_all(encoding: str, encode: object) -> None:
    plain = json.dumps({"a": "x" * 5000}).encode()
    packed = encode(plain)  # type: ignore[operator]
    header = f"Content-Encoding: {encoding}"
    assert canonical("POST", URL, packed, JSON, header).json() == json.loads(plain)
    bomb = encode(b"\0" * 300_000_000) if encoding != "br" else encode(b"\0" * 80_000_000)  # type: ignore[operator]
    for broken in (packed[:-4], packed + b"more", bomb):
        with pytest.raises(RequestAmbiguous):
            canonical("POST", URL, broken, JSON, header)


def test_bare_deflate_could_be_text_and_is_refused() -> None:
    bare = zlib.compressobj(wbits=-15)
    with pytest.raises(RequestAmbiguous):
        canonical("POST", URL, bare.compress(b"a=1") + bare.flush(), "Content-Encoding: deflate")


@pytest.mark.parametrize(
    "body",
    [
        b'{"a": 1, "a": 2}',
        b'{"x": {"a": 1, "\\u0061": 2}}',
        b'{"Model": "a", "model": "b"}',
        b'{"model": "a", "mode\xc5\x82": 1, "\xe2\x84\xaaey": 1, "key": 2}',
        b'{"a": NaN}',
        b'{"a": -Infinity}',
        b'{"a": 1',
        b'{"a": 1} {"a": 2}',
        b"\xef\xbb\xbf{}",
        '{"a": 1}'.encode("utf-16"),
        '{"a": 1}'.encode("utf-16-le"),
        b'{"a": "\xff"}',
        b"[" * 100_000,
        b'{"a": ' + b"9" * 5000 + b"}",
    ],
)
def test_json_that_parsers_read_differently_is_refused(body: bytes) -> None:
    with pytest.raises(RequestAmbiguous):
        canonical("POST", URL, body, JSON).json()


@pytest.mark.parametrize("charset", ["utf-16", "latin-1", '"UTF-7"', "utf-8; charset=utf-16"])
def test_another_charset_is_refused_where_the_body_is_read(charset: str) -> None:
    for content_type, read in (("application/json", "json"), (FORM, "form")):
        request = canonical("POST", URL, '{"a": 1}', f"Content-Type: {content_type}; charset={charset}")
        with pytest.raises(RequestAmbiguous):
            getattr(request, read)()


def test_curls_json_under_the_content_type_of_a_form_is_json_too() -> None:
    request = canonical("POST", URL, '{"private": true}', f"Content-Type: {FORM}")
    assert request.json() == {"private": True}


MULTIPART = "Content-Type: multipart/form-data; boundary=XyZ"


def part(disposition: str, content: str = "1", *more: str) -> str:
    head = "".join(f"{line}\r\n" for line in (f"Content-Disposition: form-data; {disposition}", *more))
    return f"--XyZ\r\n{head}\r\n{content}\r\n"


def test_multipart_texts_and_files() -> None:
    body = part('name="model"', "whisper-1") + part(
        'name="file"; filename="a.wav"', "\x00RIFF", "Content-Type: audio/wav"
    )
    assert canonical("POST", URL, f"{body}--XyZ--\r\n", MULTIPART).multipart() == (
        ("model", "whisper-1"),
        ("file", None),
    )


@pytest.mark.parametrize(
    ("content_type", "body"),
    [
        (MULTIPART, part('name="a"')),
        (MULTIPART, "preamble" + part('name="a"') + "--XyZ--"),
        (MULTIPART, part('name="a"; name="b"') + "--XyZ--"),
        (MULTIPART, part("name*=utf-8''a") + "--XyZ--"),
        (MULTIPART, part('name="a"', "1", 'Content-Disposition: form-data; name="b"') + "--XyZ--"),
        (MULTIPART, part('name="a"', "1", "Content-Transfer-Encoding: base64") + "--XyZ--"),
        ("Content-Type: multipart/form-data", part('name="a"') + "--XyZ--"),
        ("Content-Type: multipart/form-data; boundary=XyZ; boundary=abc", part('name="a"') + "--XyZ--"),
    ],
)
def test_multipart_that_parsers_read_differently_is_refused(content_type: str, body: str) -> None:
    with pytest.raises(RequestAmbiguous):
        canonical("POST", URL, body, content_type).multipart()


# digests

RAW = raw("POST", f"{URL}/issues?a=1", json={"title": "x"})
requests = st.builds(
    RawRequest,
    st.sampled_from(["http", "https"]),
    st.text(max_size=8),
    st.integers(0, 70_000),
    st.text(max_size=6),
    st.binary(max_size=8),
    st.lists(st.tuples(st.binary(max_size=4), st.binary(max_size=4)), max_size=4).map(tuple),
    st.binary(max_size=8),
)


@given(requests, requests)
def test_two_requests_have_one_digest_only_if_they_are_one(one: RawRequest, other: RawRequest) -> None:
    assert (request_digest(one) == request_digest(other)) == (one == other)


def test_every_field_counts_in_the_digest() -> None:
    changed = {
        "scheme": "http",
        "host": "api.github.org",
        "port": 444,
        "method": "PUT",
        "target": RAW.target + b"&b",
        "headers": (*RAW.headers, (b"A", b"b")),
        "body": RAW.body + b" ",
    }
    assert changed.keys() == {field.name for field in fields(RawRequest)}
    digests = {request_digest(replace(RAW, **{name: value})) for name, value in changed.items()}  # type: ignore[arg-type]
    assert len(digests | {request_digest(RAW)}) == len(changed) + 1


def meaning(method: str = "POST", target: str = "/x", body: bytes | str = b"", *headers: str, agent: str = "a") -> str:
    return semantic_digest(canonical(method, f"https://api.stripe.com{target}", body, *headers), agent)


@pytest.mark.parametrize(
    "headers",
    [
        ("Idempotency-Key: 1",),
        ("Date: today", "X-Request-Id: 7"),
        ("User-Agent: stripe-python/2", "X-Stripe-Client-Telemetry: {}", "X-Stripe-Client-User-Agent: {}"),
        ("X-Stainless-Retry-Count: 2", "traceparent: 00-1", "sentry-trace: x", "x-datadog-trace-id: 9"),
    ],
)
def test_what_differs_between_retries_does_not_count(headers: tuple[str, ...]) -> None:
    assert meaning("POST", "/x", b"", *headers) == meaning()


@pytest.mark.parametrize(
    "other",
    [
        meaning("PUT"),
        meaning(target="/y"),
        meaning(target="/x?a"),
        meaning(body=b"a=1"),
        meaning("POST", "/x", b"", "Authorization: Bearer 1"),
        meaning("POST", "/x", b"", "If-Match: 1"),
        meaning("POST", "/x", b"", "Stripe-Account: acct_1"),
        meaning("POST", "/x", b"", "Cookie: a"),
        meaning(agent="b"),
    ],
)
def test_what_a_reviewer_would_care_about_counts(other: str) -> None:
    assert other != meaning()


def test_a_sigv4_signature_counts_by_its_access_key_and_scope() -> None:
    def signed(key: str, day: str, service: str, signature: str) -> str:
        scope = f"{key}/{day}/eu-west-1/{service}/aws4_request"
        value = f"AWS4-HMAC-SHA256 Credential={scope}, SignedHeaders=host, Signature={signature}"
        return meaning("POST", "/x", b"", f"Authorization: {value}", f"X-Amz-Date: {day}T1")

    assert signed("AKIA1", "20261123", "ec2", "aa") == signed("AKIA1", "20261124", "ec2", "bb")
    assert signed("AKIA1", "20261123", "ec2", "aa") != signed("AKIA2", "20261123", "ec2", "aa")
    assert signed("AKIA1", "20261123", "ec2", "aa") != signed("AKIA1", "20261123", "s3", "aa")


def test_a_multipart_boundary_does_not_count_but_another_part_does() -> None:
    def sent(boundary: str, body: str) -> str:
        return meaning(
            "POST", "/x", body.replace("|", f"--{boundary}"), f"Content-Type: multipart/form-data; boundary={boundary}"
        )

    plain = '|\r\nContent-Disposition: form-data; name="a"\r\n\r\n1\r\n|--'
    assert sent("one", plain) == sent("two", plain)
    hidden = plain.replace("1", '1\r\n--two\r\nContent-Disposition: form-data; name="b"\r\n\r\n2')
    assert sent("one", hidden) != sent("two", hidden), "in one it is a text, in two a part of its own"
    inline = plain.replace("1", "delete |")
    assert sent("one", inline) != sent("two", inline), "it stands inside a text"


def test_a_parameter_that_only_looks_like_a_boundary_is_none() -> None:
    def sent(inner: str) -> str:
        body = f'--real\r\nContent-Disposition: form-data; name="what"\r\n\r\n--{inner}\r\n--real--\r\n'
        return meaning("POST", "/x", body, f"Content-Type: multipart/form-data; xboundary={inner}; boundary=real")

    assert sent("sandbox") != sent("production")


def test_a_header_on_several_lines_is_read_whole() -> None:
    sent = canonical("POST", URL, b"", "anthropic-beta: files-api-2025-04-14", "Anthropic-Beta: context-1m-2025-08-07")
    assert sent.header("anthropic-beta") == "files-api-2025-04-14, context-1m-2025-08-07"


@pytest.mark.parametrize(
    ("headers", "target", "signed"),
    [
        (("Authorization: AWS4-HMAC-SHA256 Credential=x",), "/", True),
        (("Authorization: OAuth oauth_signature=x",), "/", True),
        (("Authorization: SharedKey a:b",), "/", True),
        (("Signature-Input: sig1=()",), "/", True),
        (("Content-Digest: sha-256=:x:",), "/", True),
        ((), "/?X-Amz-Signature=abc", True),
        ((), "/?sig=abc", True),
        (("Authorization: Bearer x",), "/?a=1", False),
    ],
)
def test_signed_requests_are_known(headers: tuple[str, ...], target: str, signed: bool) -> None:
    assert is_signed(canonical("GET", f"https://s3.amazonaws.com{target}", b"", *headers)) is signed
