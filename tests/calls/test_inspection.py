"""Large requests are read by a process of its own, as small ones are read in place; whatever ends it, the call ends."""

from __future__ import annotations

import asyncio
import dataclasses
import os
import signal
from collections.abc import Iterator
from pathlib import Path

import psutil
import pytest

from douane.calls import inspection
from douane.calls.call import Call, new_call_id
from douane.calls.inspection import Inspection, Inspector, RuleSet, TooLargeToInspect, inspect, is_small
from douane.calls.node import load_rules
from douane.core.decision import Principal
from douane.core.pricing import Plan
from douane.core.refusal import RequestAmbiguous
from douane.core.request import RawRequest, semantic_digest

POLICY = Path(__file__).parents[2] / "policy"
MESSAGE = b'{"role":"user","content":"hi"}'


class Patience:
    def extend(self, seconds: float) -> None:
        """As long as it takes."""

    def restore(self) -> None:
        """And no longer."""


@pytest.fixture(scope="module")
def rules() -> RuleSet:
    return load_rules(POLICY)[1]


@pytest.fixture
def inspector() -> Iterator[Inspector]:
    made = Inspector()
    yield made
    made.close()


def chat(content: bytes, *more: tuple[bytes, bytes]) -> RawRequest:
    body = b'{"model":"gpt-4o-mini","max_tokens":9,"stream":true,"messages":[' + content + b"]}"
    headers = ((b"Host", b"api.openai.com"), (b"Content-Type", b"application/json"), *more)
    return RawRequest("https", "api.openai.com", 443, "POST", b"/v1/chat/completions", headers, body)


def call(raw: RawRequest, agent: str = "worker") -> Call:
    return Call(new_call_id(), Principal(agent, {}, None), raw, Patience(), asyncio.Event(), lambda: True)


def test_what_is_small() -> None:
    assert is_small(chat(MESSAGE))
    assert is_small(dataclasses.replace(chat(b""), body=b"", headers=((b"Content-Encoding", b"gzip"),)))
    assert is_small(chat(b'{"role":"user","content":"' + b"a" * 200_000 + b'"}'))
    assert not is_small(chat(b'{"role":"user","content":"' + b"a" * 300_000 + b'"}'))
    assert not is_small(chat(b",".join([MESSAGE] * 5_000)))
    assert not is_small(chat(MESSAGE, (b"Content-Encoding", b"gzip"))), "a kilobyte may become a megabyte"
    pack = b"PACK\0\0\0\2" + bytes(40_000)
    assert is_small(chat(pack[8:]))
    assert is_small(chat(pack[:20_000]))
    assert not is_small(chat(pack)), "a pack may be made to cost far more than its size"


async def test_a_large_request_is_read_as_a_small_one(rules: RuleSet, inspector: Inspector) -> None:
    raw = chat(b",".join([MESSAGE] * 20_000))
    found = await inspector.inspect(call(raw), rules)
    here = inspect(raw, rules.catalog, rules.prices)
    for name in ("classification", "plan", "forward", "digest"):
        assert getattr(found, name) == getattr(here, name)
    assert isinstance(found.plan, Plan)
    assert found.forward.body != raw.body, "usage is asked for"
    assert semantic_digest(found.request, "worker") == semantic_digest(here.request, "worker")
    assert found.request.raw.body is raw.body


async def test_new_rules_take_a_new_process(rules: RuleSet, inspector: Inspector) -> None:
    raw = chat(b",".join([MESSAGE] * 5_000))
    await inspector.inspect(call(raw), rules)
    (first,) = psutil.Process().children()
    await inspector.inspect(call(raw), rules)
    assert first.is_running()
    await inspector.inspect(call(raw), dataclasses.replace(rules, digest="another"))
    assert psutil.wait_procs([first], timeout=10)[1] == []


async def test_a_trap_in_a_large_request_is_found(rules: RuleSet, inspector: Inspector) -> None:
    with pytest.raises(RequestAmbiguous, match="same key twice"):
        await inspector.inspect(call(chat(b",".join([MESSAGE] * 5_000) + b',{"a":1,"a":2}')), rules)


async def test_arguments_without_end_are_refused(rules: RuleSet, inspector: Inspector) -> None:
    body = b'{"title":"x","labels":[' + b",".join([b'"a"'] * 60_000) + b"]}"
    headers = ((b"Content-Type", b"application/json"),)
    raw = RawRequest("https", "api.github.com", 443, "POST", b"/repos/a/b/issues", headers, body)
    with pytest.raises(TooLargeToInspect):
        await inspector.inspect(call(raw), rules)


async def test_what_takes_too_long_is_refused_and_its_process_ends(
    rules: RuleSet, inspector: Inspector, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(inspection, "PATIENCE_S", 0.5)
    with pytest.raises(TooLargeToInspect):
        await inspector.inspect(call(chat(b",".join([MESSAGE] * 900_000))), rules)
    assert psutil.wait_procs(psutil.Process().children(), timeout=10)[1] == []
    monkeypatch.undo()
    assert isinstance(await inspector.inspect(call(chat(b",".join([MESSAGE] * 5_000))), rules), Inspection)


async def test_a_call_that_is_cancelled_leaves_the_lane_free(rules: RuleSet, inspector: Inspector) -> None:
    small = call(chat(b",".join([MESSAGE] * 5_000)))
    await inspector.inspect(small, rules)
    (process,) = psutil.Process().children()
    process.suspend()
    task = asyncio.create_task(inspector.inspect(small, rules))
    while not inspector._lane.locked():
        await asyncio.sleep(0)
    task.cancel()
    with pytest.raises(asyncio.CancelledError):
        await task
    assert isinstance(await inspector.inspect(small, rules), Inspection)


async def test_a_killed_process_costs_its_call_and_no_other(rules: RuleSet, inspector: Inspector) -> None:
    small = call(chat(b",".join([MESSAGE] * 5_000)))
    await inspector.inspect(small, rules)
    (process,) = psutil.Process().children()
    process.suspend()
    task = asyncio.create_task(inspector.inspect(small, rules))
    while not inspector._lane.locked():
        await asyncio.sleep(0)
    os.kill(process.pid, signal.SIGKILL)
    with pytest.raises(TooLargeToInspect):
        await task
    assert isinstance(await inspector.inspect(small, rules), Inspection)


async def test_agents_take_turns(rules: RuleSet, inspector: Inspector) -> None:
    order: list[str] = []

    async def one(agent: str) -> None:
        await inspector.inspect(call(chat(b",".join([MESSAGE] * 5_000)), agent), rules)
        order.append(agent)

    await asyncio.gather(*(one("greedy") for _ in range(6)), one("modest"))
    assert order.index("modest") <= 1
