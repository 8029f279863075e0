"""`douane proxy`: one proxy node, in the foreground."""

from __future__ import annotations

import os
import sys
from pathlib import Path

import click

from douane.cli.options import Address, node_options


@click.command()
@node_options
@click.option("--console", type=Address(), default=None, hidden=True, help="The console's address, closed to agents.")
@click.option("--heartbeat-fd", type=int, default=None, hidden=True)
@click.option("--ready-fd", type=int, default=None, hidden=True)
def proxy(
    home: Path,
    policy_dir: Path | None,
    listen: tuple[str, int],
    connect_to: tuple[tuple[str, int, str, int], ...],
    upstream_ca: Path | None,
    console: tuple[str, int] | None,
    heartbeat_fd: int | None,
    ready_fd: int | None,
) -> None:
    """Start a proxy node in the foreground; it prints `ready` once calls pass.

    \b
    Example:
      douane proxy --listen 127.0.0.1:8080
    """
    from douane.calls.node import NodeError  # the node's parts take half a second to load
    from douane.edge import log
    from douane.edge.start import make_config
    from douane.gateway.master import NodeStatus, run

    log.set_up()
    config = make_config(home, policy_dir, listen, connect_to, upstream_ca, console, heartbeat_fd)

    def ready(status: NodeStatus) -> None:
        if status.policy_differs:
            click.echo(
                f"The policy in {config.policy_dir} is not the one in force. Put it in force with: douane policy apply",
                err=True,
            )
        if ready_fd is not None:
            os.write(ready_fd, b"ready\n")
            os.close(ready_fd)
            return
        click.echo(f"proxy    http://{status.proxy_host}:{status.proxy_port}")
        click.echo(f"CA       {config.home.ca_cert}")
        click.echo("ready")
        sys.stdout.flush()

    try:
        sys.exit(run(config, ready=ready))
    except NodeError as error:
        click.echo(f"douane: {error}", err=True)
        sys.exit(error.exit_code)
