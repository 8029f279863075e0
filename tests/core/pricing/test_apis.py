"""The route table: documented paths of each provider lead to their API, and all else is not metered."""

from __future__ import annotations

from typing import Any

import pytest

from douane.core.charge import Unpriced
from douane.core.hosts import provider_of
from douane.core.pricing import Plan
from douane.core.pricing.apis import api_of, model_name, price_provider

PROJECT = "/v1/projects/p-1/locations/us-east5"
GEMINI = "generativelanguage.googleapis.com"
VERTEX = "us-east5-aiplatform.googleapis.com"
BEDROCK = "bedrock-runtime.eu-west-1.amazonaws.com"
AZURE = "contoso.openai.azure.com"
FOUNDRY = "contoso.services.ai.azure.com"
PROFILE = "arn:aws:bedrock:us-east-1:111122223333:inference-profile/us.amazon.nova-lite-v1:0"

ROUTES = [
    ("api.openai.com", "/v1/chat/completions", "openai.chat", None, False),
    ("api.openai.com", "/v1/completions", "openai.chat", None, False),
    ("api.openai.com", "/v1/responses", "openai.responses", None, False),
    ("eu.api.openai.com", "/v1/responses", "openai.responses", None, False),
    ("api.openai.com", "/v1/embeddings", "openai.embeddings", None, False),
    ("api.openai.com", "/v1/images/generations", "openai.images", None, False),
    ("api.openai.com", "/v1/images/edits", "openai.images", None, False),
    ("api.openai.com", "/v1/audio/speech", "openai.speech", None, False),
    ("api.openai.com", "/v1/audio/transcriptions", "openai.transcription", None, False),
    ("api.openai.com", "/v1/audio/translations", "openai.transcription", None, False),
    (AZURE, "/openai/deployments/gpt-4o/chat/completions", "openai.chat", "gpt-4o", False),
    (AZURE, "/openai/deployments/gpt-4o/completions", "openai.chat", "gpt-4o", False),
    (
        AZURE,
        "/openai/deployments/text-embedding-3-small/embeddings",
        "openai.embeddings",
        "text-embedding-3-small",
        False,
    ),
    (AZURE, "/openai/v1/chat/completions", "openai.chat", None, False),
    (AZURE, "/openai/v1/responses", "openai.responses", None, False),
    (FOUNDRY, "/models/chat/completions", "openai.chat", None, False),
    (FOUNDRY, "/anthropic/v1/messages", "anthropic.messages", None, False),
    ("api.anthropic.com", "/v1/messages", "anthropic.messages", None, False),
    (GEMINI, "/v1beta/models/gemini-2.5-flash:generateContent", "gemini", "gemini-2.5-flash", False),
    (GEMINI, "/v1/models/gemini-2.5-flash:streamGenerateContent", "gemini", "gemini-2.5-flash", True),
    (GEMINI, "/v1beta/models/gemini-embedding-001:embedContent", "gemini.embeddings", "gemini-embedding-001", False),
    (
        GEMINI,
        "/v1beta/models/gemini-embedding-001:batchEmbedContents",
        "gemini.embeddings",
        "gemini-embedding-001",
        False,
    ),
    (GEMINI, "/v1beta/openai/chat/completions", "openai.chat", None, False),
    (
        VERTEX,
        f"{PROJECT}/publishers/google/models/gemini-2.5-pro:streamGenerateContent",
        "gemini",
        "gemini-2.5-pro",
        True,
    ),
    (VERTEX, f"{PROJECT}/endpoints/123:generateContent", "gemini", "123", False),
    (
        VERTEX,
        f"{PROJECT}/publishers/google/models/text-embedding-005:predict",
        "gemini.embeddings",
        "text-embedding-005",
        False,
    ),
    (
        VERTEX,
        f"{PROJECT}/publishers/anthropic/models/claude-haiku-4-5@20251001:rawPredict",
        "anthropic.messages",
        "claude-haiku-4-5@20251001",
        False,
    ),
    (
        VERTEX,
        f"{PROJECT}/publishers/anthropic/models/claude-haiku-4-5@20251001:streamRawPredict",
        "anthropic.messages",
        "claude-haiku-4-5@20251001",
        True,
    ),
    (
        VERTEX,
        f"{PROJECT}/publishers/mistralai/models/mistral-medium-3:streamRawPredict",
        "openai.chat",
        "mistral-medium-3",
        True,
    ),
    (VERTEX, f"{PROJECT}/endpoints/openapi/chat/completions", "openai.chat", None, False),
    (BEDROCK, "/model/eu.amazon.nova-lite-v1:0/converse", "bedrock.converse", "eu.amazon.nova-lite-v1:0", False),
    (BEDROCK, "/model/amazon.nova-lite-v1:0/converse-stream", "bedrock.converse", "amazon.nova-lite-v1:0", True),
    (BEDROCK, f"/model/{PROFILE}/converse", "bedrock.converse", PROFILE, False),
    (BEDROCK, "/model/anthropic.claude-v2/invoke", "bedrock.invoke", "anthropic.claude-v2", False),
    (BEDROCK, f"/model/{PROFILE}/invoke-with-response-stream", "bedrock.invoke", PROFILE, True),
    ("bedrock-mantle.us-east-1.api.aws", "/openai/v1/responses", "openai.responses", None, False),
    ("api.mistral.ai", "/v1/chat/completions", "openai.chat", None, False),
    ("codestral.mistral.ai", "/v1/fim/completions", "openai.chat", None, False),
    ("api.mistral.ai", "/v1/embeddings", "openai.embeddings", None, False),
    ("api.cohere.com", "/v2/chat", "cohere", None, False),
    ("api.cohere.ai", "/v1/chat", "cohere", None, False),
    ("api.cohere.com", "/v1/generate", "cohere", None, False),
    ("api.cohere.com", "/v2/embed", "cohere.embeddings", None, False),
    ("api.cohere.com", "/v2/rerank", "cohere.rerank", None, False),
    ("api.cohere.ai", "/compatibility/v1/chat/completions", "openai.chat", None, False),
    ("api.groq.com", "/openai/v1/chat/completions", "openai.chat", None, False),
    ("api.groq.com", "/openai/v1/audio/transcriptions", "openai.transcription", None, False),
    ("api.deepseek.com", "/chat/completions", "openai.chat", None, False),
    ("api.deepseek.com", "/anthropic/v1/messages", "anthropic.messages", None, False),
    ("api.x.ai", "/v1/responses", "openai.responses", None, False),
    ("eu-west-1.api.x.ai", "/v1/chat/completions", "openai.chat", None, False),
    ("openrouter.ai", "/api/v1/chat/completions", "openai.chat", None, False),
    ("openrouter.ai", "/api/v1/responses", "openai.responses", None, False),
    ("api.perplexity.ai", "/chat/completions", "openai.chat", None, False),
    ("api.together.xyz", "/v1/chat/completions", "openai.chat", None, False),
    ("api.fireworks.ai", "/inference/v1/chat/completions", "openai.chat", None, False),
    ("api.cerebras.ai", "/v1/chat/completions", "openai.chat", None, False),
    ("router.huggingface.co", "/novita/v3/openai/chat/completions", "openai.chat", None, False),
    ("ollama.com", "/api/chat", "ollama", None, False),
    ("ollama.com", "/api/generate", "ollama", None, False),
    ("ollama.com", "/api/embed", "ollama.embeddings", None, False),
]

