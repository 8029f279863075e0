"""The price book: `genai-prices` under the operator's dated overlay, and the worst case of each call."""

from __future__ import annotations

import datetime
from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from functools import lru_cache
from typing import Any

import blake3
import genai_prices
from genai_prices.data import providers

from douane.core.charge import Unpriced
from douane.core.hosts import provider_of
from douane.core.pricing.meter import ResponseMeter
from douane.core.pricing.row import OverlayPrice, PriceRow, row_from_book, row_from_overlay
from douane.core.refusal import RequestAmbiguous
from douane.core.request import CanonicalRequest, is_signed
from douane.core.tool import Classification
from douane.core.usage.tokens import Usage, count

HIDDEN_INPUT_TOKENS = 4_096
"""What a provider adds of its own to a text request: templates, tool definitions."""

_PROVIDERS = {provider.id: provider for provider in providers}
_APIS = {"openai.chat.completions.create": "openai.chat", "anthropic.messages.create": "anthropic.messages"}
_BY_REFERENCE = ("image", "image_url", "input_image", "document", "file", "input_file", "input_audio", "video", "media")
_SERVER_TOOLS = ("web_search", "web_fetch", "code_execution", "advisor", "tool_search", "mcp_toolset", "memory")
_DOMESTIC_MULTIPLIER = (11, 10)
"""Anthropic's `inference_geo: us`, as numerator and denominator."""


@dataclass(frozen=True, slots=True)
class Plan:
    """How one billable call is bounded and metered."""

    api: str
    provider: str
    model: str
    stream: bool
    reserve_nano: int
    body: bytes | None
    """The body with `include_usage` injected; None: unchanged."""
    strip_usage: bool
    """The client did not ask for usage: the stream loses what only the meter wanted."""
    day: datetime.date


