"""The price book: compiled prices, the plan of each billable call, and the charge for its usage."""

from __future__ import annotations

import datetime
from collections.abc import Callable, Iterable, Mapping
from dataclasses import dataclass, replace
from functools import lru_cache
from typing import Any

import blake3
import orjson

from douane.core.charge import Unpriced
from douane.core.hosts import is_realtime, provider_of
from douane.core.pricing.apis import (
    BATCH,
    CHAT,
    CONVERSE,
    EMBEDDINGS,
    GEMINI,
    INVOKE,
    MESSAGES,
    OPENAI_BATCH,
    OPENAI_BATCH_POLL,
    POLL,
    REALTIME,
    RESPONSES,
    Api,
    api_of,
    later_api_of,
    model_name,
    price_provider,
)
from douane.core.pricing.bounds.anthropic import first_model
from douane.core.pricing.bounds.work import Bound, shown
from douane.core.pricing.compile import BOOK_VERSION, LOCAL, PriceContext, book_row, overlay_row
from douane.core.pricing.meter import ResponseMeter
from douane.core.pricing.realtime import RealtimeMeter
from douane.core.pricing.row import InconsistentUsage, PriceRow
from douane.core.pricing.stated import MaxOutput, OverlayPrice, ToolFee, in_force, known_as, overlay_line
from douane.core.refusal import RequestAmbiguous
from douane.core.request import CanonicalRequest, asks_for_websocket, is_signed
from douane.core.tool import Classification
from douane.core.usage.members import with_value
from douane.core.usage.openai_chat import with_usage
from douane.core.usage.tokens import Quantities, Usage, mapping

LEAST_CLAMPED_TOKENS = 1_024
"""An answer that is cut shorter than this is of no use to anybody."""

MOST_ROWS = 4096
"""Compiled rows that are kept, answers for unknown models among them."""

PRIORITY: PriceContext = (("service_tier", "priority"),)
FAST: PriceContext = (("service_tier", "fast"),)
FLEX: PriceContext = (("service_tier", "flex"),)
FAST_MODE: PriceContext = (("speed", "fast"),)

_OPENAI_TIERS: Mapping[str | None, tuple[PriceContext, ...]] = {
    # With `auto` the project's settings decide, which nobody outside sees: the dearest that there is.
    None: ((), PRIORITY, FAST),
    "auto": ((), PRIORITY, FAST),
    "default": ((),),
    "flex": ((),),
    "priority": (PRIORITY,),
    "fast": (FAST,),
}
_OPENAI_ANSWERED: Mapping[str, PriceContext] = {
    "auto": (),
    "default": (),
    "scale": (),
    "flex": FLEX,
    "priority": PRIORITY,
    "fast": FAST,
}
_WITHOUT_REGIONAL_SURCHARGE = (
    "gpt-3.5",
    "gpt-4",
    "chatgpt-4o",
    "o1",
    "o3",
    "o4",
    "gpt-5-",
    "gpt-5.1",
    "gpt-5.2",
    "gpt-5.3",
)
"""OpenAI's models from before 2026-03-05."""
_REGIONAL_PERCENT = 110
"""OpenAI's regional endpoints, Anthropic's `inference_geo: us`, and Claude in a region of Vertex AI."""

_VERTEX = "aiplatform.googleapis.com"
_CLAUDE_WITHOUT_SURCHARGE = ("claude-3", "claude-opus-4@", "claude-opus-4-1", "claude-sonnet-4@")
"""From before Sonnet 4.5: one price in every region (cloud.google.com/vertex-ai/generative-ai/pricing)."""

_TAKES_BETAS = frozenset({MESSAGES, BATCH, CONVERSE, INVOKE})

_LONG_CONTEXT_TOKENS = 1_000_000
"""Under Anthropic's beta `context-1m-…`: a header, or on Bedrock and Vertex AI a member of the body."""

_STATED = frozenset({"openrouter", "x-ai", "perplexity"})
"""Who is believed about what a call cost."""

