"""Read a policy folder: typed, all mistakes at once, each with file, line and mend."""

from __future__ import annotations

import difflib
import ipaddress
import json
import re
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Annotated, Any, Literal

import blake3
from pydantic import BaseModel, BeforeValidator, ConfigDict, Field, ValidationError

from douane.core.catalog import Catalog
from douane.core.decision import Budget, Decision, Effect, Facts, Limits
from douane.core.identity import canonical_authority, canonical_host
from douane.core.money import nano_from_usd_ceiling
from douane.core.policy import BudgetRule, Condition, ConditionInvalid, LimitRule, Policy, Rule, Selectors, usd_function
from douane.core.refusal import RequestAmbiguous
from douane.core.request import RawRequest, canonicalise
from douane.core.tool import Classification, Nature, Tier
from douane.edge.yaml import Document, Problem, load_yaml

_UNITS = {"ms": 1_000, "s": 1_000_000, "m": 60_000_000, "h": 3_600_000_000, "d": 86_400_000_000}
_NAME = re.compile(r"[a-z0-9][a-z0-9._-]{0,63}")


class PolicyInvalid(Exception):
    """A policy that takes no force; `problems` has every mistake."""

    def __init__(self, problems: tuple[Problem, ...]) -> None:
        super().__init__("\n".join(str(problem) for problem in problems))
        self.problems = problems


def parse_duration_us(value: Any) -> int:
    """`12s`, `1m`, `24h`, `7d` in µs; raises `ValueError`."""
    match = re.fullmatch(r"([0-9]{1,6})\s*(ms|s|m|h|d)", value) if isinstance(value, str) else None
    if match is None:
        raise ValueError("not a duration; write 12s, 1m, 24h or 7d")
    return int(match[1]) * _UNITS[match[2]]


def parse_money_nano(value: Any) -> int:
    """`$50`, `$0.05` or `50 USD` in nano-dollars; raises `ValueError`."""
    match = re.fullmatch(r"\$\s*([0-9][0-9,]*(?:\.[0-9]{1,9})?)|([0-9][0-9,]*(?:\.[0-9]{1,9})?)\s*USD", str(value))
    if match is None or isinstance(value, bool):
        raise ValueError("not an amount of money; write $50 or $0.05")
    return nano_from_usd_ceiling((match[1] or match[2]).replace(",", ""))


def _cap(value: Any) -> int | None:
    return None if value == "none" else parse_money_nano(value)


def _name(value: Any) -> Any:
    if isinstance(value, str) and not _NAME.fullmatch(value):
        raise ValueError("not a name; use lower-case letters, digits, `.`, `_` and `-`")
    return value


Duration = Annotated[int, BeforeValidator(parse_duration_us)]
Money = Annotated[int, BeforeValidator(parse_money_nano)]
Cap = Annotated[int | None, BeforeValidator(_cap)]
Name = Annotated[str, BeforeValidator(_name)]


class _Part(BaseModel):
    model_config = ConfigDict(extra="forbid", strict=True, frozen=True)


class HoldPart(_Part):
    """How long a held call waits."""

    wait: Duration = 12_000_000
    expiry: Duration = 86_400_000_000


class BudgetPart(_Part):
    """One budget."""

    cap: Cap
    window: Duration = 86_400_000_000
    wait: Duration = 30_000_000
    agents: list[Name] = []
    labels: dict[str, str] = {}


class LimitPart(_Part):
    """Limits of one agent, or of all."""

    agents: list[Name] = []
    concurrent_calls: Annotated[int, Field(ge=1, le=10_000)] = Limits().concurrent_calls
    open_reviews: Annotated[int, Field(ge=1, le=10_000)] = Limits().open_reviews
    records_per_minute: Annotated[int, Field(ge=1, le=1_000_000)] = Limits().records_per_minute
    connections: Annotated[int, Field(ge=1, le=10_000)] = Limits().connections


class DestinationsPart(_Part):
    """Private addresses that agents may reach."""

    private: Literal["allow"] | list[str] = []


