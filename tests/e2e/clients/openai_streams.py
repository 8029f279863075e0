"""Many streams of one agent at once: `LOOPS CALLS` on the command line; each loop ends at its first refusal."""

import asyncio
import json
import sys

import httpx
import openai

loops, calls = int(sys.argv[1]), int(sys.argv[2])
wanted = {"model": "gpt-4.1", "messages": [{"role": "user", "content": "Go on."}], "max_tokens": 500, "stream": True}


async def loop(client: openai.AsyncOpenAI) -> None:
    done = 0
    told: dict[str, object] = {}
    try:
        for _ in range(calls):
            text = ""
            async for chunk in await client.chat.completions.create(**wanted):
                text += chunk.choices[0].delta.content or ""
            assert text.startswith("word0"), text
            done += 1
    except openai.APIStatusError as error:
        told = {
            "status": error.status_code,
            "decision": error.response.json().get("decision"),
            "retried": error.response.request.headers.get("x-stainless-retry-count"),
        }
    print(json.dumps({"done": done, **told}), flush=True)


async def main() -> None:
    limits = openai.DefaultAsyncHttpxClient(limits=httpx.Limits(max_connections=None), timeout=120)
    async with openai.AsyncOpenAI(api_key="sk-streams", http_client=limits, timeout=120) as client:
        await asyncio.gather(*(loop(client) for _ in range(loops)))


asyncio.run(main())