_OPENAI_TIERED = frozenset({"openai", "azure"})
_NOT_DEARER = (None, "auto", "default", "standard", "standard_only", "on_demand", "flex")
"""Service tiers at other providers that cost no more than what the book says."""
_SENDS_USAGE_UNASKED = frozenset(
    {"mistral", "groq", "deepseek", "x-ai", "openrouter", "fireworks", "together", "perplexity", "cerebras", "cohere"}
)
"""Whose streams report their usage in any case; some of them refuse a request with `stream_options`."""

_PERCENT_BY_REQUEST = (CHAT, RESPONSES, EMBEDDINGS, POLL, REALTIME, OPENAI_BATCH, OPENAI_BATCH_POLL)
_BATCH: PriceContext = (("processing", "batch"),)


@dataclass(frozen=True, slots=True)
class Plan:
    """How one billable call is bounded and metered."""

    api: Api
    provider: str
    """The price book's."""
    model: str
    stream: bool
    reserve_nano: int
    body: bytes | None
    """The body with `include_usage` injected; None: unchanged."""
    strip_usage: bool
    """The client did not ask for the usage that its response will carry."""
    day: datetime.date
    """Whose prices hold."""
    contexts: tuple[PriceContext, ...]
    """The price variants that may hold; the first where the response names none."""
    percent: int
    """Surcharge on tokens, known from the request."""
    bound: Bound
    earlier: str | None = None
    """The id of the earlier work that the answer may tell the usage of."""
    clamped_tokens: int | None = None
    """The answer's length where the request was made to ask for less than its client did."""


