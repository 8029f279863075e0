"""`douane up` as a person starts, loses and stops it."""

from __future__ import annotations

import http.client
import json
import os
import re
import shlex
import signal
import socket
import subprocess
import time
from collections.abc import Callable, Iterator
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

import psutil
import pytest

from support.policy import policy_folder
from support.product import Product, base_environment, eventually
from support.providers import Providers
from support.tools import need
from support.wire import Answer, Wire, request

SILENT_S = "1.5"
"""Instead of 10 s, so that nobody waits for it here."""


@pytest.fixture(scope="module")
def up(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Product]:
    """One that runs without stand-ins, and is whole again after each test."""
    product = Product(
        home=tmp_path_factory.mktemp("up") / "home", command="up", variables={"DOUANE_SILENT_S": SILENT_S}
    )
    yield product.start()
    product.kill()


def child(product: Product, name: str) -> psutil.Process:
    """The supervisor's child of that name."""
    assert product.process is not None
    (found,) = (c for c in psutil.Process(product.process.pid).children() if name in c.cmdline())
    return found


def probe(product: Product) -> Answer:
    """What the node itself answers for the name that only it knows."""
    host = "probe.douane.invalid"
    with Wire.open(product.proxy_address) as wire:
        wire.send(f"CONNECT {host}:443 HTTP/1.1\r\nHost: {host}:443\r\n\r\n".encode())
        assert wire.head().status == 200
        wire.start_tls(product.ca, host)
        return wire.ask(request("GET", host, "/"))


def console(product: Product, target: str) -> int:
    connection = http.client.HTTPConnection("127.0.0.1", product.console_port, timeout=20)
    try:
        connection.request("GET", target)
        return connection.getresponse().status
    finally:
        connection.close()


def printed(product: Product, word: str) -> str:
    return product.wait_line(rf"^{word} +\S").split(maxsplit=1)[1]


def test_it_prints_where_everything_is_and_then_ready(up: Product) -> None:
    assert printed(up, "proxy") == f"http://127.0.0.1:{up.proxy_port}"
    assert printed(up, "CA") == str(up.ca)
    assert printed(up, "console").startswith(f"http://127.0.0.1:{up.console_port}/login?link=")
    shown = [line for line in up.lines if not re.match(r"\d{4}-", line)]
    assert shown.index("ready") == 5, up.output()


def test_the_printed_line_to_try_works(up: Product) -> None:
    need("curl")
    words = shlex.split(printed(up, "try"))
    done = subprocess.run(
        [*words, "-sS"], capture_output=True, text=True, env=base_environment(up.home), timeout=60, check=False
    )
    assert json.loads(done.stdout) == {"douane": "governed", "agent": "default"}, done.stderr


def test_the_printed_link_leads_to_the_console(up: Product) -> None:
    assert console(up, "/login") == 200
    link = printed(up, "console").partition(f":{up.console_port}")[2]
    assert console(up, link) == 200


def test_a_reviewers_printed_link_is_whole(up: Product) -> None:
    start = f"http://127.0.0.1:{up.console_port}/login?link="
    added = up.run("reviewer", "add", "linked")
    link = up.run("reviewer", "link", "linked")
    assert (added.stderr, link.stderr) == ("", "")
    assert f"link      {start}" in added.stdout
    assert link.stdout.startswith(start)
    assert console(up, link.stdout.strip().partition(f":{up.console_port}")[2]) == 200


def test_the_home_is_private_but_for_what_agents_need(up: Product) -> None:
    def mode(path: Path) -> int:
        return path.stat().st_mode & 0o777

    assert mode(up.home) == 0o755
    assert mode(up.ca) == 0o644
    private = up.home / "private"
    assert mode(private) == 0o700
    opened = {path.name: oct(mode(path)) for path in private.rglob("*") if mode(path) & 0o077}
    assert opened == {}
    assert mode(private / "ca" / "mitmproxy-ca.pem") == mode(private / "register.key") == 0o600


def test_the_homes_policy_is_whole_and_the_operators_own(up: Product) -> None:
    folder = up.home / "policy"
    names = {str(path.relative_to(folder)) for path in folder.rglob("*")}
    assert {"policy.yaml", "cases/tiers.yaml", "schema/policy.schema.json", "catalog", "prices"} <= names
    assert up.run("policy", "test", str(folder)).returncode == 0


def test_a_node_killed_is_replaced_and_serves_again(up: Product) -> None:
    up.lines.clear()
    killed = child(up, "proxy")
    killed.kill()
    up.wait_line("the proxy ended .SIGKILL.; it is replaced")
    up.wait_line("the proxy serves again")
    assert child(up, "proxy").pid != killed.pid
    assert probe(up).status == 200


