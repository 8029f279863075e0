"""Cohere, versions 1 and 2: what is billed stands apart from what was counted."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from douane.core.usage.reader import Reader, size
from douane.core.usage.tokens import Quantities, mapping, text, whole_number


class Cohere(Reader):
    """Reads the answer of chat, generate, embed or rerank."""

    members = ("id", "generation_id", "usage", "meta")

    def whole(self, answer: Mapping[str, Any]) -> None:
        """Read a JSON answer, or what was read of one."""
        usage = self.usage
        usage.response_id = text(answer.get("id"), text(answer.get("generation_id"), usage.response_id))
        reported = mapping(answer.get("usage")) or mapping(answer.get("meta"))
        if (found := measured(reported)) is not None:
            usage.parts = [(None, found)]
            usage.reported = True

    def event(self, event: Mapping[str, Any]) -> None:
        """Read one event of a stream."""
        kind = event.get("type") or event.get("event_type")
        match kind:
            case "message-start":
                self.usage.response_id = text(event.get("id"), self.usage.response_id)
            case "message-end":
                self.whole(mapping(event.get("delta")))
            case "stream-end":
                self.whole(mapping(event.get("response")))
            case "content-delta" | "tool-plan-delta" | "tool-call-start" | "tool-call-delta":
                self.visible_bytes += size(mapping(event.get("delta")).get("message"))
            case "text-generation":
                self.visible_bytes += size(event.get("text"))


def measured(usage: Mapping[str, Any]) -> Quantities | None:
    """The quantities of a `usage` or `meta`: as billed, else as counted; None where it has neither."""
    billed, tokens = mapping(usage.get("billed_units")), mapping(usage.get("tokens"))
    told, written = (_count(billed, tokens, name) for name in ("input_tokens", "output_tokens"))
    searches, images = whole_number(billed.get("search_units")), whole_number(billed.get("images"))
    if told is None and written is None and searches is None and images is None:
        return None
    found = {"input_tokens": told or 0, "output_tokens": written or 0}
    if searches:
        found["rerank_searches"] = searches
    if image_tokens := whole_number(billed.get("image_tokens")):
        found["input_tokens"] += image_tokens
    elif images:
        found["images_unmeasured"] = images
    return found


def _count(billed: Mapping[str, Any], tokens: Mapping[str, Any], name: str) -> int | None:
    found = whole_number(billed.get(name))
    return found if found is not None else whole_number(tokens.get(name))
