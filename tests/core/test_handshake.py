"""A WebSocket's opening handshake is read in its one plain form (RFC 6455, 4)."""

from __future__ import annotations

import pytest

from douane.core.mask import mask_text
from douane.core.request import answers_handshake, asks_for_websocket, canonicalise, semantic_digest
from support.requests import raw

URL = "https://api.openai.com/v1/realtime?model=gpt-realtime"
KEY = "Sec-WebSocket-Key: dGhlIHNhbXBsZSBub25jZQ=="
PLAIN = ("Connection: keep-alive, Upgrade", "Upgrade: WebSocket", "Sec-WebSocket-Version: 13", KEY)
ACCEPT = (b"Sec-WebSocket-Accept", b"s3pPLMBiTxaQ9kYGzzhZRbK+xOo=")
"""The RFC's own example."""
ANSWER = ((b"Upgrade", b"websocket"), (b"Connection", b"Upgrade"), ACCEPT)


def test_the_plain_form_is_a_handshake() -> None:
    assert asks_for_websocket(raw("GET", URL, b"", *PLAIN))


@pytest.mark.parametrize(
    ("method", "body", "fields"),
    [
        ("POST", b"", PLAIN),
        ("GET", b"x", PLAIN),
        ("GET", b"", PLAIN[1:]),
        ("GET", b"", (PLAIN[0], "Upgrade: websocket, h2c", *PLAIN[2:])),
        ("GET", b"", (*PLAIN, "Upgrade: websocket")),
        ("GET", b"", (*PLAIN, KEY)),
        ("GET", b"", (*PLAIN[:3], "Sec-WebSocket-Key: c2hvcnQ=")),
        ("GET", b"", (*PLAIN[:3], "Sec-WebSocket-Key: ?")),
        ("GET", b"", (*PLAIN[:2], "Sec-WebSocket-Version: 13, 8", KEY)),
        ("GET", b"", (*PLAIN, "Content-Length: 5")),
        ("GET", b"", (*PLAIN, "HTTP2-Settings: AAMA")),
    ],
)
def test_anything_beside_it_is_none(method: str, body: bytes, fields: tuple[str, ...]) -> None:
    assert not asks_for_websocket(raw(method, URL, body, *fields))


def test_only_its_own_plain_answer_opens_the_socket() -> None:
    asked = raw("GET", URL, b"", *PLAIN, "Sec-WebSocket-Protocol: realtime, openai-beta.realtime-v1")
    realtime, other = ((b"Sec-WebSocket-Protocol", name) for name in (b"realtime", b"mqtt"))
    assert answers_handshake(asked, ANSWER)
    assert answers_handshake(asked, (*ANSWER, realtime))
    assert not answers_handshake(asked, (*ANSWER, other))
    assert not answers_handshake(asked, (*ANSWER, realtime, realtime))
    assert not answers_handshake(asked, (*ANSWER, (b"Sec-WebSocket-Extensions", b"permessage-deflate")))
    assert not answers_handshake(asked, ANSWER[:2])
    assert not answers_handshake(asked, (*ANSWER[:2], (b"Sec-WebSocket-Accept", b"AAAA")))
    assert not answers_handshake(asked, ((b"Upgrade", b"h2c"), *ANSWER[1:]))


def test_a_retry_means_the_same_and_a_key_in_the_protocol_is_masked() -> None:
    digests = {
        semantic_digest(canonicalise(raw("GET", URL, b"", *PLAIN[:3], f"Sec-WebSocket-Key: {key}")), "agent")
        for key in ("dGhlIHNhbXBsZSBub25jZQ==", "AAAAAAAAAAAAAAAAAAAAAA==")
    }
    assert len(digests) == 1
    shown = mask_text("realtime, openai-insecure-api-key.ek_68af296e8e408191a1120ab6383263c2, x")
    assert "68af296e" not in shown
    assert shown.startswith("realtime, ")