NOT_METERED = [
    ("api.openai.com", "/v1/images/variations"),
    ("api.openai.com", "/v1/videos"),
    ("api.openai.com", "/v1/threads/t/runs"),
    ("api.openai.com", "/v1/responses/compact"),
    ("api.openai.com", "/v1/chat/completions/chatcmpl-1"),
    ("api.openai.com", "/v2/chat"),
    ("api.openai.com", "/model/gpt-4o/converse"),
    ("api.openai.com", "/v1/models/gemini-2.5-flash:generateContent"),
    ("api.anthropic.com", "/v1/complete"),
    (GEMINI, "/v1beta/models/veo-3.0-generate-001:predictLongRunning"),
    (GEMINI, "/v1beta/models/gemini-2.5-flash:batchGenerateContent"),
    (GEMINI, "/v1beta/tunedModels/mine:generateContent"),
    (BEDROCK, "/model/amazon.nova-sonic-v1:0/invoke-with-bidirectional-stream"),
    (BEDROCK, "/async-invoke"),
    (BEDROCK, "/model//converse"),
    ("api.mistral.ai", "/v1/ocr"),
    ("api.mistral.ai", "/v1/conversations"),
    ("api.cohere.com", "/v1/classify"),
    ("api.elevenlabs.io", "/v1/text-to-speech/v"),
]


@pytest.mark.parametrize(("host", "path", "name", "model", "streams"), ROUTES)
def test_a_documented_path_has_its_api(host: str, path: str, name: str, model: str | None, streams: bool) -> None:
    provider = provider_of(host)
    assert provider is not None
    found = api_of(provider, "POST", path)
    assert found is not None
    assert (found[0].name, found[1], found[2]) == (name, model, streams)
    assert api_of(provider, "GET", path) is None


@pytest.mark.parametrize(("host", "path"), NOT_METERED)
def test_what_is_charged_in_another_way_is_not_metered(call: Any, host: str, path: str) -> None:
    provider = provider_of(host)
    assert provider is not None
    assert api_of(provider, "POST", path) is None
    found = call(host, path, {"model": "any-model", "input": "hi"})
    assert isinstance(found, Unpriced)
    assert "not metered yet" in found.message


