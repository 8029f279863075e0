"""One proxy node: what is in force, who waits on what, and the operations that the API serves."""

from __future__ import annotations

import asyncio
import contextlib
import functools
import logging
import secrets
import time
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any, Literal

import blake3

from douane import __version__
from douane.calls.admission import Admission
from douane.calls.agents import Agents
from douane.calls.call import Call, OpenCall, Passage
from douane.calls.inspection import Inspector, RuleSet
from douane.calls.waiting import BudgetQueue, Verdicts
from douane.core.decision import Budget, Principal
from douane.core.refusal import ReasonCode, Refusal
from douane.core.request import known_method
from douane.core.review import ReviewState
from douane.edge import rules as edge_rules
from douane.edge.config import NodeConfig
from douane.edge.destinations import Destinations
from douane.edge.keys import load_or_create_keys
from douane.edge.log import log_call
from douane.edge.policy import CaseFailure, LoadedPolicy, Problem, difference, run_cases
from douane.edge.policy.bundle import lay_out
from douane.edge.ports import reached_at
from douane.edge.rules import RulesInvalid
from douane.edge.secrets import key_hash, new_key, secret_hash, secret_matches
from douane.store.interface import AgentRow, Intent, Result, Review, Store, StoreError
from douane.store.sqlite import SqliteStore

logger = logging.getLogger(__name__)

SESSION_SECONDS = 12 * 3600
LINK_SECONDS = 24 * 3600
HEARTBEAT_S = 60.0


class NodeError(Exception):
    """The node cannot start; the message says what was wrong, where, and what to do."""

    def __init__(self, message: str, *, exit_code: int = 1) -> None:
        super().__init__(message)
        self.exit_code = exit_code


class PolicyRefused(NodeError):
    """The policy, catalog overlay or price overlay has mistakes; all of them are in `problems`."""

    def __init__(self, invalid: RulesInvalid) -> None:
        super().__init__(str(invalid), exit_code=2)
        self.problems = invalid.problems


@dataclass(frozen=True, slots=True)
class PolicyChange:
    """What `policy apply` found, and whether the change is in force now."""

    applied: bool
    digest: str | None
    difference: tuple[str, ...] = ()
    problems: tuple[Problem, ...] = ()
    failures: tuple[CaseFailure, ...] = ()


def load_rules(directory: Path) -> tuple[LoadedPolicy, RuleSet]:
    """Policy, catalog and prices of a policy folder; raises `PolicyRefused` with all mistakes."""
    try:
        rules = edge_rules.load_rules(directory)
    except RulesInvalid as invalid:
        raise PolicyRefused(invalid) from None
    digest = blake3.blake3(f"{rules.loaded.digest}\n{rules.catalog.digest}\n{rules.prices.digest}".encode()).hexdigest()
    return rules.loaded, RuleSet(rules.loaded.policy, rules.catalog, rules.prices, digest)


