"""Whose inference API a host serves: an exact map, so that `api.openai.com.evil.example` is nobody's.

Provider ids are those of the price book (`genai-prices`) where it has the provider. Hosts that serve much besides
models (`api.cloudflare.com`, Databricks workspaces, Modal, Azure API Management) are left to `looks_like_inference`.
"""

from __future__ import annotations

import re
from functools import lru_cache
from typing import Any

_EXACT = {
    "api.openai.com": "openai",
    "api.anthropic.com": "anthropic",
    "api-staging.anthropic.com": "anthropic",
    "generativelanguage.googleapis.com": "google",
    "aiplatform.googleapis.com": "google",
    "api.mistral.ai": "mistral",
    "codestral.mistral.ai": "mistral",
    "api.cohere.com": "cohere",
    "api.cohere.ai": "cohere",
    "api.groq.com": "groq",
    "api.deepseek.com": "deepseek",
    "api.x.ai": "x-ai",
    "openrouter.ai": "openrouter",
    "api.openrouter.ai": "openrouter",
    "api.perplexity.ai": "perplexity",
    "api.together.xyz": "together",
    "api.together.ai": "together",
    "api.fireworks.ai": "fireworks",
    "api.cerebras.ai": "cerebras",
    "api.avian.io": "avian",
    "api.novita.ai": "novita",
    "api.moonshot.ai": "moonshotai",
    "api.moonshot.cn": "moonshotai",
    "api.z.ai": "zai",
    "open.bigmodel.cn": "zhipuai",
    "router.huggingface.co": "huggingface",
    "api-inference.huggingface.co": "huggingface",
    "oai.endpoints.kepler.ai.cloud.ovh.net": "ovhcloud",
    "models.github.ai": "github",
    "models.inference.ai.azure.com": "azure",
    "api.minimax.io": "minimax",
    "api.minimaxi.com": "minimax",
    "api.minimax.chat": "minimax",
    "api.sambanova.ai": "sambanova",
    "api.deepinfra.com": "deepinfra",
    "api.studio.nebius.com": "nebius",
    "api.studio.nebius.ai": "nebius",
    "api.tokenfactory.nebius.com": "nebius",
    "api.hyperbolic.xyz": "hyperbolic",
    "api.siliconflow.com": "siliconflow",
    "api.siliconflow.cn": "siliconflow",
    "dashscope.aliyuncs.com": "alibaba",
    "dashscope-intl.aliyuncs.com": "alibaba",
    "dashscope-us.aliyuncs.com": "alibaba",
    "api.replicate.com": "replicate",
    "ai-gateway.vercel.sh": "vercel",
    "gateway.ai.cloudflare.com": "cloudflare",
    "api.arcee.ai": "arcee",
    "api.cursor.com": "cursor",
    "api.doubleword.ai": "doubleword",
    "api.quicksilverpro.io": "quicksilverpro",
    "api.typesafe.ai": "typesafe",
    "integrate.api.nvidia.com": "nvidia",
    "api.ai21.com": "ai21",
    "api.voyageai.com": "voyageai",
    "api.inceptionlabs.ai": "inception",
    "api.meta.ai": "meta",
    "api.llama.com": "meta",
    "api.githubcopilot.com": "github-copilot",
    "ollama.com": "ollama",
    "opencode.ai": "opencode",
    "us.inference.heroku.com": "heroku",
    "eu.inference.heroku.com": "heroku",
    "api.elevenlabs.io": "elevenlabs",
    "api.us.elevenlabs.io": "elevenlabs",
    "api.eu.residency.elevenlabs.io": "elevenlabs",
    "api.in.residency.elevenlabs.io": "elevenlabs",
    "api.sg.residency.elevenlabs.io": "elevenlabs",
    "api.stability.ai": "stability",
    "api.assemblyai.com": "assemblyai",
    "api.deepgram.com": "deepgram",
    "queue.fal.run": "fal",
    "fal.run": "fal",
    "api.lepton.ai": "lepton",
    "api.anyscale.com": "anyscale",
    "api.endpoints.anyscale.com": "anyscale",
    "inference.baseten.co": "baseten",
    "api.inference.net": "inference-net",
    "api.parasail.io": "parasail",
    "api.friendli.ai": "friendli",
    "api.upstage.ai": "upstage",
    "api.writer.com": "writer",
    "api.reka.ai": "reka",
    "api.featherless.ai": "featherless",
    "api.venice.ai": "venice",
    "llm.chutes.ai": "chutes",
}

