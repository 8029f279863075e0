"""What changes with a new policy, told before it takes force."""

from __future__ import annotations

import itertools
from collections.abc import Iterable, Iterator, Mapping
from dataclasses import dataclass

from douane.core.catalog import Catalog
from douane.core.decision import Budget, Effect, Facts
from douane.core.money import format_usd
from douane.core.policy import RANK, BudgetRule, CountRule, LimitRule, Policy, Rule, Settings, Whom
from douane.core.policy.rule import Names
from douane.core.tool import Nature, Tier
from douane.edge.policy.units import duration_text

MOST_NAMED = 12
"""Tools told by name for one change of effect; the others are counted."""
MOST_AGENTS = 12
"""Kinds of agents that effects are compared for: anybody, and those that rules single out."""


@dataclass(frozen=True, slots=True)
class _Kind:
    """A kind of agent that a rule may single out."""

    told: str
    agent: str
    labels: Mapping[str, str]


def difference(old: Policy | None, new: Policy, catalog: Catalog) -> list[str]:
    """Sentences about settings, rules and effects that change; a loosened effect begins with `looser:`."""
    if old is None:
        return ["the first policy"]
    return [*_settings(old.settings, new.settings), *_rules(old.rules, new.rules), *_effects(old, new, catalog)]


def _settings(old: Settings, new: Settings) -> Iterator[str]:
    before, after = _told(old), _told(new)
    for key in [*before, *(key for key in after if key not in before)]:
        one, other = before.get(key), after.get(key)
        if one != other:
            yield f"{key}: {one or 'not set'} → {other or 'not set'}"


def _told(settings: Settings) -> dict[str, str]:
    """Every setting in the words of the file."""
    private = sorted(f"{host}:{port}" if port else host for host, port in settings.private_hosts)
    return {
        "mode": settings.mode,
        **{f"tiers.{tier}": effect.value for tier, effect in settings.tiers},
        "unmapped": settings.unmapped,
        "hold.wait": duration_text(settings.hold_wait_us),
        "hold.expiry": duration_text(settings.expires_us),
        "on_unpriced": settings.on_unpriced,
        "unpriced_assumed": format_usd(settings.unpriced_assumed_nano),
        **{
            f"budget of {_whom(rule.whom)}": _budget(rule)
            for rule in _sorted(settings.budgets)
            if rule.budget.account is None
        },
        **_shared(settings.budgets),
        **{_counted(rule): f"{', '.join(map(_cap, rule.caps))} of {rule.amount.source}" for rule in settings.counts},
        **{f"limits of {_whom(rule.whom)}": str(rule.limits) for rule in _sorted(settings.limits)},
        "destinations.private": "allow"
        if settings.private_destinations == "allow"
        else ", ".join([*private, *map(str, settings.private_networks)]) or "none",
        **{f"rates.{code}": rate for code, rate in settings.rates},
    }


def _sorted[R: BudgetRule | LimitRule](rules: Iterable[R]) -> list[R]:
    return sorted(rules, key=lambda rule: _whom(rule.whom))


def _whom(whom: Whom) -> str:
    if whom.agents:
        return ", ".join(sorted(whom.agents))
    return ", ".join(f"{name}={value}" for name, value in whom.labels) or "all agents"


def _budget(rule: BudgetRule) -> str:
    caps = ", ".join(map(_cap, (rule.budget, *rule.budget.further)))
    reserving = ", setting aside what is typical" if rule.budget.typical else ""
    return f"{caps}, waiting {duration_text(rule.budget.wait_us)}{reserving}"


def _cap(budget: Budget) -> str:
    cap = "no cap" if budget.cap_nano is None else format_usd(budget.cap_nano)
    return f"{cap} in {duration_text(budget.window_us)}"


def _shared(rules: Iterable[BudgetRule]) -> dict[str, str]:
    found: dict[str, str] = {}
    for rule in rules:
        if rule.budget.account is not None:
            key = f"budget {rule.budget.account.removeprefix('@')} shared by {_whom(rule.whom)}"
            exempt = f" except {', '.join(sorted(rule.exempt))}" if rule.exempt else ""
            found[key + exempt] = ", ".join(filter(None, (found.get(key + exempt), _cap(rule.budget))))
    return found


