"""What each agent's calls of a model did cost lately, for budgets whose policy sets aside no more than that."""

from __future__ import annotations

from collections import OrderedDict, deque

LEAST_CALLS = 20
"""With fewer the worst case is set aside; none are known after a restart."""
LAST_CALLS = 200
MOST_REMEMBERED = 4_096
"""Pairs of agent and model."""
PERCENT = 95


class TypicalCosts:
    """The last charges of each agent and model."""

    def __init__(self) -> None:
        self._charges: OrderedDict[tuple[str, str], deque[int]] = OrderedDict()

    def add(self, agent: str, model: str, amount_nano: int) -> None:
        """Take in the charge of a call that ended."""
        charges = self._charges.setdefault((agent, model), deque(maxlen=LAST_CALLS))
        self._charges.move_to_end((agent, model))
        charges.append(amount_nano)
        if len(self._charges) > MOST_REMEMBERED:
            self._charges.popitem(last=False)

    def amount_nano(self, agent: str, model: str) -> int | None:
        """What 95 of 100 of the last calls did not exceed; None while too few are known."""
        charges = self._charges.get((agent, model), ())
        if len(charges) < LEAST_CALLS:
            return None
        return sorted(charges)[-(-len(charges) * PERCENT // 100) - 1]
