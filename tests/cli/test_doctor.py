"""`douane doctor`: which runtimes on a `PATH` are governed, and why the others are not."""

from __future__ import annotations

import json
import re
import shlex
import shutil
import subprocess
import sys
from collections.abc import Callable
from pathlib import Path
from subprocess import CompletedProcess
from typing import Any

import pytest

from support.commands import refused
from support.product import Product
from support.tools import need, need_node

BROKEN = "\x1b[31mout of order\x1b[0m"


@pytest.fixture
def programs(tmp_path: Path) -> Callable[..., dict[str, str]]:
    """A `PATH` with nothing but these programs: a path, or a script before the real one."""

    def make(**named: str) -> dict[str, str]:
        folder = tmp_path / "bin"
        folder.mkdir()
        for name, program in named.items():
            if program.startswith("#!"):
                (folder / name).write_text(program)
                (folder / name).chmod(0o755)
            else:
                (folder / name).symlink_to(program)
        return {"PATH": str(folder)}

    return make


def script(before: str, program: str) -> str:
    """A program in an environment of its own making."""
    return f'#!/bin/sh\n{before}\nexec {shlex.quote(program)} "$@"\n'


def examined(product: Product, variables: dict[str, str]) -> tuple[int, dict[str, dict[str, Any]]]:
    """The exit code and the findings."""
    product.agent("patient")
    done: CompletedProcess[str] = product.run("doctor", "--json", variables=variables, check=False)
    assert done.stderr == ""
    found = {row["runtime"]: row for row in json.loads(done.stdout)}
    rows = product.api("GET", "/v1/agents").body["agents"]
    assert sum(row["session_keys"] for row in rows) == 0, "the doctor's key ended"
    return done.returncode, found


def old_node() -> str:
    """A Node that does not read `NODE_USE_ENV_PROXY`."""
    for candidate in ("/usr/bin/node", shutil.which("node")):
        if candidate is not None and Path(candidate).exists():
            done = subprocess.run([candidate, "--version"], capture_output=True, text=True, check=True)
            major, minor = (int(part) for part in done.stdout.strip().lstrip("v").split(".")[:2])
            if (major, minor) < (22, 21) or major == 23:
                return candidate
    pytest.skip("there is no old Node on this machine")


def test_what_is_governed(product: Product, programs: Callable[..., dict[str, str]]) -> None:
    named = {"curl": need("curl"), "git": need("git"), "node": need_node(), "python3": script("", sys.executable)}
    code, found = examined(product, programs(**named))
    for runtime in found.keys() - {"wget"}:
        row = found[runtime]
        assert (row["governed"], row["why"]) == (True, "its request came through the proxy as the agent"), row
        assert re.fullmatch(r"\d+(\.\d+)+", row["version"]), row
    assert (found["wget"]["governed"], found["wget"]["why"]) == (None, "not installed")
    assert code == 0
    assert {record["kind"] for record in product.log(agent="patient")} <= {"admin"}, "a probe is no call"


def test_an_old_node_goes_direct(product: Product, programs: Callable[..., dict[str, str]]) -> None:
    code, found = examined(product, programs(node=old_node()))
    assert code == 1
    row = found["Node fetch"]
    assert row["governed"] is False
    assert row["why"].startswith("it went direct, past the proxy; ")
    assert "22.21" in row["why"]


def test_nothing_installed_is_nothing_wrong(product: Product, programs: Callable[..., dict[str, str]]) -> None:
    code, found = examined(product, programs())
    assert code == 0
    assert len(found) >= 7
    assert {(row["governed"], row["why"], row["version"]) for row in found.values()} == {(None, "not installed", "")}


@pytest.mark.parametrize(
    ("before", "why"),
    [
        ("unset HTTPS_PROXY https_proxy ALL_PROXY all_proxy", "it went direct, past the proxy; "),
        ("unset CURL_CA_BUNDLE SSL_CERT_FILE", "it reached the proxy but does not trust the CA, so its calls fail; "),
        ('export HTTPS_PROXY="http://${HTTPS_PROXY##*@}"; export https_proxy="$HTTPS_PROXY"',
         "it reached the proxy without the agent's key; "),
        (f"printf '%s\\n' '{BROKEN}' >&2; exit 3", "\\u{1b}[31mout of order\\u{1b}[0m; "),
        ("exit 3", "it said nothing; "),
    ],
)  # fmt: skip
def test_why_not(product: Product, programs: Callable[..., dict[str, str]], before: str, why: str) -> None:
    variables = programs(curl=script(before, need("curl")))
    product.agent("patient")
    done = product.run("doctor", variables=variables | {"COLUMNS": "80"}, check=False)
    assert (done.returncode, done.stderr) == (1, "")
    assert done.stdout.splitlines()[0].split() == ["runtime", "version", "state", "why"]
    (line,) = (line for line in done.stdout.splitlines() if line.startswith("curl "))
    assert f"  not governed  {why}set HTTPS_PROXY and CURL_CA_BUNDLE" in line
    assert "\x1b" not in done.stdout


def test_without_a_node(idle: Product) -> None:
    assert refused(idle, "doctor") == f"no node answers on {idle.home}/private/api.sock; start one with `douane up`"
