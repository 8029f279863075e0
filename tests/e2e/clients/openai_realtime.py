"""OpenAI's realtime client, told by nothing but its environment; `turns TEXTS AUDIOS`, `loop` or `wait`.

Prints the type of each event that ends something, errors with their code, and how the socket was closed.
"""

import asyncio
import base64
import json
import os
import sys

import openai
from openai.resources.realtime.realtime import AsyncRealtimeConnection
from websockets.exceptions import ConnectionClosed, InvalidStatus

SPEECH = base64.b64encode(b"\1\0" * 2400).decode()
SILENCE = base64.b64encode(b"\0\0" * 2400).decode()
TOLD = ("response.created", "response.done", "conversation.item.input_audio_transcription.completed")


def tell(**what: object) -> None:
    print(json.dumps(what), flush=True)


async def until_done(connection: AsyncRealtimeConnection) -> None:
    async for event in connection:
        if event.type == "error":
            tell(error=event.error.code, type=event.error.type)
        elif event.type in TOLD:
            tell(event=event.type)
        if event.type == "response.done":
            return
    tell(closed=True)


async def main() -> None:
    client = openai.AsyncOpenAI(api_key="sk-realtime-test-key")
    what, *numbers = sys.argv[1:]
    session = json.loads(os.environ.get("SESSION", '{"type": "realtime"}'))
    try:
        async with client.realtime.connect(model=os.environ.get("MODEL", "gpt-realtime")) as connection:
            await connection.session.update(session=session)
            for _ in range(int(numbers[0]) if numbers else 1_000_000):
                item = {"type": "message", "role": "user", "content": [{"type": "input_text", "text": "Grüße, 世界"}]}
                await connection.conversation.item.create(item=item)
                await connection.response.create()
                await until_done(connection)
            for _ in range(int(numbers[1]) if numbers else 0):
                await connection.input_audio_buffer.append(audio=SPEECH)
                await connection.input_audio_buffer.append(audio=SILENCE)
                await until_done(connection)
            tell(end=what)
    except ConnectionClosed as closed:
        tell(closed=closed.rcvd.code if closed.rcvd else None, reason=closed.rcvd.reason if closed.rcvd else None)
    except InvalidStatus as refused:
        tell(refused=refused.response.status_code, body=json.loads(refused.response.body)["error"]["code"])


asyncio.run(main())
