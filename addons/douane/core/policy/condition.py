"""Conditions in CEL, the Common Expression Language: compiled at load, bounded at use."""

from __future__ import annotations

import math
from collections.abc import Callable, Mapping
from decimal import Decimal
from typing import Any

import cel

from douane.core.decision import Facts
from douane.core.money import NANO_PER_USD, nano_from_usd_ceiling
from douane.core.policy.expression import VARIABLES, ConditionInvalid, Path, read

MOST_DEPTH = 16
"""The library converts by recursion in native code: deep nesting ends the process (20,000 levels did)."""
MOST_USD = 5_000_000
"""Of an amount: the register's integers end at 2⁵³ nano-dollars."""
MOST_PARTS, MOST_TEXT = 2_000, 64 * 1024
MOST_PARTS_COSTLY, MOST_TEXT_COSTLY = 256, 16 * 1024
"""Where a condition loops or matches patterns: a few milliseconds at the very worst."""

_ZERO_DECIMAL = frozenset(
    {"bif", "clp", "djf", "gnf", "isk", "jpy", "kmf", "krw", "mga"}
    | {"pyg", "rwf", "ugx", "vnd", "vuv", "xaf", "xof", "xpf"}
)
"""Currencies without a minor unit. Stripe takes ISK and UGX in hundredths all the same: read here as 100 × too much."""
_THREE_DECIMAL = frozenset({"bhd", "jod", "kwd", "omr", "tnd"})

type Usd = Callable[[Any, Any], float | None]


class NotEvaluable(Exception):
    """A condition that has no truth value for these facts."""


def usd_function(rates: Mapping[str, Decimal]) -> Usd:
    """`usd(amount, currency)`: dollars of an amount in a currency's minor unit.

    Without a rate, or for what is no amount, the answer is null, so that the comparison around it has none.
    """

    def usd(amount: Any, currency: Any) -> float | None:
        if type(amount) is not int or not isinstance(currency, str) or amount <= 0:
            return None
        code = currency.lower()
        rate = Decimal(1) if code == "usd" else rates.get(code)
        if rate is None:
            return None
        return float(amount * rate / (1 if code in _ZERO_DECIMAL else 1000 if code in _THREE_DECIMAL else 100))

    return usd


class Condition:
    """One compiled expression."""

    __slots__ = ("_arguments", "_costly", "_kinds", "_program", "_usd", "_variables", "source")

    def __init__(self, source: str, usd: Usd) -> None:
        reading = read(source)
        try:
            self._program = cel.compile(source)
        except ValueError as error:
            lines = [line.strip() for line in str(error).splitlines() if line.strip()]
            said = lines[0].partition("ERROR: <input>:")[2]
            message = f"not CEL, at {said[:160]}" if said else "not CEL"
            raise ConditionInvalid(message, "See docs/policy.md for conditions.") from None
        names = set(self._program.variables())
        if unknown := sorted(names - set(VARIABLES) - reading.bound):
            raise ConditionInvalid(f"there is no `{unknown[0]}`", f"There are: {', '.join(VARIABLES)}.")
        self._variables = frozenset(names & set(VARIABLES)) - {"args"}
        # The library's list of names has the last word: if it saw `args` where the reading did not, all is handed over.
        self._arguments = (reading.arguments or None) if "args" in names else frozenset()
        self._kinds = reading.kinds
        self._costly = reading.costly
        self._usd = usd if "usd" in reading.words else None
        self.source = source
        for pattern in reading.patterns:
            try:
                cel.compile(f'"".matches({pattern})').execute({})
            except (RuntimeError, ValueError):
                raise ConditionInvalid(f"{pattern} is no regular expression", "RE2 syntax, no look-around.") from None

    def holds(self, facts: Facts) -> bool:
        """Whether the condition is true; raises `NotEvaluable` for missing keys, mixed kinds, overflow, no boolean."""
        answer = self._answer(facts)
        if not isinstance(answer, bool):
            raise NotEvaluable("not a truth value")
        return answer

    def amount_nano(self, facts: Facts) -> int:
        """The amount of dollars that the expression comes to; raises `NotEvaluable` where it is none."""
        answer = self._answer(facts)
        if isinstance(answer, bool) or not isinstance(answer, int | float) or not 0 <= answer <= MOST_USD:
            raise NotEvaluable("not an amount of dollars")
        return nano_from_usd_ceiling(str(answer))

    def _answer(self, facts: Facts) -> Any:
        names: dict[str, Any] = {name: _FACTS[name](facts) for name in self._variables}
        if self._arguments is None or self._arguments:
            names["args"] = self._plain_arguments(facts.args)
        if self._usd is not None:
            names["usd"] = self._usd
        return _execute(self._program, names)

    def _plain_arguments(self, args: Mapping[str, Any]) -> dict[str, Any]:
        room = _Room(MOST_PARTS_COSTLY, MOST_TEXT_COSTLY) if self._costly else _Room(MOST_PARTS, MOST_TEXT)
        wanted = args if self._arguments is None else {name: args[name] for name in self._arguments if name in args}
        plain: dict[str, Any] = room.plain(wanted, 0)
        for path, kinds in self._kinds:
            found, value = _at(plain, path)
            if found and _kind(value) not in kinds:
                raise NotEvaluable(f"an argument that is a {_kind(value)}")
        return plain


