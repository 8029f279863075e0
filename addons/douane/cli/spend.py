"""`douane spend`: agents against their caps."""

from __future__ import annotations

import json
from math import ceil
from pathlib import Path
from typing import Any
from urllib.parse import urlencode

import click
from rich.console import Console
from rich.text import Text

from douane.cli.backend import Backend
from douane.cli.options import home_option, json_option
from douane.cli.rows import plain, print_rows
from douane.core.money import format_usd

NARROWEST, WIDEST = 8, 24
"""Columns of a bar, which takes what the terminal leaves it."""


def _span(_: click.Context, __: click.Parameter, value: str | None) -> int | None:
    if value is None:
        return None
    from douane.edge.policy.units import duration_us

    try:
        return duration_us(value)
    except ValueError as error:
        raise click.BadParameter(str(error)) from error


@click.command()
@click.option("--agent", help="Only this agent's.")
@click.option("--since", metavar="SPAN", callback=_span, help="What was charged in 12h, 7d, …; needs --by.")
@click.option(
    "--by", type=click.Choice(["model", "tool", "day"]), help="Sum up what was charged, since ever or --since."
)
@home_option
@json_option
def spend(home: Path, agent: str | None, since: int | None, by: str | None, as_json: bool) -> None:
    """Show each agent's settled and reserved spend in its windows, against its caps; or what was charged for what.

    \b
    Examples:
      douane spend
      douane spend --agent nightly --since 7d --by model
      douane spend --json | jq '.[] | select(.settled_usd > 10)'
    """
    if since is not None and by is None:
        raise click.UsageError("--since needs --by: model, tool or day")
    if by is not None:
        _spent(home, agent, since, by, as_json=as_json)
        return
    found = Backend(home).request("GET", "/v1/spend")["spend"]
    if agent is not None:
        found = [row for row in found if row["agent"] == agent]
    if as_json:
        click.echo(json.dumps(found))
        return
    if not found:
        click.echo("No agent is registered: douane agent add NAME" if agent is None else f"There is no agent {agent}.")
        return
    head = ("agent", "spent", "reserved", "cap", "window")
    rows = [
        (
            row["agent"],
            format_usd(row["settled_nano"]),
            format_usd(row["reserved_nano"]),
            "none" if row["cap_nano"] is None else format_usd(row["cap_nano"]),
            _window(row["window_seconds"]),
        )
        for row in found
    ]
    taken = sum(max(map(len, column)) + 2 for column in zip(head, *rows, strict=True))
    taken += max(len("cap from"), *(len(row["source"]) for row in found)) + 2
    width = max(NARROWEST, min(WIDEST, Console().width - taken))
    print_rows(
        (*head, "of cap", "cap from"),
        [(*cells, _bar(row, width), row["source"]) for cells, row in zip(rows, found, strict=True)],
        below=1,
    )


def _spent(home: Path, agent: str | None, since: int | None, by: str, *, as_json: bool) -> None:
    """What was charged, summed up, the dearest first."""
    wanted = {"by": by, "agent": agent, "since": since}
    query = urlencode({name: value for name, value in wanted.items() if value is not None})
    found = Backend(home).request("GET", f"/v1/spend?{query}")["spent"]
    if as_json:
        click.echo(json.dumps(found))
        return
    if not found:
        click.echo("Nothing was charged.")
        return
    total = sum(row["charge_nano"] for row in found)
    print_rows(
        ("agent", by, "calls", "charged", "of all"),
        [
            (
                row["agent"],
                plain(row[by] or "–"),
                str(row["calls"]),
                format_usd(row["charge_nano"]),
                Text("█" * ceil(WIDEST * row["charge_nano"] / total), "green"),
            )
            for row in found
        ],
        below=1,
    )
    click.echo(f"{format_usd(total)} in all")


def _bar(row: dict[str, Any], width: int) -> Text:
    """Spent and reserved as parts of the cap; a part that is not nothing shows."""
    cap, settled, reserved = row["cap_nano"], row["settled_nano"], row["reserved_nano"]
    if not cap:
        return Text()
    spent = min(width, ceil(width * settled / cap))
    set_aside = min(width - spent, ceil(width * reserved / cap))
    style = "red" if settled >= cap else "yellow" if settled >= 0.8 * cap else "green"
    return Text.assemble(("█" * spent, style), ("▒" * set_aside, style), ("░" * (width - spent - set_aside), "dim"))


def _window(seconds: float) -> str:
    for size, unit in ((86_400, "d"), (3_600, "h"), (60, "min")):
        if seconds % size == 0 and (seconds >= 2 * size or unit != "d"):
            return f"{seconds / size:.0f} {unit}"
    return f"{seconds:.0f} s"
