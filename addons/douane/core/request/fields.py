"""Bodies and queries read into members, refusing what two parsers read in two ways."""

from __future__ import annotations

import json
import re
from typing import Any
from urllib.parse import parse_qsl

from douane.core.refusal import RequestAmbiguous

MOST_FIELDS = 4096
"""Of a query, form or multipart body: far above any real call, far below what would stall the loop."""

type Pairs = tuple[tuple[str, str], ...]

NOT_UTF_8 = "a query or form that is not UTF-8"


def read_pairs(encoded: bytes) -> tuple[Pairs, str | None]:
    """The pairs of a query or form, and the trap in them; raises `RequestAmbiguous` for too many."""
    if not encoded:
        return (), None
    text = encoded.decode("utf-8", "replace")
    try:
        return tuple(parse_qsl(text, keep_blank_values=True, errors="strict", max_num_fields=MOST_FIELDS)), (
            NOT_UTF_8 if "\ufffd" in text else None
        )
    except UnicodeDecodeError:
        return tuple(parse_qsl(text, keep_blank_values=True, max_num_fields=MOST_FIELDS)), NOT_UTF_8
    except ValueError:
        raise RequestAmbiguous("a query or form of too many fields") from None


def read_json(body: bytes) -> Any:
    """A JSON document that every parser reads alike; raises `RequestAmbiguous`."""
    if body[:3] == b"\xef\xbb\xbf" or body[:2] in (b"\xff\xfe", b"\xfe\xff") or b"\0" in body[:4]:
        raise RequestAmbiguous("a JSON body with a byte order mark or not in UTF-8")
    try:
        found = json.loads(body, object_pairs_hook=_object, parse_constant=_no_constant)
    except RecursionError:
        raise RequestAmbiguous("a JSON body nested too deeply") from None
    except ValueError:
        raise RequestAmbiguous("a body that is said to be JSON and is not") from None
    refuse_twins(found)
    return found


def refuse_twins(found: Any) -> None:
    """Raise `RequestAmbiguous` for an object with one key in two spellings.

    Go's decoder takes `Model` for `model`; who decides on one of two must know which the provider reads.
    """
    if isinstance(found, dict) and len({name.casefold() for name in found}) != len(found):
        raise RequestAmbiguous("a JSON object with the same key in two spellings")


def _object(pairs: list[tuple[str, Any]]) -> dict[str, Any]:
    found = dict(pairs)
    if len(found) != len(pairs):
        raise RequestAmbiguous("a JSON object with the same key twice")
    return found


def _no_constant(name: str) -> Any:
    raise RequestAmbiguous(f"{name} in a JSON body")


_BOUNDARY = re.compile(
    r";\s*boundary=(?:\"([^\"\\\r\n]{1,70})\"|([A-Za-z0-9'()+_,./:=?-]{1,70}))\s*(?=;|$)", re.IGNORECASE
)
_DISPOSITION = re.compile(r"content-disposition:\s*form-data((?:;[^\r\n]*)?)", re.IGNORECASE)
_NAME = re.compile(r";\s*name=(?:\"([^\"\\\r\n]*)\"|([^\s\";]+))", re.IGNORECASE)
_NAME_EXTENDED = re.compile(r";\s*name\*|[\r\n][ \t]", re.IGNORECASE)
_FILE = re.compile(r";\s*filename\*?=", re.IGNORECASE)


def boundary_of(content_type: str) -> bytes:
    """The boundary of a multipart Content-Type (RFC 2046); raises `RequestAmbiguous` unless there is just one."""
    found = _BOUNDARY.findall(content_type)
    if len(found) != 1 or content_type.lower().count("boundary") != 1:
        raise RequestAmbiguous("a multipart body without one plain boundary")
    quoted, plain = found[0]
    return str(quoted or plain).encode("latin-1")


def read_multipart(body: bytes, content_type: str) -> tuple[tuple[str, str | None], ...]:
    """Names and texts of a form-data body (RFC 7578), None for a file's; raises `RequestAmbiguous`."""
    try:
        return tuple(
            (name, None if is_file else content.decode("utf-8"))
            for name, is_file, content in read_parts(body, content_type)
        )
    except UnicodeDecodeError:
        raise RequestAmbiguous("a multipart text that is not UTF-8") from None


def read_parts(body: bytes, content_type: str) -> list[tuple[str, bool, bytes]]:
    """(name, whether it is a file, content) of each part of a form-data body; raises `RequestAmbiguous`."""
    delimiter = b"--" + boundary_of(content_type)
    if body.count(delimiter) > MOST_FIELDS:
        raise RequestAmbiguous("a multipart body of too many parts")
    pieces = (b"\r\n" + body).split(b"\r\n" + delimiter)
    if len(pieces) < 2 or pieces[0].strip() or pieces[-1].rstrip(b" \t\r\n") != b"--":
        raise RequestAmbiguous("a multipart body that is not closed")
    found: list[tuple[str, bool, bytes]] = []
    for piece in pieces[1:-1]:
        padding, line_end, rest = piece.partition(b"\r\n")
        head, blank, content = (b"\r\n" + rest).partition(b"\r\n\r\n")
        if padding.strip(b" \t") or not line_end or not blank:
            raise RequestAmbiguous("a multipart body with a broken part")
        found.append((*_part(head.decode("utf-8", "replace")), content))
    return found


def _part(head: str) -> tuple[str, bool]:
    dispositions = _DISPOSITION.findall(head)
    names = _NAME.findall(dispositions[0]) if len(dispositions) == 1 else []
    if len(names) != 1 or head.lower().count("content-disposition") != 1 or _NAME_EXTENDED.search(head):
        raise RequestAmbiguous("a multipart part without one plain name")
    if "content-transfer-encoding" in head.lower():
        raise RequestAmbiguous("a multipart part with an encoding of its own")
    return names[0][0] or names[0][1], bool(_FILE.search(dispositions[0]))
