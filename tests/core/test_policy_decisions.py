"""Tables of decisions: rules and facts in, decision out."""

from __future__ import annotations

import itertools
from pathlib import Path
from typing import Any

import pytest
import yaml

from douane.core.decision import Effect
from support.policies import facts, policy_of, rules_of

TABLES = yaml.safe_load((Path(__file__).parent / "vectors" / "policy_decisions.yaml").read_text())
ROWS = [
    pytest.param(table["policy"], *row, id=f"{table['about']}-{number}")
    for table in TABLES
    for number, row in enumerate(table["rows"])
]


@pytest.mark.parametrize(("content", "given", "expected"), ROWS)
def test_table(content: dict[str, Any], given: dict[str, Any], expected: dict[str, Any]) -> None:
    decision = policy_of(content).decide(facts(**given))
    found = {key: getattr(decision, key) for key in expected}
    assert found == {key: tuple(value) if isinstance(value, list) else value for key, value in expected.items()}


def test_the_order_of_rules_in_the_file_changes_nothing() -> None:
    rules: list[dict[str, Any]] = [
        {"name": "b", "effect": "hold", "tools": ["x"], "wait": "9s", "reason_codes": ["bb"]},
        {"name": "a", "effect": "hold", "tools": ["x"], "expiry": "1h"},
        {"name": "c", "effect": "hold", "when": "args.n > 1"},
        {"name": "d", "effect": "allow", "tools": ["x"]},
    ]
    decisions = {rules_of(*order).decide(facts(tool="x", args={"n": "2"})) for order in itertools.permutations(rules)}
    assert len(decisions) == 1


class Untouched(dict[str, Any]):
    """Arguments that nobody may look at."""

    def _touched(self, *_: object) -> Any:
        raise AssertionError("a condition was evaluated")

    __getitem__ = __contains__ = __iter__ = __len__ = get = items = keys = _touched  # type: ignore[assignment]


@pytest.mark.parametrize(
    "selectors",
    [
        {"tools": ["x.*", "y"]},
        {"tiers": ["irreversible"]},
        {"natures": ["money"]},
        {"agents": ["other"]},
        {"labels": {"env": "production"}},
        {"hosts": ["*.example.com"]},
        {"methods": ["DELETE"]},
    ],
)
def test_no_condition_is_evaluated_where_the_selectors_select_otherwise(selectors: dict[str, Any]) -> None:
    policy = rules_of({"name": "a", "effect": "deny", **selectors, "when": "args.a == 1"})
    assert policy.decide(facts(args=Untouched(a=1))).effect is Effect.ALLOW


def test_a_condition_without_arguments_does_not_touch_them() -> None:
    policy = rules_of({"name": "a", "effect": "deny", "when": "cost > 1.0 || size(agent) > 100"})
    decision = policy.decide(facts(args=Untouched(a=1)))
    assert (decision.effect, decision.unevaluable) == (Effect.ALLOW, ())


def test_a_made_up_tool_does_not_grow_what_the_policy_remembers() -> None:
    policy = rules_of({"name": "a", "effect": "deny", "tools": ["mcp.*"]})
    for number in range(10_000):
        assert policy.decide(facts(tool=f"mcp.server.{number}")).effect is Effect.DENY
    assert len(policy._about) <= 4_096
