"""One transaction's work on the one read-write connection. Lives in the writer's thread; knows nothing of threads.

An operation that raises has failed half-way: the transaction is rolled back and the store latches. What may rightly go
wrong (no room, no such review, an illegal transition) is therefore returned, not raised.
"""

from __future__ import annotations

import sqlite3
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import astuple, dataclass, replace
from typing import Any

from blake3 import blake3

from douane.core.charge import Charge
from douane.core.decision import Budget
from douane.core.record import Kind, integer, present, text, texts
from douane.core.review import OPEN, IllegalTransition, ReviewEvent, ReviewState
from douane.edge.keys import SigningKeys
from douane.store import bodies, rows
from douane.store.clock import Clock
from douane.store.interface import (
    Admission,
    Admitted,
    CapExceeded,
    Head,
    Intent,
    NewReview,
    Result,
    Review,
    StoreError,
    TicketGone,
    TooManyReviews,
)
from douane.store.ledger import Ledger
from douane.store.register import Register
from douane.store.reviews import Reviews, from_row, illegal

_FINISHED = {"completed": ReviewEvent.SUCCEED, "failed": ReviewEvent.FAIL}
_REVIEW_STATE_OF = {
    ReviewEvent.SUCCEED: ReviewState.EXECUTED,
    ReviewEvent.FAIL: ReviewState.FAILED,
    ReviewEvent.LOSE: ReviewState.UNKNOWN,
}
EXPIRE_AT_ONCE = 500
WARN_PERCENT = (95, 90, 75, 50)
"""Of a cap: marks at which it is told that spend has come so far."""


@dataclass(frozen=True, slots=True)
class OpenCall:
    """An intent without a result."""

    seq: int
    call_id: str
    agent: str
    tool: str
    reserve_nano: int
    model: str | None
    review_id: str | None
    accounts: str = ""
    """The accounts that it is booked to besides its agent's; `NAME=NANO` where another amount counts."""


@dataclass(frozen=True, slots=True)
class Deferred:
    """Work that goes on behind a response, and the reservation that is kept for it."""

    response_id: str
    agent: str
    call_id: str
    tool: str
    reserve_nano: int
    model: str | None
    ends_ts: int
    """When the whole reservation counts as spent, in ledger time."""
    accounts: str


DEFERRED_US = 48 * 3_600_000_000
"""Providers end work in the background, and batches, within 24 hours."""


def policy_in_force(connection: sqlite3.Connection) -> tuple[str, str] | None:
    """Digest and text of the policy in force."""
    row = connection.execute(
        "SELECT digest, text FROM policy WHERE text_blake3 = (SELECT value FROM fact WHERE name = 'policy')"
    ).fetchone()
    return None if row is None else (row[0], row[1])


