"""Cohere's client: chat, plain and streamed, and embeddings; configured by its environment only.

Prints a JSON document for each: the name of the call, and all that the client made of the answer.
"""

import json

import cohere

client = cohere.ClientV2(api_key="cohere-agent")
wanted = {
    "model": "command-a-03-2025",
    "messages": [{"role": "user", "content": "Say eight words."}],
    "max_tokens": 600,
}


def tell(call: str, *events: object) -> None:
    print(json.dumps({"call": call, "events": events}), flush=True)


tell("chat", client.chat(**wanted).model_dump(mode="json"))
tell("chat stream", *(event.model_dump(mode="json") for event in client.chat_stream(**wanted)))
embedded = client.embed(
    model="embed-v4.0", texts=["Eight words."], input_type="search_query", embedding_types=["float"]
)
tell("embed", embedded.model_dump(mode="json"))
