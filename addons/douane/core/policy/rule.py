"""One rule of a policy: what it is about, when it applies, and what it makes of a call."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass

from douane.core.decision import Effect, Facts
from douane.core.policy.condition import Condition, NotEvaluable
from douane.core.tool import Nature, Tier


@dataclass(frozen=True, slots=True)
class Names:
    """A set of names, exact or by a prefix or suffix; with nothing in it, every name."""

    exact: frozenset[str] = frozenset()
    prefixes: tuple[str, ...] = ()
    """`stripe.` for `stripe.*`."""
    suffixes: tuple[str, ...] = ()
    """`.example.com` for `*.example.com`."""

    def __contains__(self, name: str) -> bool:
        if not (self.exact or self.prefixes or self.suffixes):
            return True
        return name in self.exact or name.startswith(self.prefixes) or name.endswith(self.suffixes)


@dataclass(frozen=True, slots=True)
class Selectors:
    """What a rule is about; an empty selector selects all."""

    tools: Names = Names()
    """In lower case, but for an `allow`, which must name the tool as the catalog writes it."""
    tiers: frozenset[Tier] = frozenset()
    natures: frozenset[Nature] = frozenset()
    agents: frozenset[str] = frozenset()
    labels: tuple[tuple[str, str], ...] = ()
    hosts: Names = Names()
    methods: frozenset[str] = frozenset()


@dataclass(frozen=True, slots=True)
class Rule:
    """One rule, compiled."""

    name: str
    effect: Effect
    selectors: Selectors
    condition: Condition | None
    reason: str
    """A sentence."""
    reason_codes: tuple[str, ...]
    wait_us: int | None = None
    expires_us: int | None = None
    place: str = ""
    """`policy.yaml:17`."""

    def is_about(self, tool: str, tier: Tier, nature: Nature, operations: Sequence[str] = ()) -> bool:
        """Whether the rule is about a kind of call: the part that is the same for every call of a tool."""
        selectors = self.selectors
        if self.effect is Effect.ALLOW:
            if tool not in selectors.tools.exact:
                return False
        elif not any(name.lower() in selectors.tools for name in (tool, *operations)):
            return False
        return (not selectors.tiers or tier in selectors.tiers) and (
            not selectors.natures or nature in selectors.natures
        )

    def matches(self, facts: Facts, unevaluable: list[str]) -> bool:
        """Whether the rule applies to a call that it is about.

        A condition without an answer counts as true where it makes the call less free, as false for an `allow`; the
        rule's name is added to `unevaluable`.
        """
        selectors = self.selectors
        if selectors.agents and facts.agent not in selectors.agents:
            return False
        if selectors.labels and not carries(facts.labels, selectors.labels):
            return False
        if selectors.methods and facts.method not in selectors.methods:
            return False
        if facts.host not in selectors.hosts:
            return False
        if self.condition is None:
            return True
        try:
            return self.condition.holds(facts)
        except NotEvaluable:
            unevaluable.append(self.name)
            return self.effect is not Effect.ALLOW


def carries(labels: Mapping[str, str], wanted: tuple[tuple[str, str], ...]) -> bool:
    """Whether an agent has all of some labels."""
    return all(labels.get(name) == value for name, value in wanted)
