"""A metered WebSocket, frame by frame: nothing unread passes, nothing is kept, whatever goes wrong closes it."""

from __future__ import annotations

import asyncio
import contextlib
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import orjson
import pytest
from mitmproxy import http
from websockets.frames import Opcode

from douane.gateway.gate import Interlock
from douane.gateway.internals.websocket import MOST_MESSAGE_BYTES
from douane.gateway.master import ProxyNode
from support.inside import InsideNode
from support.product import Agent, eventually
from support.providers import Providers
from support.sockets import HANDSHAKE, TARGET, Socket
from support.wire import ConnectionOver, Wire, request

pytestmark = pytest.mark.faults
WORST_NANO = 32_768 * 32_000 + 4_096 * 64_000
CREATE = orjson.dumps({"type": "response.create", "event_id": "ü" * 8})


@pytest.fixture
def inside(providers: Providers, tmp_path: Path) -> Iterator[Callable[..., InsideNode]]:
    made: list[InsideNode] = []

    def make(**options: Any) -> InsideNode:
        made.append(InsideNode(providers, tmp_path / str(len(made)), **options))
        return made[-1]

    yield make
    for node in made:
        node.stop()


type Connect = Callable[..., Socket]


@pytest.fixture
def connect(inside: Callable[..., InsideNode]) -> Iterator[Connect]:
    """Sockets that are gone before their node stops, which would wait for them."""
    made: list[Socket] = []

    def make(node: InsideNode, *fields: str, agent: Agent | None = None) -> Socket:
        made.append(Socket(agent or node.agent(), node.address, *fields))
        return made[-1]

    yield make
    for socket in made:
        socket.close()


def assert_balanced(node: InsideNode) -> None:
    """Every intent has exactly one result and nothing stays reserved."""
    eventually(lambda: node.spend_nano()[1] == 0, "the end of the reservations")
    eventually(lambda: len(node.records("result")) == len(node.records("intent")), "a result for each intent")


def test_a_message_in_many_frames_is_read_as_one_and_sent_in_them(
    inside: Callable[..., InsideNode], connect: Connect, providers: Providers
) -> None:
    node = inside()
    socket = connect(node)
    first, second, third = CREATE[:9], CREATE[9:45], CREATE[45:]
    assert second.decode("utf-8", "ignore").encode() != second, "a frame has to end within a letter"
    socket.frames(first, second, b"")
    socket.ping()
    assert any(frame.opcode is Opcode.PONG for frame in socket.received())
    assert providers.realtime.frames == [], "part of a message was sent before all of it was read"
    assert len(node.records("intent")) == 2
    socket.frames(third, first=0)
    socket.until("response.done")
    frames = providers.realtime.frames
    assert (b"".join(data for data, _ in frames), [ends for _, ends in frames]) == (CREATE, [False, False, True])
    socket.close()
    assert_balanced(node)
    assert node.spend_nano()[0] == providers.bill.total_nano() > 0


def test_nothing_is_kept_of_what_passed(
    inside: Callable[..., InsideNode], connect: Connect, providers: Providers
) -> None:
    flows: list[http.HTTPFlow] = []
    keeper = type("Keeper", (), {"websocket_start": lambda _, flow: flows.append(flow)})()
    keeper.request = flows.append
    node = inside(change=at("first", keeper))
    socket = connect(node)
    for _ in range(3):
        socket.event("response.create")
        socket.until("response.done")
    (flow,) = flows
    assert flow.websocket is not None
    assert len(flow.websocket.messages) <= 1
    socket.close()
    assert_balanced(node)


def test_compression_is_neither_asked_for_nor_taken(
    inside: Callable[..., InsideNode], connect: Connect, providers: Providers
) -> None:
    node = inside()
    agent = node.agent()
    wanted = "Sec-WebSocket-Extensions: permessage-deflate; client_max_window_bits"
    socket = connect(node, wanted, agent=agent)
    (seen,) = providers.stand_in.seen()
    assert seen.header("sec-websocket-extensions") is None
    assert socket.answer.header("sec-websocket-extensions") is None
    socket.close()
    providers.realtime.extension = "permessage-deflate"
    with Wire.tunnel(agent, node.address, "api.openai.com") as wire:
        wire.send(request("GET", "api.openai.com", TARGET, b"", *HANDSHAKE, wanted))
        with pytest.raises(ConnectionOver) as over:
            wire.head()
        assert b"101" not in over.value.got
    assert_balanced(node)
    assert node.spend_nano() == (0, 0)


