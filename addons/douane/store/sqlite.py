"""The embedded store: SQLite behind one writer thread. This is its face on the event loop."""

from __future__ import annotations

import asyncio
import os
import sqlite3
from collections import deque
from collections.abc import Callable, Mapping, Sequence
from importlib.metadata import version
from pathlib import Path
from typing import Any

from douane.core.decision import Budget
from douane.core.record import Kind, integer, text
from douane.core.review import ReviewState
from douane.core.tree import TreeHead
from douane.edge.keys import SigningKeys
from douane.store import bodies, people
from douane.store.clock import Clock, boot_id, boot_us, wall_us
from douane.store.engine import Engine, policy_in_force
from douane.store.floods import Floods
from douane.store.interface import (
    Admission,
    Admitted,
    AgentRow,
    Head,
    Intent,
    LogEntry,
    LogFilter,
    NewReview,
    Refused,
    Result,
    Review,
    ReviewerRow,
    Spend,
    SpendKey,
    Spent,
    Store,
    StoreError,
    TooManyReviews,
)
from douane.store.lock import StoreLock
from douane.store.reader import Reader
from douane.store.recovery import Progress, connect, open_engine
from douane.store.writer import LOW_WATER_BYTES, RIDE_S, Operation, Rider, Run, Writer

QUEUED_AT_MOST = 4096
"""Operations that wait for the writer: more than it commits within the time limit would only wait to fail."""

TICK_S = 0.5
TICKS = 4
"""An answer must come within 2 s, counted in ticks of the loop: a loop that stood still does not blame the disk."""

CLOSE_S = 10.0

_GIVEN_BACK = "nobody waited for the admission any more; nothing was sent"


