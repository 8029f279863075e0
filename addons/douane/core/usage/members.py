"""Top-level members of a JSON object, out of a body that is not kept: `usage` is a few hundred bytes of 100 MB."""

from __future__ import annotations

import re
from collections.abc import Iterator
from typing import Any

import orjson

MOST_VALUE_BYTES = 256 * 1024
"""Of one wanted member; a usage of many iterations has some kilobytes."""

_MOST_KEY_BYTES = 64
_STRUCTURE = re.compile(rb'["{}\[\],:]')
_IN_STRING = re.compile(rb'["\\]')
_STRING = re.compile(rb'"[^"\\]*+(?:\\.[^"\\]*+)*+"', re.DOTALL)
_DEEP = re.compile(rb'[{}\[\]]|"(?:[^"\\]*+(?:\\.[^"\\]*+)*+")?', re.DOTALL)
"""Where nothing is wanted: brackets, whole strings, and the start of one that goes on in the next bytes."""


class MemberScanner:
    """Reads the wanted members of one object as its bytes pass; memory is bounded by them.

    It takes valid JSON from a provider that is believed, and reads the depth of things only: a member is found, or not.
    """

    def __init__(self, *wanted: str, level: int = 1) -> None:
        self._wanted = frozenset(wanted)
        self._level = level
        """How deep the wanted members stand; 1: in the object itself."""
        self.members: dict[str, Any] = {}
        self._depth = 0
        self._in_string = False
        self._escaped = False
        self._key: bytearray | None = None
        """The key that is being read, or was read last."""
        self._at_key = False
        """At the level, before a key's string."""
        self._in_array = False
        """At the level, between elements, which have no keys."""
        self._value: bytearray | None = None
        """The wanted value that is being read."""

    def feed(self, data: bytes) -> None:
        """Read the next bytes."""
        at = 0
        while at < len(data):
            if self._in_string:
                at = self._string(data, at)
            elif self._depth > self._level and self._value is None:
                at = self._unwanted(data, at)
            else:
                at = self._structure(data, at)

    def _take(self, data: bytes) -> None:
        if self._value is not None:
            self._value += data
            if len(self._value) > MOST_VALUE_BYTES:
                self._value = None

    def _string(self, data: bytes, start: int) -> int:
        """Within a string, from `start` on; returns where to go on."""
        at = start + 1 if self._escaped else start
        self._escaped = False
        while (found := _IN_STRING.search(data, at)) is not None:
            if data[found.start()] == 34:
                self._in_string = False
                at = found.end()
                break
            at = found.end() + 1
            if at > len(data):
                self._escaped = True
        else:
            at = len(data)
        at = min(at, len(data))
        if self._at_key and self._key is not None and len(self._key) <= _MOST_KEY_BYTES:
            self._key += data[start:at]
        self._take(data[start:at])
        return at

    def _structure(self, data: bytes, start: int) -> int:
        """Between strings, from `start` on; returns where to go on."""
        found = _STRUCTURE.search(data, start)
        if found is None:
            self._take(data[start:])
            return len(data)
        at, mark = found.end(), data[found.start()]
        if self._depth == self._level and mark in b",}":
            self._take(data[start : found.start()])
            self._member_ends()
        elif self._value is not None:
            self._take(data[start:at])
        match mark:
            case 34:  # "
                self._in_string = True
                if self._at_key:
                    self._key = bytearray(b'"')
            case 58 if self._at_key:  # :
                self._at_key = False
                self._value = bytearray() if self._name() in self._wanted else None
            case 44 if self._depth == self._level and not self._in_array:  # ,
                self._at_key = True
            case 123 | 91:  # { [
                self._depth += 1
                self._at_key = self._depth == self._level and mark == 123
                if self._depth == self._level:
                    self._in_array = mark == 91
            case 125 | 93:  # } ]
                self._depth -= 1
                self._at_key = False
        return at

    def _unwanted(self, data: bytes, start: int) -> int:
        """Inside a member that is not wanted, from `start` on; returns where to go on."""
        depth = self._depth
        for found in _DEEP.finditer(data, start):
            match data[found.start()]:
                case 34:
                    if found.end() == found.start() + 1:
                        self._depth, self._in_string = depth, True
                        return found.end()
                case 123 | 91:
                    depth += 1
                case _:
                    depth -= 1
                    if depth == self._level:
                        self._depth = depth
                        return found.end()
        self._depth = depth
        return len(data)

    def _name(self) -> str | None:
        try:
            return str(orjson.loads(self._key or b"null"))
        except orjson.JSONDecodeError:
            return None

    def _member_ends(self) -> None:
        value, self._value = self._value, None
        if value is None:
            return
        try:
            self.members[self._name() or ""] = orjson.loads(value)
        except orjson.JSONDecodeError:
            return


def spans(document: bytes) -> Iterator[tuple[str, int, int, int]]:
    """(name, where its key starts, where its value starts, where it ends) of each member of a valid JSON object."""
    depth = 0
    key: tuple[int, int] | None = None
    value_at = 0
    at = 0
    while (found := _STRUCTURE.search(document, at)) is not None:
        at, mark = found.end(), document[found.start()]
        if mark == 34:
            whole = _STRING.match(document, found.start())
            if whole is None:
                return
            at = whole.end()
            if depth == 1 and key is None:
                key = found.start(), at
        elif mark == 58 and depth == 1:
            value_at = at
        elif mark in b"{[":
            depth += 1
        elif mark in b",}]":
            if depth == 1 and key is not None:
                yield orjson.loads(document[slice(*key)]), key[0], value_at, found.start()
                key = None
            if mark != 44:
                depth -= 1


def without_member(document: bytes, name: str) -> bytes:
    """A JSON object without one of its members and that member's comma, every other byte as it was."""
    before: int | None = None
    for known, start, _, end in spans(document):
        if known == name:
            if before is not None:  # the comma before it goes too
                return document[:before] + document[end:]
            rest = document[end:]
            return document[:start] + (rest[1:].lstrip() if rest[:1] == b"," else rest)
        before = end
    return document


def with_value(document: bytes, name: str, value: bytes) -> bytes:
    """A JSON object with one member's value replaced, or the member added at its end; every other byte as it was."""
    for known, _, start, end in spans(document):
        if known == name:
            return document[:start] + value + document[end:]
    return with_member(document, name, value)


def with_member(document: bytes, name: str, value: bytes) -> bytes:
    """A JSON object with a member that it does not have yet, at its end; every other byte as it was."""
    at = document.rindex(b"}")
    before = document[:at].rstrip()
    return before + (b"" if before.endswith(b"{") else b",") + b'"' + name.encode() + b'":' + value + document[at:]
