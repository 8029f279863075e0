"""The product as users run it: a process with its own home, spoken to through its commands, its API and its proxy."""

from __future__ import annotations

import contextlib
import http.client
import itertools
import json
import os
import random
import re
import signal
import socket
import subprocess
import sys
import threading
import time
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import psutil

from douane.edge.runtimes import environment
from support.providers import Providers
from support.stand_in import PATIENCE_S, StandIn

DOUANE = str(Path(sys.executable).with_name("douane"))
CREDENTIAL = re.compile(r"http://([A-Za-z0-9._-]+):([A-Za-z0-9._~-]+)@([0-9.]+):(\d+)")


@dataclass(frozen=True, slots=True)
class Agent:
    """A registered agent and what its environment needs."""

    name: str
    key: str
    proxy: str
    """`http://NAME:KEY@HOST:PORT`."""
    ca: Path

    def environment(self) -> dict[str, str]:
        """What `douane agent add` prints; a test of that command says that it does."""
        return environment(self.proxy, self.ca)


@dataclass(frozen=True, slots=True)
class ApiAnswer:
    """An answer of the node's API."""

    status: int
    body: Any


class CommandFailed(Exception):
    """A `douane` command did not end with 0."""

    def __init__(self, done: subprocess.CompletedProcess[str]) -> None:
        super().__init__(f"{done.args[1:]} ended with {done.returncode}\n{done.stdout}\n{done.stderr}")
        self.done = done


_WORKER = int(os.environ.get("PYTEST_XDIST_WORKER", "gw0").removeprefix("gw"))
_PORTS = range(12_000 + _WORKER % 8 * 2_000, 14_000 + _WORKER % 8 * 2_000)
"""A range for each process that runs tests, below what outgoing connections take their ports from."""
_ports = itertools.cycle(random.sample(_PORTS, len(_PORTS)))


def free_port() -> int:
    """A port on loopback that nothing listens on now, and that nobody else is told soon."""
    for port in _ports:
        with socket.socket() as probe, contextlib.suppress(OSError):
            probe.bind(("127.0.0.1", port))
            return port
    raise AssertionError("unreachable")


def base_environment(home: Path) -> dict[str, str]:
    """The tests' environment without anything that points at another proxy or home."""
    kept = {
        name: value
        for name, value in os.environ.items()
        if "proxy" not in name.lower() and not name.startswith(("DOUANE_", "SSL_", "GIT_"))
    }
    return {**kept, "DOUANE_HOME": str(home), "COLUMNS": "200", "NO_COLOR": "1", "PYTHONUNBUFFERED": "1"}


