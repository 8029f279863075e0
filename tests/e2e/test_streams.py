"""Streams in numbers and in size: the cap holds for hundreds at once, and memory does not grow with their length."""

from __future__ import annotations

import json
import re
import threading
from collections.abc import Callable
from pathlib import Path

import pytest

from support.agents import run_agent
from support.product import Product, client, eventually
from support.providers import Providers
from support.tools import need
from support.wire import Wire, request

CAP_NANO = 10**9
STREAMS = 200


@pytest.mark.sdk
@pytest.mark.timeout(300)
def test_hundreds_of_streams_at_once_spend_up_to_the_cap_and_no_further(product: Product, providers: Providers) -> None:
    agent, other = product.agent("crowd", cap_usd="1"), product.agent("bystander", cap_usd="1")
    found: list[list[dict[str, object]]] = []
    crowd = threading.Thread(
        target=lambda: found.append(run_agent(product, agent, [*client("openai_streams.py"), str(STREAMS), "50"]))
    )
    crowd.start()
    body = json.dumps({"model": "gpt-4.1-mini", "max_tokens": 50, "messages": []}).encode()
    answered = []
    while crowd.is_alive():
        with Wire.tunnel(other, product.proxy_address, "api.openai.com", timeout=30) as wire:
            fields = ("Authorization: Bearer sk-other", "Content-Type: application/json")
            answered.append(wire.ask(request("POST", "api.openai.com", "/v1/chat/completions", body, *fields)).status)
    crowd.join()
    (loops,) = found
    assert len(loops) == STREAMS
    assert set(answered) == {200}, "another agent was kept from its calls"
    bill_nano = providers.bill.total_nano("Bearer sk-streams")
    assert bill_nano <= CAP_NANO
    for loop in loops:
        decision = loop["decision"]
        assert isinstance(decision, dict)
        assert (loop["status"], decision["reason_codes"][0]) == (403, "cost_limit_exceeded")
        assert 0.8 <= decision["currentCostUsd"] <= 1.0, "refused before its time"
        assert loop["retried"] == "0"
    assert sum(int(str(loop["done"])) for loop in loops) * 6_000_000 == bill_nano
    eventually(lambda: product.spend("crowd")["settled_usd"] == pytest.approx(bill_nano / 1e9, abs=1e-12), "the charge")
    assert product.spend("crowd")["reserved_usd"] == 0


def test_a_stream_of_100_mb_takes_no_memory(
    new_product: Callable[..., Product], providers: Providers, tmp_path: Path
) -> None:
    product = new_product().start()
    agent = product.agent("reader", cap_usd="1")

    def stream(pieces: int) -> int:
        wanted = {"model": "gpt-4.1-mini", "max_tokens": 500, "messages": [], "stream": True}
        body = json.dumps(wanted | {"metadata": {"padding": pieces}})
        command = [need("curl"), "-sS", "--fail", "-H", "Content-Type: application/json", "-d", body]
        command += ["-o", str(tmp_path / "answer"), "-w", "%{size_download}"]
        (size,) = run_agent(product, agent, [*command, "https://api.openai.com/v1/chat/completions"])
        return int(str(size))

    stream(40)
    before = highest_mb(product)
    assert stream(1_600) > 100 * 10**6
    assert highest_mb(product) - before < 10
    eventually(lambda: product.spend("reader")["settled_usd"] == pytest.approx(0.0024, abs=1e-12), "both charges")


def highest_mb(product: Product) -> float:
    """The most memory that the node ever had resident."""
    assert product.process is not None
    status = Path(f"/proc/{product.process.pid}/status").read_text()
    found = re.search(r"VmHWM:\s+(\d+) kB", status)
    assert found is not None
    return int(found[1]) / 1024
