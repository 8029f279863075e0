"""The store as the rest of the program sees it: durable, one writer, closed on error."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any, Literal, Protocol

from douane.core.charge import Charge
from douane.core.decision import Budget
from douane.core.review import ReviewState


class StoreError(Exception):
    """The store cannot vouch for what it holds; it has latched and refuses everything until reopened."""


class StoreBusy(StoreError):
    """Another process holds the store's lock; the message names it."""


@dataclass(frozen=True, slots=True)
class Intent:
    """All that is recorded of a call before its first byte goes upstream. Arguments are masked already."""

    call_id: str
    agent: str
    tool: str
    tier: str
    nature: str
    host: str
    method: str
    arguments: Mapping[str, Any]
    """Masked; stored beside the register, bound to it by a salted commitment."""
    effect: str
    rule: str
    reason_codes: tuple[str, ...]
    ruleset_digest: str
    request_digest: str
    request_bytes: int
    enforced: bool = True
    model: str | None = None
    reserve_nano: int = 0
    budget: Budget | None = None
    """None: nothing is billable, or the agent is not capped; nothing is checked, `reserve_nano` is still set aside."""
    review_id: str | None = None
    """Set for a held call: its approval is spent in the same transaction."""
    socket: str | None = None
    """The call id of the WebSocket that this is one response of."""


@dataclass(frozen=True, slots=True)
class Admitted:
    """The intent is durable; the call may go upstream."""

    seq: int
    hash: str
    used: tuple[tuple[Budget, int], ...] = field(default=(), compare=False)
    """(budget, settled nano-dollars) of each cap that it was held against."""
    warned_percent: int | None = field(default=None, compare=False)
    """The mark that spend has passed since the last admission against the same cap."""


@dataclass(frozen=True, slots=True)
class MustWait:
    """The call fits the cap, but not beside the agent's own open reservations."""

    settled_nano: int
    reserved_nano: int


@dataclass(frozen=True, slots=True)
class CapExceeded:
    """Settled spend and this call's worst case exceed the cap."""

    settled_nano: int
    reserved_nano: int
    resets_at_us: int | None
    """When enough spend will have aged out for this call, unless more is spent; None if it never fits."""
    budget: Budget | None = field(default=None, compare=False)
    """The cap that it does not fit."""


@dataclass(frozen=True, slots=True)
class TicketGone:
    """The approval cannot be spent: spent already, expired, rejected or still pending."""

    state: ReviewState


type Admission = Admitted | MustWait | CapExceeded | TicketGone


@dataclass(frozen=True, slots=True)
class Result:
    """What became of an intent."""

    call_id: str
    outcome: str
    """`completed`, `failed` (nothing reached the provider), `aborted` (cut after forwarding), `unknown`."""
    status: int | None
    charge: Charge | None
    response_bytes: int = 0
    response_digest: str | None = None
    duration_us: int = 0
    error: str | None = None


@dataclass(frozen=True, slots=True)
class Refused:
    """A call that got no intent."""

    call_id: str
    agent: str | None
    tool: str | None
    tier: str | None
    host: str | None
    method: str | None
    code: str
    reason_codes: tuple[str, ...]
    rule: str | None = None
    request_digest: str | None = None
    review_id: str | None = None
    ruleset_digest: str | None = None
    arguments: Mapping[str, Any] | None = None
    model: str | None = None
    """Of a model call without a price; `provider` where a price of it is all that lacks."""
    provider: str | None = None


@dataclass(frozen=True, slots=True)
class NewReview:
    """A review to open, if none is open for (agent, semantic digest)."""

    review_id: str
    agent: str
    semantic_digest: str
    tool: str
    tier: str
    nature: str
    host: str
    method: str
    arguments: Mapping[str, Any]
    """Masked."""
    summary: str
    reason: str
    rule: str
    reason_codes: tuple[str, ...]
    expires_us: int
    """How long it stays open, from the store's clock."""
    ruleset_digest: str
    cost_nano: int = 0
    operations: tuple[str, ...] = ()
    evidence: str = ""
    body_bytes: int = 0
    signed: bool = False
    """The request carries a signature that dies within minutes."""


@dataclass(frozen=True, slots=True)
class Review:
    """A review as it stands."""

    review_id: str
    state: ReviewState
    agent: str
    semantic_digest: str
    tool: str
    tier: str
    nature: str
    host: str
    method: str
    arguments: Mapping[str, Any]
    summary: str
    reason: str
    rule: str
    reason_codes: tuple[str, ...]
    created_us: int
    expires_at_us: int
    version: int
    """Rises with every change of any review; the console's change feed."""
    cost_nano: int = 0
    operations: tuple[str, ...] = ()
    evidence: str = ""
    body_bytes: int = 0
    signed: bool = False
    reviewer: str | None = None
    channel: str | None = None
    note: str | None = None
    decided_us: int | None = None
    call_id: str | None = None
    result_status: int | None = None


@dataclass(frozen=True, slots=True)
class TooManyReviews:
    """The agent has as many open reviews as it may."""

    open_reviews: int


@dataclass(frozen=True, slots=True)
class Spend:
    """An account's spend against its cap, now."""

    agent: str
    """Or `@NAME` of a budget that agents share."""
    settled_nano: int
    reserved_nano: int
    window_us: int
    budget: Budget = field(default_factory=lambda: Budget(None), compare=False)


