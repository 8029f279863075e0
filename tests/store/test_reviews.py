"""The durable review: joined, decided once, spent once, expired at use."""

from __future__ import annotations

import pytest

from douane.core.review import IllegalTransition, ReviewState
from douane.store.interface import Admitted, CapExceeded, Result, Review, TicketGone, TooManyReviews
from douane.store.sqlite import SqliteStore
from support.register import Place, SetClock, completed, intent, priced, records, review, until_settled


async def opened(store: SqliteStore, **changes: object) -> Review:
    answer = await store.open_review(review(**changes), most_open=20)
    assert not isinstance(answer, TooManyReviews)
    return answer[0]


async def approve(store: SqliteStore, review_id: str, reviewer: str = "rita") -> Review:
    return await store.give_verdict(review_id, approve=True, reviewer=reviewer, channel="console", note=None)


async def reject(store: SqliteStore, review_id: str, reviewer: str = "rita") -> Review:
    return await store.give_verdict(review_id, approve=False, reviewer=reviewer, channel="cli", note="no")


async def state_of(store: SqliteStore, review_id: str) -> ReviewState:
    found = await store.review(review_id)
    assert found is not None
    return found.state


async def test_a_repeat_joins_the_open_review(store: SqliteStore) -> None:
    new = review()
    first = await store.open_review(new, most_open=5)
    again = await store.open_review(review(semantic_digest=new.semantic_digest), most_open=5)
    assert not isinstance(first, TooManyReviews)
    assert first[1] is True
    assert again == (first[0], False)
    other = await store.open_review(review(semantic_digest=new.semantic_digest, agent="other"), most_open=5)
    assert not isinstance(other, TooManyReviews)
    assert other[1] is True


async def test_an_approval_is_spent_once_with_the_intent(store: SqliteStore) -> None:
    held = await opened(store)
    assert await store.admit(intent(review_id=held.review_id)) == TicketGone(ReviewState.PENDING)
    await approve(store, held.review_id)
    call = intent(review_id=held.review_id)
    assert isinstance(await store.admit(call), Admitted)
    assert await state_of(store, held.review_id) is ReviewState.DISPATCHING
    assert await store.admit(intent(review_id=held.review_id)) == TicketGone(ReviewState.DISPATCHING)
    store.settle(completed(call, status=204))
    await until_settled(store)
    found = await store.review(held.review_id)
    assert found is not None
    assert (found.state, found.call_id, found.result_status) == (ReviewState.EXECUTED, call.call_id, 204)
    assert (found.reviewer, found.channel) == ("rita", "console")


@pytest.mark.parametrize(
    ("outcome", "status", "state"),
    [
        ("completed", 204, ReviewState.EXECUTED),
        ("completed", 500, ReviewState.EXECUTED),
        ("failed", None, ReviewState.FAILED),
        ("aborted", 200, ReviewState.EXECUTED),
        ("aborted", None, ReviewState.UNKNOWN),
        ("unknown", None, ReviewState.UNKNOWN),
    ],
)
async def test_the_result_ends_the_review(
    store: SqliteStore, outcome: str, status: int | None, state: ReviewState
) -> None:
    held = await opened(store)
    await approve(store, held.review_id)
    call = intent(review_id=held.review_id)
    await store.admit(call)
    store.settle(Result(call.call_id, outcome, status, None))
    await until_settled(store)
    assert await state_of(store, held.review_id) is state
    (result,) = await records(store, kind="result")
    assert (result["review_id"], result["review_state"]) == (held.review_id, state.value)


async def test_another_agent_cannot_spend_the_ticket(store: SqliteStore) -> None:
    held = await opened(store)
    await approve(store, held.review_id)
    assert isinstance(await store.admit(intent(review_id=held.review_id, agent="other")), TicketGone)
    assert isinstance(await store.admit(intent(review_id="no-such-review")), TicketGone)
    assert await state_of(store, held.review_id) is ReviewState.APPROVED


async def test_a_cap_leaves_the_ticket(store: SqliteStore) -> None:
    held = await opened(store)
    await approve(store, held.review_id)
    assert isinstance(await store.admit(priced(200, 100, review_id=held.review_id)), CapExceeded)
    assert await state_of(store, held.review_id) is ReviewState.APPROVED


