"""Requests as they reach the price book."""

from __future__ import annotations

import datetime
import json
from collections.abc import Callable
from typing import Any

import pytest

from douane.core.charge import Unpriced
from douane.core.pricing import Plan, PriceBook
from douane.core.request import RawRequest, canonicalise
from douane.core.tool import Classification, Nature, Tier
from douane.edge.prices import load_prices

DAY = datetime.date(2026, 11, 23)

type Ask = Callable[..., Plan | Unpriced | None]
type AskPlan = Callable[..., Plan]
type Call = Callable[..., Plan | Unpriced | None]


@pytest.fixture(scope="session")
def book() -> PriceBook:
    """The book as it ships."""
    return load_prices()


@pytest.fixture(scope="session")
def ask(book: PriceBook) -> Ask:
    """`ask(tool, body, host=…, headers=…)`: what the book says of a call."""

    def plan(
        tool: str,
        body: Any,
        *,
        host: str | None = None,
        headers: tuple[tuple[bytes, bytes], ...] = (),
        billable: bool = True,
        prices: PriceBook = book,
    ) -> Plan | Unpriced | None:
        provider = tool.partition(".")[0]
        host = host or {"openai": "api.openai.com", "anthropic": "api.anthropic.com"}.get(provider, "api.example.com")
        target = {
            "openai.chat.completions.create": b"/v1/chat/completions",
            "openai.threads.runs.create": b"/v1/threads/t/runs",
        }.get(tool, b"/v1/messages")
        text = body if isinstance(body, bytes) else json.dumps(body).encode()
        raw = RawRequest("https", host, 443, "POST", target, ((b"content-type", b"application/json"), *headers), text)
        found = Classification(tool, Tier.VISIBLE, Nature.EXEC, provider, mapped=True, billable=billable)
        return prices.plan(canonicalise(raw), found, DAY)

    return plan


@pytest.fixture(scope="session")
def chat(ask: Ask) -> AskPlan:
    """The plan of a Chat Completions call that can be priced."""

    def plan(body: dict[str, Any], **more: Any) -> Plan:
        found = ask("openai.chat.completions.create", {"model": "gpt-4.1-mini", "messages": []} | body, **more)
        assert isinstance(found, Plan), found
        return found

    return plan


@pytest.fixture(scope="session")
def messages(ask: Ask) -> AskPlan:
    """The plan of a Messages call that can be priced."""

    def plan(body: dict[str, Any], **more: Any) -> Plan:
        wanted = {"model": "claude-sonnet-4-6", "max_tokens": 1024, "messages": []} | body
        found = ask("anthropic.messages.create", wanted, **more)
        assert isinstance(found, Plan), found
        return found

    return plan


@pytest.fixture(scope="session")
def call(book: PriceBook) -> Call:
    """`call(host, target, body, *headers)`: what the book says of a billable POST of JSON."""

    def plan(host: str, target: str, body: Any, *headers: tuple[bytes, bytes]) -> Plan | Unpriced | None:
        text = body if isinstance(body, bytes) else json.dumps(body).encode()
        kind = () if any(name == b"content-type" for name, _ in headers) else ((b"content-type", b"application/json"),)
        raw = RawRequest("https", host, 443, "POST", target.encode(), (*kind, *headers), text)
        found = Classification("model.call", Tier.VISIBLE, Nature.EXEC, "any", mapped=True, billable=True)
        return book.plan(canonicalise(raw), found, DAY)

    return plan
