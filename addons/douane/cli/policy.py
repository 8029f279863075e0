"""`douane policy`: check, test, explain and apply what agents may do."""

from __future__ import annotations

import getpass
import json
import os
import sys
from collections.abc import Iterable
from dataclasses import replace
from pathlib import Path
from typing import Any

import click
from click.core import ParameterSource
from rich.console import Console
from rich.markup import escape
from rich.table import Table

from douane.api.client import ApiClient, NodeNotRunning
from douane.calls.inspection import inspect, today
from douane.cli.backend import Backend
from douane.cli.options import body_option, existing_home, home_option, json_option, policy_option, split_option
from douane.cli.rows import counted
from douane.core.catalog import Catalog
from douane.core.charge import Unpriced
from douane.core.decision import Effect, Principal
from douane.core.mask import mask_arguments, printable
from douane.core.money import usd_from_nano
from douane.core.policy import Uncountable
from douane.core.policy.policy import UNEVALUABLE_CODE
from douane.core.pricing import Plan, PriceBook, Uploads
from douane.core.refusal import ReasonCode, RequestAmbiguous
from douane.core.request import RawRequest
from douane.core.request.typed import kind_of, raw_request_of
from douane.edge.home import Home, shipped_policy_dir
from douane.edge.policy import (
    LoadedPolicy,
    count_cases,
    facts_of,
    run_cases,
)
from douane.edge.rules import RulesInvalid, load_rules

EXIT_FAILED = 1
EXIT_MISTAKES = 2


@click.group("policy")
def policy() -> None:
    """Check, test, explain and apply the policy.

    \b
    Example:
      douane policy check
    """


@policy.command()
@click.argument("directory", required=False, type=click.Path(path_type=Path, file_okay=False))
@policy_option
@home_option
def check(directory: Path | None, policy_dir: Path | None, home: Path) -> None:
    """Find every mistake in a policy folder: file:line: message → mend. Exit 2 if there is one.

    \b
    Examples:
      douane policy check
      douane policy check ./policy
    """
    folder = directory or _folder(policy_dir, home)
    loaded, _, _ = _load(folder)
    found = f"{counted(len(loaded.policy.rules), 'rule')}, {counted(count_cases(folder), 'case')}"
    other = "" if folder == _folder(None, home) else f" {folder}"
    click.echo(f"{folder}: no mistakes; {found}. Next: douane policy test{other}")


@policy.command()
@click.argument("directory", required=False, type=click.Path(path_type=Path, file_okay=False))
@policy_option
@home_option
def test(directory: Path | None, policy_dir: Path | None, home: Path) -> None:
    """Run the cases of a policy folder against it. Exit 1 if one is not met.

    \b
    Example:
      douane policy test
    """
    folder = directory or _folder(policy_dir, home)
    loaded, catalog, _ = _load(folder)
    failures = run_cases(loaded, catalog, folder)
    _print_all(failures)
    cases = counted(count_cases(folder), "case")
    if failures:
        click.echo(f"{folder}: {len(failures)} of {cases} failed.", err=True)
        sys.exit(EXIT_FAILED)
    following = " Next: douane policy apply" if _can_apply(folder, home) else ""
    click.echo(f"{folder}: {cases}, all as expected.{following}")


@policy.command()
@click.argument("method")
@click.argument("url")
@click.option("--agent", default="default", show_default=True, help="Who calls.")
@click.option(
    "--label", "labels", multiple=True, metavar="NAME=VALUE", help="A label, beside those the agent is registered with."
)
@click.option("--data", help="The body; @FILE reads it from a file.")
@click.option("--header", "headers", multiple=True, metavar="NAME: VALUE", help="A header field.")
@policy_option
@home_option
@json_option
def explain(
    method: str,
    url: str,
    agent: str,
    labels: tuple[str, ...],
    data: str | None,
    headers: tuple[str, ...],
    policy_dir: Path | None,
    home: Path,
    as_json: bool,
) -> None:
    """Say what a call would come to under the policy on disk, and why. Nothing is sent.

    \b
    Examples:
      douane policy explain DELETE https://api.github.com/repos/acme/site
      douane policy explain POST https://api.stripe.com/v1/refunds --data amount=900 --agent shop
    """
    folder = _folder(policy_dir, home)
    loaded, catalog, prices = _load(folder)
    row = _registered(home, agent)
    given = dict(split_option(label, "=", "--label NAME=VALUE") for label in labels)
    who = Principal(agent, {**(row["labels"] if row else {}), **given}, row["cap_nano"] if row else None)
    body = body_option(data)
    fields = [split_option(header, ":", "--header 'NAME: VALUE'") for header in headers]
    if body and not any(name.lower() == "content-type" for name, _ in fields):
        fields.append(("Content-Type", kind_of(body)))
    try:
        raw = raw_request_of(method.upper(), url, fields, body)
        told = _explained(loaded, catalog, prices, raw, who)
    except RequestAmbiguous as trap:
        told = {
            "tool": None,
            "tier": None,
            "effect": Effect.DENY.value,
            "rule": None,
            "reason_codes": [ReasonCode.REQUEST_AMBIGUOUS.value],
            "reason": f"The request can be read in more than one way: {trap}.",
        }
    except ValueError as error:
        raise click.UsageError(str(error)) from error
    told["agent_known"] = row is not None
    if as_json:
        click.echo(json.dumps(told, ensure_ascii=True))
    else:
        if not told["agent_known"] and _is_given("agent"):
            click.echo(
                f"douane: no agent {printable(agent)} is registered in {home}: "
                "answered with the labels given here and no cap of its own",
                err=True,
            )
        _print_explained(told, folder, can_apply=_can_apply(folder, home))


