"""The life of a review: every rule of it is the table in this file."""

from __future__ import annotations

from enum import StrEnum


class ReviewState(StrEnum):
    """Where a review stands."""

    PENDING = "pending"
    APPROVED = "approved"
    REJECTED = "rejected"
    EXPIRED = "expired"
    DISPATCHING = "dispatching"
    EXECUTED = "executed"
    FAILED = "failed"
    UNKNOWN = "unknown"


class ReviewEvent(StrEnum):
    """What happens to a review."""

    APPROVE = "approve"
    REJECT = "reject"
    EXPIRE = "expire"
    DISPATCH = "dispatch"
    SUCCEED = "succeed"
    FAIL = "fail"
    LOSE = "lose"


TRANSITIONS: dict[tuple[ReviewState, ReviewEvent], ReviewState] = {
    (ReviewState.PENDING, ReviewEvent.APPROVE): ReviewState.APPROVED,
    (ReviewState.PENDING, ReviewEvent.REJECT): ReviewState.REJECTED,
    (ReviewState.PENDING, ReviewEvent.EXPIRE): ReviewState.EXPIRED,
    (ReviewState.APPROVED, ReviewEvent.EXPIRE): ReviewState.EXPIRED,
    (ReviewState.APPROVED, ReviewEvent.DISPATCH): ReviewState.DISPATCHING,
    (ReviewState.DISPATCHING, ReviewEvent.SUCCEED): ReviewState.EXECUTED,
    (ReviewState.DISPATCHING, ReviewEvent.FAIL): ReviewState.FAILED,
    (ReviewState.DISPATCHING, ReviewEvent.LOSE): ReviewState.UNKNOWN,
}
"""All transitions there are. Expiry of an approval means that the one-use ticket was never spent."""

OPEN = frozenset({ReviewState.PENDING, ReviewState.APPROVED})
"""States in which a repeat of the call joins the review."""


class IllegalTransition(Exception):
    """An event that a review's state does not allow; nothing was changed."""

    def __init__(self, state: ReviewState, event: ReviewEvent) -> None:
        super().__init__(f"a review that is {state} cannot {event}")
        self.state = state
        self.event = event


def advance(state: ReviewState, event: ReviewEvent) -> ReviewState:
    """The state after an event; raises `IllegalTransition`."""
    try:
        return TRANSITIONS[state, event]
    except KeyError:
        raise IllegalTransition(state, event) from None