class PriceBook:
    """All prices in force, compiled as they are asked for and kept."""

    def __init__(
        self,
        overlay: Iterable[OverlayPrice] = (),
        max_output: MaxOutput | None = None,
        fees: Iterable[ToolFee] = (),
        *,
        believes_stated_costs: bool = True,
    ) -> None:
        self._overlay = tuple(replace(price, model=model_name(price.provider, price.model)) for price in overlay)
        self._fees = tuple(fees)
        self.believes_stated_costs = believes_stated_costs
        self._max_output = {provider: dict(models) for provider, models in (max_output or {}).items()}
        facts = (
            BOOK_VERSION,
            self._overlay,
            sorted((name, sorted(of.items())) for name, of in self._max_output.items()),
            self._fees,
        )
        self.digest = blake3.blake3(f"douane prices v1 {facts!r}".encode()).hexdigest()
        self.row: Callable[[str, str, datetime.date, PriceContext], PriceRow | None] = lru_cache(MOST_ROWS)(self._row)

    def __reduce__(self) -> tuple[Any, ...]:
        """Sent between processes without what was compiled."""
        return _again, (self._overlay, self._max_output, self._fees, self.believes_stated_costs)

    def without_stated_costs(self) -> PriceBook:
        """The same prices, believing no provider what a call cost: for checking one by the other."""
        return PriceBook(self._overlay, self._max_output, self._fees, believes_stated_costs=False)

    def stated(self, provider: str, model: str, day: datetime.date) -> OverlayPrice | None:
        """What the operator states of a model on a day; None where the book's price holds."""
        return in_force(self._overlay, provider, model_name(provider, model), day)

    @property
    def overlay(self) -> tuple[OverlayPrice, ...]:
        """All that the operator states."""
        return self._overlay

    def _row(self, provider: str, model: str, day: datetime.date, context: PriceContext) -> PriceRow | None:
        """The prices of a model on a day; None where there are none."""
        model = known_as(self._overlay, provider, model, day)
        if not context:
            stated = overlay_row(self._overlay, provider, model, day, self._max_output, self._fees)
            if stated is not None:
                return stated
        return book_row(provider, model, day, context, self._max_output, self._fees)

    def plan(self, request: CanonicalRequest, found: Classification, now: datetime.date) -> Plan | Unpriced | None:
        """Bound a billable call: its plan, or why it cannot be priced. None: it is free."""
        if not found.billable:
            return self._later(request, now)
        path = "/" + "/".join(request.segments)
        provider = provider_of(request.host) or _on_this_machine(request, path)
        if provider is not None and is_realtime(request.host, path) and request.method == "GET":
            return self._socket(request, provider, now) if asks_for_websocket(request.raw) else None
        route = api_of(provider, request.method, path) if provider else None
        body = _members(request, route[0] if route else None)
        model = body.get("model") if body is not None else None
        if route is not None and route[0] is BATCH and body is not None:
            model = first_model(body)
        if route is None or provider is None:
            what = found.tool if provider else f"{request.host} looks like inference, which"
            return Unpriced(shown(model) if model else None, f"{what} is charged by use and not metered yet.")
        api, named, streams = route
        model = named or model
        if body is None or not isinstance(model, str) or not model:
            return Unpriced(None, f"{found.tool} came without a JSON body that names a model, and cannot be priced.")
        provider = price_provider(provider, path)
        name = model_name(provider, model)
        if self._overlay:
            name = known_as(self._overlay, provider, name, now)
        asked = body if body.get("model") == name else {**body, "model": name}
        return self._plan(request, api, provider, asked, now, streams=streams or body.get("stream") is True)

    def _later(self, request: CanonicalRequest, now: datetime.date) -> Plan | None:
        """How an answer is read that may tell what earlier work did cost; None for all others."""
        provider = provider_of(request.host)
        if provider is None or (found := later_api_of("/" + "/".join(request.segments))) is None:
            return None
        api, earlier = found
        percent = 100 if provider != "openai" or request.host == "api.openai.com" else _REGIONAL_PERCENT
        bound = Bound((), hidden_output=False)
        streams = api.streams_as is not None
        return Plan(api, provider, "", streams, 0, None, False, now, ((),), percent, bound, earlier=earlier)

    def _plan(
        self,
        request: CanonicalRequest,
        api: Api,
        provider: str,
        body: dict[str, Any],
        now: datetime.date,
        *,
        streams: bool,
    ) -> Plan | Unpriced:
        model: str = body["model"]
        if api is INVOKE and (header := _dearer_by_header(request)) is not None:
            return Unpriced(shown(model), f"The header {header} asks for what is charged apart and not metered yet.")
        if provider == "openrouter" and body.get("preset") is not None:
            return Unpriced(shown(model), "A preset brings a model and plugins that cannot be seen from here.")
        contexts = _contexts(api, provider, body)
        rows = [row for context in contexts if (row := self.row(provider, model, now, context)) is not None]
        if not rows:
            return _no_price(provider, model, now, contexts)
        row = rows[0]
        if api in _TAKES_BETAS and row.context_tokens < _LONG_CONTEXT_TOKENS:
            own = (body.get("anthropic_beta"), body.get("additionalModelRequestFields"))
            if any("context-1m" in str(beta) for beta in (request.header("anthropic-beta"), *own)):
                row = replace(row, context_tokens=_LONG_CONTEXT_TOKENS)
        worst = api.bound(body, request.body, row, lambda name: self.row(provider, name, now, ()))
        if isinstance(worst, Unpriced):
            return worst
        rewritten = None
        unasked = api.usage_by_request and provider not in _SENDS_USAGE_UNASKED
        if streams and unasked and mapping(body.get("stream_options")).get("include_usage") is not True:
            if is_signed(request):
                return Unpriced(shown(model), "A signed stream without `include_usage` cannot be metered.")
            rewritten = with_usage(request.body, body)
        percent = _percent(api, provider, request.host, body)
        reserve_nano = self._worst_nano(provider, model, now, contexts, percent, worst)
        if reserve_nano is None:
            lacking = row.lacking(unit for work in worst.works for unit in (*work.units, *dict(work.fees)))
            what = f" ({', '.join(lacking)})" if lacking else ""
            return Unpriced(shown(model), f"{shown(model)} has no price for all that the call may use{what}.")
        return Plan(
            api,
            provider,
            model,
            streams,
            reserve_nano,
            rewritten,
            rewritten is not None,
            now,
            contexts,
            percent=percent,
            bound=worst,
        )

    def clamp(self, plan: Plan, body: bytes, room_nano: int) -> Plan | None:
        """The plan with its output limit lowered to what an amount affords; None where that would break the answer.

        `body` is the request's, which nothing signs. A limit is lowered to at least `LEAST_CLAMPED_TOKENS`.
        """
        limit = plan.bound.limit
        if limit is None or len(plan.bound.works) != 1:
            return None
        most = plan.bound.works[0].output_tokens // limit.times
        low, high = LEAST_CLAMPED_TOKENS, most - 1
        if high < low or not self._affords(plan, low * limit.times, room_nano):
            return None
        while low < high:
            middle = (low + high + 1) // 2
            low, high = (middle, high) if self._affords(plan, middle * limit.times, room_nano) else (low, middle - 1)
        work = replace(plan.bound.works[0], output_tokens=low * limit.times)
        reserve_nano = self.worst_nano(plan, work.output_tokens)
        assert reserve_nano is not None
        return replace(
            plan,
            reserve_nano=reserve_nano,
            body=_limited(plan.body or body, limit.path, low),
            bound=replace(plan.bound, works=(work,)),
            clamped_tokens=low,
        )

    def _affords(self, plan: Plan, output_tokens: int, room_nano: int) -> bool:
        worst = self.worst_nano(plan, output_tokens)
        return worst is not None and worst <= room_nano

    def _socket(self, request: CanonicalRequest, provider: str, now: datetime.date) -> Plan | Unpriced:
        """Bound one response of a socket, whose query names the model: at Azure by its deployment."""
        names = ("model", "deployment") if provider == "azure" else ("model",)
        named = [value for name, value in request.query if name in names]
        others = {name for name, _ in request.query} & {"call_id", "intent"}
        if len(named) != 1 or not named[0] or others or request.query_trap is not None:
            return Unpriced(None, "A realtime socket has to name one model in its query, and no call or intent.")
        return self._plan(request, REALTIME, provider, {"model": named[0]}, now, streams=True)

    def batch_plan(self, host: str, model: str, bound: Bound, now: datetime.date) -> Plan | Unpriced:
        """Bound a batch of OpenAI by what its requests may cost, at the price of batches."""
        percent = 100 if host == "api.openai.com" else _REGIONAL_PERCENT
        reserve_nano = self._worst_nano("openai", model, now, (_BATCH,), percent, bound)
        if reserve_nano is None:
            return Unpriced(shown(model), f"{shown(model)} has no price for all that the batch may use.")
        return Plan(OPENAI_BATCH, "openai", model, False, reserve_nano, None, False, now, (_BATCH,), percent, bound)

    def socket_plan_of(self, plan: Plan, model: str) -> Plan | None:
        """The plan of a socket with another model in it; None where that has no price."""
        row = self.row(plan.provider, model, plan.day, ())
        bound = REALTIME.bound({"model": model}, b"", row, lambda _: None) if row is not None else None
        if not isinstance(bound, Bound):
            return None
        reserve = self._worst_nano(plan.provider, model, plan.day, plan.contexts, plan.percent, bound)
        return None if reserve is None else replace(plan, model=model, reserve_nano=reserve, bound=bound)

    def socket_meter(self, plan: Plan) -> RealtimeMeter:
        """A meter for the events of a planned socket."""
        return RealtimeMeter(self, plan)

    def meter(self, plan: Plan, status: int, headers: tuple[tuple[bytes, bytes], ...]) -> ResponseMeter:
        """A meter for the response of a planned call."""
        return ResponseMeter(self, plan, status, headers)

    def worst_nano(self, plan: Plan, output_tokens: int) -> int | None:
        """The most that a planned call could cost with so much output; None where a unit has no price."""
        return self._worst_nano(
            plan.provider, plan.model, plan.day, plan.contexts, plan.percent, plan.bound, output_tokens
        )

    def _worst_nano(
        self,
        provider: str,
        model: str,
        day: datetime.date,
        contexts: tuple[PriceContext, ...],
        percent: int,
        bound: Bound,
        output_tokens: int | None = None,
    ) -> int | None:
        total = 0
        for work in bound.works:
            dearest = 0
            for context in contexts if work.model is None else ((),):
                row = self.row(provider, work.model or model, day, context)
                if row is None:  # a tier that the model is not sold at
                    continue
                amount = row.bound_nano_ceiling(
                    work.input_tokens,
                    work.output_tokens if output_tokens is None else output_tokens,
                    work.units,
                    fees=work.fees,
                    percent=percent,
                )
                if amount is None:
                    return None
                dearest = max(dearest, amount)
            total += dearest
        return total

    def charge_nano(self, plan: Plan, usage: Usage) -> tuple[int, bool] | None:
        """The price of a response's usage, and whether it is exact; None where part of it has no price.

        Where the response's model has no price the request's holds, and contradicting counts are charged at the dearest
        price that any of them has: not exact.
        """
        context = _answered(plan, usage)
        if context is None:
            return None
        by_request = plan.api in _PERCENT_BY_REQUEST or plan.provider == "google"
        percent = plan.percent if by_request else 100
        if usage.geography == "us":
            percent = _REGIONAL_PERCENT
        total, exact = 0, True
        for model, quantities in usage.parts:
            name = model_name(plan.provider, model or usage.model or plan.model)
            row = self.row(plan.provider, name, plan.day, context)
            if row is None and model is None:
                row, exact = self.row(plan.provider, plan.model, plan.day, context), False
            if row is None:
                return None
            try:
                amount = row.charge_nano_ceiling(quantities, percent=percent)
            except InconsistentUsage:
                amount, exact = _dearest_nano(row, quantities, percent), False
            if amount is None:
                return None
            total += amount
        return total, exact

    def stated_nano(self, plan: Plan, usage: Usage) -> int | None:
        """What the provider says that the call cost; None where it says nothing, or is not to be believed."""
        return usage.stated_nano if self.believes_stated_costs and plan.provider in _STATED else None


