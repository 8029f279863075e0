"""`douane agent`: who may call."""

from __future__ import annotations

import json
from pathlib import Path

import click
from rich.console import Console
from rich.table import Table

from douane.cli.backend import Backend
from douane.cli.options import home_option, json_option


@click.group()
def agent() -> None:
    """Add, list, rotate, suspend and remove agents."""


def _labels(pairs: tuple[str, ...]) -> dict[str, str]:
    found = {}
    for pair in pairs:
        name, equals, value = pair.partition("=")
        if not equals or not name:
            raise click.BadParameter(f"{pair!r} is not NAME=VALUE", param_hint="--label")
        found[name] = value
    return found


def _print_key(backend: Backend, name: str, key: str) -> None:
    proxy = "127.0.0.1:8080"
    health = backend.request("GET", "/v1/health")
    proxy = str(health["proxy"])
    address = f"http://{name}:{key}@{proxy}"
    click.echo(f"# the key of {name}; it is shown only now")
    click.echo(f"export HTTPS_PROXY={address}")
    click.echo(f"export HTTP_PROXY={address}")
    click.echo("export NO_PROXY=localhost,127.0.0.1,::1")
    for variable in (
        "SSL_CERT_FILE",
        "REQUESTS_CA_BUNDLE",
        "CURL_CA_BUNDLE",
        "NODE_EXTRA_CA_CERTS",
        "GIT_SSL_CAINFO",
        "AWS_CA_BUNDLE",
    ):
        click.echo(f"export {variable}={backend.home.ca_cert}")
    click.echo("export NODE_USE_ENV_PROXY=1   # Node 22.21 or 24 and later")


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
    backend = Backend(home)
    body = {"name": name, "labels": _labels(labels), "cap_usd": cap.lstrip("$") if cap else None}
    made = backend.request("POST", "/v1/agents", body)
    if as_json:
        click.echo(json.dumps(made))
    else:
        _print_key(backend, name, made["key"])


@agent.command("list")
@home_option
@json_option
def list_(home: Path, as_json: bool) -> None:
    """List the agents."""
    found = Backend(home).request("GET", "/v1/agents")["agents"]
    if as_json:
        click.echo(json.dumps(found))
        return
    table = Table("agent", "labels", "cap", "state", "since")
    for row in found:
        labels = " ".join(f"{k}={v}" for k, v in row["labels"].items())
        cap = "by policy" if row["cap_usd"] is None else f"${row['cap_usd']:,.2f}"
        table.add_row(row["name"], labels, cap, "suspended" if row["suspended"] else "active", row["created_at"][:19])
    Console().print(table if found else "No agent is registered: loopback clients are the agent `default`.")


@agent.command()
@click.argument("name")
@home_option
@json_option
def rotate(name: str, home: Path, as_json: bool) -> None:
    """Give an agent a new key; the old one ends at once, on open connections too."""
    backend = Backend(home)
    made = backend.request("POST", f"/v1/agents/{name}/rotate")
    if as_json:
        click.echo(json.dumps(made))
    else:
        _print_key(backend, name, made["key"])


@agent.command()
@click.argument("name")
@home_option
def remove(name: str, home: Path) -> None:
    """End an agent; the next request of it is refused, on open connections too."""
    Backend(home).request("DELETE", f"/v1/agents/{name}")
    click.echo(f"{name} is removed")


@agent.command()
@click.argument("name", required=False)
@click.option("--all", "every", is_flag=True, help="The kill switch: every agent.")
@home_option
def suspend(name: str | None, every: bool, home: Path) -> None:
    """Refuse every call of an agent, or of all, until `douane agent resume`."""
    if every == (name is not None):
        raise click.UsageError("Name one agent, or --all.")
    backend = Backend(home)
    if every:
        names = backend.request("POST", "/v1/agents/suspend-all")["suspended"]
        click.echo(f"suspended: {', '.join(names) or 'none'}")
    else:
        backend.request("POST", f"/v1/agents/{name}/suspend")
        click.echo(f"{name} is suspended")


@agent.command()
@click.argument("name")
@home_option
def resume(name: str, home: Path) -> None:
    """Let a suspended agent call again."""
    Backend(home).request("POST", f"/v1/agents/{name}/resume")
    click.echo(f"{name} may call again")
