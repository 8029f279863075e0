"""The register's signing key and the last head it signed: two files beside the database, never inside it."""

from __future__ import annotations

import base64
import os
import secrets
from dataclasses import dataclass
from pathlib import Path

from cryptography.exceptions import InvalidSignature
from cryptography.hazmat.primitives.asymmetric.ed25519 import Ed25519PrivateKey, Ed25519PublicKey

from douane.core.tree import NoteInvalid, Signature, TreeHead, key_id, parse_note

KEY_FILE = "register.key"
PUBLIC_FILE = "register-key.pub"
"""Beside the CA certificate, for anyone to read and auditors to pin."""
HEAD_FILE = "register.head"

_ED25519 = b"\x01"


class KeysInvalid(Exception):
    """The key or head file cannot be used; the message says which and why."""


@dataclass(frozen=True, slots=True)
class VerifyingKey:
    """A public key by its name: what an auditor pins (C2SP vkey `NAME+ID+KEY`)."""

    name: str
    public: bytes

    def text(self) -> str:
        """The key as one word."""
        encoded = base64.b64encode(_ED25519 + self.public).decode()
        return f"{self.name}+{key_id(self.name, self.public).hex()}+{encoded}"

    def open_note(self, note: str) -> TreeHead:
        """The head in a note that this key signed; `NoteInvalid` otherwise."""
        head, signatures = parse_note(note)
        wanted = key_id(self.name, self.public)
        for signature in signatures:
            if signature.name == self.name and signature.key_id == wanted:
                try:
                    Ed25519PublicKey.from_public_bytes(self.public).verify(signature.signature, head.text().encode())
                except InvalidSignature as error:
                    raise NoteInvalid(f"the signature of {self.name} does not fit the head") from error
                return head
        raise NoteInvalid(f"no signature of {self.name}+{wanted.hex()}")


class SigningKeys:
    """Signs tree heads and remembers the last one where the database cannot rewrite it."""

    def __init__(self, origin: str, private: Ed25519PrivateKey, head_path: Path) -> None:
        self.origin = origin
        self._private = private
        self._head_path = head_path
        self.public = private.public_key().public_bytes_raw()
        self.verifying = VerifyingKey(origin, self.public)

    def sign(self, head: TreeHead) -> str:
        """The head as a signed note."""
        body = head.text()
        signature = Signature(self.origin, key_id(self.origin, self.public), self._private.sign(body.encode()))
        return f"{body}\n{signature.line()}"

    def last_head(self) -> tuple[TreeHead, str] | None:
        """The last head signed and its note; None before the first; `KeysInvalid` if the file was altered."""
        try:
            note = self._head_path.read_text()
        except FileNotFoundError:
            return None
        except (OSError, UnicodeDecodeError) as error:
            raise KeysInvalid(f"{self._head_path}: {error}") from error
        try:
            return self.verifying.open_note(note), note
        except NoteInvalid as error:
            raise KeysInvalid(f"{self._head_path}: {error}") from error

    def remember_head(self, note: str) -> None:
        """Replace the head file, durably. A crash before the rename leaves the older one, which is extended too."""
        _write_durably(self._head_path, note.encode(), 0o600)


def load_or_create_keys(private_dir: Path) -> SigningKeys:
    """The node's register key, made at first use, its public part put where anyone reads it; raises `KeysInvalid`."""
    path = private_dir / KEY_FILE
    public_path = private_dir.parent / PUBLIC_FILE
    try:
        if not path.exists():
            _create(path)
        keys = load_keys(private_dir)
        public = f"{keys.verifying.text()}\n"
        if not public_path.exists() or public_path.read_text() != public:
            _write_durably(public_path, public.encode(), 0o644)
    except (OSError, UnicodeDecodeError) as error:
        raise KeysInvalid(f"{path}: {error}") from error
    return keys


def load_keys(private_dir: Path) -> SigningKeys:
    """The node's register key: one line in the C2SP form `PRIVATE+KEY+NAME+ID+KEY`, mode 0600; raises `KeysInvalid`."""
    path = private_dir / KEY_FILE
    try:
        if path.stat().st_mode & 0o077:
            raise KeysInvalid(f"{path}: others may read the signing key; set its mode to 0600")
        origin, private = _parse(path.read_text())
    except (OSError, ValueError) as error:
        raise KeysInvalid(f"{path}: {error}") from error
    return SigningKeys(origin, private, private_dir / HEAD_FILE)


def _create(path: Path) -> None:
    origin = f"douane/{secrets.token_hex(8)}"
    private = Ed25519PrivateKey.generate()
    public = private.public_key().public_bytes_raw()
    seed = base64.b64encode(_ED25519 + private.private_bytes_raw()).decode()
    _write_durably(path, f"PRIVATE+KEY+{origin}+{key_id(origin, public).hex()}+{seed}\n".encode(), 0o600)


def _parse(line: str) -> tuple[str, Ed25519PrivateKey]:
    parts = line.strip().split("+", 4)
    if len(parts) != 5 or parts[:2] != ["PRIVATE", "KEY"]:
        raise ValueError("not a signing key")
    _, _, origin, identifier, encoded = parts
    seed = base64.b64decode(encoded, validate=True)
    if seed[:1] != _ED25519 or len(seed) != 33:
        raise ValueError("not an Ed25519 signing key")
    private = Ed25519PrivateKey.from_private_bytes(seed[1:])
    if key_id(origin, private.public_key().public_bytes_raw()).hex() != identifier:
        raise ValueError("the key does not belong to its name")
    return origin, private


def _write_durably(path: Path, data: bytes, mode: int) -> None:
    beside = path.with_name(f"{path.name}.new")
    beside.unlink(missing_ok=True)
    file = os.open(beside, os.O_WRONLY | os.O_CREAT | os.O_EXCL | os.O_CLOEXEC, mode)
    try:
        os.fchmod(file, mode)  # whatever the umask
        os.write(file, data)
        os.fsync(file)
    finally:
        os.close(file)
    beside.rename(path)
    folder = os.open(path.parent, os.O_RDONLY | os.O_DIRECTORY | os.O_CLOEXEC)
    try:
        os.fsync(folder)
    finally:
        os.close(folder)
