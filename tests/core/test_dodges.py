"""Disguises: a request dressed up is mapped like its plain form, or to a higher tier, or refused."""

from __future__ import annotations

import json
from urllib.parse import quote, urlencode

import pytest
from hypothesis import given
from hypothesis import strategies as st

from douane.core.refusal import RequestAmbiguous
from douane.core.tool import Classification, Tier
from support.requests import FORM, classified

GITHUB, STRIPE = "https://api.github.com", "https://api.stripe.com"
REPO = f"{GITHUB}/repos/acme/site"
FORM_TYPE, JSON_TYPE = f"Content-Type: {FORM}", "Content-Type: application/json"
OVERRIDE = "X-HTTP-Method-Override"
REF = f"{REPO}/git/refs/heads/main"
IRREVERSIBLE, REFUSED = "irreversible", "refused"
BOTH = (IRREVERSIBLE, REFUSED)


def outcome(*arguments: str | bytes, **sent: object) -> str:
    try:
        return classified(*arguments, **sent).tier.value  # type: ignore[arg-type]
    except RequestAmbiguous:
        return REFUSED


DODGES = [
    # method
    ("POST under a header's DELETE", ("POST", REPO, "{}", JSON_TYPE, f"{OVERRIDE}: DELETE"), IRREVERSIBLE),
    ("the header with underscores", ("POST", REPO, "{}", JSON_TYPE, "X_HTTP_Method_Override: delete"), IRREVERSIBLE),
    ("an override in the query", ("POST", f"{REPO}?_method=delete", "{}", JSON_TYPE), IRREVERSIBLE),
    ("an override in an encoded name", ("POST", f"{REPO}?%5Fmethod=DELETE", "{}", JSON_TYPE), IRREVERSIBLE),
    ("an override in a form", ("POST", f"{STRIPE}/v1/customers/c", "_method=DELETE&name=x", FORM_TYPE), IRREVERSIBLE),
    ("an override in JSON", ("POST", f"{REPO}/issues", '{"_method": "DELETE"}', JSON_TYPE), REFUSED),
    (
        "an override to a method that nobody knows there",
        ("POST", f"{REPO}/issues", "{}", JSON_TYPE, "X-HTTP-Method: PUT"),
        IRREVERSIBLE,
    ),
    ("an override on an unknown host", ("POST", "https://x.example/a", "", f"{OVERRIDE}: DELETE"), IRREVERSIBLE),
    ("an override in a form there", ("POST", "https://x.example/a", "_method=delete", FORM_TYPE), IRREVERSIBLE),
    ("an override in JSON there", ("POST", "https://x.example/a", '{"_method": "delete"}', JSON_TYPE), IRREVERSIBLE),
    (
        "an override in form-data there",
        (
            "POST",
            "https://x.example/a",
            '--b\r\nContent-Disposition: form-data; name="_method"\r\n\r\nDELETE\r\n--b--',
            "Content-Type: multipart/form-data; boundary=b",
        ),
        IRREVERSIBLE,
    ),
    *(
        (f"an override there: {name}", ("POST", f"https://x.example/a{query}", body, *headers), IRREVERSIBLE)
        for name, query, body, headers in [
            ("in JSON with a key twice", "", '{"_method": "DELETE", "a": 1, "a": 1}', (JSON_TYPE,)),
            ("in JSON with a byte order mark", "", '\ufeff{"_method": "DELETE"}', (JSON_TYPE,)),
            ("in UTF-16", "", '{"_method": "DELETE"}'.encode("utf-16"), (JSON_TYPE,)),
            ("in JSON of another charset", "", '{"_method": "DELETE"}', (f"{JSON_TYPE}; charset=iso-8859-1",)),
            ("in brackets", "", "[_method]=DELETE", (FORM_TYPE,)),
            ("behind a space", "", "+_method=DELETE", (FORM_TYPE,)),
            ("behind a semicolon", "", "a=1;_method=DELETE", (FORM_TYPE,)),
            ("behind one in the query", "?a=1;_method=DELETE", "", ()),
            ("in a form without its type", "", "_method=DELETE", ()),
            (
                "in form-data, unquoted",
                "",
                "--b\r\nContent-Disposition: form-data; name=_method\r\n\r\nDELETE\r\n--b--",
                ("Content-Type: multipart/mixed; boundary=b",),
            ),
        ]
    ),
    (
        "a payment_method is none",
        (
            "POST",
            "https://x.example/a",
            '--b\r\nContent-Disposition: form-data; name="payment_method"\r\n\r\ncard\r\n--b--',
            "Content-Type: multipart/form-data; boundary=b",
        ),
        "visible",
    ),
    (
        "a GET override of a POST",
        ("POST", f"{STRIPE}/v1/refunds", "charge=c", FORM_TYPE, f"{OVERRIDE}: GET"),
        IRREVERSIBLE,
    ),
    # path
    ("an encoded letter", ("DELETE", f"{GITHUB}/%72epos/acme/site"), IRREVERSIBLE),
    ("a doubly encoded letter", ("DELETE", f"{GITHUB}/%2572epos/acme/site"), REFUSED),
    ("a dot segment", ("POST", f"{REPO}/issues/../../../../user/keys", "{}", JSON_TYPE), REFUSED),
    ("an encoded slash", ("DELETE", f"{GITHUB}/repos/acme%2Fsite"), IRREVERSIBLE),
    ("an encoded slash that hides an operation", ("POST", f"{STRIPE}/v1/charges/ch_1%2Frefund"), REFUSED),
    ("a case variant", ("POST", f"{STRIPE}/v1/Refunds", "charge=c", FORM_TYPE), IRREVERSIBLE),
    (".json behind it", ("POST", f"{STRIPE}/v1/refunds.json", "charge=c", FORM_TYPE), IRREVERSIBLE),
    ("a slash behind it", ("POST", f"{STRIPE}/v1/refunds/", "charge=c", FORM_TYPE), IRREVERSIBLE),
    ("another version", ("POST", f"{STRIPE}/v3/refunds", "charge=c", FORM_TYPE), IRREVERSIBLE),
    ("an odd port", ("DELETE", "https://api.github.com:8443/repos/acme/site"), IRREVERSIBLE),
    ("plain HTTP", ("DELETE", "http://api.github.com/repos/acme/site"), IRREVERSIBLE),
    ("the repository's number", ("DELETE", f"{GITHUB}/repositories/1"), IRREVERSIBLE),
    ("POST for PATCH", ("POST", REPO, '{"private": false}', JSON_TYPE), IRREVERSIBLE),
    ("the upload host", ("DELETE", "https://uploads.github.com/repos/acme/site"), IRREVERSIBLE),
    # body
    ("force in the query", ("PATCH", f"{REF}?force=true", '{"sha": "1"}', JSON_TYPE), IRREVERSIBLE),
    ("force in query and body", ("PATCH", f"{REF}?force=false", '{"sha": "1", "force": true}', JSON_TYPE), REFUSED),
    ("force twice", ("PATCH", REF, '{"force": false, "force": true}', JSON_TYPE), REFUSED),
    ("force by escape", ("PATCH", REF, '{"f\\u006frce": true}', JSON_TYPE), IRREVERSIBLE),
    ("force as a text", ("PATCH", REF, '{"force": "yes"}', JSON_TYPE), IRREVERSIBLE),
    ("force under a text type", ("PATCH", REF, '{"force": true}', "Content-Type: text/plain"), IRREVERSIBLE),
    ("force under a form's type", ("PATCH", REF, '{"force": true}', FORM_TYPE), IRREVERSIBLE),
    ("force without a type", ("PATCH", REF, '{"force": true}'), IRREVERSIBLE),
    (
        "force in form-data",
        (
            "PATCH",
            REF,
            '--b\r\nContent-Disposition: form-data; name="force"\r\n\r\ntrue\r\n--b--',
            "Content-Type: multipart/form-data; boundary=b",
        ),
        REFUSED,
    ),
    ("force in UTF-16", ("PATCH", REF, '{"force": true}'.encode("utf-16"), JSON_TYPE), REFUSED),
    ("force under another charset", ("PATCH", REF, '{"force": true}', f"{JSON_TYPE}; charset=utf-7"), REFUSED),
    (
        "confirm with another spelling",
        ("POST", f"{STRIPE}/v1/payment_intents", "amount=9&currency=usd&confirm=TRUE", FORM_TYPE),
        IRREVERSIBLE,
    ),
    (
        "confirm in the query",
        ("POST", f"{STRIPE}/v1/payment_intents?confirm=true", "amount=9&currency=usd", FORM_TYPE),
        IRREVERSIBLE,
    ),
    (
        "confirm in brackets",
        ("POST", f"{STRIPE}/v1/payment_intents", "amount=9&currency=usd&[confirm]=true", FORM_TYPE),
        REFUSED,
    ),
    # git
    (
        "a push to a host nobody knows",
        ("POST", "https://git.example/acme/site.git/git-receive-pack", "0000"),
        IRREVERSIBLE,
    ),
    (
        "the same under another name",
        ("POST", "https://git.example/x", "0000", "Content-Type: application/x-git-receive-pack-request"),
        IRREVERSIBLE,
    ),
]


