"""What is allowed, told, held and denied, and how much an agent may spend and take.

Of all matching rules deny > hold > notify > allow; their order in the file does not matter. A rule never makes a call
freer than its tier's effect, except an `allow` that names the tool exactly.
"""

from __future__ import annotations

import ipaddress
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from typing import Literal

from douane.core.decision import Budget, Decision, Effect, Facts, Limits
from douane.core.policy.condition import Condition, NotEvaluable
from douane.core.tool import Tier

_RANK = {Effect.ALLOW: 0, Effect.NOTIFY: 1, Effect.HOLD: 2, Effect.DENY: 3}


@dataclass(frozen=True, slots=True)
class Selectors:
    """What a rule is about; an empty selector selects all."""

    tools: frozenset[str] = frozenset()
    tool_prefixes: tuple[str, ...] = ()
    """`stripe.` for `stripe.*`."""
    tiers: frozenset[str] = frozenset()
    natures: frozenset[str] = frozenset()
    agents: frozenset[str] = frozenset()
    labels: tuple[tuple[str, str], ...] = ()
    hosts: frozenset[str] = frozenset()
    methods: frozenset[str] = frozenset()

    def select(self, facts: Facts) -> bool:
        """Whether a call is what the rule is about."""
        if (self.tools or self.tool_prefixes) and not (
            facts.tool in self.tools or facts.tool.startswith(self.tool_prefixes)
        ):
            return False
        return (
            (not self.tiers or facts.tier.value in self.tiers)
            and (not self.natures or facts.nature.value in self.natures)
            and (not self.agents or facts.agent in self.agents)
            and (not self.hosts or facts.host in self.hosts)
            and (not self.methods or facts.method in self.methods)
            and all(facts.labels.get(name) == value for name, value in self.labels)
        )


@dataclass(frozen=True, slots=True)
class Rule:
    """One rule, compiled."""

    name: str
    effect: Effect
    selectors: Selectors
    condition: Condition | None
    reason: str
    reason_codes: tuple[str, ...]
    wait_us: int | None = None
    expires_us: int | None = None


@dataclass(frozen=True, slots=True)
class BudgetRule:
    """A cap for all agents, for agents with labels, or for agents by name."""

    budget: Budget
    agents: frozenset[str] = frozenset()
    labels: tuple[tuple[str, str], ...] = ()

    def rank(self, agent: str, labels: Mapping[str, str]) -> int:
        """2 by name, 1 by label, 0 for all, -1 where the rule is about others."""
        if self.agents:
            return 2 if agent in self.agents else -1
        if self.labels:
            return 1 if all(labels.get(name) == value for name, value in self.labels) else -1
        return 0


@dataclass(frozen=True, slots=True)
class LimitRule:
    """Limits for all agents, or for some by name."""

    limits: Limits
    agents: frozenset[str] = frozenset()


_TIER_REASON = {
    Tier.REVERSIBLE: "the tool is reversible",
    Tier.VISIBLE: "the tool is visible or expensive, and can be undone",
    Tier.IRREVERSIBLE: "the tool is irreversible",
}


