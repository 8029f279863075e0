"""`douane reviews`: held calls, from the terminal."""

from __future__ import annotations

import json
import sys
from pathlib import Path
from typing import Any

import click
from rich.console import Console
from rich.markup import escape
from rich.table import Table

from douane.cli.backend import Backend
from douane.cli.options import home_option, json_option
from douane.core.mask import printable


@click.group()
def reviews() -> None:
    """List, show, approve and reject held calls."""


def _plain(value: Any) -> str:
    return escape(printable(value if isinstance(value, str) else json.dumps(value, ensure_ascii=False)))


@reviews.command("list")
@click.option("--state", "states", multiple=True, help="Only reviews in this state; may be given several times.")
@click.option("--all", "every", is_flag=True, help="Decided ones too.")
@home_option
@json_option
def list_(states: tuple[str, ...], every: bool, home: Path, as_json: bool) -> None:
    """List what waits for a person."""
    wanted = states or (() if every else ("pending", "approved", "dispatching"))
    query = "&".join(f"state={state}" for state in wanted)
    found = Backend(home).request("GET", f"/v1/reviews?{query}")["reviews"]
    if as_json:
        click.echo(json.dumps(found))
        return
    table = Table("review", "state", "tool", "agent", "what", "expires", "waits")
    for row in found:
        table.add_row(
            row["review_id"], row["state"], _plain(row["tool"]), _plain(row["agent"]), _plain(row["summary"]),
            row["expires_at"][:19] + "Z", "yes" if row["waiting"] else "no",
        )  # fmt: skip
    Console().print(table if found else "Nothing waits for a person.")


@reviews.command()
@click.argument("review_id")
@home_option
@json_option
def show(review_id: str, home: Path, as_json: bool) -> None:
    """Show one held call: what, who, why, and until when."""
    row = Backend(home).request("GET", f"/v1/reviews/{review_id}")
    if as_json:
        click.echo(json.dumps(row))
        return
    console = Console(highlight=False)
    console.print(f"[bold]{_plain(row['summary'])}[/bold]")
    for name in ("state", "tool", "tier", "agent", "host", "method", "reason", "rule", "evidence", "created_at", "expires_at",
                 "reviewer", "decided_at", "note"):  # fmt: skip
        if row.get(name) not in (None, ""):
            console.print(f"  {name.removesuffix('_at'):<10} {_plain(row[name])}")
    console.print(f"  {'waits':<10} {'a client waits now' if row['waiting'] else 'no client waits; it has to call again'}")
    console.print("  arguments")
    for name, value in row["arguments"].items():
        console.print(f"    {_plain(name)}: {_plain(value)}")


def _verdict(review_id: str, verdict: str, reviewer: str, note: str | None, home: Path, as_json: bool) -> None:
    import os  # noqa: PLC0415

    secret = os.environ.get("DOUANE_REVIEWER_SECRET")
    if secret is None:
        if not sys.stdin.isatty():
            secret = sys.stdin.readline().rstrip("\n")
        else:
            secret = click.prompt(f"secret of {reviewer}", hide_input=True)
    row = Backend(home).request(
        "POST", f"/v1/reviews/{review_id}/{verdict}", {"note": note, "channel": "cli"}, basic=(reviewer, secret)
    )
    click.echo(json.dumps(row) if as_json else f"{review_id} is {row['state']}")


_reviewer = click.option(
    "--reviewer", required=True, envvar="DOUANE_REVIEWER", help="Who decides; their secret is asked for, or DOUANE_REVIEWER_SECRET."
)
_note = click.option("--note", help="Why, for the register.")


@reviews.command()
@click.argument("review_id")
@_reviewer
@_note
@home_option
@json_option
def approve(review_id: str, reviewer: str, note: str | None, home: Path, as_json: bool) -> None:
    """Let one held call through, once."""
    _verdict(review_id, "approve", reviewer, note, home, as_json)


@reviews.command()
@click.argument("review_id")
@_reviewer
@_note
@home_option
@json_option
def reject(review_id: str, reviewer: str, note: str | None, home: Path, as_json: bool) -> None:
    """Refuse one held call."""
    _verdict(review_id, "reject", reviewer, note, home, as_json)
