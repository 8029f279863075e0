"""Amazon's client for Bedrock: Converse and InvokeModel, plain and streamed; configured by its environment only.

Prints a JSON document for each: the name of the call, and all that the client made of the answer.
"""

import json

import boto3
from botocore.config import Config

client = boto3.client(
    "bedrock-runtime",
    region_name="us-east-1",
    aws_access_key_id="AKIAIOSFODNN7EXAMPLE",
    aws_secret_access_key="not-a-secret",
    config=Config(retries={"max_attempts": 0}),
)
converse = {
    "modelId": "us.amazon.nova-lite-v1:0",
    "messages": [{"role": "user", "content": [{"text": "Say eight words."}]}],
    "inferenceConfig": {"maxTokens": 600},
}
message = {
    "anthropic_version": "bedrock-2023-05-31",
    "max_tokens": 600,
    "messages": [{"role": "user", "content": "Say eight words."}],
}
invoke = {"modelId": "us.anthropic.claude-haiku-4-5-20251001-v1:0", "body": json.dumps(message)}


def tell(call: str, *events: object) -> None:
    print(json.dumps({"call": call, "events": events}), flush=True)


answer = client.converse(**converse)
tell("converse", {name: value for name, value in answer.items() if name != "ResponseMetadata"})
tell("converse stream", *client.converse_stream(**converse)["stream"])
tell("invoke", json.loads(client.invoke_model(**invoke)["body"].read()))
invoke["modelId"] = "global.anthropic.claude-haiku-4-5-20251001-v1:0"  # the regions' surcharge falls away
stream = client.invoke_model_with_response_stream(**invoke)["body"]
tell("invoke stream", *(json.loads(event["chunk"]["bytes"]) for event in stream))