_REGIONAL = tuple(
    (re.compile(pattern), provider)
    for pattern, provider in (
        (r"[a-z]{2,3}\.api\.openai\.com", "openai"),
        (r"[a-z0-9-]+-aiplatform\.googleapis\.com", "google"),
        (r"aiplatform\.[a-z0-9-]+\.rep\.googleapis\.com", "google"),
        (r"bedrock-(runtime|mantle|agent-runtime)(-fips)?\.[a-z0-9-]+\.(amazonaws\.com(\.cn)?|api\.aws)", "aws"),
        (r"runtime\.sagemaker(-fips)?\.[a-z0-9-]+\.amazonaws\.com", "aws"),
        (r"[a-z0-9-]+\.openai\.azure\.(com|us|cn)", "azure"),
        (r"[a-z0-9-]+\.(services\.ai|cognitiveservices)\.azure\.(com|us|cn)", "azure"),
        (r"[a-z0-9.-]+\.(models\.ai\.azure|inference\.ml\.azure)\.com", "azure"),
        (r"[a-z0-9-]+\.api\.x\.ai", "x-ai"),
        (r"[a-z0-9.-]+\.endpoints\.huggingface\.cloud", "huggingface"),
        (r"[a-z0-9-]+\.endpoints\.kepler\.ai\.cloud\.ovh\.net", "ovhcloud"),
        (r"model-[a-z0-9]+\.api\.baseten\.co", "baseten"),
    )
)

_REALTIME = {
    "openai": frozenset({"/v1/realtime"}),
    "azure": frozenset({"/openai/realtime", "/openai/v1/realtime"}),
}
"""Paths of OpenAI's Realtime API, over a WebSocket. xAI's is charged by the minute, which nobody here can bound."""

_INFERENCE_PATH = re.compile(
    r"/chat/completions/?$"
    r"|/v1/(completions|images/(generations|edits|variations)|audio/(speech|transcriptions|translations))/?$"
    r"|/model/[^/]+/(converse|converse-stream|invoke|invoke-with-response-stream)/?$"
    r"|:(streamGenerateContent|generateContent|rawPredict|streamRawPredict|embedContent|batchEmbedContents)$"
    r"|/serving-endpoints/[^/]+/invocations/?$"
    r"|/accounts/[^/]+/ai/run/"
)
_PROMPTS = frozenset({"messages", "input", "prompt", "contents", "query", "texts", "documents"})


PROVIDERS = frozenset(_EXACT.values()) | {provider for _, provider in _REGIONAL}
"""All providers that hosts are known of."""


@lru_cache(4096)
def provider_of(host: str) -> str | None:
    """The price book's provider that a canonical host belongs to, or None."""
    found = _EXACT.get(host)
    if found is None and host.endswith((".com", ".aws", ".cn", ".us", ".cloud", ".net", ".ai", ".co")):
        for pattern, provider in _REGIONAL:
            if pattern.fullmatch(host):
                return provider
    return found


def looks_like_inference(path: str, body: Any) -> bool:
    """Whether a request to an unknown host looks like a call of a model: by its path, or a body of model and prompt."""
    if _INFERENCE_PATH.search(path):
        return True
    return isinstance(body, dict) and isinstance(body.get("model"), str) and not _PROMPTS.isdisjoint(body)


def is_realtime(host: str, path: str) -> bool:
    """Whether WebSockets of a metered kind are opened there."""
    return path in _REALTIME.get(provider_of(host) or "", ())
