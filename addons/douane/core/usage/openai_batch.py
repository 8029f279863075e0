"""OpenAI's Batch object: its usage, once the batch is over (API reference: the Batch object)."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from douane.core.usage.framing import Framing
from douane.core.usage.openai_responses import measured
from douane.core.usage.reader import Reader
from douane.core.usage.tokens import mapping, text

_OVER = frozenset({"completed", "failed", "expired", "cancelled"})


class OpenAIBatch(Reader):
    """Reads the answer to a batch's creation, to its cancellation, and to whoever asks after it."""

    members = ("id", "status", "model", "usage", "request_counts")

    def __init__(self, framing: Framing = "sse") -> None:
        super().__init__(framing)
        self.usage.batch = True

    def whole(self, answer: Mapping[str, Any]) -> None:
        """Read a JSON answer. A batch that is over and tells no usage, though requests were done, keeps its reserve."""
        usage = self.usage
        usage.response_id = text(answer.get("id"))
        usage.model = text(answer.get("model"))
        usage.pending = usage.response_id is not None and answer.get("status") not in _OVER
        if usage.pending:
            return
        found = measured(mapping(answer.get("usage")))
        if found is not None and any(found.values()):
            usage.parts = [(None, found)]
            usage.reported = True
        elif mapping(answer.get("request_counts")).get("completed") == 0:
            usage.reported = True
