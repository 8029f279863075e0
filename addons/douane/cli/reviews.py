"""`douane reviews`: held calls, from the terminal."""

from __future__ import annotations

import json
import os
import sys
from pathlib import Path
from urllib.parse import urlencode

import click
from rich.console import Console
from rich.markup import escape

from douane.api.client import path
from douane.cli.backend import Backend
from douane.cli.options import home_option, json_option
from douane.cli.rows import plain, print_rows
from douane.core.review import OPEN, ReviewState

SHOWN = (
    *("state", "tool", "tier", "agent", "host", "method", "reason", "rule", "evidence"),
    *("created_at", "expires_at", "reviewer", "decided_at", "note"),
)


@click.group()
def reviews() -> None:
    """List, show, approve and reject held calls.

    \b
    Example:
      douane reviews list
    """


@reviews.command("list")
@click.option(
    "--state",
    "states",
    type=click.Choice([state.value for state in ReviewState]),
    metavar="STATE",
    multiple=True,
    help=f"Only reviews in this state: {', '.join(ReviewState)}; may be given several times.",
)
@click.option("--all", "every", is_flag=True, help="Decided ones too.")
@home_option
@json_option
def list_(states: tuple[str, ...], every: bool, home: Path, as_json: bool) -> None:
    """List what waits for a person.

    \b
    Examples:
      douane reviews list
      douane reviews list --state rejected --state expired
    """
    wanted = states or (() if every else ("pending", "approved", "dispatching"))
    query = urlencode([("state", state) for state in wanted])
    found = Backend(home).request("GET", f"/v1/reviews?{query}")["reviews"]
    if as_json:
        click.echo(json.dumps(found))
        return
    if not found:
        click.echo("Nothing waits for a person.")
        return
    print_rows(
        ("review", "state", "waits", "expires", "agent", "what"),
        [
            (
                row["review_id"],
                row["state"],
                ("yes" if row["waiting"] else "no") if row["state"] in OPEN else "",
                row["expires_at"][:19] + "Z",
                plain(row["agent"]),
                plain(row["summary"]),
            )
            for row in found
        ],
        below=2,
    )


@reviews.command()
@click.argument("review_id")
@home_option
@json_option
def show(review_id: str, home: Path, as_json: bool) -> None:
    """Show one held call: what, who, why, and until when.

    \b
    Example:
      douane reviews show 0198c0de-…
    """
    row = Backend(home).request("GET", path("reviews", review_id))
    if as_json:
        click.echo(json.dumps(row))
        return
    console = Console(highlight=False)
    console.print(f"[bold]{escape(plain(row['summary']))}[/bold]", soft_wrap=True)
    waits = "a client waits now" if row["waiting"] else "no client waits; it has to call again"
    waits = waits if row["state"] in OPEN else ""
    told = {"review": row["review_id"], **{name.removesuffix("_at"): row.get(name) for name in SHOWN}, "waits": waits}
    for name, value in told.items():
        if value not in (None, ""):
            console.print(f"  {name:<10} {escape(plain(value))}", soft_wrap=True)
    console.print("  arguments")
    for name, value in row["arguments"].items():
        console.print(f"    {escape(plain(name))}: {escape(plain(value))}", soft_wrap=True)


def _verdict(review_id: str, verdict: str, reviewer: str, note: str | None, home: Path, as_json: bool) -> None:
    said = {"note": note, "channel": "cli"}
    row = Backend(home).request("POST", path("reviews", review_id, verdict), said, basic=(reviewer, _secret(reviewer)))
    click.echo(json.dumps(row) if as_json else f"{review_id} is {row['state']}")


def _secret(reviewer: str) -> str:
    """The reviewer's secret: from the environment, asked for, or the first line of a pipe."""
    secret = os.environ.get("DOUANE_REVIEWER_SECRET")
    if secret is None and sys.stdin.isatty():
        secret = click.prompt(f"secret of {reviewer}", hide_input=True)
    elif secret is None:
        secret = sys.stdin.readline().rstrip("\n")
    if not secret:
        raise click.UsageError(f"no secret of {reviewer}: set DOUANE_REVIEWER_SECRET, or pass it on standard input")
    return secret


_reviewer = click.option(
    "--reviewer",
    required=True,
    envvar="DOUANE_REVIEWER",
    help="Who decides; their secret is asked for, or DOUANE_REVIEWER_SECRET.",
)
_note = click.option("--note", help="Why, for the register.")


@reviews.command()
@click.argument("review_id")
@_reviewer
@_note
@home_option
@json_option
def approve(review_id: str, reviewer: str, note: str | None, home: Path, as_json: bool) -> None:
    """Let one held call through, once.

    \b
    Example:
      douane reviews approve 0198c0de-… --reviewer rita --note "agreed with ops"
    """
    _verdict(review_id, "approve", reviewer, note, home, as_json)


@reviews.command()
@click.argument("review_id")
@_reviewer
@_note
@home_option
@json_option
def reject(review_id: str, reviewer: str, note: str | None, home: Path, as_json: bool) -> None:
    """Refuse one held call.

    \b
    Example:
      douane reviews reject 0198c0de-… --reviewer rita
    """
    _verdict(review_id, "reject", reviewer, note, home, as_json)
