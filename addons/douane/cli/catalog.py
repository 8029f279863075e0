"""`douane catalog`: search the tools, show one, match a request. Nothing is sent, and no node is asked."""

from __future__ import annotations

import json
import sys
from pathlib import Path
from typing import Any

import click
from rich.console import Console
from rich.markup import escape
from rich.text import Text

from douane.cli.options import body_option, home_option, json_option, policy_option, split_option
from douane.cli.rows import plain, print_rows
from douane.core.catalog import Catalog, Operation
from douane.core.mask import mask_arguments
from douane.core.refusal import ReasonCode, RequestAmbiguous
from douane.core.request import canonicalise
from douane.core.request.typed import kind_of, raw_request_of
from douane.core.tool import Tier
from douane.edge.catalog import CatalogInvalid, load_catalog

COLOURS = {Tier.REVERSIBLE: "green", Tier.VISIBLE: "yellow", Tier.IRREVERSIBLE: "red"}


@click.group("catalog")
def catalog() -> None:
    """Search the catalog, show a tool, match a request.

    \b
    Example:
      douane catalog match DELETE https://api.github.com/repos/acme/site
    """


@catalog.command()
@click.argument("words", nargs=-1, required=True)
@click.option("--tier", type=click.Choice([tier.value for tier in Tier]), help="Only tools of this tier.")
@click.option("--limit", type=click.IntRange(1, 100_000), default=50, show_default=True, help="How many at most.")
@policy_option
@home_option
@json_option
def search(
    words: tuple[str, ...], tier: str | None, limit: int, policy_dir: Path | None, home: Path, as_json: bool
) -> None:
    """List the tools whose names have all of some words.

    \b
    Examples:
      douane catalog search ec2 terminate
      douane catalog search github. release --tier irreversible
    """
    wanted = [word.lower() for word in words]
    found = [
        (tool, tool_tier, nature)
        for tool, tool_tier, nature in _loaded(policy_dir, home).tiers()
        if all(word in tool.lower() for word in wanted) and tier in (None, tool_tier.value)
    ]
    if as_json:
        for tool, tool_tier, nature in found[:limit]:
            click.echo(json.dumps({"tool": tool, "tier": tool_tier.value, "nature": nature.value}))
        return
    if not found:
        click.echo("The catalog has no such tool.")
        return
    print_rows(
        ("tool", "tier", "nature"),
        [(tool, Text(kind.value, COLOURS[kind]), nature.value) for tool, kind, nature in found[:limit]],
    )
    if len(found) > limit:
        click.echo(f"… and {len(found) - limit} more: add a word, or --limit.")


@catalog.command()
@click.argument("tool")
@policy_option
@home_option
@json_option
def show(tool: str, policy_dir: Path | None, home: Path, as_json: bool) -> None:
    """Print a tool's routes, arguments, tier, evidence and why.

    \b
    Example:
      douane catalog show aws.ec2.TerminateInstances
    """
    loaded = _loaded(policy_dir, home)
    operation = loaded.tool(tool)
    if operation is None:
        click.echo(f"The catalog has no tool {plain(tool)}; `douane catalog search WORD` lists what it has.", err=True)
        sys.exit(1)
    told = _told(loaded, operation)
    if as_json:
        click.echo(json.dumps(told))
        return
    console = Console(highlight=False)
    colour = COLOURS[operation.tier]
    console.print(f"[bold]{escape(tool)}[/bold]  [{colour}]{operation.tier}[/{colour}]  {operation.nature}")
    for name in ("hosts", "routes", "arguments", "evidence", "reviewed", "billable", "summary", "raised", "lowered"):
        value = told[name]
        for line in value if isinstance(value, list) else [value]:
            if line:
                console.print(f"  {name:<10}{escape(plain(line))}", soft_wrap=True)


