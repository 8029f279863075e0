"""Which API a billable call uses, by provider, method and path: how it is bounded, and how its answer is read."""

from __future__ import annotations

import re
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from functools import lru_cache
from typing import Any

from douane.core.charge import Unpriced
from douane.core.pricing.bounds import anthropic as anthropic_bounds
from douane.core.pricing.bounds import bedrock as bedrock_bounds
from douane.core.pricing.bounds import cohere as cohere_bounds
from douane.core.pricing.bounds import gemini as gemini_bounds
from douane.core.pricing.bounds import openai as openai_bounds
from douane.core.pricing.bounds import realtime as realtime_bounds
from douane.core.pricing.bounds.work import Bound, RowOf
from douane.core.pricing.row import PriceRow
from douane.core.usage import (
    anthropic,
    bedrock,
    cohere,
    gemini,
    ollama,
    openai_batch,
    openai_chat,
    openai_media,
    openai_responses,
    realtime,
)
from douane.core.usage.framing import Framing
from douane.core.usage.reader import Reader

type BoundOf = Callable[[Mapping[str, Any], bytes, PriceRow, RowOf], Bound | Unpriced]


@dataclass(frozen=True, slots=True)
class Api:
    """One shape of requests and answers, whoever offers it."""

    name: str
    bound: BoundOf
    reader: Callable[[Framing], Reader]
    streams_as: Framing | None = None
    """How a stream is cut that calls itself JSON, or nothing at all; None: such an answer is one document."""
    usage_by_request: bool = False
    """A stream reports its usage where `include_usage` asks for it."""
    later: bool = False
    """The answer is of work that an earlier call began."""
    takes_forms: bool = False
    """Requests may come as a form with files."""
    is_socket: bool = False
    """A WebSocket, on which any number of responses come; the model stands in the query."""


CHAT = Api("openai.chat", openai_bounds.chat, openai_chat.OpenAIChat, usage_by_request=True)
RESPONSES = Api("openai.responses", openai_bounds.responses, openai_responses.OpenAIResponses)
EMBEDDINGS = Api("openai.embeddings", openai_bounds.embeddings, openai_media.Embeddings)
POLL = Api("openai.responses", openai_bounds.nothing, openai_responses.OpenAIResponses, later=True)
IMAGES = Api("openai.images", openai_bounds.images, openai_media.Images, takes_forms=True)
SPEECH = Api("openai.speech", openai_bounds.speech, openai_media.Audio)
TRANSCRIPTION = Api("openai.transcription", openai_bounds.transcription, openai_media.Audio, takes_forms=True)
MESSAGES = Api("anthropic.messages", anthropic_bounds.messages, anthropic.AnthropicMessages)
BATCH = Api("anthropic.batch", anthropic_bounds.batch, anthropic.BatchBegun)
OPENAI_BATCH = Api("openai.batch", openai_bounds.nothing, openai_batch.OpenAIBatch)
OPENAI_BATCH_POLL = Api("openai.batch", openai_bounds.nothing, openai_batch.OpenAIBatch, later=True)
BATCH_RESULTS = Api(
    "anthropic.batch.results", openai_bounds.nothing, anthropic.AnthropicBatch, streams_as="lines", later=True
)
GEMINI = Api("gemini", gemini_bounds.generate, gemini.Gemini, streams_as="array")
GEMINI_EMBEDDINGS = Api("gemini.embeddings", gemini_bounds.embed, gemini.GeminiEmbeddings)
CONVERSE = Api("bedrock.converse", bedrock_bounds.converse, bedrock.Converse, streams_as="aws")
INVOKE = Api("bedrock.invoke", bedrock_bounds.invoke, bedrock.Invoke, streams_as="aws")
COHERE = Api("cohere", cohere_bounds.chat, cohere.Cohere, streams_as="lines")
COHERE_EMBEDDINGS = Api("cohere.embeddings", openai_bounds.embeddings, cohere.Cohere)
RERANK = Api("cohere.rerank", cohere_bounds.rerank, cohere.Cohere)
OLLAMA = Api("ollama", openai_bounds.plain, ollama.Ollama, streams_as="lines")
OLLAMA_EMBEDDINGS = Api("ollama.embeddings", openai_bounds.embeddings, ollama.Ollama)
REALTIME = Api("openai.realtime", realtime_bounds.response, realtime.Realtime, is_socket=True)


@dataclass(frozen=True, slots=True)
class _Route:
    path: re.Pattern[str]
    api: Api
    providers: frozenset[str] | None = None
    """None: all that offer it."""


