"""Stores, calls and bundles for tests of the store and the register."""

from __future__ import annotations

import asyncio
import importlib.util
import itertools
import sqlite3
import sys
from collections.abc import AsyncIterator, Sequence
from contextlib import asynccontextmanager
from dataclasses import dataclass, field, replace
from pathlib import Path
from types import ModuleType
from typing import Any

from douane.core.charge import Charge
from douane.core.decision import Budget
from douane.edge.keys import load_or_create_keys
from douane.store.export import write_bundle
from douane.store.interface import Admitted, Intent, LogFilter, NewReview, Refused, Result
from douane.store.sqlite import SqliteStore

ROOT = Path(__file__).parents[2]
DAY_US = 86_400_000_000

_numbers = itertools.count(1)

_INTENT = Intent(
    call_id="",
    agent="worker",
    tool="github.repos.get",
    tier="reversible",
    nature="read",
    host="api.github.com",
    method="GET",
    arguments={"owner": "acme", "repo": "website"},
    effect="allow",
    rule="tier.reversible",
    reason_codes=(),
    ruleset_digest="ab" * 32,
    request_digest="cd" * 32,
    request_bytes=120,
)

_REVIEW = NewReview(
    review_id="",
    agent="worker",
    semantic_digest="",
    tool="github.repos.delete",
    tier="irreversible",
    nature="delete",
    host="api.github.com",
    method="DELETE",
    arguments={"owner": "acme", "repo": "website"},
    summary="Delete repository acme/website",
    reason="the tool is irreversible",
    rule="tier.irreversible",
    reason_codes=("rule_hold",),
    expires_us=DAY_US,
    ruleset_digest="ab" * 32,
)


def intent(**changes: Any) -> Intent:
    """An intent with an id of its own."""
    return replace(_INTENT, **{"call_id": f"call-{next(_numbers)}"} | changes)


def priced(reserve_nano: int, cap_nano: int | None, *, window_us: int = DAY_US, **changes: Any) -> Intent:
    """A model call."""
    return intent(
        **{
            "tool": "openai.chat.completions.create",
            "host": "api.openai.com",
            "method": "POST",
            "reserve_nano": reserve_nano,
            "budget": Budget(cap_nano, window_us=window_us),
            "model": "gpt-4.1-mini",
        }
        | changes
    )


def review(**changes: Any) -> NewReview:
    """A review with an id and a digest of its own."""
    number = next(_numbers)
    return replace(_REVIEW, **{"review_id": f"review-{number}", "semantic_digest": f"digest-{number}"} | changes)


def completed(call: Intent, charge_nano: int | None = None, **changes: Any) -> Result:
    """A call that got its answer."""
    charge = None if charge_nano is None else Charge(charge_nano, call.model, {"input_tokens": 7, "output_tokens": 9})
    return replace(Result(call.call_id, "completed", 200, charge, response_bytes=17, duration_us=4200), **changes)


def deferred(call: Intent, response_id: str) -> Result:
    """A call whose work goes on behind its response."""
    charge = Charge(0, call.model, method="deferred", response_id=response_id, deferred=True)
    return replace(completed(call), charge=charge)


def told_later(call: Intent, response_id: str, charge_nano: int) -> Result:
    """A call whose answer tells what earlier work did cost."""
    charge = Charge(charge_nano, "gpt-4.1-mini", {"output_tokens": 9}, response_id=response_id, later=True)
    return replace(completed(call), charge=charge)


def refused(**changes: Any) -> Refused:
    """A call that was refused."""
    return replace(
        Refused(
            f"call-{next(_numbers)}",
            "worker",
            "github.repos.delete",
            "irreversible",
            "api.github.com",
            "DELETE",
            "rule_denied",
            ("rule_denied",),
            rule="no-deletes",
            request_digest="cd" * 32,
            review_id="review-0",
            ruleset_digest="ab" * 32,
            arguments={"owner": "acme"},
        ),
        **changes,
    )


async def until_settled(store: SqliteStore) -> None:
    """Until every result queued so far is durable: results ride on a commit, and this is one."""
    await store.ever_had_agents()