type SpendKey = Literal["agent", "model", "tool", "day"]
"""What charges are summed up by; days are UTC."""


@dataclass(frozen=True, slots=True)
class Spent:
    """What was charged to an agent, in one of the groups that were asked for."""

    agent: str
    group: str
    charge_nano: int
    calls: int


@dataclass(frozen=True, slots=True)
class AgentRow:
    """A registered agent."""

    name: str
    labels: Mapping[str, str]
    cap_nano: int | None
    suspended: bool
    created_us: int
    key_hashes: Mapping[str, int | None]
    """BLAKE3 (hex) of each key that is valid now → when a session key ends (µs), None for the agent's own."""


@dataclass(frozen=True, slots=True)
class ReviewerRow:
    """A person who may give verdicts."""

    name: str
    created_us: int


@dataclass(frozen=True, slots=True)
class Head:
    """A signed head of the register: a C2SP note over origin, size and RFC 6962 root."""

    seq: int
    hash: str
    note: str


@dataclass(frozen=True, slots=True)
class LogFilter:
    """Which records `douane log` shows, newest last."""

    agent: str | None = None
    tool: str | None = None
    kind: str | None = None
    outcome: str | None = None
    call_id: str | None = None
    since_us: int | None = None
    until_us: int | None = None
    limit: int = 100
    before_seq: int | None = None


@dataclass(frozen=True, slots=True)
class LogEntry:
    """One record, with the values its commitments stand for, where they are still kept."""

    seq: int
    hash: str
    record: Mapping[str, Any]
    values: Mapping[str, Any] = field(default_factory=dict)


class Store(Protocol):
    """All methods raise `StoreError` once latched. Times are µs since the epoch by the store's own ratcheted clock."""

    # calls and money
    async def admit(self, intent: Intent) -> Admission: ...
    def settle(self, result: Result) -> None:
        """Queue the result: durable with the next commit, at latest after 20 ms; never waits, never raises."""

    async def refuse(self, refused: Refused) -> None:
        """Record a refusal; identical floods are aggregated with a count."""

    async def spend(self, agents: Mapping[str, Budget]) -> Sequence[Spend]: ...
    async def spent(self, by: SpendKey, *, agent: str | None = None, since_us: int | None = None) -> Sequence[Spent]:
        """All that was charged, or in so many µs up to now, summed up; the dearest first."""

    # reviews
    async def open_review(self, new: NewReview, *, most_open: int) -> tuple[Review, bool] | TooManyReviews:
        """The open, or still binding rejected, review of (agent, semantic digest), or a new one; True for a new one."""

    async def review(self, review_id: str) -> Review | None: ...
    async def reviews(
        self, *, states: Sequence[ReviewState] = (), after_version: int = 0, limit: int = 500
    ) -> Sequence[Review]: ...
    async def give_verdict(
        self, review_id: str, *, approve: bool, reviewer: str, channel: str, note: str | None
    ) -> Review:
        """Raises `IllegalTransition`, or `KeyError` for an unknown review; the same verdict again changes nothing."""

    async def expire_due(self) -> Sequence[Review]: ...

    # agents and reviewers; each change is an `admin` record
    async def agents(self) -> Sequence[AgentRow]: ...
    async def add_agent(
        self, name: str, labels: Mapping[str, str], cap_nano: int | None, key_hash: str
    ) -> AgentRow: ...
    async def rotate_agent(self, name: str, key_hash: str) -> AgentRow: ...
    async def remove_agent(self, name: str) -> None: ...
    async def suspend_agent(self, name: str, suspended: bool) -> AgentRow: ...
    async def add_session_key(self, name: str, key_hash: str, ends_us: int) -> AgentRow: ...
    async def end_session_key(self, name: str, key_hash: str) -> AgentRow: ...
    async def ever_had_agents(self) -> bool: ...
    async def reviewers(self) -> Sequence[ReviewerRow]: ...
    async def add_reviewer(self, name: str, secret_hash: str) -> ReviewerRow: ...
    async def remove_reviewer(self, name: str) -> None: ...
    async def reviewer_secret_hash(self, name: str) -> str | None: ...
    async def add_login_link(self, reviewer: str, link_hash: str, ends_us: int) -> None: ...
    async def spend_login_link(self, link_hash: str) -> str | None:
        """The reviewer whose link this is, once; None if unknown, spent or over."""

    async def add_reviewer_session(self, reviewer: str, token_hash: str, ends_us: int) -> None: ...
    async def reviewer_session(self, token_hash: str) -> str | None: ...
    async def end_reviewer_session(self, token_hash: str) -> None: ...

    # register
    async def record_policy(self, digest: str, text: str, by: str, difference: Sequence[str]) -> None: ...
    async def policy_in_force(self) -> tuple[str, str] | None: ...
    async def record_heartbeat(self) -> None: ...
    async def sign_head(self, reason: str) -> Head: ...
    async def log(self, wanted: LogFilter) -> Sequence[LogEntry]: ...
    async def named(self, beginning: str) -> Sequence[tuple[str, str]]: ...
    async def story(self, name: str) -> Sequence[LogEntry]: ...

    @property
    def latched(self) -> str | None:
        """Why the store refuses everything, or None."""

    async def close(self) -> None:
        """Finish what is queued, sign the head, let go of the lock."""
