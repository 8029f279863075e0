"""Every hook may raise, hang or be cancelled: before forwarding nothing is sent, after it there is one result."""

from __future__ import annotations

import asyncio
import json
import time
from collections.abc import Callable, Iterator
from pathlib import Path

import psutil
import pytest
from mitmproxy import http

from douane.gateway.gate import Gate, Interlock
from douane.gateway.master import ProxyNode
from douane.store.interface import StoreError
from support.inside import InsideNode
from support.product import Agent, Product, eventually
from support.providers import Providers
from support.stand_in import Cut, Fault
from support.wire import Answer, ConnectionOver, ConnectRefused, Wire, request

pytestmark = pytest.mark.faults
SOON_S = 4.0
"""A refusal is out within 3 s; this machine does other things besides."""

CHAT = json.dumps(
    {"model": "gpt-4.1-mini", "max_tokens": 500, "messages": [{"role": "user", "content": "hi"}]}
).encode()
HOST = "api.openai.com"

ANSWERED = ("http_connect", "requestheaders", "request", "server_connect", "tls_start_server")
"""Hooks of which the client can be told."""
CLOSED = (
    "client_connected",
    "http_connected",
    "next_layer",
    "tls_clienthello",
    "tls_start_client",
    "tls_established_client",
)
"""Hooks that fail before or within the client's handshake: all that can be done is to close."""
CONNECTING = ("server_connected", "tls_established_server")
AFTER = ("responseheaders", "response")
ENDING = ("server_disconnected", "client_disconnected")


class Sabotage(Exception):
    """Not a fault of the product."""


def saboteur(hook: str, kind: str) -> object:
    """An addon whose one hook goes wrong, from its first use on."""

    def raises(_: object) -> None:
        raise Sabotage(hook)

    def cancelled(_: object) -> None:
        raise asyncio.CancelledError

    def exits(_: object) -> None:
        raise SystemExit(3)

    async def hangs(_: object) -> None:
        await asyncio.Event().wait()

    async def raises_later(_: object) -> None:
        await asyncio.sleep(0)
        raise Sabotage(hook)

    async def cancels_itself(_: object) -> None:
        task = asyncio.current_task()
        assert task is not None
        task.cancel()
        await asyncio.sleep(0)

    kinds = {
        "raises": raises,
        "raises later": raises_later,
        "hangs": hangs,
        "raises CancelledError": cancelled,
        "is cancelled": cancels_itself,
        "exits": exits,
    }
    return type("Saboteur", (), {hook: staticmethod(kinds[kind])})()


KINDS = ("raises", "raises later", "hangs", "raises CancelledError", "is cancelled", "exits")


def at(position: str, addon: object) -> Callable[[ProxyNode], None]:
    """Put an addon first, or last before the interlock, where the gate has admitted the call already."""

    def change(proxy: ProxyNode) -> None:
        if position == "first":
            proxy.addons.insert(0, addon)
        else:
            where = next(number for number, addon in enumerate(proxy.addons) if isinstance(addon, Interlock))
            proxy.addons.insert(where, addon)

    return change


@pytest.fixture
def inside(providers: Providers, tmp_path: Path) -> Iterator[Callable[..., InsideNode]]:
    made: list[InsideNode] = []

    def make(**options: object) -> InsideNode:
        made.append(InsideNode(providers, tmp_path / str(len(made)), **options))  # type: ignore[arg-type]
        return made[-1]

    yield make
    for node in made:
        node.stop()


def chat(node: InsideNode, agent: Agent) -> Answer:
    with Wire.tunnel(agent, node.address, HOST, timeout=15) as wire:
        return ask_chat(wire)


def ask_chat(wire: Wire) -> Answer:
    fields = ("Authorization: Bearer sk", "Content-Type: application/json")
    return wire.ask(request("POST", HOST, "/v1/chat/completions", CHAT, *fields))


def assert_balanced(node: InsideNode, agent: str = "agent") -> None:
    """Every intent has exactly one result and nothing stays reserved."""
    eventually(lambda: node.spend_nano(agent)[1] == 0, "the end of the reservation")
    eventually(lambda: len(node.records("result")) == len(node.records("intent")), "a result for each intent")
    intents = [record["call_id"] for record in node.records("intent")]
    assert sorted(record["call_id"] for record in node.records("result")) == sorted(intents)


