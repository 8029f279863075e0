"""Requests that can be read in two ways, and ways round HTTP: refused in a well-formed answer, nothing sent."""

from __future__ import annotations

import contextlib
import itertools
import json
import socket
import ssl
import threading
from collections.abc import Iterator

import pytest

from support.policy import policy_folder
from support.product import Agent, Product, eventually, make_product
from support.providers import OTHER, UNMAPPED, Providers
from support.stand_in import Exchange
from support.wire import Answer, ConnectionOver, Wire, credential, request

HOST = "api.github.com"
GET = b"GET /user HTTP/1.1\r\nHost: api.github.com\r\n"


@pytest.fixture(scope="module")
def shared_product(running_providers: Providers, tmp_path_factory: pytest.TempPathFactory) -> Iterator[Product]:
    """A node that holds for a moment only, so that a held call is told at once."""
    folder = tmp_path_factory.mktemp("attacked")
    product = make_product(running_providers, folder, policy=policy_folder(folder / "policy", wait="1s"))
    product.start()
    yield product
    product.stop()


@pytest.fixture
def agent(product: Product) -> Agent:
    return product.agent("attacker")


@pytest.fixture
def tunnel(product: Product, agent: Agent, providers: Providers) -> Iterator[Wire]:
    with Wire.tunnel(agent, product.proxy_address, HOST) as wire:
        yield wire


def assert_refused(answer: Answer, *codes: str) -> None:
    assert answer.status in (400, 403, 413, 431), answer
    assert answer.code in codes, answer.body
    assert answer.header("retry-after") is None
    assert answer.header("douane-decision") is not None


AMBIGUOUS = {
    "two Host fields": GET + b"Host: evil.example\r\n\r\n",
    "two equal Host fields": GET + b"Host: api.github.com\r\n\r\n",
    "another Host": b"GET /user HTTP/1.1\r\nHost: other.unmapped.example\r\n\r\n",
    "another port": b"GET /user HTTP/1.1\r\nHost: api.github.com:8443\r\n\r\n",
    "no Host": b"GET /user HTTP/1.1\r\nAccept: */*\r\n\r\n",
    "user in Host": b"GET /user HTTP/1.1\r\nHost: api.github.com@evil.example\r\n\r\n",
    "absolute form of another host": b"GET https://llm.unmapped.example/ HTTP/1.1\r\nHost: api.github.com\r\n\r\n",
    "absolute form, other scheme": b"GET http://api.github.com/user HTTP/1.1\r\nHost: api.github.com\r\n\r\n",
    "NUL in a field": GET + b"X-A: a\0b\r\n\r\n",
    "obs-fold": GET + b"X-A: a\r\n b\r\n\r\n",
    "space before the colon": GET + b"X-A : a\r\n\r\n",
    "length and chunks": GET + b"Content-Length: 5\r\nTransfer-Encoding: chunked\r\n\r\n0\r\n\r\n",
    "two lengths": GET + b"Content-Length: 1\r\nContent-Length: 2\r\n\r\nab",
    "unknown transfer coding": GET + b"Transfer-Encoding: gzip, chunked\r\n\r\n0\r\n\r\n",
    "obscured chunked": GET + b"Transfer-Encoding: xchunked\r\n\r\n0\r\n\r\n",
    "dot segments": b"GET /user/../repos/acme/website HTTP/1.1\r\nHost: api.github.com\r\n\r\n",
    "encoded dot segments": b"GET /user/%2e%2e/repos/acme/website HTTP/1.1\r\nHost: api.github.com\r\n\r\n",
    "doubly encoded": b"GET /repos/acme/website%252e HTTP/1.1\r\nHost: api.github.com\r\n\r\n",
    "backslash": b"GET /user\\x HTTP/1.1\r\nHost: api.github.com\r\n\r\n",
    "empty segments": b"GET //user HTTP/1.1\r\nHost: api.github.com\r\n\r\n",
    "NUL in the path": b"GET /user%00 HTTP/1.1\r\nHost: api.github.com\r\n\r\n",
}


@pytest.mark.parametrize("sent", AMBIGUOUS.values(), ids=AMBIGUOUS.keys())
def test_ambiguous_requests_are_refused(tunnel: Wire, providers: Providers, sent: bytes) -> None:
    try:
        answer = tunnel.ask(sent)
    except ConnectionOver:
        pytest.fail("closed without an answer")
    assert_refused(answer, "request_ambiguous", "protocol_forbidden")
    assert providers.stand_in.seen() == []


