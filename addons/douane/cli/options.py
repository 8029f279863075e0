"""Options that several commands share."""

from __future__ import annotations

import re
from collections.abc import Callable
from pathlib import Path
from typing import Any

import click

from douane.edge.home import Home, NoHome

home_option = click.option(
    "--home",
    type=click.Path(path_type=Path, file_okay=False),
    envvar="DOUANE_HOME",
    default=Home.default,
    show_default="~/.douane",
    help="The folder with keys, store and API socket.",
)
policy_option = click.option(
    "--policy",
    "policy_dir",
    type=click.Path(path_type=Path, file_okay=False),
    help="The policy's folder.  [default: HOME/policy, else the shipped one]",
)
json_option = click.option("--json", "as_json", is_flag=True, help="Print JSON for machines.")


def existing_home(path: Path) -> Home:
    """The home that a command looks at or changes: a mistyped `--home` is a mistake, not a new node."""
    try:
        return Home.existing(path)
    except NoHome as missing:
        raise click.UsageError(str(missing)) from None


def split_option(text: str, sign: str, form: str) -> tuple[str, str]:
    """The two sides of `NAME=VALUE` or `NAME: VALUE`."""
    name, found, value = text.partition(sign)
    if not found or not name.strip():
        raise click.UsageError(f"{text!r} is not {form}")
    return name.strip(), value.strip()


def body_option(data: str | None) -> bytes:
    """A body as it is typed, or a file's after `@`."""
    if data is None:
        return b""
    if not data.startswith("@"):
        return data.encode()
    try:
        return Path(data[1:]).read_bytes()
    except OSError as error:
        raise click.UsageError(f"cannot read {data[1:]}: {error.strerror}") from error


CONSOLE = "127.0.0.1:8081"
"""Where the console listens unless told otherwise."""


class Address(click.ParamType[tuple[str, int]]):
    """`HOST:PORT`."""

    name = "HOST:PORT"

    def convert(self, value: Any, param: click.Parameter | None, ctx: click.Context | None) -> tuple[str, int]:
        """Split an address."""
        if isinstance(value, tuple):
            return value
        match = re.fullmatch(r"(\[[0-9a-fA-F:.]+\]|[^\s:]+):([0-9]{1,5})", value)
        if match is None or int(match[2]) > 65535:
            self.fail(f"{value!r} is not HOST:PORT", param, ctx)
        return match[1].strip("[]"), int(match[2])


class Route(click.ParamType[tuple[str, int, str, int]]):
    """`HOST:PORT=HOST:PORT`."""

    name = "HOST:PORT=HOST:PORT"

    def convert(
        self, value: Any, param: click.Parameter | None, ctx: click.Context | None
    ) -> tuple[str, int, str, int]:
        """Split a route."""
        if isinstance(value, tuple):
            return value
        one, equals, other = str(value).partition("=")
        if not equals:
            self.fail(f"{value!r} is not HOST:PORT=HOST:PORT", param, ctx)
        return (*Address().convert(one, param, ctx), *Address().convert(other, param, ctx))


def address_text(address: tuple[str, int]) -> str:
    """An address as `HOST:PORT`."""
    host, port = address
    return f"[{host}]:{port}" if ":" in host else f"{host}:{port}"


def node_options(function: Callable[..., Any]) -> Callable[..., Any]:
    """The options of a node: home, policy, address, routes, trusted CAs."""
    for option in reversed(
        (
            home_option,
            click.option(
                "--policy",
                "policy_dir",
                type=click.Path(path_type=Path, file_okay=False),
                help="The policy's folder.  [default: HOME/policy, made from the shipped one]",
            ),
            click.option(
                "--listen", type=Address(), default="127.0.0.1:8080", show_default=True, help="The proxy's address."
            ),
            click.option(
                "--connect-to",
                type=Route(),
                multiple=True,
                help="Dial a destination elsewhere (private endpoints, tests); TLS name and policy see the original.",
            ),
            click.option(
                "--upstream-ca",
                type=click.Path(path_type=Path),
                help="A PEM file of CAs to trust for providers, in place of the public ones.",
            ),
        )
    ):
        function = option(function)
    return function
