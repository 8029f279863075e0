"""`douane agent` and `douane reviewer`, beside a running node and without one."""

from __future__ import annotations

import json
import re
import shlex
import subprocess
from collections.abc import Callable
from pathlib import Path

import pytest

from douane.edge.runtimes import environment
from support.commands import call, passes, printed_agent, refused
from support.product import Product, base_environment
from support.tools import need
from support.wire import Wire, request


@pytest.fixture(params=["beside a node", "without a node"])
def home(request: pytest.FixtureRequest, shared_product: Product, idle: Product) -> Product:
    return shared_product if request.param == "beside a node" else idle


def test_add_prints_what_to_set_and_the_key_works_at_once(product: Product) -> None:
    printed = product.run("agent", "add", "printed").stdout
    assert passes(product, printed_agent(product, "printed", printed))
    done = subprocess.run(
        ["/bin/sh", "-c", f"{printed}\nexec {need('curl')} -sS https://api.github.com/user"],
        env=base_environment(product.home), capture_output=True, text=True, timeout=60, check=False,
    )  # fmt: skip
    assert json.loads(done.stdout)["login"] == "octocat", done.stderr
    exports = dict(shlex.split(line)[1].split("=", 1) for line in printed.splitlines() if line.startswith("export "))
    assert exports == environment(exports["HTTPS_PROXY"], product.ca)
    assert {exports["SSL_CERT_FILE"], exports["AWS_CA_BUNDLE"], exports["HTTPLIB2_CA_CERTS"]} == {str(product.ca)}


def test_a_home_with_a_space_can_be_pasted(tmp_path: Path) -> None:
    home = tmp_path / "my home"
    printed = Product(home=home).run("agent", "add", "spaced").stdout
    done = subprocess.run(
        ["/bin/sh", "-c", f'{printed}\necho "$SSL_CERT_FILE"'], capture_output=True, text=True, check=True
    )
    assert done.stdout == f"{home}/ca-cert.pem\n"
    assert Path(done.stdout.strip()).is_file()


def test_the_first_agent_ends_calling_without_a_key(new_product: Callable[..., Product]) -> None:
    product = new_product().start()
    said = "# the first agent: from now on every client needs a key, and one without gets a 407"
    assert said in product.run("agent", "add", "first").stdout.splitlines()
    with Wire.open(product.proxy_address) as wire:
        wire.send(b"CONNECT api.github.com:443 HTTP/1.1\r\nHost: api.github.com:443\r\n\r\n")
        assert wire.head().status == 407
    assert said not in product.run("agent", "add", "second").stdout
    product.run("agent", "remove", "first")
    product.run("agent", "remove", "second")
    assert json.loads(product.run("agent", "add", "third", "--json").stdout)["first"] is False, "it is for good"


def test_a_key_is_shown_once_and_never_again(home: Product) -> None:
    made = json.loads(home.run("agent", "add", "secretive", "--label", "env=prod", "--cap", "$2.50", "--json").stdout)
    assert made["agent"]["labels"] == {"env": "prod"}
    assert made["agent"]["cap_usd"] == 2.5
    shown = [
        home.run(*words).stdout
        for words in (["agent", "list"], ["agent", "list", "--json"], ["log", "--json"], ["spend", "--json"])
    ]
    assert all("secretive" in text for text in shown)
    assert made["key"] not in "".join(shown)
    private = [path.read_bytes() for path in (home.home / "private").rglob("*") if path.is_file()]
    assert private
    assert [found for found in private if made["key"].encode() in found] == []


def test_list_shows_labels_caps_and_state_uncut_at_80_columns(product: Product) -> None:
    name = "a" * 64
    labels = [f"label-{number}=a-rather-long-value" for number in range(3)]
    words = [word for label in labels for word in ("--label", label)]
    product.run("agent", "add", name, *words, "--cap", "1234567.89")
    product.run("agent", "suspend", name)
    printed = product.run("agent", "list", variables={"COLUMNS": "80"}).stdout.splitlines()
    assert printed[0].split() == ["agent", "state", "cap", "since", "labels"]
    (line,) = (line for line in printed if name in line)
    assert re.fullmatch(rf"{name}  suspended  \$1,234,567.89  \S+Z  {' '.join(labels)}", line)
    rows = {row["name"]: row for row in json.loads(product.run("agent", "list", "--json").stdout)}
    assert (rows[name]["suspended"], rows[name]["cap_usd"], len(rows[name]["labels"])) == (True, 1234567.89, 3)
    product.run("agent", "remove", name)
    assert name not in product.run("agent", "list").stdout


