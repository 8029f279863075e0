"""`kill -9` of the whole node at random points under load: nothing goes unrecorded, nothing is lost.

`DOUANE_LONG=1` runs the 50 rounds that a release is held to.
"""

from __future__ import annotations

import json
import os
import random
import subprocess
import sys
import threading
import time
from collections import Counter
from collections.abc import Callable
from pathlib import Path

import pytest

from support.product import Agent, Product
from support.providers import Providers
from support.wire import ConnectionOver, Wire, request

pytestmark = pytest.mark.faults
ROUNDS = 50 if os.environ.get("DOUANE_LONG") else 4
LOOPS = 6
ROOT = Path(__file__).parents[2]
CHAT = {"model": "gpt-4.1-mini", "max_tokens": 500, "messages": [{"role": "user", "content": "hi"}]}


class Load:
    """Loops of marked calls until told to end; knows what was answered."""

    def __init__(self, product: Product, agent: Agent, number: int) -> None:
        self.answered: list[str] = []
        """Call ids of answers that arrived whole."""
        self._end = threading.Event()
        self._lock = threading.Lock()
        self._warm = threading.Semaphore(0)
        self._product, self._agent, self._number = product, agent, number
        self._threads = [threading.Thread(target=self._loop, args=(loop,)) for loop in range(LOOPS)]

    def start(self) -> None:
        """Start, and return once every loop had an answer."""
        for thread in self._threads:
            thread.start()
        for _ in self._threads:
            assert self._warm.acquire(timeout=60)

    def join(self) -> None:
        """Let the loops end."""
        self._end.set()
        for thread in self._threads:
            thread.join(60)

    def _loop(self, loop: int) -> None:
        count = 0
        priced = loop % 2 == 0
        host = "api.openai.com" if priced else "api.github.com"
        try:
            with Wire.tunnel(self._agent, self._product.proxy_address, host, timeout=30) as wire:
                while not self._end.is_set():
                    mark = f"X-Mark: {self._number}-{loop}-{count}"
                    if priced:
                        wanted = CHAT | ({"stream": True} if count % 2 else {})
                        body = json.dumps(wanted).encode()
                        fields = ("Content-Type: application/json", mark)
                        answer = wire.ask(request("POST", host, "/v1/chat/completions", body, *fields))
                    else:
                        answer = wire.ask(request("GET", host, "/repos/acme/website", b"", mark))
                    assert answer.status == 200, answer
                    if answer.whole:
                        call = (answer.header("douane-decision") or "").rpartition("call=")[2]
                        with self._lock:
                            self.answered.append(call)
                    if count == 0:
                        self._warm.release()
                    count += 1
        except (ConnectionOver, OSError):
            pass


@pytest.mark.timeout(60 * ROUNDS)
def test_nothing_is_sent_unrecorded_and_nothing_is_lost(
    new_product: Callable[..., Product], providers: Providers, tmp_path: Path
) -> None:
    product = new_product().start()
    agent = product.agent("worker", cap_usd="1000")
    chance = random.Random(20_261_123)
    answered: list[str] = []
    for number in range(ROUNDS):
        load = Load(product, agent, number)
        load.start()
        time.sleep(chance.uniform(0.05, 0.6))  # the random point, not a synchronisation
        product.kill()
        load.join()
        answered += load.answered
        product.start()
        assert product.spend("worker")["reserved_usd"] == 0, "a reservation stayed open"
    intents = product.log(kind="intent", agent="worker", limit=100_000)
    results = product.log(kind="result", agent="worker", limit=100_000)
    calls = [record["call_id"] for record in intents]
    assert len(calls) == len(set(calls))
    marks = Counter(seen.header("x-mark") for seen in providers.stand_in.seen())
    assert max(marks.values()) == 1, "a call was sent twice"
    assert sum(marks.values()) <= len(calls), "the provider saw a call without an intent"
    assert set(answered) <= set(calls)
    assert sorted(record["call_id"] for record in results) == sorted(calls), "an intent without exactly one result"
    assert product.spend("worker")["settled_usd"] * 1e9 >= providers.bill.total_nano() - 1
    product.stop()
    verify(product, tmp_path / "bundle")


def verify(product: Product, bundle: Path) -> None:
    """Export the register and have the other pair of eyes verify it with the node's own public key pinned."""
    export = [sys.executable, str(ROOT / "scripts" / "export_audit.py"), "--home", str(product.home), str(bundle)]
    done = subprocess.run(export, capture_output=True, text=True, timeout=120, check=False)
    assert done.returncode == 0, done.stdout + done.stderr
    command = [sys.executable, str(ROOT / "scripts" / "verify_audit.py"), str(bundle)]
    key = product.home / "register-key.pub"
    done = subprocess.run([*command, "--key", str(key)], capture_output=True, text=True, timeout=120, check=False)
    assert done.returncode == 0, done.stdout + done.stderr
