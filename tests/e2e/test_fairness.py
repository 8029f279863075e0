"""One agent misbehaves in every way it can; another's calls hardly notice."""

from __future__ import annotations

import contextlib
import socket
import ssl
import threading
import time
from collections.abc import Callable, Iterator
from pathlib import Path

import pytest

from support.policy import policy_folder
from support.product import Agent, Product
from support.providers import Providers
from support.wire import ConnectionOver, ConnectRefused, Wire, credential, request

pytestmark = pytest.mark.faults
CALLS = 300


def p99_ms(product: Product, agent: Agent) -> float:
    taken = []
    with Wire.tunnel(agent, product.proxy_address, "api.github.com", timeout=30) as wire:
        for _ in range(CALLS):
            started = time.perf_counter()
            assert wire.ask(request("GET", "api.github.com", "/user")).status == 200
            taken.append(time.perf_counter() - started)
    return sorted(taken)[int(CALLS * 0.99)] * 1e3


@contextlib.contextmanager
def abuse(product: Product, agent: Agent, work: Callable[[threading.Event], None], threads: int) -> Iterator[None]:
    end = threading.Event()
    running = [threading.Thread(target=_quietly, args=(work, end), daemon=True) for _ in range(threads)]
    for thread in running:
        thread.start()
    try:
        yield
    finally:
        end.set()
        for thread in running:
            thread.join(60)


def _quietly(work: Callable[[threading.Event], None], end: threading.Event) -> None:
    while not end.is_set():
        try:
            work(end)
        except (OSError, ssl.SSLError, ConnectionOver, ConnectRefused):
            end.wait(0.05)


def thousand_connections(product: Product, agent: Agent) -> Callable[[threading.Event], None]:
    def work(end: threading.Event) -> None:
        with contextlib.ExitStack() as stack:
            for _ in range(250):
                raw = stack.enter_context(socket.create_connection(product.proxy_address, 10))
                raw.sendall(b"CONNECT api.github.com:443 HTTP/1.1\r\n" + credential(agent) + b"\r\n")
                if end.is_set():
                    return
            end.wait()

    return work


def endless_headers(product: Product, agent: Agent) -> Callable[[threading.Event], None]:
    def work(end: threading.Event) -> None:
        with Wire.tunnel(agent, product.proxy_address, "api.github.com") as wire:
            wire.send(b"GET /user HTTP/1.1\r\nHost: api.github.com\r\n")
            while not end.is_set():
                wire.send(b"X-Pad: " + b"a" * 8_000 + b"\r\n")

    return work


def large_bodies(product: Product, agent: Agent) -> Callable[[threading.Event], None]:
    body = b'{"title": "' + b"a" * (32 * 1024 * 1024) + b'"}'
    sent = request("POST", "api.github.com", "/repos/acme/website/issues", body, "Content-Type: application/json")

    def work(end: threading.Event) -> None:
        with Wire.tunnel(agent, product.proxy_address, "api.github.com", timeout=60) as wire:
            for offset in range(0, len(sent), 1 << 18):
                if end.is_set():
                    return
                wire.send(sent[offset : offset + (1 << 18)])
            wire.read()

    return work


def hundred_holds(product: Product, agent: Agent) -> Callable[[threading.Event], None]:
    numbers = iter(range(1_000_000))

    def work(end: threading.Event) -> None:
        with contextlib.ExitStack() as stack:
            for _ in range(25):
                wire = stack.enter_context(Wire.tunnel(agent, product.proxy_address, "api.github.com"))
                wire.send(request("DELETE", "api.github.com", f"/repos/acme/hold-{next(numbers)}"))
                if end.is_set():
                    return
            end.wait(10)

    return work


ABUSES = {
    "1,000 connections": (thousand_connections, 4),
    "endless headers": (endless_headers, 4),
    "32 MB bodies": (large_bodies, 2),
    "100 holds": (hundred_holds, 4),
}


@pytest.mark.timeout(300)
@pytest.mark.parametrize(("kind", "threads"), ABUSES.values(), ids=ABUSES.keys())
def test_another_agent_hardly_notices(
    new_product: Callable[..., Product], providers: Providers, tmp_path: Path, kind: Callable[..., object], threads: int
) -> None:
    product = new_product(policy=policy_folder(tmp_path / "policy", wait="60s")).start()
    good, bad = product.agent("good"), product.agent("bad")
    p99_ms(product, good)
    quiet_ms = p99_ms(product, good)
    with abuse(product, bad, kind(product, bad), threads):  # type: ignore[arg-type]
        loud_ms = min(p99_ms(product, good) for _ in range(2))
    assert loud_ms <= max(2 * quiet_ms, quiet_ms + 100), f"p99 {quiet_ms:.1f} ms alone, {loud_ms:.1f} ms beside"
    assert providers.stand_in.seen("DELETE") == []