async def test_a_verdict_is_given_once(store: SqliteStore) -> None:
    held = await opened(store)
    first = await approve(store, held.review_id)
    assert await approve(store, held.review_id) == first
    with pytest.raises(IllegalTransition) as other:
        await approve(store, held.review_id, reviewer="otto")
    assert other.value.state is ReviewState.APPROVED
    with pytest.raises(IllegalTransition):
        await reject(store, held.review_id)
    with pytest.raises(KeyError):
        await approve(store, "no-such-review")
    (verdict,) = await records(store, kind="verdict")
    assert (verdict["reviewer"], verdict["channel"], verdict["outcome"]) == ("rita", "console", "approved")
    assert store.latched is None


async def test_a_rejection_answers_until_it_expires(store: SqliteStore, clock: SetClock) -> None:
    held = await opened(store, expires_us=10_000_000)
    await reject(store, held.review_id)
    clock.pass_by(9)
    again = await opened(store, semantic_digest=held.semantic_digest)
    assert (again.review_id, again.state) == (held.review_id, ReviewState.REJECTED)
    clock.pass_by(1)
    anew = await opened(store, semantic_digest=held.semantic_digest)
    assert anew.review_id != held.review_id
    assert anew.state is ReviewState.PENDING


@pytest.mark.parametrize("approved", [False, True])
async def test_expiry_is_tested_at_use(store: SqliteStore, clock: SetClock, approved: bool) -> None:
    held = await opened(store, expires_us=10_000_000)
    if approved:
        await approve(store, held.review_id)
    clock.pass_by(10)
    assert await state_of(store, held.review_id) is ReviewState.EXPIRED
    if approved:
        assert await store.admit(intent(review_id=held.review_id)) == TicketGone(ReviewState.EXPIRED)
    else:
        with pytest.raises(IllegalTransition) as late:
            await approve(store, held.review_id)
        assert late.value.state is ReviewState.EXPIRED
    (expiry,) = await records(store, kind="expiry")
    assert expiry["was"] == ("approved" if approved else "pending")
    assert await store.expire_due() == []


async def test_expired_reviews_make_room(store: SqliteStore, clock: SetClock) -> None:
    held = await opened(store, expires_us=1_000_000)
    assert await store.open_review(review(), most_open=1) == TooManyReviews(1)
    clock.pass_by(1)
    again = await opened(store, semantic_digest=held.semantic_digest)
    assert again.review_id != held.review_id
    await opened(store, expires_us=2_000_000)
    clock.pass_by(3)
    (expired,) = await store.expire_due()
    assert expired.state is ReviewState.EXPIRED


async def test_a_call_after_the_ticket_was_spent_asks_anew(store: SqliteStore) -> None:
    held = await opened(store)
    await approve(store, held.review_id)
    await store.admit(intent(review_id=held.review_id))
    anew = await opened(store, semantic_digest=held.semantic_digest)
    assert anew.review_id != held.review_id


async def test_the_change_feed_shows_every_change_once(store: SqliteStore) -> None:
    first, second = await opened(store), await opened(store)
    feed = await store.reviews()
    assert [found.review_id for found in feed] == [first.review_id, second.review_id]
    seen = feed[-1].version
    assert await store.reviews(after_version=seen) == []
    await approve(store, first.review_id)
    (changed,) = await store.reviews(after_version=seen)
    assert (changed.review_id, changed.state) == (first.review_id, ReviewState.APPROVED)
    assert [found.review_id for found in await store.reviews(states=[ReviewState.PENDING])] == [second.review_id]


async def test_due_reviews_are_listed_as_expired(store: SqliteStore, clock: SetClock) -> None:
    held = await opened(store, expires_us=1_000_000)
    clock.pass_by(1)
    assert await store.reviews(states=[ReviewState.PENDING, ReviewState.APPROVED]) == []
    (found,) = await store.reviews(states=[ReviewState.EXPIRED])
    assert found.review_id == held.review_id


async def test_a_review_outlives_the_node(place: Place) -> None:
    async with place.opened() as store:
        held = await opened(store)
    async with place.opened() as store:
        await approve(store, held.review_id)
        assert isinstance(await store.admit(intent(review_id=held.review_id)), Admitted)


async def test_setting_the_clock_expires_nothing(place: Place) -> None:
    boot = SetClock(5_000_000)
    async with place.opened(boot_clock=boot) as store:
        held = await opened(store, expires_us=60_000_000)
        place.clock.pass_by(86_400)
        boot.pass_by(59)
        assert await state_of(store, held.review_id) is ReviewState.PENDING
        await approve(store, held.review_id)
        (told,) = await records(store, kind="clock")
        assert told["step_us"] == 86_400_000_000 - 59_000_000
        boot.pass_by(1)
        place.clock.pass_by(1)
        assert await store.admit(intent(review_id=held.review_id)) == TicketGone(ReviewState.EXPIRED)
