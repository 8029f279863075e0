"""The record's bytes: one form, nothing else; and the commitments."""

from __future__ import annotations

import json
from typing import Any

import pytest
from blake3 import blake3
from hypothesis import given
from hypothesis import strategies as st

from douane.core.record import (
    MAX_INTEGER,
    MAX_RECORD_BYTES,
    RecordInvalid,
    commitment,
    decode,
    encode,
    genesis_prev,
    integer,
    record_hash,
    text,
    texts,
)

KEYS = st.text(st.characters(min_codepoint=32, max_codepoint=126), max_size=8)
SCALARS = st.one_of(
    st.text(st.characters(exclude_categories=("Cs",)), max_size=20),
    st.booleans(),
    st.integers(-MAX_INTEGER, MAX_INTEGER),
)
RECORDS = st.dictionaries(
    KEYS,
    st.recursive(
        SCALARS, lambda inner: st.lists(inner, max_size=3) | st.dictionaries(KEYS, inner, max_size=3), max_leaves=8
    ),
    max_size=6,
)


@given(RECORDS)
def test_the_encoding_is_that_of_sorted_compact_json(record: dict[str, Any]) -> None:
    data = encode(record)
    assert data == json.dumps(record, ensure_ascii=False, sort_keys=True, separators=(",", ":")).encode()
    assert decode(data) == record


@pytest.mark.parametrize(
    "record",
    [{"a": 1.0}, {"a": None}, {"a": float("nan")}, {"a": 2**53}, {"a": -(2**53)}, {"é": 1}, {"a": b""}, {"a": {1: 2}}],
    ids=str,
)
def test_what_a_record_cannot_hold_is_refused(record: dict[str, Any]) -> None:
    with pytest.raises(RecordInvalid):
        encode(record)


@pytest.mark.parametrize(
    "data",
    [b"", b"[]", b'{"b":1,"a":2}', b'{"a": 1}', b'{"a":1,"a":1}', b'{"a":1.0}', b'{"a":1}\n', b'{"a":"\\u0061"}'],
)
def test_other_bytes_are_no_record(data: bytes) -> None:
    with pytest.raises(RecordInvalid):
        decode(data)


def test_a_record_has_a_limit() -> None:
    fits = {"a": "x" * (MAX_RECORD_BYTES - 8)}
    assert len(encode(fits)) == MAX_RECORD_BYTES
    with pytest.raises(RecordInvalid, match="65536 bytes"):
        encode({"a": fits["a"] + "x"})


@given(st.text(max_size=2000))
def test_any_text_can_be_held_after_cutting(value: str) -> None:
    held = text(value)
    assert decode(encode({"a": held, "b": texts([value] * 100)}))["a"] == held
    assert len(held) <= 512 + 24


def test_numbers_beyond_the_bound_become_the_bound() -> None:
    assert integer(2**70) == MAX_INTEGER
    assert integer(-(2**70)) == -MAX_INTEGER
    assert integer(7) == 7


def test_hashes_are_bound_to_their_purpose() -> None:
    data = encode({"a": 1})
    assert record_hash(data) == blake3(data, derive_key_context="douane 2026 register record v1").hexdigest()
    assert record_hash(data) != blake3(data).hexdigest()
    assert genesis_prev("douane/a", b"k" * 32) != genesis_prev("douane/b", b"k" * 32)
    assert genesis_prev("douane/a", b"k" * 32) != genesis_prev("douane/a", b"l" * 32)


def test_a_commitment_depends_on_value_and_salt() -> None:
    assert commitment(b"v", b"s" * 32) == commitment(b"v", b"s" * 32)
    assert len({commitment(b"v", b"s" * 32), commitment(b"w", b"s" * 32), commitment(b"v", b"t" * 32)}) == 3
