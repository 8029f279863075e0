"""Requests: as they go upstream, in their one reading, and their digests."""

from douane.core.request.canonical import CanonicalRequest, canonicalise
from douane.core.request.digests import DIFFERS_BETWEEN_RETRIES, is_signed, request_digest, semantic_digest
from douane.core.request.handshake import answers_handshake, asks_for_websocket
from douane.core.request.raw import METHODS, SAFE_METHODS, RawRequest, known_method

__all__ = [
    "DIFFERS_BETWEEN_RETRIES",
    "METHODS",
    "SAFE_METHODS",
    "CanonicalRequest",
    "RawRequest",
    "answers_handshake",
    "asks_for_websocket",
    "canonicalise",
    "is_signed",
    "known_method",
    "request_digest",
    "semantic_digest",
]
