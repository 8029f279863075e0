"""Google's Gemini API and Vertex AI: `usageMetadata`, cumulative in a stream, by modality."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from douane.core.usage.framing import Framing
from douane.core.usage.reader import Reader, size
from douane.core.usage.tokens import Quantities, count, keep_larger, mapping, text

_MODALITIES = {
    "IMAGE": "image",
    "DOCUMENT": "image",
    "VIDEO": "video",
    "AUDIO": "audio",
    2: "image",
    3: "video",
    4: "audio",
    5: "image",
}
"""By name, or by number under `$alt=json;enum-encoding=int`; text is what is left."""

_TIERS = {"ON_DEMAND_FLEX": "flex", "ON_DEMAND_PRIORITY": "priority"}
"""Vertex names the tier by its traffic."""


class Gemini(Reader):
    """Reads the answer of generateContent or streamGenerateContent."""

    members = ("usageMetadata", "modelVersion", "responseId", "candidates")
    tool_member = "candidates"

    def __init__(self, framing: Framing = "sse") -> None:
        super().__init__(framing)
        self._usage: dict[str, Any] = {}
        self._queries: set[str] = set()
        self._maps = False

    def whole(self, answer: Mapping[str, Any]) -> None:
        """Read a JSON answer, an event, or what was read of one."""
        usage = self.usage
        usage.model = text(answer.get("modelVersion"), usage.model)
        usage.response_id = text(answer.get("responseId"), usage.response_id)
        candidates = answer.get("candidates")
        for candidate in candidates if isinstance(candidates, list) else ():
            self._candidate(mapping(candidate))
        reported = answer.get("usageMetadata")
        if not isinstance(reported, Mapping):
            return
        keep_larger(self._usage, reported)
        tier = text(reported.get("serviceTier")) or _TIERS.get(str(reported.get("trafficType")))
        usage.service_tier = text(tier, usage.service_tier)
        if (found := measured(self._usage)) is not None:
            if self._queries:
                found["web_searches"] = len(self._queries)
            if self._maps:
                found["map_searches"] = 1
            usage.parts = [(None, found)]
            usage.reported = True

    def _candidate(self, candidate: Mapping[str, Any]) -> None:
        parts = mapping(candidate.get("content")).get("parts")
        for part in parts if isinstance(parts, list) else ():
            self.visible_bytes += sum(
                size(value) for name, value in mapping(part).items() if name not in ("thoughtSignature", "inlineData")
            )
        grounding = mapping(candidate.get("groundingMetadata"))
        queries = grounding.get("webSearchQueries")
        self._queries.update(str(query) for query in (queries if isinstance(queries, list) else ()))
        chunks = grounding.get("groundingChunks")
        self._maps = self._maps or any(
            "maps" in mapping(chunk) for chunk in (chunks if isinstance(chunks, list) else ())
        )


class GeminiEmbeddings(Reader):
    """Vectors of embedContent and of Vertex' predict: only their input is charged."""

    members = ("usageMetadata", "predictions", "metadata")

    def whole(self, answer: Mapping[str, Any]) -> None:
        """Read a JSON answer, or what was read of one."""
        found = measured(mapping(answer.get("usageMetadata"))) or {}
        predictions = answer.get("predictions")
        for prediction in predictions if isinstance(predictions, list) else ():
            statistics = mapping(mapping(mapping(prediction).get("embeddings")).get("statistics"))
            tokens = count(statistics.get("token_count"))
            if tokens is not None:
                found["input_tokens"] = found.get("input_tokens", 0) + tokens
        if found:
            self.usage.parts = [(None, found)]
            self.usage.reported = True


def measured(usage: Mapping[str, Any]) -> Quantities | None:
    """The quantities of a `usageMetadata`; None where it has no counts."""
    prompt, tools = count(usage.get("promptTokenCount")), count(usage.get("toolUsePromptTokenCount")) or 0
    answer = count(usage.get("candidatesTokenCount", usage.get("responseTokenCount")))
    thoughts = count(usage.get("thoughtsTokenCount"))
    if prompt is None and answer is None and thoughts is None:
        return None
    told = (prompt or 0) + tools
    found = {
        "input_tokens": told,
        "output_tokens": max((answer or 0) + (thoughts or 0), (count(usage.get("totalTokenCount")) or 0) - told),
        "cache_read_tokens": count(usage.get("cachedContentTokenCount")) or 0,
    }
    for member, unit in (
        ("promptTokensDetails", "input_{}_tokens"),
        ("toolUsePromptTokensDetails", "input_{}_tokens"),
        ("cacheTokensDetails", "cache_{}_read_tokens"),
        ("candidatesTokensDetails", "output_{}_tokens"),
        ("responseTokensDetails", "output_{}_tokens"),
    ):
        details = usage.get(member)
        for detail in details if isinstance(details, list) else ():
            modality, tokens = mapping(detail).get("modality"), count(mapping(detail).get("tokenCount"))
            if tokens and isinstance(modality, str | int) and modality in _MODALITIES:
                name = unit.format(_MODALITIES[modality])
                found[name] = found.get(name, 0) + tokens
    return found