class Engine:
    """All that the writer does inside its transactions."""

    def __init__(
        self,
        connection: sqlite3.Connection,
        keys: SigningKeys,
        clock: Clock,
        register: Register,
        open_calls: Iterable[OpenCall],
        review_version: int,
        deferred: Iterable[Deferred] = (),
    ) -> None:
        self.connection = connection
        self.keys = keys
        self.clock = clock
        self.register = register
        self.ledger = Ledger(connection)
        self.reviews = Reviews(connection, review_version)
        self.open_calls = {call.call_id: call for call in open_calls}
        self.deferred = {work.response_id: work for work in deferred}
        self._marks: dict[tuple[str, int], int] = {}
        """(account, window) → the mark that its spend was at last; told anew after a restart."""
        self._opened: list[tuple[Any, ...]] = []
        self._closed: list[int] = []

    # the transaction

    def begin(self, money: Iterable[tuple[str, int]] = ()) -> None:
        """Open a transaction; `money`: the (agent, window) pairs whose balances it may look at or change."""
        self.connection.execute("BEGIN IMMEDIATE")
        if step_us := self.clock.tick():
            self.keep_clock()
            self.append(Kind.CLOCK, {"step_us": integer(step_us), "ledger_us": self.clock.ledger_us})
        self.ledger.begin(self.clock.ledger_us, money)

    def commit(self) -> None:
        """Write everything out, durably. A crash before this returns leaves none of it or all of it, told to nobody."""
        self.register.flush()
        rows.insert(self.connection, "INSERT INTO open_call VALUES", self._opened)
        self._opened.clear()
        self._delete_closed()
        self.ledger.flush()
        self.connection.execute("COMMIT")

    def _delete_closed(self) -> None:
        for at in range(0, len(self._closed), 64):
            some = self._closed[at : at + 64]
            cursor = self.connection.execute(
                f"DELETE FROM open_call WHERE seq IN {rows.values(len(some), 1)}",  # noqa: S608
                some,
            )
            if cursor.rowcount != len(some):
                raise StoreError("a call has a second result; nothing of this transaction was written")
        self._closed.clear()

    def append(
        self, kind: Kind, body: dict[str, Any], *, agent: str | None = None, values: Mapping[str, bytes] | None = None
    ) -> tuple[int, str]:
        """Add a record; returns seq and hash."""
        return self.register.append(kind, self.clock.now_us, body, agent=agent, values=values)

    def keep_clock(self) -> None:
        """Remember how the clocks stand to each other."""
        state = self.clock.state
        for name, value in (
            ("boot_id", state.boot_id),
            ("offset_us", state.offset_us),
            ("shift_us", state.shift_us),
            ("ledger_us", self.clock.ledger_us),
        ):
            self.connection.execute("INSERT OR REPLACE INTO fact VALUES (?, ?)", (name, value))

    # calls and money

    def admit(self, intent: Intent, body: bodies.Body, values: bodies.Values) -> Admission:
        """Spend the ticket, reserve, and record that the call is about to be sent."""
        call_id, agent = body["call_id"], text(intent.agent)
        if call_id in self.open_calls:
            raise StoreError(f"call {call_id} was admitted before")
        ticket = None
        if intent.review_id is not None:
            ticket = self.reviews.row(body["review_id"])
            if (gone := self._ticket_gone(ticket, agent)) is not None:
                return gone
        caps = intent.budget.caps if intent.budget is not None else ()
        reserve_nano: int = body["reserve_nano"]
        used = [(budget, *self.ledger.settled(agent, budget)) for budget in caps]
        if used:
            body["ledger_us"] = self.clock.ledger_us
            further = used
            if used[0][0].account is None:
                body |= _cap(*used[0])
                further = used[1:]
            if further:
                body["budgets"] = [_cap(*each) for each in further]
        if (reserve_nano or used) and (no_room := self.ledger.reserve(agent, reserve_nano, caps)) is not None:
            if isinstance(no_room, CapExceeded) and no_room.resets_at_us is not None:
                return replace(no_room, resets_at_us=self.clock.of_day(no_room.resets_at_us))
            return no_room
        if (warned := self._marks_passed(agent, used)) is not None:
            body["warned_percent"] = warned
        if ticket is not None:
            self.reviews.change(ticket, ReviewEvent.DISPATCH, call_id=call_id)
        seq, digest = self.append(Kind.INTENT, body, agent=agent, values=values)
        accounts = _written(intent.budget.accounts) if intent.budget is not None and intent.budget.further else ""
        self._open(
            OpenCall(
                seq, call_id, agent, body["tool"], reserve_nano, body.get("model"), body.get("review_id"), accounts
            )
        )
        return Admitted(seq, digest, tuple((budget, settled) for budget, settled, _ in used), warned)

    def _marks_passed(self, agent: str, used: Sequence[tuple[Budget, int, int]]) -> int | None:
        """The highest mark that the spend of an account has passed since this was last asked."""
        highest = 0
        for budget, settled, _ in used:
            key = (budget.account or agent, budget.window_us)
            mark = next((mark for mark in WARN_PERCENT if settled * 100 >= mark * (budget.cap_nano or 1)), 0)
            if mark > self._marks.get(key, 0):
                highest = max(highest, mark)
            self._marks[key] = mark
        return highest or None

    def _ticket_gone(self, ticket: tuple[Any, ...] | None, agent: str) -> TicketGone | None:
        if ticket is None or ticket[1] != agent:
            return TicketGone(ReviewState.UNKNOWN)
        state = ReviewState(ticket[3])
        if state in OPEN and ticket[6] <= self.clock.ledger_us:
            self._expire(ticket)
            return TicketGone(ReviewState.EXPIRED)
        return None if state is ReviewState.APPROVED else TicketGone(state)

    def _open(self, call: OpenCall) -> None:
        self.open_calls[call.call_id] = call
        self._opened.append(
            (
                call.seq,
                call.call_id,
                call.agent,
                call.tool,
                call.reserve_nano,
                call.model,
                call.review_id,
                call.accounts,
            )
        )

    def settle(self, result: Result, body: bodies.Body, values: bodies.Values) -> None:
        """Book the charge, record the result, end the review. A call without an open intent has its result already."""
        call = self.open_calls.pop(body["call_id"], None)
        if call is None:
            return
        amount_nano = charged(result, call.reserve_nano)
        body["intent"] = call.seq
        body["tool"] = call.tool
        charge = result.charge
        if charge is not None and charge.later:
            self._settle_deferred(charge)
            amount_nano = 0
        if charge is not None and charge.deferred and self._defer(call, body):
            body["reserve_nano"] = call.reserve_nano
            body["charge_nano"] = 0
            body["deferred"] = True
        elif call.reserve_nano or amount_nano or call.accounts:
            cum_nano, ledger_us = self.ledger.settle(call.agent, call.reserve_nano, amount_nano, self.register.size)
            body["reserve_nano"] = call.reserve_nano
            body["charge_nano"] = amount_nano
            body["cum_nano"] = str(cum_nano)
            if amount_nano:
                body["ledger_us"] = ledger_us
            if amount_nano > call.reserve_nano:
                body["overrun_nano"] = amount_nano - call.reserve_nano
            self._book_shared(call.accounts, call.reserve_nano, amount_nano, body)
        if "=" in call.accounts:
            self._book_counted(call.accounts, body, moved=_moved(result))
        if call.review_id is not None:
            body["review_id"] = call.review_id
            body["review_state"] = self._finish_review(call.review_id, result)
        self._closed.append(call.seq)
        self.append(Kind.RESULT, body, agent=call.agent, values=values)

    def _defer(self, call: OpenCall, body: bodies.Body) -> bool:
        """Keep a call's reservation for the work that goes on; False where that work is known already."""
        response_id = body.get("response_id")
        if response_id is None or response_id in self.deferred:
            return False
        ends_ts = self.clock.ledger_us + DEFERRED_US
        work = Deferred(
            response_id,
            call.agent,
            call.call_id,
            call.tool,
            call.reserve_nano,
            body.get("model"),
            ends_ts,
            " ".join(account for account in call.accounts.split() if "=" not in account),
        )
        self.deferred[response_id] = work
        self.connection.execute("INSERT INTO deferred VALUES (?, ?, ?, ?, ?, ?, ?, ?)", astuple(work))
        return True

    def _book_shared(self, accounts: str, reserve_nano: int, amount_nano: int, body: bodies.Body) -> None:
        """Book a charge to the shared accounts as well."""
        booked = []
        for account in accounts.split():
            if "=" in account:
                continue
            cum_nano, ledger_us = self.ledger.settle(account, reserve_nano, amount_nano, self.register.size)
            booked.append({"account": account, "cum_nano": str(cum_nano), "ledger_us": ledger_us})
        if booked:
            body["shared"] = booked

    def _book_counted(self, accounts: str, body: bodies.Body, *, moved: bool) -> None:
        """Book what a call moved to the budgets that count it."""
        booked = body.setdefault("shared", [])
        for account, _, amount in (account.partition("=") for account in accounts.split() if "=" in account):
            charge_nano = int(amount) if moved else 0
            cum_nano, ledger_us = self.ledger.settle(account, int(amount), charge_nano, self.register.size)
            told = {"account": account, "charge_nano": charge_nano, "cum_nano": str(cum_nano), "ledger_us": ledger_us}
            booked.append(told)

    def _settle_deferred(self, charge: Charge) -> None:
        """Book what work in the background did cost, once."""
        work = self.deferred.get(text(charge.response_id or ""))
        if work is not None:
            self._adjust(work, charge, "settled")

    def _adjust(self, work: Deferred, charge: Charge, outcome: str) -> None:
        del self.deferred[work.response_id]
        self.connection.execute("DELETE FROM deferred WHERE response_id = ?", (work.response_id,))
        amount_nano = max(0, integer(charge.amount_nano))
        cum_nano, ledger_us = self.ledger.settle(work.agent, work.reserve_nano, amount_nano, self.register.size)
        body = bodies.charge(charge) | {
            "call_id": work.call_id,
            "tool": work.tool,
            "outcome": outcome,
            "reserve_nano": work.reserve_nano,
            "charge_nano": amount_nano,
            "cum_nano": str(cum_nano),
        }
        if amount_nano:
            body["ledger_us"] = ledger_us
        if amount_nano > work.reserve_nano:
            body["overrun_nano"] = amount_nano - work.reserve_nano
        self._book_shared(work.accounts, work.reserve_nano, amount_nano, body)
        self.append(Kind.ADJUST, body, agent=work.agent)

    def _finish_review(self, review_id: str, result: Result) -> str:
        event = _FINISHED.get(result.outcome, ReviewEvent.LOSE)
        if result.outcome == "aborted" and result.status is not None:
            event = ReviewEvent.SUCCEED  # the provider answered; only its body was cut
        row = self.reviews.row(review_id)
        if row is None:
            raise StoreError(f"review {review_id} is gone")
        status = None if result.status is None else integer(result.status)
        return self.reviews.change(row, event, result_status=status).value

    def refuse(self, agent: str | None, body: bodies.Body, values: bodies.Values) -> None:
        """Record a refusal."""
        self.append(Kind.REFUSAL, body, agent=None if agent is None else text(agent), values=values)

    # reviews

    def open_review(
        self, new: NewReview, most_open: int, body: bodies.Body, values: bodies.Values, card: bytes
    ) -> tuple[Review, bool] | TooManyReviews | ValueError:
        """The review that binds this call, or a new one."""
        agent, digest, now = text(new.agent), body["semantic_digest"], self.clock.ledger_us
        if (row := self.reviews.binding(agent, digest, now)) is not None:
            if row[6] > now:
                return self._shown(row), False
            self._expire(row)
        if (count := self.reviews.count_open(agent, now)) >= most_open:
            return TooManyReviews(count)
        if self.reviews.row(body["review_id"]) is not None:
            return ValueError(f"there is a review {new.review_id} already")
        expires = now + max(0, min(new.expires_us, 366 * 86_400_000_000))
        self.reviews.insert(body["review_id"], agent, digest, now, expires, card)
        body["expires_at_us"] = self.clock.of_day(expires)
        self.append(Kind.REVIEW, body, agent=agent, values=values)
        return self._review(body["review_id"]), True

    def give_verdict(
        self, review_id: str, approve: bool, reviewer: str, channel: str, note: str | None
    ) -> Review | KeyError | IllegalTransition:
        """Record a person's verdict; the same again by the same person changes nothing."""
        row = self.reviews.row(review_id)
        if row is None:
            return KeyError(review_id)
        event = ReviewEvent.APPROVE if approve else ReviewEvent.REJECT
        state = ReviewState(row[3])
        if state in OPEN and row[6] <= self.clock.ledger_us:
            self._expire(row)
            return IllegalTransition(ReviewState.EXPIRED, event)
        given_before = (
            state in {ReviewState.APPROVED, ReviewState.DISPATCHING, ReviewState.EXECUTED, ReviewState.FAILED}
            if approve
            else state is ReviewState.REJECTED
        )
        if given_before and row[8] == reviewer:
            return self._shown(row)
        if state is not ReviewState.PENDING:
            return illegal(row, event, self.clock.ledger_us)
        after = self.reviews.change(
            row, event, reviewer=reviewer, channel=channel, note=note, decided_ts=self.clock.ledger_us
        )
        tool = from_row(row, self.clock.ledger_us, self.clock.of_day).tool
        self.append(
            Kind.VERDICT,
            {
                "review_id": review_id,
                "semantic_digest": row[2],
                "tool": text(tool),
                "reviewer": text(reviewer),
                "channel": text(channel),
                "outcome": after.value,
            },
            agent=row[1],
            values={"note": bodies.value_bytes(note)} if note else None,
        )
        return self._review(review_id)

    def expire_due(self) -> list[Review]:
        """End what is overdue: reviews nobody decided on, work in the background that nobody asked after."""
        due = self.reviews.due(self.clock.ledger_us, EXPIRE_AT_ONCE)
        for row in due:
            self._expire(row)
        for work in [work for work in self.deferred.values() if work.ends_ts <= self.clock.ledger_us]:
            charge = Charge(
                work.reserve_nano,
                work.model,
                {},
                estimated=True,
                method="full-reservation",
                response_id=work.response_id,
            )
            self._adjust(work, charge, "expired")
        return [self._review(row[0]) for row in due]

    def _expire(self, row: tuple[Any, ...]) -> None:
        self.reviews.change(row, ReviewEvent.EXPIRE)
        tool = self._shown(row).tool
        self.append(
            Kind.EXPIRY,
            {"review_id": row[0], "semantic_digest": row[2], "tool": text(tool), "was": row[3], "outcome": "expired"},
            agent=row[1],
        )

    def _review(self, review_id: str) -> Review:
        row = self.reviews.row(review_id)
        assert row is not None
        return self._shown(row)

    def _shown(self, row: tuple[Any, ...]) -> Review:
        return from_row(row, self.clock.ledger_us, self.clock.of_day)

    # register

    def record_policy(self, digest: str, policy_text: str, by: str, difference: Sequence[str]) -> None:
        """Put a policy in force, its whole text kept."""
        previous = policy_in_force(self.connection)
        data = policy_text.encode(errors="replace")
        body: bodies.Body = {
            "digest": text(digest),
            "previous": previous and previous[0],
            "by": text(by),
            "changes": len(difference),
            "text_blake3": blake3(data).hexdigest(),
        }
        self.append(Kind.POLICY, present(body), values=bodies.lines(difference))
        row = (body["text_blake3"], body["digest"], data.decode())
        self.connection.execute("INSERT OR REPLACE INTO policy VALUES (?, ?, ?)", row)
        self.connection.execute("INSERT OR REPLACE INTO fact VALUES ('policy', ?)", row[:1])

    def heartbeat(self) -> None:
        """Record that the node lives."""
        self.keep_clock()
        self.append(Kind.HEARTBEAT, {"ledger_us": self.clock.ledger_us, "open_calls": len(self.open_calls)})

    def announce(self, kind: Kind, reason: str) -> None:
        """Record why a head is about to be signed."""
        self.append(kind, {"reason": text(reason), "size": self.register.size})

    def record_boot(self, event: str, **members: Any) -> None:
        """Record a start or a stop."""
        self.keep_clock()
        self.append(Kind.BOOT, present({"event": event, "ledger_us": self.clock.ledger_us, **members}))

    def record_gap(self, reason: str, problems: Sequence[str], last_head: str | None) -> None:
        """Record that the operator went on over a break."""
        self.append(Kind.GAP, present({"reason": text(reason), "problems": texts(problems), "last_head": last_head}))

    def keep_head(self, head: Head, size: int, reason: str) -> None:
        """Keep a signed head beside the register."""
        self.connection.execute("INSERT OR REPLACE INTO head VALUES (?, ?, ?)", (size, head.note, reason))


