"""Files of requests that were uploaded for a batch, and what each may cost at worst.

OpenAI's Batch API names a file that an earlier call uploaded. Its bound is kept from that call until the batch comes.
"""

from __future__ import annotations

import datetime
from collections import OrderedDict
from collections.abc import Callable, Iterator
from dataclasses import replace
from functools import partial
from typing import Any

import orjson

from douane.core.charge import Unpriced
from douane.core.listener import Listener
from douane.core.pricing.apis import CHAT, EMBEDDINGS, RESPONSES, api_of
from douane.core.pricing.book import Plan, PriceBook
from douane.core.pricing.bounds.work import Bound, Work
from douane.core.refusal import RequestAmbiguous
from douane.core.request import CanonicalRequest
from douane.core.request.fields import read_json
from douane.core.tool import Classification
from douane.core.usage.tokens import mapping

MOST_REQUESTS, MOST_BYTES = 2_000, 1024 * 1024
"""Of a file: each of its lines is bounded like a call, beside which everything else waits."""
MOST_FILES = 1_000

_UPLOAD, _CREATE = "openai.files.create", "openai.batches.create"
_MEND = (
    "Upload its file through Douane (again, where the node was restarted since): up to 2,000 requests and 1 MB, all of "
    "one model and each one that Douane would price by itself."
)


class Uploads:
    """The bounds of files, by agent and file id."""

    def __init__(self, today: Callable[[], datetime.date]) -> None:
        self._today = today
        self._files: OrderedDict[tuple[str, str], tuple[str, Bound]] = OrderedDict()

    def listener(
        self, agent: str, request: CanonicalRequest, found: Classification, book: PriceBook
    ) -> Listener | None:
        """What reads the id of a file of requests from the answer to its upload."""
        if found.tool != _UPLOAD or len(request.body) > MOST_BYTES:
            return None
        bounded = _bounded(request, book, self._today())
        return Listener(partial(self._note, agent, *bounded)) if bounded is not None else None

    def _note(self, agent: str, model: str, bound: Bound, answer: bytes) -> None:
        try:
            told = orjson.loads(answer)
        except orjson.JSONDecodeError:
            return
        file_id = told.get("id") if isinstance(told, dict) else None
        if isinstance(file_id, str):
            self._files[agent, file_id] = model, bound
            if len(self._files) > MOST_FILES:
                self._files.popitem(last=False)

    def plan(
        self, agent: str, request: CanonicalRequest, found: Classification, book: PriceBook
    ) -> Plan | Unpriced | None:
        """Bound a batch by the file that it names; None for any other call."""
        if found.tool != _CREATE:
            return None
        try:
            body = request.json()
        except RequestAmbiguous:
            body = None
        named = body.get("input_file_id") if isinstance(body, dict) else None
        known = self._files.get((agent, named)) if isinstance(named, str) else None
        if known is None:
            return Unpriced(None, f"Nobody knows what the requests of this batch may cost. {_MEND}")
        return book.batch_plan(request.host, *known, self._today())


def _bounded(request: CanonicalRequest, book: PriceBook, now: datetime.date) -> tuple[str, Bound] | None:
    """(the one model, what all requests of an upload may cost at worst); None where that cannot be told."""
    try:
        parts = request.parts() or ()
        texts = [content for name, is_file, content in parts if name == "file" and is_file]
        purposes = [content for name, is_file, content in parts if name == "purpose" and not is_file]
        if len(texts) != 1 or purposes != [b"batch"]:
            return None
        works: list[Work] = []
        models: set[str] = set()
        for line in _lines(texts[0]):
            asked = read_json(line)
            model, bound = _line(asked, line, book, now)
            models.add(model)
            works += bound.works
            if len(models) > 1:
                return None
    except (RequestAmbiguous, _Unbounded):
        return None
    return (models.pop(), Bound(tuple(works), hidden_output=True)) if models else None


class _Unbounded(Exception):
    """A line that has no bound."""


def _lines(text: bytes) -> Iterator[bytes]:
    lines = [line for line in text.splitlines() if line.strip()]
    if len(lines) > MOST_REQUESTS:
        raise _Unbounded
    return iter(lines)


def _line(asked: Any, line: bytes, book: PriceBook, now: datetime.date) -> tuple[str, Bound]:
    asked = mapping(asked)
    body, path = mapping(asked.get("body")), asked.get("url")
    route = api_of("openai", "POST", path) if isinstance(path, str) else None
    model = body.get("model")
    if route is None or route[0] not in (CHAT, RESPONSES, EMBEDDINGS) or not isinstance(model, str):
        raise _Unbounded
    row = book.row("openai", model, now, ())
    bound = route[0].bound(body, line, row, lambda name: book.row("openai", name, now, ())) if row else None
    if not isinstance(bound, Bound):
        raise _Unbounded
    return model, replace(bound, limit=None)