async def records(store: SqliteStore, **wanted: Any) -> list[dict[str, Any]]:
    """Records, oldest first."""
    return [dict(entry.record) for entry in await store.log(LogFilter(**{"limit": 100_000} | wanted))]


@dataclass
class SetClock:
    """A clock that moves when told to."""

    now_us: int = 1_795_000_000_000_000

    def __call__(self) -> int:
        return self.now_us

    def pass_by(self, seconds: float) -> None:
        self.now_us += int(seconds * 1_000_000)


@dataclass
class Place:
    """A folder with keys and a database, to open stores in."""

    root: Path
    clock: SetClock = field(default_factory=SetClock)

    @property
    def private(self) -> Path:
        return self.root / "private"

    @property
    def database(self) -> Path:
        return self.private / "douane.db"

    async def open(self, **options: Any) -> SqliteStore:
        """A store by the set clock."""
        self.private.mkdir(mode=0o700, parents=True, exist_ok=True)
        options = {"clock": self.clock, "low_water_bytes": 0} | options
        return await SqliteStore.open(self.database, load_or_create_keys(self.private), **options)

    @asynccontextmanager
    async def opened(self, **options: Any) -> AsyncIterator[SqliteStore]:
        store = await self.open(**options)
        try:
            yield store
        finally:
            await store.close()

    async def crash(self, store: SqliteStore) -> None:
        """End a store as a kill would: no stop record, no head, what was queued and not begun is gone."""
        store._closed = True
        store._writer.riders.clear()
        store._writer.queue.put("stop")
        await asyncio.to_thread(store._writer.join)
        for timer in (store._ticking, store._riding):
            if timer is not None:
                timer.cancel()
        await store._reading.close()
        store._lock.release()

    def sql(self, statement: str, parameters: Sequence[Any] = ()) -> list[tuple[Any, ...]]:
        """What someone with the file in their hands can do."""
        connection = sqlite3.connect(self.database, isolation_level=None)
        try:
            return connection.execute(statement, parameters).fetchall()
        finally:
            connection.close()

    def bundle(self, name: str = "bundle") -> Path:
        """The register, exported as it is."""
        out = self.root / name
        write_bundle(self.database, out, load_or_create_keys(self.private).verifying, version="test")
        return out

    def key(self) -> str:
        """The public key to pin."""
        return load_or_create_keys(self.private).verifying.text()


def script(name: str) -> ModuleType:
    """A script, imported."""
    if name not in sys.modules:
        spec = importlib.util.spec_from_file_location(name, ROOT / "scripts" / f"{name}.py")
        assert spec is not None
        assert spec.loader is not None
        module = importlib.util.module_from_spec(spec)
        sys.modules[name] = module
        spec.loader.exec_module(module)
    return sys.modules[name]


async def tell_every_kind(store: SqliteStore, clock: SetClock) -> None:
    """A story with a record of every kind that the store writes by itself."""
    await store.add_agent("worker", {"env": "production"}, 5_000_000_000, "aa" * 32)
    await store.suspend_agent("worker", True)
    await store.add_reviewer("rita", "scrypt-hash")
    await store.record_policy("policy-digest", '{"policy.yaml": "rules: []"}', "operator", ["a rule less"])
    call = intent()
    assert isinstance(await store.admit(call), Admitted)
    store.settle(completed(call))
    call = priced(1000, 5000, socket="socket-0")
    assert isinstance(await store.admit(call), Admitted)
    store.settle(completed(call, 1200))
    call = priced(1000, 5000)
    assert isinstance(await store.admit(call), Admitted)
    store.settle(deferred(call, "resp_1"))
    call = intent()
    assert isinstance(await store.admit(call), Admitted)
    store.settle(told_later(call, "resp_1", 300))
    await store.refuse(refused())
    held = review()
    await store.open_review(held, most_open=5)
    await store.give_verdict(held.review_id, approve=True, reviewer="rita", channel="console", note="go ahead")
    call = intent(review_id=held.review_id, tool=held.tool)
    assert isinstance(await store.admit(call), Admitted)
    store.settle(completed(call, status=204))
    short = review(expires_us=1_000_000)
    await store.open_review(short, most_open=5)
    clock.pass_by(2)
    await store.expire_due()
    await store.record_heartbeat()
    await store.sign_head("export")