def _limited(body: bytes, path: tuple[str, ...], tokens: int) -> bytes:
    """A body with its output limit replaced, or added, and otherwise as it was."""
    name, *inner = path
    if not inner:
        return with_value(body, name, b"%d" % tokens)
    members = orjson.loads(body)[name]
    return with_value(body, name, orjson.dumps(members | {inner[0]: tokens}))


def _members(request: CanonicalRequest, api: Api | None) -> dict[str, Any] | None:
    """The members of a JSON body, or of a form with a file; None for anything else."""
    try:
        found = request.json()
        if found is None and api is not None and api.takes_forms:
            found = _form(request)
    except RequestAmbiguous:
        return None
    return found if isinstance(found, dict) else None


def _dearer_by_header(request: CanonicalRequest) -> str | None:
    """The header by which an InvokeModel asks for guardrails, a service tier or less latency (AWS: InvokeModel)."""
    plain = {"X-Amzn-Bedrock-PerformanceConfig-Latency": "standard", "X-Amzn-Bedrock-Service-Tier": "default"}
    for name in (*plain, "X-Amzn-Bedrock-GuardrailIdentifier", "X-Amzn-Bedrock-GuardrailVersion"):
        if request.header(name.lower()) not in (None, plain.get(name)):
            return name
    return None


