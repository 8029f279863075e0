"""Amazon Bedrock: Converse has a usage of its own; Invoke that of each model, and counts in headers or a last event."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from douane.core.usage import openai_chat
from douane.core.usage.anthropic import AnthropicMessages
from douane.core.usage.framing import Framing
from douane.core.usage.reader import Reader, size
from douane.core.usage.tokens import Quantities, count, keep_larger, mapping, text, whole_number

_HEADER = "x-amzn-bedrock-"
_METRICS = "amazon-bedrock-invocationMetrics"


class Converse(Reader):
    """Reads the answer of Converse or ConverseStream."""

    members = ("usage", "serviceTier", "trace")
    level = 2

    def whole(self, answer: Mapping[str, Any]) -> None:
        """Read a JSON answer, the stream's `metadata`, or what was read of one."""
        self.usage.service_tier = text(mapping(answer.get("serviceTier")).get("type"), self.usage.service_tier)
        answered_by = mapping(mapping(answer.get("trace")).get("promptRouter")).get("invokedModelId")
        self.usage.model = text(answered_by, self.usage.model)
        if (found := measured(mapping(answer.get("usage")))) is not None:
            self.usage.parts = [(None, found)]
            self.usage.reported = True

    def event(self, event: Mapping[str, Any]) -> None:
        """Read one event of a stream."""
        if "metadata" in event:
            self.whole(mapping(event["metadata"]))
        for name in ("contentBlockDelta", "contentBlockStart"):
            self.visible_bytes += size(mapping(event.get(name)).get("delta" if name.endswith("Delta") else "start"))


class Invoke(AnthropicMessages):
    """Reads the answer of InvokeModel: Claude's by its usage, the others' by Bedrock's own counts."""

    reads_head = True
    members = ("id", "model", "usage", "inputTextTokenCount", "results", "prompt_token_count", "generation_token_count")

    def __init__(self, framing: Framing = "aws") -> None:
        super().__init__(framing)
        self._counts: dict[str, Any] = {}

    def head(self, headers: Mapping[str, str]) -> None:
        """Read the counts of the response's headers."""
        for name, unit in (
            ("input-token-count", "inputTokens"),
            ("output-token-count", "outputTokens"),
            ("cache-read-input-token-count", "cacheReadInputTokens"),
            ("cache-write-input-token-count", "cacheWriteInputTokens"),
        ):
            value = headers.get(_HEADER + name, "")
            if value.isascii() and value.isdigit():
                self._counts[unit] = int(value)
        self._counted()

    def whole(self, answer: Mapping[str, Any]) -> None:
        """Read a JSON answer, or what was read of one."""
        super().whole(answer)
        self._model_counts(answer)

    def event(self, event: Mapping[str, Any]) -> None:
        """Read one event of a stream."""
        if isinstance(event.get("type"), str):
            super().event(event)
        else:
            self.visible_bytes += sum(
                size(event.get(name)) for name in ("outputText", "generation", "outputs", "choices")
            )
            inner = mapping(event.get("metadata")).get("usage")
            if inner is not None:
                self._model_counts({"usage": inner})
            self.visible_bytes += size(event.get("contentBlockDelta"))
        metrics = mapping(event.get(_METRICS))
        if metrics:
            told = {
                "inputTokens": whole_number(metrics.get("inputTokenCount")),
                "outputTokens": whole_number(metrics.get("outputTokenCount")),
                "cacheReadInputTokens": whole_number(metrics.get("cacheReadInputTokenCount")),
                "cacheWriteInputTokens": whole_number(metrics.get("cacheWriteInputTokenCount")),
            }
            keep_larger(self._counts, told)
            self._counted()

    def _model_counts(self, answer: Mapping[str, Any]) -> None:
        """What Titan, Llama, Nova, Mistral and OpenAI's models report in their own shapes."""
        results = answer.get("results")
        written = [
            whole_number(mapping(one).get("tokenCount")) for one in (results if isinstance(results, list) else ())
        ]
        usage = mapping(answer.get("usage"))
        chat = openai_chat.measured(usage) or {}
        for unit, values in (
            ("inputTokens", ("inputTextTokenCount", "prompt_token_count")),
            ("outputTokens", ("generation_token_count",)),
        ):
            for name in values:
                if (number := whole_number(answer.get(name))) is not None:
                    keep_larger(self._counts, {unit: number})
        if any(number is not None for number in written):
            keep_larger(self._counts, {"outputTokens": sum(number or 0 for number in written)})
        if chat:
            keep_larger(self._counts, {"inputTokens": chat["input_tokens"], "outputTokens": chat["output_tokens"]})
        keep_larger(self._counts, {name: value for name, value in usage.items() if name.endswith("Tokens")})
        self._counted()

    def _counted(self) -> None:
        """Bedrock's counts hold where the answer has none that say more."""
        if self._usage:  # Claude's own tell the kinds of cache apart
            return
        if (found := measured(self._counts)) is not None:
            self.usage.parts = [(None, found)]
            self.usage.reported = True

    def _message(self, message: Mapping[str, Any]) -> None:
        super()._message(message)
        self.usage.model = (
            None  # Claude names itself without the region, which the request's model has and prices go by
        )

    def _take(self, reported: Any) -> None:
        if "input_tokens" in mapping(reported) or self._usage:  # of Claude; the others' names are others
            super()._take(reported)


def measured(usage: Mapping[str, Any]) -> Quantities | None:
    """The quantities of a Converse usage; None where it has no counts. Cached tokens are beside the input's."""
    plain, output = count(usage.get("inputTokens")), count(usage.get("outputTokens"))
    if plain is None and output is None:
        return None
    read, written = (
        max(count(usage.get(f"cache{kind}InputTokens")) or 0, count(usage.get(f"cache{kind}InputTokenCount")) or 0)
        for kind in ("Read", "Write")
    )
    details = usage.get("cacheDetails")
    hour = sum(
        count(mapping(detail).get("inputTokens")) or 0
        for detail in (details if isinstance(details, list) else ())
        if mapping(detail).get("ttl") == "1h"
    )
    return {
        "input_tokens": (plain or 0) + read + max(written, hour),
        "output_tokens": output or 0,
        "cache_read_tokens": read,
        "cache_write_tokens": max(written, hour),
        "cache_write_1h_tokens": hour,
    }