def _route(path: str, api: Api, *providers: str) -> _Route:
    return _Route(re.compile(path), api, frozenset(providers) or None)


# fmt: off
_ROUTES = (
    _route(r"/model/(?P<model>.+)/converse(?P<stream>-stream)?", CONVERSE, "aws"),
    _route(r"/model/(?P<model>.+)/invoke(?P<stream>-with-response-stream)?", INVOKE, "aws"),
    _route(r".*/publishers/anthropic/models/(?P<model>[^/:]+):(rawPredict|(?P<stream>streamRawPredict))", MESSAGES, "google"),
    _route(r".*/publishers/(?!google/)[^/]+/models/(?P<model>[^/:]+):(rawPredict|(?P<stream>streamRawPredict))", CHAT, "google"),
    _route(r".*/(models|endpoints)/(?P<model>[^/:]+):(generateContent|(?P<stream>streamGenerateContent))", GEMINI, "google"),
    _route(r".*/models/(?P<model>[^/:]+):(embedContent|batchEmbedContents|predict)", GEMINI_EMBEDDINGS, "google"),
    _route(r"/(v1|v2)/chat", COHERE, "cohere"),
    _route(r"/v1/generate", COHERE, "cohere"),
    _route(r"/(v1|v2)/embed", COHERE_EMBEDDINGS, "cohere"),
    _route(r"/(v1|v2)/rerank", RERANK, "cohere"),
    _route(r"/api/(chat|generate)", OLLAMA, "ollama"),
    _route(r"/api/(embed|embeddings)", OLLAMA_EMBEDDINGS, "ollama"),
    _route(r"(?P<deployment>.*/deployments/(?P<model>[^/]+))/(chat/)?completions", CHAT, "azure"),
    _route(r"(?P<deployment>.*/deployments/(?P<model>[^/]+))/embeddings", EMBEDDINGS, "azure"),
    _route(r".*/(chat|fim)/completions", CHAT),
    _route(r".*(?<!/agents)/completions", CHAT),  # an agent of Mistral has a model of its own
    _route(r".*/responses", RESPONSES),
    _route(r".*/v1/messages", MESSAGES),
    _route(r"/v1/messages/batches", BATCH, "anthropic"),
    _route(r".*/embeddings", EMBEDDINGS),
    _route(r".*/images/(generations|edits)", IMAGES),
    _route(r".*/audio/speech", SPEECH),
    _route(r".*/audio/(transcriptions|translations)", TRANSCRIPTION),
)
# fmt: on


_POLLS = {
    re.compile(r".*/responses/(?P<id>[^/]+)(/cancel)?"): POLL,
    re.compile(r".*/v1/messages/batches/(?P<id>[^/]+)/results"): BATCH_RESULTS,
    re.compile(r"/v1/batches/(?P<id>[^/]+)(/cancel)?"): OPENAI_BATCH_POLL,
}


@lru_cache(1024)
def later_api_of(path: str) -> tuple[Api, str] | None:
    """(the API whose answer tells of earlier work, that work's id), or None."""
    for pattern, api in _POLLS.items():
        if found := pattern.fullmatch(path):
            return api, found["id"]
    return None


@lru_cache(4096)
def api_of(provider: str, method: str, path: str) -> tuple[Api, str | None, bool] | None:
    """(the API that a request calls, the model that its path names, whether its path asks for a stream), or None."""
    if method != "POST":
        return None
    for route in _ROUTES:
        if (route.providers is None or provider in route.providers) and (found := route.path.fullmatch(path)):
            named = found.groupdict()
            return route.api, named.get("model"), named.get("stream") is not None
    return None


_INFERENCE_PROFILE = re.compile(r"arn:aws[a-z-]*:bedrock:[a-z0-9-]*:\d*:(inference-profile|foundation-model)/(.+)")
_HUGGINGFACE = "huggingface"


def price_provider(provider: str, path: str) -> str:
    """The price book's provider: Hugging Face's router names the one behind it in the path."""
    if provider == _HUGGINGFACE:
        return f"{_HUGGINGFACE}_{path.split('/', 2)[1]}"
    return provider


def model_name(provider: str, model: str) -> str:
    """A model as the price book knows it: out of a resource name or an ARN."""
    if provider == "aws" and (found := _INFERENCE_PROFILE.fullmatch(model)):
        return found[2]
    if provider in ("google", "fireworks"):
        return model.rpartition("/")[2] if provider == "google" else model
    return model