def _form(request: CanonicalRequest) -> dict[str, Any] | None:
    fields = request.multipart()
    if fields is None:
        return None
    return {
        name: int(value) if name == "n" and value.isdecimal() else value for name, value in fields if value is not None
    }


def _dearest_nano(row: PriceRow, used: Quantities, percent: int) -> int | None:
    tokens = {unit: number for unit, number in used.items() if number and unit.endswith("_tokens")}
    inputs = sum(number for unit, number in tokens.items() if unit != "input_tokens" and not unit.startswith("output_"))
    outputs = [number for unit, number in tokens.items() if unit.startswith("output_")]
    return row.bound_nano_ceiling(
        max(used.get("input_tokens", 0), inputs),
        max(outputs, default=0),
        tokens,
        fees=[(unit, number) for unit, number in used.items() if number and unit not in tokens],
        percent=percent,
    )


def _contexts(api: Api, provider: str, body: Mapping[str, Any]) -> tuple[PriceContext, ...]:
    """The price variants that a request may come under."""
    if api is MESSAGES:
        return (FAST_MODE,) if body.get("speed") not in (None, "standard") else ((),)
    if api is GEMINI:
        return (), PRIORITY
    if api is REALTIME:
        return ((),)
    tier = body.get("service_tier")
    if provider not in _OPENAI_TIERED:
        return ((),) if tier in _NOT_DEARER else ()
    return _OPENAI_TIERS.get(tier, ()) if tier is None or isinstance(tier, str) else ()