class Node:
    """The parts of a node, tied together. All methods run on the node's event loop."""

    def __init__(self, config: NodeConfig, store: Store, agents: Agents, rules: RuleSet) -> None:
        self.config = config
        self.store = store
        self.agents = agents
        self.rules = rules
        self.policy_differs = False
        """Whether the policy on disk is another than the one in force."""
        self._state: Literal["starting", "ready", "draining"] = "starting"
        self.verdicts = Verdicts()
        self.budgets = BudgetQueue()
        self.destinations = Destinations(
            {(host, port): (to_host, to_port) for host, port, to_host, to_port in config.connect_to},
            lambda: self.rules.policy,
        )
        self.inspector = Inspector()
        self.admission = Admission(
            store=store,
            rules=lambda: self.rules,
            destinations=self.destinations,
            verdicts=self.verdicts,
            budgets=self.budgets,
            inspector=self.inspector,
            settle_part=self._settle_part,
            refuse_reason=self.refuse_reason,
        )
        self._reviewer_failures: dict[str, tuple[int, float]] = {}
        self._timers: list[asyncio.Task[None]] = []

    @classmethod
    async def open(cls, config: NodeConfig) -> Node:
        """Load what is in force and open the store; raises `NodeError`."""
        home = config.home
        loaded, rules = load_rules(config.policy_dir)
        try:
            store = await SqliteStore.open(home.database, load_or_create_keys(home.private))
        except StoreError as error:
            raise NodeError(str(error)) from error
        try:
            in_force = await store.policy_in_force()
            differs = in_force is not None and in_force[0] != loaded.digest
            if in_force is None:
                await store.record_policy(loaded.digest, loaded.text, "first start", ())
                text = loaded.text
            else:
                text = in_force[1]
            directory = home.private / "in-force"
            lay_out(text, directory)
            if differs:
                _, rules = load_rules(directory)
            agents = Agents(await store.agents(), ever_registered=await store.ever_had_agents())
        except BaseException:
            await store.close()
            raise
        node = cls(config, store, agents, rules)
        node.policy_differs = differs
        return node

    # state

    @property
    def state(self) -> Literal["starting", "ready", "draining", "latched"]:
        """Whether calls pass: only when `ready`."""
        return "latched" if self.store.latched else self._state

    def refuse_reason(self) -> ReasonCode | None:
        """Why every call is refused now, or None."""
        if self.store.latched:
            return ReasonCode.STORE_UNAVAILABLE
        return None if self._state == "ready" else ReasonCode.NOT_READY

    def start(self) -> None:
        """Let calls pass."""
        self._state = "ready"
        self._timers = [
            asyncio.create_task(self._expire_reviews(), name="expire reviews"),
            asyncio.create_task(self._heartbeat(), name="register heartbeat"),
        ]

    def drain(self) -> None:
        """Let no further call pass and end the waiting of those that are held; their reviews stay open."""
        self._state = "draining"
        self._look_again()

    async def close(self) -> None:
        """Close the store, after the last call has its result."""
        self._state = "draining"
        for timer in self._timers:
            timer.cancel()
        await asyncio.gather(*self._timers, return_exceptions=True)
        self.inspector.close()
        await self.store.close()

    def health(self) -> dict[str, Any]:
        """State, version, policy and what is under way."""
        return {
            "state": self.state,
            "ready": self.state == "ready",
            "reason": self.store.latched,
            "version": __version__,
            "ruleset_digest": self.rules.digest,
            "policy_digest": self.rules.policy.digest,
            "policy_differs": self.policy_differs,
            "open_calls": self.deciding(),
            "agents": len(self.agents.names()),
            "proxy": reached_at(self.config.listen_host, self.config.listen_port),
            "ca_cert": str(self.config.home.ca_cert),
        }

    # calls

    def deciding(self) -> int:
        """How many calls are between their request and their result or refusal."""
        return sum(self.admission.open_calls.values())

    async def admit(self, call: Call) -> OpenCall | Refusal:
        """Give a call leave, with the duty of one result, or refuse it."""
        answer = await self.admission.admit(call)
        if isinstance(answer, Passage):
            return OpenCall(answer, self._settle, call.started_ns)
        self._log_refusal(call, answer)
        return answer

    async def refuse(self, call: Call, refusal: Refusal) -> None:
        """Record and log a refusal that was found before admission."""
        await self.admission.record_refusal(call, refusal)
        self._log_refusal(call, refusal)

    def _log_refusal(self, call: Call, answer: Refusal) -> None:
        found = call.classification
        log_call(
            call=call.call_id,
            agent=call.principal.name,
            tool=found.tool if found else None,
            tier=found.tier.value if found else None,
            method=known_method(call.request.method),
            host=call.request.host,
            outcome=answer.outcome,
            reason=answer.code.value,
            review=answer.details.get("review_id"),
            ms=(time.monotonic_ns() - call.started_ns) // 1_000_000,
        )

    def _settle(self, result: Result, done: OpenCall) -> None:
        passage, charge = done.passage, result.charge
        self.store.settle(result)
        if passage.model and charge is not None and charge.amount_nano and not charge.estimated:
            self.admission.typical.add(passage.agent, passage.model, charge.amount_nano)
        self.admission.closed(passage.agent)
        if passage.shares:
            self.budgets.room_for_all()
        else:
            self.budgets.settled(passage.agent)
        if passage.review_id is not None:
            self.verdicts.list_changed()
        log_call(
            call=passage.call_id,
            agent=passage.agent,
            tool=passage.classification.tool,
            tier=passage.classification.tier.value,
            method=passage.request.method,
            host=passage.request.host,
            outcome="ALLOW",
            result=result.outcome,
            status=result.status,
            charge_nano=charge.amount_nano if charge else None,
            estimated=charge.estimated or None if charge else None,
            review=passage.review_id,
            budget_percent=passage.warned_percent,
            ms=result.duration_us // 1000,
        )

    def _settle_part(self, result: Result, socket: Intent) -> None:
        self.store.settle(result)
        self.budgets.room_for_all()  # a socket's own intent does not tell whether its budget is shared
        log_call(
            call=result.call_id,
            socket=socket.call_id,
            agent=socket.agent,
            tool=socket.tool,
            tier=socket.tier,
            method=socket.method,
            host=socket.host,
            outcome="ALLOW",
            result=result.outcome,
            charge_nano=result.charge.amount_nano if result.charge else None,
            estimated=result.charge.estimated or None if result.charge else None,
            ms=result.duration_us // 1000,
        )

    # agents

    async def add_agent(self, name: str, labels: Mapping[str, str], cap_nano: int | None) -> tuple[AgentRow, str]:
        """Register an agent; returns its key in clear, the only time."""
        key = new_key()
        row = await self.store.add_agent(name, labels, cap_nano, key_hash(key))
        await self._agents_changed()
        return row, key

    async def rotate_agent(self, name: str) -> tuple[AgentRow, str]:
        """A new key for an agent; all old ones end."""
        key = new_key()
        row = await self.store.rotate_agent(name, key_hash(key))
        await self._agents_changed()
        return row, key

    async def remove_agent(self, name: str) -> None:
        """End an agent; its open connections get no further call through."""
        await self.store.remove_agent(name)
        await self._agents_changed()

    async def suspend_agent(self, name: str, suspended: bool) -> AgentRow:
        """The kill switch of one agent, or its undoing."""
        row = await self.store.suspend_agent(name, suspended)
        await self._agents_changed()
        return row

    async def session_key(self, name: str, seconds: int) -> str:
        """A further key of an agent that ends by itself."""
        key = new_key()
        await self.store.add_session_key(name, key_hash(key), time.time_ns() // 1000 + seconds * 1_000_000)
        await self._agents_changed()
        return key

    async def end_session_key(self, name: str, key: str) -> None:
        """End a session key before its time."""
        await self.store.end_session_key(name, key_hash(key))
        await self._agents_changed()

    async def _agents_changed(self) -> None:
        self.agents.replace(await self.store.agents())
        self._look_again()

    def _look_again(self) -> None:
        """Wake every call that waits: what it waits for may be out of reach now."""
        self.verdicts.all_changed()
        self.budgets.all_changed()

    def principal_of(self, name: str) -> Principal:
        """An agent's principal for a look at its budget."""
        row = self.agents.row(name)
        return Principal(name, dict(row.labels) if row else {}, row.cap_nano if row else None)

    def spend_budgets(self) -> Mapping[str, Budget]:
        """The budget in force for each agent."""
        found = {}
        for name in self.agents.names():
            who = self.principal_of(name)
            own = self.rules.policy.budget(who.name, who.labels, who.cap_nano)
            counting = self.rules.policy.counting(who.name, who.labels)
            found[name] = replace(own, further=own.further + counting) if counting else own
        return found

    # reviewers and verdicts

    async def add_reviewer(self, name: str) -> tuple[str, str]:
        """Register a reviewer; returns the secret and a single-use login link's token, both in clear the only time."""
        secret = new_key()
        await self.store.add_reviewer(name, await asyncio.to_thread(secret_hash, secret))
        return secret, await self.login_link(name)

    async def login_link(self, name: str) -> str:
        """A further single-use login link's token for a reviewer."""
        link = new_key()
        await self.store.add_login_link(name, key_hash(link), time.time_ns() // 1000 + LINK_SECONDS * 1_000_000)
        return link

    async def remove_reviewer(self, name: str) -> None:
        """End a reviewer and all sessions of theirs."""
        await self.store.remove_reviewer(name)

    async def login_with_secret(self, name: str, secret: str) -> str | None:
        """A session token for a reviewer who knows their secret; None otherwise. Attempts are slowed per name."""
        if not await self.secret_belongs(name, secret):
            return None
        return await self._session(name)

    async def secret_belongs(self, name: str, secret: str) -> bool:
        """Whether a secret is the reviewer's; each failure doubles the wait before the next try, up to 8 s."""
        failures, until = self._reviewer_failures.get(name, (0, 0.0))
        await asyncio.sleep(max(0.0, until - time.monotonic()))
        stored = await self.store.reviewer_secret_hash(name)
        # An unknown name costs as much as a wrong secret, so that neither answers faster.
        matches = await asyncio.to_thread(secret_matches, secret, stored or _nobodys_secret())
        if stored is not None and matches:
            self._reviewer_failures.pop(name, None)
            return True
        if len(self._reviewer_failures) > 1000:
            self._reviewer_failures.clear()
        self._reviewer_failures[name] = (failures + 1, time.monotonic() + min(8.0, 0.25 * 2**failures))
        return False

    async def login_with_link(self, link: str) -> tuple[str, str] | None:
        """A session token and its reviewer for a login link that was not used yet."""
        name = await self.store.spend_login_link(key_hash(link))
        return None if name is None else (await self._session(name), name)

    async def _session(self, name: str) -> str:
        token = secrets.token_urlsafe(32)
        await self.store.add_reviewer_session(
            name, key_hash(token), time.time_ns() // 1000 + SESSION_SECONDS * 1_000_000
        )
        return token

    async def reviewer_of(self, token: str) -> str | None:
        """The reviewer of a session token that is valid now."""
        return await self.store.reviewer_session(key_hash(token))

    async def logout(self, token: str) -> None:
        """End a session."""
        await self.store.end_reviewer_session(key_hash(token))

    async def give_verdict(
        self, review_id: str, *, approve: bool, reviewer: str, channel: str, note: str | None
    ) -> Review:
        """Decide a review and wake the connections that wait on it; raises `IllegalTransition`, `KeyError`."""
        review = await self.store.give_verdict(
            review_id, approve=approve, reviewer=reviewer, channel=channel, note=note
        )
        self.verdicts.changed(review_id)
        return review

    def waiting(self, review_id: str) -> int:
        """How many connections wait on a review now."""
        return self.verdicts.waiting(review_id)

    async def reviews_changed(self, after_version: int, timeout_s: float) -> Sequence[Review]:
        """Reviews that changed after a version; waits up to `timeout_s` for one, or for a client to come or go."""
        found = await self.store.reviews(after_version=after_version)
        if found or timeout_s <= 0:
            return found
        await self.verdicts.next_change(timeout_s)
        found = await self.store.reviews(after_version=after_version)
        return found or await self.store.reviews(states=(ReviewState.PENDING,))

    # policy

    async def apply_policy(self, by: str, *, dry_run: bool) -> PolicyChange:
        """Check the policy on disk, run its cases and switch to it; nothing changes unless all of it is right."""
        try:
            loaded, rules = await asyncio.to_thread(load_rules, self.config.policy_dir)
        except PolicyRefused as refused:
            return PolicyChange(applied=False, digest=None, problems=refused.problems)
        failures = await asyncio.to_thread(run_cases, loaded, rules.catalog, self.config.policy_dir)
        changes = tuple(await asyncio.to_thread(difference, self.rules.policy, loaded.policy, rules.catalog))
        if failures or dry_run:
            return PolicyChange(applied=False, digest=loaded.digest, difference=changes, failures=tuple(failures))
        await self.store.record_policy(loaded.digest, loaded.text, by, changes)
        lay_out(loaded.text, self.config.home.private / "in-force")
        self.rules = rules
        self.policy_differs = False
        self.destinations.forget()
        self._look_again()
        return PolicyChange(applied=True, digest=loaded.digest, difference=changes)

    # timers

    async def _expire_reviews(self) -> None:
        """Close reviews whose time is over. Expiry is tested at use too, so a late timer lets nothing through."""
        while True:
            await asyncio.sleep(0.5)
            with contextlib.suppress(StoreError):
                for review in await self.store.expire_due():
                    self.verdicts.changed(review.review_id)

    async def _heartbeat(self) -> None:
        while True:
            await asyncio.sleep(HEARTBEAT_S)
            with contextlib.suppress(StoreError):
                await self.store.record_heartbeat()


@functools.cache
def _nobodys_secret() -> str:
    return secret_hash("nobody's")