@policy.command()
@click.option("--by", default=None, help="Who applies it, for the register.  [default: your user name]")
@click.option("--dry-run", is_flag=True, help="Check, test and compare only.")
@home_option
@json_option
def apply(by: str | None, dry_run: bool, home: Path, as_json: bool) -> None:
    """Put the policy on disk in force on the running node: check, run the cases, show what changes, switch, record.

    Exit 0: in force. Exit 1: a case failed, or no node runs. Exit 2: there are mistakes. Nothing changes then.

    \b
    Examples:
      douane policy apply --dry-run
      douane policy apply --by ada
    """
    client = ApiClient(existing_home(home).api_socket)
    try:
        change: dict[str, Any] = client.request(
            "POST", "/v1/policy/apply", {"by": by or _user(), "dry_run": dry_run}, timeout_s=120.0
        )
    except NodeNotRunning:
        click.echo(
            f"No node runs on {home}, so there is nothing to apply the policy to.\n"
            "Start one with `douane up`, then run `douane policy apply` again. `check` and `test` work without a node.",
            err=True,
        )
        sys.exit(EXIT_FAILED)
    if as_json:
        click.echo(json.dumps(change))
    else:
        _print_change(change, dry_run=dry_run)
    sys.exit(EXIT_MISTAKES if change["problems"] else EXIT_FAILED if change["failures"] else 0)


def _folder(policy_dir: Path | None, home: Path) -> Path:
    if policy_dir is not None:
        return policy_dir
    own = home.expanduser() / "policy"
    return own if (own / "policy.yaml").is_file() else shipped_policy_dir()


def _can_apply(folder: Path, home: Path) -> bool:
    """Whether `douane policy apply` would take this folder: the own one of a home that has a node."""
    found = Home.at(home)
    return folder.absolute() == found.root / "policy" and found.database.exists()


def _registered(home: Path, name: str) -> dict[str, Any] | None:
    """An agent as the home knows it; None also where there is no home yet."""
    try:
        rows: list[dict[str, Any]] = Backend(home).request("GET", "/v1/agents")["agents"]
    except click.UsageError:
        return None
    return next((row for row in rows if row["name"] == name), None)


def _load(folder: Path) -> tuple[LoadedPolicy, Catalog, PriceBook]:
    """Policy, catalog and prices of a folder; prints every mistake of all three and exits."""
    try:
        rules = load_rules(folder)
    except RulesInvalid as invalid:
        _print_all(invalid.problems)
        click.echo(f"{folder}: {counted(len(invalid.problems), 'mistake')}; the policy takes no force.", err=True)
        sys.exit(EXIT_MISTAKES)
    _print_all(f"{warning} (a warning)" for warning in rules.warnings)
    return rules.loaded, rules.catalog, rules.prices


def _print_all(lines: Iterable[object]) -> None:
    for line in lines:
        click.echo(printable(str(line)), err=True)


