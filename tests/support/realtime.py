"""OpenAI's Realtime API as it answers: a session on a WebSocket, with its own bill. Not the product's library."""

from __future__ import annotations

import base64
import itertools
from collections.abc import Mapping, Sequence
from typing import Any
from urllib.parse import parse_qs

import orjson
from websockets.frames import Opcode
from websockets.http11 import Request
from websockets.protocol import State
from websockets.server import ServerProtocol
from websockets.typing import Subprotocol

from support.bill import Bill
from support.stand_in import Exchange

SPEECH = base64.b64encode(b"\1\0" * 2400).decode()
SILENCE = base64.b64encode(b"\0\0" * 2400).decode()
"""Audio, and what tells the stand-in's turn detection that the turn is over."""

NANO = {"text": 4_000, "audio": 32_000, "cached": 400, "text out": 16_000, "audio out": 64_000}
"""List prices of `gpt-realtime`, in nano-dollars a token."""
WHISPER_NANO_A_SECOND = 100_000


class Realtime:
    """`wss://api.openai.com/v1/realtime`: text and audio turns, turn detection, transcripts."""

    def __init__(self, bill: Bill) -> None:
        self.bill = bill
        self.aborts_after_created = False
        self.overcharges = 1
        """By what the usage is multiplied."""
        self.extension = ""
        """What it answers the handshake with, asked or not."""
        self.got: list[dict[str, Any]] = []
        """Every event that came from a client."""
        self.frames: list[tuple[bytes, bool]] = []
        """(content, whether the message ends) of each of their frames."""

    def forget(self) -> None:
        """Start anew."""
        self.aborts_after_created, self.overcharges, self.extension = False, 1, ""
        self.got.clear()
        self.frames.clear()

    async def __call__(self, exchange: Exchange) -> None:
        await _Session(self, exchange).run()


class _Session:
    def __init__(self, api: Realtime, exchange: Exchange) -> None:
        self.api = api
        self.exchange = exchange
        self.key = exchange.seen.header("authorization") or ""
        self.protocol = ServerProtocol(select_subprotocol=_realtime, max_size=None)
        self.ids = itertools.count(1)
        self.heard = False
        query = parse_qs(exchange.seen.target.partition("?")[2])
        self.session: dict[str, Any] = {
            "type": "realtime",
            "object": "realtime.session",
            "id": "sess_1",
            "model": query["model"][0],
            "output_modalities": ["audio"],
            "tools": [],
            "audio": {
                "input": {"transcription": None, "turn_detection": {"type": "server_vad", "create_response": True}}
            },
        }

    async def run(self) -> None:
        self.protocol.receive_data(self.exchange.seen.head)
        (request,) = self.protocol.events_received()
        assert isinstance(request, Request)
        response = self.protocol.accept(request)
        if self.api.extension:
            response.headers["Sec-WebSocket-Extensions"] = self.api.extension
        self.protocol.send_response(response)
        await self.flush()
        if self.protocol.state is not State.OPEN:
            return
        await self.send("session.created", session=self.session)
        message = b""
        while self.protocol.state is State.OPEN and (data := await self.exchange.more()):
            self.protocol.receive_data(data)
            for frame in self.protocol.events_received():
                if frame.opcode in (Opcode.TEXT, Opcode.CONT):
                    self.api.frames.append((bytes(frame.data), frame.fin))
                    message += frame.data
                    if frame.fin:
                        event, message = orjson.loads(message), b""
                        self.api.got.append(event)
                        await self.handle(event)
            await self.flush()
        self.exchange.close_after = True

    async def flush(self) -> None:
        for data in self.protocol.data_to_send():
            if data:
                await self.exchange.raw(data)

    async def send(self, kind: str, **members: Any) -> None:
        if self.protocol.state is State.OPEN:
            self.protocol.send_text(orjson.dumps({"type": kind, "event_id": f"event_{next(self.ids)}", **members}))
            await self.flush()

    async def handle(self, event: Mapping[str, Any]) -> None:
        match event["type"]:
            case "session.update":
                _merge(self.session, event["session"])
                await self.send("session.updated", session=self.session)
            case "input_audio_buffer.append":
                if event["audio"] == SPEECH:
                    self.heard = True
                elif self.heard and self.session["audio"]["input"]["turn_detection"]:
                    self.heard = False
                    await self.send("input_audio_buffer.speech_stopped", audio_end_ms=100, item_id="item_a")
                    await self.transcribe()
                    await self.respond(audio=True)
            case "response.create":
                await self.respond(audio=False)

    async def transcribe(self) -> None:
        await self.send("input_audio_buffer.committed", item_id="item_a", previous_item_id=None)
        if self.session["audio"]["input"]["transcription"]:
            self.api.bill.book(self.key, "whisper-1", 3 * WHISPER_NANO_A_SECOND)
            await self.send(
                "conversation.item.input_audio_transcription.completed",
                item_id="item_a",
                content_index=0,
                transcript="hello",
                usage={"type": "duration", "seconds": 3},
            )

    async def respond(self, *, audio: bool) -> None:
        number = next(self.ids)
        response: dict[str, Any] = {
            "object": "realtime.response",
            "id": f"resp_{self.exchange.stand_in.port}_{id(self)}_{number}",
            "status": "in_progress",
            "output": [],
            "usage": None,
        }
        await self.send("response.created", response=response)
        if self.api.aborts_after_created:
            self.exchange.abort()
            return
        await self.exchange.stand_in.pace.step()
        place = {"response_id": response["id"], "item_id": "item_b", "output_index": 0, "content_index": 0}
        for word in ("hel", "lo"):
            kind = "response.output_audio_transcript.delta" if audio else "response.output_text.delta"
            await self.send(kind, **place, delta=word)
        many = self.api.overcharges
        heard, written = (300, 136) if audio else (0, 0)
        usage = {
            "total_tokens": (1_000 + heard + written + 28) * many,
            "input_tokens": (1_000 + heard) * many,
            "output_tokens": (28 + written) * many,
            "input_token_details": {
                "text_tokens": 1_000 * many,
                "audio_tokens": heard * many,
                "image_tokens": 0,
                "cached_tokens": 164 * many if audio else 64 * many,
                "cached_tokens_details": {"text_tokens": 64 * many, "audio_tokens": (100 if audio else 0) * many},
            },
            "output_token_details": {"text_tokens": 28 * many, "audio_tokens": written * many},
        }
        cached = 164 if audio else 64
        amount = 936 * NANO["text"] + cached * NANO["cached"] + 28 * NANO["text out"]
        amount += 200 * NANO["audio"] + written * NANO["audio out"] if audio else 0
        self.api.bill.book(self.key, "gpt-realtime", amount * many)
        await self.send("response.done", response={**response, "status": "completed", "usage": usage})


def _realtime(_: ServerProtocol, offered: Sequence[Subprotocol]) -> Subprotocol | None:
    return next((name for name in offered if name == "realtime"), None)


def _merge(into: dict[str, Any], update: Mapping[str, Any]) -> None:
    for name, value in update.items():
        if isinstance(value, Mapping) and isinstance(into.get(name), dict):
            _merge(into[name], value)
        else:
            into[name] = value
