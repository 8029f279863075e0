#!/usr/bin/env python3
"""Measure Douane beside a direct connection and bare `mitmdump -q`, on the same work, in alternating rounds.

Every Douane run is the whole job: authenticated, classified, decided, intent durable, result recorded. The provider and
the load generator are processes of their own. Figures are medians over the rounds; ratios are taken within each round
first, since what else the machine does changes from minute to minute.
"""

from __future__ import annotations

import argparse
import base64
import contextlib
import datetime
import importlib.util
import json
import os
import re
import shutil
import signal
import socket
import ssl
import statistics
import subprocess
import sys
import tempfile
import threading
import time
from collections.abc import Callable, Iterator, Sequence
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any

_PYTHON = Path(__file__).resolve().parents[1] / ".venv" / "bin" / "python"
if importlib.util.find_spec("psutil") is None and _PYTHON.is_file() and Path(sys.prefix) != _PYTHON.parents[1]:
    os.execv(_PYTHON, [str(_PYTHON), *sys.argv])  # the checkout's own Python has what it takes

import psutil
from cryptography import x509
from cryptography.hazmat.primitives import hashes, serialization
from cryptography.hazmat.primitives.asymmetric import ec
from rich.console import Console
from rich.progress import BarColumn, MofNCompleteColumn, Progress, TextColumn, TimeElapsedColumn
from rich.table import Table

GITHUB, OPENAI = "api.github.com", "api.openai.com"
SSE_EVENTS, SSE_PAUSE_S = 20, 0.01
PATIENCE_S = 60.0
MODEL = "gpt-4o-mini"


@dataclass(frozen=True, slots=True)
class Work:
    """One kind of load."""

    name: str
    kind: str
    """`get`, `priced` or `sse`."""
    connections: int
    size: int = 1024

    @property
    def host(self) -> str:
        """Whom it talks to."""
        return GITHUB if self.kind == "get" else OPENAI

    def request(self) -> bytes:
        """The request, byte for byte."""
        if self.kind == "get":
            return (
                f"GET /repos/acme/body-{self.size} HTTP/1.1\r\nHost: {GITHUB}\r\nAccept: application/json\r\n"
                "Authorization: Bearer ghp_bench\r\nUser-Agent: bench\r\n\r\n"
            ).encode()
        wanted = {
            "model": MODEL,
            "max_tokens": 256,
            "messages": [{"role": "user", "content": "Summarise this change. " * 12}],
            **({"stream": True, "stream_options": {"include_usage": True}} if self.kind == "sse" else {}),
        }
        body = json.dumps(wanted).encode()
        head = (
            f"POST /v1/chat/completions HTTP/1.1\r\nHost: {OPENAI}\r\nAuthorization: Bearer sk-bench\r\n"
            f"Content-Type: application/json\r\nContent-Length: {len(body)}\r\n\r\n"
        )
        return head.encode() + body


WORKS = (
    Work("1 KB, 1 connection", "get", 1),
    Work("1 KB, 8 connections", "get", 8),
    Work("1 KB, 32 connections", "get", 32),
    Work("100 KB, 1 connection", "get", 1, 100 * 1024),
    Work("100 KB, 8 connections", "get", 8, 100 * 1024),
    Work("100 KB, 32 connections", "get", 32, 100 * 1024),
    Work("1 MB, 1 connection", "get", 1, 1024 * 1024),
    Work("1 MB, 8 connections", "get", 8, 1024 * 1024),
    Work("1 MB, 32 connections", "get", 32, 1024 * 1024),
    Work("priced, 1 connection", "priced", 1),
    Work("priced, 8 connections", "priced", 8),
    Work("priced, 32 connections", "priced", 32),
    Work("SSE first byte, 1 connection", "sse", 1),
    Work("SSE first byte, 8 connections", "sse", 8),
)
QUICK = ("1 KB, 8 connections", "priced, 8 connections", "SSE first byte, 1 connection")