@dataclass
class Product:
    """One `douane` process; `start` it, and `stop` or `kill` it by its own id."""

    home: Path
    stand_in: StandIn | None = None
    policy: Path | None = None
    command: str = "proxy"
    flags: Sequence[str] = ()
    variables: Mapping[str, str] = field(default_factory=dict)
    upstream_ca: Path | None = None
    lines: list[str] = field(default_factory=list)
    agents: dict[str, Agent] = field(default_factory=dict)
    reviewers: dict[str, str] = field(default_factory=dict)
    proxy_port: int = 0
    console_port: int = 0
    process: subprocess.Popen[str] | None = None

    def __post_init__(self) -> None:
        self._changed = threading.Condition()
        self._ended = False

    def start(self, *, ready: bool = True) -> Product:
        """Start the process on the same ports as before, and wait until it says `ready`."""
        self.proxy_port = self.proxy_port or free_port()
        arguments = [DOUANE, self.command, "--home", str(self.home), "--listen", f"127.0.0.1:{self.proxy_port}"]
        if self.command == "up":
            self.console_port = self.console_port or free_port()
            arguments += ["--console", f"127.0.0.1:{self.console_port}"]
        if self.policy is not None:
            arguments += ["--policy", str(self.policy)]
        for route in self.stand_in.connect_to() if self.stand_in else ():
            arguments += ["--connect-to", route]
        if self.upstream_ca is not None:
            arguments += ["--upstream-ca", str(self.upstream_ca)]
        process = subprocess.Popen(
            [*arguments, *self.flags],
            stdin=subprocess.DEVNULL,
            stdout=subprocess.PIPE,
            stderr=subprocess.STDOUT,
            text=True,
            env=base_environment(self.home) | dict(self.variables),
            start_new_session=True,
        )
        with self._changed:  # in one step: the reader of the process before may come to its end only now
            self.process, self.lines, self._ended = process, [], False
        threading.Thread(target=self._read, args=(process, self.lines), daemon=True).start()
        if ready:
            self.wait_ready()
        return self

    def wait_ready(self) -> None:
        """Wait for the line that says `ready`."""
        self.wait_line(r"^\W*ready\b")

    def wait_line(self, pattern: str) -> str:
        """Wait for a line of output; fails with all of it if the process ends or stays silent."""
        wanted = re.compile(pattern)

        def found() -> str | None:
            return next((line for line in self.lines if wanted.search(line)), None)

        with self._changed:
            self._changed.wait_for(lambda: found() is not None or self._ended, PATIENCE_S)
            line = found()
        assert line is not None, f"never printed {pattern!r}:\n{self.output()}"
        return line

    def output(self) -> str:
        """All that the process has printed."""
        with self._changed:
            return "\n".join(self.lines)

    @property
    def ca(self) -> Path:
        """The certificate that agents trust."""
        return self.home / "ca-cert.pem"

    @property
    def proxy_address(self) -> tuple[str, int]:
        """Where the proxy listens."""
        return ("127.0.0.1", self.proxy_port)

    def pids(self) -> list[int]:
        """The process and all it started."""
        if self.process is None:
            return []
        try:
            root = psutil.Process(self.process.pid)
            return [root.pid, *(child.pid for child in root.children(recursive=True))]
        except psutil.NoSuchProcess:
            return []

    def stop(self, *, with_signal: int = signal.SIGTERM) -> int:
        """End it as a user does; the exit code."""
        if self.process is None:
            return 0
        with contextlib.suppress(ProcessLookupError):
            self.process.send_signal(with_signal)
        try:
            return self.process.wait(PATIENCE_S)
        except subprocess.TimeoutExpired:
            self.kill()
            raise AssertionError(f"did not stop:\n{self.output()}") from None

    def kill(self) -> None:
        """`kill -9` of it and all it started, at once."""
        for pid in self.pids():
            with contextlib.suppress(ProcessLookupError):
                os.kill(pid, signal.SIGKILL)
        if self.process is not None:
            self.process.wait(PATIENCE_S)

    def wait_ended(self) -> int:
        """The exit code of a process that ends by itself."""
        assert self.process is not None
        return self.process.wait(PATIENCE_S)

    # commands

    def run(
        self, *arguments: str, check: bool = True, variables: Mapping[str, str] | None = None, stdin: str | None = None
    ) -> subprocess.CompletedProcess[str]:
        """`douane ARGUMENTS --home HOME`."""
        words = list(arguments)
        at = words.index("--") if "--" in words else len(words)
        words[at:at] = ["--home", str(self.home)]
        done = subprocess.run(
            [DOUANE, *words],
            env=base_environment(self.home) | dict(variables or {}),
            input=stdin if stdin is not None else "",
            capture_output=True,
            text=True,
            timeout=PATIENCE_S * 2,
            check=False,
        )
        if check and done.returncode != 0:
            raise CommandFailed(done)
        return done

    def agent(self, name: str, *, cap_usd: str | None = None, labels: Sequence[str] = ()) -> Agent:
        """`douane agent add`, once for each name."""
        if name not in self.agents:
            extra = ["--cap", cap_usd] if cap_usd else []
            for label in labels:
                extra += ["--label", label]
            self.agents[name] = self._credential(name, self.run("agent", "add", name, *extra).stdout)
        return self.agents[name]

    def rotate(self, name: str) -> Agent:
        """`douane agent rotate`; the agent with its new key."""
        self.agents[name] = self._credential(name, self.run("agent", "rotate", name).stdout)
        return self.agents[name]

    def _credential(self, name: str, printed: str) -> Agent:
        found = CREDENTIAL.search(printed)
        assert found is not None, f"no proxy address in:\n{printed}"
        key = found.group(2)
        return Agent(name, key, f"http://{name}:{key}@127.0.0.1:{self.proxy_port}", self.ca)

    def reviewer(self, name: str) -> str:
        """A reviewer's secret, registered at the first call."""
        if name not in self.reviewers:
            self.reviewers[name] = self.api("POST", "/v1/reviewers", {"name": name}).body["secret"]
        return self.reviewers[name]

    # the API on its Unix socket

    def api(
        self,
        method: str,
        path: str,
        body: object = None,
        *,
        basic: tuple[str, str] | None = None,
        bearer: str | None = None,
        timeout: float = PATIENCE_S,
    ) -> ApiAnswer:
        """One request to the node's API."""
        import base64

        connection = _UnixConnection(self.home / "private" / "api.sock", timeout)
        headers = {"Content-Type": "application/json", "Host": "localhost"}
        if basic is not None:
            headers["Authorization"] = "Basic " + base64.b64encode(":".join(basic).encode()).decode()
        if bearer is not None:
            headers["Authorization"] = f"Bearer {bearer}"
        try:
            connection.request(method, path, None if body is None else json.dumps(body), headers)
            answer = connection.getresponse()
            text = answer.read()
            return ApiAnswer(answer.status, json.loads(text) if text else None)
        finally:
            connection.close()

    def reviews(self, state: str | None = None) -> list[dict[str, Any]]:
        """All reviews, or those in one state."""
        answer = self.api("GET", "/v1/reviews" + (f"?state={state}" if state else ""))
        assert answer.status == 200, answer
        found = answer.body["reviews"] if isinstance(answer.body, dict) else answer.body
        return list(found)

    def wait_review(self, *, agent: str | None = None, state: str = "pending") -> dict[str, Any]:
        """The one review in a state, as soon as there is one (long poll, no sleeping)."""
        deadline = time.monotonic() + PATIENCE_S
        version = 0
        while True:
            for review in self.reviews(state):
                if agent in (None, review["agent"]):
                    return review
            assert time.monotonic() < deadline, f"no {state} review:\n{self.output()}"
            version = self.api("GET", f"/v1/reviews/changes?after={version}&wait=2").body["version"]

    def decide(self, review_id: str, verdict: str, reviewer: str = "rita", note: str = "") -> ApiAnswer:
        """`approve` or `reject` by a reviewer's secret."""
        return self.api(
            "POST", f"/v1/reviews/{review_id}/{verdict}", {"note": note}, basic=(reviewer, self.reviewer(reviewer))
        )

    def log(self, **wanted: object) -> list[dict[str, Any]]:
        """Records of the register, oldest first."""
        query = "&".join(f"{name}={value}" for name, value in {"limit": 10_000, **wanted}.items())
        answer = self.api("GET", f"/v1/log?{query}")
        assert answer.status == 200, answer
        found = next(iter(answer.body.values())) if isinstance(answer.body, dict) else answer.body
        return [entry.get("record", entry) | {"values": entry.get("values", {})} for entry in found]

    def spend(self, agent: str) -> dict[str, Any]:
        """One agent's spend as the API tells it."""
        rows = self.api("GET", "/v1/spend").body
        rows = rows["spend"] if isinstance(rows, dict) else rows
        row: dict[str, Any] = next(row for row in rows if row["agent"] == agent)
        return row

    def _read(self, process: subprocess.Popen[str], lines: list[str]) -> None:
        assert process.stdout is not None
        for line in process.stdout:
            with self._changed:
                lines.append(line.rstrip("\n"))
                self._changed.notify_all()
        with self._changed:
            self._ended = self._ended or process is self.process
            self._changed.notify_all()
        process.stdout.close()


class _UnixConnection(http.client.HTTPConnection):
    def __init__(self, path: Path, timeout: float) -> None:
        super().__init__("localhost", timeout=timeout)
        self._path = path

    def connect(self) -> None:
        self.sock = socket.socket(socket.AF_UNIX)
        self.sock.settimeout(self.timeout)
        self.sock.connect(str(self._path))


def make_product(providers: Providers, folder: Path, **options: Any) -> Product:
    """A node that is not started yet, with its home in `folder` and the stand-ins for a world."""
    folder.mkdir(parents=True, exist_ok=True)
    return Product(
        home=folder / "home",
        stand_in=providers.stand_in,
        upstream_ca=providers.authority.certificate_file,
        **options,
    )


def client(name: str) -> list[str]:
    """The command of an agent from `e2e/clients`."""
    return [sys.executable, str(Path(__file__).parents[1] / "e2e" / "clients" / name)]


def eventually(condition: Callable[[], bool], what: str, patience_s: float = PATIENCE_S) -> None:
    """Wait for a state that nothing announces; fails by name if it never comes."""
    deadline = time.monotonic() + patience_s
    while not condition():
        assert time.monotonic() < deadline, f"never: {what}"
        time.sleep(0.02)