@pytest.mark.parametrize("pieces", [1, 3], ids=["one-frame", "fragments"])
def test_a_message_that_is_too_large_closes_the_socket(
    inside: Callable[..., InsideNode], connect: Connect, providers: Providers, pieces: int
) -> None:
    node = inside()
    socket = connect(node)
    with contextlib.suppress(OSError):  # it is closed while the message is still on its way
        socket.frames(*[b'"' * (MOST_MESSAGE_BYTES // pieces + 1)] * pieces)
    _, close = socket.end()
    assert close is not None
    assert close.code == 1009
    assert providers.realtime.frames == []
    assert_balanced(node)
    assert node.spend_nano() == (0, 0)


@pytest.mark.parametrize(
    ("content", "is_text"),
    [
        (b'{"type": "session.update", "type": "response.create"}', True),
        (b'{"type": "x", "Type": "response.create"}', True),
        (b'{"type": "input_audio_buffer.append", "audio": "' + b"A" * 400_000 + b'", "type": "response.create"}', True),
        (b"[]", True),
        (b"response.create", True),
        (CREATE, False),
    ],
    ids=["twice", "two-spellings", "twice-in-a-large-one", "list", "no-json", "binary"],
)
def test_what_two_programs_could_read_differently_is_not_sent(
    inside: Callable[..., InsideNode], connect: Connect, providers: Providers, content: bytes, is_text: bool
) -> None:
    node = inside()
    socket = connect(node)
    socket.until("session.created")
    if is_text:
        socket.frames(content)
    else:
        socket.binary(content)
    (event,), close = socket.end()
    assert (event["type"], event["error"]["code"]) == ("error", "protocol_forbidden")
    assert close is not None
    assert close.code == 1008
    assert providers.realtime.frames == []
    assert_balanced(node)


def at(position: str, addon: object) -> Callable[[ProxyNode], None]:
    """Put an addon first, or last, where the gate has let the message pass already."""

    def change(proxy: ProxyNode) -> None:
        last = next(number for number, addon in enumerate(proxy.addons) if isinstance(addon, Interlock))
        proxy.addons.insert(0 if position == "first" else last, addon)

    return change


def saboteur(kind: str, *, from_client: bool) -> object:
    """An addon that fails at the first message from one side that is no greeting."""

    async def fails(flow: http.HTTPFlow) -> None:
        assert flow.websocket is not None
        message = flow.websocket.messages[-1]
        if message.from_client is not from_client or b"session.created" in message.content:
            return
        if kind == "raises":
            raise ValueError(kind)
        if kind == "hangs":
            await asyncio.Event().wait()
        if kind == "exits":
            raise SystemExit(3)
        task = asyncio.current_task()
        assert task is not None
        task.cancel()
        await asyncio.sleep(0)

    return type("Saboteur", (), {"websocket_message": staticmethod(fails)})()


@pytest.mark.parametrize("position", ["first", "last"])
@pytest.mark.parametrize("kind", ["raises", "hangs", "exits", "is cancelled"])
@pytest.mark.parametrize("from_client", [True, False], ids=["sent", "received"])
def test_a_fault_in_the_hook_closes_the_socket_and_sends_nothing(
    inside: Callable[..., InsideNode],
    connect: Connect,
    providers: Providers,
    kind: str,
    position: str,
    from_client: bool,
) -> None:
    node = inside(change=at(position, saboteur(kind, from_client=from_client)))
    socket = connect(node)
    socket.until("session.created")
    socket.event("response.create")
    assert socket.end() == ([], None)
    assert_balanced(node)
    settled_nano, _ = node.spend_nano()
    if from_client:
        assert providers.realtime.got == []
    assert settled_nano == (WORST_NANO if position == "last" or not from_client else 0)


def test_the_cap_is_kept_beside_the_agents_other_sockets(
    inside: Callable[..., InsideNode], connect: Connect, providers: Providers
) -> None:
    """Two sockets with room for one response at a time: the second one's request waits for the first one's end."""
    node = inside()
    agent = node.agent(cap_nano=2 * WORST_NANO + 50_000_000)
    one, other = connect(node, agent=agent), connect(node, agent=agent)
    providers.stand_in.pace.close()
    one.event("response.create")
    one.until("response.created")
    one.event("response.create")  # beside what is under way on the very same socket nobody can wait
    events, close = one.end()
    assert [event["error"]["code"] for event in events if event["type"] == "error"] == ["cost_limit_exceeded"]
    assert close is not None
    providers.stand_in.pace.open()
    other.event("response.create")
    other.until("response.done")
    other.close()
    assert_balanced(node)
    assert sum(node.spend_nano()) <= 2 * WORST_NANO + 50_000_000
