"""Top-level members are read as the bytes pass, and cut or added without touching any other byte."""

from __future__ import annotations

import itertools
import json
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from douane.core.usage.members import MOST_VALUE_BYTES, MemberScanner, spans, with_value, without_member

LEAVES = st.one_of(st.none(), st.booleans(), st.integers(-(10**9), 10**9), st.text(max_size=12))
VALUES = st.recursive(
    LEAVES,
    lambda inner: st.one_of(
        st.lists(inner, max_size=4),
        st.dictionaries(st.sampled_from(["usage", "id", "a", '"', "\\", "{", "é"]), inner, max_size=4),
    ),
    max_leaves=12,
)
OBJECTS = st.dictionaries(st.sampled_from(["usage", "id", "model", "choices", 'us"age', "ü", "\\"]), VALUES, max_size=6)


@st.composite
def documents(draw: st.DrawFn) -> tuple[dict[str, Any], bytes]:
    value = draw(OBJECTS)
    compact = draw(st.booleans())
    text = json.dumps(
        value,
        ensure_ascii=draw(st.booleans()),
        indent=None if compact else draw(st.sampled_from([None, 1])),
        separators=(",", ":") if compact else None,
    )
    return value, text.encode("utf-8", "surrogatepass")


def no_surrogates(document: tuple[dict[str, Any], bytes]) -> bool:
    try:
        document[1].decode()
    except UnicodeDecodeError:
        return False
    return True


@given(documents().filter(no_surrogates), st.lists(st.integers(0, 400), max_size=10))
def test_wanted_members_are_found_wherever_the_chunks_fall(
    document: tuple[dict[str, Any], bytes], cuts: list[int]
) -> None:
    value, text = document
    scanner = MemberScanner("usage", "id", "ü", 'us"age')
    edges = [0, *sorted(min(cut, len(text)) for cut in cuts), len(text)]
    for start, end in itertools.pairwise(edges):
        scanner.feed(text[start:end])
    wanted = {name: member for name, member in value.items() if name in ("usage", "id", "ü", 'us"age')}
    assert scanner.members == wanted


@given(documents().filter(no_surrogates))
def test_cutting_a_member_leaves_the_others_byte_for_byte(document: tuple[dict[str, Any], bytes]) -> None:
    value, text = document
    cut = without_member(text, "usage")
    assert json.loads(cut) == {name: member for name, member in value.items() if name != "usage"}
    kept = [text[start:end].strip() for name, start, _, end in spans(text) if name != "usage"]
    assert kept == [cut[start:end].strip() for _, start, _, end in spans(cut)]


@given(documents().filter(no_surrogates))
def test_setting_a_member_leaves_the_others_byte_for_byte(document: tuple[dict[str, Any], bytes]) -> None:
    value, text = document
    changed = with_value(text, "usage", b"[1]")
    assert json.loads(changed) == value | {"usage": [1]}
    kept = [text[start:end].strip() for name, start, _, end in spans(text) if name != "usage"]
    assert kept == [changed[start:end].strip() for name, start, _, end in spans(changed) if name != "usage"]


def test_a_key_written_with_escapes_is_the_same_key() -> None:
    scanner = MemberScanner("usage")
    scanner.feed(b'{"\\u0075sage": {"a": 1}}')
    assert scanner.members == {"usage": {"a": 1}}


def test_memory_stays_small_for_a_body_of_any_size() -> None:
    scanner = MemberScanner("usage", "id")
    scanner.feed(b'{"id":"x","choices":[{"content":"')
    for _ in range(500):
        scanner.feed(b'\\"usage\\":{}' * 10_000)
        assert scanner._value is None
        assert len(scanner._key or b"") < 100
    scanner.feed(b'"}],"usage":{"prompt_tokens":1}}')
    assert scanner.members == {"id": "x", "usage": {"prompt_tokens": 1}}


def test_a_wanted_member_that_is_too_large_is_let_go() -> None:
    scanner = MemberScanner("usage", "id")
    scanner.feed(b'{"usage":"' + b"x" * (MOST_VALUE_BYTES + 1) + b'","id":1}')
    assert scanner.members == {"id": 1}


@pytest.mark.parametrize(
    "text", [b"", b"[]", b'[{"usage":1}]', b'"usage"', b'{"usage":', b"not json", b'{"a":{"usage":1}}']
)
def test_what_is_no_object_with_the_member_has_none(text: bytes) -> None:
    scanner = MemberScanner("usage")
    scanner.feed(text)
    assert scanner.members == {}


@given(st.binary(max_size=300))
def test_no_bytes_make_it_raise(text: bytes) -> None:
    scanner = MemberScanner("usage")
    scanner.feed(text)
    scanner.feed(text)
    assert scanner.members.keys() <= {"usage"}
