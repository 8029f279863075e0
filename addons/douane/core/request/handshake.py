"""The opening handshake of WebSockets (RFC 6455, 4), in its one plain form."""

from __future__ import annotations

import base64
import binascii
import hashlib

from douane.core.request.raw import RawRequest

_ACCEPT = b"258EAFA5-E914-47DA-95CA-C5AB0DC85B11"

type Fields = tuple[tuple[bytes, bytes], ...]


def _values(fields: Fields, name: bytes) -> list[bytes]:
    return [value.strip() for key, value in fields if key.lower() == name]


def _tokens(fields: Fields, name: bytes) -> list[bytes]:
    return [token.strip() for value in _values(fields, name) for token in value.split(b",")]


def asks_for_websocket(raw: RawRequest) -> bool:
    """Whether a request is a handshake and nothing else: each of its fields once, as the RFC has them."""
    if (
        raw.method != "GET"
        or raw.body
        or [token.lower() for token in _values(raw.headers, b"upgrade")] != [b"websocket"]
    ):
        return False
    if [token.lower() for token in _tokens(raw.headers, b"connection")].count(b"upgrade") != 1:
        return False
    keys = _values(raw.headers, b"sec-websocket-key")
    try:
        nonces = [len(base64.b64decode(key, validate=True)) for key in keys]
    except binascii.Error:
        return False
    unwanted = (b"content-length", b"transfer-encoding", b"http2-settings")
    return (
        nonces == [16]
        and _values(raw.headers, b"sec-websocket-version") == [b"13"]
        and not any(value != b"0" for name in unwanted for value in _values(raw.headers, name))
    )


def answers_handshake(raw: RawRequest, fields: Fields) -> bool:
    """Whether a 101 is the answer to this handshake: no extension, and no protocol that was not offered."""
    (key,) = _values(raw.headers, b"sec-websocket-key")
    accept = base64.b64encode(hashlib.sha1(key + _ACCEPT, usedforsecurity=False).digest())
    protocols = _values(fields, b"sec-websocket-protocol")
    return (
        [token.lower() for token in _values(fields, b"upgrade")] == [b"websocket"]
        and b"upgrade" in [token.lower() for token in _tokens(fields, b"connection")]
        and _values(fields, b"sec-websocket-accept") == [accept]
        and not _values(fields, b"sec-websocket-extensions")
        and len(protocols) <= 1
        and all(name in _tokens(raw.headers, b"sec-websocket-protocol") for name in protocols)
    )
