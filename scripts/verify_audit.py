#!/usr/bin/env python3
"""Verify an exported Douane register: `verify_audit.py BUNDLE --key KEY`.

Another pair of eyes on purpose: one file, nothing of the package, only the standard library (`blake3` makes it faster).
Exit 0 verified · 1 tampered · 2 incomplete · 3 no trusted key · 64 wrong use.
"""

from __future__ import annotations

import argparse
import base64
import binascii
import csv
import hashlib
import json
import sys
import time
from bisect import bisect_right
from collections import Counter
from collections.abc import Iterator
from dataclasses import dataclass, field
from datetime import UTC, datetime
from pathlib import Path
from typing import Any, NoReturn

VERIFIED, TAMPERED, INCOMPLETE, NO_TRUSTED_KEY, WRONG_USE = 0, 1, 2, 3, 64

CHAIN_CONTEXT = "douane 2026 register record v1"
GENESIS_CONTEXT = "douane 2026 register genesis v1"
MAX_RECORD_BYTES = 65_535
MAX_VALUE_LINE_BYTES = 4 << 20
MAX_INTEGER = 2**53 - 1
KINDS = frozenset(
    (
        "genesis",
        "boot",
        "admin",
        "intent",
        "refusal",
        "result",
        "review",
        "verdict",
        "expiry",
        "adjust",
        "policy",
        "clock",
        "heartbeat",
        "erase",
        "prune",
        "export",
        "gap",
    )
)


class Tampered(Exception):
    """The bundle is not what was written; the message names the first bad record."""


class Incomplete(Exception):
    """Something that is needed to verify is not there."""


# BLAKE3 (the library if it is there, else by the specification)

_IV = (0x6A09E667, 0xBB67AE85, 0x3C6EF372, 0xA54FF53A, 0x510E527F, 0x9B05688C, 0x1F83D9AB, 0x5BE0CD19)
_PERMUTATION = (2, 6, 3, 10, 7, 0, 4, 13, 1, 11, 12, 5, 9, 14, 15, 8)
_START, _END, _PARENT, _ROOT, _KEYED, _CONTEXT, _MATERIAL = 1, 2, 4, 8, 16, 32, 64
_MASK = 0xFFFFFFFF
_ROUND = (
    (0, 4, 8, 12), (1, 5, 9, 13), (2, 6, 10, 14), (3, 7, 11, 15),
    (0, 5, 10, 15), (1, 6, 11, 12), (2, 7, 8, 13), (3, 4, 9, 14),
)  # fmt: skip


def _compress(cv: tuple[int, ...], block: bytes, counter: int, flags: int) -> list[int]:
    m = [int.from_bytes(block[at : at + 4], "little") for at in range(0, 64, 4)] if len(block) == 64 else None
    if m is None:
        padded = block.ljust(64, b"\0")
        m = [int.from_bytes(padded[at : at + 4], "little") for at in range(0, 64, 4)]
    v = [*cv, *_IV[:4], counter & _MASK, counter >> 32, len(block), flags]
    for number in range(7):
        for lane, (a, b, c, d) in enumerate(_ROUND):
            v[a] = (v[a] + v[b] + m[2 * lane]) & _MASK
            x = v[d] ^ v[a]
            v[d] = (x >> 16 | x << 16) & _MASK
            v[c] = (v[c] + v[d]) & _MASK
            x = v[b] ^ v[c]
            v[b] = (x >> 12 | x << 20) & _MASK
            v[a] = (v[a] + v[b] + m[2 * lane + 1]) & _MASK
            x = v[d] ^ v[a]
            v[d] = (x >> 8 | x << 24) & _MASK
            v[c] = (v[c] + v[d]) & _MASK
            x = v[b] ^ v[c]
            v[b] = (x >> 7 | x << 25) & _MASK
        if number < 6:
            m = [m[at] for at in _PERMUTATION]
    return [v[at] ^ v[at + 8] for at in range(8)]


def _words(data: bytes) -> tuple[int, ...]:
    return tuple(int.from_bytes(data[at : at + 4], "little") for at in range(0, 32, 4))


def _bytes(words: list[int]) -> bytes:
    return b"".join(word.to_bytes(4, "little") for word in words)


def _blake3_subtree(data: bytes, first_chunk: int, key: tuple[int, ...], flags: int, root: int) -> list[int]:
    if len(data) <= 1024:
        cv: list[int] = list(key)
        blocks = [data[at : at + 64] for at in range(0, len(data), 64)] or [b""]
        for number, block in enumerate(blocks):
            last = number == len(blocks) - 1
            mark = (_START if number == 0 else 0) | ((_END | root) if last else 0)
            cv = _compress(tuple(cv), block, first_chunk, flags | mark)
        return cv
    chunks = (len(data) + 1023) // 1024
    left = 1 << ((chunks - 1).bit_length() - 1)
    children = _bytes(_blake3_subtree(data[: left * 1024], first_chunk, key, flags, 0))
    children += _bytes(_blake3_subtree(data[left * 1024 :], first_chunk + left, key, flags, 0))
    return _compress(key, children, 0, flags | _PARENT | root)


