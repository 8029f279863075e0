"""`douane agent`: who may call."""

from __future__ import annotations

import json
import shlex
from pathlib import Path
from typing import Any

import click

from douane.api.client import path
from douane.cli.backend import Backend
from douane.cli.options import home_option, json_option
from douane.cli.rows import plain, print_rows
from douane.core.money import format_usd
from douane.edge.runtimes import environment


@click.group()
def agent() -> None:
    """Add, list, rotate, suspend and remove agents.

    \b
    Example:
      douane agent add coder --label env=staging
    """


def _labels(pairs: tuple[str, ...]) -> dict[str, str]:
    found = {}
    for pair in pairs:
        name, equals, value = pair.partition("=")
        if not equals or not name:
            raise click.BadParameter(f"{pair!r} is not NAME=VALUE", param_hint="--label")
        found[name] = value
    return found


def _tell_key(backend: Backend, route: str, body: Any = None, *, as_json: bool) -> None:
    """Have a key made and print it: the only time it is in clear."""
    proxy = backend.request("GET", path("health"))["proxy"]  # first: nothing may fail once the key is made
    made = backend.request("POST", route, body)
    if as_json:
        click.echo(json.dumps(made))
        return
    name = made["agent"]["name"]
    click.echo(f"# the key of {name}; it is shown only now")
    for variable, value in environment(f"http://{name}:{made['key']}@{proxy}", backend.home.ca_cert).items():
        click.echo(f"export {variable}={shlex.quote(value)}")
    click.echo("# Node reads NODE_USE_ENV_PROXY from 22.21 and 24 on; older ones go direct")
    if made.get("first"):
        click.echo("# the first agent: from now on every client needs a key, and one without gets a 407")


@agent.command()
@click.argument("name")
@click.option(
    "--label", "labels", multiple=True, metavar="NAME=VALUE", help="A label for the policy, such as env=production."
)
@click.option(
    "--cap", metavar="USD", help="Dollars per rolling window, where the policy names no budget for the agent."
)
@home_option
@json_option
def add(name: str, labels: tuple[str, ...], cap: str | None, home: Path, as_json: bool) -> None:
    """Register an agent and print what it has to set.

    \b
    Example:
      douane agent add nightly --label env=production --cap 5
    """
    body = {"name": name, "labels": _labels(labels), "cap_usd": None if cap is None else cap.removeprefix("$")}
    _tell_key(Backend(home, make=True), path("agents"), body, as_json=as_json)


@agent.command("list")
@home_option
@json_option
def list_(home: Path, as_json: bool) -> None:
    """List the agents.

    \b
    Example:
      douane agent list --json | jq -r '.[].name'
    """
    found = Backend(home).request("GET", "/v1/agents")["agents"]
    if as_json:
        click.echo(json.dumps(found))
        return
    if not found:
        click.echo("No agent is registered.")
        return
    print_rows(
        ("agent", "state", "cap", "since", "labels"),
        [
            (
                row["name"],
                "suspended" if row["suspended"] else "active",
                "by policy" if row["cap_nano"] is None else format_usd(row["cap_nano"]),
                row["created_at"][:19] + "Z",
                plain(" ".join(f"{name}={value}" for name, value in row["labels"].items())),
            )
            for row in found
        ],
        below=1,
    )


@agent.command()
@click.argument("name")
@home_option
@json_option
def rotate(name: str, home: Path, as_json: bool) -> None:
    """Give an agent a new key; the old one ends at once, on open connections too.

    \b
    Example:
      douane agent rotate nightly
    """
    _tell_key(Backend(home), path("agents", name, "rotate"), as_json=as_json)


@agent.command()
@click.argument("name")
@home_option
def remove(name: str, home: Path) -> None:
    """End an agent; the next request of it is refused, on open connections too.

    \b
    Example:
      douane agent remove nightly
    """
    Backend(home).request("DELETE", path("agents", name))
    click.echo(f"{name} is removed")


@agent.command()
@click.argument("name", required=False)
@click.option("--all", "every", is_flag=True, help="The kill switch: every agent.")
@home_option
def suspend(name: str | None, every: bool, home: Path) -> None:
    """Refuse every call of an agent, or of all, until `douane agent resume`.

    \b
    Examples:
      douane agent suspend nightly
      douane agent suspend --all
    """
    _switch("suspend", "suspended", name, every, home)


@agent.command()
@click.argument("name", required=False)
@click.option("--all", "every", is_flag=True, help="Every agent that is suspended.")
@home_option
def resume(name: str | None, every: bool, home: Path) -> None:
    """Let a suspended agent, or all, call again.

    \b
    Examples:
      douane agent resume nightly
      douane agent resume --all
    """
    _switch("resume", "resumed", name, every, home)


def _switch(what: str, done: str, name: str | None, every: bool, home: Path) -> None:
    """Suspend or resume one agent, or all."""
    if every == (name is not None):
        raise click.UsageError("Name one agent, or --all.")
    backend = Backend(home)
    if name is None:
        names = backend.request("POST", path("agents", f"{what}-all"))[done]
        click.echo(f"{done}: {', '.join(names) or 'none'}")
    else:
        backend.request("POST", path("agents", name, what))
        click.echo(f"{name} is suspended" if what == "suspend" else f"{name} may call again")