SPELLINGS = (
    "/repos%2Facme/website",
    "/repos/acme%2Fwebsite",
    "/%72epos/acme/website",
    "/repos/acme/website/",
    "/REPOS/acme/website",
)


@pytest.mark.parametrize("path", SPELLINGS)
def test_no_spelling_of_a_delete_passes_without_a_person(tunnel: Wire, providers: Providers, path: str) -> None:
    answer = tunnel.ask(request("DELETE", HOST, path))
    assert (answer.status, answer.decision["outcome"] in ("ESCALATE", "BLOCK")) == (403, True)
    assert providers.stand_in.seen() == []


@pytest.mark.parametrize(
    "field", ["X-HTTP-Method-Override: DELETE", "X-HTTP-Method: DELETE", "x-method-override: delete"]
)
def test_no_override_makes_a_delete_of_a_harmless_call(tunnel: Wire, providers: Providers, field: str) -> None:
    for method in ("GET", "POST"):
        answer = tunnel.ask(request(method, HOST, "/repos/acme/website", b"", field, "Content-Length: 0"))
        assert answer.status == 403
        assert answer.decision["outcome"] in ("ESCALATE", "BLOCK")
    assert providers.stand_in.seen() == []


@pytest.mark.parametrize("target", [f"{OTHER}:443", f"{HOST}:8443"])
def test_the_tunnel_must_lead_where_the_handshake_and_the_request_say(
    product: Product, agent: Agent, providers: Providers, target: str
) -> None:
    with Wire.tunnel(agent, product.proxy_address, HOST, connect_target=target) as wire:
        assert_refused(wire.ask(GET + b"\r\n"), "request_ambiguous")
    assert providers.stand_in.seen() == []
    assert providers.stand_in.connections == 0


def test_the_handshake_must_name_the_tunnels_host(product: Product, agent: Agent, providers: Providers) -> None:
    with Wire.tunnel(agent, product.proxy_address, HOST, server_name=OTHER) as wire:
        assert_refused(wire.ask(GET + b"\r\n"), "request_ambiguous")
    assert providers.stand_in.connections == 0


@pytest.mark.parametrize("host", ["API.GITHUB.COM", "api.github.com.", "api.github.com:443"])
def test_other_spellings_of_the_same_host_pass(tunnel: Wire, providers: Providers, host: str) -> None:
    assert tunnel.ask(request("GET", host, "/user")).status == 200


UPGRADES = {
    "websocket": ("Connection: Upgrade", "Upgrade: websocket", "Sec-WebSocket-Version: 13", "Sec-WebSocket-Key: AAAA"),
    "unknown protocol": ("Connection: Upgrade", "Upgrade: something"),
    "h2c among others": ("Connection: Upgrade, HTTP2-Settings", "Upgrade: h2c, websocket", "HTTP2-Settings: AAMA"),
}


@pytest.mark.parametrize("fields", UPGRADES.values(), ids=UPGRADES.keys())
def test_upgrades_are_refused(tunnel: Wire, providers: Providers, fields: tuple[str, ...]) -> None:
    assert_refused(tunnel.ask(request("GET", HOST, "/user", b"", *fields)), "protocol_forbidden")
    assert providers.stand_in.seen() == []


@pytest.mark.parametrize("spelling", ["h2c", "H2C", "H2c"])
def test_a_cleartext_http2_upgrade_never_reaches_the_provider(
    tunnel: Wire, providers: Providers, spelling: str
) -> None:
    fields = ("Connection: Upgrade, HTTP2-Settings", f"Upgrade: {spelling}", "HTTP2-Settings: AAMA")
    assert tunnel.ask(request("GET", HOST, "/user", b"", *fields)).status == 200
    (seen,) = providers.stand_in.seen()
    assert seen.header("upgrade") is None
    assert seen.header("http2-settings") is None


def test_headers_for_proxies_and_of_ours_never_reach_the_provider(
    tunnel: Wire, providers: Providers, agent: Agent
) -> None:
    fields = (credential(agent).decode().strip(), "Proxy-Connection: keep-alive", "Douane-Context: env=production")
    answer = tunnel.ask(request("GET", HOST, "/user", b"", *fields))
    assert answer.status == 200
    (seen,) = providers.stand_in.seen()
    assert not any(name.lower().startswith(("proxy-", "douane-")) for name, _ in seen.headers)
    assert agent.key.encode() not in seen.head
    assert (answer.header("douane-decision") or "").startswith("allow; tool=github.")
    assert answer.header("douane-receipt")


