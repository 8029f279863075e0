"""Lines, growing arrays and AWS messages are cut at their events wherever the chunks fall, and memory is bounded."""

from __future__ import annotations

import base64
import itertools
import json
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from douane.core.usage.framing import AwsMessages, Framing, splitter
from douane.core.usage.sse import MOST_EVENT_BYTES, Piece
from support.more_models import aws_message
from support.reading import dump

OBJECTS = st.dictionaries(
    st.text(max_size=4),
    st.recursive(
        st.none() | st.integers(0, 9) | st.text('ab"\\{}[],é\n', max_size=6),
        lambda inner: st.lists(inner, max_size=3) | st.dictionaries(st.text('a"}]', max_size=2), inner, max_size=2),
        max_leaves=6,
    ),
    max_size=3,
)
CUTS = st.lists(st.integers(0, 400), max_size=12)
FRAMINGS: tuple[Framing, ...] = ("lines", "array", "aws")


def split(framing: Framing, data: bytes, cuts: list[int]) -> tuple[list[Piece], Piece]:
    edges = [0, *sorted(min(cut, len(data)) for cut in cuts), len(data)]
    cutter = splitter(framing)
    pieces = [piece for start, end in itertools.pairwise(edges) for piece in cutter.feed(data[start:end])]
    return pieces, cutter.rest()


def payloads(framing: Framing, pieces: list[Piece]) -> list[Any]:
    cutter = splitter(framing)
    assert all(piece.whole for piece in pieces)
    return [json.loads(payload) for piece in pieces if (payload := cutter.payload(piece.data))]


@given(st.lists(OBJECTS, max_size=5), st.sampled_from([b"\n", b"\r\n"]), st.booleans(), CUTS)
def test_lines(objects: list[Any], end: bytes, ends: bool, cuts: list[int]) -> None:
    data = end.join(json.dumps(value).encode() for value in objects) + (end if ends else b"")
    pieces, rest = split("lines", data, cuts)
    assert b"".join(piece.data for piece in [*pieces, rest]) == data
    assert payloads("lines", [*pieces, rest]) == objects


@given(st.lists(OBJECTS, max_size=5), st.sampled_from([None, 0, 2]), st.booleans(), CUTS)
def test_the_elements_of_an_array(objects: list[Any], indent: int | None, ascii_only: bool, cuts: list[int]) -> None:
    data = json.dumps(objects, indent=indent, ensure_ascii=ascii_only).encode()
    pieces, rest = split("array", data, cuts)
    assert payloads("array", pieces) == objects
    assert rest.data == b""


@given(OBJECTS, CUTS)
def test_one_object_where_an_array_was_expected(value: Any, cuts: list[int]) -> None:
    pieces, _ = split("array", b" " + dump(value) + b"\r\n", cuts)
    assert payloads("array", pieces) == [value]


@given(st.lists(OBJECTS, max_size=5), CUTS, st.booleans())
def test_the_messages_of_aws(objects: list[Any], cuts: list[int], wrapped: bool) -> None:
    kind = "chunk" if wrapped else "metadata"
    inner = [{"bytes": base64.b64encode(dump(value)).decode()} if wrapped else value for value in objects]
    data = b"".join(aws_message(kind, dump(value)) for value in inner)
    pieces, rest = split("aws", data, cuts)
    assert b"".join(piece.data for piece in pieces) == data
    assert rest.data == b""
    assert payloads("aws", pieces) == (objects if wrapped else [{"metadata": value} for value in objects])


@pytest.mark.parametrize(
    ("kind", "payload"),
    [
        ("chunk", b'{"bytes": "%%%"}'),
        ("chunk", b'{"bytes": 7}'),
        ("chunk", b"{}"),
        ("chunk", b""),
        ("", b"{}"),
        ("a b", b"{}"),
    ],
)
def test_a_message_without_an_event_carries_nothing(kind: str, payload: bytes) -> None:
    (piece,), _ = split("aws", aws_message(kind, payload), [])
    assert AwsMessages().payload(piece.data) == b""


def test_an_exception_of_aws_is_no_event() -> None:
    message = aws_message("x", b'{"message": "slow down"}').replace(b"\x0b:event-type", b"\x0f:exception-type")
    length = len(message).to_bytes(4)
    headers = (int.from_bytes(message[4:8]) + 4).to_bytes(4)
    (piece,), _ = split("aws", length + headers + message[8:], [])
    assert piece.whole
    assert AwsMessages().payload(piece.data) == b""


@pytest.mark.parametrize("length", [0, 15, 1 << 30])
def test_what_is_no_event_stream_passes_unread(length: int) -> None:
    data = length.to_bytes(4) + b"x" * 1_000
    pieces, rest = split("aws", data, [5, 20, 300])
    assert b"".join(piece.data for piece in [*pieces, rest]) == data
    assert pieces
    assert not any(piece.whole for piece in pieces)


@given(st.sampled_from(FRAMINGS), st.binary(max_size=200), CUTS)
def test_nothing_raises_whatever_comes(framing: Framing, data: bytes, cuts: list[int]) -> None:
    pieces, rest = split(framing, data, cuts)
    assert sum(len(piece.data) for piece in [*pieces, rest]) <= len(data)


def test_an_event_that_is_too_large_passes_in_parts_and_the_next_one_is_whole_again() -> None:
    large = {"a": "x" * (3 * MOST_EVENT_BYTES)}
    small = {"b": 1}
    for framing, data in (
        ("lines", dump(large) + b"\n" + dump(small) + b"\n"),
        ("array", dump([large, small])),
        ("aws", aws_message("metadata", dump(large)) + aws_message("metadata", dump(small))),
    ):
        assert framing in FRAMINGS
        cutter = splitter(framing)
        pieces: list[Piece] = []
        for at in range(0, len(data), 65_536):
            pieces += cutter.feed(data[at : at + 65_536])
            assert len(cutter._rest) <= MOST_EVENT_BYTES + 65_536  # type: ignore[attr-defined]
        assert sum(not piece.whole for piece in pieces) >= 2, framing
        whole = [json.loads(cutter.payload(piece.data)) for piece in pieces if piece.whole]
        assert whole == [{"metadata": small} if framing == "aws" else small]