def test_rotate_ends_the_old_key_on_open_connections_too(product: Product) -> None:
    old = product.agent("rotated")
    with Wire.tunnel(old, product.proxy_address, "api.github.com") as wire:
        assert wire.ask(request("GET", "api.github.com", "/user")).status == 200
        new = printed_agent(product, "rotated", product.run("agent", "rotate", "rotated").stdout)
        assert wire.ask(request("GET", "api.github.com", "/user")).code == "agent_unknown"
    assert not passes(product, old)
    assert passes(product, new)
    again = json.loads(product.run("agent", "rotate", "rotated", "--json").stdout)
    assert again["key"] not in (old.key, new.key)


def test_suspend_and_resume(product: Product) -> None:
    agent, other = product.agent("paused"), product.agent("not-paused")
    assert product.run("agent", "suspend", "paused").stdout == "paused is suspended\n"
    assert (passes(product, agent), passes(product, other)) == (False, True)
    assert product.run("agent", "resume", "paused").stdout == "paused may call again\n"
    assert passes(product, agent)
    try:
        printed = product.run("agent", "suspend", "--all").stdout
        assert printed.startswith("suspended: ")
        assert {"paused", "not-paused"} <= set(printed.removeprefix("suspended: ").strip().split(", "))
        assert not passes(product, other)
        assert product.run("agent", "suspend", "--all").stdout == "suspended: none\n"
    finally:
        printed = product.run("agent", "resume", "--all").stdout
    assert {"paused", "not-paused"} <= set(printed.removeprefix("resumed: ").strip().split(", "))
    assert product.run("agent", "resume", "--all").stdout == "resumed: none\n"
    assert passes(product, other)


def test_remove_ends_an_agent(product: Product) -> None:
    agent = product.agent("gone")
    assert call(product, agent).status == 200
    assert product.run("agent", "remove", "gone").stdout == "gone is removed\n"
    assert not passes(product, agent)
    assert refused(product, "agent", "remove", "gone") == "there is no agent gone"


def test_what_was_done_without_a_node_holds_when_one_starts(idle: Product) -> None:
    idle.run("agent", "add", "early")
    made = json.loads(idle.run("agent", "rotate", "early", "--json").stdout)
    idle.start()
    try:
        printed = f"http://early:{made['key']}@"
        assert call(idle, printed_agent(idle, "early", printed), host="probe.douane.invalid", path="/").status == 200
    finally:
        assert idle.stop() == 0
    records = [json.loads(line)["record"] for line in idle.run("log", "--kind", "admin", "--json").stdout.splitlines()]
    assert [r["action"] for r in records if r["subject"] == "early"] == ["agent.add", "agent.rotate"]


NAME = "name: a name is 1 to 64 lower-case letters, digits, `.`, `_` and `-`, and begins with a letter or digit"