@pytest.mark.parametrize(
    ("host", "target", "body", "model", "streams"),
    [
        (BEDROCK, "/model/eu.amazon.nova-lite-v1%3A0/converse", {}, "eu.amazon.nova-lite-v1:0", False),
        (
            BEDROCK,
            "/model/" + PROFILE.replace(":", "%3A").replace("/", "%2F") + "/converse-stream",
            {},
            "us.amazon.nova-lite-v1:0",
            True,
        ),
        (
            BEDROCK,
            "/model/arn%3Aaws%3Abedrock%3Aus-east-1%3A%3Afoundation-model%2Famazon.nova-lite-v1%3A0/invoke",
            {},
            "amazon.nova-lite-v1:0",
            False,
        ),
        (
            GEMINI,
            "/v1beta/models/gemini-2.5-flash%3AgenerateContent",
            {"model": "gemini-2.5-flash-lite"},
            "gemini-2.5-flash",
            False,
        ),
        (
            GEMINI,
            "/v1beta/openai/chat/completions",
            {"model": "models/gemini-2.5-flash", "stream": True},
            "gemini-2.5-flash",
            True,
        ),
        (
            VERTEX,
            f"{PROJECT}/endpoints/openapi/chat/completions",
            {"model": "google/gemini-2.5-flash"},
            "gemini-2.5-flash",
            False,
        ),
        (
            AZURE,
            "/openai/deployments/gpt-4o/chat/completions?api-version=2024-10-21",
            {"model": "gpt-4o-mini"},
            "gpt-4o",
            False,
        ),
        ("api.openai.com", "/v1/responses", {"model": "gpt-4.1-mini", "stream": True}, "gpt-4.1-mini", True),
    ],
)
def test_the_path_names_the_model_where_it_does_and_the_body_elsewhere(
    call: Any, host: str, target: str, body: dict[str, Any], model: str, streams: bool
) -> None:
    plan = call(host, target, body)
    assert isinstance(plan, Plan), plan
    assert (plan.model, plan.stream) == (model, streams)


def test_the_router_of_hugging_face_names_the_provider_behind_it(call: Any) -> None:
    assert price_provider("huggingface", "/novita/v3/openai/chat/completions") == "huggingface_novita"
    assert price_provider("openai", "/novita/v3") == "openai"
    body = {"model": "Qwen/Qwen3-32B", "messages": [], "max_tokens": 100}
    plan = call("router.huggingface.co", "/novita/v3/openai/chat/completions", body)
    assert isinstance(plan, Plan)
    assert plan.provider == "huggingface_novita"
    assert isinstance(call("router.huggingface.co", "/v1/chat/completions", body), Unpriced)


@pytest.mark.parametrize(
    ("provider", "written", "known"),
    [
        ("aws", PROFILE, "us.amazon.nova-lite-v1:0"),
        ("aws", "arn:aws-us-gov:bedrock:us-gov-west-1::foundation-model/amazon.nova-pro-v1:0", "amazon.nova-pro-v1:0"),
        ("aws", "arn:aws:bedrock:us-east-1:1:application-inference-profile/abc", None),
        ("aws", "amazon.nova-lite-v1:0", None),
        ("google", "models/gemini-2.5-flash", "gemini-2.5-flash"),
        ("fireworks", "accounts/fireworks/models/kimi-k2", None),
        ("openai", "a/b", None),
    ],
)
def test_a_model_is_known_out_of_its_resource_name(provider: str, written: str, known: str | None) -> None:
    assert model_name(provider, written) == (known or written)


@pytest.mark.parametrize(
    ("host", "model", "percent"),
    [
        ("us-east5-aiplatform.googleapis.com", "claude-haiku-4-5@20251001", 110),
        ("aiplatform.us.rep.googleapis.com", "claude-haiku-4-5@20251001", 110),
        ("aiplatform.googleapis.com", "claude-haiku-4-5@20251001", 100),
        ("us-east5-aiplatform.googleapis.com", "claude-opus-4-1@20250805", 100),
    ],
)
def test_claude_in_a_region_of_vertex_costs_a_tenth_more(
    call: Any, book: Any, host: str, model: str, percent: int
) -> None:
    path = f"/v1/projects/p/locations/x/publishers/anthropic/models/{model}:rawPredict"
    plan = call(host, path, {"anthropic_version": "vertex-2023-10-16", "max_tokens": 100, "messages": []})
    meter = book.meter(plan, 200, ((b"content-type", b"application/json"),))
    meter.feed(
        b'{"model": "claude", "usage": {"input_tokens": 1000, "output_tokens": 100}}'.replace(b"claude", model.encode())
    )
    told, written = (15_000, 75_000) if "opus" in model else (1_000, 5_000)
    assert meter.charge(complete=True).amount_nano == (1_000 * told + 100 * written) * percent // 100
    assert plan.percent == percent
