"""Answers read by a reader, whole or cut anywhere."""

from __future__ import annotations

import itertools
import json
from collections.abc import Iterable
from typing import Any

from douane.core.usage.reader import Reader


def read[R: Reader](reader: R, data: bytes, cuts: Iterable[int] = ()) -> R:
    """The reader, after a stream that came in pieces; what it passes on is what came."""
    edges = [0, *sorted(min(cut, len(data)) for cut in cuts), len(data)]
    for start, end in itertools.pairwise(edges):
        assert reader.feed(data[start:end]) == data[start:end]
    assert reader.end() == b""
    return reader


def dump(value: Any) -> bytes:
    """JSON as providers write it."""
    return json.dumps(value, ensure_ascii=False).encode()


def event(value: Any, name: str = "") -> bytes:
    """One server-sent event."""
    return (f"event: {name}\n".encode() if name else b"") + b"data: " + dump(value) + b"\n\n"