@pytest.mark.parametrize(
    ("arguments", "code", "line"),
    [
        (["agent", "add", "Coder"], 1, NAME),
        (["agent", "add", "a b"], 1, NAME),
        (["agent", "add", ""], 1, NAME),
        (["agent", "add", "a" * 65], 1, NAME),
        (["agent", "add", "suspend-all"], 1, "name: `suspend-all` is the kill switch, not a name"),
        (["agent", "add", "x", "--cap", "five"], 1, "cap_usd: not an amount of money: 'five'"),
        (["agent", "add", "x", "--cap", ""], 1, "cap_usd: not an amount of money: ''"),
        (["agent", "add", "x", "--cap", "-1"], 1, "cap_usd: not an amount of money: '-1'"),
        (["agent", "add", "x", "--cap", "1e99999999"], 1, "cap_usd: not an amount of money: '1e99999999'"),
        (["agent", "add", "x", "--cap", "1e9"], 1, "cap_usd: a cap is at most $9,007,199.25"),
        (["agent", "add", "x", "--label", "env"], 2, "Invalid value for --label: 'env' is not NAME=VALUE"),
        (["agent", "add", "x", "--label", "Env=1"], 1, NAME.replace("name:", "labels.Env:")),
        (["agent", "add", "X", "--cap", "x"], 1, f"{NAME}; cap_usd: not an amount of money: 'x'"),
        (["agent", "add"], 2, "Missing argument 'NAME'."),
        (["agent", "rotate", "nobody"], 1, "there is no agent nobody"),
        (["agent", "remove", "nobody"], 1, "there is no agent nobody"),
        (["agent", "remove", "a/b?c#d e"], 1, "there is no agent a/b?c#d e"),
        (["agent", "remove", "\x1b[2J"], 1, "there is no agent \\u{1b}[2J"),
        (["agent", "suspend", "nobody"], 1, "there is no agent nobody"),
        (["agent", "resume", "nobody"], 1, "there is no agent nobody"),
        (["agent", "suspend"], 2, "Name one agent, or --all."),
        (["agent", "suspend", "x", "--all"], 2, "Name one agent, or --all."),
        (["agent", "resume"], 2, "Name one agent, or --all."),
        (["agent", "resume", "x", "--all"], 2, "Name one agent, or --all."),
        (["reviewer", "add", "Rita"], 1, NAME),
        (["reviewer", "link", "nobody"], 1, "there is no reviewer nobody"),
        (["reviewer", "remove", "nobody"], 1, "there is no reviewer nobody"),
    ],
)  # fmt: skip
def test_mistakes_are_one_clear_line(product: Product, arguments: list[str], code: int, line: str) -> None:
    assert refused(product, *arguments, code=code) == line


def test_mistakes_are_the_same_line_without_a_node(idle: Product) -> None:
    assert refused(idle, "agent", "add", "Coder") == NAME
    assert refused(idle, "agent", "rotate", "a b") == "there is no agent a b"


def test_a_name_is_taken_once(product: Product) -> None:
    product.run("agent", "add", "taken")
    assert refused(product, "agent", "add", "taken") == "there is an agent taken already"
    product.run("reviewer", "add", "taken")
    assert refused(product, "reviewer", "add", "taken") == "there is a reviewer taken already"


# reviewers


def test_a_reviewers_secret_is_shown_once(product: Product) -> None:
    printed = product.run("reviewer", "add", "rita").stdout
    told = dict(line.split(maxsplit=1) for line in printed.splitlines()[:3])
    assert set(told) == {"reviewer", "secret", "link"}
    link = told["link"].removeprefix("http://127.0.0.1:8081/login?link=")
    assert re.fullmatch(r"[\w-]{40,}", link)
    made = json.loads(product.run("reviewer", "add", "omar", "--json").stdout)
    assert set(made) == {"reviewer", "secret", "link", "url"}
    shown = product.run("reviewer", "list").stdout
    assert {"rita", "omar"} <= set(shown.splitlines())
    listed = product.run("reviewer", "list", "--json").stdout
    assert {"rita", "omar"} <= {row["name"] for row in json.loads(listed)}
    everything = shown + listed + product.run("log", "--json").stdout
    for secret in (told["secret"], link, made["secret"], made["link"]):
        assert secret not in everything


def test_a_further_link_logs_in_once_and_not_after_the_reviewer_is_gone(product: Product) -> None:
    product.reviewer("linked")
    first, second = (
        product.run("reviewer", "link", "linked").stdout.strip().rpartition("/login?link=")[2] for _ in range(2)
    )
    assert product.api("POST", "/v1/login", {"link": first}).body["reviewer"] == "linked"
    assert product.api("POST", "/v1/login", {"link": first}).status == 401
    assert product.run("reviewer", "remove", "linked").stdout == "linked is removed\n"
    assert product.api("POST", "/v1/login", {"link": second}).status == 401
    assert "linked" not in product.run("reviewer", "list").stdout


def test_nobody_yet(tmp_path: Path) -> None:
    empty = Product(home=tmp_path / "home")
    empty.run("reviewer", "add", "first")
    empty.run("reviewer", "remove", "first")
    assert empty.run("agent", "list").stdout == "No agent is registered.\n"
    assert empty.run("reviewer", "list").stdout == "There is no reviewer yet: douane reviewer add NAME\n"
