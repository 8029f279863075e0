"""What makes a call dearer than its tokens at list price, in a place that is easily overlooked: it has no price."""

from __future__ import annotations

import datetime
from typing import Any

import pytest

from douane.core.charge import Unpriced
from douane.core.pricing import Plan, PriceBook
from support.requests import canonical, classified

DAY = datetime.date(2026, 11, 23)
ASKED: dict[str, Any] = {"messages": [{"role": "user", "content": "hi"}], "max_tokens": 10}
ROUTER, GROQ = "https://openrouter.ai/api/v1/chat/completions", "https://api.groq.com/openai/v1/chat/completions"
LLAMA, GPT = {"model": "llama-3.3-70b-versatile"}, {"model": "openai/gpt-4o"}
CLAUDE = "https://bedrock-runtime.us-east-1.amazonaws.com/model/us.anthropic.claude-haiku-4-5-20251001-v1:0/invoke"
BEDROCK = {"anthropic_version": "bedrock-2023-05-31"}
AZURE = "https://own.openai.azure.com/openai/deployments/gpt-4o/chat/completions?api-version=2024-10-21"
FIREBASE = "https://firebaseml.googleapis.com/v2beta/projects/p/locations/l"
VERTEX = "https://us-central1-aiplatform.googleapis.com/v1/projects/p/locations/us-central1"


def planned(book: PriceBook, url: str, body: dict[str, Any], *headers: str) -> Plan | Unpriced | None:
    found = classified("POST", url, b"", *headers, json=body)
    assert found.billable, found
    return book.plan(canonical("POST", url, b"", *headers, json=body), found, DAY)


@pytest.mark.parametrize(
    ("url", "body", "headers"),
    [
        (ROUTER, GPT | {"preset": "mine"}, ()),
        (ROUTER, GPT | {"service_tier": "priority"}, ()),
        (GROQ, LLAMA | {"service_tier": "performance"}, ()),
        (GROQ, LLAMA | {"service_tier": ["flex"]}, ()),
        ("https://api.mistral.ai/v1/agents/completions", {"agent_id": "a", "model": "mistral-small-latest"}, ()),
        (AZURE, {"data_sources": [{"type": "azure_search"}]}, ()),
        (CLAUDE, BEDROCK, ("X-Amzn-Bedrock-GuardrailIdentifier: g",)),
        (CLAUDE, BEDROCK, ("X-Amzn-Bedrock-PerformanceConfig-Latency: optimized",)),
        (CLAUDE, BEDROCK, ("X-Amzn-Bedrock-Service-Tier: priority",)),
        (f"{VERTEX}/endpoints/123:generateContent", {"contents": []}, ()),
        (
            f"{FIREBASE}/publishers/google/models/m:generateContent",
            {},
            (),
        ),
        ("https://api.cloudflare.com/client/v4/accounts/a/ai/run/llama", {"prompt": "x"}, ()),
        ("https://inference.do-ai.run/v1/chat/completions", {"model": "m"}, ()),
    ],
)
def test_it_is_not_taken_for_a_plain_call(book: PriceBook, url: str, body: dict[str, Any], headers: Any) -> None:
    assert isinstance(planned(book, url, ASKED | body, *headers), Unpriced)


@pytest.mark.parametrize(
    ("url", "body", "headers"),
    [
        (ROUTER, GPT | {"service_tier": "auto"}, ()),
        (GROQ, LLAMA | {"service_tier": "on_demand"}, ()),
        (AZURE, {}, ()),
        (CLAUDE, BEDROCK, ("X-Amzn-Bedrock-PerformanceConfig-Latency: standard",)),
        (f"{VERTEX}/publishers/google/models/gemini-2.5-flash:generateContent", {"contents": []}, ()),
        (f"{VERTEX}/publishers/anthropic/models/claude-sonnet-4-5@20250929:rawPredict", {}, ()),
        (f"{VERTEX}/endpoints/openapi/chat/completions", {"model": "google/gemini-2.5-flash"}, ()),
    ],
)
def test_a_plain_call_is_priced(book: PriceBook, url: str, body: dict[str, Any], headers: Any) -> None:
    assert isinstance(planned(book, url, ASKED | body, *headers), Plan)
