"""`--help` and `--version`: what a person sees who types the first thing that comes to mind."""

from __future__ import annotations

import subprocess
import sys

import click
import pytest
from click.testing import CliRunner

from douane import __version__
from douane.cli.main import COMMANDS, cli
from support.product import DOUANE
from support.reference import walk

GROUPS = [name for name in COMMANDS if isinstance(cli.get_command(click.Context(cli), name), click.Group)]
ALL = sorted({*(name for name, _ in walk()), *(f"douane {name}" for name in GROUPS), "douane"})


@pytest.mark.parametrize("command", ALL)
def test_help_has_an_example_of_the_command_and_fits_80_columns(command: str) -> None:
    words = command.split()[1:]
    done = CliRunner().invoke(cli, [*words, "--help"], prog_name="douane", terminal_width=80)
    assert done.exit_code == 0
    heading, _, examples = done.output.partition("\n  Example")
    assert heading.startswith(f"Usage: {command} ")
    lines = [line for line in examples.splitlines() if line.startswith("    ")]
    assert lines, done.output
    assert any(line.split()[: len(words) + 1] == command.split() for line in lines), lines
    assert [line for line in done.output.splitlines() if len(line) > 100] == []


@pytest.mark.parametrize("command", [[DOUANE], [sys.executable, "-m", "douane.cli.main"]])
def test_the_version(command: list[str]) -> None:
    done = subprocess.run([*command, "--version"], capture_output=True, text=True, timeout=60, check=True)
    assert (done.stdout, done.stderr) == (f"douane, version {__version__}\n", "")


def test_help_of_all_lists_every_command_without_loading_any() -> None:
    code = "import sys; from douane.cli.main import main\ntry: main(['--help'])\nfinally: print(sorted(sys.modules))"
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, timeout=60, check=True)
    for name, purpose in COMMANDS.items():
        assert f"  {name} " in done.stdout
        assert purpose in done.stdout
    assert "'douane.cli.main'" in done.stdout
    assert "'douane.cli.agent'" not in done.stdout
    assert "'mitmproxy'" not in done.stdout


@pytest.mark.parametrize(
    ("words", "said"), [(["agents"], "No such command 'agents'"), (["up", "--hom"], "No such option")]
)
def test_what_does_not_exist_is_told(words: list[str], said: str) -> None:
    done = CliRunner().invoke(cli, words)
    assert done.exit_code == 2
    assert said in done.output