@dataclass(frozen=True, slots=True)
class Measured:
    """One run of one work through one system."""

    requests: int
    seconds: float
    p50_ms: float
    p99_ms: float
    """Of whole answers; of first bytes for SSE."""
    cpu_ms: float
    """CPU time of the system between, for each request."""
    rss_mib: float

    @property
    def rate(self) -> float:
        """Requests a second."""
        return self.requests / self.seconds


# the provider


class Answers:
    """What the provider says, made once."""

    def __init__(self) -> None:
        self._bodies: dict[bytes, bytes] = {}
        usage = {"prompt_tokens": 80, "completion_tokens": 40, "total_tokens": 120}
        message = {"role": "assistant", "content": "x" * 700}
        completion = {
            "id": "chatcmpl-1",
            "object": "chat.completion",
            "created": 1_790_000_000,
            "model": MODEL,
            "choices": [{"index": 0, "message": message, "finish_reason": "stop"}],
            "usage": usage,
        }
        self.completion = _whole(json.dumps(completion).encode())
        common = {"id": "chatcmpl-1", "object": "chat.completion.chunk", "created": 1_790_000_000, "model": MODEL}
        choice = {"index": 0, "delta": {"content": "word "}, "finish_reason": None}
        self.event = _event({**common, "choices": [choice], "usage": None})
        self.last = _event({**common, "choices": [], "usage": usage}) + _chunk(b"data: [DONE]\n\n") + b"0\r\n\r\n"

    def body(self, target: bytes) -> bytes:
        """The answer to a GET, as large as the target says."""
        if target not in self._bodies:
            size = int(target.rpartition(b"-")[2])
            self._bodies[target] = _whole(json.dumps({"name": "body", "text": "x" * (size - 26)}).encode())
        return self._bodies[target]


def _whole(body: bytes) -> bytes:
    return b"HTTP/1.1 200 OK\r\nContent-Type: application/json\r\nContent-Length: %d\r\n\r\n" % len(body) + body


def _chunk(data: bytes) -> bytes:
    return b"%x\r\n%b\r\n" % (len(data), data)


def _event(value: object) -> bytes:
    return _chunk(b"data: " + json.dumps(value).encode() + b"\n\n")


def serve_provider(folder: Path) -> None:
    """Answer for both hosts until killed, one thread a connection; the port goes to stdout."""
    context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
    context.load_cert_chain(folder / "leaf.pem")
    context.set_alpn_protocols(["http/1.1"])
    answers = Answers()
    with socket.create_server(("127.0.0.1", 0), backlog=256) as listener:
        print(listener.getsockname()[1], flush=True)
        while True:
            raw, _ = listener.accept()
            threading.Thread(target=_converse, args=(context, raw, answers), daemon=True).start()


def _converse(context: ssl.SSLContext, raw: socket.socket, answers: Answers) -> None:
    raw.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
    with contextlib.suppress(OSError), context.wrap_socket(raw, server_side=True) as connection:
        kept = b""
        while True:
            while (end := kept.find(b"\r\n\r\n")) < 0:
                if not (data := connection.recv(65536)):
                    return
                kept += data
            head, kept = kept[:end], kept[end + 4 :]
            if head.startswith(b"GET "):
                connection.sendall(answers.body(head.split(b" ", 2)[1]))
                continue
            found = re.search(rb"(?i)content-length: *(\d+)", head)
            length = int(found[1]) if found else 0
            while len(kept) < length:
                kept += connection.recv(65536)
            body, kept = kept[:length], kept[length:]
            if b'"stream": true' not in body and b'"stream":true' not in body:
                connection.sendall(answers.completion)
                continue
            connection.sendall(
                b"HTTP/1.1 200 OK\r\nContent-Type: text/event-stream\r\nTransfer-Encoding: chunked\r\n\r\n"
                + answers.event
            )
            for _ in range(SSE_EVENTS):
                time.sleep(SSE_PAUSE_S)
                connection.sendall(answers.event)
            connection.sendall(answers.last)


# the load


@dataclass(frozen=True, slots=True)
class Route:
    """How the load reaches the provider: by which proxy, as whom, trusting what."""

    address: tuple[str, int]
    ca: str
    connect: str | None = None
    """Target of the CONNECT; None for a direct connection."""
    credential: str | None = None


