"""`douane run`: a command as an agent."""

from __future__ import annotations

import contextlib
import os
import signal
import subprocess
import sys
from pathlib import Path
from types import FrameType

import click

from douane.api.client import ApiClient, ApiError, NodeNotRunning, path
from douane.cli.options import existing_home, home_option
from douane.edge.runtimes import environment

SESSION_SECONDS = 7 * 86_400
"""How long a key lasts whose command's end nobody could tell the node."""

NOT_EXECUTABLE, NOT_FOUND = 126, 127
"""Exit codes of a command that cannot start, as a shell has them."""


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
    found = existing_home(home)
    client = ApiClient(found.api_socket)
    proxy = client.request("GET", "/v1/health")["proxy"]
    key = client.request("POST", path("agents", agent, "sessions"), {"seconds": SESSION_SECONDS})["key"]
    child: subprocess.Popen[bytes] | None = None

    def pass_on(number: int, _: FrameType | None) -> None:
        if child is None:
            sys.exit(128 + number)
        if number != signal.SIGINT or not _in_foreground():  # there Ctrl-C reaches the command by itself
            child.send_signal(number)

    for number in (signal.SIGINT, signal.SIGTERM, signal.SIGHUP):
        signal.signal(number, pass_on)  # from here on the key ends with the command, whatever ends the command
    try:
        variables = environment(f"http://{agent}:{key}@{proxy}", found.ca_cert)
        child = subprocess.Popen(command, env={**os.environ, **variables})
        code = child.wait()
    except OSError as error:
        click.echo(f"douane: cannot start {command[0]}: {error.strerror}", err=True)
        code = NOT_FOUND if isinstance(error, FileNotFoundError) else NOT_EXECUTABLE
    finally:
        with contextlib.suppress(ApiError, NodeNotRunning, TimeoutError):  # where the node is gone it ends by itself
            client.request("DELETE", path("agents", agent, "sessions"), {"key": key})
    sys.exit(code if code >= 0 else 128 - code)


def _in_foreground() -> bool:
    """Whether the terminal sends its signals to this process group."""
    try:
        return os.tcgetpgrp(sys.stdin.fileno()) == os.getpgrp()
    except (OSError, ValueError):
        return False
