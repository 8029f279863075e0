"""The reference of all commands, as `docs/commands.md` has it: written from the commands themselves."""

from __future__ import annotations

from collections.abc import Iterator

import click

from douane.cli.main import COMMANDS, cli

COMMON = ("home", "as_json")
"""Options that stand in a command's first line."""

HEAD = """\
# Commands

Every command with its arguments and options; `--help` of each shows the same with examples. Exit codes: 0 done, 1 it
could not be done, 2 used wrongly or a wrong policy. `douane run` ends with its command's exit code.

`DOUANE_HOME` stands for `--home`, `DOUANE_REVIEWER` for `--reviewer` of `douane reviews`, and `DOUANE_REVIEWER_SECRET`
for the secret that is asked for otherwise.
"""


def walk() -> Iterator[tuple[str, click.Command]]:
    """Every command with its full name, in the order of `douane --help`."""
    context = click.Context(cli, info_name="douane")
    for name in COMMANDS:
        command = cli.get_command(context, name)
        assert command is not None
        yield from _below(f"douane {name}", command)


def _below(name: str, command: click.Command) -> Iterator[tuple[str, click.Command]]:
    if not isinstance(command, click.Group) or command.invoke_without_command:
        yield name, command
    if isinstance(command, click.Group):
        for sub in command.commands.values():
            yield from _below(f"{name} {sub.name}", sub)


def options(command: click.Command) -> Iterator[click.Option]:
    """The public options of a command."""
    for parameter in command.params:
        if isinstance(parameter, click.Option) and not parameter.hidden:
            yield parameter


def commands_page() -> str:
    """The whole page."""
    return "\n".join([HEAD, *(_section(name, command) for name, command in walk())])


def _section(name: str, command: click.Command) -> str:
    context = click.Context(command, info_name=name)
    words = [word for parameter in command.params for word in _usage(parameter, context)]
    purpose = " ".join((command.help or "").partition("\b")[0].split())
    lines = [f"## `{' '.join([name, *words])}`", "", purpose, ""]
    shown = [option for option in options(command) if option.name not in COMMON]
    lines += [f"- `{_form(option, context)}`: {_told(option)}" for option in shown]
    return "\n".join([*lines, ""] if shown else lines)


def _usage(parameter: click.Parameter, context: click.Context) -> Iterator[str]:
    match parameter:
        case click.Argument():
            yield parameter.make_metavar(context)
        case click.Option(required=True):
            yield _form(parameter, context)
        case click.Option() if parameter.name in COMMON:
            yield f"[{_form(parameter, context)}]"


def _form(option: click.Option, context: click.Context) -> str:
    value = "" if option.is_flag else " DIR" if option.name == "home" else f" {option.make_metavar(context)}"
    return ", ".join(option.opts) + value


def _told(option: click.Option) -> str:
    told = " ".join((option.help or "").split())
    if isinstance(option.default, str | int) and option.show_default:
        told += f" Default: {option.default}."
    return told