def generate_load(task: dict[str, Any]) -> None:
    """Run one work over one route; the figures go to stdout as JSON."""
    work, route = Work(**task["work"]), Route(**task["route"])
    barrier = threading.Barrier(work.connections + 1)
    stop_at = [0.0, 0]
    taken: list[list[float]] = [[] for _ in range(work.connections)]
    errors: list[str] = []

    def one(mine: list[float]) -> None:
        try:
            connection = _open(work.host, route)
            exchange = _Exchange(connection, work.request(), stream=work.kind == "sse")
            for _ in range(task["warm_up"]):
                exchange.once()
            barrier.wait()
            barrier.wait()
            while time.perf_counter() < stop_at[0] and (not task["count"] or len(mine) < task["count"]):
                mine.append(exchange.once())
        except Exception as error:  # noqa: BLE001 - told to the parent, which fails
            errors.append(repr(error))
            barrier.abort()

    threads = [threading.Thread(target=one, args=(mine,)) for mine in taken]
    for thread in threads:
        thread.start()
    try:
        barrier.wait(PATIENCE_S)
        print("warm", flush=True)
        sys.stdin.readline()
        started = time.perf_counter()
        stop_at[0] = started + task["seconds"]
        barrier.wait(PATIENCE_S)
    except threading.BrokenBarrierError:
        started = time.perf_counter()
    for thread in threads:
        thread.join()
    seconds = time.perf_counter() - started
    print(json.dumps({"seconds": seconds, "taken": [x for mine in taken for x in mine], "errors": errors}), flush=True)


def _open(host: str, route: Route) -> ssl.SSLSocket:
    raw = socket.create_connection((route.address[0], route.address[1]), PATIENCE_S)
    raw.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
    if route.connect is not None:
        credential = f"Proxy-Authorization: Basic {route.credential}\r\n" if route.credential else ""
        raw.sendall(f"CONNECT {route.connect} HTTP/1.1\r\nHost: {route.connect}\r\n{credential}\r\n".encode())
        answer = b""
        while b"\r\n\r\n" not in answer:
            if not (data := raw.recv(4096)):
                raise ConnectionError(f"CONNECT: {answer!r}")
            answer += data
        if b" 200 " not in answer.split(b"\r\n", 1)[0]:
            raise ConnectionError(f"CONNECT: {answer!r}")
    context = ssl.create_default_context(cafile=route.ca)
    context.set_alpn_protocols(["http/1.1"])
    return context.wrap_socket(raw, server_hostname=host)


class _Exchange:
    """The same request over and over on one connection, read with as little work as can be."""

    def __init__(self, connection: ssl.SSLSocket, request: bytes, *, stream: bool) -> None:
        self._connection = connection
        self._request = request
        self._stream = stream
        self._buffer = bytearray(1 << 18)

    def once(self) -> float:
        """Seconds until the answer was whole, or until its first event."""
        started = time.perf_counter()
        self._connection.sendall(self._request)
        got = self._connection.recv(65536)
        while (end := got.find(b"\r\n\r\n")) < 0:
            got += self._more()
        if not got.startswith(b"HTTP/1.1 200"):
            raise RuntimeError(f"refused: {got[:600]!r}")
        if self._stream:
            return self._read_events(got, started)
        found = re.search(rb"(?i)content-length: *(\d+)", got[:end])
        if found is None:
            while not got.endswith(b"0\r\n\r\n"):
                got += self._more()
            return time.perf_counter() - started
        left = int(found[1]) - (len(got) - end - 4)
        while left > 0:
            if not (count := self._connection.recv_into(self._buffer)):
                raise ConnectionError("cut")
            left -= count
        return time.perf_counter() - started

    def _read_events(self, got: bytes, started: float) -> float:
        while b"data: " not in got:
            got += self._more()
        first = time.perf_counter() - started
        while not got.endswith(b"0\r\n\r\n"):
            got = got[-16:] + self._more()
        return first

    def _more(self) -> bytes:
        if not (data := self._connection.recv(65536)):
            raise ConnectionError("cut")
        return data


