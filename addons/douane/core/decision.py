"""What the machine decides of a call, and the facts it decides on."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from enum import StrEnum
from typing import Any

from douane.core.tool import Nature, Tier


class Effect(StrEnum):
    """What a rule does, in rising order: of all matching rules the highest wins."""

    ALLOW = "allow"
    NOTIFY = "notify"
    HOLD = "hold"
    DENY = "deny"


@dataclass(frozen=True, slots=True)
class Principal:
    """An authenticated agent, as of now."""

    name: str
    labels: Mapping[str, str]
    cap_nano: int | None = None
    """The store's default cap (`agent add --cap`); a cap in the policy wins."""


@dataclass(frozen=True, slots=True)
class Facts:
    """All that a condition may look at."""

    tool: str
    tier: Tier
    nature: Nature
    mapped: bool
    agent: str
    labels: Mapping[str, str]
    args: Mapping[str, Any]
    host: str
    method: str
    cost_nano: int
    """Worst-case charge of the call; conditions see it as `cost`, in dollars."""
    operations: tuple[str, ...] = ()
    """All tools of a call that is several: what a rule forbids or holds is not let pass by what is beside it."""


@dataclass(frozen=True, slots=True)
class Decision:
    """A decision that explains itself."""

    effect: Effect
    rule: str
    """The deciding rule's name, or `tier.irreversible` and the like for a default."""
    reason_codes: tuple[str, ...]
    reason: str
    """A sentence for the reviewer: why the policy fired."""
    enforced: bool = True
    """False in report mode where a rule's hold or denial was let pass."""
    unevaluable: tuple[str, ...] = ()
    """Rules whose condition could not be evaluated, and so counted on the safe side."""
    hold_wait_us: int = 12_000_000
    """How long the connection waits for the verdict."""
    expires_us: int = 86_400_000_000
    """How long a review stays open."""


@dataclass(frozen=True, slots=True)
class Budget:
    """A rolling cap in force for one agent."""

    cap_nano: int | None
    """None: not capped."""
    window_us: int = 86_400_000_000
    wait_us: int = 30_000_000
    """How long a call queues for the agent's own reservations without any of them settling."""
    source: str = "default"
    """Where the cap comes from: `policy FILE:LINE`, `agent`, `default`."""
    account: str | None = None
    """Whose spend it caps: `@NAME` of a budget that agents share; None: the agent's own."""
    typical: bool = False
    """Set aside what the agent's calls of a model usually cost, not the most that they may: the cap can be overrun."""
    amount_nano: int | None = None
    """What a call counts against it, whatever it costs; None: its cost."""
    further: tuple[Budget, ...] = ()
    """More that a call has to fit: other windows of the same agent, and budgets that it shares."""

    @property
    def caps(self) -> tuple[Budget, ...]:
        """Every cap that holds, this one's first."""
        if not self.further:
            return (self,) if self.cap_nano is not None else ()
        return tuple(budget for budget in (self, *self.further) if budget.cap_nano is not None)

    @property
    def accounts(self) -> dict[str, int | None]:
        """The accounts that a call is booked to besides its agent's, each with what counts there if not its cost."""
        return {budget.account: budget.amount_nano for budget in self.further if budget.account is not None}


@dataclass(frozen=True, slots=True)
class Limits:
    """What one agent may take at a time."""

    concurrent_calls: int = 256
    open_reviews: int = 20
    records_per_minute: int = 600
    connections: int = 256