class TiersPart(_Part):
    """What becomes of a tier's calls where no rule says more."""

    reversible: Literal["allow", "notify", "hold", "deny"] = "allow"
    visible: Literal["allow", "notify", "hold", "deny"] = "allow"
    irreversible: Literal["allow", "notify", "hold", "deny"] = "hold"


class RulePart(_Part):
    """One rule."""

    name: Name
    effect: Literal["allow", "notify", "hold", "deny"]
    tools: list[str] = []
    tiers: list[Literal["reversible", "visible", "irreversible"]] = []
    natures: list[str] = []
    agents: list[Name] = []
    labels: dict[str, str] = {}
    hosts: list[str] = []
    methods: list[Literal["GET", "HEAD", "OPTIONS", "POST", "PUT", "PATCH", "DELETE"]] = []
    when: str | None = None
    reason: str = ""
    reason_codes: list[Name] = []
    wait: Duration | None = None
    expiry: Duration | None = None


class PolicyFile(_Part):
    """A policy file."""

    version: Literal[1]
    mode: Literal["enforce", "report"] = "enforce"
    hold: HoldPart = HoldPart()
    unmapped: Literal["default", "hold", "deny"] = "default"
    on_unpriced: Literal["deny", "assume"] = "deny"
    unpriced_assumed: Money = 1_000_000_000
    budgets: list[BudgetPart] = []
    limits: list[LimitPart] = []
    destinations: DestinationsPart = DestinationsPart()
    tiers: TiersPart = TiersPart()
    rates: dict[str, float] = {}
    rules: list[RulePart] = []


DEFAULT_BUDGET = Budget(50_000_000_000, source="default")
"""The guide's: $50 per rolling 24 h. In force where a policy has no budget for all agents."""


@dataclass(frozen=True, slots=True)
class LoadedPolicy:
    """A policy, and the texts that it was read from."""

    policy: Policy
    text: str
    """A JSON object of relative path → text: policy, catalog overlay and price overlay, without the cases."""
    digest: str


@dataclass(frozen=True, slots=True)
class CaseFailure:
    """A case that the policy does not meet."""

    file: str
    line: int
    call: str
    message: str

    def __str__(self) -> str:
        return f"{self.file}:{self.line}: {self.call}: {self.message}"


def load_policy(directory: Path) -> LoadedPolicy:
    """Read the policy of a folder; raises `PolicyInvalid` with every mistake."""
    if not (directory / "policy.yaml").is_file():
        raise PolicyInvalid(
            (Problem(str(directory / "policy.yaml"), 1, "there is no policy here", "Name its folder with --policy DIR."),)
        )
    texts: dict[str, str] = {}
    problems: list[Problem] = []
    for file in sorted([*directory.glob("*.yaml"), *directory.glob("catalog/*.yaml"), *directory.glob("prices/*.yaml")]):
        name = file.relative_to(directory).as_posix()
        if name == "catalog/reviewed.yaml":
            continue
        try:
            texts[name] = file.read_text(encoding="utf-8")
        except (OSError, UnicodeDecodeError):
            problems.append(Problem(str(file), 1, "the file cannot be read", "It must be readable UTF-8."))
    if problems:
        raise PolicyInvalid(tuple(problems))
    return policy_from_text(json.dumps(texts, sort_keys=True), directory)


def policy_from_text(text: str, directory: Path | None = None) -> LoadedPolicy:
    """Read a policy bundle; raises `PolicyInvalid`."""
    texts = json.loads(text)
    digest = blake3.blake3(text.encode()).hexdigest()
    name = str(directory / "policy.yaml") if directory else "policy.yaml"
    document = load_yaml(texts["policy.yaml"], name)
    problems = list(document.problems)
    policy = None
    if document.value is not None or not problems:
        policy = _compile(document, digest, problems)
    for other in texts:
        if "/" not in other and other != "policy.yaml":
            place = str(directory / other) if directory else other
            problems.append(Problem(place, 1, "only policy.yaml is read here", "Move the rules into it, or the file away."))
    if problems or policy is None:
        raise PolicyInvalid(tuple(sorted(set(problems))))
    return LoadedPolicy(policy, text, digest)


