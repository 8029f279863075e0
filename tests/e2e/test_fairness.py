"""One agent misbehaves in every way it can; another's calls hardly notice."""

from __future__ import annotations

import contextlib
import resource
import socket
import subprocess
import sys
import time
from collections.abc import Callable, Iterator
from pathlib import Path

import pytest

from support.agents import AgentProcess
from support.policy import policy_folder
from support.product import Agent, Product, base_environment, client
from support.providers import Providers
from support.wire import Wire, request

pytestmark = [pytest.mark.faults, pytest.mark.alone]
CALLS = 300
LEAST_S = 2.0
TESTS = Path(__file__).parents[1]


@pytest.fixture
def sink(providers: Providers) -> Iterator[int]:
    """A provider for large bodies in a process of its own, so that it costs the tested calls nothing."""
    leaf = providers.authority.leaf_file(("sink.unmapped.example",))
    command = [sys.executable, str(TESTS / "support" / "sink.py"), str(leaf)]
    with subprocess.Popen(command, stdout=subprocess.PIPE) as process:
        assert process.stdout is not None
        yield int(process.stdout.readline())
        process.kill()


def p99_ms(product: Product, agent: Agent) -> float:
    taken: list[float] = []
    end = time.perf_counter() + LEAST_S
    with Wire.tunnel(agent, product.proxy_address, "api.github.com", timeout=30) as wire:
        while len(taken) < CALLS or time.perf_counter() < end:
            started = time.perf_counter()
            assert wire.ask(request("GET", "api.github.com", "/user")).status == 200
            taken.append(time.perf_counter() - started)
    return sorted(taken)[int(len(taken) * 0.99)] * 1e3


ABUSES = {
    "1,000 connections": "connections:4",
    "endless headers": "headers:4",
    "32 MB bodies": "bodies:6",
    "100 holds": "holds:4",
    "one-byte chunks": "chunks:6",
    "what is dear to read": "reading:4",
    "all of these": "connections:2,headers:2,bodies:4,holds:2",
}


@pytest.mark.timeout(300)
@pytest.mark.parametrize("abuse", ABUSES.values(), ids=ABUSES.keys())
def test_another_agent_hardly_notices(
    new_product: Callable[..., Product], providers: Providers, sink: int, tmp_path: Path, abuse: str
) -> None:
    flags = ("--connect-to", f"sink.unmapped.example:443=127.0.0.1:{sink}")
    product = new_product(policy=policy_folder(tmp_path / "policy", wait="60s"), flags=flags).start()
    good, bad = product.agent("good"), product.agent("bad")
    p99_ms(product, good)
    quiet_ms = p99_ms(product, good)
    words = [*client("abuser.py"), abuse, bad.name, bad.key, str(product.proxy_port), str(bad.ca)]
    abuser = AgentProcess(words, base_environment(product.home) | {"PYTHONPATH": str(TESTS)})
    try:
        assert abuser.next() == "begun"
        loud_ms = min(p99_ms(product, good) for _ in range(2))  # what else the machine does counts less
    finally:
        abuser.kill()
    assert loud_ms <= max(2 * quiet_ms, quiet_ms + 100), f"p99 {quiet_ms:.1f} ms alone, {loud_ms:.1f} ms beside"
    assert providers.stand_in.seen("DELETE") == []


def test_strangers_that_only_connect_shut_nobody_out(new_product: Callable[..., Product], providers: Providers) -> None:
    product = new_product().start()
    agent = product.agent("known")
    soft, hard = resource.getrlimit(resource.RLIMIT_NOFILE)
    resource.setrlimit(resource.RLIMIT_NOFILE, (hard, hard))
    try:
        with contextlib.ExitStack() as stack, Wire.tunnel(agent, product.proxy_address, "api.github.com") as earlier:
            assert earlier.ask(request("GET", "api.github.com", "/user")).status == 200
            for _ in range(4_200):
                stack.enter_context(socket.create_connection(product.proxy_address, 10))
            with Wire.tunnel(agent, product.proxy_address, "api.github.com") as wire:
                assert wire.ask(request("GET", "api.github.com", "/user")).status == 200
            assert earlier.ask(request("GET", "api.github.com", "/user")).status == 200
    finally:
        resource.setrlimit(resource.RLIMIT_NOFILE, (soft, hard))
