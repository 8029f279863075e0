"""Keys and secrets: made here, shown once, kept only as hashes."""

from __future__ import annotations

import hashlib
import hmac
import secrets

import blake3

_SCRYPT = {"n": 2**14, "r": 8, "p": 1}


def new_key() -> str:
    """256 random bits, URL-safe: an agent's key, a reviewer's secret, a login link's token."""
    return secrets.token_urlsafe(32)


def key_hash(key: str) -> str:
    """BLAKE3 of a key, hex: 256 random bits need no slow hash."""
    return blake3.blake3(key.encode("utf-8", "surrogatepass")).hexdigest()


def secret_hash(secret: str) -> str:
    """scrypt of a reviewer's secret with a fresh salt: `scrypt$SALT$HASH`, hex (RFC 7914; N 2^14, r 8, p 1)."""
    salt = secrets.token_bytes(16)
    return f"scrypt${salt.hex()}${_scrypt(secret, salt).hex()}"


def secret_matches(secret: str, stored: str) -> bool:
    """Whether a secret is the one that was hashed; takes the same time either way."""
    _, salt, digest = stored.split("$")
    return hmac.compare_digest(_scrypt(secret, bytes.fromhex(salt)), bytes.fromhex(digest))


def _scrypt(secret: str, salt: bytes) -> bytes:
    return hashlib.scrypt(secret.encode("utf-8", "surrogatepass"), salt=salt, dklen=32, **_SCRYPT)