@dataclass(frozen=True)
class Policy:
    """A policy in force."""

    digest: str
    rules: tuple[Rule, ...]
    tiers: Mapping[Tier, Effect]
    unmapped: Literal["default", "hold", "deny"]
    mode: Literal["enforce", "report"]
    on_unpriced: Literal["deny", "assume"]
    unpriced_assumed_nano: int
    budgets: tuple[BudgetRule, ...]
    limit_rules: tuple[LimitRule, ...]
    wait_us: int
    expires_us: int
    private_destinations: Literal["listed", "allow"] = "listed"
    private_hosts: frozenset[tuple[str, int | None]] = frozenset()
    private_networks: tuple[ipaddress.IPv4Network | ipaddress.IPv6Network, ...] = ()
    _by_tool: dict[str, list[Rule]] = field(default_factory=dict, init=False, repr=False)
    _others: list[Rule] = field(default_factory=list, init=False, repr=False)

    def __post_init__(self) -> None:
        for rule in self.rules:
            if rule.selectors.tools and not rule.selectors.tool_prefixes:
                for tool in rule.selectors.tools:
                    self._by_tool.setdefault(tool, []).append(rule)
            else:
                self._others.append(rule)

    def decide(self, facts: Facts) -> Decision:
        """What becomes of a call; never raises for anything an agent sent."""
        floor, floor_rule, floor_reason = self._floor(facts)
        unevaluable: list[str] = []
        best: Rule | None = None
        allow: Rule | None = None
        for rules in (self._by_tool.get(facts.tool, ()), self._others):
            for rule in rules:
                if not rule.selectors.select(facts):
                    continue
                if rule.condition is not None and not self._true(rule, facts, unevaluable):
                    continue
                if rule.effect is Effect.ALLOW:
                    if facts.tool in rule.selectors.tools:
                        allow = allow or rule
                elif best is None or _RANK[rule.effect] > _RANK[best.effect]:
                    best = rule
        if allow is not None and self._may_lower(facts):
            floor, floor_rule, floor_reason = Effect.ALLOW, allow.name, allow.reason
        if best is not None and _RANK[best.effect] >= _RANK[floor]:
            effect, name, reason, codes = best.effect, best.name, best.reason, best.reason_codes
        else:
            effect, name, reason, best = floor, floor_rule, floor_reason, None
            codes = (f"tool_{facts.tier.value}",) if floor is not Effect.ALLOW else ()
        return Decision(
            effect=effect,
            rule=name,
            reason_codes=codes,
            reason=reason,
            enforced=self.mode == "enforce" or effect in (Effect.ALLOW, Effect.NOTIFY),
            unevaluable=tuple(unevaluable),
            hold_wait_us=best.wait_us if best is not None and best.wait_us is not None else self.wait_us,
            expires_us=best.expires_us if best is not None and best.expires_us is not None else self.expires_us,
        )

    def _floor(self, facts: Facts) -> tuple[Effect, str, str]:
        """The effect of the tier, or of the preset for hosts that the catalog does not know."""
        if not facts.mapped and self.unmapped != "default":
            effect = Effect.HOLD if self.unmapped == "hold" else Effect.DENY
            return effect, f"unmapped.{self.unmapped}", "the catalog does not know the host"
        return self.tiers[facts.tier], f"tier.{facts.tier.value}", _TIER_REASON[facts.tier]

    def _may_lower(self, facts: Facts) -> bool:
        return facts.mapped or self.unmapped == "default"

    def _true(self, rule: Rule, facts: Facts, unevaluable: list[str]) -> bool:
        assert rule.condition is not None
        try:
            return rule.condition.holds(facts)
        except NotEvaluable:
            unevaluable.append(rule.name)
            return rule.effect is not Effect.ALLOW

    def budget(self, agent: str, labels: Mapping[str, str], agent_cap_nano: int | None) -> Budget:
        """The budget in force for an agent: by name before by label before the agent's own before the one for all.

        Of several by label the smallest cap counts.
        """
        found: tuple[int, BudgetRule] | None = None
        for rule in self.budgets:
            rank = rule.rank(agent, labels)
            if rank >= 0 and (found is None or (rank, -_size(rule.budget)) > (found[0], -_size(found[1].budget))):
                found = rank, rule
        if found is None:
            return Budget(agent_cap_nano, source="agent") if agent_cap_nano is not None else Budget(None, source="none")
        budget = found[1].budget
        if found[0] == 0 and agent_cap_nano is not None:
            return Budget(agent_cap_nano, budget.window_us, budget.wait_us, "agent")
        return budget

    def limits(self, agent: str, labels: Mapping[str, str]) -> Limits:  # noqa: ARG002 - limits by label may come
        """What an agent may take at a time."""
        general = Limits()
        for rule in self.limit_rules:
            if agent in rule.agents:
                return rule.limits
            if not rule.agents:
                general = rule.limits
        return general

    def destination_listed(
        self, host: str, port: int, address: ipaddress.IPv4Address | ipaddress.IPv6Address
    ) -> bool:
        """Whether agents may reach a private address."""
        if self.private_destinations == "allow":
            return True
        if (host, port) in self.private_hosts or (host, None) in self.private_hosts:
            return True
        return any(address.version == net.version and address in net for net in self.private_networks)


def _size(budget: Budget) -> float:
    return float("inf") if budget.cap_nano is None else budget.cap_nano


def rules_about(rules: Sequence[Rule], tool: str) -> list[Rule]:
    """The rules whose selectors name a tool or its provider."""
    return [r for r in rules if tool in r.selectors.tools or tool.startswith(r.selectors.tool_prefixes or ("\0",))]