def _compile(document: Document, digest: str, problems: list[Problem]) -> Policy | None:
    if not isinstance(document.value, dict):
        problems.append(document.problem((), "a policy is a mapping", "Begin with `version: 1`."))
        return None
    part = None
    try:
        part = PolicyFile.model_validate(document.value)
    except ValidationError as invalid:
        problems += [_problem(document, error) for error in invalid.errors()]
    # Conditions are checked even where something else is wrong: all mistakes at once.
    rates = document.value.get("rates")
    usd = usd_function({k: float(v) for k, v in rates.items() if isinstance(v, int | float)} if isinstance(rates, dict) else {})
    conditions: dict[int, Condition] = {}
    listed = document.value.get("rules")
    for index, rule in enumerate(listed if isinstance(listed, list) else ()):
        if isinstance(rule, dict) and isinstance(rule.get("when"), str):
            try:
                conditions[index] = Condition(rule["when"], usd)
            except ConditionInvalid as invalid:
                mend = "See docs/policy.md for what a condition may look at."
                problems.append(document.problem(("rules", index, "when"), f"the condition is not valid: {invalid}", mend))
    if part is None:
        return None
    _check(document, part, problems)
    if problems:
        return None
    destinations = part.destinations.private
    hosts, networks = _destinations(document, [] if destinations == "allow" else destinations, problems)
    return Policy(
        digest=digest,
        rules=tuple(_rule(rule, conditions.get(index)) for index, rule in enumerate(part.rules)),
        tiers={tier: Effect(getattr(part.tiers, tier.value)) for tier in Tier},
        unmapped=part.unmapped,
        mode=part.mode,
        on_unpriced=part.on_unpriced,
        unpriced_assumed_nano=part.unpriced_assumed,
        budgets=_budgets(document, part),
        limit_rules=tuple(
            LimitRule(
                Limits(found.concurrent_calls, found.open_reviews, found.records_per_minute, found.connections),
                frozenset(found.agents),
            )
            for found in part.limits
        ),
        wait_us=part.hold.wait,
        expires_us=part.hold.expiry,
        private_destinations="allow" if destinations == "allow" else "listed",
        private_hosts=frozenset(hosts),
        private_networks=tuple(networks),
    )


def _problem(document: Document, error: Any) -> Problem:
    # pydantic adds names of union members to a path; the document knows only keys and indices.
    path: tuple[str | int, ...] = ()
    for step in error["loc"]:
        if (*path, step) in document.lines:
            path = (*path, step)
    kind, message, mend = error["type"], error["msg"], ""
    if kind == "extra_forbidden":
        known = _keys_at(error["loc"][:-1])
        close = difflib.get_close_matches(str(error["loc"][-1]), known, 1)
        message = f"unknown key `{error['loc'][-1]}`"
        mend = f"Did you mean `{close[0]}`?" if close else f"Known keys: {', '.join(known)}."
    elif kind == "missing":
        message, mend = f"`{error['loc'][-1]}` is missing", "Add it."
    elif kind == "literal_error":
        message = f"`{error['input']}` is not one of {error['ctx']['expected']}"
        close = difflib.get_close_matches(str(error["input"]), re.findall(r"'([^']+)'", error["ctx"]["expected"]), 1)
        mend = f"Did you mean `{close[0]}`?" if close else "Choose one of them."
    elif kind == "value_error":
        said, _, how = message.removeprefix("Value error, ").partition("; ")
        message, mend = f"`{error['input']}` is {said}", how[:1].upper() + how[1:] + "." if how else ""
    else:
        message = f"{message[:1].lower()}{message[1:]}"
        mend = "Quote it if it is meant as text." if "string" in message else "See docs/policy.md."
    return document.problem(path, message, mend)


