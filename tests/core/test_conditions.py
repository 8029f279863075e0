"""Conditions: what they may look at, what has no answer, and that an agent cannot make them run away."""

from __future__ import annotations

import time
from decimal import Decimal
from typing import Any

import pytest

from douane.core.policy import Condition, ConditionInvalid, NotEvaluable, usd_function
from support.policies import facts

USD = usd_function({"eur": Decimal("1.25")})


def holds(source: str, **members: Any) -> bool | None:
    """True, false, or None for no answer."""
    try:
        return Condition(source, USD).holds(facts(**members))
    except NotEvaluable:
        return None


@pytest.mark.parametrize(
    ("source", "args", "expected"),
    [
        ("args.a == 1", {"a": 1}, True),
        ("args.a == 1.0", {"a": 1}, True),
        ("args.a == 1", {"a": "1"}, None),
        ("args.a != 1", {"a": "1"}, None),
        ("1 == args.a", {"a": "1"}, None),
        ("-1 == args.a", {"a": "1"}, None),
        ("args.a == -1", {"a": "1"}, None),
        ("args.a == true", {"a": "true"}, None),
        ("args.a == true", {"a": 1}, None),
        ("args.a == true", {"a": [True]}, None),
        ('args["a"] == "x"', {"a": ["x"]}, None),
        ("args.a == 'x'", {"a": None}, None),
        ("args.a == null || args.a == 'x'", {"a": None}, True),
        ("args.a == null || args.a == 'x'", {"a": "x"}, True),
        ("args.a.b == 1", {"a": {"b": 1}}, True),
        ("args.a.b == 1", {"a": {"b": "1"}}, None),
        ("args.a.b == 1", {"a": "b"}, None),
        ('args.a in ["x", "y"]', {"a": "y"}, True),
        ('args.a in ["x", "y"]', {"a": "z"}, False),
        ('args.a in ["x", "y"]', {"a": ["x"]}, None),
        ('"x" in args.a', {"a": ["x"]}, True),
        ('"x" in args.a', {"a": {"x": 1}}, True),
        ('"x" in args.a', {"a": "x"}, None),
        ('"a" in args', {"a": 1}, True),
        ('"b" in args', {"a": 1}, False),
        ("has(args.a)", {}, False),
        ("has(args.a) && args.a > 1", {}, False),
        ("args.a > 1 || true", {}, True),
        ("args.a > 1 && false", {}, False),
        ("args.a > 1", {}, None),
        ("args.a > 1", {"a": float("nan")}, None),
        ("args.a > 1", {"a": float("inf")}, None),
        ("args.a > 1", {"a": 2**63}, None),
        ("args.a > 1", {"a": 2**63 - 1}, True),
        ("args.a > 1", {"a": object()}, None),
        ("args.a > 1", {"a": 5, "b": object()}, True),
        ("args.a > 1", {"a": 5, "b": [[[[0] * 100] * 100] * 100]}, True),
        ("size(args) > 0", {"a": 5, "b": object()}, None),
        ("args.a == 'x'", {"a": "\ud800"}, None),
        ("args.a + 1 > 0", {"a": 2**63 - 1}, None),
        ("1 / args.a > 0", {"a": 0}, None),
        ("args.a", {"a": "x"}, None),
        ("args.a ? true : false", {"a": 1}, None),
        ("int(args.a) > 10", {"a": "11"}, True),
        ("int(args.a) > 10", {"a": "9" * 40}, None),
        ("args.a.exists(x, x == 'root')", {"a": ["b", "root"]}, True),
        ("args.a.exists(x, x == 'root')", {"a": "root"}, None),
        ("args.a.startsWith('x')", {"a": ["x"]}, None),
        ("args.a.matches('^x+$')", {"a": "xxx"}, True),
        ("usd(args.a, args.b) > 100.0", {"a": 8001, "b": "eur"}, True),
        ("usd(args.a, args.b) > 100.0", {"a": 8001, "b": "chf"}, None),
        ("usd(args.a, 'usd') > 100.0", {"a": 10**30}, None),
        ("usd(args.a, args.b) > 100.0", {"a": True, "b": "usd"}, None),
    ],
)
def test_arguments(source: str, args: dict[str, Any], expected: bool | None) -> None:
    assert holds(source, args=args) is expected


def test_other_facts() -> None:
    assert holds('tool == "github.repos.get" && tier == "reversible" && nature == "read" && method == "GET"') is True
    assert holds('agent == "coder" && host.endsWith(".github.com") && cost < 0.5') is True
    assert holds('labels.env == "production"') is None
    assert holds('"env" in labels && labels.env == "production"') is False
    assert holds('labels.env == "production"', labels={"env": "production"}) is True


@pytest.mark.parametrize(
    "source",
    [
        "tool ===",
        "",
        "args.a = 1",
        "tol == 'x'",
        "self.a == 1",
        "now() > 1",
        "args.a.lowerAscii() == 'a'",
        "args.a.map(x, x) == []",
        "args.a.filter(x, true) == []",
        "args.a.exists(x, args.b.exists(y, x == y))",
        "args.a.exists(args, args == 1)",
        "args.a.exists(tool, tool == 1)",
        "host.matches(args.pattern)",
        "host.matches('(')",
        "host.matches('" + "a" * 300 + "')",
        "args.a == 1 // " + "x" * 2_000,
        "|| ".join(["args.a.exists(x, x == 1)"] * 5),
        "args.a == `x`",
        "cel.bind(x, 1, x == 1)",
        "timestamp('2020-01-01T00:00:00Z') == args.a",
    ],
)
def test_refused_at_load(source: str) -> None:
    with pytest.raises(ConditionInvalid):
        Condition(source, USD)


def nested(levels: int) -> Any:
    value: Any = 1
    for _ in range(levels):
        value = [value]
    return value


HOSTILE = [
    pytest.param({"a": nested(100_000)}, id="deep list, which ends the process inside the library"),
    pytest.param({"a": {"b": nested(30)}}, id="a little too deep"),
    pytest.param({"a": ["x"] * 1_000_000}, id="long list"),
    pytest.param({"a": {str(number): number for number in range(100_000)}}, id="wide mapping"),
    pytest.param({"a": "x" * 50_000_000}, id="long text"),
    pytest.param({"a": {"x" * 1_000_000: 1}}, id="long name"),
    pytest.param({"a": 10**4_000}, id="long number"),
    pytest.param({"a": [["x" * 60_000] * 3]}, id="much text"),
]


@pytest.mark.parametrize("args", HOSTILE)
@pytest.mark.parametrize(
    "source",
    ["args.a == 'x'", "size(args.a) > 3", "size(args) > 0", "args.a.exists(x, x == 'y')", "args.a.matches('(a|b)*c$')"],
)
def test_hostile_arguments_have_no_answer_and_cost_little(source: str, args: dict[str, Any]) -> None:
    condition = Condition(source, USD)
    given = facts(args=args)
    began = time.process_time()
    with pytest.raises(NotEvaluable):
        condition.holds(given)
    assert time.process_time() - began < 0.5


def test_the_most_that_a_loop_may_see_takes_milliseconds() -> None:
    condition = Condition("args.a.exists(x, args.b.contains(x)) || args.a.exists(x, x.matches('^(a|b)+c$'))", USD)
    given = facts(args={"a": [f"{number:020}" for number in range(250)], "b": "y" * 10_000})
    began = time.process_time()
    assert condition.holds(given) is False
    assert time.process_time() - began < 0.25