@pytest.mark.parametrize(
    "hello", [b"SSH-2.0-OpenSSH_9.6\r\n", b"\0\x01binary" * 40, b"EHLO mail\r\n"], ids=["ssh", "binary", "smtp"]
)
def test_raw_bytes_in_a_tunnel_go_nowhere(product: Product, agent: Agent, providers: Providers, hello: bytes) -> None:
    with Wire.connected(agent, product.proxy_address, f"{UNMAPPED}:443") as wire:
        wire.send(hello)
        wire.socket.shutdown(socket.SHUT_WR)
        wire.at_end()
    assert providers.stand_in.connections == 0


def test_raw_bytes_inside_tls_go_nowhere(tunnel: Wire, providers: Providers) -> None:
    tunnel.send(b"\0\x01\x02\x03" * 64 + b"\r\n\r\n")
    tunnel.at_end()
    assert providers.stand_in.connections == 0


@pytest.mark.parametrize("port", [53, 5353])
def test_dns_in_a_tunnel_goes_nowhere(product: Product, agent: Agent, providers: Providers, port: int) -> None:
    query = b"\0\x1d\x12\x34\x01\0\0\x01\0\0\0\0\0\0\x07example\x03com\0\0\x01\0\x01"
    with Wire.connected(agent, product.proxy_address, f"{HOST}:{port}") as wire:
        wire.send(query)
        assert wire.at_end() == b""
    assert providers.stand_in.connections == 0


@pytest.mark.parametrize("inside", ["plain", "tls"])
def test_endless_headers_are_cut_off(product: Product, agent: Agent, providers: Providers, inside: str) -> None:
    wire = Wire.tunnel(agent, product.proxy_address, HOST) if inside == "tls" else Wire.open(product.proxy_address)
    with wire:
        wire.send(b"GET http://api.github.com/user HTTP/1.1\r\n" if inside == "plain" else GET)
        answer = push(wire, b"X-Pad: " + b"a" * 8_000 + b"\r\n", 10_000)
    assert answer is not None
    assert answer.status == 431
    assert providers.stand_in.connections == 0


def test_one_endless_header_line_is_cut_off(tunnel: Wire, providers: Providers) -> None:
    tunnel.send(GET + b"X-Pad: ")
    answer = push(tunnel, b"a" * 65_536, 2_000)
    assert answer is not None
    assert answer.status == 431
    assert providers.stand_in.connections == 0


def test_too_many_fields_are_refused(tunnel: Wire, providers: Providers) -> None:
    answer = tunnel.ask(GET + b"".join(b"X-%d: a\r\n" % number for number in range(200)) + b"\r\n")
    assert answer.status == 431
    assert providers.stand_in.connections == 0


def push(wire: Wire, piece: bytes, most: int) -> Answer | None:
    """Send a piece over and over until the other side has had enough; what it said, if it said anything."""
    try:
        for _ in range(most):
            wire.send(piece)
    except (OSError, ssl.SSLError):
        pass
    else:
        pytest.fail(f"took {most * len(piece)} bytes")
    try:
        return wire.read()
    except (OSError, ConnectionOver):
        return Answer(431, (), b"")  # the reset overtook the answer; the bound is what is tested


def test_a_body_over_64_mib_is_refused_and_nothing_is_sent(tunnel: Wire, providers: Providers) -> None:
    size = 64 * 1024 * 1024 + 1
    tunnel.send(request("POST", HOST, "/repos/acme/website/issues", b"", f"Content-Length: {size}"))
    answer = tunnel.read()
    assert (answer.status, answer.code) == (413, "limit_exceeded")
    assert providers.stand_in.connections == 0


def test_a_chunked_body_over_64_mib_is_refused_and_nothing_is_sent(tunnel: Wire, providers: Providers) -> None:
    tunnel.send(request("POST", HOST, "/repos/acme/website/issues", b"", "Transfer-Encoding: chunked"))
    piece = b"100000\r\n" + b"a" * 0x100000 + b"\r\n"
    try:
        for _ in range(80):
            tunnel.send(piece)
    except (OSError, ssl.SSLError):
        pass
    with contextlib.suppress(OSError, ConnectionOver):  # where the reset overtook the answer
        assert tunnel.read().status == 413
    assert providers.stand_in.seen() == []
    assert providers.stand_in.connections == 0


