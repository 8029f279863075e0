"""What is allowed, told, held and denied.

Of all matching rules deny > hold > notify > allow; their order in the file does not matter, not even for which of
several equal rules is named: the first by name, with the shortest wait and expiry of all. No rule makes a call freer
than its tier does, but for an `allow` that names the tool exactly.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace
from ipaddress import IPv4Address, IPv4Network, IPv6Address, IPv6Network
from typing import Literal

from douane.core.decision import Budget, Decision, Effect, Facts, Limits
from douane.core.destination import plain
from douane.core.policy.allotment import BudgetRule, CountRule, LimitRule, budget_of, limits_of
from douane.core.policy.rule import Rule
from douane.core.tool import Nature, Tier

MOST_REMEMBERED = 4_096
"""Kinds of calls whose rules are kept in mind: an agent can make up names of tools."""

SAFE_METHODS = frozenset({"GET", "HEAD", "OPTIONS"})
RANK = {Effect.ALLOW: 0, Effect.NOTIFY: 1, Effect.HOLD: 2, Effect.DENY: 3}

UNEVALUABLE_CODE = "condition_unevaluable"
UNMAPPED_CODE = "host_unmapped"
TIER_CODES = {tier: f"tool_{tier.value}" for tier in Tier}

_TIER_REASON = {
    Tier.REVERSIBLE: "The tool is reversible and cheap.",
    Tier.VISIBLE: "The tool is reversible, but expensive or visible.",
    Tier.IRREVERSIBLE: "The tool is irreversible.",
}
_UNMAPPED_REASON = "The catalog does not know the host."
_UNEVALUABLE_REASON = "The rule's condition has no answer for this call, which counts on the safe side."


@dataclass(frozen=True, slots=True)
class Settings:
    """Everything in a policy but its rules."""

    mode: Literal["enforce", "report"] = "enforce"
    tiers: tuple[tuple[Tier, Effect], ...] = (
        (Tier.REVERSIBLE, Effect.ALLOW),
        (Tier.VISIBLE, Effect.ALLOW),
        (Tier.IRREVERSIBLE, Effect.HOLD),
    )
    unmapped: Literal["default", "hold", "deny"] = "default"
    hold_wait_us: int = 12_000_000
    expires_us: int = 86_400_000_000
    on_unpriced: Literal["deny", "assume"] = "deny"
    unpriced_assumed_nano: int = 1_000_000_000
    budgets: tuple[BudgetRule, ...] = ()
    counts: tuple[CountRule, ...] = ()
    limits: tuple[LimitRule, ...] = ()
    private_destinations: Literal["listed", "allow"] = "listed"
    private_hosts: frozenset[tuple[str, int | None]] = frozenset()
    private_networks: tuple[IPv4Network | IPv6Network, ...] = ()
    rates: tuple[tuple[str, str], ...] = ()
    """Currency → dollars for one, as written; compiled into the conditions."""


@dataclass(frozen=True, slots=True)
class _About:
    """The rules about one kind of call, by effect, each in order of name."""

    raising: tuple[tuple[Rule, ...], ...]
    """Those that deny, those that hold, those that notify."""
    allowing: tuple[Rule, ...]


class Policy:
    """A policy in force: immutable, but for what it remembers."""

    def __init__(self, digest: str, settings: Settings, rules: Sequence[Rule]) -> None:
        self.digest = digest
        self.settings = settings
        self.rules = tuple(sorted(rules, key=lambda rule: rule.name))
        self.mode = settings.mode
        self.on_unpriced = settings.on_unpriced
        self.unpriced_assumed_nano = settings.unpriced_assumed_nano
        tiers = dict(settings.tiers)
        self._by_tier = {tier: self._default(tier, tiers[tier]) for tier in Tier}
        self._unmapped = {effect: self._default(None, effect) for effect in Effect}
        self._about: dict[tuple[str, Tier, Nature], _About | None] = {}

    def decide(self, facts: Facts) -> Decision:
        """What becomes of a call; never raises for anything that an agent sent."""
        floor = self._by_tier[facts.tier] if facts.mapped else self._unknown_host(facts)
        about = self._rules_about(facts.tool, facts.tier, facts.nature, facts.operations)
        if about is None:
            return floor
        unevaluable: list[str] = []
        found: list[Rule] = []
        for rules in about.raising:
            found = [rule for rule in rules if rule.matches(facts, unevaluable)]
            if found:
                break
        lowered = False
        if floor.effect is not Effect.ALLOW and (not found or RANK[found[0].effect] < RANK[floor.effect]):
            for rule in about.allowing:
                if rule.matches(facts, unevaluable):
                    floor, lowered = self._decision(Effect.ALLOW, rule.name, (), rule.reason), True
                    break
        if not found or RANK[found[0].effect] < RANK[floor.effect]:
            return replace(floor, unevaluable=tuple(unevaluable)) if unevaluable else floor
        return self._by_rules(found, None if lowered else floor, unevaluable)

    def _rules_about(self, tool: str, tier: Tier, nature: Nature, operations: tuple[str, ...]) -> _About | None:
        key = (tool, tier, nature)
        if not operations and key in self._about:
            return self._about[key]
        rules = [rule for rule in self.rules if rule.is_about(tool, tier, nature, operations)]
        about = None
        if rules:
            by_effect = {effect: tuple(rule for rule in rules if rule.effect is effect) for effect in Effect}
            about = _About(
                (by_effect[Effect.DENY], by_effect[Effect.HOLD], by_effect[Effect.NOTIFY]), by_effect[Effect.ALLOW]
            )
        if operations:  # an agent can make up any number of combinations, each of any length
            return about
        if len(self._about) >= MOST_REMEMBERED:
            self._about.clear()
        self._about[key] = about
        return about

    def _by_rules(self, found: Sequence[Rule], floor: Decision | None, unevaluable: Sequence[str]) -> Decision:
        """The decision of equal rules; the tier's own reason is added where it would have decided the same."""
        first = found[0]
        codes = [code for rule in found for code in rule.reason_codes]
        if floor is not None and floor.effect is first.effect:
            codes += floor.reason_codes
        reason = first.reason
        if any(rule.name in unevaluable for rule in found):
            codes.append(UNEVALUABLE_CODE)
        if first.name in unevaluable:
            reason = f"{reason} {_UNEVALUABLE_REASON}"
        waits = [rule.wait_us for rule in found if rule.wait_us is not None]
        expiries = [rule.expires_us for rule in found if rule.expires_us is not None]
        return replace(
            self._decision(first.effect, first.name, tuple(dict.fromkeys(codes)), reason),
            unevaluable=tuple(unevaluable),
            hold_wait_us=min(waits, default=self.settings.hold_wait_us),
            expires_us=min(expiries, default=self.settings.expires_us),
        )

    def _decision(self, effect: Effect, rule: str, codes: tuple[str, ...], reason: str) -> Decision:
        return Decision(
            effect=effect,
            rule=rule,
            reason_codes=codes,
            reason=reason,
            enforced=self.mode == "enforce" or RANK[effect] < RANK[Effect.HOLD],
            hold_wait_us=self.settings.hold_wait_us,
            expires_us=self.settings.expires_us,
        )

    def _default(self, tier: Tier | None, effect: Effect) -> Decision:
        """What becomes of a call that no rule is about; without a tier: on a host that the catalog does not know."""
        quiet = effect is Effect.ALLOW
        if tier is None:
            codes = () if quiet else (UNMAPPED_CODE,)
            return self._decision(effect, f"unmapped.{self.settings.unmapped}", codes, _UNMAPPED_REASON)
        return self._decision(effect, f"tier.{tier.value}", () if quiet else (TIER_CODES[tier],), _TIER_REASON[tier])

    def _unknown_host(self, facts: Facts) -> Decision:
        """The `unmapped` preset, or the effect of the tier that the catalog guessed, whichever is less free."""
        tiers = self._by_tier
        match self.settings.unmapped:
            case "deny":
                effect = Effect.DENY
            case "hold":
                effect = Effect.HOLD
            case _ if facts.method in SAFE_METHODS:
                effect = tiers[Tier.REVERSIBLE].effect
            case _ if facts.method == "DELETE":
                effect = max(Effect.HOLD, tiers[Tier.IRREVERSIBLE].effect, key=RANK.__getitem__)
            case _:
                effect = tiers[Tier.VISIBLE].effect
        return self._unmapped[max(effect, tiers[facts.tier].effect, key=RANK.__getitem__)]

    def budget(self, agent: str, labels: Mapping[str, str], agent_cap_nano: int | None) -> Budget:
        """The budget in force for an agent."""
        return budget_of(self.settings.budgets, agent, labels, agent_cap_nano)

    def counted(self, facts: Facts) -> tuple[Budget, ...]:
        """The budgets of their own that a call counts against, each with its amount; raises `Uncountable`."""
        if not self.settings.counts:
            return ()
        return tuple(budget for rule in self.settings.counts for budget in rule.counted(facts))

    def counting(self, agent: str, labels: Mapping[str, str]) -> tuple[Budget, ...]:
        """All budgets of their own that an agent's calls may count against."""
        return tuple(budget for rule in self.settings.counts for budget in rule.budgets(agent, labels))

    def limits(self, agent: str, labels: Mapping[str, str]) -> Limits:
        """What an agent may take at a time."""
        return limits_of(self.settings.limits, agent, labels)

    def destination_listed(self, host: str, port: int, address: IPv4Address | IPv6Address) -> bool:
        """Whether agents may reach a private address."""
        settings = self.settings
        if settings.private_destinations == "allow":
            return True
        if (host, port) in settings.private_hosts or (host, None) in settings.private_hosts:
            return True
        inner = plain(address)
        return any(inner.version == network.version and inner in network for network in settings.private_networks)