@pytest.mark.parametrize("position", ["first", "last"])
@pytest.mark.parametrize("kind", KINDS)
@pytest.mark.parametrize("hook", ANSWERED)
def test_a_fault_before_forwarding_is_a_refusal_and_nothing_is_sent(
    inside: Callable[..., InsideNode], providers: Providers, hook: str, kind: str, position: str
) -> None:
    node = inside(change=at(position, saboteur(hook, kind)))
    agent = node.agent()
    started = time.monotonic()
    answer = chat(node, agent)
    assert answer.whole
    assert answer.status in (403, 502, 503)
    assert answer.decision["outcome"] == "BLOCK"
    assert answer.header("douane-decision")
    assert answer.header("retry-after") is None
    assert time.monotonic() - started < SOON_S
    assert providers.stand_in.seen() == []
    assert_balanced(node)
    assert node.spend_nano()[0] == 0
    assert node.node.state == "ready"


@pytest.mark.parametrize("kind", KINDS)
@pytest.mark.parametrize("hook", CLOSED + CONNECTING)
def test_a_fault_in_a_handshake_sends_nothing_and_ends(
    inside: Callable[..., InsideNode], providers: Providers, hook: str, kind: str
) -> None:
    node = inside(change=at("first", saboteur(hook, kind)))
    agent = node.agent()
    started = time.monotonic()
    try:
        answer = chat(node, agent)
    except (ConnectionOver, ConnectRefused, OSError):
        pass
    else:
        assert answer.status in (403, 502, 503)
    assert time.monotonic() - started < SOON_S
    assert providers.stand_in.seen() == []
    assert_balanced(node)
    assert node.node.state == "ready"


@pytest.mark.parametrize("kind", KINDS)
@pytest.mark.parametrize("hook", AFTER)
def test_a_fault_after_forwarding_leaves_one_result_and_no_reservation(
    inside: Callable[..., InsideNode], providers: Providers, hook: str, kind: str
) -> None:
    node = inside(change=at("first", saboteur(hook, kind)))
    agent = node.agent()
    started = time.monotonic()
    try:
        answer = chat(node, agent)
    except ConnectionOver:
        pass
    else:
        assert answer.status in (200, 502, 503)
    assert time.monotonic() - started < SOON_S
    assert len(providers.stand_in.seen()) == 1
    assert_balanced(node)
    assert node.spend_nano()[0] >= providers.bill.total_nano(), "billed, and not charged"


@pytest.mark.parametrize("kind", KINDS)
@pytest.mark.parametrize("hook", ENDING)
def test_a_fault_at_the_end_of_a_connection_leaves_one_result(
    inside: Callable[..., InsideNode], providers: Providers, hook: str, kind: str
) -> None:
    node = inside(change=at("first", saboteur(hook, kind)))
    assert chat(node, node.agent()).status == 200
    assert_balanced(node)
    assert node.spend_nano()[0] == providers.bill.total_nano()


@pytest.mark.parametrize("kind", KINDS)
def test_a_fault_in_the_error_hook_leaves_one_result(
    inside: Callable[..., InsideNode], providers: Providers, kind: str
) -> None:
    node = inside(change=at("first", saboteur("error", kind)))
    providers.stand_in.faults.append(Fault(Cut.RESET))
    answer = chat(node, node.agent())
    assert answer.status == 502
    assert b"it closed the connection without a whole answer" in answer.body
    assert node.records("intent")[0]["call_id"].encode() in answer.body
    assert_balanced(node)


PARTS = ("inspect", "destination", "open hold", "store: admit", "store: latched")


