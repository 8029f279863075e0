"""An agent of OpenAI's; configured by its environment only. Prints what it got, a JSON document a line."""

import json
import sys

import openai

client = openai.OpenAI(api_key="sk-agent")
wanted = {"model": "gpt-4.1-mini", "messages": [{"role": "user", "content": "Say eight words."}], "max_tokens": 600}
try:
    if "--stream" in sys.argv:
        for chunk in client.chat.completions.create(stream=True, **wanted):
            delta = chunk.choices[0].delta.content if chunk.choices else None
            print(json.dumps({"delta": delta, "usage": chunk.usage is not None}), flush=True)
    else:
        answer = client.chat.completions.create(**wanted)
        print(json.dumps({"text": answer.choices[0].message.content, "tokens": answer.usage.completion_tokens}))
except openai.APIStatusError as error:
    print(json.dumps({"status": error.status_code, "code": error.code, "message": str(error), "body": error.body}))
