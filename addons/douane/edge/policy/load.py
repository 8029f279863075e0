"""Read a policy folder into a policy in force, or say everything that is wrong with it.

A folder is `policy.yaml`, further `*.yaml` beside it whose lists are joined, `catalog/` and `prices/` with overlays
(read by their own loaders), `cases/` and `schema/`. Everything but cases and schema is in the bundle that is recorded.
"""

from __future__ import annotations

import ipaddress
import json
import re
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, replace
from decimal import Decimal
from pathlib import Path
from typing import Any

import blake3

from douane.core.decision import Budget, Effect, Limits
from douane.core.identity import canonical_authority, canonical_host
from douane.core.policy import (
    DEFAULT_BUDGET,
    BudgetRule,
    Condition,
    CountRule,
    LimitRule,
    Names,
    Policy,
    Rule,
    Selectors,
    Settings,
    Whom,
)
from douane.core.refusal import RequestAmbiguous
from douane.core.tool import Nature, Tier
from douane.edge.policy.checks import check
from douane.edge.policy.read import PolicyPart, conditions, read_file
from douane.edge.policy.schema import BudgetPart, DestinationsPart, HoldPart, LimitPart, RulePart, TiersPart
from douane.edge.yaml import Problem, load_yaml

MAIN = "policy.yaml"
NOT_READ = frozenset({"cases", "schema"})
OVERLAYS = frozenset({"catalog", "prices"})
MOST_FILES = 200


class PolicyInvalid(Exception):
    """A policy that takes no force; `problems` has every mistake."""

    def __init__(self, problems: tuple[Problem, ...]) -> None:
        super().__init__("\n".join(str(problem) for problem in problems))
        self.problems = problems


@dataclass(frozen=True, slots=True)
class NamedTool:
    """A tool that a rule names, and where."""

    tool: str
    effect: Effect
    file: str
    line: int


type Conditions = Mapping[tuple[str, int], Condition]


@dataclass(frozen=True, slots=True)
class LoadedPolicy:
    """A policy, and the texts that it was read from."""

    policy: Policy
    text: str
    """A JSON object of relative path → text: policy files and overlays, without the cases."""
    digest: str
    named: tuple[NamedTool, ...] = ()


def load_policy(directory: Path) -> LoadedPolicy:
    """Read the policy of a folder; raises `PolicyInvalid` with every mistake."""
    if not (directory / MAIN).is_file():
        problem = Problem(str(directory / MAIN), 1, "there is no policy here", "Name its folder with --policy DIR.")
        raise PolicyInvalid((problem,))
    texts: dict[str, str] = {}
    problems: list[Problem] = []
    for file in sorted(directory.rglob("*.y*ml")):
        name = file.relative_to(directory).as_posix()
        folder = name.rpartition("/")[0]
        if name.partition("/")[0] in NOT_READ or name == "catalog/reviewed.yaml" or "/." in f"/{name}":
            continue  # reviewed.yaml: the shipped judgements, which the catalog holds already
        if file.suffix != ".yaml" or (folder and folder not in OVERLAYS):
            mend = "Name it *.yaml, beside policy.yaml."
            problems.append(Problem(str(file), 1, "the file would not be read", mend))
            continue
        try:
            texts[name] = file.read_text(encoding="utf-8")
        except (OSError, UnicodeDecodeError):
            problems.append(Problem(str(file), 1, "the file cannot be read", "It must be readable UTF-8."))
    if len(texts) > MOST_FILES:
        problems.append(Problem(str(directory), 1, f"over {MOST_FILES} files", "Join some."))
    return _loaded(json.dumps(texts, sort_keys=True), texts, directory, problems)


def policy_from_text(text: str) -> LoadedPolicy:
    """Read a recorded bundle; raises `PolicyInvalid`."""
    try:
        texts = json.loads(text)
    except ValueError:
        texts = None
    if not isinstance(texts, dict) or not all(isinstance(found, str) for found in texts.values()) or MAIN not in texts:
        raise PolicyInvalid((Problem("<bundle>", 1, "not a policy bundle", "Apply the policy anew."),))
    return _loaded(text, texts, None, [])


