"""`douane reviewer`: the people who decide."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import click

from douane.api.client import path
from douane.cli.backend import Backend
from douane.cli.options import CONSOLE, home_option, json_option


@click.group()
def reviewer() -> None:
    """Add, list and remove the people who decide.

    \b
    Example:
      douane reviewer add rita
    """


@reviewer.command()
@click.argument("name")
@home_option
@json_option
def add(name: str, home: Path, as_json: bool) -> None:
    """Register a reviewer and print their secret and a login link, both shown only now.

    \b
    Example:
      douane reviewer add rita
    """
    made = Backend(home, make=True).request("POST", path("reviewers"), {"name": name})
    if as_json:
        click.echo(json.dumps(made))
        return
    click.echo(f"reviewer  {name}")
    click.echo(f"secret    {made['secret']}")
    click.echo(f"link      {_url(made)}")
    click.echo("          (logs in once, within 24 h)")


def _url(made: dict[str, Any]) -> str:
    """A login link as a browser opens it."""
    if made["url"] is None:  # no node runs here, or one without a console of its own
        click.echo(f"douane: the link has the console's usual address; {_OTHER}", err=True)
        return f"http://{CONSOLE}/login?link={made['link']}"
    return str(made["url"])


_OTHER = "put another one in its place if yours was started with --console"


@reviewer.command("list")
@home_option
@json_option
def list_(home: Path, as_json: bool) -> None:
    """List the reviewers.

    \b
    Example:
      douane reviewer list
    """
    found = Backend(home).request("GET", "/v1/reviewers")["reviewers"]
    if as_json:
        click.echo(json.dumps(found))
        return
    for row in found:
        click.echo(row["name"])
    if not found:
        click.echo("There is no reviewer yet: douane reviewer add NAME")


@reviewer.command()
@click.argument("name")
@home_option
def link(name: str, home: Path) -> None:
    """Print a further login link of a reviewer; it logs in once.

    \b
    Example:
      douane reviewer link rita
    """
    made = Backend(home).request("POST", path("reviewers", name, "link"))
    click.echo(_url(made))


@reviewer.command()
@click.argument("name")
@home_option
def remove(name: str, home: Path) -> None:
    """End a reviewer and all sessions of theirs.

    \b
    Example:
      douane reviewer remove rita
    """
    Backend(home).request("DELETE", path("reviewers", name))
    click.echo(f"{name} is removed")
