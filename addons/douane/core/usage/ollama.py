"""Ollama's own API: counts stand in the last object of a stream of lines, or in the JSON answer."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from douane.core.usage.framing import Framing
from douane.core.usage.reader import Reader, size
from douane.core.usage.tokens import count, mapping, text


class Ollama(Reader):
    """Reads the answer of chat, generate or embed."""

    members = ("model", "done", "prompt_eval_count", "eval_count")

    def __init__(self, framing: Framing = "lines") -> None:
        super().__init__(framing)

    def whole(self, answer: Mapping[str, Any]) -> None:
        """Read a JSON answer, a line, or what was read of one."""
        usage = self.usage
        usage.model = text(answer.get("model"), usage.model)
        self.visible_bytes += size(answer.get("response")) + size(mapping(answer.get("message")).get("content"))
        told, written = count(answer.get("prompt_eval_count")), count(answer.get("eval_count"))
        if told is None and written is None:  # a prompt that is in memory already is not counted again
            return
        usage.parts = [(None, {"input_tokens": told or 0, "output_tokens": written or 0})]
        usage.reported = True