_PARTS: dict[str, type[_Part]] = {
    "hold": HoldPart,
    "budgets": BudgetPart,
    "limits": LimitPart,
    "destinations": DestinationsPart,
    "tiers": TiersPart,
    "rules": RulePart,
}


def _keys_at(path: tuple[str | int, ...]) -> list[str]:
    part = _PARTS.get(str(path[0])) if path else PolicyFile
    return list(part.model_fields) if part else []


def _check(document: Document, part: PolicyFile, problems: list[Problem]) -> None:
    """What pydantic cannot see: duplicates, contradictions, ranges, names that nothing has."""
    names: dict[str, int] = {}
    for index, rule in enumerate(part.rules):
        path = ("rules", index)
        if rule.name in names:
            first = document.line(("rules", names[rule.name]))
            problems.append(document.problem(path, f"the rule `{rule.name}` stands twice", f"It stands first in line {first}."))
        names.setdefault(rule.name, index)
        if rule.name.startswith(("tier.", "unmapped.")):
            problems.append(document.problem(path, f"`{rule.name}` is a name of the defaults", "Choose another."))
        for place, nature in enumerate(rule.natures):
            if nature not in {n.value for n in Nature}:
                known = ", ".join(n.value for n in Nature)
                problems.append(document.problem((*path, "natures", place), f"unknown nature `{nature}`", f"Known: {known}."))
        for place, tool in enumerate(rule.tools):
            at = (*path, "tools", place)
            if "*" in tool and not re.fullmatch(r"[a-z0-9_.-]+\.\*", tool):
                problems.append(document.problem(at, f"`{tool}` is no pattern", "Only a whole prefix: `github.*`."))
            elif "*" in tool and rule.effect == "allow":
                mend = "List the tools one by one: an allow lowers a tier only for a tool that it names."
                problems.append(document.problem(at, f"an allow with the pattern `{tool}`", mend))
        if rule.effect == "allow" and not rule.tools:
            problems.append(document.problem(path, "an allow that names no tool", "List its tools by their exact names."))
        if rule.effect != "hold" and (rule.wait is not None or rule.expiry is not None):
            problems.append(document.problem(path, "wait and expiry are only for a hold", "Leave them out."))
        if rule.expiry is not None:
            _expiry(document, (*path, "expiry"), rule.expiry, problems)
        _wait(document, (*path, "wait"), rule.wait or 0, problems)
    _expiry(document, ("hold", "expiry"), part.hold.expiry, problems)
    _wait(document, ("hold", "wait"), part.hold.wait, problems)
    seen: dict[tuple[Any, ...], int] = {}
    for index, budget in enumerate(part.budgets):
        path = ("budgets", index)
        if not 60_000_000 <= budget.window <= 7 * 86_400_000_000:
            problems.append(document.problem((*path, "window"), "a window is from 1m to 7d", "Write 24h, for example."))
        if budget.agents and budget.labels:
            problems.append(document.problem(path, "a budget is by agents or by labels", "Make two budgets of it."))
        for key in [("agent", a) for a in budget.agents] or [tuple(sorted(budget.labels.items()))]:
            if key in seen:
                whom = f"agent `{key[1]}`" if key and key[0] == "agent" else "the same labels" if key else "all agents"
                first = document.line(("budgets", seen[key]))
                problems.append(document.problem(path, f"a second budget for {whom}", f"The first is in line {first}."))
            seen.setdefault(key, index)
    for code, rate in part.rates.items():
        if not re.fullmatch(r"[a-z]{3}", code) or not 0 < rate < 1e6:
            problems.append(document.problem(("rates", code), f"`{code}: {rate}` is no rate", "rates: {eur: 1.08}"))
    private = part.destinations.private
    _destinations(document, [] if private == "allow" else private, problems)


def _expiry(document: Document, path: tuple[str | int, ...], expiry_us: int, problems: list[Problem]) -> None:
    if not 1_000_000 <= expiry_us <= 365 * 86_400_000_000:
        problems.append(document.problem(path, "an expiry is from 1s to 365d", "Write 24h, for example."))


