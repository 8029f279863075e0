"""`douane spend`: agents against their caps."""

from __future__ import annotations

import json
from pathlib import Path

import click
from rich.console import Console
from rich.progress_bar import ProgressBar
from rich.table import Table

from douane.cli.backend import Backend
from douane.cli.options import home_option, json_option
from douane.core.money import format_usd


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
    table = Table("agent", "spent", "reserved", "cap", "", "window", "cap from")
    for row in found:
        cap = row["cap_usd"]
        bar = ProgressBar(total=cap, completed=min(cap, row["settled_usd"]), width=24) if cap else ""
        table.add_row(
            row["agent"], format_usd(row["settled_nano"]), format_usd(row["reserved_nano"]),
            "none" if cap is None else f"${cap:,.2f}", bar, _window(row["window_seconds"]), row["source"],
        )  # fmt: skip
    Console().print(table if found else "No agent is registered yet: douane agent add NAME")


def _window(seconds: float) -> str:
    for size, unit in ((86_400, "d"), (3_600, "h"), (60, "min")):
        if seconds % size == 0 and (seconds >= 2 * size or unit != "d"):
            return f"{seconds / size:.0f} {unit}"
    return f"{seconds:.0f} s"
