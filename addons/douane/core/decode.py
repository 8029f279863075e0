"""Content encodings, decoded piece by piece and within a bound."""

from __future__ import annotations

import zlib
from typing import Protocol

import brotli  # type: ignore[import-untyped]
import zstandard

MOST_DECODED_BYTES = 64 * 1024 * 1024
"""Of a request body. 809 bytes of brotli can stand for 512 MiB."""

_PIECE = 64 * 1024


class DecodeError(Exception):
    """A body that is not what its Content-Encoding says, or grows past its bound."""


class Decoder(Protocol):
    """Decodes one body."""

    def feed(self, data: bytes) -> bytes:
        """Decode the next bytes; raises `DecodeError`."""

    @property
    def ended(self) -> bool:
        """Whether the body came to its own end, so that nothing of it is missing."""


class Plain:
    """No encoding."""

    ended = True

    def feed(self, data: bytes) -> bytes:
        """The bytes as they are."""
        return data


class Inflate:
    """gzip and deflate (RFC 1952, 1950, and the raw RFC 1951 that some servers send)."""

    def __init__(self, bits: int, most: int) -> None:
        self._bits = bits
        self._zlib = zlib.decompressobj(bits)
        self._left = most
        self._started = False

    @property
    def ended(self) -> bool:
        """Whether the body came to its own end."""
        return self._zlib.eof

    def feed(self, data: bytes) -> bytes:
        """Decode the next bytes; raises `DecodeError`."""
        try:
            out = self._zlib.decompress(data, self._left + 1)
        except zlib.error:
            if self._started or self._bits != zlib.MAX_WBITS:
                raise DecodeError("a compressed body that cannot be decompressed") from None
            self._zlib = zlib.decompressobj(-zlib.MAX_WBITS)
            self._bits = -zlib.MAX_WBITS
            return self.feed(data)
        self._started = self._started or bool(data)
        self._left -= len(out)
        if self._left < 0 or self._zlib.unconsumed_tail:
            raise DecodeError("a compressed body that is too large")
        if self._zlib.unused_data:
            raise DecodeError("a compressed body with something behind it")
        return out


class Brotli:
    """br (RFC 7932)."""

    def __init__(self, most: int) -> None:
        self._brotli = brotli.Decompressor()
        self._left = most

    @property
    def ended(self) -> bool:
        """Whether the body came to its own end."""
        return bool(self._brotli.is_finished())

    def feed(self, data: bytes) -> bytes:
        """Decode the next bytes; raises `DecodeError`."""
        pieces = []
        try:
            piece = self._brotli.process(data, output_buffer_limit=_PIECE)
            while piece:
                pieces.append(piece)
                self._left -= len(piece)
                if self._left < 0:
                    raise DecodeError("a compressed body that is too large")
                piece = self._brotli.process(b"", output_buffer_limit=_PIECE)
        except brotli.error:
            raise DecodeError("a compressed body that cannot be decompressed") from None
        return b"".join(pieces)


class Zstandard:
    """zstd (RFC 8878)."""

    def __init__(self, most: int) -> None:
        self._zstd = zstandard.ZstdDecompressor(max_window_size=8 * 1024 * 1024).decompressobj()
        self._left = most

    @property
    def ended(self) -> bool:
        """Whether the body came to its own end."""
        return bool(self._zstd.eof)

    def feed(self, data: bytes) -> bytes:
        """Decode the next bytes; raises `DecodeError`."""
        pieces = []
        try:
            for at in range(0, len(data), 256):  # the library cannot bound its output, so its input is
                piece = self._zstd.decompress(data[at : at + 256])
                self._left -= len(piece)
                if self._left < 0:
                    raise DecodeError("a compressed body that is too large")
                pieces.append(piece)
            if self._zstd.unused_data:
                raise DecodeError("a compressed body with something behind it")
        except zstandard.ZstdError:
            raise DecodeError("a compressed body that cannot be decompressed") from None
        return b"".join(pieces)


def decoder(encoding: str, most: int = MOST_DECODED_BYTES) -> Decoder:
    """A decoder for a Content-Encoding; raises `DecodeError` for one that is unknown or a chain of several."""
    match encoding.strip().lower():
        case "" | "identity":
            return Plain()
        case "gzip" | "x-gzip":
            return Inflate(zlib.MAX_WBITS | 16, most)
        case "deflate":
            return Inflate(zlib.MAX_WBITS, most)
        case "br":
            return Brotli(most)
        case "zstd":
            return Zstandard(most)
        case _:
            raise DecodeError("a Content-Encoding that Douane does not know")


MOST_RATIO = 100
"""Of decoded to sent bytes, for bodies that decode to more than 1 MiB: JSON rarely goes past 30."""


def decode_body(body: bytes, encoding: str, most: int = MOST_DECODED_BYTES) -> bytes:
    """A whole body decoded; raises `DecodeError`, also for one that is cut off or has something behind it."""
    if encoding.strip().lower() == "deflate" and (body[0] & 15 != 8 or int.from_bytes(body[:2]) % 31):
        raise DecodeError("a deflate body without its zlib header")  # bare, any bytes could be text as well
    found = decoder(encoding, min(most, max(1024 * 1024, MOST_RATIO * len(body))))
    decoded = found.feed(body)
    if not found.ended:
        raise DecodeError("a compressed body that is cut off")
    return decoded
