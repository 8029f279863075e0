"""What a server says of its tools in its answer to `tools/list`: read however it arrives, and believed only upwards."""

from __future__ import annotations

import gzip
import json
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from douane.core.catalog.hints import MOST_TOOLS, Hints
from douane.core.tool import Classification, Tier
from support.requests import canonical, classified

URL = "https://tools.example/mcp"
LIST = {"jsonrpc": "2.0", "id": 1, "method": "tools/list"}


def answer(*tools: Any) -> bytes:
    return json.dumps({"jsonrpc": "2.0", "id": 1, "result": {"tools": tools}}).encode()


DANGEROUS = {"name": "tidy.all", "annotations": {"destructiveHint": True, "readOnlyHint": False}}
SAFE = {"name": "open_all", "annotations": {"destructiveHint": False, "readOnlyHint": True}}


def call(tool: str, url: str = URL) -> Classification:
    return classified("POST", url, json={**LIST, "method": "tools/call", "params": {"name": tool}})


def heard(hints: Hints, *pieces: bytes, status: int = 200, **fields: str) -> None:
    listener = hints.listener(canonical("POST", URL, json=LIST), classified("POST", URL, json=LIST))
    assert listener is not None
    listener.start(status, tuple((name.replace("_", "-").encode(), value.encode()) for name, value in fields.items()))
    for piece in pieces:
        listener.feed(piece)
    listener.feed(b"")


BODY = answer(SAFE, DANGEROUS, {"name": "plain"}, "no tool", {"annotations": {"destructiveHint": True}})
EVENT = b"event: message\r\ndata: " + BODY + b"\r\n\r\n"


@pytest.mark.parametrize(
    ("body", "fields"),
    [
        (BODY, {"content_type": "application/json"}),
        (b"[" + BODY + b"]", {"content_type": "application/json"}),
        (gzip.compress(BODY), {"Content_Type": "application/json", "Content_Encoding": "gzip"}),
        (b": hello\n\n" + EVENT, {"content_type": "text/event-stream"}),
        (gzip.compress(EVENT), {"content_type": "text/event-stream; charset=utf-8", "content_encoding": "gzip"}),
    ],
    ids=["json", "array", "gzip", "events", "events in gzip"],
)
@pytest.mark.parametrize("size", [1, 7, 100_000])
def test_a_tool_that_its_server_calls_destructive_is_raised(body: bytes, fields: dict[str, str], size: int) -> None:
    hints = Hints()
    assert hints.raised(call("tidy.all")).tier is Tier.VISIBLE
    heard(hints, *[body[at : at + size] for at in range(0, len(body), size)], **fields)
    raised = hints.raised(call("tidy.all"))
    assert (raised.tool, raised.tier) == ("mcp.tools-example.tidy_all", Tier.IRREVERSIBLE)
    for tool in ("open_all", "plain"):
        assert hints.raised(call(tool)).tier is Tier.VISIBLE
    assert hints.raised(call("tidy.all", "https://other.example/mcp")).tier is Tier.VISIBLE


def test_an_event_is_read_before_the_stream_ends() -> None:
    hints = Hints()
    listener = hints.listener(canonical("POST", URL, json=LIST), classified("POST", URL, json=LIST))
    assert listener is not None
    listener.start(200, ((b"Content-Type", b"text/event-stream"),))
    listener.feed(EVENT)
    listener.feed(b": more")
    assert hints.raised(call("tidy.all")).tier is Tier.IRREVERSIBLE


def test_a_hint_lowers_nothing_and_an_operators_word_stands() -> None:
    hints = Hints()
    heard(hints, answer({"name": "delete_all", "annotations": {"readOnlyHint": True, "destructiveHint": False}}))
    assert hints.raised(call("delete_all")).tier is Tier.IRREVERSIBLE
    heard(hints, BODY)
    judged = Classification(**{**_members(call("tidy.all")), "evidence": "operator: it can be undone"})
    assert hints.raised(judged).tier is Tier.VISIBLE


def _members(found: Classification) -> dict[str, Any]:
    return {name: getattr(found, name) for name in Classification.__slots__}


def test_only_answers_that_list_tools_are_read() -> None:
    for method in ("ping", "tools/call", "resources/list"):
        body = {**LIST, "method": method, "params": {"name": "x"}}
        assert Hints().listener(canonical("POST", URL, json=body), classified("POST", URL, json=body)) is None
    both = [LIST, {**LIST, "method": "ping"}]
    assert Hints().listener(canonical("POST", URL, json=both), classified("POST", URL, json=both)) is not None


@pytest.mark.parametrize(
    ("pieces", "status", "fields"),
    [
        ((BODY,), 404, {}),
        ((BODY,), 200, {"content_encoding": "gzip"}),
        ((BODY,), 200, {"content_encoding": "rot13"}),
        ((BODY[:-1],), 200, {}),
        ((b" " * 600_000, b" " * 600_000, BODY), 200, {}),
        ((gzip.compress(b" " * 5_000_000 + BODY),), 200, {"content_encoding": "gzip"}),
    ],
    ids=["an error", "not gzip", "unknown", "cut", "too long", "a bomb"],
)
def test_what_cannot_be_read_tells_nothing(pieces: tuple[bytes, ...], status: int, fields: dict[str, str]) -> None:
    hints = Hints()
    heard(hints, *pieces, status=status, **fields)
    assert hints.raised(call("tidy.all")).tier is Tier.VISIBLE


def test_what_is_remembered_has_an_end() -> None:
    hints = Hints()
    hints.note("mcp.tools-example.tidy_all")
    for number in range(MOST_TOOLS):
        hints.note(f"mcp.x.{number}")
    assert hints.raised(call("tidy.all")).tier is Tier.VISIBLE
    assert len(hints._destructive) == MOST_TOOLS


@given(st.recursive(st.none() | st.booleans() | st.text(max_size=3), lambda inner: st.lists(inner, max_size=3) | (
    st.dictionaries(st.sampled_from(["result", "tools", "name", "annotations", "destructiveHint"]), inner)
)))  # fmt: skip
def test_no_answer_makes_it_raise(value: Any) -> None:
    heard(Hints(), json.dumps([value, "destructiveHint"]).encode())
