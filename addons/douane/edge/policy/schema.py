"""The keys of a policy file, typed; the source of the JSON schema that editors use.

Write the schemas anew with `python -m douane.edge.policy.schema policy/schema`.
"""

from __future__ import annotations

import json
import re
import sys
from decimal import Decimal
from pathlib import Path
from typing import Annotated, Any, Literal

from pydantic import AfterValidator, BaseModel, BeforeValidator, ConfigDict, Field, WithJsonSchema

from douane.core.decision import Limits
from douane.core.identity import canonical_host
from douane.core.money import nano_from_usd_ceiling
from douane.core.refusal import RequestAmbiguous
from douane.edge.policy.units import (
    DAY_US,
    DURATION_PATTERN,
    MINUTE_US,
    MONEY_PATTERN,
    SECOND_US,
    duration_us,
    money_nano,
    rate,
)

NAME_PATTERN = r"^[a-z0-9][a-z0-9._-]{0,63}$"
AGENT_PATTERN = r"^[A-Za-z0-9][A-Za-z0-9._@-]{0,63}$"
CODE_PATTERN = r"^[a-z][a-z0-9_]{0,63}$"
TOOL_PATTERN = r"^[A-Za-z0-9][A-Za-z0-9._:/-]{0,199}(\.\*)?$"
MOST_MONEY_NANO = nano_from_usd_ceiling(5_000_000)
"""The register's integers end at 2⁵³ nano-dollars, which is $9,007,199."""


def _matching(pattern: str, mend: str) -> Any:
    def check(text: str) -> str:
        if not re.fullmatch(pattern[1:-1], text):
            raise ValueError(f"not a valid name; {mend}")
        return text

    return AfterValidator(check)


def _duration(least_us: int, most_us: int, range_: str) -> Any:
    def check(value: Any) -> int:
        found = duration_us(value)
        if not least_us <= found <= most_us:
            raise ValueError(f"out of range; it must be {range_}")
        return found

    return BeforeValidator(check)


def _money(value: Any) -> int:
    found = money_nano(value)
    if found > MOST_MONEY_NANO:
        raise ValueError("out of range; the most is $5,000,000, or `none`")
    return found


def _host(text: str) -> str:
    suffix = text.removeprefix("*.")
    try:
        host = canonical_host(suffix)
    except RequestAmbiguous as trap:
        raise ValueError(f"not a host; {trap}") from None
    if ":" in text or "/" in text:
        raise ValueError("not a host; leave out scheme, port and path")
    return f"*.{host}" if text.startswith("*.") else host


def _reason(text: str) -> str:
    if not text.strip() or len(text) > 300 or not text.replace("\n", " ").isprintable():
        raise ValueError("not a sentence; write up to 300 printable characters")
    return text


_DURATION_SCHEMA = WithJsonSchema({"type": "string", "pattern": DURATION_PATTERN})
_MONEY_SCHEMA = WithJsonSchema({"type": "string", "pattern": MONEY_PATTERN})

Wait = Annotated[int, _duration(0, DAY_US, "from 0s to 24h"), _DURATION_SCHEMA]
Expiry = Annotated[int, _duration(SECOND_US, 365 * DAY_US, "from 1s to 365d"), _DURATION_SCHEMA]
Window = Annotated[int, _duration(MINUTE_US, 7 * DAY_US, "from 1m to 7d"), _DURATION_SCHEMA]
Money = Annotated[int, BeforeValidator(_money), _MONEY_SCHEMA]
Cap = Annotated[
    int | Literal["none"],
    BeforeValidator(lambda value: value if value == "none" else _money(value)),
    WithJsonSchema({"anyOf": [{"const": "none"}, {"type": "string", "pattern": MONEY_PATTERN}]}),
]
Rate = Annotated[Decimal, BeforeValidator(rate), WithJsonSchema({"type": ["number", "string"]})]

_DASHES = "use lower-case letters, digits, `.`, `_` and `-`"
Name = Annotated[str, _matching(NAME_PATTERN, _DASHES)]
Agent = Annotated[str, _matching(AGENT_PATTERN, "write the agent's name as in `douane agent list`")]
Code = Annotated[str, _matching(CODE_PATTERN, "use lower-case letters, digits and `_`")]
Tool = Annotated[str, _matching(TOOL_PATTERN, "write a tool, or all below a name: github.repos.delete, github.*")]
Currency = Annotated[str, _matching(r"^[a-z]{3}$", "write a currency in three lower-case letters")]
Host = Annotated[str, AfterValidator(_host)]
Reason = Annotated[str, AfterValidator(_reason)]
Count = Annotated[int, Field(ge=1, le=1_000_000)]

