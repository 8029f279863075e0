"""`douane spend`: agents against their caps."""

from __future__ import annotations

import json
from math import ceil
from pathlib import Path
from typing import Any

import click
from rich.console import Console
from rich.text import Text

from douane.cli.backend import Backend
from douane.cli.options import home_option, json_option
from douane.cli.rows import print_rows
from douane.core.money import format_usd

NARROWEST, WIDEST = 8, 24
"""Columns of a bar, which takes what the terminal leaves it."""


@click.command()
@home_option
@json_option
def spend(home: Path, as_json: bool) -> None:
    """Show each agent's settled and reserved spend in its window, against its cap.

    \b
    Example:
      douane spend --json | jq '.[] | select(.settled_usd > 10)'
    """
    found = Backend(home).request("GET", "/v1/spend")["spend"]
    if as_json:
        click.echo(json.dumps(found))
        return
    if not found:
        click.echo("No agent is registered: douane agent add NAME")
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
