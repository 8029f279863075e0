"""A batch is bounded by the file that it names, as its agent uploaded it; what cannot be told is not bounded."""

from __future__ import annotations

import datetime
import json
from typing import Any

import pytest

from douane.core.charge import Unpriced
from douane.core.pricing import Plan, PriceBook, Uploads
from douane.core.pricing.uploads import MOST_BYTES, MOST_FILES, MOST_REQUESTS
from douane.core.usage.openai_batch import OpenAIBatch
from support.requests import canonical, classified

CHAT = {"model": "gpt-4.1-mini", "max_tokens": 500, "messages": [{"role": "user", "content": "hi"}]}


def line(body: Any = CHAT, url: str = "/v1/chat/completions", **more: Any) -> bytes:
    return json.dumps({"custom_id": "1", "method": "POST", "url": url, "body": body} | more).encode()


def upload(
    book: PriceBook,
    uploads: Uploads,
    *lines: bytes,
    agent: str = "a",
    file_id: str = "file-1",
    answer: bytes | None = None,
    **form: Any,
) -> bool:
    """Whether the answer to an upload is listened to; it is told the file's id."""
    fields = {"purpose": "batch"} | form
    parts = [f'--x\r\nContent-Disposition: form-data; name="{name}"\r\n\r\n{value}' for name, value in fields.items()]
    head = '--x\r\nContent-Disposition: form-data; name="file"; filename="b.jsonl"\r\n\r\n'
    body = "\r\n".join([*parts, head]).encode() + b"\n".join(lines) + b"\r\n--x--\r\n"
    url, kind = "https://api.openai.com/v1/files", "Content-Type: multipart/form-data; boundary=x"
    request, found = canonical("POST", url, body, kind), classified("POST", url, body, kind)
    listener = uploads.listener(agent, request, found, book)
    if listener is None:
        return False
    listener.start(200, ((b"content-type", b"application/json"),))
    listener.feed(json.dumps({"id": file_id, "object": "file"}).encode() if answer is None else answer)
    listener.feed(b"")
    return True


def batch(book: PriceBook, uploads: Uploads, *, agent: str = "a", file_id: Any = "file-1") -> Plan | Unpriced | None:
    url, body = "https://api.openai.com/v1/batches", {"input_file_id": file_id, "endpoint": "/v1/chat/completions"}
    request, found = canonical("POST", url, json=body), classified("POST", url, json=body)
    return uploads.plan(agent, request, found, book)


def test_a_batch_may_cost_half_of_what_its_requests_may(book: PriceBook) -> None:
    uploads = Uploads(lambda: datetime.date(2026, 11, 23))
    assert upload(book, uploads, *[line()] * 10)
    found = batch(book, uploads)
    assert isinstance(found, Plan)
    assert (found.model, found.api.name) == ("gpt-4.1-mini", "openai.batch")
    assert 10 * 500 * 800 <= found.reserve_nano <= 10 * (500 * 800 + 5_000 * 200)
    assert upload(book, uploads, *[line()] * 20, file_id="file-2")
    twice = batch(book, uploads, file_id="file-2")
    assert isinstance(twice, Plan)
    assert twice.reserve_nano == 2 * found.reserve_nano


@pytest.mark.parametrize(
    ("lines", "form"),
    [
        ((), {}),
        ((line(),), {"purpose": "assistants"}),
        ((line(), line(CHAT | {"model": "gpt-4.1"})), {}),
        ((line(CHAT | {"model": "gpt-99-none"}),), {}),
        ((line(url="/v1/images/generations"),), {}),
        ((line(url="/v1/moderations"),), {}),
        ((line({"model": 5}),), {}),
        ((line("text"),), {}),
        ((b"[]",), {}),
        ((b"{",), {}),
        ((line().replace(b'"max_tokens": 500', b'"max_tokens": 500, "max_tokens": 9000'),), {}),
        ((line(CHAT | {"web_search_options": {}}),), {}),
        ((line(), b"x"), {}),
        ((line(),) * (MOST_REQUESTS + 1), {}),
        ((line(CHAT | {"messages": [{"role": "user", "content": "x" * MOST_BYTES}]}),), {}),
    ],
)
def test_what_cannot_be_bounded_is_not_remembered(book: PriceBook, lines: tuple[bytes, ...], form: Any) -> None:
    uploads = Uploads(lambda: datetime.date(2026, 11, 23))
    assert not upload(book, uploads, *lines, **form)
    assert isinstance(batch(book, uploads), Unpriced)


def test_a_file_is_its_agents_own_and_the_longest_unused_are_forgotten(book: PriceBook) -> None:
    uploads = Uploads(lambda: datetime.date(2026, 11, 23))
    assert upload(book, uploads, line())
    assert isinstance(batch(book, uploads, agent="b"), Unpriced)
    for strange in (None, ["file-1"], "file-2"):
        assert isinstance(batch(book, uploads, file_id=strange), Unpriced)
    for number in range(MOST_FILES - 1):
        assert upload(book, uploads, line(), agent="b", file_id=f"file-{number}")
    assert isinstance(batch(book, uploads), Plan)
    assert upload(book, uploads, line(), agent="b", file_id="last")
    assert isinstance(batch(book, uploads), Unpriced)


@pytest.mark.parametrize("answer", [b"", b"[]", b'{"id": 5}', b"{", b'{"error": {}}'])
def test_an_answer_without_an_id_is_of_no_file(book: PriceBook, answer: bytes) -> None:
    uploads = Uploads(lambda: datetime.date(2026, 11, 23))
    assert upload(book, uploads, line(), answer=answer)
    assert uploads._files == {}


OVER = {"id": "batch_1", "model": "gpt-4.1-mini", "status": "completed"}
USAGE = {"input_tokens": 100, "input_tokens_details": {"cached_tokens": 40}, "output_tokens": 7}


@pytest.mark.parametrize(
    ("answer", "pending", "reported"),
    [
        ({"status": "validating", "usage": None}, True, False),
        ({"status": "in_progress", "usage": USAGE}, True, False),
        ({"status": "finalizing"}, True, False),
        ({"status": "cancelling"}, True, False),
        ({"usage": USAGE}, False, True),
        ({"status": "cancelled", "usage": USAGE}, False, True),
        ({"status": "expired", "usage": USAGE}, False, True),
        ({"status": "failed", "usage": None, "request_counts": {"completed": 0}}, False, True),
        ({"usage": {"input_tokens": 0, "output_tokens": 0}, "request_counts": {"completed": 0}}, False, True),
        ({"usage": None, "request_counts": {"completed": 3}}, False, False),
        ({"usage": None}, False, False),
        ({"usage": {"input_tokens": 0, "output_tokens": 0}, "request_counts": {"completed": 3}}, False, False),
    ],
)
def test_a_batch_tells_its_usage_once_it_is_over(answer: dict[str, Any], pending: bool, reported: bool) -> None:
    reader = OpenAIBatch()
    reader.whole(OVER | answer)
    assert (reader.usage.pending, reader.usage.reported, reader.usage.batch) == (pending, reported, True)
    assert bool(reader.usage.parts) is (reported and answer.get("usage") == USAGE)