EffectWord = Literal["allow", "notify", "hold", "deny"]
TierWord = Literal["reversible", "visible", "irreversible"]
NatureWord = Literal[
    "read",
    "secret-read",
    "write",
    "delete",
    "unlink",
    "money",
    "send",
    "deploy",
    "permissions",
    "exec",
    "credential",
    "meta",
]
MethodWord = Literal["GET", "HEAD", "OPTIONS", "POST", "PUT", "PATCH", "DELETE"]


class Part(BaseModel):
    """A mapping of a policy file: unknown keys are mistakes, nothing is converted."""

    model_config = ConfigDict(extra="forbid", strict=True, frozen=True)


class HoldPart(Part):
    """How long a held call waits."""

    wait: Wait = Field(default=12 * SECOND_US, description="How long the connection waits for the verdict.")
    expiry: Expiry = Field(default=DAY_US, description="How long the review stays open; silence is a no.")


class TiersPart(Part):
    """What becomes of a tier's calls where no rule says more."""

    reversible: EffectWord = Field(default="allow", description="Effect of the tier reversible.")
    visible: EffectWord = Field(default="allow", description="Effect of the tier visible.")
    irreversible: Literal["hold", "deny"] = Field(default="hold", description="Effect of the tier irreversible.")


class WindowPart(Part):
    """A further cap of the same spend, over another window."""

    cap: Cap = Field(description="What may be spent in the window.")
    window: Window = Field(description="The rolling window.")


class BudgetPart(Part):
    """A rolling cap for each of some agents, or for all of them together."""

    cap: Cap = Field(description="What each agent may spend in the window, or `none`.")
    window: Window | None = Field(default=None, description="The rolling window; of the budget for all if not given.")
    wait: Wait | None = Field(default=None, description="How long a call queues behind the agent's own reservations.")
    agents: list[Agent] = Field(default=[], description="Agents by name; with neither agents nor labels: all.")
    labels: dict[str, str] = Field(default={}, description="Agents that carry all of these labels.")
    also: list[WindowPart] = Field(default=[], description="Further caps over other windows; a call has to fit all.")
    shared: Name | None = Field(default=None, description="The cap is for these agents together, under this name.")
    exempt: list[Agent] = Field(default=[], description="Agents that do not draw on a shared cap.")
    reservation: Literal["worst_case", "typical"] = Field(
        default="worst_case", description="What is set aside for a call: the most it may cost, or what it usually does."
    )
    each: Name | None = Field(default=None, description="With `counts`: each agent has such a budget, under this name.")
    tools: list[Tool] = Field(default=[], description="With `counts`: tools by name, or all below one (`stripe.*`).")
    counts: str | None = Field(default=None, description="What a call of these tools counts, in dollars: CEL.")

    @property
    def is_named(self) -> bool:
        """Whether it is an account beside what agents spend on their own."""
        return self.shared is not None or self.each is not None or self.counts is not None


_LIMITS = Limits()


class LimitPart(Part):
    """What each of some agents may take at a time."""

    agents: list[Agent] = Field(default=[], description="Agents by name; with neither agents nor labels: all.")
    labels: dict[str, str] = Field(default={}, description="Agents that carry all of these labels.")
    concurrent_calls: Count | None = Field(default=None, description=f"Calls under way; {_LIMITS.concurrent_calls}.")
    open_reviews: Count | None = Field(default=None, description=f"Reviews that are open; {_LIMITS.open_reviews}.")
    records_per_minute: Count | None = Field(default=None, description=f"Then slowed; {_LIMITS.records_per_minute}.")
    connections: Count | None = Field(default=None, description=f"Open connections; {_LIMITS.connections}.")


class DestinationsPart(Part):
    """Loopback and private addresses that agents may reach."""

    private: Literal["allow"] | list[str] = Field(
        default=[], description='"host:port", "host" or "10.0.0.0/8"; or `allow`.'
    )