def _explained(
    loaded: LoadedPolicy, catalog: Catalog, prices: PriceBook, raw: RawRequest, who: Principal
) -> dict[str, Any]:
    """All that a node would find out about a call before it sends it, in the order it would."""
    in_force = loaded.policy
    seen = inspect(raw, catalog, prices)
    found = seen.classification
    plan = Uploads(today).plan(who.name, seen.request, found, prices) or seen.plan
    budget = in_force.budget(who.name, who.labels, who.cap_nano)
    cost_nano = plan.reserve_nano if isinstance(plan, Plan) else 0
    refused = isinstance(plan, Unpriced) and in_force.on_unpriced == "deny" and bool(budget.caps)
    if isinstance(plan, Unpriced):
        cost_nano = in_force.unpriced_assumed_nano
    facts = facts_of(seen.request, found, who.name, who.labels, cost_nano)
    decision = in_force.decide(facts)
    if refused and isinstance(plan, Unpriced):
        codes = (ReasonCode.MODEL_UNPRICED.value,)
        decision = replace(decision, rule="on_unpriced", reason=plan.message, reason_codes=codes)
    try:
        moved = {each.account or "": each.amount_nano or 0 for each in in_force.counted(facts)}
    except Uncountable as unknown:
        moved, refused = {}, True
        decision = replace(
            decision,
            rule=f"budget.{unknown}",
            reason=f"The request does not tell how much counts against the budget {unknown}.",
            reason_codes=(ReasonCode.RULE_DENIED.value, UNEVALUABLE_CODE),
        )
    return {
        "tool": found.tool,
        "tier": found.tier.value,
        "effect": Effect.DENY.value if refused else decision.effect.value,
        "rule": decision.rule,
        "reason_codes": list(decision.reason_codes),
        "reason": decision.reason,
        "enforced": refused or decision.enforced,
        "unevaluable": list(decision.unevaluable),
        "nature": found.nature.value,
        "evidence": found.evidence,
        "operations": list(found.operations),
        "summary": found.summary,
        "arguments": mask_arguments(found.arguments, found.provider, found.in_path),
        "agent": who.name,
        "labels": dict(who.labels),
        "worst_case_usd": usd_from_nano(cost_nano),
        "cap_usd": None if budget.cap_nano is None else usd_from_nano(budget.cap_nano),
        "cap_source": budget.source,
        "counts": [
            {"budget": account.removeprefix("@"), "usd": usd_from_nano(amount)} for account, amount in moved.items()
        ],
        "hold_wait_seconds": decision.hold_wait_us / 1e6,
        "expires_seconds": decision.expires_us / 1e6,
    }


_COLOURS = {"allow": "green", "notify": "cyan", "hold": "yellow", "deny": "red"}


def _is_given(option: str) -> bool:
    return click.get_current_context().get_parameter_source(option) is not ParameterSource.DEFAULT


def _print_explained(told: dict[str, Any], folder: Path, *, can_apply: bool) -> None:
    table = Table.grid(padding=(0, 2))
    colour = _COLOURS[told["effect"]]
    note = "" if told.get("enforced", True) else "  (report mode: it passes)"
    table.add_row("effect", f"[bold {colour}]{told['effect']}[/]{note}")
    for key in ("rule", "reason", "reason_codes", "unevaluable", "tool", "tier", "nature", "evidence", "summary"):
        value = told.get(key)
        if value:
            table.add_row(key, escape(printable(", ".join(value) if isinstance(value, list) else str(value))))
    if told.get("arguments"):
        table.add_row("arguments", escape(printable(json.dumps(told["arguments"], ensure_ascii=False))))
    if "cap_source" in told:
        cap = "no cap" if told["cap_usd"] is None else f"${told['cap_usd']:,.2f}"
        table.add_row(
            "budget", f"{cap} ({escape(told['cap_source'])}); at worst ${told['worst_case_usd']:.4f} for the call"
        )
    for moved in told.get("counts", ()):
        table.add_row("counts", escape(f"${moved['usd']:,.2f} against {moved['budget']}"))
    following = "; `douane policy apply` puts it in force" if can_apply else ""
    table.add_row("policy", escape(f"{folder} (on disk{following})"))
    Console(highlight=False).print(table)


def _print_change(change: dict[str, Any], *, dry_run: bool) -> None:
    _print_all([*change["problems"], *change["failures"]])
    if change["problems"]:
        click.echo(f"{counted(len(change['problems']), 'mistake')}; nothing changed.", err=True)
        return
    console = Console(highlight=False)
    for line in change["difference"]:
        colour = "red" if line.startswith("looser:") else "green" if line.startswith("stricter:") else "default"
        console.print(f"  [{colour}]{escape(printable(line))}[/]", soft_wrap=True)
    if not change["difference"]:
        click.echo("No setting, rule or effect changes.")
    if change["failures"]:
        click.echo(f"{counted(len(change['failures']), 'case')} failed; nothing changed.", err=True)
    elif dry_run:
        click.echo("A dry run; nothing changed.")
    else:
        click.echo(f"In force: policy {str(change['digest'])[:12]}.")


def _user() -> str:
    try:
        return getpass.getuser()
    except (OSError, KeyError):
        return f"uid {os.getuid()}"