def test_a_node_whose_loop_is_silent_is_replaced(up: Product) -> None:
    up.lines.clear()
    stopped = child(up, "proxy")
    stopped.suspend()
    up.wait_line(f"the proxy gave no sign for {SILENT_S} s; it is replaced")
    up.wait_line("the proxy serves again")
    assert not psutil.pid_exists(stopped.pid)
    assert probe(up).status == 200


def test_a_console_killed_is_replaced_and_the_node_stays(up: Product) -> None:
    up.lines.clear()
    node = child(up, "proxy").pid
    child(up, "console").kill()
    up.wait_line("the console serves again")
    assert child(up, "proxy").pid == node
    assert console(up, "/login") == 200


def test_children_end_with_a_supervisor_that_is_killed_and_the_next_one_starts(up: Product) -> None:
    children = [psutil.Process(pid) for pid in up.pids()[1:]]
    assert len(children) == 2
    assert up.process is not None
    up.process.kill()
    up.process.wait(30)
    _, alive = psutil.wait_procs(children, timeout=30)
    assert alive == []
    up.start()
    assert probe(up).status == 200


def test_a_second_one_on_the_same_home_is_one_clear_line(up: Product) -> None:
    assert up.process is not None
    address = f"127.0.0.1:{up.proxy_port}"
    second = Product(home=up.home, command="up", proxy_port=up.proxy_port).start(ready=False)
    try:
        assert second.wait_ended() == 1
        eventually(lambda: second.pids() == [], "its end")
        said = [line for line in second.lines if line.startswith("douane: ")]
        assert len(said) == 1, second.output()
        start = (
            f"douane: a Douane with pid {up.process.pid} already runs on the home {up.home}, its proxy on {address}."
        )
        assert said[0].startswith(start)
        assert "Traceback" not in second.output()
    finally:
        second.kill()
    assert probe(up).status == 200


def test_it_stops_at_once_while_the_console_waits_for_news(up: Product) -> None:
    """The last test of this one: its console has long been in a long poll of 20 s by now."""
    began = time.monotonic()
    assert up.stop() == 0, up.output()
    assert time.monotonic() - began < 10
    assert "was killed" not in up.output()


@pytest.mark.parametrize("number", [signal.SIGINT, signal.SIGTERM, signal.SIGHUP])
def test_it_drains_and_stops_cleanly(
    new_product: Callable[..., Product], providers: Providers, number: signal.Signals
) -> None:
    product = new_product(command="up").start()
    agent = product.agent("coder")
    pids = product.pids()
    assert len(pids) == 3
    host, providers_seen = "api.openai.com", providers.stand_in.seen
    body = json.dumps({"model": "gpt-4o-mini", "max_tokens": 20, "messages": [{"role": "user", "content": "hi"}]})
    providers.stand_in.pace.close()

    def ask() -> Answer:
        with Wire.tunnel(agent, product.proxy_address, host, timeout=60) as wire:
            path = "/v1/chat/completions"
            return wire.ask(request("POST", host, path, body.encode(), "Content-Type: application/json"))

    with ThreadPoolExecutor(2) as pool:
        under_way = pool.submit(ask)
        providers.stand_in.wait_for(lambda: len(providers_seen()) == 1, "the call")
        stopped = pool.submit(product.stop, with_signal=number)
        eventually(lambda: not listens(product.proxy_address), "the end of listening")
        providers.stand_in.pace.open()
        assert under_way.result(60).status == 200
        assert stopped.result(60) == 0, product.output()
    assert [pid for pid in pids if psutil.pid_exists(pid)] == []
    assert "Traceback" not in product.output()
    assert "killed" not in product.output()
    lines = product.run("log", "--json").stdout.splitlines()  # by a node of its own: the store is free again
    kinds = [json.loads(line)["record"]["kind"] for line in lines]
    assert kinds.count("intent") == kinds.count("result") == 1


def listens(address: tuple[str, int]) -> bool:
    with socket.socket() as probe:
        return probe.connect_ex(address) == 0


# what keeps it from starting: one clear line, the right exit code, and nothing left behind


def refused(tmp_path: Path, *flags: str, home: Path | None = None, variables: dict[str, str] | None = None) -> Product:
    """A start that fails, after all it began has ended."""
    product = Product(home=home or tmp_path / "home", command="up", flags=flags, variables=variables or {})
    product.start(ready=False)
    try:
        assert product.process is not None
        children = psutil.Process(product.process.pid).children(recursive=True)
        product.wait_ended()
        product.wait_line("")
        assert psutil.wait_procs(children, timeout=30)[1] == []
    finally:
        product.kill()
    assert "Traceback" not in product.output()
    assert "ready" not in product.lines
    return product


def told(product: Product) -> str:
    """The one line that says why."""
    assert product.wait_ended() == 1, product.output()
    (line,) = (line for line in product.lines if line.strip())
    assert line.startswith("douane: ")
    return line


