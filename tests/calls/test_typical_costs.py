"""What calls usually cost: the 95th percentile of the last ones, once enough are known."""

from __future__ import annotations

from douane.calls.typical import LAST_CALLS, LEAST_CALLS, MOST_REMEMBERED, TypicalCosts


def of(amounts: list[int]) -> int | None:
    costs = TypicalCosts()
    for amount in amounts:
        costs.add("coder", "m", amount)
    return costs.amount_nano("coder", "m")


def test_too_few_calls_say_nothing() -> None:
    assert of([]) is None
    assert of([5] * (LEAST_CALLS - 1)) is None
    assert of([5] * LEAST_CALLS) == 5


def test_95_of_100_calls_did_not_cost_more() -> None:
    assert of(list(range(1, 101))) == 95
    assert of(list(range(100, 0, -1))) == 95
    assert of([1] * 19 + [1_000]) == 1
    assert of([1] * 18 + [1_000] * 2) == 1_000


def test_only_the_last_calls_count() -> None:
    assert of([1_000] * LAST_CALLS + [1] * LAST_CALLS) == 1


def test_agents_and_models_are_told_apart_and_the_longest_unused_are_forgotten() -> None:
    costs = TypicalCosts()
    for _ in range(LEAST_CALLS):
        costs.add("one", "m", 7)
    assert costs.amount_nano("two", "m") is None
    assert costs.amount_nano("one", "n") is None
    for number in range(MOST_REMEMBERED):
        costs.add("many", str(number), 1)
    assert costs.amount_nano("one", "m") is None