def _cap(budget: Budget, settled_nano: int, reserved_nano: int) -> bodies.Body:
    """What an intent's record tells of a cap that it was held against."""
    told: bodies.Body = {
        "cap_nano": integer(budget.cap_nano or 0),
        "window_us": integer(budget.window_us),
        "settled_nano": integer(settled_nano),
        "reserved_nano": integer(reserved_nano),
    }
    if budget.account is not None:
        told["account"] = budget.account
    if budget.amount_nano is not None:
        told["amount_nano"] = integer(budget.amount_nano)
    return told


def _written(accounts: Mapping[str, int | None]) -> str:
    return " ".join(account if amount is None else f"{account}={amount}" for account, amount in accounts.items())


def charged(result: Result, reserve_nano: int) -> int:
    """What a result books: its charge; with none, nothing if nothing was sent, else the whole reservation."""
    if result.charge is not None:
        return max(0, integer(result.charge.amount_nano))
    return 0 if result.outcome == "failed" else reserve_nano


def _moved(result: Result) -> bool:
    """Whether a call did what it asked for, or may have: not where nothing was sent, or the provider declined it."""
    declined = result.status is not None and result.status // 100 == 4
    return result.outcome != "failed" and not declined


def lost(call: OpenCall) -> Result:
    """The result of an intent whose process ended: nobody knows, so it counts as spent."""
    charge = None
    if call.reserve_nano:
        charge = Charge(call.reserve_nano, call.model, estimated=True, method="full-reservation")
    return Result(
        call.call_id, "unknown", None, charge, error="the node ended before the result of this call was known"
    )
