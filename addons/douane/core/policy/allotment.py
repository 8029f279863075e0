"""What an agent may spend and take: budgets and limits by agent, by label, or for all."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace

from douane.core.decision import Budget, Limits
from douane.core.policy.rule import carries

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
