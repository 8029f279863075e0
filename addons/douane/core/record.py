"""The register's record: its kinds, its bytes, its hash.

A record is one compact JSON object: UTF-8, ASCII keys in order, no floats, |int| < 2⁵³; for this subset the encoding is
byte-equal to RFC 8785. Its bytes are stored, hashed and exported as they are; nobody writes them a second time.
"""

from __future__ import annotations

import re
from collections.abc import Mapping, Sequence
from enum import StrEnum
from typing import Any

import orjson
from blake3 import blake3

CHAIN_CONTEXT = "douane 2026 register record v1"
GENESIS_CONTEXT = "douane 2026 register genesis v1"

MAX_RECORD_BYTES = 65_535
"""Entry bundles of C2SP tiles give a record's length in two bytes."""

MAX_TEXT_CHARS = 512
"""Longer strings in a record are cut, their length said: the record fits however hostile its parts are."""

MAX_ITEMS = 32
MAX_INTEGER = 2**53 - 1

FORMAT = 1


class Kind(StrEnum):
    """What a record tells of."""

    GENESIS = "genesis"
    BOOT = "boot"
    ADMIN = "admin"
    INTENT = "intent"
    REFUSAL = "refusal"
    RESULT = "result"
    REVIEW = "review"
    VERDICT = "verdict"
    EXPIRY = "expiry"
    ADJUST = "adjust"
    POLICY = "policy"
    CLOCK = "clock"
    HEARTBEAT = "heartbeat"
    ERASE = "erase"
    PRUNE = "prune"
    EXPORT = "export"
    GAP = "gap"


class RecordInvalid(ValueError):
    """What was given cannot be a record; nothing was written."""


def record_hash(data: bytes) -> str:
    """The hash that the next record carries as `prev`, and receipts show (hex)."""
    return blake3(data, derive_key_context=CHAIN_CONTEXT).hexdigest()


def genesis_prev(origin: str, public_key: bytes) -> str:
    """`prev` of the first record (hex): no other origin and no other key can begin with it."""
    return blake3(origin.encode() + b"\n" + public_key, derive_key_context=GENESIS_CONTEXT).hexdigest()


def commitment(value: bytes, salt: bytes) -> str:
    """What a record holds in place of a value (hex): keyed BLAKE3, its key a salt of 32 bytes kept beside it.

    With value and salt erased nothing can be guessed from it, and the chain stays whole.
    """
    return blake3(value, key=salt).hexdigest()


def encode(record: Mapping[str, Any]) -> bytes:
    """The bytes of a record; `RecordInvalid` unless it keeps the format's rules."""
    _check(record)
    try:
        data = orjson.dumps(record, option=orjson.OPT_SORT_KEYS)
    except orjson.JSONEncodeError as error:
        raise RecordInvalid(str(error)) from error
    if len(data) > MAX_RECORD_BYTES:
        raise RecordInvalid(f"a record of {len(data)} bytes; at most {MAX_RECORD_BYTES} fit")
    return data


def decode(data: bytes) -> dict[str, Any]:
    """The record that some bytes are; `RecordInvalid` unless they are exactly what `encode` writes."""
    try:
        record = orjson.loads(data)
    except orjson.JSONDecodeError as error:
        raise RecordInvalid(str(error)) from error
    if not isinstance(record, dict) or encode(record) != data:
        raise RecordInvalid("not the canonical bytes of a record")
    return record


def _check(value: Any) -> None:
    kind = type(value)
    if kind is str or kind is bool:
        return
    if kind is int:
        if not -MAX_INTEGER <= value <= MAX_INTEGER:
            raise RecordInvalid(f"an integer beyond 2⁵³: {value}")
    elif kind is dict:
        for key, member in value.items():
            if type(key) is not str or not key.isascii():
                raise RecordInvalid(f"a key that is not ASCII: {key!r}")
            if type(member) is not str:
                _check(member)
    elif kind is list:
        for member in value:
            _check(member)
    else:
        raise RecordInvalid(f"a record cannot hold {kind.__name__}")


_LONE_SURROGATE = re.compile("[\ud800-\udfff]")


def text(value: str, limit: int = MAX_TEXT_CHARS) -> str:
    """A string as a record may hold it: valid Unicode, cut to `limit` characters with its length said."""
    if len(value) > limit:
        value = f"{value[:limit]}… ({len(value)} characters)"
    return value if value.isascii() else _LONE_SURROGATE.sub("\ufffd", value)


def texts(values: Sequence[str]) -> list[str]:
    """Several strings as a record may hold them; of more than 32 the number left out is said."""
    cut = [text(value, 128) for value in values[:MAX_ITEMS]]
    return cut if len(values) <= MAX_ITEMS else [*cut, f"… and {len(values) - MAX_ITEMS} more"]


def integer(value: int) -> int:
    """An integer as a record may hold it: what is beyond 2⁵³ becomes the bound."""
    return max(-MAX_INTEGER, min(MAX_INTEGER, value))


def present(members: Mapping[str, Any]) -> dict[str, Any]:
    """The members that say something: a record leaves out what is None."""
    return {name: value for name, value in members.items() if value is not None}
