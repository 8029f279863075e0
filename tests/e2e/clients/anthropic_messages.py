"""An agent of Anthropic's; configured by its environment only. Prints what it got, a JSON document a line."""

import json
import sys

import anthropic

client = anthropic.Anthropic(api_key="sk-ant-agent")
wanted = {"model": "claude-haiku-4-5", "messages": [{"role": "user", "content": "Say eight words."}], "max_tokens": 600}
try:
    if "--stream" in sys.argv:
        with client.messages.stream(**wanted) as stream:
            for text in stream.text_stream:
                print(json.dumps({"delta": text}), flush=True)
            print(json.dumps({"tokens": stream.get_final_message().usage.output_tokens}), flush=True)
    else:
        answer = client.messages.create(**wanted)
        print(json.dumps({"text": answer.content[0].text, "tokens": answer.usage.output_tokens}))
except anthropic.APIStatusError as error:
    print(json.dumps({"status": error.status_code, "message": str(error), "body": error.body}))
