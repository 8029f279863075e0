"""Amazon Bedrock: Converse, and Invoke with the body of each model's own API."""

from __future__ import annotations

import re
from collections.abc import Iterator, Mapping
from typing import Any

from douane.core.charge import Unpriced
from douane.core.pricing.bounds import anthropic
from douane.core.pricing.bounds.work import Bound, RowOf, Work, input_bound, input_units, is_escaped, items
from douane.core.pricing.row import PriceRow
from douane.core.usage.tokens import count, mapping

_LIMITS = frozenset(
    {"maxTokens", "max_tokens", "maxTokenCount", "max_gen_len", "max_new_tokens", "max_tokens_to_sample"}
    | {"max_completion_tokens", "maxNewTokens", "maxOutputTokens"}
)
_REFERS = re.compile(rb'"(image|images|video|document|s3Location|audio|inputImage|image_url|source)"')

_BLOCKS = frozenset({"text", "toolUse", "toolResult", "reasoningContent", "cachePoint"})
_RESULTS = frozenset({"text", "json"})
"""Content of Converse that is all in the body; whatever else there is may stand for more."""


def converse(body: Mapping[str, Any], body_bytes: bytes, row: PriceRow, row_of: RowOf) -> Bound | Unpriced:  # noqa: ARG001
    """The worst case of Converse and ConverseStream."""
    model = str(body["model"])
    if body.get("guardrailConfig") is not None:
        return Unpriced(model, "Guardrails are charged beside the model's tokens and not metered yet.")
    if mapping(body.get("performanceConfig")).get("latency") == "optimized":
        return Unpriced(model, "Latency-optimised inference has prices of its own, which the price book lacks.")
    if mapping(body.get("serviceTier")).get("type") not in (None, "default", "flex"):
        return Unpriced(model, "The service tier has prices of its own, which the price book lacks.")
    if b"systemTool" in body_bytes or b"nova_grounding" in body_bytes:
        return Unpriced(model, "Tools that run at the provider are not metered yet.")
    contents = [mapping(message).get("content") for message in items(body.get("messages"))]
    return _text(body, body_bytes, row, refers=any(map(_holds_more, [*contents, body.get("system")])))


def invoke(body: Mapping[str, Any], body_bytes: bytes, row: PriceRow, row_of: RowOf) -> Bound | Unpriced:
    """The worst case of InvokeModel and InvokeModelWithResponseStream."""
    if "anthropic_version" in body:
        return anthropic.messages(body, body_bytes, row, row_of)
    return _text(body, body_bytes, row, refers=bool(_REFERS.search(body_bytes)) or is_escaped(body_bytes))


def _text(body: Mapping[str, Any], body_bytes: bytes, row: PriceRow, *, refers: bool) -> Bound:
    limits = list(_limits(body))
    known = [count(limit) or row.max_output_tokens for limit in limits]
    output = max(known) if known else row.max_output_tokens
    if "output_tokens" not in row.names:
        output = 0
    units = input_units(row, "cache_write_tokens", "cache_write_1h_tokens") if b"cachePoint" in body_bytes else None
    work = Work(input_bound(len(body_bytes), row, refers=refers), output, units or frozenset({"cache_read_tokens"}))
    return Bound((work,), hidden_output=True)


def _holds_more(content: Any) -> bool:
    """Whether Converse's content has blocks that may stand for more tokens than they have bytes."""
    for block in content if isinstance(content, list) else [content]:
        if block is None:
            continue
        if not isinstance(block, Mapping) or not block.keys() <= _BLOCKS:
            return True
        results = mapping(block.get("toolResult")).get("content")
        if any(not mapping(result).keys() <= _RESULTS for result in items(results)):
            return True
    return False


def _limits(body: Any) -> Iterator[Any]:
    """Every limit of the output that stands anywhere in a body."""
    left = [body]
    while left:
        value = left.pop()
        if isinstance(value, Mapping):
            yield from (inner for name, inner in value.items() if name in _LIMITS and inner is not None)
            left += value.values()
        elif isinstance(value, list):
            left += value