def break_part(node: InsideNode, part: str, kind: str) -> None:
    """Make one part of admission go wrong from now on."""

    async def fail(*_: object, **__: object) -> None:
        match kind:
            case "raises":
                raise Sabotage(part)
            case "hangs":
                await asyncio.Event().wait()
            case _:
                raise asyncio.CancelledError

    async def latched(*_: object, **__: object) -> None:
        raise StoreError("disk gone")

    owner, name = {
        "inspect": (node.node.inspector, "inspect"),
        "destination": (node.node.destinations, "forbidden"),
        "open hold": (node.node.store, "open_review"),
        "store: admit": (node.node.store, "admit"),
        "store: latched": (node.node.store, "admit"),
    }[part]
    setattr(owner, name, latched if part == "store: latched" else fail)


@pytest.mark.parametrize("kind", ["raises", "hangs", "raises CancelledError"])
@pytest.mark.parametrize("part", PARTS)
def test_a_part_of_admission_that_fails_is_a_refusal_and_nothing_is_sent(
    inside: Callable[..., InsideNode], providers: Providers, part: str, kind: str
) -> None:
    node = inside()
    agent = node.agent()
    break_part(node, part, kind)
    started = time.monotonic()
    with Wire.tunnel(agent, node.address, "api.github.com", timeout=15) as wire:
        answer = wire.ask(request("DELETE" if part == "open hold" else "GET", "api.github.com", "/repos/acme/docs"))
    assert time.monotonic() - started < SOON_S
    assert answer.status in (403, 503)
    assert answer.decision["outcome"] == "BLOCK"
    assert providers.stand_in.seen() == []


PROVIDER_FAULTS = {
    "reset before an answer": Fault(Cut.RESET),
    "closed before an answer": Fault(Cut.CLOSE),
    "reset in the stream": Fault(Cut.RESET, 3),
    "closed in the stream": Fault(Cut.CLOSE, 3),
    "closed before the usage": Fault(Cut.CLOSE, 10),
}


@pytest.mark.parametrize("fault", PROVIDER_FAULTS.values(), ids=PROVIDER_FAULTS.keys())
def test_a_provider_that_fails_leaves_one_result_and_no_reservation(
    inside: Callable[..., InsideNode], providers: Providers, fault: Fault
) -> None:
    node = inside()
    agent = node.agent()
    providers.stand_in.faults.append(fault)
    body = json.dumps(json.loads(CHAT) | {"stream": True}).encode()
    with Wire.tunnel(agent, node.address, HOST) as wire:
        answer = wire.ask(request("POST", HOST, "/v1/chat/completions", body, "Content-Type: application/json"))
    assert answer.status == 502 if fault.after_chunks < 0 else not answer.whole
    assert_balanced(node)
    (result,) = node.records("result")
    assert result["outcome"] == "aborted"
    if fault.after_chunks >= 0:
        assert node.spend_nano()[0] > 0, "the provider worked: it is not free"
    assert chat(node, agent).status == 200, "the next call is not harmed"


def test_a_provider_error_releases_the_reservation(inside: Callable[..., InsideNode], providers: Providers) -> None:
    node = inside()
    agent = node.agent()
    with Wire.tunnel(agent, node.address, HOST) as wire:
        wanted = json.dumps({"model": "gpt-4.1-mini", "messages": []}).encode()
        answer = wire.ask(
            request("POST", HOST, "/v1/chat/completions/nowhere", wanted, "Content-Type: application/json")
        )
    assert answer.status in (403, 404)
    assert_balanced(node)
    assert node.spend_nano()[0] == 0


def test_a_client_that_leaves_while_the_provider_hangs_is_settled(
    inside: Callable[..., InsideNode], providers: Providers
) -> None:
    node = inside()
    agent = node.agent()
    providers.stand_in.pace.close()
    with Wire.tunnel(agent, node.address, HOST) as wire:
        wire.send(request("POST", HOST, "/v1/chat/completions", CHAT, "Content-Type: application/json"))
        providers.stand_in.wait_for(lambda: bool(providers.stand_in.seen()), "the call")
    assert_balanced(node)
    (result,) = node.records("result")
    assert result["outcome"] == "aborted"


def test_before_readiness_everything_is_refused(inside: Callable[..., InsideNode], providers: Providers) -> None:
    node = inside()
    agent = node.agent()
    node.on_loop(lambda: setattr(node.node, "_state", "starting"))
    answer = chat(node, agent)
    assert (answer.status, answer.code) == (503, "not_ready")
    assert answer.header("retry-after") is None
    assert providers.stand_in.connections == 0