def _wait(document: Document, path: tuple[str | int, ...], wait_us: int, problems: list[Problem]) -> None:
    if wait_us > 86_400_000_000:
        problems.append(document.problem(path, "a wait is at most 24h", "Write 12s, for example."))


def _destinations(
    document: Document, listed: list[str], problems: list[Problem]
) -> tuple[list[tuple[str, int | None]], list[ipaddress.IPv4Network | ipaddress.IPv6Network]]:
    hosts: list[tuple[str, int | None]] = []
    networks: list[ipaddress.IPv4Network | ipaddress.IPv6Network] = []
    for index, text in enumerate(listed):
        try:
            if "/" in text:
                networks.append(ipaddress.ip_network(text))
            elif re.search(r":[0-9]+$", text):
                hosts.append(canonical_authority(text, "https"))
            else:
                hosts.append((canonical_host(text), None))
        except (ValueError, RequestAmbiguous):
            mend = 'Write "host:port", "host" or "10.0.0.0/8".'
            problems.append(document.problem(("destinations", "private", index), f"`{text}` is no destination", mend))
    return hosts, networks


def _rule(part: RulePart, condition: Condition | None) -> Rule:
    return Rule(
        name=part.name,
        effect=Effect(part.effect),
        selectors=Selectors(
            tools=frozenset(tool for tool in part.tools if "*" not in tool),
            tool_prefixes=tuple(tool[:-1] for tool in part.tools if "*" in tool),
            tiers=frozenset(part.tiers),
            natures=frozenset(part.natures),
            agents=frozenset(part.agents),
            labels=tuple(part.labels.items()),
            hosts=frozenset(canonical_host(host) for host in part.hosts),
            methods=frozenset(part.methods),
        ),
        condition=condition,
        reason=part.reason or f"the rule {part.name}",
        reason_codes=tuple(part.reason_codes) or (part.name,),
        wait_us=part.wait,
        expires_us=part.expiry,
    )


def _budgets(document: Document, part: PolicyFile) -> tuple[BudgetRule, ...]:
    found = [
        BudgetRule(
            Budget(
                budget.cap,
                budget.window,
                budget.wait,
                f"policy {Path(document.file).name}:{document.line(('budgets', index))}",
            ),
            frozenset(budget.agents),
            tuple(budget.labels.items()),
        )
        for index, budget in enumerate(part.budgets)
    ]
    if not any(not rule.agents and not rule.labels for rule in found):
        found.append(BudgetRule(DEFAULT_BUDGET))
    return tuple(found)


# cases


def raw_request_of(method: str, url: str, headers: list[tuple[str, str]], body: bytes) -> RawRequest:
    """A request as a client would send it, for explaining and for cases; raises `RequestAmbiguous`, `ValueError`."""
    match = re.fullmatch(r"(https?)://([^/?#\s]+)(/[^\s#]*|\?[^\s#]*)?", url)
    if match is None:
        raise ValueError("not an http or https URL")
    host, port = canonical_authority(match[2], match[1])
    target = match[3] or "/"
    target = target if target.startswith("/") else f"/{target}"
    fields = [(b"Host", match[2].encode())] + [(name.encode(), value.encode()) for name, value in headers]
    return RawRequest(match[1], host, port, method, target.encode("ascii"), tuple(fields), body)


def explain(
    policy: Policy, catalog: Catalog, raw: RawRequest, agent: str, labels: Mapping[str, str], cost_nano: int = 0
) -> tuple[Classification, Decision]:
    """What a request would come to; raises `RequestAmbiguous`."""
    request = canonicalise(raw)
    found = catalog.classify(request)
    facts = Facts(
        tool=found.tool,
        tier=found.tier,
        nature=found.nature,
        mapped=found.mapped,
        agent=agent,
        labels=labels,
        args=found.arguments,
        host=request.host,
        method=request.method,
        cost_nano=cost_nano,
    )
    return found, policy.decide(facts)


_CASE_KEYS = {"call", "agent", "labels", "form", "json", "headers", "effect", "rule", "tool", "tier", "refused"}