def _loaded(text: str, texts: dict[str, str], directory: Path | None, problems: list[Problem]) -> LoadedPolicy:
    digest = blake3.blake3(text.encode()).hexdigest()
    parts = [
        read_file(load_yaml(content, str(directory / name) if directory else name), main=name == MAIN)
        for name, content in sorted(texts.items())
        if "/" not in name
    ]
    rates: dict[str, Decimal] = {}
    for part in parts:
        rates |= part.settings.get("rates", {})
    compiled = [conditions(part, rates) for part in parts]
    problems += [problem for part in parts for problem in part.problems]
    problems += check(parts)
    hosts, networks = _destinations(parts, problems)
    if problems:
        raise PolicyInvalid(tuple(sorted(set(problems))))
    settings = _settings(parts, compiled, rates, hosts, networks)
    rules = [
        _rule(rule, found.get(("rules", index)), part, index)
        for part, found in zip(parts, compiled, strict=True)
        for index, rule in part.items["rules"].items()
    ]
    return LoadedPolicy(Policy(digest, settings, rules), text, digest, tuple(_named(parts)))


def _setting(parts: list[PolicyPart], key: str, default: Any) -> Any:
    return next((part.settings[key] for part in parts if key in part.settings), default)


def _settings(
    parts: list[PolicyPart],
    compiled: Sequence[Conditions],
    rates: dict[str, Decimal],
    hosts: frozenset[tuple[str, int | None]],
    networks: tuple[ipaddress.IPv4Network | ipaddress.IPv6Network, ...],
) -> Settings:
    hold: HoldPart = _setting(parts, "hold", HoldPart())
    tiers: TiersPart = _setting(parts, "tiers", TiersPart())
    destinations: DestinationsPart = _setting(parts, "destinations", DestinationsPart())
    plain = Settings()
    return Settings(
        mode=_setting(parts, "mode", plain.mode),
        tiers=tuple((tier, Effect(getattr(tiers, tier.value))) for tier in Tier),
        unmapped=_setting(parts, "unmapped", plain.unmapped),
        hold_wait_us=hold.wait,
        expires_us=hold.expiry,
        on_unpriced=_setting(parts, "on_unpriced", plain.on_unpriced),
        unpriced_assumed_nano=_setting(parts, "unpriced_assumed", plain.unpriced_assumed_nano),
        budgets=tuple(_budgets(parts)),
        counts=tuple(_counts(parts, compiled)),
        limits=tuple(_limits(parts)),
        private_destinations="allow" if destinations.private == "allow" else "listed",
        private_hosts=hosts,
        private_networks=networks,
        rates=tuple(sorted((code, str(rate)) for code, rate in rates.items())),
    )


def _budgets(parts: list[PolicyPart]) -> Iterator[BudgetRule]:
    listed = [(part, index, budget) for part in parts for index, budget in part.items["budgets"].items()]
    general = _general(parts)
    for part, index, budget in listed:
        if budget.counts is not None:
            continue
        caps = _caps(part, index, budget, general)
        if budget.shared is None:
            own = replace(caps[0], typical=budget.reservation == "typical", further=tuple(caps[1:]))
            yield BudgetRule(own, _whom(budget))
        else:
            for cap in caps:
                yield BudgetRule(replace(cap, account=f"@{budget.shared}"), _whom(budget), frozenset(budget.exempt))
    if general is None:
        yield BudgetRule(DEFAULT_BUDGET)


def _general(parts: list[PolicyPart]) -> BudgetPart | None:
    """The budget of each agent that has none closer to it."""
    listed: list[BudgetPart] = [budget for part in parts for budget in part.items["budgets"].values()]
    return next((budget for budget in listed if not (budget.agents or budget.labels or budget.is_named)), None)


def _caps(part: PolicyPart, index: int, budget: BudgetPart, general: BudgetPart | None) -> list[Budget]:
    """A budget's cap and those over further windows."""
    window_us = general.window if general and general.window is not None else DEFAULT_BUDGET.window_us
    wait_us = general.wait if general and general.wait is not None else DEFAULT_BUDGET.wait_us
    wait = wait_us if budget.wait is None else budget.wait
    return [
        Budget(None if cap == "none" else cap, window, wait, f"policy {_place(part, ('budgets', index))}")
        for cap, window in (
            (budget.cap, window_us if budget.window is None else budget.window),
            *((also.cap, also.window) for also in budget.also),
        )
    ]


def _counts(parts: list[PolicyPart], compiled: Sequence[Conditions]) -> Iterator[CountRule]:
    general = _general(parts)
    for part, expressions in zip(parts, compiled, strict=True):
        for index, budget in part.items["budgets"].items():
            name = budget.each or budget.shared
            if budget.counts is None or name is None:
                continue
            yield CountRule(
                name,
                tuple(_caps(part, index, budget, general)),
                _tools([tool.lower() for tool in budget.tools]),
                expressions["budgets", index],
                budget.each is not None,
                _whom(budget),
                frozenset(budget.exempt),
            )


