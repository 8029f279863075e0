"""Commits in a git pack, and which of them are proven to follow from which (gitformat-pack).

A commit's id is the hash of its content, and its content names its parents: whoever sends a pack can leave commits out,
but cannot forge a history that it does not have. What cannot be read or resolved here proves nothing, and that is all.
"""

from __future__ import annotations

import hashlib
import re
import zlib
from collections.abc import Iterable, Iterator

MOST_EFFORT = 512 * 1024 * 1024
"""Spent on one pack at most, in the time that inflating a byte takes: 2 to 5 ns, so one to three seconds."""
_LEAST_EFFORT = 2 * 1024 * 1024
_EFFORT_A_BYTE = 30
"""More for larger packs: text deflates to a fifth, and of a kilobyte of zeros ten bytes are left."""
_EFFORT_AN_OBJECT = 1_000
_EFFORT_A_COPY = 500
_EFFORT_A_STEP = 100

MOST_COMMIT_BYTES = 64 * 1024
"""A commit with a longer message proves nothing."""
_PIECE = 16 * 1024
_COMMIT, _PLAIN, _OFFSET_DELTA, _REFERENCE_DELTA = 1, (2, 3, 4), 6, 7
_HEAD_BYTES = 12
_PARENTS = {
    length: re.compile(rb"tree [0-9a-f]{%d}\n((?:parent [0-9a-f]{%d}\n)*)author " % (length, length))
    for length in (40, 64)
}


class _Unreadable(Exception):
    """Nothing behind this can be read, or it would take too long."""


class _Effort:
    """What may still be spent."""

    def __init__(self, most: int) -> None:
        self.left = most

    def spend(self, effort: int) -> None:
        self.left -= effort
        if self.left < 0:
            raise _Unreadable


def proven(pack: memoryview, steps: Iterable[tuple[bytes, bytes]]) -> set[tuple[bytes, bytes]]:
    """Of some steps from an old commit's id to a new one's, both in hexadecimal, those where the old is an ancestor."""
    open_steps = set(steps)
    found = {step for step in open_steps if step[0] == step[1]}
    open_steps -= found
    if not open_steps:
        return found
    effort = _Effort(min(MOST_EFFORT, _LEAST_EFFORT + _EFFORT_A_BYTE * len(pack)))
    parents: dict[bytes, list[bytes]] = {}
    looked_at = 0
    commits = _commits(pack, len(next(iter(open_steps))[0]), effort)
    try:
        # git writes all commits before the first tree, so that most of a pack need not be read at all.
        for commit in commits:
            if commit is not None:
                parents[commit[0]] = commit[1]
            elif len(parents) > 2 * looked_at:
                looked_at = len(parents)
                found |= _followed(parents, open_steps, effort)
                open_steps -= found
                if not open_steps:
                    return found
    except _Unreadable:
        pass
    try:
        return found | _followed(parents, open_steps, effort)
    except _Unreadable:
        return found


def _followed(
    parents: dict[bytes, list[bytes]], steps: Iterable[tuple[bytes, bytes]], effort: _Effort
) -> set[tuple[bytes, bytes]]:
    """The steps whose old commit is met on the way back from the new one."""
    found = set()
    for old, new in steps:
        left, seen = [new], {new}
        while left and old not in seen:
            effort.spend(_EFFORT_A_STEP)
            fresh = [parent for parent in parents.get(left.pop(), ()) if parent not in seen]
            seen.update(fresh)
            left += fresh
        if old in seen:
            found.add((old, new))
    return found