def _execute(program: cel.Program, names: dict[str, Any]) -> Any:
    try:
        return program.execute(names)
    except Exception as error:  # noqa: BLE001 - whatever it is, there is no answer
        raise NotEvaluable(type(error).__name__) from None
    except BaseException as error:  # a panic of the engine is not an Exception
        if isinstance(error, KeyboardInterrupt | SystemExit | GeneratorExit):
            raise
        raise NotEvaluable("panic") from None


_FACTS: dict[str, Callable[[Facts], Any]] = {
    "tool": lambda facts: facts.tool,
    "tier": lambda facts: facts.tier.value,
    "nature": lambda facts: facts.nature.value,
    "agent": lambda facts: facts.agent,
    "labels": lambda facts: dict(facts.labels),
    "host": lambda facts: facts.host,
    "method": lambda facts: facts.method,
    "cost": lambda facts: facts.cost_nano / NANO_PER_USD,
}


class _Room:
    """How much of an agent's arguments a condition takes in."""

    __slots__ = ("parts", "text")

    def __init__(self, parts: int, text: int) -> None:
        self.parts = parts
        self.text = text

    def plain(self, value: Any, depth: int) -> Any:
        """A copy of values that CEL has; raises `NotEvaluable` for others, and for more than there is room for."""
        self.parts -= 1
        if self.parts < 0 or depth > MOST_DEPTH:
            raise NotEvaluable("arguments too large or too deep")
        if value is None or isinstance(value, bool):
            return value
        if isinstance(value, str):
            self._take(value)
            return value
        if isinstance(value, int):
            if not -(2**63) <= value < 2**63:
                raise NotEvaluable("a number out of range")
            return value
        if isinstance(value, float):
            if not math.isfinite(value):
                raise NotEvaluable("a number out of range")
            return value
        if isinstance(value, Mapping):
            found = {}
            for name, item in value.items():
                if not isinstance(name, str):
                    raise NotEvaluable("a name that is no text")
                self._take(name)
                found[name] = self.plain(item, depth + 1)
            return found
        if isinstance(value, list | tuple):
            return [self.plain(item, depth + 1) for item in value]
        raise NotEvaluable(f"a value of type {type(value).__name__}")

    def _take(self, text: str) -> None:
        self.text -= len(text)
        if self.text < 0:
            raise NotEvaluable("arguments too long")


def _at(value: Any, path: Path) -> tuple[bool, Any]:
    for name in path:
        if not isinstance(value, dict) or name not in value:
            return False, None
        value = value[name]
    return True, value


def _kind(value: Any) -> str:
    match value:
        case None:
            return "null"
        case bool():
            return "bool"
        case str():
            return "string"
        case int() | float():
            return "number"
        case _:
            return "container"
