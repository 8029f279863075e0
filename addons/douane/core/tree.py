"""The register's tree (RFC 6962, SHA-256) and the text of its signed heads (C2SP tlog-checkpoint, signed-note)."""

from __future__ import annotations

import base64
import binascii
from dataclasses import dataclass, field
from hashlib import sha256

HASH_BYTES = 32
EMPTY_ROOT = sha256().digest()


def leaf_hash(data: bytes) -> bytes:
    """Hash of one record as a leaf (RFC 6962 § 2.1)."""
    return sha256(b"\x00" + data).digest()


def node_hash(left: bytes, right: bytes) -> bytes:
    """Hash of an inner node (RFC 6962 § 2.1)."""
    return sha256(b"\x01" + left + right).digest()


@dataclass(slots=True)
class Frontier:
    """The right edge of a growing tree: the roots of its perfect subtrees, largest first. All it takes to go on."""

    size: int = 0
    peaks: list[bytes] = field(default_factory=list)

    def append(self, data: bytes) -> None:
        """Add a record."""
        node = sha256(b"\x00" + data).digest()
        size = self.size
        while size & 1:
            node = sha256(b"\x01" + self.peaks.pop() + node).digest()
            size >>= 1
        self.peaks.append(node)
        self.size += 1

    def root(self) -> bytes:
        """Root over everything appended so far."""
        if not self.peaks:
            return EMPTY_ROOT
        *left, node = self.peaks
        for peak in reversed(left):
            node = node_hash(peak, node)
        return node

    def dump(self) -> bytes:
        """The peaks, to go on from later."""
        return b"".join(self.peaks)

    @classmethod
    def load(cls, size: int, peaks: bytes) -> Frontier:
        """A frontier from its dump; `ValueError` if it cannot be one of that size."""
        if len(peaks) != size.bit_count() * HASH_BYTES:
            raise ValueError(f"a tree of {size} records does not have {len(peaks)} bytes of peaks")
        return cls(size, [peaks[at : at + HASH_BYTES] for at in range(0, len(peaks), HASH_BYTES)])


@dataclass(frozen=True, slots=True)
class TreeHead:
    """Origin, number of records and root: what a checkpoint signs."""

    origin: str
    size: int
    root: bytes

    def text(self) -> str:
        """The three lines that are signed (C2SP tlog-checkpoint)."""
        return f"{self.origin}\n{self.size}\n{base64.b64encode(self.root).decode()}\n"


@dataclass(frozen=True, slots=True)
class Signature:
    """One signature line of a note."""

    name: str
    key_id: bytes
    signature: bytes

    def line(self) -> str:
        """The line as it stands in the note."""
        return f"— {self.name} {base64.b64encode(self.key_id + self.signature).decode()}\n"


class NoteInvalid(ValueError):
    """The text is no signed tree head."""


def key_id(name: str, public_key: bytes) -> bytes:
    """The four bytes by which a note names an Ed25519 key (C2SP signed-note)."""
    return sha256(name.encode() + b"\n\x01" + public_key).digest()[:4]


def parse_note(note: str) -> tuple[TreeHead, tuple[Signature, ...]]:
    """Head and signatures of a note; whether they are good is for the holder of the key to say."""
    body, gap, tail = note.partition("\n\n")
    lines = body.split("\n")
    if not gap or len(lines) != 3 or not tail.endswith("\n"):
        raise NoteInvalid("a signed head has three lines, an empty line and signatures")
    origin, size, root = lines
    if not size.isdecimal() or not size.isascii() or (size != "0" and size.startswith("0")):
        raise NoteInvalid(f"not a tree size: {size!r}")
    return TreeHead(origin, int(size), _base64(root, HASH_BYTES)), tuple(
        _signature(line) for line in tail[:-1].split("\n")
    )


def _signature(line: str) -> Signature:
    mark, _, rest = line.partition(" ")
    name, _, encoded = rest.partition(" ")
    if mark != "—" or not name or not encoded:
        raise NoteInvalid(f"not a signature line: {line!r}")
    raw = _base64(encoded, None)
    return Signature(name, raw[:4], raw[4:])


def _base64(value: str, length: int | None) -> bytes:
    try:
        raw = base64.b64decode(value, validate=True)
    except (binascii.Error, ValueError) as error:
        raise NoteInvalid(f"not Base64: {value!r}") from error
    if base64.b64encode(raw).decode() != value or (length is not None and len(raw) != length):
        raise NoteInvalid(f"not {length or 'canonical'} bytes of Base64: {value!r}")
    return raw
