"""A loop that needs less than its cap is never refused, whichever provider it calls, streamed or not."""

from __future__ import annotations

import datetime
import json
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass
from typing import Any

import pytest

from douane.core.pricing import Plan
from douane.core.request import RawRequest, canonicalise
from douane.core.tool import Classification, Nature, Tier
from douane.edge.prices import load_prices
from support.models import NANO_PER_TOKEN
from support.product import Agent, Product, eventually
from support.providers import Providers
from support.wire import Answer, Wire, request

ASK = [{"role": "user", "content": "Go on."}]
BEARER = ("Authorization: Bearer sk-loop",)
SIGNED = (
    "Authorization: AWS4-HMAC-SHA256 Credential=AKIA/20261123/us-east-1/bedrock/aws4_request, "
    "SignedHeaders=host;x-amz-date, Signature=00",
    "X-Amz-Date: 20261123T120000Z",
)
BEDROCK = "bedrock-runtime.us-east-1.amazonaws.com"
CALLS, AT_ONCE = 12, 4


@dataclass(frozen=True, slots=True)
class Loop:
    """What a loop sends, again and again."""

    host: str
    path: str
    body: dict[str, Any]
    model: str
    fields: tuple[str, ...] = BEARER

    @property
    def sent(self) -> bytes:
        return json.dumps(self.body).encode()

    @property
    def billed_nano(self) -> int:
        """What the stand-in bills for one call: 1,000 tokens in, 500 out."""
        told, written = NANO_PER_TOKEN[self.model]
        return 1_000 * told + 500 * written

    def worst_nano(self) -> int:
        """What the product has to set aside for one call."""
        fields = tuple((name.encode(), value.encode()) for name, _, value in (f.partition(": ") for f in self.fields))
        headers = ((b"content-type", b"application/json"), *fields)
        raw = RawRequest("https", self.host, 443, "POST", self.path.encode(), headers, self.sent)
        found = Classification("model.call", Tier.VISIBLE, Nature.EXEC, "any", mapped=True, billable=True)
        plan = load_prices().plan(canonicalise(raw), found, datetime.datetime.now(datetime.UTC).date())
        assert isinstance(plan, Plan), plan
        return plan.reserve_nano


def chat(host: str, path: str, model: str, **more: Any) -> Loop:
    return Loop(host, path, {"model": model, "messages": ASK, "max_tokens": 600, **more}, model)


def gemini(verb: str) -> Loop:
    body = {"contents": [{"role": "user", "parts": [{"text": "Go on."}]}], "generationConfig": {"maxOutputTokens": 600}}
    path = f"/v1beta/models/gemini-2.5-flash:{verb}"
    return Loop("generativelanguage.googleapis.com", path, body, "gemini-2.5-flash", ("x-goog-api-key: AIza",))


def converse(verb: str) -> Loop:
    model = "us.amazon.nova-lite-v1:0"
    body = {"messages": [{"role": "user", "content": [{"text": "Go on."}]}], "inferenceConfig": {"maxTokens": 600}}
    return Loop(BEDROCK, f"/model/us.amazon.nova-lite-v1%3A0/{verb}", body, model, SIGNED)


def invoke(verb: str) -> Loop:
    model = "us.anthropic.claude-haiku-4-5-20251001-v1:0"
    body = {"anthropic_version": "bedrock-2023-05-31", "max_tokens": 600, "messages": ASK}
    return Loop(BEDROCK, f"/model/{model.replace(':', '%3A')}/{verb}", body, model, SIGNED)


RESPOND = {"model": "gpt-4.1-mini", "input": "Go on.", "max_output_tokens": 600}
MESSAGE = {"model": "claude-haiku-4-5", "max_tokens": 600, "messages": ASK}
KEY = ("x-api-key: sk-ant-loop", "anthropic-version: 2023-06-01")
LOOPS = {
    "openai-chat": chat("api.openai.com", "/v1/chat/completions", "gpt-4.1-mini"),
    "openai-chat-sse": chat("api.openai.com", "/v1/chat/completions", "gpt-4.1-mini", stream=True),
    "openai-responses": Loop("api.openai.com", "/v1/responses", RESPOND, "gpt-4.1-mini"),
    "openai-responses-sse": Loop("api.openai.com", "/v1/responses", RESPOND | {"stream": True}, "gpt-4.1-mini"),
    "openai-embeddings": Loop(
        "api.openai.com",
        "/v1/embeddings",
        {"model": "text-embedding-3-small", "input": "a" * 1_500, "encoding_format": "base64"},
        "text-embedding-3-small",
    ),
    "anthropic": Loop("api.anthropic.com", "/v1/messages", MESSAGE, "claude-haiku-4-5", KEY),
    "anthropic-sse": Loop("api.anthropic.com", "/v1/messages", MESSAGE | {"stream": True}, "claude-haiku-4-5", KEY),
    "gemini": gemini("generateContent"),
    "gemini-sse": gemini("streamGenerateContent?alt=sse"),
    "gemini-array": gemini("streamGenerateContent"),
    "mistral": chat("api.mistral.ai", "/v1/chat/completions", "mistral-medium-latest"),
    "mistral-sse": chat("api.mistral.ai", "/v1/chat/completions", "mistral-medium-latest", stream=True),
    "cohere": chat("api.cohere.com", "/v2/chat", "command-a-03-2025"),
    "cohere-sse": chat("api.cohere.com", "/v2/chat", "command-a-03-2025", stream=True),
    "groq": chat("api.groq.com", "/openai/v1/chat/completions", "llama-3.3-70b-versatile"),
    "groq-sse": chat("api.groq.com", "/openai/v1/chat/completions", "llama-3.3-70b-versatile", stream=True),
    "bedrock-converse": converse("converse"),
    "bedrock-converse-stream": converse("converse-stream"),
    "bedrock-invoke": invoke("invoke"),
    "bedrock-invoke-stream": invoke("invoke-with-response-stream"),
}


def turn(product: Product, agent: Agent, loop: Loop, calls: int) -> list[Answer]:
    with Wire.tunnel(agent, product.proxy_address, loop.host, timeout=60) as wire:
        sent = request("POST", loop.host, loop.path, loop.sent, "Content-Type: application/json", *loop.fields)
        return [wire.ask(sent) for _ in range(calls)]


@pytest.mark.parametrize("name", LOOPS)
def test_a_loop_that_needs_less_than_its_cap_is_never_refused(
    product: Product, providers: Providers, name: str
) -> None:
    """Near the end the cap has room for one call's worst case and not for two: the others wait for it."""
    loop = LOOPS[name]
    needed_nano, worst_nano = CALLS * loop.billed_nano, loop.worst_nano()
    assert worst_nano >= loop.billed_nano
    cap_nano = needed_nano + worst_nano * 13 // 10
    agent = product.agent(f"loop-{name}", cap_usd=f"{cap_nano / 1e9:.9f}")
    with ThreadPoolExecutor(AT_ONCE) as pool:
        turns = [pool.submit(turn, product, agent, loop, CALLS // AT_ONCE) for _ in range(AT_ONCE)]
        answers = [answer for future in turns for answer in future.result(90)]
    assert [answer.body for answer in answers if answer.status != 200] == []
    assert providers.bill.total_nano() == needed_nano
    eventually(lambda: product.spend(agent.name)["reserved_usd"] == 0, "the end of every reservation")
    assert round(product.spend(agent.name)["settled_usd"] * 1e9) == needed_nano