@pytest.mark.parametrize(("arguments", "expected"), [row[1:] for row in DODGES], ids=[row[0] for row in DODGES])
def test_dodges(arguments: tuple[str, ...], expected: str) -> None:
    assert outcome(*arguments) == expected


CHARGES = [
    ("missing", "currency=usd", ""),
    ("missing its currency", "amount=9999", ""),
    ("twice", "amount=9999&amount=10001&currency=usd", ""),
    ("twice the same", "amount=9999&amount=9999&currency=usd", ""),
    ("a list", "amount[]=9999&currency=usd", ""),
    ("split", "amount[0]=9999&amount[1]=9999&currency=usd", ""),
    ("beside a list", "amount=9999&amount[]=10001&currency=usd", ""),
    ("in query and body", "amount=9999&currency=usd", "?amount=10001"),
    ("an encoded name", "amount=9999&%61mount=10001&currency=usd", ""),
    ("encoded brackets", "amount=9999&amount%5B%5D=10001&currency=usd", ""),
    ("in brackets of its own", "amount=9999&[amount]=10001&currency=usd", ""),
    ("a bracket behind it", "amount=9999&amount]=10001&currency=usd", ""),
    ("a space before it", "amount=9999&+amount=10001&currency=usd", ""),
    ("behind a semicolon", "amount=9999&description=x;amount=10001&currency=usd", ""),
    ("currency twice", "amount=9999&currency=usd&currency=jpy", ""),
    ("a fraction", "amount=9999.99&currency=usd", ""),
    ("an exponent", "amount=1e9&currency=usd", ""),
    ("negative", "amount=-5&currency=usd", ""),
    ("a sign", "amount=%2B5&currency=usd", ""),
    ("a space in it", "amount=+99&currency=usd", ""),
    ("underscores", "amount=1_000&currency=usd", ""),
    ("other digits", "amount=%EF%BC%99&currency=usd", ""),
    ("hexadecimal", "amount=0x10&currency=usd", ""),
    ("empty", "amount=&currency=usd", ""),
    ("very long", f"amount={'9' * 40}&currency=usd", ""),
]


