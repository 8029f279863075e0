"""An agent with five clients, all of whose calls are refused; evaluates on each error what `docs/refusals.md` says."""

import json
import os
import sys

import anthropic
import github
import openai
import requests
import stripe

stripe.ca_bundle_path = os.environ["SSL_CERT_FILE"]
asked = [{"role": "user", "content": "hi"}]
calls = {
    "openai": lambda: openai.OpenAI(api_key="sk").chat.completions.create(model="gpt-4o-mini", messages=asked),
    "anthropic": lambda: anthropic.Anthropic(api_key="sk").messages.create(
        model="claude-haiku-4-5", max_tokens=9, messages=asked
    ),
    "stripe": lambda: stripe.StripeClient("sk_test_agent").v1.charges.list(),
    "github": lambda: github.Github(auth=github.Auth.Token("ghp_agent")).get_user().login,
    "plain": lambda: requests.get("https://api.github.com/user", timeout=20).raise_for_status(),
}
for client, *expressions in json.loads(sys.argv[1]):
    try:
        calls[client]()
        print(json.dumps("not refused"))
    except Exception as e:
        names = {"openai": openai, "anthropic": anthropic, "stripe": stripe, "github": github, "requests": requests}
        raised, *members = (eval(expression, {**names, "e": e}) for expression in expressions)
        print(json.dumps([client, type(e) is raised, *members]), flush=True)
