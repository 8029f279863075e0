"""`douane`: the commands, each loaded when it is asked for."""

from __future__ import annotations

import importlib
import sys
from typing import Any

import click

from douane import __version__

COMMANDS = {
    "up": "Start the proxy and the console.",
    "proxy": "Start a proxy node alone.",
    "console": "Start the console alone.",
    "agent": "Add, list, rotate, suspend and remove agents.",
    "run": "Run a command as an agent, through the proxy.",
    "doctor": "Say which runtimes on this machine are governed.",
    "reviewer": "Add, list and remove the people who decide.",
    "reviews": "List, show, approve and reject held calls.",
    "policy": "Check, test, explain and apply the policy.",
    "catalog": "Search the catalog, show a tool, match a request.",
    "prices": "What models cost, and which have no price.",
    "spend": "Agents against their caps.",
    "log": "List the register, or tell one call's story.",
}
"""Every command, with its one line of help: `--help` loads none of them."""


class Commands(click.Group):
    """Loads `douane.cli.NAME` for the command NAME."""

    def list_commands(self, ctx: click.Context) -> list[str]:  # noqa: ARG002 - click's signature
        """All names."""
        return list(COMMANDS)

    def get_command(self, ctx: click.Context, cmd_name: str) -> click.Command | None:  # noqa: ARG002
        """Load one command."""
        if cmd_name not in COMMANDS:
            return None
        module = importlib.import_module(f"douane.cli.{cmd_name}")
        command: click.Command = getattr(module, cmd_name)
        return command

    def format_commands(self, ctx: click.Context, formatter: click.HelpFormatter) -> None:  # noqa: ARG002
        """List the commands without loading them."""
        with formatter.section("Commands"):
            formatter.write_dl(list(COMMANDS.items()))


@click.group(cls=Commands, context_settings={"help_option_names": ["-h", "--help"]})
@click.version_option(__version__, prog_name="douane")
def cli() -> None:
    """Govern what autonomous agents do: budgets, approvals and a tamper-evident register, on the request path.

    \b
    Examples:
      douane up                                     start the proxy and the console
      douane agent add coder                        register an agent, print what it has to set
      douane run --agent coder -- python agent.py   run one with all of it set
      douane reviews list                           what waits for a person
    """


def main(arguments: list[str] | None = None) -> Any:
    """Run a command; every error is one clear message and an exit code."""
    try:
        return cli.main(args=arguments, standalone_mode=True)
    except Exception as error:
        if not isinstance(error, _told_in_a_line()):
            raise
        from douane.core.mask import printable

        click.echo("douane: " + "\n".join(map(printable, str(error).splitlines())), err=True)
        sys.exit(1)
    except KeyboardInterrupt:
        sys.exit(130)


def _told_in_a_line() -> tuple[type[Exception], ...]:
    """Errors whose message is for the user; loaded once there is one, for the sake of all commands that go well."""
    from douane.api.client import ApiError, NodeNotRunning
    from douane.edge.home import HomeError
    from douane.edge.start import CannotStart
    from douane.store.interface import StoreError

    return ApiError, NodeNotRunning, HomeError, CannotStart, StoreError, TimeoutError


if __name__ == "__main__":
    main()