def _limits(parts: list[PolicyPart]) -> Iterator[LimitRule]:
    listed: list[LimitPart] = [limit for part in parts for limit in part.items["limits"].values()]
    general = next((limit for limit in listed if not limit.agents and not limit.labels), LimitPart())
    plain = Limits()
    for limit in [*listed, *([] if general in listed else [general])]:

        def of(key: str, limit: LimitPart = limit) -> int:
            own, common = getattr(limit, key), getattr(general, key)
            return int(getattr(plain, key) if common is None else common) if own is None else int(own)

        yield LimitRule(
            Limits(of("concurrent_calls"), of("open_reviews"), of("records_per_minute"), of("connections")),
            _whom(limit),
        )


def _whom(part: BudgetPart | LimitPart) -> Whom:
    return Whom(frozenset(part.agents), tuple(sorted(part.labels.items())))


def _place(part: PolicyPart, path: tuple[str | int, ...]) -> str:
    return f"{Path(part.document.file).name}:{part.document.line(path)}"


def _rule(found: RulePart, condition: Condition | None, part: PolicyPart, index: int) -> Rule:
    raises = found.effect != "allow"
    tools = [tool.lower() if raises else tool for tool in found.tools]
    return Rule(
        name=found.name,
        effect=Effect(found.effect),
        selectors=Selectors(
            tools=_tools(tools),
            tiers=frozenset(Tier(tier) for tier in found.tiers),
            natures=frozenset(Nature(nature) for nature in found.natures),
            agents=frozenset(found.agents),
            labels=tuple(sorted(found.labels.items())),
            hosts=Names(
                frozenset(host for host in found.hosts if not host.startswith("*")),
                suffixes=tuple(sorted(host[1:] for host in found.hosts if host.startswith("*"))),
            ),
            methods=frozenset(found.methods),
        ),
        condition=condition,
        reason=_sentence(found.reason or f"the rule {found.name} says {found.effect}"),
        reason_codes=tuple(dict.fromkeys(found.reason_codes)) or (re.sub(r"[.-]", "_", found.name),),
        wait_us=found.wait,
        expires_us=found.expiry,
        place=_place(part, ("rules", index)),
    )


def _tools(tools: list[str]) -> Names:
    return Names(
        frozenset(tool for tool in tools if not tool.endswith("*")),
        prefixes=tuple(sorted(tool[:-1] for tool in tools if tool.endswith("*"))),
    )


def _sentence(text: str) -> str:
    text = " ".join(text.split())
    return text[:1].upper() + text[1:] + ("" if text[-1] in ".!?" else ".")


def _named(parts: list[PolicyPart]) -> Iterator[NamedTool]:
    for part in parts:
        for index, rule in part.items["rules"].items():
            for place, tool in enumerate(rule.tools):
                line = part.document.line(("rules", index, "tools", place))
                yield NamedTool(tool, Effect(rule.effect), part.document.file, line)
        for index, budget in part.items["budgets"].items():
            for place, tool in enumerate(budget.tools):
                line = part.document.line(("budgets", index, "tools", place))
                yield NamedTool(tool, Effect.ALLOW, part.document.file, line)


def _destinations(
    parts: list[PolicyPart], problems: list[Problem]
) -> tuple[frozenset[tuple[str, int | None]], tuple[ipaddress.IPv4Network | ipaddress.IPv6Network, ...]]:
    hosts: set[tuple[str, int | None]] = set()
    networks: list[ipaddress.IPv4Network | ipaddress.IPv6Network] = []
    for part in parts:
        found: DestinationsPart = part.settings.get("destinations", DestinationsPart())
        for index, text in enumerate([] if found.private == "allow" else found.private):
            try:
                if "/" in text:
                    networks.append(ipaddress.ip_network(text))
                elif re.search(r"(^[^:]+|\]):[0-9]+$", text):
                    hosts.add(canonical_authority(text, "https"))
                else:
                    hosts.add((canonical_host(text), None))
            except (ValueError, RequestAmbiguous):
                path = ("destinations", "private", index)
                mend = 'Write "host:port", "host" or "10.0.0.0/8".'
                problems.append(part.document.problem(path, f"`{text}` is no destination", mend))
    return frozenset(hosts), tuple(networks)