@pytest.mark.parametrize("path", ["/v1/charges", "/v1/payment_intents"])
@pytest.mark.parametrize(("form", "query"), [row[1:] for row in CHARGES], ids=[row[0] for row in CHARGES])
def test_an_amount_that_is_not_one_integer_is_refused(path: str, form: str, query: str) -> None:
    with pytest.raises(RequestAmbiguous):
        classified("POST", f"{STRIPE}{path}{query}", form=form)


@pytest.mark.parametrize(
    "headers", [(), (JSON_TYPE,), ("Content-Type: text/plain",), (FORM_TYPE, "Content-Encoding: gzip")]
)
def test_an_amount_in_another_kind_of_body_is_refused(headers: tuple[str, ...]) -> None:
    for path in ("/v1/charges", "/v1/payment_intents/pi_1"):
        for body in ("amount=10001&currency=usd", '{"amount": 10001, "currency": "usd"}'):
            with pytest.raises(RequestAmbiguous):
                classified("POST", f"{STRIPE}{path}", body, *headers)


@pytest.mark.parametrize(
    "path", ["/v1/payment_intents/pi_1", "/v1/payment_intents/pi_1/increment_authorization", "/v1/charges/c/capture"]
)
def test_an_amount_is_an_integer_wherever_it_may_stand(path: str) -> None:
    assert classified("POST", f"{STRIPE}{path}", form="amount=10001").arguments["amount"] == 10001
    assert "amount" not in classified("POST", f"{STRIPE}{path}", form="description=x").arguments
    for form in ("amount[]=5", "amount=5&amount=6", "amount=5.0"):
        with pytest.raises(RequestAmbiguous):
            classified("POST", f"{STRIPE}{path}", form=form)


