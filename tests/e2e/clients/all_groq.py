"""Groq's client: chat, plain and streamed; configured by its environment only.

Prints a JSON document for each: the name of the call, and all that the client made of the answer.
"""

import json

import groq

client = groq.Groq(api_key="gsk-agent", max_retries=0)
wanted = {
    "model": "llama-3.3-70b-versatile",
    "messages": [{"role": "user", "content": "Say eight words."}],
    "max_completion_tokens": 600,
}


def tell(call: str, *events: object) -> None:
    print(json.dumps({"call": call, "events": events}), flush=True)


tell("chat", client.chat.completions.create(**wanted).to_dict())
tell("chat stream", *(chunk.to_dict() for chunk in client.chat.completions.create(stream=True, **wanted)))
with client.chat.completions.with_streaming_response.create(stream=True, **wanted) as response:
    tell("chat stream raw", b"".join(response.iter_bytes()).decode())
