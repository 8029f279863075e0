"""`douane doctor`: which runtimes on this machine go through the proxy, tried for real."""

from __future__ import annotations

import contextlib
import json
import os
import re
import shutil
import subprocess
import sys
from dataclasses import asdict, dataclass
from pathlib import Path

import click
from rich.progress import track
from rich.text import Text

from douane.api.client import ApiClient, path
from douane.cli.options import existing_home, home_option, json_option
from douane.cli.rows import plain, print_rows
from douane.edge.runtimes import environment

PROBE = "https://probe.douane.invalid/"
_PROBE_S = 20


@dataclass(frozen=True, slots=True)
class Runtime:
    """A runtime, and how it makes one request."""

    name: str
    program: str
    arguments: tuple[str, ...]
    hint: str


_FETCH = "r => r.text()).then(console.log, e => { console.error(e.cause ?? e); process.exit(1) }"


def _python(code: str) -> tuple[str, ...]:
    return ("-c", code)


RUNTIMES = (
    Runtime("curl", "curl", ("-sS", "-m", "10", PROBE), "set HTTPS_PROXY and CURL_CA_BUNDLE"),
    Runtime(
        "Python urllib",
        "python3",
        _python(f"import urllib.request as u; print(u.urlopen('{PROBE}', timeout=10).read().decode())"),
        "set HTTPS_PROXY and SSL_CERT_FILE",
    ),
    Runtime(
        "Python requests",
        "python3",
        _python(f"import requests; print(requests.get('{PROBE}', timeout=10).text)"),
        "set HTTPS_PROXY and REQUESTS_CA_BUNDLE",
    ),
    Runtime(
        "Python httpx",
        "python3",
        _python(f"import httpx; print(httpx.get('{PROBE}', timeout=10).text)"),
        "set HTTPS_PROXY and SSL_CERT_FILE",
    ),
    Runtime(
        "Node fetch",
        "node",
        ("-e", f"fetch('{PROBE}').then({_FETCH})"),
        "Node honours NODE_USE_ENV_PROXY from 22.21 and 24 on; older ones go direct, silently",
    ),
    Runtime("git", "git", ("ls-remote", f"{PROBE}probe.git"), "set HTTPS_PROXY and GIT_SSL_CAINFO"),
    Runtime(
        "wget",
        "wget",
        ("-nv", "-O-", "--timeout=10", "--tries=1", PROBE),
        "set https_proxy and, in ~/.wgetrc, ca_certificate",
    ),
)


@dataclass(frozen=True, slots=True)
class Finding:
    """What was found of a runtime."""

    runtime: str
    version: str
    governed: bool | None
    """None where the runtime is not installed."""
    why: str


def examine(runtime: Runtime, variables: dict[str, str]) -> Finding:
    """Make one request with a runtime and see where it went."""
    program = shutil.which(runtime.program)
    if program is None:
        return Finding(runtime.name, "", None, "not installed")
    version = _version(program)
    try:
        done = subprocess.run(
            [program, *runtime.arguments],
            env={**os.environ, **variables, "GIT_TERMINAL_PROMPT": "0"},
            capture_output=True,
            text=True,
            timeout=_PROBE_S,
            check=False,
            stdin=subprocess.DEVNULL,
        )
    except subprocess.TimeoutExpired:
        return Finding(runtime.name, version, False, f"no answer in {_PROBE_S} s; {runtime.hint}")
    governed, why = judge(runtime, done)
    return Finding(runtime.name, version, governed, why)


def judge(runtime: Runtime, done: subprocess.CompletedProcess[str]) -> tuple[bool | None, str]:
    """Where a request went: only the proxy answers for the probe's name, which no DNS resolves."""
    said = done.stdout + done.stderr
    if "No module named" in said:
        return None, "not installed"
    if '"governed"' in done.stdout or (runtime.program == "git" and done.returncode == 0):
        return True, "its request came through the proxy as the agent"
    if re.search(r"resolve|ENOTFOUND|EAI_AGAIN|Name or service|getaddrinfo|not known|resolution", said):
        return False, f"it went direct, past the proxy; {runtime.hint}"
    if re.search(r"\b407\b", said):
        return False, f"it reached the proxy without the agent's key; {runtime.hint}"
    if re.search(r"certificate|CERT|SSL|TLS", said):
        return False, f"it reached the proxy but does not trust the CA, so its calls fail; {runtime.hint}"
    last = (said.strip().splitlines() or ["it said nothing"])[-1][:120]
    return False, f"{last}; {runtime.hint}"


def _version(program: str) -> str:
    with contextlib.suppress(OSError, subprocess.TimeoutExpired):
        done = subprocess.run([program, "--version"], capture_output=True, text=True, timeout=10, check=False)
        found = re.search(r"\d+(\.\d+)+", done.stdout)
        return found[0] if found else ""
    return ""


@click.command()
@home_option
@json_option
def doctor(home: Path, as_json: bool) -> None:
    """Make one request with each runtime on this machine and say whether it was governed, and why not.

    What leaves a machine outside HTTP (SSH, databases, mail, QUIC) is a firewall's business, not seen here.

    \b
    Example:
      douane doctor --json | jq '.[] | select(.governed == false)'
    """
    found_home = existing_home(home)
    client = ApiClient(found_home.api_socket)
    proxy = client.request("GET", "/v1/health")["proxy"]
    agents = [row["name"] for row in client.request("GET", "/v1/agents")["agents"] if not row["suspended"]]
    address, key = f"http://{proxy}", None
    if agents:
        key = client.request("POST", path("agents", agents[0], "sessions"), {"seconds": 600})["key"]
        address = f"http://{agents[0]}:{key}@{proxy}"
    variables = environment(address, found_home.ca_cert)
    try:
        quiet = as_json or not sys.stdout.isatty()
        found = [examine(runtime, variables) for runtime in track(RUNTIMES, "Trying…", disable=quiet, transient=True)]
    finally:
        if key is not None:
            client.request("DELETE", path("agents", agents[0], "sessions"), {"key": key})
    if as_json:
        click.echo(json.dumps([asdict(finding) for finding in found]))
    else:
        words = {True: Text("governed", "green"), False: Text("not governed", "red"), None: Text("-")}
        rows = [(f.runtime, f.version, words[f.governed], plain(f.why)) for f in found]
        print_rows(("runtime", "version", "state", "why"), rows, below=1)
    sys.exit(1 if any(finding.governed is False for finding in found) else 0)
