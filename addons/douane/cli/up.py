"""`douane up`: the proxy and the console under one supervisor, in the foreground."""

from __future__ import annotations

import getpass
import signal
import socket
import sys
from pathlib import Path

import click

from douane.cli.options import Address, node_options


@click.command()
@node_options
@click.option("--console", type=Address(), default="127.0.0.1:8081", show_default=True, help="The console's address.")
@click.option("--demo", is_flag=True, help="To try things out: api.github.com is played by a stand-in on this machine.")
@click.option("--reviewer", default="operator", show_default=True, help="The first reviewer's name, where there is none yet.")
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
    from douane.api.client import ApiClient  # noqa: PLC0415 - `--help` needs none of it
    from douane.edge.start import make_config  # noqa: PLC0415
    from douane.edge.supervisor import Child, Supervisor, douane_command  # noqa: PLC0415

    config = make_config(home, policy_dir, listen, connect_to, upstream_ca, console)
    _check_policy(config.policy_dir)
    for option, (host, port) in (("--listen", listen), ("--console", console)):
        _check_port(option, host, port)
    children = []
    if demo:
        from douane.edge.demo import HOST, make_certificate  # noqa: PLC0415

        folder = config.home.private / "demo"
        upstream_ca = make_certificate(folder)
        port = _free_port()
        connect_to = (*connect_to, (HOST, 443, "127.0.0.1", port))
        stand_in = [sys.executable, "-m", "douane.edge.demo", "--folder", str(folder), "--port", str(port)]
        children.append(Child("stand-in", stand_in, heartbeat=False))
    node_arguments = ["--home", str(config.home.root), "--policy", str(config.policy_dir), "--listen", _text(listen)]
    node_arguments += ["--console", _text(console)]
    for host, port, to_host, to_port in connect_to:
        node_arguments += ["--connect-to", f"{_text((host, port))}={_text((to_host, to_port))}"]
    if upstream_ca is not None:
        node_arguments += ["--upstream-ca", str(upstream_ca)]
    children += [
        Child("proxy", douane_command("proxy", *node_arguments), heartbeat=True),
        Child(
            "console",
            douane_command("console", "--home", str(config.home.root), "--console", _text(console)),
            heartbeat=False,
        ),
    ]
    supervisor = Supervisor(children, lambda message: click.echo(f"douane: {message}", err=True))
    for number in (signal.SIGINT, signal.SIGTERM):
        signal.signal(number, lambda *_: setattr(supervisor, "stopping", True))

    def all_ready() -> None:
        client = ApiClient(config.home.api_socket)
        known = [row["name"] for row in client.request("GET", "/v1/reviewers")["reviewers"]]
        if known:
            name = known[0]
            link = client.request("POST", f"/v1/reviewers/{name}/link")["link"]
        else:
            made = client.request("POST", "/v1/reviewers", {"name": reviewer})
            name, link = reviewer, made["link"]
        proxy = _text(listen)
        click.echo(f"proxy    http://{proxy}")
        click.echo(f"CA       {config.home.ca_cert}")
        click.echo(f"console  http://{_text(console)}/login?link={link}")
        click.echo(f"         (logs {name} in, once)")
        try_line = f"curl --proxy http://{proxy} --cacert {config.home.ca_cert}"
        if demo:
            click.echo(f"demo     {HOST} is played by a stand-in on this machine; nothing real is touched")
            click.echo(f"try      {try_line} -X DELETE https://{HOST}/repos/acme/legacy-billing")
        else:
            click.echo(f"try      {try_line} https://probe.douane.invalid/")
        if client.request("GET", "/v1/policy")["differs"]:
            click.echo("policy   the folder has another policy than the one in force; see: douane policy apply")
        click.echo(f"note     an agent that runs as {getpass.getuser()} could read the keys in {config.home.private}")
        click.echo("ready")
        sys.stdout.flush()

    sys.exit(supervisor.run(all_ready))


def _free_port() -> int:
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        return int(probe.getsockname()[1])


def _text(address: tuple[str, int]) -> str:
    host, port = address
    return f"[{host}]:{port}" if ":" in host else f"{host}:{port}"


def _check_policy(folder: Path) -> None:
    from douane.calls.node import PolicyRefused, load_rules  # noqa: PLC0415

    try:
        load_rules(folder)
    except PolicyRefused as refused:
        for problem in refused.problems:
            click.echo(str(problem), err=True)
        click.echo(f"douane: the policy in {folder} has {len(refused.problems)} mistakes; nothing was started", err=True)
        sys.exit(2)


def _check_port(option: str, host: str, port: int) -> None:
    family = socket.AF_INET6 if ":" in host else socket.AF_INET
    with socket.socket(family) as probe:
        probe.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
        try:
            probe.bind((host, port))
        except OSError as error:
            raise click.ClickException(
                f"cannot listen on {_text((host, port))}: {error.strerror}. "
                f"Stop the other program or choose another address with {option} HOST:PORT."
            ) from error