def _answered(plan: Plan, usage: Usage) -> PriceContext | None:
    """The price variant that a response came under; None for one that is not known."""
    if usage.batch:
        return _BATCH
    if plan.api is MESSAGES:
        if usage.speed is None:
            return plan.contexts[0]
        return () if usage.speed == "standard" else FAST_MODE
    if usage.service_tier is None:
        return plan.contexts[0]
    if plan.api is GEMINI:
        return {"flex": FLEX, "priority": PRIORITY}.get(usage.service_tier.lower(), ())
    return _OPENAI_ANSWERED.get(usage.service_tier) if plan.provider in _OPENAI_TIERED else ()


def _percent(api: Api, provider: str, host: str, body: Mapping[str, Any]) -> int:
    """The surcharge on tokens that a request may come under."""
    model: str = body["model"]
    if api is BATCH:  # half of the price, with the surcharge
        return _REGIONAL_PERCENT // 2
    if api is MESSAGES and provider == "google":
        return 100 if host == _VERTEX or model.startswith(_CLAUDE_WITHOUT_SURCHARGE) else _REGIONAL_PERCENT
    if api is MESSAGES:  # without a word in the request, the workspace's setting decides
        return 100 if body.get("inference_geo") == "global" or provider != "anthropic" else _REGIONAL_PERCENT
    if provider != "openai" or host == "api.openai.com":
        return 100
    return 100 if model == "gpt-5" or model.startswith(_WITHOUT_REGIONAL_SURCHARGE) else _REGIONAL_PERCENT


def _no_price(provider: str, model: str, day: datetime.date, contexts: tuple[PriceContext, ...]) -> Unpriced:
    if () not in contexts:
        asked = contexts[0][0][1] if contexts else "asked for"
        return Unpriced(
            shown(model), f"There is no price for {shown(model)} of {provider} at the service tier {asked}."
        )
    return Unpriced(
        shown(model),
        f"There is no price for the model {shown(model)} of {provider}. Add it to prices/*.yaml of the policy folder: "
        f"`{overlay_line(provider, shown(model), day)}` (dollars per million tokens).",
        provider,
    )


_LOOPBACK = frozenset({"localhost", "127.0.0.1", "::1", "[::1]"})
_OLLAMA_PORT = 11434


def _on_this_machine(request: CanonicalRequest, path: str) -> str | None:
    """Ollama beside the node: at its own port, or by a path that only it has."""
    if request.host in _LOOPBACK and (request.port == _OLLAMA_PORT or path.startswith("/api/")):
        return LOCAL
    return None


def _again(
    overlay: tuple[OverlayPrice, ...], max_output: MaxOutput, fees: tuple[ToolFee, ...], believes: bool
) -> PriceBook:
    return PriceBook(overlay, max_output, fees, believes_stated_costs=believes)
