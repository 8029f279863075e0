"""Hosts of inference APIs: exact, regional ones anchored, every provider of the price book known."""

from __future__ import annotations

import pytest

from douane.core.hosts import PROVIDERS, looks_like_inference, provider_of
from douane.core.pricing import known_providers

SHARED_HOSTS = {
    "cloudflare": "/client/v4/accounts/1/ai/run/@cf/meta/llama-3",
    "databricks": "/serving-endpoints/llama/invocations",
    "modal": "/v1/chat/completions",
    "openai-decisions": "/v1/chat/completions",
}
"""Providers whose hosts serve much besides models, or belong to another id: known by what a request looks like."""


@pytest.mark.parametrize(
    ("host", "provider"),
    [
        ("api.openai.com", "openai"),
        ("eu.api.openai.com", "openai"),
        ("api.anthropic.com", "anthropic"),
        ("generativelanguage.googleapis.com", "google"),
        ("europe-west1-aiplatform.googleapis.com", "google"),
        ("aiplatform.eu.rep.googleapis.com", "google"),
        ("bedrock-runtime.eu-central-1.amazonaws.com", "aws"),
        ("bedrock-runtime-fips.us-east-1.amazonaws.com", "aws"),
        ("bedrock-mantle.us-east-1.api.aws", "aws"),
        ("contoso.openai.azure.com", "azure"),
        ("contoso.services.ai.azure.com", "azure"),
        ("us-east-1.api.x.ai", "x-ai"),
        ("api.groq.com", "groq"),
        ("openrouter.ai", "openrouter"),
    ],
)
def test_hosts_of_providers(host: str, provider: str) -> None:
    assert provider_of(host) == provider
    for lookalike in (f"{host}.evil.example", f"evil-{host}.example", f"x{host}x", f"{host}\n", f"a.b.{host}x"):
        assert provider_of(lookalike) is None


@pytest.mark.parametrize(
    "host",
    [
        "openai.com",
        "www.openai.com",
        "evilapi.openai.com",
        "storage.googleapis.com",
        "s3.amazonaws.com",
        "azure.com",
        "",
    ],
)
def test_other_hosts_are_nobodys(host: str) -> None:
    assert provider_of(host) is None


def test_every_provider_of_the_price_book_is_known() -> None:
    for provider in known_providers():
        if provider.startswith("huggingface_"):  # one router for all of them
            assert provider_of("router.huggingface.co") == "huggingface"
        elif provider in SHARED_HOSTS:
            assert looks_like_inference(SHARED_HOSTS[provider], None)
        else:
            assert provider in PROVIDERS, provider


@pytest.mark.parametrize(
    ("path", "body"),
    [
        ("/v1/chat/completions", None),
        ("/openai/deployments/x/chat/completions", None),
        ("/v1/images/generations", {"prompt": "a cat"}),
        ("/model/anthropic.claude-3/invoke-with-response-stream", None),
        ("/v1/projects/p/locations/l/publishers/google/models/gemini:streamGenerateContent", None),
        ("/anything", {"model": "m", "messages": []}),
        ("/anything", {"model": "m", "input": "hi"}),
        ("/api/generate", {"model": "llama", "prompt": "hi"}),
    ],
)
def test_what_looks_like_inference(path: str, body: object) -> None:
    assert looks_like_inference(path, body)


@pytest.mark.parametrize(
    ("path", "body"),
    [
        ("/v1/messages", {"from": "a", "to": "b", "text": "an SMS"}),
        ("/api/v10/channels/1/messages", {"content": "hello"}),
        ("/repos/a/b/completions", {"name": "x"}),
        ("/items", {"model": 3, "input": "x"}),
        ("/items", {"model": "res.partner", "id": 1}),
        ("/items", ["model", "messages"]),
        ("/lambda/invoke", None),
    ],
)
def test_what_does_not(path: str, body: object) -> None:
    assert not looks_like_inference(path, body)