class PriceBook:
    """Prices in force. Rows are compiled once a model and day; an unknown model's answer is kept too."""

    def __init__(self, overlay: Iterable[OverlayPrice] = (), max_output: Mapping[str, Mapping[str, int]] | None = None) -> None:
        self._overlay = tuple(sorted(overlay, key=lambda price: price.from_day))
        self._max_output = {provider: dict(models) for provider, models in (max_output or {}).items()}
        hasher = blake3.blake3(f"douane prices v1 {genai_prices.__name__} {_book_version()}\n".encode())
        hasher.update(repr((self._overlay, sorted(self._max_output.items()))).encode())
        self.digest = hasher.hexdigest()
        self.row = lru_cache(maxsize=4096)(self._row)

    def _row(
        self, provider: str, model: str, day: datetime.date, context: frozenset[tuple[str, str]] = frozenset()
    ) -> PriceRow | None:
        """The prices of a model on a day; None where there are none."""
        stated = [p for p in self._overlay if p.provider == provider and p.model == model and p.from_day <= day]
        if stated:
            return row_from_overlay(stated[-1])
        known = _PROVIDERS.get(provider)
        if known is None or len(model) > 200:
            return None
        try:
            found = known.find_model(model)
            if found is None:
                return None
            at = datetime.datetime.combine(day, datetime.time(12), datetime.UTC)
            prices = found.get_prices(at, dict(context) or None)
            return row_from_book(found, prices, self._most_output(provider, model, found.id))
        except Exception:  # noqa: BLE001 - the library raises on real names; what it cannot price has no price
            return None

    def _most_output(self, provider: str, *names: str) -> int | None:
        table = self._max_output.get(provider, {})
        best: tuple[int, int] | None = None
        for name in names:
            for prefix, tokens in table.items():
                if name.startswith(prefix) and (best is None or len(prefix) > best[0]):
                    best = len(prefix), tokens
        return best[1] if best else None

    def plan(self, request: CanonicalRequest, found: Classification, now: datetime.date) -> Plan | Unpriced | None:
        """Bound a billable call: its plan, or why it cannot be priced. None: it is free."""
        api = _APIS.get(found.tool)
        provider = found.provider or provider_of(request.host)
        if not found.billable:
            return None
        if api is None or provider is None:
            what = found.tool if provider else f"{request.host}, which looks like inference,"
            return Unpriced(_model_in(request), f"{what} is charged by use and cannot be metered yet.")
        try:
            body = request.json()
        except RequestAmbiguous:
            body = None
        if not isinstance(body, dict) or not isinstance(model := body.get("model"), str):
            return Unpriced(None, f"{found.tool} came without a JSON body that names a model.")
        row = self.row(provider, model, now, context_of(body))
        if row is None:
            return Unpriced(
                model,
                f"There is no price for the model {_shown(model)} of {provider}. Add it in prices/*.yaml of the policy: "
                f"- {{provider: {provider}, model: {_shown(model)}, from: {now}, input: …, output: …}} (dollars per million).",
            )
        reserve = worst_case_nano(row, api, body, len(request.body), provider)
        if isinstance(reserve, Unpriced):
            return reserve
        stream = body.get("stream") is True
        rewritten = None
        if api == "openai.chat" and stream:
            options = body.get("stream_options")
            if not (isinstance(options, dict) and options.get("include_usage") is True):
                if is_signed(request):
                    return Unpriced(model, "A signed stream without include_usage cannot be metered.")
                rewritten = with_usage(request.body, body)
        return Plan(api, provider, model, stream, reserve, rewritten, rewritten is not None, now)

    def meter(self, plan: Plan, status: int, headers: tuple[tuple[bytes, bytes], ...]) -> ResponseMeter:
        """A meter for the response of a planned call."""
        return ResponseMeter(self, plan, status, headers)

    def charge_nano(self, plan: Plan, usage: Usage) -> int | None:
        """The price of a response's usage; None where part of it has no price."""
        total = 0
        for model, quantities in usage.parts:
            name = model or usage.model or plan.model
            row = self.row(plan.provider, name, plan.day, _context(usage.service_tier, usage.speed))
            if row is None and model is None:
                row = self.row(plan.provider, plan.model, plan.day, _context(usage.service_tier, usage.speed))
            amount = row.charge_nano_ceiling(quantities) if row is not None else None
            if amount is None:
                return None
            total += amount
        if usage.geography == "us" and plan.api == "anthropic.messages":
            numerator, denominator = _DOMESTIC_MULTIPLIER
            total = -(-total * numerator // denominator)
        return total


def _book_version() -> str:
    return f"{sum(len(provider.models) for provider in providers)}"


def _context(tier: str | None, speed: str | None) -> frozenset[tuple[str, str]]:
    found = set()
    if tier is not None and tier not in ("auto", "standard", "default"):
        found.add(("service_tier", tier))
        if tier == "batch":
            found.add(("processing", "batch"))
    if speed == "fast":
        found.add(("speed", "fast"))
    return frozenset(found)


def context_of(body: Mapping[str, Any]) -> frozenset[tuple[str, str]]:
    """The price variants that a request asks for."""
    tier, speed = body.get("service_tier"), body.get("speed")
    return _context(tier if tier in ("priority", "flex", "fast") else None, speed if isinstance(speed, str) else None)


def with_usage(body: bytes, parsed: Mapping[str, Any]) -> bytes:
    """The body with `stream_options.include_usage`, in one place changed and otherwise as it was."""
    if "stream_options" not in parsed:
        at = body.rindex(b"}")
        comma = b"," if parsed else b""
        return body[:at].rstrip() + comma + b'"stream_options":{"include_usage":true}' + body[at:]
    import json  # noqa: PLC0415

    options = parsed["stream_options"]
    options = {**options, "include_usage": True} if isinstance(options, dict) else {"include_usage": True}
    return json.dumps({**parsed, "stream_options": options}, ensure_ascii=False, separators=(",", ":")).encode()


def worst_case_nano(
    row: PriceRow, api: str, body: Mapping[str, Any], body_bytes: int, provider: str
) -> int | Unpriced:
    """The most that a call can cost, in nano-dollars."""
    input_tokens = body_bytes + HIDDEN_INPUT_TOKENS
    context = row.context_tokens or 1_000_000
    text = body.get("messages"), body.get("system")
    if _refers(text):
        input_tokens = max(input_tokens, context)
    asked = [count(body.get(name)) for name in ("max_tokens", "max_completion_tokens")]
    limits = [limit for limit in asked if limit is not None]
    output_tokens = max(limits) if limits else row.max_output_tokens or context
    if api == "openai.chat":
        several = count(body.get("n")) or 1
        output_tokens *= max(1, several)
        if "prediction" in body:  # rejected predicted tokens are charged as output
            output_tokens += body_bytes
    fees = 0
    rounds = 1
    tools = body.get("tools")
    for tool in tools if isinstance(tools, list) else ():
        kind = tool.get("type") if isinstance(tool, Mapping) else None
        if isinstance(kind, str) and kind.startswith(_SERVER_TOOLS):
            uses = count(tool.get("max_uses"))
            if uses is None:
                return Unpriced(row.model, f"The tool {_shown(kind)} may run without limit; give it max_uses.")
            rounds += uses
            fees += uses * (row.web_search_nano or 10_000_000)
    if body.get("mcp_servers"):
        return Unpriced(row.model, "MCP servers on the provider's side may run without limit; call them as an agent.")
    if "web_search_options" in body:
        rounds += 1
        fees += row.web_search_nano or 50_000_000
    if rounds > 1:
        input_tokens, output_tokens = context * rounds, output_tokens * rounds
    if body.get("context_management") is not None:  # compaction reads the whole conversation again
        input_tokens *= 2
        output_tokens *= 2
    amount = row.bound_nano_ceiling(
        input_tokens,
        output_tokens,
        cached=provider != "anthropic" or _mentions(body, "cache_control"),
        hour=_mentions(body, "cache_control"),
        audio="audio" in (body.get("modalities") or ()) or _mentions(text, "input_audio"),
    )
    if body.get("inference_geo") == "us":
        amount = -(-amount * _DOMESTIC_MULTIPLIER[0] // _DOMESTIC_MULTIPLIER[1])
    return amount + fees


def _refers(value: Any) -> bool:
    """Whether messages carry media or refer to something outside: its size is not in the body."""
    stack = [value]
    while stack:
        item = stack.pop()
        if isinstance(item, Mapping):
            if item.get("type") in _BY_REFERENCE:
                return True
            stack += [v for v in item.values() if isinstance(v, Mapping | list | tuple)]
        elif isinstance(item, list | tuple):
            stack += [v for v in item if isinstance(v, Mapping | list | tuple)]
    return False


def _mentions(value: Any, key: str) -> bool:
    stack = [value]
    while stack:
        item = stack.pop()
        if isinstance(item, Mapping):
            if key in item or item.get("type") == key:
                return True
            stack += [v for v in item.values() if isinstance(v, Mapping | list | tuple)]
        elif isinstance(item, list | tuple):
            stack += [v for v in item if isinstance(v, Mapping | list | tuple)]
    return False


def _model_in(request: CanonicalRequest) -> str | None:
    try:
        body = request.json()
    except RequestAmbiguous:
        return None
    model = body.get("model") if isinstance(body, dict) else None
    return _shown(model) if isinstance(model, str) else None


def _shown(text: str) -> str:
    return "".join(ch if ch.isascii() and ch.isprintable() else "?" for ch in text[:80])
