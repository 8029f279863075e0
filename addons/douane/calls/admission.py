"""Admission: the one way for a request to get leave to go upstream.

The steps and their order are those of the reason codes. Each ends the call with a refusal or hands on; only the last,
after the intent is durable, makes a passage.
"""

from __future__ import annotations

import asyncio
import contextlib
import datetime
import functools
import time
import uuid
from collections import Counter
from collections.abc import Callable, Mapping
from dataclasses import replace
from typing import TYPE_CHECKING, Any

from douane.calls.agents import AGENT_UNKNOWN
from douane.calls.call import Call, Passage
from douane.calls.inspection import Inspection, Inspector, RuleSet, TooLargeToInspect, is_small, today
from douane.calls.socket import Socket
from douane.calls.typical import TypicalCosts
from douane.calls.waiting import BudgetQueue, Verdicts
from douane.core.catalog.hints import Hints
from douane.core.charge import Unpriced
from douane.core.decision import Budget, Decision, Effect, Facts, Limits
from douane.core.mask import mask_arguments, mask_text
from douane.core.money import format_usd, usd_from_nano
from douane.core.policy import Uncountable
from douane.core.policy.policy import UNEVALUABLE_CODE
from douane.core.pricing import Plan, Uploads
from douane.core.refusal import ReasonCode, Refusal, RequestAmbiguous
from douane.core.request import asks_for_websocket, is_signed, known_method, semantic_digest
from douane.core.review import ReviewState
from douane.store.interface import Admission as StoreAnswer
from douane.store.interface import (
    Admitted,
    CapExceeded,
    Intent,
    MustWait,
    NewReview,
    Refused,
    Result,
    Review,
    Store,
    StoreError,
    TicketGone,
    TooManyReviews,
)

if TYPE_CHECKING:
    from douane.edge.destinations import Destinations

TOLD_PERCENT = 50
"""From here on the response says how far the spend is."""

OUTPUT_CLAMPED = "output_clamped"
"""Among a decision's reasons: the answer was made no longer than what was left of the cap affords."""

LOOK_AGAIN_S = 2.0
"""A waiting connection reads its review at least this often, so that no lost wake-up costs more."""


class _RulesChanged(Exception):
    """Other rules took force while a call waited: it is decided on anew."""


