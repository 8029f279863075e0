"""`douane run`: any command as an agent, with a key that ends with it."""

from __future__ import annotations

import json
import os
import signal
import subprocess
import sys
from pathlib import Path

import pytest

from douane.edge.runtimes import environment
from support.agents import QUIET_GIT
from support.commands import call, passes, printed_agent, refused
from support.product import DOUANE, Product, base_environment, eventually
from support.providers import Providers
from support.stand_in import PATIENCE_S
from support.tools import need, need_node

SHOW = (sys.executable, "-c", "import json, os; print(json.dumps(dict(os.environ)))")
URL = "https://api.github.com/user"


def session_keys(product: Product, agent: str) -> int:
    rows = {row["name"]: row["session_keys"] for row in product.api("GET", "/v1/agents").body["agents"]}
    found: int = rows[agent]
    return found


@pytest.mark.parametrize("runtime", ["curl", "python", "node", "git"])
def test_a_runtime_goes_through_the_proxy_as_the_agent(product: Product, providers: Providers, runtime: str) -> None:
    commands = {
        "curl": lambda: [need("curl"), "-sS", "--fail", URL],
        "python": lambda: [sys.executable, "-c", f"import urllib.request as u; print(u.urlopen('{URL}').read())"],
        "node": lambda: [need_node(), "-e", f"fetch('{URL}').then(r => r.text()).then(console.log)"],
        "git": lambda: [need("git"), "ls-remote", "https://github.com/acme/website"],
    }
    agent = product.agent(f"with-{runtime}")
    done = product.run("run", "--agent", agent.name, "--", *commands[runtime](), variables=QUIET_GIT)
    assert ("refs/heads/main" if runtime == "git" else "octocat") in done.stdout
    assert providers.stand_in.seen()
    intents = product.log(agent=agent.name, kind="intent")
    assert {record["host"] for record in intents} == {"github.com" if runtime == "git" else "api.github.com"}
    assert session_keys(product, agent.name) == 0


def test_it_sets_what_runtimes_need_and_leaves_the_rest(product: Product) -> None:
    before = {"HTTPS_PROXY": "http://other:1", "no_proxy": "*", "OWN": "kept"}
    product.agent("set")
    shown = json.loads(product.run("run", "--agent", "set", "--", *SHOW, variables=before).stdout)
    session = printed_agent(product, "set", shown["HTTPS_PROXY"])
    wanted = environment(session.proxy, product.ca)
    assert {name: shown[name] for name in wanted} == wanted
    own = {"_", "SHLVL", "PWD", *wanted}  # what a shell in between may set
    kept = base_environment(product.home) | before
    assert {name: shown[name] for name in shown.keys() - own} == {name: kept[name] for name in kept.keys() - own}
    assert session.key != product.agents["set"].key
    assert not passes(product, session), "the key ended with the command"
    assert passes(product, product.agents["set"])


def test_the_commands_words_input_and_output_are_its_own(product: Product) -> None:
    product.agent("words")
    code = "import sys; print(sys.argv[1:], sys.stdin.read()); print('err', file=sys.stderr)"
    words = ["--agent", "x", "-h", "--home", "a b", "", "--", "$HOME"]
    done = subprocess.run(
        [DOUANE, "run", "--agent", "words", "--home", str(product.home), "--", sys.executable, "-c", code, *words],
        env=base_environment(product.home), input="typed", capture_output=True, text=True, timeout=60, check=False,
    )  # fmt: skip
    assert (done.stdout, done.stderr, done.returncode) == (f"{words} typed\n", "err\n", 0)


@pytest.mark.parametrize(("script", "code"), [("exit 0", 0), ("exit 7", 7), ("exit 255", 255), ("kill -TERM $$", 143)])
def test_the_exit_code_is_the_commands(product: Product, script: str, code: int) -> None:
    product.agent("exits")
    done = product.run("run", "--agent", "exits", "--", "sh", "-c", script, check=False)
    assert (done.returncode, done.stdout, done.stderr) == (code, "", "")
    assert session_keys(product, "exits") == 0


@pytest.mark.parametrize(("command", "code", "why"), [("no-such-program", 127, "No such file"), ("/", 126, "denied")])
def test_a_command_that_cannot_start(product: Product, command: str, code: int, why: str) -> None:
    product.agent("stuck")
    line = refused(product, "run", "--agent", "stuck", "--", command, code=code)
    assert line.startswith(f"cannot start {command}: ")
    assert why in line
    assert session_keys(product, "stuck") == 0


@pytest.mark.parametrize("number", [signal.SIGTERM, signal.SIGINT, signal.SIGHUP])
def test_a_signal_ends_the_command_and_its_key(product: Product, number: signal.Signals) -> None:
    product.agent("ended")
    code = "import os, signal; signal.signal(2, signal.SIG_DFL); print(os.environ['HTTPS_PROXY'], flush=True)"
    code += "; signal.pause()"
    process = subprocess.Popen(
        [DOUANE, "run", "--agent", "ended", "--home", str(product.home), "--", sys.executable, "-c", code],
        env=base_environment(product.home), stdout=subprocess.PIPE, text=True, start_new_session=True,
    )  # fmt: skip
    try:
        assert process.stdout is not None
        agent = printed_agent(product, "ended", process.stdout.readline())
        assert passes(product, agent)
        process.send_signal(number)
        assert process.wait(PATIENCE_S) == 128 + number
    finally:
        process.kill()
        process.communicate()
    assert not passes(product, agent)


def test_a_suspended_agent_gets_nothing_through(product: Product, providers: Providers) -> None:
    product.agent("halted")
    product.run("agent", "suspend", "halted")
    done = product.run("run", "--agent", "halted", "--", need("curl"), "-sS", URL, check=False)
    assert done.returncode != 0
    assert "407" in done.stderr
    assert providers.stand_in.seen() == []


def test_an_unknown_agent_runs_nothing(product: Product, tmp_path: Path) -> None:
    made = tmp_path / "made"
    line = refused(product, "run", "--agent", "nobody", "--", "touch", str(made))
    assert line == "there is no agent nobody"
    assert not made.exists()


def test_without_a_node_nothing_runs(idle: Product, tmp_path: Path) -> None:
    made = tmp_path / "made"
    for _ in range(2):
        line = refused(idle, "run", "--agent", "coder", "--", "touch", str(made))
        assert line == f"no node answers on {idle.home}/private/api.sock; start one with `douane up`"
    assert not made.exists()


def test_used_wrongly(product: Product) -> None:
    assert refused(product, "run", "--", "true", code=2) == "Missing option '--agent'."
    assert refused(product, "run", "--agent", "x", code=2) == "Missing argument 'COMMAND...'."


def test_a_command_goes_on_when_the_node_is_gone(product: Product) -> None:
    product.agent("outlives")
    reader, writer = os.pipe()
    script = "echo up; read line; exit 9"
    process = subprocess.Popen(
        [DOUANE, "run", "--agent", "outlives", "--home", str(product.home), "--", "sh", "-c", script],
        env=base_environment(product.home), stdin=reader, stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True,
    )  # fmt: skip
    os.close(reader)
    assert process.stdout is not None
    assert process.stdout.readline() == "up\n"
    assert session_keys(product, "outlives") == 1
    product.kill()
    try:
        os.write(writer, b"go on\n")
        _, errors = process.communicate(timeout=PATIENCE_S)
        assert (process.returncode, errors) == (9, "")
    finally:
        os.close(writer)
        product.start()
    eventually(lambda: call(product, product.agents["outlives"]).status == 200, "the node's return")
