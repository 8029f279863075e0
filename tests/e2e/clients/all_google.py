"""Google's Gen AI client: contents, plain and streamed, and embeddings; configured by its environment only.

Prints a JSON document for each: the name of the call, and all that the client made of the answer.
"""

import json

from google import genai
from google.genai.types import GenerateContentConfig

client = genai.Client(api_key="AIza-agent")
wanted = {
    "model": "gemini-2.5-flash",
    "contents": "Say eight words.",
    "config": GenerateContentConfig(max_output_tokens=600),
}


def tell(call: str, *events: object) -> None:
    print(json.dumps({"call": call, "events": events}), flush=True)


def plain(answer: object) -> object:
    """Without the headers, which name the time."""
    return answer.model_dump(mode="json", exclude_none=True, exclude={"sdk_http_response"})


tell("generate", plain(client.models.generate_content(**wanted)))
tell("generate stream", *(plain(chunk) for chunk in client.models.generate_content_stream(**wanted)))
tell("embed", plain(client.models.embed_content(model="gemini-embedding-001", contents="Eight words.")))
