"""A path in segments, each decoded once, and the trap in it that could make a provider read another path."""

from __future__ import annotations

import re
from typing import NamedTuple
from urllib.parse import unquote_to_bytes

MOST_PATH_BYTES = 8 * 1024
MOST_SEGMENTS = 256
"""Hostile paths beyond these cost the matcher milliseconds; no real one comes near."""

_PLAIN = re.compile(rb"(?:/[A-Za-z0-9_.~:@!$&'()*+,=-]+)+/?|/")
_ENCODED_AGAIN = re.compile(r"%[0-9A-Fa-f]{2}")
_BAD_PERCENT = re.compile(rb"%(?![0-9A-Fa-f]{2})")


class Path(NamedTuple):
    """A path's one reading, or two where a slash is encoded."""

    segments: tuple[str, ...]
    trap: str | None = None
    """Why a catalog cannot map it; refused only where there is a catalog."""
    encoded_slash: bool = False
    """`%2F` stands in it: some providers take it for a slash, some for a part of the segment."""


def read_path(path: bytes) -> Path:
    """The segments of an absolute path; a trailing slash is not significant."""
    if len(path) > MOST_PATH_BYTES:
        return Path((), "a path over 8 KiB")
    parts = path[1:].split(b"/")
    if not parts[-1]:
        parts.pop()
    if len(parts) > MOST_SEGMENTS:
        return Path((), "a path of more than 256 segments")
    if _PLAIN.fullmatch(path):
        segments = tuple(path[1:].decode("ascii").split("/"))[: len(parts)]
        if b"/." in path and ("." in segments or ".." in segments):
            return Path(segments, "a dot segment in the path")
        return Path(segments)
    if _BAD_PERCENT.search(path):
        return Path((), "a broken percent-encoding in the path")
    found = []
    trap = None
    for part in parts:
        try:
            text = unquote_to_bytes(part).decode("utf-8")
        except UnicodeDecodeError:
            return Path((), "a percent-encoding in the path that is not UTF-8")
        trap = trap or _trap_in(text)
        found.append(text)
    return Path(tuple(found), trap, any("/" in text for text in found))


def _trap_in(text: str) -> str | None:
    pieces = text.split("/")
    if "" in pieces:
        return "an empty segment in the path"
    if "." in pieces or ".." in pieces:
        return "a dot segment in the path"
    if "\\" in text:
        return "a backslash in the path"
    if ";" in text:
        return "a path parameter (;)"
    if not text.isprintable() and any(ch < " " or "\x7f" <= ch <= "\x9f" for ch in text):
        return "a control character in the path"
    if _ENCODED_AGAIN.search(text):
        return "a doubly encoded path"
    return None
