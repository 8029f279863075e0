"""An agent with slack-sdk at its default settings: reads a channel, or deletes a message of it."""

import json
import sys

from slack_sdk import WebClient

slack = WebClient(token="xoxb-agent")
if len(sys.argv) == 2:
    print(json.dumps([message["text"] for message in slack.conversations_history(channel=sys.argv[1])["messages"]]))
else:
    channel, ts = sys.argv[1:]
    print(json.dumps({"deleted": slack.chat_delete(channel=channel, ts=ts)["ts"]}), flush=True)
