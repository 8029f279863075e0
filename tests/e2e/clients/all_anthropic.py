"""Anthropic's client: messages, plain and streamed; configured by its environment only.

Prints a JSON document for each: the name of the call, and all that the client made of the answer.
"""

import json

import anthropic

client = anthropic.Anthropic(api_key="sk-ant-agent", max_retries=0)
wanted = {"model": "claude-haiku-4-5", "messages": [{"role": "user", "content": "Say eight words."}], "max_tokens": 600}


def tell(call: str, *events: object) -> None:
    print(json.dumps({"call": call, "events": events}), flush=True)


tell("messages", client.messages.create(**wanted).to_dict())
tell("messages stream", *(event.to_dict() for event in client.messages.create(stream=True, **wanted)))
with client.messages.with_streaming_response.create(stream=True, **wanted) as response:
    tell("messages stream raw", b"".join(response.iter_bytes()).decode())