class SlowBlake3:
    """BLAKE3 in plain Python: the same digests, a thousand times slower."""

    @staticmethod
    def plain(data: bytes) -> str:
        """Plain hash (hex)."""
        return _bytes(_blake3_subtree(data, 0, _IV, 0, _ROOT)).hex()

    @staticmethod
    def keyed(data: bytes, key: bytes) -> str:
        """Keyed hash (hex)."""
        return _bytes(_blake3_subtree(data, 0, _words(key), _KEYED, _ROOT)).hex()

    @staticmethod
    def derived(data: bytes, context: str) -> str:
        """Hash in the key derivation mode (hex)."""
        key = _blake3_subtree(context.encode(), 0, _IV, _CONTEXT, _ROOT)
        return _bytes(_blake3_subtree(data, 0, tuple(key), _MATERIAL, _ROOT)).hex()


try:
    from blake3 import blake3 as _blake3

    class Blake3(SlowBlake3):
        """BLAKE3 by the library."""

        @staticmethod
        def plain(data: bytes) -> str:
            """Plain hash (hex)."""
            return _blake3(data).hexdigest()

        @staticmethod
        def keyed(data: bytes, key: bytes) -> str:
            """Keyed hash (hex)."""
            return _blake3(data, key=key).hexdigest()

        @staticmethod
        def derived(data: bytes, context: str) -> str:
            """Hash in the key derivation mode (hex)."""
            return _blake3(data, derive_key_context=context).hexdigest()

except ImportError:
    Blake3 = SlowBlake3  # type: ignore[assignment, misc]


# Ed25519 (RFC 8032 § 5.1.7)

