"""`douane log`: the register, and one call's story."""

from __future__ import annotations

import datetime
import json
from pathlib import Path
from typing import Any
from urllib.parse import urlencode

import click
from rich.console import Console
from rich.markup import escape

from douane.api.client import path
from douane.cli.backend import Backend
from douane.cli.options import home_option, json_option
from douane.cli.rows import plain, print_rows
from douane.core.money import format_usd
from douane.core.record import Kind


@click.group(invoke_without_command=True)
@click.option("--agent", help="Only records of this agent.")
@click.option("--tool", help="Only records of this tool.")
@click.option(
    "--kind",
    type=click.Choice([kind.value for kind in Kind]),
    metavar="KIND",
    help=f"Only records of this kind: {', '.join(Kind)}.",
)
@click.option("--outcome", help="Only records with this outcome.")
@click.option("--limit", type=click.IntRange(1, 100_000), default=50, show_default=True, help="How many, the newest.")
@home_option
@json_option
@click.pass_context
def log(
    ctx: click.Context,
    agent: str | None,
    tool: str | None,
    kind: str | None,
    outcome: str | None,
    limit: int,
    home: Path,
    as_json: bool,
) -> None:
    """List the register, newest last; `douane log show ID` tells one call's story.

    \b
    Examples:
      douane log --kind refusal --agent nightly
      douane log show 0b1f…
    """
    if ctx.invoked_subcommand is not None:
        return
    wanted = {"agent": agent, "tool": tool, "kind": kind, "outcome": outcome, "limit": limit}
    query = urlencode({name: value for name, value in wanted.items() if value is not None})
    found = Backend(home).request("GET", f"/v1/log?{query}")["log"]
    if as_json:
        for entry in found:
            click.echo(json.dumps(entry))
        return
    if not found:
        click.echo("The register has no such record.")
        return
    print_rows(
        ("seq", "time", "kind", "agent", "tool", "call", "what"),
        [
            (
                str(entry["seq"]),
                _time(record := entry["record"]),
                *(plain(record.get(name) or "") for name in ("kind", "agent", "tool")),
                plain(record.get("call_id") or record.get("review_id") or ""),
                _what(record),
            )
            for entry in found
        ],
        below=2,
    )


@log.command()
@click.argument("id_", metavar="ID")
@home_option
@json_option
def show(id_: str, home: Path, as_json: bool) -> None:
    """Tell one call's story, from its review or intent to its result: by the call's id, its review's, or the beginning
    of either.

    \b
    Examples:
      douane log show 0198c0de-…
      douane log show 0198c0de-5
    """
    found = Backend(home).request("GET", path("calls", id_))["log"]
    if as_json:
        click.echo(json.dumps(found))
        return
    console = Console(highlight=False)
    for entry in found:
        record = entry["record"]
        kind, what = escape(plain(record.get("kind"))), escape(_what(record))
        console.print(f"[bold]{_time(record)}  {kind}[/bold]  {what}  [dim]#{entry['seq']}[/dim]", soft_wrap=True)
        for name, value in {**record, **entry["values"]}.items():
            if name not in ("kind", "prev", "seq", "ts", "values", "v"):
                console.print(f"    {escape(plain(name))}: {escape(plain(value))}", soft_wrap=True)


def _time(record: dict[str, Any]) -> str:
    moment = datetime.datetime.fromtimestamp(int(record["at_us"]) / 1e6, datetime.UTC)
    return moment.strftime("%m-%d %H:%M:%S.") + f"{moment.microsecond // 1000:03d}Z"


def _what(record: dict[str, Any]) -> str:
    names = ("effect", "outcome", "code", "status", "action", "event", "reviewer", "rule")
    parts = [plain(record[name]) for name in names if record.get(name) is not None]
    if record.get("charge_nano"):
        parts.append(format_usd(record["charge_nano"]))
    return " · ".join(parts)