@pytest.mark.parametrize("option", ["--listen", "--console"])
def test_a_port_in_use(tmp_path: Path, option: str) -> None:
    with socket.create_server(("127.0.0.1", 0)) as other:
        address = f"127.0.0.1:{other.getsockname()[1]}"
        line = told(refused(tmp_path, option, address))
    assert address in line
    assert f"{option} HOST:PORT" in line
    assert not (tmp_path / "home").exists()


def test_a_home_that_cannot_be_made(tmp_path: Path) -> None:
    (tmp_path / "file").write_text("not a folder")
    assert "cannot use the home folder" in told(refused(tmp_path, home=tmp_path / "file" / "home"))


def test_a_home_that_is_a_file(tmp_path: Path) -> None:
    (tmp_path / "file").write_text("not a folder")
    product = refused(tmp_path, home=tmp_path / "file")
    assert product.wait_ended() == 2
    assert product.lines[-1].startswith("Error: Invalid value for '--home'")
    assert f"{tmp_path / 'file'}' is a file." in product.lines[-1]


@pytest.mark.skipif(not Path("/proc/self").exists(), reason="needs a folder that not even root can write to")
def test_a_home_that_cannot_be_written(tmp_path: Path) -> None:
    assert "--home DIR" in told(refused(tmp_path, home=Path("/proc/douane")))


def test_a_home_too_deep_for_its_socket(tmp_path: Path) -> None:
    assert "too long" in told(refused(tmp_path, home=tmp_path / ("deep" * 20) / "home"))


def prepared(tmp_path: Path) -> Path:
    from douane.edge.ca import ensure_ca
    from douane.edge.home import Home

    before = os.umask(0o022)
    home = Home.prepare(tmp_path / "home")
    ensure_ca(home)
    os.umask(before)
    return home.root


def test_what_others_can_read_or_change_is_not_used_until_mended(tmp_path: Path) -> None:
    home = prepared(tmp_path)
    others = {"private": 0o750, "private/ca": 0o755, "private/ca/mitmproxy-ca.pem": 0o640, "": 0o777}
    for inside, mode in others.items():
        (home / inside).chmod(mode)
        line = told(refused(tmp_path))
        assert str(home / inside) in line
        subprocess.run(shlex.split(line.partition("Run: ")[2]), check=True)
    (home / "ca-cert.pem").chmod(0o666)  # holds no secret: opened again at each start
    product = Product(home=home, command="up").start()
    assert (home / "ca-cert.pem").stat().st_mode & 0o777 == 0o644
    assert product.stop() == 0


@pytest.mark.skipif(os.geteuid() != 0, reason="only root can give files away")
def test_what_belongs_to_another_user_is_not_used(tmp_path: Path) -> None:
    home = prepared(tmp_path)
    os.chown(home / "private" / "ca" / "mitmproxy-ca.pem", 65534, 65534)
    assert "belongs to another user" in told(refused(tmp_path))


def test_a_broken_ca(tmp_path: Path) -> None:
    home = prepared(tmp_path)
    (home / "private" / "ca" / "mitmproxy-ca.pem").write_text("nothing")
    assert "Move the file away" in told(refused(tmp_path))


def test_providers_cas_that_are_missing_or_none(tmp_path: Path) -> None:
    assert "cannot read" in told(refused(tmp_path, "--upstream-ca", str(tmp_path / "nowhere.pem")))
    (tmp_path / "empty.pem").write_text("no certificate")
    assert "holds no certificate" in told(refused(tmp_path, "--upstream-ca", str(tmp_path / "empty.pem")))


def test_a_policy_folder_that_is_not_there(tmp_path: Path) -> None:
    assert "there is no folder" in told(refused(tmp_path, "--policy", str(tmp_path / "nowhere")))


def test_a_wrong_policy_tells_all_mistakes(tmp_path: Path) -> None:
    folder = policy_folder(tmp_path / "policy")
    (folder / "policy.yaml").write_text("version: 1\nmode: enforced\nunmaped: hold\n")
    product = refused(tmp_path, "--policy", str(folder))
    assert product.wait_ended() == 2
    *problems, last = product.lines
    assert [int(number) for line in problems for number in re.findall(r"policy\.yaml:(\d+)", line)] == [2, 3]
    assert last.startswith("douane: ")
    assert "2 mistakes" in last


@pytest.mark.parametrize(
    "flags",
    [("--listen", "8080"), ("--listen", "127.0.0.1:99999"), ("--connect-to", "a:1"), ("--demo", "--upstream-ca", "x")],
)
def test_options_that_make_no_sense(tmp_path: Path, flags: tuple[str, ...]) -> None:
    product = refused(tmp_path, *flags)
    assert product.wait_ended() == 2
    assert product.lines[-1].startswith("Error: ")
