"""Laws of policy decisions, over generated rules and facts."""

from __future__ import annotations

import math
import random
from typing import Any

from hypothesis import given
from hypothesis import strategies as st

from douane.core.decision import Effect
from douane.core.policy import RANK
from douane.core.tool import Nature, Tier
from support.policies import facts, policy_of

TOOLS = ["a.x", "a.y", "b.x", "unmapped.post"]
CONDITIONS = [None, "true", "false", "args.n > 10", "args.n == 'x'", "has(args.n)", "labels.env == 'p'", "cost > 1.0"]
json_values = st.recursive(
    st.none() | st.booleans() | st.integers() | st.floats() | st.text(max_size=5) | st.sampled_from(["x", "10", "11"]),
    lambda inner: st.lists(inner, max_size=3) | st.dictionaries(st.text(max_size=3), inner, max_size=3),
    max_leaves=6,
)
arguments = st.dictionaries(st.sampled_from(["n", "m"]), json_values, max_size=2)
calls = st.fixed_dictionaries(
    {
        "tool": st.sampled_from(TOOLS),
        "tier": st.sampled_from(list(Tier)),
        "nature": st.sampled_from([Nature.READ, Nature.MONEY]),
        "mapped": st.booleans(),
        "agent": st.sampled_from(["one", "two"]),
        "labels": st.sampled_from([{}, {"env": "p"}, {"env": "q"}]),
        "args": arguments,
        "method": st.sampled_from(["GET", "POST", "DELETE"]),
        "cost_nano": st.sampled_from([0, 2_000_000_000]),
    }
)


@st.composite
def rule_lists(draw: st.DrawFn, effects: tuple[str, ...] = ("allow", "notify", "hold", "deny")) -> list[dict[str, Any]]:
    rules = []
    for number in range(draw(st.integers(0, 5))):
        effect = draw(st.sampled_from(effects))
        tools = draw(
            st.lists(st.sampled_from(TOOLS[:3]), min_size=1 if effect == "allow" else 0, max_size=2, unique=True)
        )
        if effect != "allow" and draw(st.booleans()):
            tools = ["a.*"]
        rule: dict[str, Any] = {"name": f"r{number}", "effect": effect, "tools": tools}
        if (when := draw(st.sampled_from(CONDITIONS))) is not None:
            rule["when"] = when
        if draw(st.booleans()):
            rule["agents"] = ["one"]
        if draw(st.booleans()):
            rule["labels"] = {"env": "p"}
        rules.append(rule)
    return rules


def settings_of(draw_from: random.Random) -> dict[str, Any]:
    return {
        "unmapped": draw_from.choice(["default", "hold", "deny"]),
        "tiers": {
            "reversible": draw_from.choice(["allow", "notify"]),
            "visible": draw_from.choice(["allow", "hold"]),
            "irreversible": draw_from.choice(["hold", "deny"]),
        },
    }


@given(rule_lists(), calls, st.randoms(use_true_random=False))
def test_the_order_of_rules_does_not_matter(
    rules: list[dict[str, Any]], call: dict[str, Any], rng: random.Random
) -> None:
    settings = settings_of(rng)
    shuffled = rules[:]
    rng.shuffle(shuffled)
    decided = policy_of({**settings, "rules": rules}).decide(facts(**call))
    assert policy_of({**settings, "rules": shuffled}).decide(facts(**call)) == decided


@given(rule_lists(), rule_lists(effects=("notify", "hold", "deny")), calls)
def test_a_further_rule_that_is_no_allow_never_makes_a_call_freer(
    rules: list[dict[str, Any]], more: list[dict[str, Any]], call: dict[str, Any]
) -> None:
    more = [{**rule, "name": f"more-{rule['name']}"} for rule in more]
    before = policy_of({"rules": rules}).decide(facts(**call)).effect
    after = policy_of({"rules": [*rules, *more]}).decide(facts(**call)).effect
    assert RANK[after] >= RANK[before]


@given(rule_lists(), calls)
def test_without_an_allow_that_names_the_tool_no_call_is_freer_than_its_tier(
    rules: list[dict[str, Any]], call: dict[str, Any]
) -> None:
    given_rules = [rule for rule in rules if rule["effect"] != "allow" or call["tool"] not in rule["tools"]]
    floor = policy_of({}).decide(facts(**call)).effect
    assert RANK[policy_of({"rules": given_rules}).decide(facts(**call)).effect] >= RANK[floor]


@given(rule_lists(), calls)
def test_no_rule_frees_a_call_that_another_denies(rules: list[dict[str, Any]], call: dict[str, Any]) -> None:
    deny = {"name": "deny", "effect": "deny", "tools": [call["tool"]]}
    assert policy_of({"rules": [*rules, deny]}).decide(facts(**call)).effect is Effect.DENY


def passes(value: Any) -> bool:
    """Whether it is a number that CEL has, of at most 10."""
    if isinstance(value, bool) or not isinstance(value, int | float) or not value <= 10:
        return False
    return math.isfinite(value) if isinstance(value, float) else value >= -(2**63)


@given(calls, json_values)
def test_an_argument_of_another_kind_never_frees_a_call(call: dict[str, Any], hostile: Any) -> None:
    """Whatever an agent puts in place of the number: the call is held, unless it is a number that passes."""
    policy = policy_of(
        {
            "rules": [
                {"name": "hold-large", "effect": "hold", "tools": ["pay"], "when": "args.n > 10"},
                {"name": "hold-flagged", "effect": "hold", "tools": ["flag"], "when": "args.n == true"},
                {"name": "hold-not-small", "effect": "hold", "tools": ["small"], "when": "!(args.n <= 10)"},
                {"name": "free-small", "effect": "allow", "tools": ["free"], "when": "args.n <= 10"},
            ]
        }
    )
    given_facts = {**call, "mapped": True, "tier": Tier.VISIBLE, "args": {"n": hostile}}
    small = passes(hostile)
    for tool in ("pay", "small"):
        effect = policy.decide(facts(**{**given_facts, "tool": tool})).effect
        assert effect is (Effect.ALLOW if small else Effect.HOLD)
    flagged = policy.decide(facts(**{**given_facts, "tool": "flag"})).effect
    assert flagged is (Effect.ALLOW if hostile is False else Effect.HOLD)
    freed = policy.decide(facts(**{**given_facts, "tool": "free", "tier": Tier.IRREVERSIBLE})).effect
    assert freed is (Effect.ALLOW if small else Effect.HOLD)


@given(rule_lists(), calls)
def test_report_mode_decides_the_same_and_enforces_no_hold_or_denial(
    rules: list[dict[str, Any]], call: dict[str, Any]
) -> None:
    enforced = policy_of({"rules": rules}).decide(facts(**call))
    reported = policy_of({"mode": "report", "rules": rules}).decide(facts(**call))
    assert (reported.effect, reported.rule, reported.unevaluable) == (
        enforced.effect,
        enforced.rule,
        enforced.unevaluable,
    )
    assert enforced.enforced
    assert reported.enforced is (reported.effect in (Effect.ALLOW, Effect.NOTIFY))