def test_during_drain_new_calls_are_refused_and_those_under_way_end(
    inside: Callable[..., InsideNode], providers: Providers
) -> None:
    from concurrent.futures import ThreadPoolExecutor

    node = inside()
    agent = node.agent()
    providers.stand_in.pace.close()
    with ThreadPoolExecutor(1) as pool, Wire.tunnel(agent, node.address, HOST) as idle:
        under_way = pool.submit(chat, node, agent)
        providers.stand_in.wait_for(lambda: len(providers.stand_in.seen()) == 1, "the call")
        stopped = node.begin_stop()
        eventually(lambda: node.node.state == "draining", "the drain")
        assert ask_chat(idle).code == "not_ready"
        providers.stand_in.pace.open()
        assert under_way.result(30).status == 200
        stopped.result(30)
    assert len(providers.stand_in.seen()) == 1


def test_an_unwritable_database_refuses_everything(new_product: Callable[..., Product], providers: Providers) -> None:
    """A limit on file sizes stands for a full disk, which root could write to as well."""
    product = new_product().start()
    agent = product.agent("agent", cap_usd="5")

    def ask() -> Answer:
        with Wire.tunnel(agent, product.proxy_address, HOST, timeout=15) as wire:
            return ask_chat(wire)

    assert ask().status == 200
    eventually(lambda: product.spend("agent")["reserved_usd"] == 0, "the first call's result")
    for pid in product.pids():
        psutil.Process(pid).rlimit(psutil.RLIMIT_FSIZE, (4096, psutil.RLIM_INFINITY))
    started = time.monotonic()
    answer = ask()
    assert time.monotonic() - started < SOON_S
    assert (answer.status, answer.code) == (503, "store_unavailable")
    assert answer.header("retry-after") is None
    for pid in product.pids():
        psutil.Process(pid).rlimit(psutil.RLIMIT_FSIZE, (psutil.RLIM_INFINITY, psutil.RLIM_INFINITY))
    assert ask().code == "store_unavailable", "a latched store does not come back by itself"
    assert len(providers.stand_in.seen()) == 1
    product.kill()
    product.start()
    assert ask().status == 200


# mutants: builds that fail open, which this suite must catch


def let_everything_through(proxy: ProxyNode) -> None:
    """A gate that fails open."""

    async def request_hook(flow: http.HTTPFlow) -> None:
        flow.response = None

    gate = next(addon for addon in proxy.addons if isinstance(addon, Gate))
    gate.request = request_hook  # type: ignore[method-assign]


def without_interlock(proxy: ProxyNode) -> None:
    """A build that forgot the interlock."""
    proxy.addons[:] = [addon for addon in proxy.addons if not isinstance(addon, Interlock)]


def test_the_interlock_stops_a_gate_that_fails_open(inside: Callable[..., InsideNode], providers: Providers) -> None:
    node = inside(change=let_everything_through)
    answer = chat(node, node.agent())
    assert answer.status in (403, 503)
    assert providers.stand_in.connections == 0


def test_the_suite_sees_a_build_that_fails_open(inside: Callable[..., InsideNode], providers: Providers) -> None:
    """Without gate and interlock a call does go through: what the tests above look at is able to fail."""

    def fail_open(proxy: ProxyNode) -> None:
        let_everything_through(proxy)
        without_interlock(proxy)

    node = inside(change=fail_open)
    assert chat(node, node.agent()).status == 200
    assert len(providers.stand_in.seen()) == 1


def test_a_request_changed_after_its_decision_is_taken_back(
    inside: Callable[..., InsideNode], providers: Providers
) -> None:
    class Editor:
        def request(self, flow: http.HTTPFlow) -> None:
            flow.request.path = "/v1/elsewhere"

    node = inside(change=at("last", Editor()))
    answer = chat(node, node.agent())
    assert answer.status in (403, 503)
    assert providers.stand_in.connections == 0
    assert_balanced(node)
