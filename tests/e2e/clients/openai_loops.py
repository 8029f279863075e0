"""Many loops of one agent of OpenAI's: `LOOPS CALLS` on the command line; each loop ends at its first refusal."""

import json
import sys
import threading

import openai

loops, calls = int(sys.argv[1]), int(sys.argv[2])
wanted = {"model": "gpt-4.1-mini", "messages": [{"role": "user", "content": "Go on."}], "max_tokens": 500}
lock = threading.Lock()


def loop() -> None:
    client = openai.OpenAI(api_key="sk-loops")
    done = 0
    told: dict[str, object] = {}
    try:
        for _ in range(calls):
            client.chat.completions.create(**wanted)
            done += 1
    except openai.APIStatusError as error:
        told = {
            "status": error.status_code,
            "type": type(error).__name__,
            "decision": error.response.json().get("decision"),
            "retried": error.response.request.headers.get("x-stainless-retry-count"),
        }
    with lock:
        print(json.dumps({"done": done, **told}), flush=True)


threads = [threading.Thread(target=loop) for _ in range(loops)]
for thread in threads:
    thread.start()
for thread in threads:
    thread.join()