class RulePart(Part):
    """One rule."""

    name: Name = Field(description="A name of its own; decisions and records carry it.")
    effect: EffectWord = Field(description="deny > hold > notify > allow.")
    tools: list[Tool] = Field(
        default=[], description="Tools by exact name, or all below one: github.*; not for an allow."
    )
    tiers: list[TierWord] = Field(default=[], description="Tiers.")
    natures: list[NatureWord] = Field(default=[], description="Natures: what the tool does.")
    agents: list[Agent] = Field(default=[], description="Agents by name.")
    labels: dict[str, str] = Field(default={}, description="Agents that carry all of these labels.")
    hosts: list[Host] = Field(default=[], description="Hosts, or all below one: *.example.com.")
    methods: list[MethodWord] = Field(default=[], description="HTTP methods.")
    when: str | None = Field(default=None, description="A condition in CEL.")
    reason: Reason | None = Field(default=None, description="A sentence for the reviewer and the agent.")
    reason_codes: list[Code] = Field(default=[], description="Codes for programs; the rule's name if not given.")
    wait: Wait | None = Field(default=None, description="As hold.wait, for this rule.")
    expiry: Expiry | None = Field(default=None, description="As hold.expiry, for this rule.")


class PolicyFile(Part):
    """A policy file. Lists of several files are joined; every other key stands in one file only."""

    version: Literal[1] = Field(default=1, description="The format's version; required in policy.yaml.")
    mode: Literal["enforce", "report"] = Field(
        default="enforce", description="report: holds and denials pass, on record."
    )
    hold: HoldPart = Field(default=HoldPart(), description="How long a held call waits.")
    tiers: TiersPart = Field(default=TiersPart(), description="Effects of the tiers.")
    unmapped: Literal["default", "hold", "deny"] = Field(
        default="default", description="Hosts the catalog does not know."
    )
    on_unpriced: Literal["deny", "assume"] = Field(default="deny", description="Model calls without a price.")
    unpriced_assumed: Money = Field(default=1_000_000_000, description="What such a call counts with `assume`; $1.")
    budgets: list[BudgetPart] = Field(default=[], description="Rolling caps.")
    limits: list[LimitPart] = Field(default=[], description="Limits of agents.")
    destinations: DestinationsPart = Field(default=DestinationsPart(), description="Private addresses.")
    rates: dict[Currency, Rate] = Field(default={}, description="Dollars for one of another currency.")
    rules: list[RulePart] = Field(default=[], description="Rules, in any order.")


class CasePart(Part):
    """A case: a call, and what it must come to."""

    call: str = Field(description="METHOD URL.")
    agent: Agent = Field(default="default", description="Who calls.")
    labels: dict[str, str] = Field(default={}, description="The agent's labels.")
    headers: dict[str, str] = Field(default={}, description="Header fields.")
    form: str | None = Field(default=None, description="A form-encoded body.")
    body: str | None = Field(default=None, alias="json", description="A JSON body.")
    cost: Money = Field(default=0, description="The call's worst-case charge.")
    effect: EffectWord | None = Field(default=None, description="The effect it must come to.")
    rule: str | None = Field(default=None, description="The rule that must decide.")
    tool: str | None = Field(default=None, description="The tool it must be.")
    tier: TierWord | None = Field(default=None, description="The tier it must have.")
    reason_codes: list[str] | None = Field(default=None, description="The reason codes it must carry.")
    refused: Literal[True] | None = Field(default=None, description="It must be refused as ambiguous.")
    cap: Cap | None = Field(default=None, description="The cap that must be in force for the agent.")


LISTS: dict[str, type[Part]] = {"budgets": BudgetPart, "limits": LimitPart, "rules": RulePart}
"""Keys whose items are checked one by one, so that a mistake in one hides none in another."""


def json_schema(part: type[Part] = PolicyFile) -> str:
    """The JSON schema of a policy file, or of a file of cases."""
    schema = part.model_json_schema()
    if part is CasePart:
        definitions = schema.pop("$defs", {})
        schema = {"type": "array", "items": schema, "$defs": definitions}
    _defaults_as_written(schema)
    schema["title"] = "Douane cases" if part is CasePart else "Douane policy"
    return json.dumps({"$schema": "https://json-schema.org/draft/2020-12/schema"} | schema, indent=2) + "\n"


def _defaults_as_written(node: Any) -> None:
    """Takes out defaults that are µs and nano-dollars here and that nobody writes so in a file."""
    if isinstance(node, dict):
        if not isinstance(node.get("default", ""), str | list):
            del node["default"]
        for child in node.values():
            _defaults_as_written(child)
    elif isinstance(node, list):
        for child in node:
            _defaults_as_written(child)


if __name__ == "__main__":
    folder = Path(sys.argv[1])
    (folder / "policy.schema.json").write_text(json_schema())
    (folder / "cases.schema.json").write_text(json_schema(CasePart))