@catalog.command()
@click.argument("method")
@click.argument("url")
@click.option(
    "--header", "headers", multiple=True, metavar="'NAME: VALUE'", help="A header; may be given several times."
)
@click.option("--data", help="The body, or @FILE.")
@policy_option
@home_option
@json_option
def match(
    method: str,
    url: str,
    headers: tuple[str, ...],
    data: str | None,
    policy_dir: Path | None,
    home: Path,
    as_json: bool,
) -> None:
    """Say which tool a request is, with its tier and arguments, or why it would be refused.

    \b
    Examples:
      douane catalog match DELETE https://bucket.s3.amazonaws.com/report.csv
      douane catalog match POST https://slack.com/api/chat.delete --data channel=C1
    """
    body = body_option(data)
    fields = [split_option(header, ":", "--header 'NAME: VALUE'") for header in headers]
    if body and not any(name.lower() == "content-type" for name, _ in fields):
        fields.append(("Content-Type", kind_of(body)))
    told: dict[str, Any]
    try:
        request = canonicalise(raw_request_of(method.upper(), url, fields, body))
        found = _loaded(policy_dir, home).classify(request)
    except RequestAmbiguous as trap:
        told = {"refused": ReasonCode.REQUEST_AMBIGUOUS.value, "why": str(trap)}
    except ValueError as error:
        raise click.UsageError(str(error)) from error
    else:
        told = {
            "tool": found.tool,
            "tier": found.tier.value,
            "nature": found.nature.value,
            "arguments": mask_arguments(found.arguments, found.provider, found.in_path),
            "evidence": found.evidence,
            "summary": found.summary,
            "operations": list(found.operations),
            "billable": found.billable,
            "mapped": found.mapped,
        }
    if as_json:
        click.echo(json.dumps(told))
    else:
        _print_match(told)


def _print_match(told: dict[str, Any]) -> None:
    console = Console(highlight=False)
    if "refused" in told:
        console.print(f"[red]refused[/red]  {told['refused']}: {escape(plain(told['why']))}", soft_wrap=True)
        return
    colour = COLOURS[Tier(told["tier"])]
    console.print(
        f"[bold]{escape(plain(told['tool']))}[/bold]  [{colour}]{told['tier']}[/{colour}]  {told['nature']}",
        soft_wrap=True,
    )
    for name in ("summary", "evidence"):
        if told[name]:
            console.print(f"  {name:<10}{escape(plain(told[name]))}", soft_wrap=True)
    for name, value in told["arguments"].items():
        console.print(f"  {escape(plain(name))}: {escape(plain(value))}", soft_wrap=True)
    if told["operations"]:
        console.print(f"  could be  {escape(plain(', '.join(told['operations'])))}", soft_wrap=True)


def _told(loaded: Catalog, operation: Operation) -> dict[str, Any]:
    shards = [shard for shard in loaded.shards_of(operation.tool) if shard.indices_of(operation.tool)]
    names = {shard.name for shard in shards}
    routes = [
        f"{method} /{'/'.join(_named(path, route))}" + (f"  where {where} {name} is {value}" if selector else "")
        for shard in shards
        for route, method, path, selector in shard.routes()
        if route.tool == operation.tool
        for where, name, value in [selector or ("", "", "")]
    ]
    return {
        "tool": operation.tool,
        "tier": operation.tier.value,
        "nature": operation.nature.value,
        "hosts": sorted(host for host, site in loaded.sites.all().items() if names & set(site.shards)),
        "routes": sorted(set(routes)),
        "arguments": ", ".join(parameter.name for parameter in operation.parameters),
        "evidence": operation.evidence,
        "reviewed": str(operation.reviewed)
        if operation.reviewed
        else "nobody yet: the tier is a declaration or a guess",
        "billable": "charged by use" if operation.billable else "",
        "summary": operation.summary,
        "raised": [f"to {found.tier} by {found.argument}: {found.why}" for found in operation.raises],
        "lowered": [f"to {found.tier} by {found.argument}: {found.why}" for found in operation.lowers],
    }


def _named(path: tuple[str, ...], operation: Operation) -> list[str]:
    """A route's segments with the names of its parameters, where these stand one by one."""
    if not operation.parameters or operation.parameters[0].start is not None:
        return list(path)
    names = iter(operation.parameters)
    return [part.replace("{", "{" + next(names).name, 1) if "{" in part else part for part in path]


def _loaded(policy_dir: Path | None, home: Path) -> Catalog:
    """The catalog under the overlay of a policy folder; prints every mistake of it and exits."""
    folder = policy_dir if policy_dir is not None else home.expanduser() / "policy"
    try:
        return load_catalog(folder / "catalog", lazily=True)
    except CatalogInvalid as invalid:
        for problem in invalid.problems:
            click.echo(plain(str(problem)), err=True)
        sys.exit(2)