# the systems


class System:
    """Something between the load and the provider, or nothing."""

    def __init__(self, name: str, route: Route, process: subprocess.Popen[bytes] | None = None) -> None:
        self.name = name
        self.route = route
        self.process = process

    def cpu_s(self) -> float:
        """CPU time of all its processes so far."""
        return sum(sum(process.cpu_times()[:2]) for process in self._processes())

    def rss_bytes(self) -> int:
        """Memory of all its processes now."""
        return sum(int(process.memory_info().rss) for process in self._processes())

    def _processes(self) -> list[psutil.Process]:
        if self.process is None:
            return []
        root = psutil.Process(self.process.pid)
        return [root, *root.children(recursive=True)]

    def stop(self) -> None:
        """End it."""
        if self.process is not None:
            self.process.send_signal(signal.SIGTERM)
            try:
                self.process.wait(20)
            except subprocess.TimeoutExpired:
                self.process.kill()
                self.process.wait()


def start_mitmdump(folder: Path, provider_port: int, name: str = "mitmdump", *options: str) -> System:
    """Bare `mitmdump -q`; it has no routes, so the CONNECT names the provider's address, and TLS its host."""
    port, home = _free_port(), folder / name.replace(" ", "-")
    command = [
        str(Path(sys.executable).with_name("mitmdump")),
        *("-q", "--listen-host", "127.0.0.1", "--listen-port", str(port)),
        *("--set", f"confdir={home}", "--set", f"ssl_verify_upstream_trusted_ca={folder / 'ca.pem'}"),
        *options,
    ]
    process = subprocess.Popen(command, stdout=subprocess.DEVNULL, stdin=subprocess.DEVNULL)
    certificate = home / "mitmproxy-ca-cert.pem"
    _wait(lambda: certificate.exists() and _listens(port), f"{name} to listen")
    return System(name, Route(("127.0.0.1", port), str(certificate), f"127.0.0.1:{provider_port}"), process)


def start_douane(folder: Path, provider_port: int, policy: Path | None) -> System:
    """`douane proxy` with one capped agent, on a home of its own."""
    port, home = _free_port(), folder / "home"
    program = str(Path(sys.executable).with_name("douane"))
    environment = {name: value for name, value in os.environ.items() if not name.startswith("DOUANE_")}
    rules = bench_policy(folder) if policy is None else policy
    command = [program, "proxy", "--home", str(home), "--listen", f"127.0.0.1:{port}", "--policy", str(rules)]
    for host in (GITHUB, OPENAI):
        command += ["--connect-to", f"{host}:443=127.0.0.1:{provider_port}"]
    command += ["--upstream-ca", str(folder / "ca.pem")]
    log = folder / "douane.log"
    with log.open("wb") as output:
        process = subprocess.Popen(command, stdout=output, stderr=output, stdin=subprocess.DEVNULL, env=environment)

    def ready() -> bool:
        if process.poll() is not None:
            raise SystemExit(f"douane proxy ended with {process.returncode}:\n{log.read_text()}")
        return re.search(r"(?m)^\W*ready\b", log.read_text(errors="replace")) is not None

    _wait(ready, "douane to be ready")
    added = subprocess.run(
        [program, "agent", "add", "bench", "--cap", "1000000", "--home", str(home)],
        capture_output=True,
        text=True,
        env=environment,
        check=True,
    )
    found = re.search(r"http://(bench:[^@\s]+)@", added.stdout)
    if found is None:
        raise SystemExit(f"no credential in:\n{added.stdout}")
    credential = base64.b64encode(found[1].encode()).decode()
    route = Route(("127.0.0.1", port), str(home / "ca-cert.pem"), "{host}:443", credential)
    return System("douane", route, process)


BENCH_LIMITS = "\nlimits:\n  - {concurrent_calls: 256, records_per_minute: 1000000}\n"


def bench_policy(folder: Path) -> Path:
    """The shipped policy; only the limits on an agent's pace are lifted, since the load is one agent."""
    from douane.edge.home import shipped_policy_dir

    target = folder / "policy"
    target.mkdir()
    (target / "policy.yaml").write_text((shipped_policy_dir() / "policy.yaml").read_text() + BENCH_LIMITS)
    return target


