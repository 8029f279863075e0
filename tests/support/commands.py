"""What `douane` commands print, and the calls that give them something to print."""

from __future__ import annotations

import re
from subprocess import CompletedProcess

from support.product import Agent, Product
from support.wire import Answer, ConnectRefused, Wire, request

GITHUB = "api.github.com"


def refused(product: Product, *arguments: str, code: int = 1, **options: object) -> str:
    """The one clear line of a command that fails with a code and prints nothing else."""
    done: CompletedProcess[str] = product.run(*arguments, check=False, **options)  # type: ignore[arg-type]
    assert (done.returncode, done.stdout) == (code, ""), done
    lines = done.stderr.splitlines()
    if code == 2:  # click's own: two lines of usage before it
        assert lines[0].startswith("Usage: "), done
        assert lines[-1].startswith("Error: "), done
        return lines[-1].removeprefix("Error: ")
    (line,) = lines
    assert line.startswith("douane: "), done
    return line.removeprefix("douane: ")


def printed_agent(product: Product, name: str, printed: str) -> Agent:
    """An agent with the key that a command printed."""
    (key,) = set(re.findall(rf"http://{re.escape(name)}:([^@\s]+)@", printed))
    return Agent(name, key, f"http://{name}:{key}@127.0.0.1:{product.proxy_port}", product.ca)


def call(
    product: Product, agent: Agent, method: str = "GET", path: str = "/user", body: bytes = b"", host: str = GITHUB
) -> Answer:
    """One call of an agent through the proxy."""
    kind = [
        "Content-Type: application/json" if body.startswith(b"{") else "Content-Type: application/x-www-form-urlencoded"
    ]
    with Wire.tunnel(agent, product.proxy_address, host) as wire:
        return wire.ask(request(method, host, path, body, *(kind if body else [])), method=method)


def passes(product: Product, agent: Agent) -> bool:
    """Whether a call of the agent goes through now."""
    try:
        return call(product, agent).status == 200
    except ConnectRefused:
        return False


def held(product: Product, agent: Agent, repository: str) -> str:
    """The review of a delete that the agent just asked for."""
    answer = call(product, agent, "DELETE", f"/repos/acme/{repository}")
    assert answer.decision["reason_codes"][0] == "review_pending"
    review_id: str = answer.decision["review_id"]
    return review_id
