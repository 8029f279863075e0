"""Mistral's client: chat, plain and streamed, and embeddings; configured by its environment only.

Prints a JSON document for each: the name of the call, and all that the client made of the answer.
"""

import json

from mistralai.client import Mistral

client = Mistral(api_key="mistral-agent")
wanted = {
    "model": "mistral-medium-latest",
    "messages": [{"role": "user", "content": "Say eight words."}],
    "max_tokens": 600,
}


def tell(call: str, *events: object) -> None:
    print(json.dumps({"call": call, "events": events}), flush=True)


tell("chat", client.chat.complete(**wanted).model_dump(mode="json"))
with client.chat.stream(**wanted) as stream:
    tell("chat stream", *(event.data.model_dump(mode="json") for event in stream))
tell("embeddings", client.embeddings.create(model="mistral-embed", inputs=["Eight words."]).model_dump(mode="json"))
