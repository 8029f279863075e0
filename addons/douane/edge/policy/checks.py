"""Mistakes that no part of a policy shows by itself: doubles, contradictions, rules that cannot do what they say."""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any

from douane.core.policy import DEFAULT_BUDGET
from douane.edge.policy.read import PolicyPart
from douane.edge.policy.schema import LISTS, BudgetPart, LimitPart, RulePart
from douane.edge.yaml import Problem

type Path = tuple[str | int, ...]


def check(parts: list[PolicyPart]) -> list[Problem]:
    """All mistakes across the files of a policy."""
    return [
        *_settings_twice(parts),
        *_names_twice(parts),
        *(
            problem
            for part in parts
            for index, rule in part.items["rules"].items()
            for problem in _rule(part, index, rule)
        ),
        *_whom_twice(parts, "budgets"),
        *_whom_twice(parts, "limits"),
        *_budgets(parts),
    ]


def _settings_twice(parts: list[PolicyPart]) -> Iterator[Problem]:
    first: dict[str, PolicyPart] = {}
    for part in parts:
        value = part.document.value
        for key in value if isinstance(value, dict) else ():
            if key in LISTS or key == "version":
                continue
            if key in first:
                where = f"{first[key].document.file}:{first[key].document.line((key,))}"
                yield part.document.problem((key,), f"`{key}` stands in two files", f"The other is {where}; leave one.")
            first.setdefault(key, part)


def _names_twice(parts: list[PolicyPart]) -> Iterator[Problem]:
    first: dict[str, str] = {}
    for part in parts:
        value = part.document.value
        rules = value.get("rules") if isinstance(value, dict) else None
        for index, rule in enumerate(rules if isinstance(rules, list) else ()):
            name = rule.get("name") if isinstance(rule, dict) else None
            if not isinstance(name, str):
                continue
            path: Path = ("rules", index, "name")
            if name in first:
                yield part.document.problem(
                    path, f"the rule `{name}` stands twice", f"It stands first in {first[name]}."
                )
            first.setdefault(name, f"{part.document.file}:{part.document.line(path)}")
            if name.startswith(("tier.", "unmapped.")):
                yield part.document.problem(path, f"`{name}` is a name of the defaults", "Choose another name.")


def _rule(part: PolicyPart, index: int, rule: RulePart) -> Iterator[Problem]:
    document = part.document
    path: Path = ("rules", index)
    if rule.effect != "hold":
        for key in ("wait", "expiry"):
            if getattr(rule, key) is not None:
                yield document.problem((*path, key), f"`{key}` is for a hold only", "Leave it out.")
    if rule.effect != "allow":
        return
    if not rule.tools:
        mend = "List its tools: an allow lowers a tier only for a tool that it names."
        yield document.problem(path, "an allow that names no tool has no effect", mend)
    for place, tool in enumerate(rule.tools):
        if tool.endswith("*"):
            mend = "List the tools one by one: an allow lowers a tier only for a tool that it names."
            yield document.problem((*path, "tools", place), f"an allow with the pattern `{tool}`", mend)
        elif tool.startswith("unmapped.") and not rule.hosts:
            mend = "Add `hosts: [api.example.com]`."
            yield document.problem((*path, "tools", place), f"an allow of `{tool}` on every unknown host", mend)


def _whom_twice(parts: list[PolicyPart], key: str) -> Iterator[Problem]:
    first: dict[Any, str] = {}
    for part in parts:
        for index, item in part.items[key].items():
            assert isinstance(item, BudgetPart | LimitPart)
            path: Path = (key, index)
            if item.agents and item.labels:
                yield part.document.problem(path, "agents and labels together", "Make two entries of it.")
                continue
            if isinstance(item, BudgetPart) and item.is_named:
                continue
            whom: list[Any] = [*item.agents] or [tuple(sorted(item.labels.items()))]
            for who in whom:
                if who in first:
                    told = f"agent `{who}`" if isinstance(who, str) else "the same labels" if who else "all agents"
                    yield part.document.problem(path, f"a second entry for {told}", f"The first is in {first[who]}.")
                first.setdefault(who, f"{part.document.file}:{part.document.line(path)}")


def _counting(part: PolicyPart, path: Path, budget: BudgetPart) -> Iterator[Problem]:
    """Mistakes of a budget that counts what some tools move."""
    document = part.document
    if budget.counts is None:
        for key in ("tools", "each"):
            if getattr(budget, key):
                mend = "Add `counts`: what a call of its tools comes to, in dollars."
                yield document.problem((*path, key), f"`{key}` without `counts`", mend)
        return
    if not budget.tools:
        yield document.problem((*path, "counts"), "`counts` without `tools`", "List the tools that it is about.")
    if (budget.shared is None) == (budget.each is None):
        mend = "Add `shared: NAME` for one budget of all these agents, or `each: NAME` for one of each."
        yield document.problem((*path, "counts"), "`counts` needs either `shared` or `each`", mend)


def _budgets(parts: list[PolicyPart]) -> Iterator[Problem]:
    assumes = any(part.settings.get("on_unpriced") == "assume" for part in parts)
    assumed = [(part, part.settings["unpriced_assumed"]) for part in parts if "unpriced_assumed" in part.settings]
    for part, _ in assumed if not assumes else ():
        mend = "Add `on_unpriced: assume`, or leave it out."
        yield part.document.problem(("unpriced_assumed",), "`unpriced_assumed` without `on_unpriced: assume`", mend)
    shared: dict[str, str] = {}
    for part in parts:
        for index, budget in part.items["budgets"].items():
            path: Path = ("budgets", index)
            window_us = DEFAULT_BUDGET.window_us if budget.window is None else budget.window
            yield from _counting(part, path, budget)
            if (name := budget.shared or budget.each) is not None:
                if name in shared:
                    yield part.document.problem(
                        (*path, "shared" if budget.shared else "each"),
                        f"a second budget `{name}`",
                        f"The first is in {shared[name]}. Put further windows under its `also`.",
                    )
                shared.setdefault(name, f"{part.document.file}:{part.document.line(path)}")
                if budget.cap == "none":
                    yield part.document.problem((*path, "cap"), "a named budget without a cap", "Write its cap.")
                if budget.reservation == "typical":
                    mend = "What is set aside is that of the agent's own budget: leave it out."
                    yield part.document.problem((*path, "reservation"), "`reservation` of a named budget", mend)
                if budget.wait is not None:
                    mend = "Calls wait as their agent's own budget says: leave it out."
                    yield part.document.problem((*path, "wait"), "`wait` of a named budget", mend)
            elif budget.exempt:
                mend = "Give those agents an entry of their own, or make the budget `shared`."
                yield part.document.problem((*path, "exempt"), "`exempt` without `shared`", mend)
            windows = [window_us, *(also.window for also in budget.also)]
            for place, also in enumerate(budget.also):
                if also.window in windows[: place + 1]:
                    mend = "Leave the larger cap out."
                    yield part.document.problem((*path, "also", place), "a second cap over the same window", mend)
                if also.cap == "none" or budget.cap == "none":
                    yield part.document.problem((*path, "also", place), "`also` beside no cap", "Write both caps.")
            if budget.wait is not None and budget.wait > window_us:
                mend = "Make the wait shorter, or the window longer."
                yield part.document.problem((*path, "wait"), "a wait that is longer than the window", mend)
            for _, amount in assumed if assumes else ():
                if isinstance(budget.cap, int) and amount > budget.cap:
                    mend = "No unpriced call would ever fit; lower `unpriced_assumed` or raise the cap."
                    yield part.document.problem((*path, "cap"), "a cap below `unpriced_assumed`", mend)
