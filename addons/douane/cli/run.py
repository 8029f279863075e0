"""`douane run`: a command as an agent."""

from __future__ import annotations

import contextlib
import os
import signal
import subprocess
import sys
from pathlib import Path

import click

from douane.api.client import ApiClient, NodeNotRunning
from douane.cli.options import home_option
from douane.edge.home import Home
from douane.edge.runtimes import environment

SESSION_SECONDS = 7 * 86_400


@click.command(context_settings={"ignore_unknown_options": True})
@click.option("--agent", required=True, metavar="NAME", help="The registered agent that the command is.")
@home_option
@click.argument("command", nargs=-1, required=True, type=click.UNPROCESSED)
def run(agent: str, home: Path, command: tuple[str, ...]) -> None:
    """Run a command whose calls go through the proxy as an agent's; its key ends with it.

    \b
    Examples:
      douane run --agent coder -- python agent.py
      douane run --agent coder -- curl https://api.github.com/zen
    """
    prepared = Home.prepare(home)
    client = ApiClient(prepared.api_socket)
    try:
        proxy = client.request("GET", "/v1/health")["proxy"]
    except NodeNotRunning as error:
        raise click.ClickException(str(error)) from error
    key = client.request("POST", f"/v1/agents/{agent}/sessions", {"seconds": SESSION_SECONDS})["key"]
    variables = environment(f"http://{agent}:{key}@{proxy}", prepared.ca_cert)
    try:
        child = subprocess.Popen(command, env={**os.environ, **variables})
    except OSError as error:
        _end(client, agent, key)
        raise click.ClickException(f"cannot start {command[0]}: {error.strerror}") from error
    for number in (signal.SIGINT, signal.SIGTERM, signal.SIGHUP):
        signal.signal(number, lambda received, _: child.send_signal(received))
    try:
        code = child.wait()
    finally:
        _end(client, agent, key)
    sys.exit(code if code >= 0 else 128 - code)


def _end(client: ApiClient, agent: str, key: str) -> None:
    """End the session key; where the node is gone the key ends by itself in time."""
    with contextlib.suppress(Exception):
        client.request("DELETE", f"/v1/agents/{agent}/sessions", {"key": key})
