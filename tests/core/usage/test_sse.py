"""Streams are cut at their events wherever the chunks fall, and no byte is lost."""

from __future__ import annotations

import itertools

from hypothesis import given
from hypothesis import strategies as st

from douane.core.usage.sse import MOST_EVENT_BYTES, EventSplitter, Piece, data_of

LINE_ENDS = st.sampled_from([b"\n", b"\r\n", b"\r"])


def split(chunks: list[bytes]) -> list[Piece]:
    splitter = EventSplitter()
    pieces = [piece for chunk in chunks for piece in splitter.feed(chunk)]
    rest = splitter.rest()
    return [*pieces, rest] if rest.data else pieces


@st.composite
def streams(draw: st.DrawFn) -> tuple[list[bytes], list[bytes]]:
    """(events, each with its blank line; the same bytes in chunks)."""
    events = []
    for _ in range(draw(st.integers(0, 6))):
        end = draw(LINE_ENDS)
        lines = draw(
            st.lists(st.sampled_from([b"data: {}", b"data:x", b": note", b"event: a", "data: é…".encode()]), min_size=1)
        )
        events.append(end.join(lines) + end + end)
    # A lone \r after \n is one more line end, so events of different kinds are kept apart by a comment.
    text = b"".join(events)
    cuts = sorted(draw(st.lists(st.integers(0, len(text)), max_size=12)))
    chunks = [text[a:b] for a, b in zip([0, *cuts], [*cuts, len(text)], strict=True)]
    return events, chunks


@given(streams())
def test_events_are_the_same_wherever_the_chunks_fall(stream: tuple[list[bytes], list[bytes]]) -> None:
    events, chunks = stream
    assert [piece.data for piece in split(chunks)] == events
    assert all(piece.whole for piece in split(chunks))


@given(st.binary(max_size=200), st.lists(st.integers(0, 200), max_size=8))
def test_no_byte_is_lost_whatever_comes(text: bytes, cuts: list[int]) -> None:
    edges = [0, *sorted(cuts), len(text)]
    chunks = [text[a:b] for a, b in itertools.pairwise(edges)]
    assert b"".join(piece.data for piece in split(chunks)) == text[: max(edges)]


def test_an_event_that_is_too_large_passes_in_parts_and_the_next_one_is_whole_again() -> None:
    splitter = EventSplitter()
    huge = b"data: " + b"x" * (3 * MOST_EVENT_BYTES) + b"\n\n"
    pieces: list[Piece] = []
    for at in range(0, len(huge), 65_536):
        pieces += splitter.feed(huge[at : at + 65_536])
        assert len(splitter._rest) <= MOST_EVENT_BYTES + 65_536
    pieces += splitter.feed(b"data: {}\n\n")
    assert b"".join(piece.data for piece in pieces) == huge + b"data: {}\n\n"
    assert [piece.data for piece in pieces if piece.whole] == [b"data: {}\n\n"]


def test_the_data_of_an_event() -> None:
    assert data_of(b"data: {}\n\n") == b"{}"
    assert data_of(b"data:{}\r\n\r\n") == b"{}"
    assert data_of(b": note\nevent: a\ndata: 1\ndata: 2\n\n") == b"1\n2"
    assert data_of(b": note\n\n") == b""
    assert data_of(b"event: data: x\ndata: y\n\n") == b"y"
