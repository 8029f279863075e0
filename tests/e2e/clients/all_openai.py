"""Every metered call of OpenAI's client, one after the other; configured by its environment only.

Prints a JSON document for each: the name of the call, and all that the client made of the answer.
"""

import json

import openai

client = openai.OpenAI(api_key="sk-agent", max_retries=0)
chat = {"model": "gpt-4.1-mini", "messages": [{"role": "user", "content": "Say eight words."}], "max_tokens": 600}
respond = {"model": "gpt-4.1-mini", "input": "Say eight words.", "max_output_tokens": 600}
asked = {"stream": True, "stream_options": {"include_usage": True}}


def tell(call: str, *events: object) -> None:
    print(json.dumps({"call": call, "events": events}), flush=True)


tell("chat", client.chat.completions.create(**chat).to_dict())
tell("chat stream", *(chunk.to_dict() for chunk in client.chat.completions.create(stream=True, **chat)))
tell("chat stream with usage", *(chunk.to_dict() for chunk in client.chat.completions.create(**asked, **chat)))
with client.chat.completions.with_streaming_response.create(stream=True, **chat) as response:
    tell("chat stream raw", b"".join(response.iter_bytes()).decode())
with client.chat.completions.with_streaming_response.create(**asked, **chat) as response:
    tell("chat stream with usage raw", b"".join(response.iter_bytes()).decode())
tell("responses", client.responses.create(**respond).to_dict())
tell("responses stream", *(event.to_dict() for event in client.responses.create(stream=True, **respond)))
tell("embeddings", client.embeddings.create(model="text-embedding-3-small", input="Eight words.").to_dict())
