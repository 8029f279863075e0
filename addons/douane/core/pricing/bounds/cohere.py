"""Cohere: chat and rerank."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from douane.core.charge import Unpriced
from douane.core.pricing.bounds.work import Bound, RowOf, Work, holds_more, input_bound, items, most_asked
from douane.core.pricing.row import PriceRow
from douane.core.usage.tokens import count, mapping

_TEXT = frozenset({"text", "thinking", "document"})
_DOCUMENTS_A_SEARCH = 100
_BYTES_A_DOCUMENT = 500
"""A document of more than 500 tokens counts as several."""


def chat(body: Mapping[str, Any], body_bytes: bytes, row: PriceRow, row_of: RowOf) -> Bound | Unpriced:  # noqa: ARG001
    """The worst case of a chat."""
    if body.get("connectors"):
        return Unpriced(str(body["model"]), "Connectors read what cannot be seen from here, and are not metered yet.")
    several = 1 if body.get("num_generations") is None else count(body["num_generations"])
    if not several:
        return Unpriced(str(body["model"]), "`num_generations` has to be a positive integer: it multiplies the costs.")
    contents = [mapping(message).get("content") for message in items(body.get("messages"))]
    refers = body.get("conversation_id") is not None or any(holds_more(content, _TEXT) for content in contents)
    output = most_asked(body, ("max_tokens",), row)
    return Bound((Work(input_bound(len(body_bytes), row, refers=refers), output * several),), hidden_output=True)


def rerank(body: Mapping[str, Any], body_bytes: bytes, row: PriceRow, row_of: RowOf) -> Bound | Unpriced:  # noqa: ARG001
    """The worst case of a rerank: one search for each hundred documents."""
    documents = len(items(body.get("documents"))) + len(body_bytes) // _BYTES_A_DOCUMENT
    searches = max(1, -(-documents // _DOCUMENTS_A_SEARCH))
    return Bound((Work(0, 0, frozenset(), (("rerank_searches", searches),)),), hidden_output=True)