def test_the_bodies_of_one_agent_together_are_bounded(product: Product, agent: Agent, providers: Providers) -> None:
    other = product.agent("bystander")
    with contextlib.ExitStack() as stack:
        for _ in range(4):
            wire = stack.enter_context(Wire.tunnel(agent, product.proxy_address, UNMAPPED))
            wire.send(request("POST", UNMAPPED, "/x", b"", f"Content-Length: {64 << 20}", "Expect: 100-continue"))
            assert wire.head().status == 100
        more = stack.enter_context(Wire.tunnel(agent, product.proxy_address, UNMAPPED))
        answer = more.ask(request("POST", UNMAPPED, "/x", b"", f"Content-Length: {1 << 20}"))
        assert (answer.status, answer.code) == (403, "limit_exceeded")
        assert b"256 MiB" in answer.body
        mine = stack.enter_context(Wire.tunnel(other, product.proxy_address, UNMAPPED))
        assert mine.ask(request("POST", UNMAPPED, "/x", b"a" * (1 << 20))).status == 200
        wire.close()
        eventually(lambda: _sends_a_large_body(product, agent), "room for bodies, once a connection has ended")
    assert all(len(seen.body) == 1 << 20 for seen in providers.stand_in.seen("POST"))


def test_a_large_body_needs_no_tunnel(product: Product, agent: Agent, providers: Providers) -> None:
    body = b"a" * (1 << 20)
    sent = request("POST", UNMAPPED, f"http://{UNMAPPED}/x", body, credential(agent).decode().strip())
    with Wire.open(product.proxy_address) as wire:
        assert wire.ask(sent).status == 502, "nobody listens there, but it was let through"
    assert len(body) in [record["request_bytes"] for record in product.log(kind="intent", agent=agent.name)]


def _sends_a_large_body(product: Product, agent: Agent) -> bool:
    with Wire.tunnel(agent, product.proxy_address, UNMAPPED) as wire:
        twice = [wire.ask(request("POST", UNMAPPED, "/x", b"a" * (1 << 20))).status for _ in range(2)]
    return twice == [200, 200]


@pytest.fixture
def odd_provider(providers: Providers) -> Iterator[dict[str, bytes]]:
    """What a provider writes before its answer, or instead of it, by path; its answer then says how many it gave."""
    written: dict[str, bytes] = {}
    count = itertools.count(1)

    async def answer(exchange: Exchange) -> None:
        await exchange.raw(written.get(exchange.seen.path, b""))
        await exchange.json(200, {"answer": next(count)})

    providers.stand_in.providers[UNMAPPED] = answer
    yield written
    del providers.stand_in.providers[UNMAPPED]


@pytest.mark.parametrize(
    "interim",
    [
        b"HTTP/1.1 100 Continue\r\n\r\n",
        b"HTTP/1.1 103 Early Hints\r\nLink: </a>\r\n\r\n" * 3,
        b"HTTP/1.0 199\r\n\r\n",
    ],
)
def test_an_interim_response_is_not_taken_for_the_answer(
    product: Product, agent: Agent, odd_provider: dict[str, bytes], interim: bytes
) -> None:
    odd_provider["/interim"] = interim
    with Wire.tunnel(agent, product.proxy_address, UNMAPPED) as wire:
        for number, path in enumerate(("/interim", "/plain", "/interim", "/plain"), 1):
            wire.send(request("GET", UNMAPPED, path))
            head = wire.head()
            assert head.status == 200
            length = int(head.header("content-length") or 0)
            assert json.loads(wire.exactly(length)) == {"answer": number}


@pytest.mark.parametrize("head", [b"HTTP/1.1 200 OK\r\nX: " + b"a" * 600_000, b"HTTQ/1.1 200 OK\r\n\r\n"])
def test_an_endless_or_odd_response_head_is_a_bad_gateway(
    product: Product, agent: Agent, odd_provider: dict[str, bytes], head: bytes
) -> None:
    odd_provider["/odd"] = head
    with Wire.tunnel(agent, product.proxy_address, UNMAPPED) as wire:
        assert wire.ask(request("GET", UNMAPPED, "/odd")).status == 502


def test_a_large_body_under_the_limit_passes_whole(tunnel: Wire, providers: Providers) -> None:
    body = b'{"title": "' + b"a" * (8 * 1024 * 1024) + b'"}'
    answer = tunnel.ask(request("POST", HOST, "/repos/acme/website/issues", body, "Content-Type: application/json"))
    assert answer.status == 201
    assert providers.stand_in.seen("POST")[0].body == body


FORBIDDEN = [
    "127.0.0.1",
    "localhost",
    "[::1]",
    "0.0.0.0",
    "169.254.169.254",
    "[fe80::1]",
    "[::ffff:127.0.0.1]",
    "127.1",
    "2130706433",
]


