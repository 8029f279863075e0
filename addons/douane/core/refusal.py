"""Why a call is refused: one enum, in the order the reasons are checked."""

from __future__ import annotations

from dataclasses import dataclass, field
from enum import StrEnum
from typing import Any


class ReasonCode(StrEnum):
    """Reason codes of refusals, in the order they are checked."""

    AGENT_UNKNOWN = "agent_unknown"
    NOT_READY = "not_ready"
    STORE_UNAVAILABLE = "store_unavailable"
    LIMIT_EXCEEDED = "limit_exceeded"
    REQUEST_AMBIGUOUS = "request_ambiguous"
    DESTINATION_FORBIDDEN = "destination_forbidden"
    PROTOCOL_FORBIDDEN = "protocol_forbidden"
    TOOL_UNKNOWN = "tool_unknown"
    MODEL_UNPRICED = "model_unpriced"
    RULE_DENIED = "rule_denied"
    REVIEW_PENDING = "review_pending"
    REVIEW_REJECTED = "review_rejected"
    REVIEW_EXPIRED = "review_expired"
    COST_LIMIT_EXCEEDED = "cost_limit_exceeded"


UNABLE = frozenset({ReasonCode.NOT_READY, ReasonCode.STORE_UNAVAILABLE})
"""Reasons that lie with the node, not with the call: answered 503, all others 403."""


@dataclass(frozen=True, slots=True)
class Refusal:
    """A call that does not go through, told so that an agent can act on it."""

    code: ReasonCode
    message: str
    """A sentence: what was refused, why, and whether repeating helps. Never holds request data that could be secret."""
    reason_codes: tuple[str, ...] = ()
    """`code` first, then the policy's own."""
    details: dict[str, Any] = field(default_factory=dict)
    """Members added to `decision` in the body: review_id, expires_at, currentCostUsd, thresholdUsd, windowMs, …"""
    unpriced: tuple[str, str | None] | None = None
    """For the register alone: (model, its provider where a price is all that lacks) of a call without a price."""

    @property
    def status(self) -> int:
        """The HTTP status: 403, or 503 where the node is unable."""
        return 503 if self.code in UNABLE else 403

    @property
    def outcome(self) -> str:
        """The guide's wire word."""
        return "ESCALATE" if self.code is ReasonCode.REVIEW_PENDING else "BLOCK"


class RequestAmbiguous(Exception):
    """A request that two parsers could read in two ways; the message names the trap and quotes no value."""
