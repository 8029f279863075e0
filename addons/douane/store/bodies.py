"""What the store is told, as members of a record and the values it commits to. Made before the writer sees it.

Everything in here may stem from an agent: strings are cut and made valid, integers bounded, so that no request can make
a record that the format refuses, which would latch the store for everybody.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

import orjson

from douane.core.charge import Charge
from douane.core.record import integer, present, text, texts
from douane.store.interface import Intent, NewReview, Refused, Result

MAX_VALUE_BYTES = 1 << 18
MAX_CARD_CHARS = 4096

type Body = dict[str, Any]
type Values = dict[str, bytes]


def value_bytes(value: Any) -> bytes:
    """A value as the JSON that is committed to; what JSON cannot hold becomes text, what is too long its length."""
    try:
        data = orjson.dumps(value, option=orjson.OPT_NON_STR_KEYS | orjson.OPT_SORT_KEYS)
    except orjson.JSONEncodeError:
        data = orjson.dumps(_plain(value, 0), option=orjson.OPT_SORT_KEYS)
    return data if len(data) <= MAX_VALUE_BYTES else orjson.dumps({"left_out_bytes": len(data)})


def _plain(value: Any, depth: int) -> Any:
    if depth > 100:
        return "…"
    match value:
        case None | bool() | float():
            return value
        case int():
            return value if -(2**63) <= value < 2**64 else str(value)
        case str():
            return text(value, MAX_VALUE_BYTES)
        case Mapping():
            return {text(str(key)): _plain(member, depth + 1) for key, member in value.items()}
        case list() | tuple() | set() | frozenset():
            return [_plain(member, depth + 1) for member in value]
        case _:
            return text(str(value))


def _values(**named: Any) -> Values:
    return {name: value_bytes(value) for name, value in named.items() if value}


def _optional(value: str | None) -> str | None:
    return None if value is None else text(value)


def intent(told: Intent) -> tuple[Body, Values]:
    """A call about to be sent."""
    body: Body = {
        "call_id": text(told.call_id),
        "tool": text(told.tool),
        "tier": text(told.tier),
        "nature": text(told.nature),
        "host": text(told.host),
        "method": text(told.method),
        "effect": text(told.effect),
        "rule": text(told.rule),
        "reason_codes": texts(told.reason_codes),
        "ruleset": text(told.ruleset_digest),
        "request_digest": text(told.request_digest),
        "request_bytes": integer(told.request_bytes),
        "enforced": bool(told.enforced),
        "reserve_nano": max(0, integer(told.reserve_nano)),
        "outcome": "ALLOW",
    }
    if told.model is not None:
        body["model"] = text(told.model)
    if told.review_id is not None:
        body["review_id"] = text(told.review_id)
    if told.socket is not None:
        body["socket"] = text(told.socket)
    return body, {"arguments": value_bytes(dict(told.arguments))} if told.arguments else {}


def result(told: Result) -> tuple[Body, Values]:
    """What became of it; money is added by the ledger."""
    body: Body = {
        "call_id": text(told.call_id),
        "outcome": text(told.outcome),
        "response_bytes": integer(told.response_bytes),
        "duration_us": integer(told.duration_us),
    }
    if told.status is not None:
        body["status"] = integer(told.status)
    if told.response_digest is not None:
        body["response_digest"] = text(told.response_digest)
    if told.charge is not None:
        body |= charge(told.charge)
    return body, _values(error=told.error)


def charge(told: Charge) -> Body:
    """How a charge came about, without its amount."""
    usage = {
        text(unit, 64).encode("ascii", "replace").decode(): integer(quantity)
        for unit, quantity in list(told.usage.items())[:64]
    }
    return present(
        {
            "model": _optional(told.model),
            "usage": usage or None,
            "estimated": bool(told.estimated),
            "method": text(told.method),
            "response_id": _optional(told.response_id),
        }
    )


def refusal(told: Refused) -> tuple[Body, Values]:
    """A call that got no intent."""
    body = present(
        {
            "call_id": text(told.call_id),
            "tool": _optional(told.tool),
            "tier": _optional(told.tier),
            "host": _optional(told.host),
            "method": _optional(told.method),
            "code": text(told.code),
            "reason_codes": texts(told.reason_codes),
            "rule": _optional(told.rule),
            "request_digest": _optional(told.request_digest),
            "review_id": _optional(told.review_id),
            "ruleset": _optional(told.ruleset_digest),
            "model": _optional(told.model),
            "provider": _optional(told.provider),
            "outcome": "ESCALATE" if told.code == "review_pending" else "BLOCK",
        }
    )
    return body, {"arguments": value_bytes(dict(told.arguments))} if told.arguments else {}


def review(told: NewReview) -> tuple[Body, Values]:
    """A review as it is opened."""
    body: Body = {
        "review_id": text(told.review_id),
        "semantic_digest": text(told.semantic_digest),
        "tool": text(told.tool),
        "tier": text(told.tier),
        "nature": text(told.nature),
        "host": text(told.host),
        "method": text(told.method),
        "rule": text(told.rule),
        "reason_codes": texts(told.reason_codes),
        "ruleset": text(told.ruleset_digest),
        "cost_nano": integer(told.cost_nano),
        "operations": texts(told.operations),
        "body_bytes": integer(told.body_bytes),
        "signed": bool(told.signed),
        "outcome": "ESCALATE",
    }
    return body, _values(
        arguments=dict(told.arguments), summary=told.summary, reason=told.reason, evidence=told.evidence
    )


def card(told: NewReview) -> bytes:
    """What a review shows and does not change, as it is kept beside the register."""
    return value_bytes(
        {
            "tool": text(told.tool),
            "tier": text(told.tier),
            "nature": text(told.nature),
            "host": text(told.host),
            "method": text(told.method),
            "arguments": orjson.loads(value_bytes(dict(told.arguments))),
            "summary": text(told.summary, MAX_CARD_CHARS),
            "reason": text(told.reason, MAX_CARD_CHARS),
            "rule": text(told.rule),
            "reason_codes": texts(told.reason_codes),
            "cost_nano": integer(told.cost_nano),
            "operations": texts(told.operations),
            "evidence": text(told.evidence, MAX_CARD_CHARS),
            "body_bytes": integer(told.body_bytes),
            "signed": bool(told.signed),
        }
    )


def labels(told: Mapping[str, str]) -> list[str]:
    """Labels as `name=value`, in order."""
    return texts(sorted(f"{name}={value}" for name, value in told.items()))


def lines(told: Sequence[str]) -> Values:
    """The lines of a policy's difference."""
    return _values(difference=list(told))