# measuring


def measure(system: System, work: Work, seconds: float, *, count: int = 0, warm_up: int = 20) -> Measured:
    """Run one work through one system."""
    route = asdict(system.route)
    if route["connect"] is not None:
        route["connect"] = route["connect"].replace("{host}", work.host)
    warm_up = 1 if work.kind == "sse" else max(2, warm_up // work.connections)
    task = {"work": asdict(work), "route": route, "seconds": seconds, "count": count, "warm_up": warm_up}
    load = subprocess.Popen(
        [sys.executable, __file__, "--role", "load"], stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True
    )
    assert load.stdin is not None
    assert load.stdout is not None
    load.stdin.write(json.dumps(task) + "\n")
    load.stdin.flush()
    line = load.stdout.readline()
    if line.strip() == "warm":
        cpu_before = system.cpu_s()
        load.stdin.write("go\n")
        load.stdin.flush()
        line = load.stdout.readline()
        cpu = system.cpu_s() - cpu_before
    load.stdin.close()
    load.wait()
    found = json.loads(line)
    if found["errors"]:
        raise SystemExit(f"{system.name}, {work.name}: {found['errors'][0]}")
    taken = sorted(found["taken"])
    return Measured(
        requests=len(taken),
        seconds=found["seconds"],
        p50_ms=taken[len(taken) // 2] * 1e3,
        p99_ms=taken[min(len(taken) - 1, int(len(taken) * 0.99))] * 1e3,
        cpu_ms=cpu / len(taken) * 1e3,
        rss_mib=system.rss_bytes() / 2**20,
    )


def measure_fdatasync(folder: Path, rounds: int = 200) -> float:
    """Median milliseconds of appending a page and waiting for the home's disk."""
    path, taken = folder / "fdatasync", []
    descriptor = os.open(path, os.O_CREAT | os.O_WRONLY | os.O_APPEND, 0o600)
    try:
        for _ in range(rounds):
            os.write(descriptor, b"x" * 4096)
            started = time.perf_counter()
            os.fdatasync(descriptor)
            taken.append(time.perf_counter() - started)
    finally:
        os.close(descriptor)
        path.unlink()
    return statistics.median(taken) * 1e3


def measure_growth(system: System, calls: int) -> dict[str, float]:
    """RSS before and after so many calls, once the caches are warm."""
    work = Work("growth", "get", 8)
    measure(system, work, 600, count=250)
    before = system.rss_bytes()
    measure(system, work, 3600, count=calls // work.connections)
    return {"calls": calls, "before_mib": before / 2**20, "growth_mib": (system.rss_bytes() - before) / 2**20}


@dataclass(frozen=True, slots=True)
class Target:
    """A figure the product is held to."""

    sentence: str
    work: str
    value: Callable[[dict[str, dict[str, dict[str, float]]], float], tuple[float, float, bool]]
    """(measured, limit, whether more is better) from the medians and the time of one fdatasync."""


def _ratio(work: str, limit: float) -> Callable[[Any, float], tuple[float, float, bool]]:
    return lambda found, _: (found[work]["douane"]["rate_to_mitmdump"], limit, True)


def _latency(found: Any, fdatasync_ms: float) -> tuple[float, float, bool]:
    row = found["1 KB, 1 connection"]
    return row["douane"]["p50_ms"] - row["mitmdump"]["p50_ms"], 0.5 + fdatasync_ms, False


def _first_byte(found: Any, _: float) -> tuple[float, float, bool]:
    row = found["SSE first byte, 1 connection"]
    return row["douane"]["p50_ms"] - row["direct"]["p50_ms"], 5.0, False


def _later(found: Any, _: float) -> tuple[float, float, bool]:
    row = found["SSE first byte, 1 connection"]
    return row["douane"]["p50_ms"] - row["mitmdump streaming"]["p50_ms"], 2.0, False


TARGETS = (
    Target("unpriced call ≥ 1.25 × mitmdump", "1 KB, 8 connections", _ratio("1 KB, 8 connections", 1.25)),
    Target("priced call ≥ 1.1 × mitmdump", "priced, 8 connections", _ratio("priced, 8 connections", 1.1)),
    Target("1 MB bodies ≥ 0.9 × mitmdump", "1 MB, 8 connections", _ratio("1 MB, 8 connections", 0.9)),
    Target("p50 − mitmdump's ≤ 0.5 ms + fdatasync (ms)", "1 KB, 1 connection", _latency),
    Target("first SSE byte − direct ≤ 5 ms", "SSE first byte, 1 connection", _first_byte),
    Target("first SSE byte − streaming mitmdump's ≤ 2 ms", "SSE first byte, 1 connection", _later),
)

FIGURES = ("rate", "p50_ms", "p99_ms", "cpu_ms", "rss_mib")


def summarise(rounds: dict[str, dict[str, list[Measured]]]) -> dict[str, dict[str, dict[str, float]]]:
    """Medians by work and system, with the ratio of the rates to mitmdump's and the direct connection's."""
    found: dict[str, dict[str, dict[str, float]]] = {}
    for work, systems in rounds.items():
        found[work] = {}
        for system, runs in systems.items():
            row = {figure: statistics.median(getattr(run, figure) for run in runs) for figure in FIGURES}
            for other in ("mitmdump", "direct"):
                if other in systems and other != system:
                    pairs = zip(runs, systems[other], strict=True)
                    row[f"rate_to_{other}"] = statistics.median(mine.rate / theirs.rate for mine, theirs in pairs)
            found[work][system] = row
    return found


def show(console: Console, found: dict[str, dict[str, dict[str, float]]], rounds: int) -> None:
    """The medians as a table."""
    table = Table(title=f"Medians of {rounds} alternating rounds (SSE: times of the first event)")
    table.add_column("work")
    table.add_column("through")
    for name in ("requests/s", "p50 ms", "p99 ms", "CPU ms/request", "RSS MiB", "× mitmdump", "× direct"):
        table.add_column(name, justify="right")
    for work, systems in found.items():
        for number, (system, row) in enumerate(systems.items()):
            table.add_row(
                work if number == 0 else "",
                f"[bold]{system}[/]" if system == "douane" else system,
                f"{row['rate']:,.0f}",
                f"{row['p50_ms']:.2f}",
                f"{row['p99_ms']:.2f}",
                f"{row['cpu_ms']:.2f}" if row["cpu_ms"] else "–",
                f"{row['rss_mib']:.0f}" if row["rss_mib"] else "–",
                *(f"{row[key]:.2f}" if key in row else "–" for key in ("rate_to_mitmdump", "rate_to_direct")),
                end_section=number == len(systems) - 1,
            )
    console.print(table)


def judge(
    console: Console,
    found: dict[str, dict[str, dict[str, float]]],
    fdatasync_ms: float,
    growth: dict[str, float] | None,
) -> list[dict[str, object]]:
    """The figures against what the product is held to."""
    verdicts: list[dict[str, object]] = []
    for target in TARGETS:
        with contextlib.suppress(KeyError):
            value, limit, more = target.value(found, fdatasync_ms)
            holds = value >= limit if more else value <= limit
            verdicts.append({"target": target.sentence, "measured": value, "limit": limit, "holds": holds})
    if growth is not None:
        sentence = f"RSS growth over {growth['calls']:,.0f} calls < 20 MB"
        value = growth["growth_mib"] * 1.048576
        verdicts.append({"target": sentence, "measured": value, "limit": 20.0, "holds": value < 20})
    table = Table(title="Held to")
    for name in ("target", "measured", "limit", ""):
        table.add_column(name, justify="left" if name in ("target", "") else "right")
    for row in verdicts:
        mark = "[green]holds[/]" if row["holds"] else "[red]missed[/]"
        table.add_row(str(row["target"]), f"{row['measured']:.2f}", f"{row['limit']:.2f}", mark)
    if verdicts:
        console.print(table)
    return verdicts


# putting it together


def make_certificates(folder: Path) -> None:
    """`ca.pem` and `leaf.pem` (with its key) for both hosts, good for a day."""
    now = datetime.datetime.now(datetime.UTC)
    day = datetime.timedelta(days=1)
    ca_key, leaf_key = (ec.generate_private_key(ec.SECP256R1()) for _ in range(2))
    ca_name = x509.Name([x509.NameAttribute(x509.NameOID.COMMON_NAME, "Bench authority")])

    def builder(subject: x509.Name, key: ec.EllipticCurvePrivateKey) -> x509.CertificateBuilder:
        return (
            x509.CertificateBuilder()
            .subject_name(subject)
            .issuer_name(ca_name)
            .public_key(key.public_key())
            .serial_number(x509.random_serial_number())
            .not_valid_before(now - day)
            .not_valid_after(now + day)
        )

    ca = builder(ca_name, ca_key).add_extension(x509.BasicConstraints(ca=True, path_length=None), critical=True)
    ca = ca.add_extension(x509.SubjectKeyIdentifier.from_public_key(ca_key.public_key()), critical=False)
    others = dict.fromkeys(
        (
            "content_commitment",
            "key_encipherment",
            "data_encipherment",
            "key_agreement",
            "encipher_only",
            "decipher_only",
        ),
        False,
    )
    usage = x509.KeyUsage(digital_signature=True, key_cert_sign=True, crl_sign=True, **others)
    ca = ca.add_extension(usage, critical=True)
    names = x509.SubjectAlternativeName([x509.DNSName(GITHUB), x509.DNSName(OPENAI)])
    leaf = builder(x509.Name([x509.NameAttribute(x509.NameOID.COMMON_NAME, GITHUB)]), leaf_key)
    leaf = leaf.add_extension(names, critical=False).add_extension(
        x509.AuthorityKeyIdentifier.from_issuer_public_key(ca_key.public_key()), critical=False
    )
    pem = serialization.Encoding.PEM
    (folder / "ca.pem").write_bytes(ca.sign(ca_key, hashes.SHA256()).public_bytes(pem))
    key = leaf_key.private_bytes(pem, serialization.PrivateFormat.PKCS8, serialization.NoEncryption())
    (folder / "leaf.pem").write_bytes(key + leaf.sign(ca_key, hashes.SHA256()).public_bytes(pem))


@contextlib.contextmanager
def systems_under(folder: Path, wanted: Sequence[str], policy: Path | None) -> Iterator[list[System]]:
    """The provider and the systems wanted, ended again at the end."""
    make_certificates(folder)
    provider = subprocess.Popen([sys.executable, __file__, "--role", "provider", str(folder)], stdout=subprocess.PIPE)
    systems: list[System] = []
    try:
        assert provider.stdout is not None
        port = int(provider.stdout.readline())
        if "direct" in wanted:
            systems.append(System("direct", Route(("127.0.0.1", port), str(folder / "ca.pem"))))
        if "mitmdump" in wanted:
            systems.append(start_mitmdump(folder, port))
            systems.append(start_mitmdump(folder, port, "mitmdump streaming", "--set", "stream_large_bodies=1"))
        if "douane" in wanted:
            systems.append(start_douane(folder, port, policy))
        yield systems
    finally:
        for system in systems:
            system.stop()
        provider.kill()
        provider.wait()


def takes(system: System, work: Work) -> bool:
    """Bare mitmdump buffers streams; only there is its streaming twin of interest too."""
    return system.name != "mitmdump streaming" or work.kind == "sse"


def bench(options: argparse.Namespace, console: Console) -> int:
    """Run everything asked for; 0 unless a run failed (missed targets are told, not failed)."""
    works = [work for work in WORKS if not options.work or any(part in work.name for part in options.work)]
    if options.quick and not options.work:
        works = [work for work in WORKS if work.name in QUICK]
    rounds = options.rounds or (1 if options.quick else 5)
    seconds = options.seconds or (0.5 if options.quick else 3.0)
    growth_calls = (0 if options.quick or options.work else 50_000) if options.growth is None else options.growth
    folder = Path(tempfile.mkdtemp(prefix="douane-bench-", dir=options.disk))
    try:
        with systems_under(folder, options.only, options.policy) as systems:
            runs: dict[str, dict[str, list[Measured]]] = {
                work.name: {system.name: [] for system in systems if takes(system, work)} for work in works
            }
            fdatasync_ms = measure_fdatasync(folder)
            bar = Progress(
                TextColumn("{task.description}"),
                BarColumn(),
                MofNCompleteColumn(),
                TimeElapsedColumn(),
                console=console,
            )
            with bar:
                total = rounds * sum(len(of_work) for of_work in runs.values())
                job = bar.add_task("starting", total=total)
                for number in range(rounds):
                    for work in works:
                        for system in systems:
                            if takes(system, work):
                                bar.update(job, description=f"round {number + 1}: {work.name}, {system.name}")
                                runs[work.name][system.name].append(measure(system, work, seconds))
                                bar.advance(job)
                growth = None
                douane = next((system for system in systems if system.name == "douane"), None)
                if growth_calls and douane is not None:
                    bar.update(job, description=f"memory over {growth_calls:,} calls")
                    growth = measure_growth(douane, growth_calls)
    finally:
        shutil.rmtree(folder, ignore_errors=True)
    found = summarise(runs)
    show(console, found, rounds)
    console.print(f"one fdatasync of this disk: {fdatasync_ms:.2f} ms")
    verdicts = judge(console, found, fdatasync_ms, growth)
    if options.json is not None:
        options.json.write_text(
            json.dumps(
                {
                    "rounds": rounds,
                    "seconds": seconds,
                    "cores": os.cpu_count(),
                    "fdatasync_ms": fdatasync_ms,
                    "medians": found,
                    "runs": {work: {s: [asdict(r) for r in rs] for s, rs in of.items()} for work, of in runs.items()},
                    "growth": growth,
                    "targets": verdicts,
                },
                indent=1,
            )
        )
    return 0


def _free_port() -> int:
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        port: int = probe.getsockname()[1]
        return port


def _listens(port: int) -> bool:
    with contextlib.suppress(OSError), socket.create_connection(("127.0.0.1", port), 1):
        return True
    return False


def _wait(condition: Callable[[], bool], what: str) -> None:
    deadline = time.monotonic() + PATIENCE_S
    while not condition():
        if time.monotonic() > deadline:
            raise SystemExit(f"waited in vain for {what}")
        time.sleep(0.05)


def main() -> int:
    """The command line."""
    parser = argparse.ArgumentParser(description=(__doc__ or "").splitlines()[0])
    parser.add_argument("--quick", action="store_true", help="one short round of three works: for CI, not for figures")
    parser.add_argument("--rounds", type=int, help="alternating rounds (default 5)")
    parser.add_argument("--seconds", type=float, help="length of one run (default 3)")
    parser.add_argument("--work", action="append", default=[], help="only works whose name contains this; repeatable")
    parser.add_argument(
        "--only",
        type=lambda text: text.split(","),
        default=["direct", "mitmdump", "douane"],
        help="systems, with commas: direct,mitmdump,douane",
    )
    parser.add_argument("--growth", type=int, help="calls over which memory is watched (default 50,000; 0: none)")
    parser.add_argument(
        "--policy", type=Path, help="policy folder for Douane (default: the shipped one, limits lifted)"
    )
    parser.add_argument("--disk", type=Path, help="folder for the homes (default: the system's temporary folder)")
    parser.add_argument("--json", type=Path, help="write everything measured to this file")
    parser.add_argument("--role", choices=["provider", "load"], help=argparse.SUPPRESS)
    parser.add_argument("folder", nargs="?", type=Path, help=argparse.SUPPRESS)
    options = parser.parse_args()
    match options.role:
        case "provider":
            serve_provider(options.folder)
        case "load":
            generate_load(json.loads(sys.stdin.readline()))
        case _:
            return bench(options, Console(width=None if sys.stdout.isatty() else 140))
    return 0


if __name__ == "__main__":
    sys.exit(main())