# laws

PLAIN = [
    ("DELETE", f"{GITHUB}/repos/acme/site", ""),
    ("DELETE", f"{GITHUB}/repos/acme/site/git/refs/heads/main", ""),
    ("PUT", f"{GITHUB}/repos/acme/site/pulls/1/merge", ""),
    ("POST", f"{GITHUB}/repos/acme/site/issues", '{"title": "x"}'),
    ("POST", f"{STRIPE}/v1/refunds", "charge=ch_1"),
    ("POST", f"{STRIPE}/v1/charges/ch_1/refund", ""),
    ("POST", f"{STRIPE}/v1/charges", "amount=5&currency=usd"),
    ("DELETE", f"{STRIPE}/v1/customers/cus_1", ""),
    ("POST", "https://api.openai.com/v1/chat/completions", '{"model": "m", "messages": []}'),
    ("DELETE", "https://api.anthropic.com/v1/messages/batches/b", ""),
    ("DELETE", "https://things.example/1", ""),
]


def plain(method: str, url: str, body: str) -> Classification:
    kind = JSON_TYPE if body.startswith("{") else FORM_TYPE
    return classified(method, url, body, *([kind] if body else []))


def disguised_path(draw: st.DrawFn, url: str) -> str:
    start, host, path = url[:8], *url[8:].partition("/")[::2]
    segments = path.split("/")
    how = draw(st.sampled_from(["encode", "twice", "slash", "dot", "dotdot", "param", "json", "end", "upper", "none"]))
    at = draw(st.integers(0, len(segments) - 1))
    match how:
        case "encode":
            segments[at] = "".join(f"%{ord(ch):02x}" if draw(st.booleans()) else ch for ch in segments[at])
        case "twice":
            segments[at] = quote(quote(segments[at], safe=""), safe="").replace(
                segments[at][:1], f"%25{ord(segments[at][0]):x}", 1
            )
        case "slash":
            segments.insert(at, draw(st.sampled_from(["", "%2F", "%5C", "%00", " "])).strip())
        case "dot":
            segments.insert(at, draw(st.sampled_from([".", "%2e", "%2E"])))
        case "dotdot":
            segments[at:at] = ["x", draw(st.sampled_from(["..", "%2e%2e", ".%2e"]))]
        case "param":
            segments[at] += draw(st.sampled_from([";a=1", ";", "%3Ba"]))
        case "json":
            segments[-1] += ".json"
        case "end":
            segments.append("")
        case "upper":
            segments[at] = segments[at].upper()
    return f"{start}{host}/{'/'.join(segments)}"


@st.composite
def disguises(draw: st.DrawFn) -> tuple[tuple[str, str, str], tuple[str, str, str | bytes, list[str]]]:
    method, url, body = draw(st.sampled_from(PLAIN))
    headers = [] if not body else [JSON_TYPE if body.startswith("{") else FORM_TYPE]
    shown_method, shown_url, shown_body = method, disguised_path(draw, url), body
    how = draw(st.sampled_from(["none", "header", "query", "type", "extra", "case"]))
    if how == "header" and method != "GET":
        shown_method = "POST"
        headers.append(f"{draw(st.sampled_from([OVERRIDE, 'x_http_method', 'X-Method-Override']))}: {method.lower()}")
    elif how == "query":
        shown_method = "POST"
        shown_url += "?" + urlencode({draw(st.sampled_from(["_method", "_HttpMethod", "$httpMethod"])): method})
    elif how == "type" and body:
        headers = [
            draw(st.sampled_from(["Content-Type: text/plain", "Content-Type: a/b", JSON_TYPE, FORM_TYPE, "X-Y: z"]))
        ]
    elif how == "extra":
        shown_url += "?" + urlencode({draw(st.text(max_size=5)): draw(st.text(max_size=5))}, errors="replace")
    elif how == "case" and headers:
        headers = [headers[0].upper()]
    return (method, url, body), (shown_method, shown_url, shown_body, headers)


