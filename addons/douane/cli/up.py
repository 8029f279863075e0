"""`douane up`: the proxy and the console under one supervisor, in the foreground."""

from __future__ import annotations

import contextlib
import signal
import sys
from functools import partial
from pathlib import Path
from typing import TYPE_CHECKING

import click

from douane.cli.options import CONSOLE, Address, address_text, node_options

if TYPE_CHECKING:
    from douane.edge.config import NodeConfig
    from douane.edge.peers import OwnClients
    from douane.edge.supervisor import Child


@click.command()
@node_options
@click.option("--console", type=Address(), default=CONSOLE, show_default=True, help="The console's address.")
@click.option("--demo", is_flag=True, help="To try things out: api.github.com is played by a stand-in on this machine.")
@click.option(
    "--reviewer", default="operator", show_default=True, help="The first reviewer's name, where there is none yet."
)
def up(
    home: Path,
    policy_dir: Path | None,
    listen: tuple[str, int],
    connect_to: tuple[tuple[str, int, str, int], ...],
    upstream_ca: Path | None,
    console: tuple[str, int],
    demo: bool,
    reviewer: str,
) -> None:
    """Start the proxy and the console in the foreground; prints `ready` once both serve. Ctrl-C drains and stops.

    \b
    Examples:
      douane up
      douane up --demo
      douane up --home /srv/douane --listen 10.0.0.5:8080
    """
    from douane.edge.peers import OwnClients  # `--help` needs none of it
    from douane.edge.start import make_config
    from douane.edge.supervisor import Supervisor

    if demo and upstream_ca is not None:
        raise click.UsageError("--demo brings an --upstream-ca of its own")
    _check_running(home)
    _check_ports(listen, console)
    config = make_config(home, policy_dir, listen, connect_to, upstream_ca, console)
    _check_policy(config.policy_dir)
    children = _children(config, console, demo=demo)
    supervisor = Supervisor(children, _say)
    for number in (signal.SIGINT, signal.SIGTERM, signal.SIGHUP):
        signal.signal(number, lambda *_: setattr(supervisor, "stopping", True))
    clients = OwnClients(config.listen_port)
    look = partial(_warn, clients, config)
    sys.exit(supervisor.run(lambda: _tell(config, console, reviewer, demo=demo), look))


def _children(config: NodeConfig, console: tuple[str, int], *, demo: bool) -> list[Child]:
    from douane.edge.supervisor import Child, douane_command

    children, routes, upstream_ca = [], config.connect_to, config.upstream_ca
    if demo:
        from douane.edge import demo as stand_in
        from douane.edge.ports import free_port

        folder, port = config.home.private / "demo", free_port()
        upstream_ca = stand_in.make_certificate(folder)
        routes = (*routes, (stand_in.HOST, 443, "127.0.0.1", port))
        command = [sys.executable, "-m", stand_in.__name__, "--folder", str(folder), "--port", str(port)]
        children.append(Child("stand-in", command, heartbeat=False))
    home = ["--home", str(config.home.root), "--console", address_text(console)]
    node = [*home, "--policy", str(config.policy_dir)]
    node += ["--listen", address_text((config.listen_host, config.listen_port))]
    for host, port, to_host, to_port in routes:
        node += ["--connect-to", f"{address_text((host, port))}={address_text((to_host, to_port))}"]
    if upstream_ca is not None:
        node += ["--upstream-ca", str(upstream_ca)]
    children.append(Child("proxy", douane_command("proxy", *node), heartbeat=True))
    children.append(Child("console", douane_command("console", *home), heartbeat=False))
    return children


def _tell(config: NodeConfig, console: tuple[str, int], reviewer: str, *, demo: bool) -> None:
    """Print where everything is, a login link and a line to try, then `ready`."""
    from douane.api.client import ApiClient
    from douane.edge import demo as stand_in

    client = ApiClient(config.home.api_socket)
    known = client.request("GET", "/v1/reviewers")["reviewers"]
    if known:
        reviewer = known[0]["name"]
        link = client.request("POST", f"/v1/reviewers/{reviewer}/link")["link"]
    else:
        link = client.request("POST", "/v1/reviewers", {"name": reviewer})["link"]
    proxy = f"http://{address_text((config.listen_host, config.listen_port))}"
    click.echo(f"proxy    {proxy}")
    click.echo(f"CA       {config.home.ca_cert}")
    click.echo(f"console  http://{address_text(console)}/login?link={link}")
    click.echo(f"         (logs {reviewer} in, once)")
    target = "https://probe.douane.invalid/"
    if demo:
        click.echo(f"demo     {stand_in.HOST} is played by a stand-in on this machine; nothing real is touched")
        target = f"-X DELETE https://{stand_in.HOST}/repos/acme/legacy-billing"
    agents = client.request("GET", "/v1/agents")["agents"]
    if agents:  # then nobody passes without a key
        click.echo(f"try      douane run --home {config.home.root} --agent {agents[0]['name']} -- curl {target}")
    else:
        click.echo(f"try      curl --proxy {proxy} --cacert {config.home.ca_cert} {target}")
    if client.request("GET", "/v1/policy")["differs"]:
        click.echo("policy   the folder has another policy than the one in force; see: douane policy apply")
    click.echo("ready")
    sys.stdout.flush()


def _warn(clients: OwnClients, config: NodeConfig) -> None:
    """Tell once that the keys are not safe from an agent."""
    if clients.found():
        _say(
            "a client runs as the same user as this proxy, so it could read the keys in "
            f"{config.home.private}. Run agents as another user."
        )


def _say(message: str) -> None:
    with contextlib.suppress(OSError):  # a closed terminal stops nothing
        click.echo(f"douane: {message}", err=True)


def _check_policy(folder: Path) -> None:
    from douane.calls.node import PolicyRefused, load_rules
    from douane.cli.rows import counted

    try:
        load_rules(folder)
    except PolicyRefused as refused:
        for problem in refused.problems:
            click.echo(str(problem), err=True)
        mistakes = counted(len(refused.problems), "mistake")
        click.echo(f"douane: the policy in {folder} has {mistakes}; nothing was started", err=True)
        sys.exit(2)


def _check_running(home: Path) -> None:
    from douane.api.client import ApiClient, ApiError, NodeNotRunning
    from douane.edge.home import Home

    found = Home.at(home)
    try:
        other = ApiClient(found.api_socket).request("GET", "/v1/health", timeout_s=5)
    except (NodeNotRunning, ApiError, TimeoutError):
        return  # what else is wrong the node says
    click.echo(
        f"douane: a Douane with pid {other['pid']} already runs on the home {found.root}, its proxy on "
        f"{other['proxy']}. Stop it, or start another: --home DIR --listen HOST:PORT --console HOST:PORT",
        err=True,
    )
    sys.exit(1)


def _check_ports(listen: tuple[str, int], console: tuple[str, int]) -> None:
    from douane.edge.ports import cannot_listen

    if listen == console:
        raise click.UsageError(f"--listen and --console are both {address_text(listen)}")
    for option, address in (("--listen", listen), ("--console", console)):
        if (reason := cannot_listen(*address)) is not None:
            click.echo(
                f"douane: cannot listen on {address_text(address)}: {reason}. "
                f"Stop the other program or choose another address: {option} HOST:PORT",
                err=True,
            )
            sys.exit(1)