class Admission:
    """Decides on calls, one by one, and makes their intents durable."""

    def __init__(
        self,
        *,
        store: Store,
        rules: Callable[[], RuleSet],
        destinations: Destinations,
        verdicts: Verdicts,
        budgets: BudgetQueue,
        refuse_reason: Callable[[], ReasonCode | None],
        inspector: Inspector,
        settle_part: Callable[[Result, Intent], None],
    ) -> None:
        self._store = store
        self._rules = rules
        self._destinations = destinations
        self._verdicts = verdicts
        self._budgets = budgets
        self._refuse_reason = refuse_reason
        self._inspector = inspector
        self._hints = Hints()
        self._uploads = Uploads(today)
        self._settle_part = settle_part
        self.typical = TypicalCosts()
        self.open_calls: Counter[str] = Counter()
        """Calls of each agent between admission and result, held ones included."""

    async def admit(self, call: Call) -> Passage | Refusal:
        """Give a call its passage, or say why not; a refusal is on record wherever the store still takes records.

        Never raises for what a request holds. An intent whose admission is cancelled is closed as failed by the store.
        """
        self.open_calls[call.principal.name] += 1
        passage: Passage | None = None
        try:
            while True:
                rules = self._rules()
                with contextlib.suppress(_RulesChanged):
                    answer = await self._admit(call, rules)
                    break
            if isinstance(answer, Refusal):
                await self.record_refusal(call, answer, rules)
            else:
                passage = answer
            return answer
        except StoreError:
            return not_able(ReasonCode.STORE_UNAVAILABLE)
        finally:
            if passage is None:
                self.closed(call.principal.name)

    def closed(self, agent: str) -> None:
        """One call of the agent is over: it was refused, or has its result."""
        self.open_calls[agent] -= 1
        if not self.open_calls[agent]:
            del self.open_calls[agent]

    async def _admit(self, call: Call, rules: RuleSet) -> Passage | Refusal:
        if (refusal := self._out_of_reach(call, rules)) is not None:
            return refusal
        principal = call.principal
        policy = rules.policy
        limits: Limits = policy.limits(principal.name, principal.labels)
        if self.open_calls[principal.name] > limits.concurrent_calls:
            return Refusal(
                ReasonCode.LIMIT_EXCEEDED,
                f"The agent has {limits.concurrent_calls} calls under way, as many as it may. "
                "Wait for one to end before the next.",
            )
        try:
            inspection = await self._inspector.inspect(call, rules)
        except RequestAmbiguous as trap:
            return Refusal(
                ReasonCode.REQUEST_AMBIGUOUS,
                f"The request can be read in more than one way and was not sent: {trap}. Send it in its plain form.",
            )
        except TooLargeToInspect:
            return Refusal(
                ReasonCode.LIMIT_EXCEEDED,
                "The body holds more than Douane reads, and what was not read is not sent. Send it in smaller parts.",
            )
        inspection = replace(inspection, classification=self._hints.raised(inspection.classification))
        call.classification = inspection.classification
        call.request_digest = inspection.digest
        request = inspection.request
        batch = self._uploads.plan(principal.name, request, inspection.classification, rules.prices)
        if batch is not None:
            inspection = replace(inspection, plan=batch)
        if (why := await self._destinations.forbidden(request.host, request.port)) is not None:
            return Refusal(ReasonCode.DESTINATION_FORBIDDEN, why)
        budget: Budget = policy.budget(principal.name, principal.labels, principal.cap_nano)
        assumed_nano = 0
        if isinstance(inspection.plan, Unpriced):
            if budget.caps and policy.on_unpriced == "deny":
                return Refusal(
                    ReasonCode.MODEL_UNPRICED,
                    f"{inspection.plan.message} The agent has a spending cap, so the call was not sent; "
                    "repeating it will not help.",
                    unpriced=(_model_shown(inspection.plan.model or ""), inspection.plan.provider),
                )
            assumed_nano = policy.unpriced_assumed_nano
        plan = inspection.plan if isinstance(inspection.plan, Plan) else None
        is_socket = asks_for_websocket(call.request)
        if is_socket and (plan is None or not plan.api.is_socket):
            return _unmetered_socket(inspection.plan)
        reserve_nano = plan.reserve_nano if plan else assumed_nano
        classification = inspection.classification
        facts = Facts(
            tool=classification.tool,
            tier=classification.tier,
            nature=classification.nature,
            mapped=classification.mapped,
            agent=principal.name,
            labels=principal.labels,
            args=classification.arguments,
            host=request.host,
            method=request.method,
            cost_nano=reserve_nano,
            operations=classification.operations,
        )
        decision = policy.decide(facts)
        if decision.enforced and decision.effect is Effect.DENY:
            return Refusal(
                ReasonCode.RULE_DENIED,
                f"{classification.tool} is denied by the policy ({decision.rule}): {decision.reason} "
                "Repeating the call will not help.",
                reason_codes=decision.reason_codes,
                details={"rule": decision.rule},
            )
        drawn = budget if reserve_nano and not is_socket else None
        try:
            if counted := policy.counted(facts):
                own = drawn or Budget(None, wait_us=budget.wait_us)
                drawn = replace(own, further=own.further + counted)
        except Uncountable as unknown:
            return Refusal(
                ReasonCode.RULE_DENIED,
                f"{classification.tool} counts against the budget {unknown}, and the request does not tell how much "
                "it moves; it was not sent. State the amount and send it once more.",
                reason_codes=(UNEVALUABLE_CODE,),
                details={"rule": f"budget.{unknown}"},
            )
        if plan is not None and budget.typical and not is_socket:
            reserve_nano = min(reserve_nano, self.typical.amount_nano(principal.name, plan.model) or reserve_nano)
        intent = self._intent(call, inspection, decision, 0 if is_socket else reserve_nano, drawn, rules)
        admitted: tuple[Intent, Admitted] | TicketGone | CapExceeded | Refusal
        if decision.enforced and decision.effect is Effect.HOLD:
            admitted = await self._hold(call, inspection, decision, limits, intent, rules)
        else:
            admitted = await self._reserve(call, intent, rules)
            while isinstance(admitted, CapExceeded):
                shorter = _shorter(call, inspection, admitted, budget, rules)
                if shorter is None:
                    return cap_exceeded(intent, admitted)
                inspection, plan = shorter
                intent = _with_less(intent, inspection, plan)
                admitted = await self._reserve(call, intent, rules)
        if isinstance(admitted, Refusal):
            return admitted
        if isinstance(admitted, TicketGone | CapExceeded):  # only a held call names a ticket
            raise AssertionError(admitted)  # noqa: TRY004 - a programmer error
        call.request_digest = inspection.digest
        intent, receipt = admitted
        socket = None
        if is_socket and plan is not None:
            socket = Socket(call, intent, rules.prices.socket_meter(plan), self._admit_part, self._settle_part)
            if (refusal := await self._first_response(socket, call)) is not None:
                return refusal
        return Passage(
            call_id=call.call_id,
            agent=principal.name,
            request=inspection.forward,
            classification=classification,
            effect=decision.effect.value,
            rule=decision.rule,
            receipt=f"{receipt.seq}/{receipt.hash}",
            reserve_nano=plan.reserve_nano if plan else intent.reserve_nano,
            model=plan.model if plan else None,
            review_id=intent.review_id,
            clamped_tokens=plan.clamped_tokens if plan else None,
            budget_told=_told(receipt),
            warned_percent=receipt.warned_percent,
            shares=intent.budget is not None and bool(intent.budget.further and intent.budget.accounts),
            meter=(lambda status, headers: rules.prices.meter(plan, status, headers)) if plan and not socket else None,
            rewrites_response=plan.strip_usage if plan else False,
            assumed_nano=assumed_nano,
            listener=self._hints.listener(request, classification)
            or self._uploads.listener(principal.name, request, classification, rules.prices),
            socket=socket,
        )

    async def _first_response(self, socket: Socket, call: Call) -> Refusal | None:
        """Reserve for a socket's first response; where that is not to be had the socket's intent ends unsent."""
        refusal: Refusal | None = not_able(ReasonCode.NOT_READY)
        try:
            refusal = await socket.open()
        finally:
            if refusal is not None:
                socket.end()
                self._store.settle(
                    Result(call_id=call.call_id, outcome="failed", status=None, charge=None, error=refusal.code.value)
                )
        return refusal

    async def _admit_part(self, call: Call, intent: Intent, *, waits: bool) -> Intent | Refusal:
        """Reserve for one response of a socket, under the rules and the budget that hold now."""
        while True:
            rules = self._rules()
            with contextlib.suppress(_RulesChanged):
                try:
                    return await self._part(call, intent, rules, waits=waits)
                except StoreError:
                    return not_able(ReasonCode.STORE_UNAVAILABLE)

    async def _part(self, call: Call, intent: Intent, rules: RuleSet, *, waits: bool) -> Intent | Refusal:
        if (refusal := self._out_of_reach(call, rules)) is not None:
            return refusal
        principal, found = call.principal, call.classification
        assert found is not None
        decision = rules.policy.decide(
            Facts(
                tool=found.tool,
                tier=found.tier,
                nature=found.nature,
                mapped=found.mapped,
                agent=principal.name,
                labels=principal.labels,
                args=found.arguments,
                host=intent.host,
                method=intent.method,
                cost_nano=intent.reserve_nano,
            )
        )
        stops = decision.effect is Effect.DENY or (
            decision.effect is Effect.HOLD and intent.effect != Effect.HOLD.value
        )
        if decision.enforced and stops:
            return Refusal(
                ReasonCode.RULE_DENIED,
                f"{intent.tool} is not allowed any more ({decision.rule}): {decision.reason}",
                reason_codes=decision.reason_codes,
                details={"rule": decision.rule},
            )
        budget = rules.policy.budget(principal.name, principal.labels, principal.cap_nano)
        intent = replace(
            intent,
            ruleset_digest=rules.digest,
            rule=decision.rule,
            budget=budget if budget.caps else None,
        )
        answer: StoreAnswer | Refusal | tuple[Intent, Admitted] = (
            await self._reserve(call, intent, rules) if waits else await self._store.admit(intent)
        )
        match answer:
            case Refusal():
                return answer
            case Admitted() | (Intent(), Admitted()):
                return intent
            case CapExceeded():
                return cap_exceeded(intent, answer)
            case _:
                return Refusal(
                    ReasonCode.COST_LIMIT_EXCEEDED,
                    "The agent's cap has no room for one more response beside what is under way on the socket.",
                )

    def _intent(
        self,
        call: Call,
        inspection: Inspection,
        decision: Decision,
        reserve_nano: int,
        budget: Budget | None,
        rules: RuleSet,
    ) -> Intent:
        found = inspection.classification
        return Intent(
            call_id=call.call_id,
            agent=call.principal.name,
            tool=found.tool,
            tier=found.tier.value,
            nature=found.nature.value,
            host=inspection.request.host,
            method=inspection.request.method,
            arguments=mask_arguments(found.arguments, found.provider, found.in_path),
            effect=decision.effect.value,
            rule=decision.rule,
            reason_codes=decision.reason_codes,
            ruleset_digest=rules.digest,
            request_digest=inspection.digest,
            request_bytes=len(inspection.forward.body),
            enforced=decision.enforced,
            model=_model_shown(inspection.plan.model)
            if inspection.plan is not None and inspection.plan.model
            else None,
            reserve_nano=reserve_nano,
            budget=budget if budget is not None and budget.caps else None,
        )

    def _out_of_reach(self, call: Call, rules: RuleSet) -> Refusal | None:
        """Why a call may not go on, after it waited too; raises `_RulesChanged`."""
        if (code := self._refuse_reason()) is not None:
            return not_able(code)
        if not call.authentic():
            return AGENT_UNKNOWN
        if self._rules() is not rules:
            raise _RulesChanged
        return None

    async def _reserve(
        self, call: Call, intent: Intent, rules: RuleSet
    ) -> tuple[Intent, Admitted] | TicketGone | CapExceeded | Refusal:
        """Reserve and record in one durable step; queue behind the agent's own reservations where that is enough."""
        answer: StoreAnswer | Refusal | None = None

        async def attempt() -> bool:
            nonlocal answer
            if (answer := self._out_of_reach(call, rules)) is not None:
                return True
            answer = await self._store.admit(intent)
            return not isinstance(answer, MustWait)

        if intent.budget is None or self._budgets.is_empty(intent.agent):
            await attempt()
        if answer is None or isinstance(answer, MustWait):
            assert intent.budget is not None
            if not await self._budgets.turn(intent.agent, call, intent.budget.wait_us / 1e6, attempt):
                return Refusal(
                    ReasonCode.LIMIT_EXCEEDED,
                    "The call fits the agent's cap, but not beside its own calls under way, and none of them ended in "
                    f"{intent.budget.wait_us // 1_000_000} s. Run fewer calls at a time.",
                )
        match answer:
            case Admitted():
                return intent, answer
            case CapExceeded() | TicketGone() | Refusal():
                return answer
            case _:
                raise AssertionError(answer)

    async def _hold(
        self,
        call: Call,
        inspection: Inspection,
        decision: Decision,
        limits: Limits,
        intent: Intent,
        rules: RuleSet,
    ) -> tuple[Intent, Admitted] | Refusal:
        """Wait for a person's verdict on a durable review; an approval is spent together with the intent."""
        loop = asyncio.get_running_loop()
        give_up = loop.time() + decision.hold_wait_us / 1e6
        new = self._new_review(call, inspection, decision, intent)
        review: Review | None = None
        while True:
            if review is None:
                opened = await self._store.open_review(new, most_open=limits.open_reviews)
                if isinstance(opened, TooManyReviews):
                    return Refusal(
                        ReasonCode.LIMIT_EXCEEDED,
                        f"The agent has {opened.open_reviews} calls waiting for a reviewer, as many as it may. "
                        "Wait until some of them are decided.",
                    )
                review, is_new = opened
                if is_new:
                    self._verdicts.list_changed()
            match review.state:
                case ReviewState.APPROVED:
                    if call.gone.is_set():  # the ticket stays for the agent's next identical call
                        return held(review, intent)
                    admitted = await self._reserve(call, replace(intent, review_id=review.review_id), rules)
                    if isinstance(admitted, CapExceeded):
                        return cap_exceeded(intent, admitted)
                    if not isinstance(admitted, TicketGone):
                        return admitted
                    review = replace(review, state=admitted.state)
                case ReviewState.REJECTED:
                    return rejected(review, intent)
                case ReviewState.EXPIRED:
                    return expired(review, intent)
                case ReviewState.PENDING:
                    left_s = give_up - loop.time()
                    if left_s <= 0 or call.gone.is_set() or self._refuse_reason() is not None:
                        return held(review, intent)
                    if (refusal := self._out_of_reach(call, rules)) is not None:
                        return refusal
                    until_expiry_s = (review.expires_at_us - time.time_ns() // 1000) / 1e6
                    with self._verdicts.attending(review.review_id):
                        await self._verdicts.wait(
                            review.review_id, call, min(left_s, max(0.05, until_expiry_s), LOOK_AGAIN_S)
                        )
                    review = await self._store.review(review.review_id)
                case _:  # spent by another connection: this call asks for an approval of its own
                    review = None

    def _new_review(self, call: Call, inspection: Inspection, decision: Decision, intent: Intent) -> NewReview:
        found = inspection.classification
        return NewReview(
            review_id=str(uuid.uuid4()),
            agent=intent.agent,
            semantic_digest=semantic_digest(inspection.request, intent.agent),
            tool=found.tool,
            tier=intent.tier,
            nature=intent.nature,
            host=intent.host,
            method=intent.method,
            arguments=intent.arguments,
            summary=found.summary,
            reason=decision.reason,
            rule=decision.rule,
            reason_codes=decision.reason_codes,
            expires_us=decision.expires_us,
            ruleset_digest=intent.ruleset_digest,
            cost_nano=intent.reserve_nano,
            operations=found.operations,
            evidence=found.evidence,
            body_bytes=len(call.request.body),
            signed=is_signed(inspection.request),
        )

    async def record_refusal(self, call: Call, refusal: Refusal, rules: RuleSet | None = None) -> None:
        """Put a refusal on record; where the store cannot take it the call stays refused all the same."""
        found = call.classification
        try:
            await self._store.refuse(
                Refused(
                    call_id=call.call_id,
                    agent=call.principal.name,
                    tool=found.tool if found else None,
                    tier=found.tier.value if found else None,
                    host=call.request.host,
                    method=known_method(call.request.method),
                    code=refusal.code.value,
                    reason_codes=refusal.reason_codes,
                    rule=refusal.details.get("rule"),
                    request_digest=call.request_digest,
                    review_id=refusal.details.get("review_id"),
                    ruleset_digest=(rules or self._rules()).digest,
                    arguments=mask_arguments(found.arguments, found.provider, found.in_path) if found else None,
                    model=refusal.unpriced[0] or None if refusal.unpriced else None,
                    provider=refusal.unpriced[1] if refusal.unpriced else None,
                )
            )
        except StoreError:
            return


def _shorter(
    call: Call, inspection: Inspection, answer: CapExceeded, budget: Budget, rules: RuleSet
) -> tuple[Inspection, Plan] | None:
    """The call with an answer as long as what is left affords; None where it would be broken, or of no use."""
    cap = answer.budget.cap_nano if answer.budget is not None else budget.cap_nano
    counts = answer.budget is not None and answer.budget.amount_nano is not None
    if cap is None or counts or not is_small(call.request):
        return None
    shorter = inspection.clamped(rules.prices, call.request, cap - answer.settled_nano)
    return (shorter, shorter.plan) if shorter is not None and isinstance(shorter.plan, Plan) else None


def _told(receipt: Admitted) -> str | None:
    """The nearest cap, for the response's header."""
    if not receipt.used:
        return None
    budget, settled = max(receipt.used, key=lambda each: each[1] / (each[0].cap_nano or 1))
    percent = settled * 100 // (budget.cap_nano or 1)
    if percent < TOLD_PERCENT:
        return None
    whose = f"; budget={budget.account.removeprefix('@')}" if budget.account else ""
    spent, cap = usd_from_nano(settled), usd_from_nano(budget.cap_nano or 0)
    return f"percent={percent}; settled={spent:.6f}; cap={cap:.6f}; window={budget.window_us // 1_000_000}{whose}"


def _with_less(intent: Intent, inspection: Inspection, plan: Plan) -> Intent:
    codes = intent.reason_codes
    return replace(
        intent,
        reserve_nano=plan.reserve_nano,
        request_digest=inspection.digest,
        request_bytes=len(inspection.forward.body),
        reason_codes=codes if OUTPUT_CLAMPED in codes else (*codes, OUTPUT_CLAMPED),
    )


def _unmetered_socket(plan: Plan | Unpriced | None) -> Refusal:
    if isinstance(plan, Unpriced):
        return Refusal(ReasonCode.MODEL_UNPRICED, f"{plan.message} The socket was not opened.")
    return Refusal(
        ReasonCode.PROTOCOL_FORBIDDEN,
        "Douane opens WebSockets only where each response on them is metered, and did not send the request.",
    )


_model_shown = functools.lru_cache(maxsize=1024)(mask_text)


def not_able(code: ReasonCode) -> Refusal:
    """The node cannot take the call now."""
    message = (
        "Douane cannot write its register and lets nothing pass until it can; an operator has to look."
        if code is ReasonCode.STORE_UNAVAILABLE
        else "Douane is starting or stopping and lets nothing pass; try again in a while."
    )
    return Refusal(code, message)


def _review_details(review: Review) -> dict[str, Any]:
    return {
        "review_id": review.review_id,
        "expires_at": timestamp(review.expires_at_us),
        "status_url": f"/v1/reviews/{review.review_id}",
        "rule": review.rule,
    }


def held(review: Review, intent: Intent) -> Refusal:
    """The call waits for a person; its connection does not wait any longer."""
    return Refusal(
        ReasonCode.REVIEW_PENDING,
        f"{intent.tool} needs a person's approval and was not executed. Review {review.review_id} is open until "
        f"{timestamp(review.expires_at_us)}; after the approval send the same call once more.",
        reason_codes=review.reason_codes,
        details=_review_details(review),
    )


def rejected(review: Review, intent: Intent) -> Refusal:
    """A person said no."""
    return Refusal(
        ReasonCode.REVIEW_REJECTED,
        f"A reviewer rejected {intent.tool}; it was not executed. Repeating the call will not help.",
        reason_codes=review.reason_codes,
        details=_review_details(review),
    )


def expired(review: Review, intent: Intent) -> Refusal:
    """Nobody said yes in time."""
    return Refusal(
        ReasonCode.REVIEW_EXPIRED,
        f"Nobody approved {intent.tool} in time, which counts as a no; it was not executed.",
        reason_codes=review.reason_codes,
        details=_review_details(review),
    )


def cap_exceeded(intent: Intent, answer: CapExceeded) -> Refusal:
    """The agent's settled spend leaves no room for this call's worst case."""
    budget = answer.budget or intent.budget
    assert budget is not None
    assert budget.cap_nano is not None
    name = (budget.account or "").removeprefix("@").partition("/")[0]
    is_shared = budget.account is not None and "/" not in budget.account
    whose = f"The agents that share {name} have" if is_shared else "The agent has"
    needed_nano = intent.reserve_nano if budget.amount_nano is None else budget.amount_nano
    costs = "may cost" if budget.amount_nano is None else f"counts against {name} with"
    details: Mapping[str, Any] = {
        "currentCostUsd": usd_from_nano(answer.settled_nano),
        "thresholdUsd": usd_from_nano(budget.cap_nano),
        "windowMs": budget.window_us // 1000,
        "reservedUsd": usd_from_nano(answer.reserved_nano),
        "neededUsd": usd_from_nano(needed_nano),
        "resets_at": timestamp(answer.resets_at_us) if answer.resets_at_us is not None else None,
        **({"budget": name} if name else {}),
    }
    when = f" Room comes free at {details['resets_at']}." if details["resets_at"] else ""
    return Refusal(
        ReasonCode.COST_LIMIT_EXCEEDED,
        f"{whose} spent {format_usd(answer.settled_nano)} of {format_usd(budget.cap_nano)} and this call {costs} "
        f"{format_usd(needed_nano)}; it was not sent.{when} Repeating it before will not help.",
        details=dict(details),
    )


def timestamp(at_us: int) -> str:
    """RFC 3339 in UTC, to the second."""
    return datetime.datetime.fromtimestamp(at_us / 1e6, datetime.UTC).strftime("%Y-%m-%dT%H:%M:%SZ")