def _counted(rule: CountRule) -> str:
    exempt = f" except {', '.join(sorted(rule.exempt))}" if rule.exempt else ""
    tools = ", ".join([*sorted(rule.tools.exact), *(f"{prefix}*" for prefix in rule.tools.prefixes)])
    return f"budget {rule.name} of {'each of' if rule.each else 'all of'} {_whom(rule.whom)}{exempt} for {tools}"


def _rules(old: Iterable[Rule], new: Iterable[Rule]) -> Iterator[str]:
    before, after = ({rule.name: rule for rule in rules} for rules in (old, new))
    for name in sorted(before.keys() | after.keys()):
        if name not in after:
            yield f"rule {name}: removed ({before[name].effect})"
        elif name not in before:
            yield f"rule {name}: added ({after[name].effect})"
        else:
            one, other = _compared(before[name]), _compared(after[name])
            changed = [key for key in one if one[key] != other[key]]
            if changed:
                yield f"rule {name}: changed ({', '.join(changed)})"


def _compared(rule: Rule) -> dict[str, object]:
    return {
        "effect": rule.effect,
        "selectors": rule.selectors,
        "when": rule.condition.source if rule.condition else None,
        "reason": rule.reason,
        "reason_codes": rule.reason_codes,
        "wait": rule.wait_us,
        "expiry": rule.expires_us,
    }


def _kinds(policies: Iterable[Policy]) -> list[_Kind]:
    found = {"anybody": _Kind("anybody", "", {})}
    for rule in itertools.chain.from_iterable(policy.rules for policy in policies):
        labels = dict(rule.selectors.labels)
        told = ", ".join(f"{name}={value}" for name, value in labels.items())
        for agent in sorted(rule.selectors.agents) or ([""] if labels else []):
            name = " ".join(word for word in (agent, told) if word)
            found.setdefault(name, _Kind(name, agent, labels))
    return list(found.values())[:MOST_AGENTS]


@dataclass(frozen=True, slots=True)
class _Alike:
    """Tools that both policies treat alike, with one of them to ask for all."""

    facts: tuple[str, Tier, Nature, bool]
    names: list[str]


_UNMAPPED = (
    ("unmapped.get", Tier.REVERSIBLE, Nature.READ),
    ("unmapped.post", Tier.VISIBLE, Nature.WRITE),
    ("unmapped.delete", Tier.IRREVERSIBLE, Nature.DELETE),
)


def _alike(policies: Iterable[Policy], catalog: Catalog) -> list[_Alike]:
    """All tools in groups of one tier, nature and the same rules by name: far fewer than tools."""
    rules = [rule for policy in policies for rule in policy.rules]
    naming = [rule for rule in rules if rule.selectors.tools != Names()]
    looks_at_names = any(rule.condition is not None and "tool" in rule.condition.source for rule in rules)
    found: dict[tuple[object, ...], _Alike] = {}
    for mapped, listed in ((True, catalog.tiers()), (False, _UNMAPPED)):
        for tool, tier, nature in listed:
            about = tuple(number for number, rule in enumerate(naming) if rule.is_about(tool, tier, nature))
            key = (tool,) if looks_at_names or not mapped else (tier, nature, about)
            found.setdefault(key, _Alike((tool, tier, nature, mapped), [])).names.append(tool)
    return list(found.values())


def _effects(old: Policy, new: Policy, catalog: Catalog) -> Iterator[str]:
    """Effects on every tool without arguments: conditions that look at them have no answer, so the worst counts."""
    groups = _alike((old, new), catalog)
    for kind in _kinds((old, new)):
        changed: dict[tuple[Effect, Effect], list[str]] = {}
        for group in groups:
            tool, tier, nature, mapped = group.facts
            method = "" if mapped else tool.rpartition(".")[2].upper()
            facts = Facts(tool, tier, nature, mapped, kind.agent, kind.labels, {}, "", method, 0)
            was, now = old.decide(facts), new.decide(facts)
            before = was.effect if was.enforced else Effect.ALLOW
            after = now.effect if now.enforced else Effect.ALLOW
            if before is not after:
                changed.setdefault((before, after), []).extend(group.names)
        for before, after in sorted(changed, key=lambda pair: (RANK[pair[1]], RANK[pair[0]])):
            names = sorted(changed[before, after])
            word = "looser" if RANK[after] < RANK[before] else "stricter"
            rest = f" and {len(names) - MOST_NAMED} more" if len(names) > MOST_NAMED else ""
            yield f"{word}: {before} → {after} for {kind.told}: {', '.join(names[:MOST_NAMED])}{rest}"