def _commits(pack: memoryview, id_length: int, effort: _Effort) -> Iterator[tuple[bytes, list[bytes]] | None]:
    """Every commit with its parents, None for every other object; raises `_Unreadable`."""
    if bytes(pack[:4]) != b"PACK" or int.from_bytes(pack[4:8]) not in (2, 3):
        return
    made: dict[int | bytes, bytes] = {}
    """What a delta may be laid on: commits' contents by their place and id."""
    at = _HEAD_BYTES
    for _ in range(int.from_bytes(pack[8:12])):
        effort.spend(_EFFORT_AN_OBJECT)
        place = at
        kind, size, at = _object_head(pack, at)
        base: bytes | None = b""
        if kind == _OFFSET_DELTA:
            distance, at = _distance(pack, at)
            base = made.get(place - distance)
        elif kind == _REFERENCE_DELTA:
            base = made.get(bytes(pack[at : at + id_length // 2]).hex().encode())
            at += id_length // 2
        elif kind != _COMMIT and kind not in _PLAIN:
            raise _Unreadable
        is_read = kind not in _PLAIN and base is not None and size <= MOST_COMMIT_BYTES
        content, at = _inflate(pack, at, size, effort, kept=is_read)
        if is_read and base:
            content = _laid_on(base, content, effort)
        commit = _read_commit(content, id_length) if is_read else None
        if commit is not None:
            made[place] = made[commit[0]] = content
        yield commit


def _object_head(pack: memoryview, at: int) -> tuple[int, int, int]:
    """An object's kind and inflated size, and where it goes on."""
    first, at = _byte(pack, at)
    size, shift, more = first & 15, 4, first & 128
    while more:
        more, at = _byte(pack, at)
        size |= (more & 127) << shift
        shift += 7
        more &= 128
        if shift > 60:
            raise _Unreadable
    return first >> 4 & 7, size, at


def _distance(pack: memoryview, at: int) -> tuple[int, int]:
    """How far before a delta its base begins."""
    byte, at = _byte(pack, at)
    distance = byte & 127
    while byte & 128:
        byte, at = _byte(pack, at)
        distance = (distance + 1 << 7) | (byte & 127)
        if distance > len(pack):
            raise _Unreadable
    return distance, at


def _byte(data: memoryview | bytes, at: int) -> tuple[int, int]:
    if at >= len(data):
        raise _Unreadable
    return data[at], at + 1


def _inflate(pack: memoryview, at: int, size: int, effort: _Effort, *, kept: bool) -> tuple[bytes, int]:
    """The next object's content if it is kept, and where the one behind it begins."""
    effort.spend(size)
    inflater = zlib.decompressobj()
    pieces: list[bytes] = []
    length = min(size + 64, _PIECE)
    left = size
    try:
        while not inflater.eof:
            piece = inflater.unconsumed_tail or pack[at : at + length]
            if not piece:
                raise _Unreadable
            if not inflater.unconsumed_tail:
                at += len(piece)
            out = inflater.decompress(piece, left + 1)
            left -= len(out)
            if left < 0:
                raise _Unreadable
            if kept:
                pieces.append(out)
    except zlib.error:
        raise _Unreadable from None
    if left:
        raise _Unreadable
    return b"".join(pieces), at - len(inflater.unused_data)


def _laid_on(base: bytes, delta: bytes, effort: _Effort) -> bytes:
    """The content that a delta makes of its base, nothing for a delta that does not fit."""
    from_size, at = _delta_size(delta, 0)
    to_size, at = _delta_size(delta, at)
    if from_size != len(base) or to_size > MOST_COMMIT_BYTES:
        return b""
    effort.spend(to_size)
    out = bytearray()
    while at < len(delta):
        effort.spend(_EFFORT_A_COPY)
        code, at = _byte(delta, at)
        if code & 128:
            start = size = 0
            for bit in range(4):
                if code >> bit & 1:
                    byte, at = _byte(delta, at)
                    start |= byte << 8 * bit
            for bit in range(3):
                if code >> bit & 16:
                    byte, at = _byte(delta, at)
                    size |= byte << 8 * bit
            piece = base[start : start + (size or 0x10000)]
        else:
            piece = delta[at : at + code]
            at += code
        out += piece
        if len(out) > to_size or not piece:
            return b""
    return bytes(out) if len(out) == to_size else b""


def _delta_size(delta: bytes, at: int) -> tuple[int, int]:
    size = shift = 0
    while True:
        byte, at = _byte(delta, at)
        size |= (byte & 127) << shift
        shift += 7
        if byte < 128 or shift > 60:
            return size, at


def _read_commit(content: bytes, id_length: int) -> tuple[bytes, list[bytes]] | None:
    """A commit's id and its parents', None for what is no commit."""
    match = _PARENTS[id_length].match(content)
    if match is None:
        return None
    make = hashlib.sha1 if id_length == 40 else hashlib.sha256
    hashed = make(b"commit %d\0" % len(content), usedforsecurity=False)
    hashed.update(content)
    return hashed.hexdigest().encode(), match[1].split()[1::2]