_P = 2**255 - 19
_L = 2**252 + 27742317777372353535851937790883648493
_D = -121665 * pow(121666, -1, _P) % _P
_I = pow(2, (_P - 1) // 4, _P)
type _Point = tuple[int, int, int, int]


def _add(a: _Point, b: _Point) -> _Point:
    e, f = (a[1] - a[0]) * (b[1] - b[0]) % _P, (a[1] + a[0]) * (b[1] + b[0]) % _P
    g, h = 2 * a[3] * b[3] * _D % _P, 2 * a[2] * b[2] % _P
    e, f, g, h = f - e, h - g, h + g, f + e
    return e * f % _P, g * h % _P, f * g % _P, e * h % _P


def _times(scalar: int, point: _Point) -> _Point:
    total: _Point = (0, 1, 1, 0)
    while scalar:
        if scalar & 1:
            total = _add(total, point)
        point = _add(point, point)
        scalar >>= 1
    return total


def _point(data: bytes) -> _Point | None:
    y = int.from_bytes(data, "little")
    sign, y = y >> 255, y & (2**255 - 1)
    if y >= _P:
        return None
    square = (y * y - 1) * pow(_D * y * y + 1, -1, _P) % _P
    x = pow(square, (_P + 3) // 8, _P)
    if (x * x - square) % _P:
        x = x * _I % _P
    if (x * x - square) % _P or (x == 0 and sign):
        return None
    if x & 1 != sign:
        x = _P - x
    return x, y, 1, x * y % _P


_BASE = _point((4 * pow(5, -1, _P) % _P).to_bytes(32, "little"))


def ed25519_verifies(public: bytes, message: bytes, signature: bytes) -> bool:
    """Whether a signature is good."""
    if len(public) != 32 or len(signature) != 64 or _BASE is None:
        return False
    a, r = _point(public), _point(signature[:32])
    s = int.from_bytes(signature[32:], "little")
    if a is None or r is None or s >= _L:
        return False
    k = int.from_bytes(hashlib.sha512(signature[:32] + public + message).digest(), "little") % _L
    left, right = _times(s, _BASE), _add(r, _times(k, a))
    return not (left[0] * right[2] - right[0] * left[2]) % _P and not (left[1] * right[2] - right[1] * left[2]) % _P


# Keys and heads (C2SP signed-note, tlog-checkpoint)


def _base64(text: str) -> bytes:
    try:
        raw = base64.b64decode(text, validate=True)
    except (binascii.Error, ValueError):
        raise ValueError("not Base64") from None
    if base64.b64encode(raw).decode() != text:
        raise ValueError("not canonical Base64")
    return raw


@dataclass(frozen=True)
class Key:
    """A public key by name: `NAME+ID+KEY`."""

    name: str
    public: bytes

    @classmethod
    def parse(cls, text: str) -> Key:
        """A key from its word; `ValueError` if it is none."""
        name, _, rest = text.strip().partition("+")
        identifier, _, encoded = rest.partition("+")
        raw = _base64(encoded)
        if not name or raw[:1] != b"\x01" or len(raw) != 33:
            raise ValueError("not an Ed25519 key of the form NAME+ID+KEY")
        key = cls(name, raw[1:])
        if key.identifier.hex() != identifier:
            raise ValueError("the key does not belong to its name")
        return key

    @property
    def identifier(self) -> bytes:
        """Four bytes that name the key in a signature."""
        return hashlib.sha256(self.name.encode() + b"\n\x01" + self.public).digest()[:4]


@dataclass(frozen=True)
class SignedHead:
    """A signed note over origin, size and root."""

    origin: str
    size: int
    root: bytes
    signatures: tuple[tuple[str, bytes], ...]

    @property
    def text(self) -> bytes:
        """What is signed."""
        return f"{self.origin}\n{self.size}\n{base64.b64encode(self.root).decode()}\n".encode()

    def is_signed_by(self, key: Key) -> bool:
        """Whether the key signed it."""
        return self.origin == key.name and any(
            name == key.name and raw[:4] == key.identifier and ed25519_verifies(key.public, self.text, raw[4:])
            for name, raw in self.signatures
        )


def parse_heads(text: str, where: str) -> list[SignedHead]:
    """The notes of a file: three lines, an empty one, signatures; empty lines between notes."""
    lines = text.split("\n")
    heads = []
    at = 0
    while at < len(lines):
        if not lines[at]:
            at += 1
            continue
        end = at + 4
        while end < len(lines) and lines[end].startswith("— "):
            end += 1
        head = _head(lines[at:end])
        if head is None:
            raise Tampered(f"{where}, line {at + 1}: not a signed head")
        heads.append(head)
        at = end
    return heads


def _head(lines: list[str]) -> SignedHead | None:
    if len(lines) < 5 or lines[3] or not (lines[1].isascii() and lines[1].isdecimal()) or len(lines[1]) > 18:
        return None
    try:
        root = _base64(lines[2])
        signed = [line[2:].partition(" ") for line in lines[4:]]
        signatures = tuple((name, _base64(encoded)) for name, _, encoded in signed)
    except ValueError:
        return None
    return SignedHead(lines[0], int(lines[1]), root, signatures) if len(root) == 32 else None


class Tree:
    """RFC 6962 root over the records so far."""

    def __init__(self) -> None:
        self.size = 0
        self._peaks: list[bytes] = []

    def append(self, data: bytes) -> None:
        """Add a record."""
        node = hashlib.sha256(b"\x00" + data).digest()
        size = self.size
        while size & 1:
            node = hashlib.sha256(b"\x01" + self._peaks.pop() + node).digest()
            size >>= 1
        self._peaks.append(node)
        self.size += 1

    def root(self) -> bytes:
        """The root."""
        if not self._peaks:
            return hashlib.sha256().digest()
        *left, node = self._peaks
        for peak in reversed(left):
            node = hashlib.sha256(b"\x01" + peak + node).digest()
        return node


# Records


def _no_duplicates(pairs: list[tuple[str, Any]]) -> dict[str, Any]:
    members = dict(pairs)
    if len(members) != len(pairs):
        raise ValueError("a member twice")
    return members


def _no_float(_: str) -> NoReturn:
    raise ValueError("a number that is no integer")


def parse_record(data: bytes, number: int) -> dict[str, Any]:
    """One record; `Tampered` unless the bytes are in the one form that a record can have."""
    try:
        record = json.loads(
            data.decode(), object_pairs_hook=_no_duplicates, parse_float=_no_float, parse_constant=_no_float
        )
        canonical = json.dumps(record, ensure_ascii=False, sort_keys=True, separators=(",", ":"))
        same = canonical.encode() == data
    except (ValueError, RecursionError) as error:
        raise Tampered(f"record {number} is not a record: {error}") from None
    if not isinstance(record, dict) or not same:
        raise Tampered(f"record {number} was changed: it is not in the form in which records are written")
    return record


def integer(record: dict[str, Any], name: str, default: int | None = None) -> int:
    """An integer member."""
    value = record.get(name, default)
    if type(value) is not int or abs(value) > MAX_INTEGER:
        raise Tampered(f"record {record.get('seq')} has no proper {name}")
    return value


@dataclass
class Account:
    """One agent's money as the records tell it."""

    cum_nano: int = 0
    reserved_nano: int = 0
    charges: int = 0
    times: list[int] = field(default_factory=list)
    totals: list[int] = field(default_factory=list)

    def before(self, ts: int) -> int:
        """What had been spent at a time."""
        at = bisect_right(self.times, ts)
        return self.totals[at - 1] if at else 0


class Story:
    """What the records must tell besides hanging together: one result to an intent, sums, caps, approvals."""

    def __init__(self) -> None:
        self.kinds: Counter[str] = Counter()
        self.counters: dict[str, int] = {}
        self.open: dict[str, tuple[int, str, int, str | None]] = {}
        self.deferred: dict[str, tuple[int, str, int]] = {}
        self.drawn: dict[str, dict[str, int | None]] = {}
        self.seen_calls = 0
        self.accounts: dict[str, Account] = {}
        self.reviews: dict[str, str] = {}
        self.gaps: list[int] = []
        self.unknown: Counter[str] = Counter()
        self.first_us = self.last_us = 0

    def add(self, record: dict[str, Any]) -> None:
        """Check one record against those before it."""
        seq, kind = record["seq"], record.get("kind")
        if type(kind) is not str:
            raise Tampered(f"record {seq} has no kind")
        self.kinds[kind] += 1
        if kind not in KINDS:
            self.unknown[kind] += 1
        self.last_us = integer(record, "at_us")
        self.first_us = self.first_us or self.last_us
        if "agent" in record:
            agent = record["agent"]
            due = self.counters.get(agent, 0) + 1
            if integer(record, "n") != due and not self.gaps:
                raise Tampered(f"record {seq} is number {record['n']} of agent {agent}, {due} was due")
            self.counters[agent] = integer(record, "n")
        if kind == "gap":
            self.gaps.append(seq)
        step = getattr(self, f"_{kind}", None)
        if step is not None and not self.gaps:
            step(record, seq)

    def _account(self, record: dict[str, Any]) -> Account:
        return self.accounts.setdefault(record.get("agent", ""), Account())

    def _intent(self, record: dict[str, Any], seq: int) -> None:
        call, review, reserve = record.get("call_id"), record.get("review_id"), integer(record, "reserve_nano")
        if type(call) is not str or call in self.open:
            raise Tampered(f"record {seq} sends a call that is under way already")
        if review is not None:
            if self.reviews.get(review) != "approved":
                raise Tampered(f"record {seq} sends a held call without an approval that was still to be spent")
            self.reviews[review] = "dispatching"
        account = self._account(record)
        shared = self._shared(record, seq, "budgets")
        counted: dict[str, int | None] = dict.fromkeys(shared)
        for cap in (*([record] if "cap_nano" in record else []), *record.get("budgets", ())):
            amount = reserve
            if "amount_nano" in cap:
                amount = integer(cap, "amount_nano")
                if "account" not in cap or amount < 0 or counted[cap["account"]] not in (None, amount):
                    raise Tampered(f"record {seq} counts two amounts against one account")
                counted[cap["account"]] = amount
            held = shared.get(cap.get("account"), account)
            settled = held.cum_nano - held.before(integer(record, "ledger_us") - integer(cap, "window_us"))
            if settled != integer(cap, "settled_nano") or held.reserved_nano != integer(cap, "reserved_nano"):
                raise Tampered(f"record {seq} tells another balance than the records before it add up to")
            if settled + held.reserved_nano + amount > integer(cap, "cap_nano"):
                raise Tampered(f"record {seq} admits a call over a cap")
        account.reserved_nano += reserve
        for name, held in shared.items():
            held.reserved_nano += reserve if counted[name] is None else counted[name] or 0
        self.open[call] = (seq, record.get("agent", ""), reserve, review)
        self.drawn[call] = counted
        self.seen_calls += 1

    def _result(self, record: dict[str, Any], seq: int) -> None:
        intent = self.open.pop(record.get("call_id", ""), None)
        if intent is None:
            raise Tampered(f"record {seq} is a result without an intent, or a second one")
        at, agent, reserve, review = intent
        if record.get("intent") != at or record.get("agent") != agent or record.get("review_id") != review:
            raise Tampered(f"record {seq} is not the result of the intent it names")
        if review is not None:
            self.reviews[review] = str(record.get("review_state"))
        if record.get("deferred") is True:
            if integer(record, "reserve_nano") != reserve or integer(record, "charge_nano") != 0:
                raise Tampered(f"record {seq} defers another amount than record {at} reserved")
            self.deferred[record["call_id"]] = (seq, agent, reserve)
            self._counted(record, seq, at)
            return
        self._counted(record, seq, at)
        self._book(record, seq, at, reserve)

    def _adjust(self, record: dict[str, Any], seq: int) -> None:
        deferred = self.deferred.pop(record.get("call_id", ""), None)
        if deferred is None or record.get("agent") != deferred[1]:
            raise Tampered(f"record {seq} settles what no record deferred")
        self._book(record, seq, deferred[0], deferred[2])

    def _shared(self, record: dict[str, Any], seq: int, member: str) -> dict[str, Account]:
        """The shared accounts that a record tells of."""
        told = record.get(member, [])
        if type(told) is not list or any(type(each) is not dict for each in told):
            raise Tampered(f"record {seq} has no proper {member}")
        names = [each["account"] for each in told if "account" in each]
        if any(type(name) is not str or not name.startswith("@") for name in names):
            raise Tampered(f"record {seq} names an account that is none")
        return {name: self.accounts.setdefault(name, Account()) for name in names}

    def _counted(self, record: dict[str, Any], seq: int, at: int) -> None:
        """Book what a call moved, which is all that it set aside or nothing."""
        shared, drawn = self._shared(record, seq, "shared"), self.drawn[record["call_id"]]
        for each in record.get("shared", ()):
            amount = drawn.pop(each.get("account"), None) if "charge_nano" in each else None
            if amount is not None:
                charge = integer(each, "charge_nano")
                if charge not in (0, amount):
                    raise Tampered(f"record {seq} books another amount than record {at} set aside")
                self._book_to(shared[each["account"]], each, seq, amount, charge)
        if any(amount is not None for amount in drawn.values()):
            raise Tampered(f"record {seq} leaves open what record {at} set aside")

    def _book(self, record: dict[str, Any], seq: int, at: int, reserve: int) -> None:
        shared = self._shared(record, seq, "shared")
        told = [each for each in record.get("shared", ()) if "charge_nano" not in each]
        if set(self.drawn.pop(record["call_id"], {})) != {each.get("account") for each in told}:
            raise Tampered(f"record {seq} books to other accounts than record {at} drew on")
        charge = self._charge(record, seq, at, reserve)
        for each in told:
            self._book_to(shared[each["account"]], each, seq, reserve, charge)
        self._book_to(self._account(record), record, seq, reserve, charge)

    def _charge(self, record: dict[str, Any], seq: int, at: int, reserve: int) -> int:
        charge = integer(record, "charge_nano", 0)
        if integer(record, "reserve_nano", 0) != reserve or charge < 0:
            raise Tampered(f"record {seq} releases another amount than record {at} reserved")
        if integer(record, "overrun_nano", 0) != max(0, charge - reserve):
            raise Tampered(f"record {seq} tells a wrong overrun")
        return charge

    def _book_to(self, account: Account, record: dict[str, Any], seq: int, reserve: int, charge: int) -> None:
        account.reserved_nano -= reserve
        account.cum_nano += charge
        if "cum_nano" in record and record["cum_nano"] != str(account.cum_nano):
            raise Tampered(f"record {seq} tells another total than the charges before it add up to")
        if charge:
            ts = integer(record, "ledger_us")
            if "cum_nano" not in record or (account.times and ts <= account.times[-1]):
                raise Tampered(f"record {seq} books a charge out of order")
            account.times.append(ts)
            account.totals.append(account.cum_nano)
            account.charges += 1

    def _review(self, record: dict[str, Any], seq: int) -> None:
        review = record.get("review_id")
        if type(review) is not str or review in self.reviews:
            raise Tampered(f"record {seq} opens a review that there is already")
        self.reviews[review] = "pending"

    def _verdict(self, record: dict[str, Any], seq: int) -> None:
        if self.reviews.get(record.get("review_id", "")) != "pending" or not record.get("reviewer"):
            raise Tampered(f"record {seq} is a verdict on a review that was not pending")
        self.reviews[record["review_id"]] = str(record.get("outcome"))

    def _expiry(self, record: dict[str, Any], seq: int) -> None:
        if self.reviews.get(record.get("review_id", "")) not in {"pending", "approved"}:
            raise Tampered(f"record {seq} expires a review that was not open")
        self.reviews[record["review_id"]] = "expired"


# The bundle


class Progress:
    """A line on the terminal for what takes long."""

    def __init__(self, total: int, quiet: bool) -> None:
        self._total = max(1, total)
        self._quiet = quiet or not sys.stderr.isatty()
        self._next = time.monotonic() + 0.5

    def show(self, done: int) -> None:
        """Say how far it is, twice a second."""
        if not self._quiet and time.monotonic() >= self._next:
            self._next = time.monotonic() + 0.5
            sys.stderr.write(f"\r{min(100, 100 * done // self._total):3d} % verified ")
            sys.stderr.flush()

    def end(self) -> None:
        """Clear the line."""
        if not self._quiet:
            sys.stderr.write("\r\x1b[K")


def read_lines(path: Path, limit: int) -> Iterator[bytes]:
    """Lines of a file; `Tampered` for one that is cut short or longer than it can be."""
    number = 0
    with path.open("rb") as file:
        while line := file.readline(limit + 2):
            if not line.endswith(b"\n"):
                raise Tampered(f"{path.name}: record {number} is cut short or too long")
            yield line[:-1]
            number += 1


class Values:
    """The values beside the register, read in step with the records that commit to them."""

    def __init__(self, path: Path) -> None:
        self._lines = read_lines(path, MAX_VALUE_LINE_BYTES) if path.exists() else iter(())
        self._line = 0
        self._next = self._read()
        self.matched = self.absent = 0

    def _read(self) -> tuple[int, str, bytes, bytes] | None:
        line = next(self._lines, None)
        if line is None:
            return None
        self._line += 1
        try:
            members = json.loads(line)
            seq, name, salt = members["seq"], members["name"], bytes.fromhex(members["salt"])
            if type(seq) is int and type(name) is str and len(members) == 4:
                return seq, name, salt, members["value"].encode()
        except (ValueError, TypeError, KeyError, AttributeError, RecursionError):
            pass
        raise Tampered(f"values.jsonl, line {self._line}: not a value")

    def check(self, record: dict[str, Any]) -> None:
        """Check the values that a record commits to, as far as they are there."""
        committed = record.get("committed", {})
        if type(committed) is not dict:
            raise Tampered(f"record {record['seq']} does not commit properly")
        found = set()
        while self._next is not None and self._next[0] <= record["seq"]:
            seq, name, salt, value = self._next
            if seq != record["seq"] or name not in committed or name in found:
                raise Tampered(f"values.jsonl, line {self._line}: record {seq} does not commit to this {name}")
            if len(salt) != 32 or Blake3.keyed(value, salt) != committed[name]:
                raise Tampered(f"record {seq}: its {name} in values.jsonl were changed, or their salt")
            found.add(name)
            self._next = self._read()
        self.matched += len(found)
        self.absent += len(committed) - len(found)

    def end(self) -> None:
        """Nothing may be left over."""
        if self._next is not None:
            raise Tampered(f"values.jsonl, line {self._line}: a value of record {self._next[0]}, which is not there")


CSV_COLUMNS = (
    *("seq", "time", "kind", "agent", "tool", "tier", "host", "method", "outcome", "rule", "code", "call_id"),
    *("review_id", "reviewer", "status", "charge_usd", "count"),
)


class ForPeople:
    """`records.csv` and `manifest.json`, which repeat the records; checked because these are what people open."""

    def __init__(self, bundle: Path) -> None:
        path = bundle / "records.csv"
        self._rows = csv.reader(_text_lines(path), strict=True) if path.is_file() else None
        self._wrong: str | None = None
        path = bundle / "manifest.json"
        try:
            self._manifest = json.loads(path.read_text()) if path.is_file() else None
        except ValueError:
            raise Tampered("manifest.json is no JSON any more") from None
        self._said: dict[str, Any] = {"size": 0, "first": None, "last": None, "kinds": {}, "agents": {}, "gaps": []}
        self._compare(list(CSV_COLUMNS), "its first row is not the columns' names")

    def add(self, record: dict[str, Any]) -> None:
        """Compare a record's row, and count the record."""
        said = self._said
        said["size"] += 1
        if type(record.get("at_us")) is not int:
            return
        time = datetime.fromtimestamp(record["at_us"] / 1e6, UTC).isoformat(timespec="microseconds")
        said["first"], said["last"] = said["first"] or time, time
        for name, what in (("kinds", "kind"), ("agents", "agent")):
            if what in record:
                said[name][record[what]] = said[name].get(record[what], 0) + 1
        if record["kind"] == "gap":
            said["gaps"].append(record["seq"])
        shown = {**record, "time": time}
        if "charge_nano" in record:
            whole, part = divmod(record["charge_nano"], 10**9)
            shown["charge_usd"] = f"{whole}.{part:09d}"
        row = [_cell(shown.get(column)) for column in CSV_COLUMNS]
        self._compare(row, f"the row of record {record['seq']} does not say what the record says")

    def _compare(self, row: list[str] | None, wrong: str) -> None:
        """Keep the first difference: what is wrong with a record itself is told first."""
        if self._rows is None or self._wrong is not None:
            return
        try:
            found = next(self._rows, None)
        except (csv.Error, UnicodeDecodeError):
            found = []
        if found != row:
            self._wrong = f"records.csv: {wrong}"

    def end(self, key: Key) -> None:
        """Nothing may be left over, and the manifest has to fit."""
        self._compare(None, f"rows after that of record {self._said['size'] - 1}, the last")
        if self._wrong is not None:
            raise Tampered(self._wrong)
        if self._manifest is None:
            return
        for name, value in {"origin": key.name, **self._said}.items():
            if not isinstance(self._manifest, dict) or self._manifest.get(name) != value:
                raise Tampered(f"manifest.json: its `{name}` is not what the records say")


def _text_lines(path: Path) -> Iterator[str]:
    with path.open(encoding="utf-8", newline="") as file:
        yield from file


def _cell(value: Any) -> str:
    """As the export writes it: no cell that a spreadsheet takes for a formula."""
    if isinstance(value, str) and value[:1] in ("=", "+", "-", "@", "\t", "\r"):
        return f"'{value}"
    return "" if value is None else str(value)


@dataclass
class Verification:
    """What came out."""

    key: Key
    story: Story
    values: Values
    records: int = 0
    covered: int = 0
    heads: int = 0
    policies: int = 0
    missing: list[str] = field(default_factory=list)


def verify(bundle: Path, key: Key, kept: list[SignedHead], receipts: dict[int, str], quiet: bool) -> Verification:
    """Verify everything against one key; raises `Tampered` at the first bad record."""
    receipts = dict(receipts)
    records_path = bundle / "records.jsonl"
    if not records_path.is_file():
        raise Incomplete("the bundle has no records.jsonl")
    heads = _heads(bundle, key, kept)
    wanted: dict[int, bytes] = {}
    for head in heads:
        if wanted.setdefault(head.size, head.root) != head.root:
            raise Tampered(f"two heads were signed over {head.size} records that are not the same: the register forked")
    done = Verification(key, Story(), Values(bundle / "values.jsonl"), heads=len(wanted))
    tree = Tree()
    for_people = ForPeople(bundle)
    progress = Progress(records_path.stat().st_size, quiet)
    previous = Blake3.derived(key.name.encode() + b"\n" + key.public, GENESIS_CONTEXT)
    read = 0
    good_until = 0
    policies: dict[str, int] = {}
    for number, data in enumerate(read_lines(records_path, MAX_RECORD_BYTES)):
        record = parse_record(data, number)
        _check_place(record, number, previous)
        previous = Blake3.derived(data, CHAIN_CONTEXT)
        if receipts.pop(number, previous) != previous:
            raise Tampered(f"record {number} is not the one that the receipt was given for")
        done.story.add(record)
        done.values.check(record)
        for_people.add(record)
        if record["kind"] == "policy":
            policies[str(record.get("text_blake3"))] = number
        tree.append(data)
        if (root := wanted.get(tree.size)) is not None:
            if tree.root() != root:
                raise Tampered(_other_root(tree.size, good_until))
            good_until = tree.size
        read += len(data) + 1
        progress.show(read)
    progress.end()
    done.records, done.covered = tree.size, good_until
    if beyond := [size for size in wanted if size > tree.size]:
        raise Tampered(
            f"records {tree.size} to {max(beyond) - 1} were cut off: a head over {max(beyond)} records was signed, "
            f"the last record here is {tree.size - 1}"
        )
    done.missing += [f"record {seq}, for which a receipt was given" for seq in receipts]
    done.values.end()
    for_people.end(key)
    _check_policies(bundle, policies, done)
    return done


def _heads(bundle: Path, key: Key, kept: list[SignedHead]) -> list[SignedHead]:
    path = bundle / "checkpoints.txt"
    heads = parse_heads(path.read_text(), path.name) if path.is_file() else []
    for head in [*heads, *kept]:
        if not head.is_signed_by(key):
            raise Tampered(f"the head over {head.size} records is not signed by {key.name}, or was changed")
    return [*heads, *kept]


def _check_place(record: dict[str, Any], number: int, previous: str) -> None:
    seq = record.get("seq")
    if type(seq) is not int:
        raise Tampered(f"record {number} has no seq")
    if seq > number:
        raise Tampered(f"record {number} is missing: record {seq} stands in its place")
    if seq < number:
        raise Tampered(f"record {number}: record {seq} stands in its place (inserted, repeated or out of order)")
    if record.get("prev") != previous:
        if number == 0:
            raise Tampered("record 0 was changed, or the register was begun with another key")
        raise Tampered(f"record {number - 1} was changed, or record {number} where it refers to it")


def _other_root(size: int, good_until: int) -> str:
    if good_until == size - 1:
        return f"record {size - 1} is not the one that was signed"
    return (
        f"record {size - 1} was changed, or all of records {good_until} to {size - 1} were written anew: "
        f"the head signed over {size} records does not fit them"
    )


def _check_policies(bundle: Path, policies: dict[str, int], done: Verification) -> None:
    for digest, number in policies.items():
        path = bundle / "policies" / f"{digest}.json"
        if len(digest) != 64 or not digest.isalnum() or not path.is_file():
            done.missing.append(f"the policy of record {number}")
        elif Blake3.plain(path.read_bytes()) != digest:
            raise Tampered(f"policies/{path.name} is not the policy of record {number}")
        else:
            done.policies += 1


# What is said


def _time(us: int) -> str:
    try:
        return datetime.fromtimestamp(us / 1e6, UTC).strftime("%Y-%m-%d %H:%M:%S UTC")
    except (OverflowError, ValueError, OSError):
        return f"{us} µs"


def _dollars(nano: int) -> str:
    return f"${nano // 10**9:,}.{nano % 10**9 // 10**5:04d}"


def tell(done: Verification, pinned: bool, kept: int) -> list[str]:
    """The report; the last lines say what is missing."""
    story = done.story
    print(f"register   {done.key.name}, key {'pinned' if pinned else 'NOT pinned: taken from the bundle itself'}")
    print(f"records    {done.records:,}, {_time(story.first_us)} to {_time(story.last_us)}; chain and counters whole")
    print(f"heads      {done.heads} signed; the last covers {done.covered:,} of {done.records:,} records")
    print(f"calls      {story.seen_calls:,} intents, each with one result; {len(story.open)} under way at the end")
    charges = sum(account.charges for account in story.accounts.values())
    spent = sum(account.cum_nano for account in story.accounts.values())
    print(f"money      {charges:,} charges, {_dollars(spent)}; sums hold, no call was admitted over a cap")
    print(f"reviews    {len(story.reviews):,}; each held call that was sent had its own approval")
    print(f"values     {done.values.matched:,} match their commitments, {done.values.absent:,} withheld or erased")
    incomplete = [*done.missing]
    if not done.heads:
        incomplete.append("a signed head: nothing shows that the last records are the real ones")
    elif done.covered < done.records:
        incomplete.append(f"a signed head over records {done.covered} to {done.records - 1}")
    incomplete += [f"what belongs before record {seq}: the operator declared a gap there" for seq in story.gaps]
    incomplete += [
        f"knowledge of kind {kind} ({count} records): a newer verifier" for kind, count in story.unknown.items()
    ]
    print("not proven that no record followed the last head", end="")
    print(
        ", nor that the holder of the key did not write all of it anew" if not kept else ", beyond the head you kept",
        end="",
    )
    print(":\n           only a head kept outside the machine shows that (--head FILE)." if not kept else ".")
    print("           Nor that what the node recorded is all that the agents did, or that its clock was right.")
    return incomplete


def main(arguments: list[str] | None = None) -> int:
    """Run; returns the exit code."""
    parser = argparse.ArgumentParser(description="Verify an exported Douane register.", exit_on_error=False)
    parser.add_argument("bundle", type=Path, help="the folder that export_audit.py wrote")
    parser.add_argument(
        "--key", help="the register's public key (NAME+ID+KEY), or a file with it, from a source you trust"
    )
    parser.add_argument("--head", type=Path, action="append", default=[], help="a signed head that you kept yourself")
    parser.add_argument("--receipt", action="append", default=[], help="SEQ/HASH of a call's Douane-Receipt")
    parser.add_argument("--quiet", action="store_true", help="no progress")
    try:
        options = parser.parse_args(arguments)
    except argparse.ArgumentError as error:
        print(f"verify_audit: {error}", file=sys.stderr)
        return WRONG_USE
    try:
        return _main(options)
    except Tampered as error:
        print(f"TAMPERED: {error}.")
        return TAMPERED
    except Incomplete as error:
        print(f"INCOMPLETE: {error}.")
        return INCOMPLETE
    except (OSError, UnicodeDecodeError) as error:
        print(f"INCOMPLETE: cannot read the bundle: {error}.")
        return INCOMPLETE


def _main(options: argparse.Namespace) -> int:
    if not options.bundle.is_dir():
        raise Incomplete(f"{options.bundle} is not a folder")
    pinned = options.key is not None
    try:
        key = _pinned_key(options.key) if pinned else _bundle_key(options.bundle)
    except (ValueError, OSError) as error:
        print(f"NO TRUSTED KEY: {error}.")
        return NO_TRUSTED_KEY
    kept = [head for path in options.head for head in parse_heads(path.read_text(), str(path))]
    receipts = dict(_receipt(text) for text in options.receipt)
    done = verify(options.bundle, key, kept, receipts, options.quiet)
    incomplete = tell(done, pinned, len(kept))
    if not pinned:
        print(
            "NO TRUSTED KEY: the bundle fits the key inside it, which proves nothing; give the node's key with --key."
        )
        return NO_TRUSTED_KEY
    if incomplete:
        print(f"INCOMPLETE: what is there is sound; missing: {'; '.join(incomplete)}.")
        return INCOMPLETE
    print("VERIFIED: these are the records that were written, all of them up to the last signed head.")
    return VERIFIED


def _receipt(text: str) -> tuple[int, str]:
    seq, _, digest = text.partition("/")
    if not (seq.isascii() and seq.isdecimal() and len(seq) < 19 and len(digest) == 64):
        raise Incomplete(f"{text} is no receipt of the form SEQ/HASH")
    return int(seq), digest


def _pinned_key(given: str) -> Key:
    if "+" in given:
        return Key.parse(given)
    lines = [line for line in Path(given).read_text().splitlines() if line.strip()]
    if len(lines) != 1:
        raise ValueError(f"{given} must hold one key")
    return Key.parse(lines[0])


def _bundle_key(bundle: Path) -> Key:
    lines = [line for line in (bundle / "keys").read_text().splitlines() if line.strip()]
    if len(lines) != 1:
        raise ValueError("the bundle's file keys must hold one key")
    return Key.parse(lines[0])


if __name__ == "__main__":
    sys.exit(main())