def run_cases(loaded: LoadedPolicy, catalog: Catalog, directory: Path) -> list[CaseFailure]:
    """Run `cases/*.yaml` of a policy folder against a policy."""
    failures: list[CaseFailure] = []
    for file in sorted((directory / "cases").glob("*.yaml")):
        document = load_yaml(file, f"cases/{file.name}")
        failures += [CaseFailure(p.file, p.line, "the file", p.message) for p in document.problems]
        cases = document.value
        if not isinstance(cases, list):
            failures.append(CaseFailure(f"cases/{file.name}", 1, "the file", "cases are a list"))
            continue
        for index, case in enumerate(cases):
            line = document.line((index,))
            if not isinstance(case, dict) or "call" not in case or not case.keys() <= _CASE_KEYS:
                message = f"a case has `call` and some of {', '.join(sorted(_CASE_KEYS - {'call'}))}"
                failures.append(CaseFailure(f"cases/{file.name}", line, "the case", message))
                continue
            if (message := _run_case(loaded.policy, catalog, case)) is not None:
                failures.append(CaseFailure(f"cases/{file.name}", line, str(case["call"]), message))
    return failures


def _run_case(policy: Policy, catalog: Catalog, case: dict[str, Any]) -> str | None:
    method, _, url = str(case["call"]).partition(" ")
    headers = [(str(k), str(v)) for k, v in (case.get("headers") or {}).items()]
    body = b""
    for key, media_type in (("form", "application/x-www-form-urlencoded"), ("json", "application/json")):
        if key in case:
            body = str(case[key]).encode()
            headers.append(("Content-Type", media_type))
    try:
        raw = raw_request_of(method, url, headers, body)
        found, decision = explain(policy, catalog, raw, str(case.get("agent", "default")), dict(case.get("labels") or {}))
    except (RequestAmbiguous, ValueError) as trap:
        return None if case.get("refused") else f"refused: {trap}"
    if case.get("refused"):
        return f"expected a refusal, found {decision.effect}"
    came_to = {"effect": decision.effect.value, "rule": decision.rule, "tool": found.tool, "tier": found.tier.value}
    for key, value in came_to.items():
        if key in case and case[key] != value:
            return f"expected {key} {case[key]}, found {value}"
    return None


def difference(old: Policy | None, new: Policy, catalog: Catalog) -> list[str]:
    """What changes between two policies: settings, rules, and the effect on every tool for a plain agent."""
    if old is None:
        return ["first policy"]
    lines: list[str] = []
    for name in ("mode", "unmapped", "on_unpriced", "wait_us", "expires_us", "private_destinations"):
        if getattr(old, name) != getattr(new, name):
            lines.append(f"{name.removesuffix('_us')}: {getattr(old, name)} → {getattr(new, name)}")
    before, after = ({rule.name: rule for rule in policy.rules} for policy in (old, new))
    lines += [f"rule {name}: removed" for name in before.keys() - after.keys()]
    lines += [f"rule {name}: added ({after[name].effect})" for name in after.keys() - before.keys()]
    for name in before.keys() & after.keys():
        one, other = before[name], after[name]
        sources = [rule.condition.source if rule.condition else "" for rule in (one, other)]
        if (one.effect, one.selectors, one.wait_us, one.expires_us) != (
            other.effect,
            other.selectors,
            other.wait_us,
            other.expires_us,
        ) or sources[0] != sources[1]:
            lines.append(f"rule {name}: changed ({one.effect} → {other.effect})")
    if old.budgets != new.budgets:
        lines.append("budgets: changed")
    if old.limit_rules != new.limit_rules:
        lines.append("limits: changed")
    for tool, operation in sorted(catalog.tools().items()):
        facts = Facts(tool, operation.tier, operation.nature, True, "default", {}, {}, "", "", 0)
        was, now = old.decide(facts).effect, new.decide(facts).effect
        if was is not now:
            lines.append(f"{tool}: {was} → {now}")
    return lines