@pytest.mark.parametrize("host", FORBIDDEN)
def test_private_addresses_are_refused(product: Product, agent: Agent, host: str) -> None:
    with Listening() as service:
        with Wire.connected(agent, product.proxy_address, f"{host}:{service.port}") as wire:
            answer = wire.ask(request("GET", f"{host}:{service.port}", "/latest/meta-data/"))
        assert_refused(answer, "destination_forbidden", "request_ambiguous")
        assert service.connections == 0


@pytest.mark.parametrize("host", ["127.0.0.1", "localhost", "169.254.169.254"])
def test_private_addresses_are_refused_without_a_tunnel(product: Product, agent: Agent, host: str) -> None:
    with Listening() as service:
        with Wire.open(product.proxy_address) as wire:
            line = f"GET http://{host}:{service.port}/ HTTP/1.1\r\nHost: {host}:{service.port}\r\n".encode()
            answer = wire.ask(line + credential(agent) + b"\r\n")
        assert_refused(answer, "destination_forbidden")
        assert service.connections == 0


def test_douane_itself_is_not_reached_through_the_proxy(product: Product, agent: Agent) -> None:
    host = f"127.0.0.1:{product.proxy_port}"
    with Wire.connected(agent, product.proxy_address, host) as wire:
        assert_refused(wire.ask(request("GET", host, "/")), "destination_forbidden")


def test_another_scheme_in_absolute_form_is_refused(product: Product, agent: Agent, providers: Providers) -> None:
    with Wire.open(product.proxy_address) as wire:
        head = b"GET ftp://api.github.com/user HTTP/1.1\r\nHost: api.github.com\r\n"
        answer = wire.ask(head + credential(agent) + b"\r\n")
    assert answer.status in (400, 403)
    assert providers.stand_in.connections == 0


def test_plain_http_needs_the_key_for_each_request(product: Product, agent: Agent, providers: Providers) -> None:
    with Wire.open(product.proxy_address) as wire:
        answer = wire.ask(b"GET http://api.github.com/user HTTP/1.1\r\nHost: api.github.com\r\n\r\n")
    assert answer.status == 407
    assert answer.header("proxy-authenticate")
    assert providers.stand_in.connections == 0


def test_two_requests_in_one_packet_are_both_governed(tunnel: Wire, providers: Providers) -> None:
    delete = request("DELETE", HOST, "/repos/acme/website/../website")
    first = tunnel.ask(request("GET", HOST, "/user") + delete)
    assert first.status == 200
    assert_refused(tunnel.read(), "request_ambiguous")
    assert [seen.method for seen in providers.stand_in.seen()] == ["GET"]


@pytest.mark.parametrize("method", ["CONNECT", "TRACE", "PRI"])
def test_odd_methods_are_refused(tunnel: Wire, providers: Providers, method: str) -> None:
    try:
        answer = tunnel.ask(request(method, HOST, "/user" if method != "CONNECT" else f"{OTHER}:443"))
    except ConnectionOver:
        answer = None
    assert answer is None or answer.status in (400, 403, 405)
    assert providers.stand_in.seen() == []


class Listening:
    """A loopback service that must not be reached."""

    def __init__(self) -> None:
        self.connections = 0
        self._listener = socket.create_server(("127.0.0.1", 0))
        self.port: int = self._listener.getsockname()[1]
        self._thread = threading.Thread(target=self._accept, daemon=True)

    def __enter__(self) -> Listening:
        self._thread.start()
        return self

    def __exit__(self, *_: object) -> None:
        self._listener.shutdown(socket.SHUT_RDWR)
        self._listener.close()
        self._thread.join(10)

    def _accept(self) -> None:
        while True:
            try:
                connection, _ = self._listener.accept()
            except OSError:
                return
            self.connections += 1
            connection.close()


def test_probes_see_a_gate_that_lets_everything_through(providers: Providers) -> None:
    """The relay governs nothing: were the product like it, the tests above would say so."""
    from support.relay import Relay

    relay = Relay(providers.stand_in, providers.authority.certificate_file)
    try:
        with Wire.tunnel(relay.agent, ("127.0.0.1", relay.port), HOST) as wire:
            answer = wire.ask(AMBIGUOUS["two Host fields"])
        with pytest.raises(AssertionError):
            assert_refused(answer, "request_ambiguous")
        assert len(providers.stand_in.seen()) == 1
    finally:
        relay.stop()
