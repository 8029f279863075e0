"""Google's Gemini API and Vertex AI. Their JSON takes each name in camelCase and in snake_case."""

from __future__ import annotations

import re
from collections.abc import Mapping
from typing import Any

from douane.core.charge import Unpriced
from douane.core.pricing.bounds.work import (
    Bound,
    OutputLimit,
    RowOf,
    Work,
    at_the_provider,
    input_bound,
    is_escaped,
    items,
)
from douane.core.pricing.row import PriceRow
from douane.core.usage.tokens import count, mapping

_MOST_QUERIES = 20
"""Searches for one grounded answer; recorded ones have up to 8."""

_REFERS = re.compile(rb'"(inlineData|inline_data|fileData|file_data|cachedContent|cached_content)"')
_UNITS = (
    "cache_read_tokens",
    "cache_audio_read_tokens",
    "input_audio_tokens",
    "input_image_tokens",
    "input_video_tokens",
    "output_audio_tokens",
    "output_image_tokens",
    "output_video_tokens",
)
"""Of these, those that a model has prices for: what draws or speaks does so unasked."""


def generate(body: Mapping[str, Any], body_bytes: bytes, row: PriceRow, row_of: RowOf) -> Bound | Unpriced:  # noqa: ARG001
    """The worst case of generateContent."""
    model = str(body["model"])
    searches = maps = reads = False
    for tool in map(mapping, items(body.get("tools"))):
        for name in map(_snake, tool):
            match name:
                case "function_declarations" | "computer_use" | "function_calling_config":
                    pass
                case "google_search" | "google_search_retrieval" | "enterprise_web_search":
                    searches = True
                case "google_maps":
                    maps = True
                case "code_execution" | "url_context" | "file_search":  # a stored file is paid for where it is stored
                    reads = True
                case _:
                    return at_the_provider(model, name)
    settings = [mapping(part) for part in _under(body, "generationConfig")]
    several = _number(settings, "candidateCount", 1)
    if not several:
        return Unpriced(model, "`candidateCount` has to be a positive integer: it multiplies what the call may cost.")
    output = _number(settings, "maxOutputTokens", row.max_output_tokens) or row.max_output_tokens
    refers = bool(_REFERS.search(body_bytes)) or is_escaped(body_bytes)
    input_tokens = input_bound(len(body_bytes), row, refers=refers)
    if reads or searches or maps:  # what they find is read as input of its own
        input_tokens = row.context_tokens * 2
    fees = {"web_searches": _MOST_QUERIES * searches, "map_searches": int(maps)}
    work = Work(
        input_tokens,
        output * several,
        frozenset(_UNITS) & row.names | {"cache_read_tokens"},
        tuple((unit, times) for unit, times in fees.items() if times),
    )
    return Bound((work,), hidden_output=True, limit=_limit(body, settings, several))


def _limit(body: Mapping[str, Any], settings: list[Mapping[str, Any]], several: int) -> OutputLimit | None:
    """Where the answer may be made shorter: it is plain text of a model that is told not to think."""
    if len(settings) != 1 or not isinstance(body.get("generationConfig"), Mapping) or body.get("tools"):
        return None
    told = settings[0]
    shaped = ("responseSchema", "responseJsonSchema", "responseMimeType", "responseModalities", "speechConfig")
    thinking = [mapping(part).get("thinkingBudget") for part in _under(told, "thinkingConfig")]
    if thinking != [0] or "max_output_tokens" in told or any(_under(told, name) for name in shaped):
        return None
    return OutputLimit(("generationConfig", "maxOutputTokens"), several)


def embed(body: Mapping[str, Any], body_bytes: bytes, row: PriceRow, row_of: RowOf) -> Bound | Unpriced:  # noqa: ARG001
    """The worst case of embedContent, batchEmbedContents and Vertex' predict."""
    several = max(1, len(items(body.get("requests"))), len(items(body.get("instances"))))
    refers = bool(_REFERS.search(body_bytes)) or b"bytesBase64Encoded" in body_bytes or is_escaped(body_bytes)
    tokens = row.context_tokens * several if refers else len(body_bytes) + 8 * several
    return Bound((Work(tokens, 0, frozenset(_UNITS) & row.names),), hidden_output=True)


def _snake(name: str) -> str:
    return re.sub(r"[A-Z]", lambda found: "_" + found[0].lower(), name)


def _under(body: Mapping[str, Any], name: str) -> list[Any]:
    """What stands under either spelling of a name; whoever writes both is held to both."""
    return [body[spelling] for spelling in (name, _snake(name)) if body.get(spelling) is not None]


def _number(settings: list[Mapping[str, Any]], name: str, otherwise: int) -> int | None:
    """The largest of the numbers that are told; None where one of them is no number."""
    told = [count(value) for part in settings for value in _under(part, name)]
    if not told:
        return otherwise
    return None if None in told else max(number or 0 for number in told)
