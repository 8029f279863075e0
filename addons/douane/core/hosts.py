"""Whose inference API a host serves: an exact map, so that `api.openai.com.evil.example` is nobody's."""

from __future__ import annotations

import re
from typing import Any

_EXACT = {
    "api.openai.com": "openai",
    "eu.api.openai.com": "openai",
    "us.api.openai.com": "openai",
    "au.api.openai.com": "openai",
    "ca.api.openai.com": "openai",
    "in.api.openai.com": "openai",
    "jp.api.openai.com": "openai",
    "kr.api.openai.com": "openai",
    "sg.api.openai.com": "openai",
    "gb.api.openai.com": "openai",
    "ae.api.openai.com": "openai",
    "api.anthropic.com": "anthropic",
    "api-staging.anthropic.com": "anthropic",
    "generativelanguage.googleapis.com": "google",
    "aiplatform.googleapis.com": "google",
    "aiplatform.us.rep.googleapis.com": "google",
    "aiplatform.eu.rep.googleapis.com": "google",
    "api.mistral.ai": "mistral",
    "codestral.mistral.ai": "mistral",
    "api.cohere.com": "cohere",
    "api.cohere.ai": "cohere",
    "api.groq.com": "groq",
    "api.deepseek.com": "deepseek",
    "api.x.ai": "x-ai",
    "eu-west-1.api.x.ai": "x-ai",
    "us-east-1.api.x.ai": "x-ai",
    "us-west-2.api.x.ai": "x-ai",
    "openrouter.ai": "openrouter",
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
    "open.bigmodel.cn": "zai",
    "router.huggingface.co": "huggingface",
    "api-inference.huggingface.co": "huggingface",
    "api.ovhcloud.com": "ovhcloud",
    "models.github.ai": "github",
    "models.inference.ai.azure.com": "azure",
    "api.minimax.io": "minimax",
    "api.minimaxi.com": "minimax",
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
    "integrate.api.nvidia.com": "nvidia",
    "api.ai21.com": "ai21",
    "api.voyageai.com": "voyage",
    "api.inceptionlabs.ai": "inception",
    "api.llama.com": "meta",
    "api.githubcopilot.com": "github-copilot",
    "ollama.com": "ollama",
    "opencode.ai": "opencode",
    "api.heroku.com": "heroku",
    "us.inference.heroku.com": "heroku",
    "eu.inference.heroku.com": "heroku",
    "api.elevenlabs.io": "elevenlabs",
    "api.stability.ai": "stability",
    "api.assemblyai.com": "assemblyai",
    "api.deepgram.com": "deepgram",
    "queue.fal.run": "fal",
    "fal.run": "fal",
    "api.lepton.ai": "lepton",
    "api.anyscale.com": "anyscale",
    "api.endpoints.anyscale.com": "anyscale",
    "api.baseten.co": "baseten",
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

_REGIONAL = (
    (re.compile(r"[a-z0-9-]+-aiplatform\.googleapis\.com"), "google"),
    (re.compile(r"[a-z0-9-]+\.aiplatform\.googleapis\.com"), "google"),
    (re.compile(r"(bedrock-runtime|bedrock-mantle|bedrock-agent-runtime)(-fips)?\.[a-z0-9-]+\.amazonaws\.com(\.cn)?"), "aws"),
    (re.compile(r"(bedrock-runtime|bedrock-mantle|bedrock-agent-runtime)(-fips)?\.[a-z0-9-]+\.api\.aws"), "aws"),
    (re.compile(r"runtime\.sagemaker(-fips)?\.[a-z0-9-]+\.amazonaws\.com"), "aws"),
    (re.compile(r"[a-z0-9-]+\.openai\.azure\.(com|us|cn)"), "azure"),
    (re.compile(r"[a-z0-9-]+\.services\.ai\.azure\.com"), "azure"),
    (re.compile(r"[a-z0-9-]+\.cognitiveservices\.azure\.com"), "azure"),
    (re.compile(r"[a-z0-9.-]+\.models\.ai\.azure\.com"), "azure"),
    (re.compile(r"[a-z0-9.-]+\.inference\.ml\.azure\.com"), "azure"),
    (re.compile(r"[a-z0-9-]+\.endpoints\.huggingface\.cloud"), "huggingface"),
    (re.compile(r"[a-z0-9-]+\.endpoints\.kepler\.ai\.cloud\.ovh\.net"), "ovhcloud"),
)

_INFERENCE_PATH = re.compile(
    r"/(chat/completions|completions|responses|messages|embeddings|converse|converse-stream|invoke"
    r"|invoke-with-response-stream|api/(generate|chat|embed|embeddings)|v[12]/(chat|generate|rerank|embed)"
    r"|images/(generations|edits|variations)|audio/(speech|transcriptions|translations))/?$"
    r"|:(streamGenerateContent|generateContent|predict|rawPredict|streamRawPredict|embedContent|batchEmbedContents)$"
)


def provider_of(host: str) -> str | None:
    """The price book's provider that a canonical host belongs to, or None."""
    found = _EXACT.get(host)
    if found is None and host.endswith((".com", ".aws", ".cn", ".us", ".cloud", ".net")):
        for pattern, provider in _REGIONAL:
            if pattern.fullmatch(host):
                return provider
    return found


def looks_like_inference(path: str, body: Any) -> bool:
    """Whether a request to an unknown host looks like a call of a model: by its path, or a body of model and messages."""
    if _INFERENCE_PATH.search(path):
        return True
    return isinstance(body, dict) and "model" in body and not {"messages", "input", "prompt", "contents"}.isdisjoint(body)
