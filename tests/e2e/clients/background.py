"""Work that goes on behind a response, by the real clients: prints its name when begun, and `done` once it is read."""

import json
import sys

import anthropic
import openai

if sys.argv[1] == "response":
    client = openai.OpenAI(api_key="sk-background")
    begun = client.responses.create(model="gpt-4.1-mini", input="hi", max_output_tokens=500, background=True)
    print(json.dumps({"id": begun.id, "status": begun.status}), flush=True)
    input()
    states = [client.responses.retrieve(begun.id).status for _ in range(3)]
    print(json.dumps({"states": states}), flush=True)
elif sys.argv[1] == "file":
    client = openai.OpenAI(api_key="sk-background")
    asked = {"model": "gpt-4.1-mini", "max_tokens": 500, "messages": [{"role": "user", "content": "hi"}]}
    lines = [{"custom_id": str(n), "method": "POST", "url": "/v1/chat/completions", "body": asked} for n in range(200)]
    content = b"\n".join(json.dumps(line).encode() for line in lines)
    file = client.files.create(file=("b.jsonl", content), purpose="batch")
    batch = client.batches.create(input_file_id=file.id, endpoint="/v1/chat/completions", completion_window="24h")
    print(json.dumps({"id": batch.id, "status": batch.status, "file": file.id}), flush=True)
    input()
    states = [client.batches.retrieve(batch.id).status for _ in range(4)]
    print(json.dumps({"states": states}), flush=True)
else:
    messages = anthropic.Anthropic(api_key="sk-ant-background").messages
    params = {"model": "claude-haiku-4-5", "max_tokens": 500, "messages": [{"role": "user", "content": "hi"}]}
    batch = messages.batches.create(requests=[{"custom_id": str(n), "params": params} for n in range(600)])
    print(json.dumps({"id": batch.id, "status": batch.processing_status}), flush=True)
    input()
    for _ in range(2):
        results = list(messages.batches.results(batch.id))
    print(json.dumps({"results": len(results)}), flush=True)