@given(disguises())
def test_no_disguise_lowers_the_tier(
    case: tuple[tuple[str, str, str], tuple[str, str, str | bytes, list[str]]],
) -> None:
    honest, (method, url, body, headers) = case
    try:
        found = classified(method, url, body, *headers)
    except RequestAmbiguous:
        return
    assert found.tier.rank >= plain(*honest).tier.rank
    assert found.billable or not plain(*honest).billable


@given(
    st.dictionaries(st.text(max_size=6), st.none() | st.booleans() | st.integers() | st.text(max_size=6), max_size=5)
)
def test_no_members_beside_it_lower_a_body_predicate(members: dict[str, object]) -> None:
    body = json.dumps(members | {"force": True, "sha": "1"})
    try:
        found = classified("PATCH", REF, body, JSON_TYPE)
    except RequestAmbiguous:
        return
    assert found.tier is Tier.IRREVERSIBLE


@given(st.lists(st.tuples(st.text(max_size=8), st.text(max_size=8)), max_size=5), st.integers(10_001, 10**9))
def test_no_fields_beside_it_change_the_amount_that_is_decided_on(fields: list[tuple[str, str]], amount: int) -> None:
    form = urlencode([*fields, ("amount", amount), ("currency", "usd"), *fields[:1]], errors="replace")
    try:
        found = classified("POST", f"{STRIPE}/v1/charges", form=form)
    except RequestAmbiguous:
        return
    assert found.arguments["amount"] == amount
    assert found.arguments["currency"] == "usd"


@given(
    st.binary(max_size=200),
    st.sampled_from(["", JSON_TYPE, FORM_TYPE, "Content-Type: multipart/form-data; boundary=b"]),
)
def test_no_body_makes_it_raise_anything_else(body: bytes, content_type: str) -> None:
    headers = [content_type] if content_type else []
    for method, url in (
        ("POST", f"{STRIPE}/v1/charges"), ("POST", f"{GITHUB}/graphql"), ("PATCH", REF), ("POST", "https://x.example/a"),
        ("POST", "https://api.openai.com/v1/audio/transcriptions"), ("POST", "https://github.com/a/b/git-receive-pack"),
    ):  # fmt: skip
        assert outcome(method, url, body, *headers) in ("reversible", "visible", "irreversible", REFUSED)


EC2 = "https://ec2.us-east-1.amazonaws.com/"
TERMINATE = "Action=TerminateInstances&Version=2016-11-15&InstanceId.1=i-1"
POD = "https://kubernetes.default.svc/api/v1/namespaces/a/pods/b"


@pytest.mark.parametrize(
    ("call", "expected"),
    [
        (("POST", EC2, f"{TERMINATE}&DryRun=true", FORM_TYPE), "reversible"),
        (("POST", EC2, f"{TERMINATE}&DryRun=false", FORM_TYPE), IRREVERSIBLE),
        (("POST", EC2, f"{TERMINATE}&DryRun=True", FORM_TYPE), IRREVERSIBLE),
        (("POST", EC2, f"{TERMINATE}&DryRun.1=true", FORM_TYPE), IRREVERSIBLE),
        (("POST", EC2, f"{TERMINATE}&DryRun=true&DryRun=false", FORM_TYPE), REFUSED),
        (("GET", f"{EC2}?{TERMINATE}&DryRun=true&DryRun=false", ""), IRREVERSIBLE),
        (("DELETE", f"{POD}?dryRun=All", ""), "reversible"),
        (("DELETE", f"{POD}?dryRun=None", ""), IRREVERSIBLE),
        (("DELETE", f"{POD}?dryRun=All&dryRun=", ""), BOTH),
        (("DELETE", POD, '{"dryRun": "All"}', JSON_TYPE), IRREVERSIBLE),
        (("PATCH", f"{POD}?dryRun=All", '{"spec": {}}', JSON_TYPE), "reversible"),
        (("POST", f"{POD}?dryRun=All", "", f"{OVERRIDE}: DELETE"), BOTH),
    ],
)
def test_a_rehearsal_counts_only_where_the_provider_looks_for_it(call: tuple[str, ...], expected: str) -> None:
    assert outcome(*call) in expected if isinstance(expected, tuple) else outcome(*call) == expected