class SqliteStore(Store):
    """One writer, group commit; after the first error everything is refused until the database is opened anew."""

    def __init__(self, path: Path, keys: SigningKeys, lock: StoreLock, clock: Clock) -> None:
        self._path, self._keys, self._lock, self._clock = path, keys, lock, clock
        self._loop = asyncio.get_running_loop()
        self._latched: str | None = None
        self._closed = False
        self._waiting: deque[Operation] = deque()
        self._handing: list[Operation] = []
        self._tick = 0
        self._signed_size = 0
        self._ticking: asyncio.TimerHandle | None = None
        self._riding: asyncio.TimerHandle | None = None
        self._floods = Floods(self._loop, self._record_refusal)
        self._writer: Writer
        self._reader: Reader | None = None

    @classmethod
    async def open(
        cls,
        path: Path,
        keys: SigningKeys,
        *,
        clock: Callable[[], int] | None = None,
        boot_clock: Callable[[], int] | None = None,
        low_water_bytes: int = LOW_WATER_BYTES,
        declared_gap: str | None = None,
        progress: Progress | None = None,
    ) -> SqliteStore:
        """Lock, migrate, verify, recover, sign the head; raises `StoreError`, `StoreBusy` where another process has it.

        `clock`: time of day in µs, for tests; `boot_clock` the clock that nobody can set, the same one unless given.
        `declared_gap`: the operator's reason for going on over a database that does not extend the last signed head.
        """
        lock = StoreLock(path)
        if clock is None:
            its_clock = Clock(wall_us, boot_clock or boot_us, boot_id())
        else:
            its_clock = Clock(clock, boot_clock or clock, "")
        store = cls(path, keys, lock, its_clock)
        try:
            await store._start(low_water_bytes, declared_gap, progress)
        except BaseException:
            await store._abandon()
            raise
        return store

    async def _abandon(self) -> None:
        """Let go of whatever an opening that failed, or was cancelled, took hold of."""
        self._closed = True
        self._latched = self._latched or "the store was not opened"
        self._writer.queue.put("stop")
        await asyncio.shield(asyncio.to_thread(self._writer.join, CLOSE_S))
        if self._reader is not None:
            await self._reader.close()
        self._let_go()

    def _let_go(self) -> None:
        for timer in (self._ticking, self._riding):
            if timer is not None:
                timer.cancel()
        if not self._writer.is_alive():  # a writer stuck in the disk keeps the lock until the process ends
            self._lock.release()

    async def _start(self, low_water_bytes: int, declared_gap: str | None, progress: Progress | None) -> None:
        loop = self._loop
        opened: asyncio.Future[None] = loop.create_future()

        def tell(error: BaseException | None) -> None:
            def tell_here() -> None:
                if opened.done():
                    return
                if error is None:
                    opened.set_result(None)
                else:
                    opened.set_exception(error if isinstance(error, Exception) else StoreError(repr(error)))

            loop.call_soon_threadsafe(tell_here)

        def open_here() -> Engine:
            connection = connect(self._path)
            try:
                return open_engine(
                    connection,
                    self._keys,
                    self._clock,
                    declared_gap=declared_gap,
                    progress=progress,
                    boot={"version": version("douane"), "sqlite": sqlite3.sqlite_version, "pid": os.getpid()},
                )
            except BaseException:
                connection.close()
                raise

        self._writer = Writer(
            self._path,
            open_here,
            opened=tell,
            answered=lambda batch: self._call(self._answer, batch),
            broken=lambda reason: self._call(self._break, reason),
            low_water_bytes=low_water_bytes,
        )
        self._writer.start()
        try:
            await asyncio.shield(opened)
        except (sqlite3.Error, OSError) as error:
            raise StoreError(f"{self._path}: {error}") from error
        self._reader = await Reader.connect(self._path, self._clock)
        await self.sign_head("start")

    def _call(self, function: Callable[..., None], *arguments: Any) -> None:
        """From the writer's thread, run something on the loop; a loop that is gone has nobody left to tell."""
        try:
            self._loop.call_soon_threadsafe(function, *arguments)
        except RuntimeError:
            return

    # the way to the writer and back

    async def _do(self, run: Run, *, money: tuple[tuple[str, int], ...] = (), needs_room: bool = True) -> Any:
        operation = Operation(run, self._loop.create_future(), money=money, needs_room=needs_room)
        self._submit(operation)
        return await operation.future

    def _submit(self, operation: Operation) -> None:
        self._check()
        if len(self._waiting) >= QUEUED_AT_MOST:
            raise StoreError(f"{QUEUED_AT_MOST} operations wait for the disk already")
        operation.tick = self._tick
        self._waiting.append(operation)
        if self._ticking is None:
            self._ticking = self._loop.call_later(TICK_S, self._on_tick)
        self._handing.append(operation)
        if len(self._handing) == 1:
            self._loop.call_soon(self._hand_over)

    def _hand_over(self) -> None:
        """Give the writer what one turn of the loop asked for: waking it for each would cost both threads the GIL."""
        operations, self._handing = self._handing, []
        if operations:
            self._writer.queue.put(operations)

    @property
    def _reading(self) -> Reader:
        assert self._reader is not None
        return self._reader

    def _check(self) -> None:
        if self._latched is not None:
            raise StoreError(self._latched)

    def _answer(self, batch: Sequence[Operation]) -> None:
        """All answers of one commit, at one wake-up of the loop."""
        for operation in batch:
            future, answer = operation.future, operation.answer
            if future.done():  # cancelled, or told that it took too long
                if operation.call_id is not None and isinstance(answer, Admitted):
                    self._give_back(operation.call_id)
            elif isinstance(answer, Exception):
                future.set_exception(answer)
            else:
                future.set_result(answer)
        waiting = self._waiting
        while waiting and waiting[0].future.done():
            waiting.popleft()

    def _give_back(self, call_id: str) -> None:
        """Close an admission that nobody can use: its intent is durable, its call was never sent."""
        self.settle(Result(call_id, "failed", None, None, error=_GIVEN_BACK))

    def _on_tick(self) -> None:
        self._tick += 1
        waiting = self._waiting
        while waiting and waiting[0].future.done():
            waiting.popleft()
        if not waiting:
            self._ticking = None
            return
        if self._tick - waiting[0].tick > TICKS:
            # What is in the writer's hands may still become durable. It will find nobody waiting, and is given back.
            self._break(f"the disk did not answer within {TICK_S * TICKS:g} s")
        self._ticking = self._loop.call_later(TICK_S, self._on_tick)

    def _break(self, reason: str) -> None:
        """Latch: fail everything that waits, and everything that comes."""
        self._latched = self._latched or reason
        waiting, self._waiting = self._waiting, deque()
        for operation in waiting:
            if not operation.future.done():
                operation.future.set_exception(StoreError(self._latched))

    # calls and money

    async def admit(self, intent: Intent) -> Admission:
        """Make a call's intent and reservation durable. If the caller is cancelled meanwhile, the store closes it."""
        body, values = bodies.intent(intent)
        caps = intent.budget.caps if intent.budget is not None else ()
        money: tuple[tuple[str, int], ...] = ()
        if body["reserve_nano"] or caps:
            agent = text(intent.agent)
            money = tuple((budget.account or agent, budget.window_us) for budget in caps)
            if not caps or caps[0].account is not None:
                money += ((agent, 0),)
        call_id = body["call_id"]
        future: asyncio.Future[Admission] = self._loop.create_future()
        self._submit(Operation(lambda engine: engine.admit(intent, body, values), future, money=money, call_id=call_id))
        try:
            return await future
        except asyncio.CancelledError:
            answered = future.done() and not future.cancelled() and future.exception() is None
            if answered and isinstance(future.result(), Admitted):
                self._give_back(call_id)
            raise

    def settle(self, result: Result) -> None:
        """Queue a result for the next commit; once the writer failed, recovery at the next start closes the call."""
        if self._writer.failure is not None or self._closed:
            return
        self._writer.riders.append(Rider(result, *bodies.result(result)))
        if self._riding is None:
            self._riding = self._loop.call_later(RIDE_S, self._ride)

    def _ride(self) -> None:
        self._riding = None
        if self._writer.riders:
            self._writer.queue.put("ride")

    async def refuse(self, refused: Refused) -> None:
        """Record a refusal; what floods in is counted, and recorded as a count within a second."""
        self._check()
        body, values = bodies.refusal(refused)
        if self._floods.is_flooding(refused, body):
            return
        await self._do(lambda engine: engine.refuse(refused.agent, body, values))

    def _record_refusal(self, agent: str | None, body: bodies.Body) -> None:
        if self._latched is None and not self._closed:
            future: asyncio.Future[None] = self._loop.create_future()
            future.add_done_callback(lambda done: done.cancelled() or done.exception())
            try:
                self._submit(Operation(lambda engine: engine.refuse(agent, body, {}), future))
            except StoreError:
                return  # refused calls were refused all the same; the store says why it takes nothing

    async def spend(self, agents: Mapping[str, Budget]) -> Sequence[Spend]:
        """Each agent's settled spend in its window, and its open reservations."""
        self._check()
        return await self._reading.spend(agents)

    # reviews

    async def open_review(self, new: NewReview, *, most_open: int) -> tuple[Review, bool] | TooManyReviews:
        """The review that binds the call, or a new one."""
        body, values = bodies.review(new)
        card = bodies.card(new)
        answer: tuple[Review, bool] | TooManyReviews = await self._do(
            lambda engine: engine.open_review(new, most_open, body, values, card)
        )
        return answer

    async def review(self, review_id: str) -> Review | None:
        """One review."""
        self._check()
        return await self._reading.review(review_id)

    async def reviews(
        self, *, states: Sequence[ReviewState] = (), after_version: int = 0, limit: int = 500
    ) -> Sequence[Review]:
        """Reviews in the order of their last change: the newest, or those changed after a version."""
        self._check()
        return await self._reading.reviews(states=states, after_version=after_version, limit=limit)

    async def give_verdict(
        self, review_id: str, *, approve: bool, reviewer: str, channel: str, note: str | None
    ) -> Review:
        """Approve or reject; raises `IllegalTransition`, or `KeyError` for an unknown review."""
        reviewer, channel = text(reviewer), text(channel)
        note = None if note is None else text(note, bodies.MAX_CARD_CHARS)
        review_id = text(review_id)
        answer: Review = await self._do(lambda engine: engine.give_verdict(review_id, approve, reviewer, channel, note))
        return answer

    async def spent(self, by: SpendKey, *, agent: str | None = None, since_us: int | None = None) -> Sequence[Spent]:
        """What was charged, summed up."""
        return await self._reading.spent(by, agent=agent, since_us=since_us)

    async def expire_due(self) -> Sequence[Review]:
        """Expire what is due."""
        answer: Sequence[Review] = await self._do(lambda engine: engine.expire_due())
        return answer

    # agents and reviewers

    async def agents(self) -> Sequence[AgentRow]:
        """All agents."""
        answer: Sequence[AgentRow] = await self._do(
            lambda engine: people.agents(engine.connection, engine.clock.now_us), needs_room=False
        )
        return answer

    async def add_agent(self, name: str, labels: Mapping[str, str], cap_nano: int | None, key_hash: str) -> AgentRow:
        """Register an agent; `ValueError` if there is one of that name."""
        _storable(name, key_hash, *labels, *labels.values())
        cap = None if cap_nano is None else integer(cap_nano)
        answer: AgentRow = await self._do(lambda engine: people.add_agent(engine, name, labels, cap, key_hash))
        return answer

    async def rotate_agent(self, name: str, key_hash: str) -> AgentRow:
        """Replace an agent's own key; `KeyError` if there is no such agent."""
        _storable(name, key_hash)
        answer: AgentRow = await self._do(lambda engine: people.rotate_agent(engine, name, key_hash))
        return answer

    async def remove_agent(self, name: str) -> None:
        """Forget an agent; `KeyError` if there is no such agent."""
        _storable(name)
        await self._do(lambda engine: people.remove_agent(engine, name))

    async def suspend_agent(self, name: str, suspended: bool) -> AgentRow:
        """Stop or resume an agent; `KeyError` if there is no such agent."""
        _storable(name)
        answer: AgentRow = await self._do(lambda engine: people.suspend_agent(engine, name, suspended))
        return answer

    async def add_session_key(self, name: str, key_hash: str, ends_us: int) -> AgentRow:
        """Add a key that ends by itself; `KeyError` if there is no such agent."""
        _storable(name, key_hash)
        ends = integer(ends_us)
        answer: AgentRow = await self._do(lambda engine: people.add_session_key(engine, name, key_hash, ends))
        return answer

    async def end_session_key(self, name: str, key_hash: str) -> AgentRow:
        """End a session key before its time; `KeyError` if there is no such agent."""
        _storable(name, key_hash)
        answer: AgentRow = await self._do(lambda engine: people.end_session_key(engine, name, key_hash))
        return answer

    async def ever_had_agents(self) -> bool:
        """Whether an agent was ever registered, also if it was removed since."""
        answer: bool = await self._do(lambda engine: people.ever_had_agents(engine.connection), needs_room=False)
        return answer

    async def reviewers(self) -> Sequence[ReviewerRow]:
        """All reviewers."""
        answer: Sequence[ReviewerRow] = await self._do(
            lambda engine: people.reviewers(engine.connection), needs_room=False
        )
        return answer

    async def add_reviewer(self, name: str, secret_hash: str) -> ReviewerRow:
        """Register a reviewer; `ValueError` if there is one of that name."""
        _storable(name, secret_hash)
        answer: ReviewerRow = await self._do(lambda engine: people.add_reviewer(engine, name, secret_hash))
        return answer

    async def remove_reviewer(self, name: str) -> None:
        """Forget a reviewer; `KeyError` if there is no such reviewer."""
        _storable(name)
        await self._do(lambda engine: people.remove_reviewer(engine, name))

    async def reviewer_secret_hash(self, name: str) -> str | None:
        """The hash of a reviewer's secret, None for an unknown name."""
        _storable(name)
        answer: str | None = await self._do(lambda engine: people.secret_hash_of(engine, name), needs_room=False)
        return answer

    async def add_login_link(self, reviewer: str, link_hash: str, ends_us: int) -> None:
        """Add a link that logs in once; `KeyError` for an unknown reviewer."""
        _storable(reviewer, link_hash)
        ends = integer(ends_us)
        await self._do(lambda engine: people.add_login_link(engine, reviewer, link_hash, ends))

    async def spend_login_link(self, link_hash: str) -> str | None:
        """Take a link."""
        _storable(link_hash)
        answer: str | None = await self._do(lambda engine: people.spend_login_link(engine, link_hash))
        return answer

    async def add_reviewer_session(self, reviewer: str, token_hash: str, ends_us: int) -> None:
        """Log a reviewer in; `KeyError` for an unknown reviewer."""
        _storable(reviewer, token_hash)
        ends = integer(ends_us)
        await self._do(lambda engine: people.add_reviewer_session(engine, reviewer, token_hash, ends))

    async def reviewer_session(self, token_hash: str) -> str | None:
        """Whose session this is."""
        self._check()
        return await self._reading.reviewer_session(token_hash)

    async def end_reviewer_session(self, token_hash: str) -> None:
        """Log out."""
        _storable(token_hash)
        await self._do(lambda engine: people.end_reviewer_session(engine, token_hash))

    # register

    async def record_policy(self, digest: str, text: str, by: str, difference: Sequence[str]) -> None:
        """Put a policy in force."""
        await self._do(lambda engine: engine.record_policy(digest, text, by, difference))

    async def policy_in_force(self) -> tuple[str, str] | None:
        """Digest and text of the policy in force."""
        answer: tuple[str, str] | None = await self._do(
            lambda engine: policy_in_force(engine.connection), needs_room=False
        )
        return answer

    async def record_heartbeat(self) -> None:
        """Record that the node lives."""
        await self._do(lambda engine: engine.heartbeat())

    async def sign_head(self, reason: str) -> Head:
        """Sign the register as it stands. What is signed is durable first, then the note's file, then its row."""
        kind = Kind.EXPORT if reason == "export" else None

        def take(engine: Engine) -> tuple[TreeHead, int, str]:
            if kind is not None:
                engine.announce(kind, reason)
            size = engine.register.size
            return TreeHead(self._keys.origin, size, engine.register.tree.root()), size - 1, engine.register.tip_hash

        tree_head, seq, tip_hash = await self._do(take, needs_room=False)
        note = self._keys.sign(tree_head)
        head = Head(seq, tip_hash, note)

        def keep(engine: Engine) -> None:
            if tree_head.size >= self._signed_size:
                self._keys.remember_head(note)
                self._signed_size = tree_head.size
            engine.keep_head(head, tree_head.size, text(reason))

        await self._do(keep, needs_room=False)
        return head

    async def log(self, wanted: LogFilter) -> Sequence[LogEntry]:
        """Records that fit a filter, newest last."""
        self._check()
        return await self._reading.log(wanted)

    async def named(self, beginning: str) -> Sequence[tuple[str, str]]:
        """(`call` or `review`, id) of every id that begins so; an exact one alone."""
        self._check()
        return await self._reading.named(beginning)

    async def story(self, name: str) -> Sequence[LogEntry]:
        """All records of a call and its review, or of a review and its calls, in order."""
        self._check()
        return await self._reading.story(name)

    @classmethod
    def read_only(cls, path: Path) -> Reader:
        """A view of a database beside whoever writes it, that changes nothing. Use as `async with`."""
        return Reader(path, None)

    @property
    def path(self) -> Path:
        """The database."""
        return self._path

    @property
    def latched(self) -> str | None:
        """Why the store refuses everything, or None."""
        return self._latched

    def now_us(self) -> int:
        """Time of day by the store's clock, as of its last transaction."""
        return self._clock.now_us

    async def close(self) -> None:
        """Finish what is queued, record the stop, sign the head, let go of the lock. Safe to call twice."""
        if self._closed:
            return
        self._floods.flush()
        if self._latched is None:
            try:
                while self._writer.riders:  # the head is to cover every result
                    await self._do(lambda _: None, needs_room=False)
                await self._do(lambda engine: engine.record_boot("stop"), needs_room=False)
                await self.sign_head("stop")
            except StoreError as error:
                self._break(str(error))
        self._closed = True
        self._latched = self._latched or "the store is closed"
        self._hand_over()
        self._writer.queue.put("stop")
        await asyncio.to_thread(self._writer.join, CLOSE_S)
        self._break(self._latched)
        await self._reading.close()
        self._let_go()


def _storable(*words: str) -> None:
    """`ValueError` for a name or hash that no database can hold."""
    for word in words:
        if len(word) > 512 or text(word) != word or "\x00" in word:
            raise ValueError("a name must be valid text of at most 512 characters")
