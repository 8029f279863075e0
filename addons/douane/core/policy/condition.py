"""Conditions in CEL (the Common Expression Language), compiled at load, bounded at use."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from typing import Any

import cel

from douane.core.decision import Facts
from douane.core.money import NANO_PER_USD

VARIABLES = ("tool", "tier", "nature", "agent", "labels", "args", "host", "method", "cost")
FUNCTIONS = ("usd",)
MOST_CHARACTERS = 2_000
MOST_ARGUMENT_NODES = 5_000
"""An agent shapes the arguments: past this size a condition is not evaluated, and counts on the safe side."""

_ZERO_DECIMAL = frozenset("bif clp djf gnf jpy kmf krw mga pyg rwf ugx vnd vuv xaf xof xpf".split())
_THREE_DECIMAL = frozenset("bhd jod kwd omr tnd".split())


class ConditionInvalid(ValueError):
    """An expression that is not CEL, or asks for something there is not."""


class NotEvaluable(Exception):
    """A condition that has no truth value for these facts."""


def usd_function(rates: Mapping[str, float]) -> Callable[[Any, Any], float | None]:
    """`usd(amount, currency)`: dollars of an amount in a currency's smallest unit; nothing without a rate, so that the
    comparison around it cannot be evaluated (Stripe: zero-decimal and three-decimal currencies)."""

    def usd(amount: Any, currency: Any) -> float | None:
        if not isinstance(amount, int) or isinstance(amount, bool) or not isinstance(currency, str) or amount < 0:
            return None
        rate = 1.0 if currency == "usd" else rates.get(currency)
        if rate is None:
            return None
        return amount * rate / (1 if currency in _ZERO_DECIMAL else 1000 if currency in _THREE_DECIMAL else 100)

    return usd


class Condition:
    """One compiled expression."""

    __slots__ = ("_program", "_usd", "source")

    def __init__(self, source: str, usd: Callable[[Any, Any], float | None]) -> None:
        if len(source) > MOST_CHARACTERS:
            raise ConditionInvalid(f"the condition is over {MOST_CHARACTERS} characters")
        try:
            self._program = cel.compile(source)
            unknown = sorted(set(self._program.variables()) - set(VARIABLES) - set(FUNCTIONS))
        except ValueError as error:
            lines = [line.strip() for line in str(error).splitlines() if line.strip()]
            raise ConditionInvalid(lines[0].partition("ERROR: ")[2] or lines[0]) from None
        if unknown:
            raise ConditionInvalid(f"unknown name {', '.join(unknown)}; known are {', '.join(VARIABLES)}")
        self.source = source
        self._usd = usd

    def holds(self, facts: Facts) -> bool:
        """Whether the condition is true; raises `NotEvaluable` for missing keys, mixed types, overflow, no boolean."""
        if _too_large(facts.args, MOST_ARGUMENT_NODES) < 0:
            raise NotEvaluable("arguments too large")
        try:
            answer = self._program.execute(
                {
                    "tool": facts.tool,
                    "tier": facts.tier.value,
                    "nature": facts.nature.value,
                    "agent": facts.agent,
                    "labels": dict(facts.labels),
                    "args": dict(facts.args),
                    "host": facts.host,
                    "method": facts.method,
                    "cost": facts.cost_nano / NANO_PER_USD,
                    "usd": self._usd,
                }
            )
        except Exception as error:
            raise NotEvaluable(type(error).__name__) from None
        except BaseException as error:  # a panic of the CEL engine is not an Exception
            if isinstance(error, KeyboardInterrupt | SystemExit | GeneratorExit):
                raise
            raise NotEvaluable("panic") from None
        if not isinstance(answer, bool):
            raise NotEvaluable("not a truth value")
        return answer


def _too_large(value: Any, left: int) -> int:
    """What is left of a budget of nodes after a value; negative once it is used up."""
    left -= 1
    if isinstance(value, str):
        return left - len(value) // 64
    if isinstance(value, Mapping):
        for item in value.values():
            left = _too_large(item, left)
            if left < 0:
                return left
    elif isinstance(value, list | tuple):
        for item in value:
            left = _too_large(item, left)
            if left < 0:
                return left
    return left
