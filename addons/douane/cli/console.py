"""`douane console`: where people decide, in the foreground."""

from __future__ import annotations

import asyncio
import os
import sys
from pathlib import Path

import click

from douane.cli.options import CONSOLE, Address, existing_home, home_option


@click.command()
@home_option
@click.option("--console", type=Address(), default=CONSOLE, show_default=True, help="The console's address.")
@click.option("--ready-fd", type=int, default=None, hidden=True)
def console(home: Path, console: tuple[str, int], ready_fd: int | None) -> None:
    """Start the console alone; it speaks to the node of the same home.

    \b
    Example:
      douane console --console 127.0.0.1:8081
    """
    from douane.console.serve import ConsoleError, serve  # mitmweb takes a second to load
    from douane.edge import log
    from douane.edge.home import Home

    log.set_up()
    host, port = console

    def ready() -> None:
        if ready_fd is not None:
            os.write(ready_fd, b"ready\n")
            os.close(ready_fd)
        else:
            click.echo(f"console  http://{host}:{port}/\nready")
            sys.stdout.flush()

    # `up` starts the node beside it, which may be making the home at this moment.
    found = existing_home(home) if ready_fd is None else Home.prepare(home)
    try:
        asyncio.run(serve(found, host, port, ready))
    except ConsoleError as error:
        click.echo(f"douane: {error}", err=True)
        sys.exit(1)
