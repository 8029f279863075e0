"""What an agent may spend and take: budgets and limits by agent, by label, or for all."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace

from douane.core.decision import Budget, Facts, Limits
from douane.core.policy.condition import Condition, NotEvaluable
from douane.core.policy.rule import Names, carries

DEFAULT_BUDGET = Budget(50_000_000_000, source="default")
"""The guide's: $50 per rolling 24 h, where a policy has no budget for all agents."""


@dataclass(frozen=True, slots=True)
class Whom:
    """Agents by name, agents with labels, or (with neither) all."""

    agents: frozenset[str] = frozenset()
    labels: tuple[tuple[str, str], ...] = ()

    def closeness(self, agent: str, labels: Mapping[str, str]) -> int:
        """2 by name, 1 by label, 0 for all, -1 where others are meant."""
        if self.agents:
            return 2 if agent in self.agents else -1
        if self.labels:
            return 1 if carries(labels, self.labels) else -1
        return 0


@dataclass(frozen=True, slots=True)
class BudgetRule:
    """A cap, and whose it is."""

    budget: Budget
    whom: Whom = Whom()
    exempt: frozenset[str] = frozenset()
    """Agents that do not draw on a shared budget."""


class Uncountable(Exception):
    """How much a call counts against a budget cannot be told; carries the budget's name."""


@dataclass(frozen=True, slots=True)
class CountRule:
    """A budget of its own for what some tools move, by an amount that the request states."""

    name: str
    caps: tuple[Budget, ...]
    """One for each window."""
    tools: Names
    """In lower case."""
    amount: Condition
    each: bool = False
    """Each agent has one; else they share it."""
    whom: Whom = Whom()
    exempt: frozenset[str] = frozenset()

    def budgets(self, agent: str, labels: Mapping[str, str], amount_nano: int = 0) -> tuple[Budget, ...]:
        """The caps that hold for an agent; none where others are meant."""
        if agent in self.exempt or self.whom.closeness(agent, labels) < 0:
            return ()
        account = f"@{self.name}/{agent}" if self.each else f"@{self.name}"
        return tuple(replace(cap, account=account, amount_nano=amount_nano) for cap in self.caps)

    def counted(self, facts: Facts) -> tuple[Budget, ...]:
        """The caps that a call counts against, each with its amount; raises `Uncountable`."""
        if not any(name.lower() in self.tools for name in (facts.tool, *facts.operations)):
            return ()
        if not self.budgets(facts.agent, facts.labels):
            return ()
        if facts.operations:  # several in one request, each with arguments of its own
            raise Uncountable(self.name)
        try:
            amount_nano = self.amount.amount_nano(facts)
        except NotEvaluable:
            raise Uncountable(self.name) from None
        return self.budgets(facts.agent, facts.labels, amount_nano)


@dataclass(frozen=True, slots=True)
class LimitRule:
    """Limits, and whose they are."""

    limits: Limits
    whom: Whom = Whom()


def budget_of(rules: Sequence[BudgetRule], agent: str, labels: Mapping[str, str], agent_cap_nano: int | None) -> Budget:
    """The budget in force: by name, else by label, else the cap given to the agent, else the one for all.

    Of several by label the smallest cap counts, whatever their order. Budgets that agents share hold besides.
    """
    shared = [rule for rule in rules if rule.budget.account is not None]
    if shared:
        rules = [rule for rule in rules if rule.budget.account is None]
        own = budget_of(rules, agent, labels, agent_cap_nano)
        drawn = tuple(
            rule.budget for rule in shared if agent not in rule.exempt and rule.whom.closeness(agent, labels) >= 0
        )
        return replace(own, further=own.further + drawn) if drawn else own
    close = [(rule.whom.closeness(agent, labels), rule.budget) for rule in rules]
    closest = max((closeness for closeness, _ in close), default=-1)
    if closest < 0:
        found = DEFAULT_BUDGET
    else:
        found = min((budget for closeness, budget in close if closeness == closest), key=_strictness)
    if closest <= 0 and agent_cap_nano is not None:
        return replace(found, cap_nano=agent_cap_nano, source="agent")
    return found


def _strictness(budget: Budget) -> tuple[float, int, str]:
    return (float("inf") if budget.cap_nano is None else budget.cap_nano, -budget.window_us, budget.source)


def limits_of(rules: Sequence[LimitRule], agent: str, labels: Mapping[str, str]) -> Limits:
    """The limits in force: by name, else by label, else those for all; of several by label the smallest of each."""
    close = [(rule.whom.closeness(agent, labels), rule.limits) for rule in rules]
    closest = max((closeness for closeness, _ in close), default=-1)
    if closest < 0:
        return Limits()
    found = [limits for closeness, limits in close if closeness == closest]
    if len(found) == 1:
        return found[0]
    return Limits(
        concurrent_calls=min(limits.concurrent_calls for limits in found),
        open_reviews=min(limits.open_reviews for limits in found),
        records_per_minute=min(limits.records_per_minute for limits in found),
        connections=min(limits.connections for limits in found),
    )
