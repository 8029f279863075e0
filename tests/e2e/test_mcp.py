"""A real MCP client talks to a real MCP server through the product: what destroys waits for a person."""

from __future__ import annotations

import json
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest

from support.agents import AgentProcess, start_agent
from support.policy import policy_folder
from support.product import Product, client, eventually, make_product
from support.providers import Providers

pytestmark = pytest.mark.sdk

HOST = "ledgers.corp.example"
OTHER = "unnamed.corp.example"
OVERLAY = f"""
hosts: {{{HOST}: mcp}}
tools:
  mcp.ledgers-corp-example.close_ledger: {{tier: irreversible, reason: the books cannot be opened again}}
"""
SERVER = Path(__file__).parents[1] / "support" / "mcp_server.py"
TOOLS = ["announce", "close_ledger", "delete_ledger", "go_on", "read_ledger", "tidy_ledger", "watch"]


class Desk:
    """A node that knows the server, and what the server ran."""

    def __init__(self, product: Product, ran: Path) -> None:
        self.product = product
        self._ran = ran

    def start(self, agent: str, mode: str, *calls: tuple[str, dict[str, str]], host: str = HOST) -> AgentProcess:
        command = [*client("mcp_tools.py"), f"https://{host}/mcp", mode, json.dumps(calls)]
        return start_agent(self.product, self.product.agent(agent), command)

    def run(self, agent: str, mode: str, *calls: tuple[str, dict[str, str]]) -> list[Any]:
        tools, *told = self.start(agent, mode, *calls).rest()
        assert tools == {"tools": TOOLS}
        return told

    def ran(self, name: str) -> list[str]:
        """The tools that ran on a ledger of this name."""
        lines = self._ran.read_text().splitlines() if self._ran.exists() else []
        return [tool for tool, arguments in map(json.loads, lines) if arguments["name"] == name]


@pytest.fixture(scope="module")
def desk(running_providers: Providers, tmp_path_factory: pytest.TempPathFactory) -> Iterator[Desk]:
    folder = tmp_path_factory.mktemp("mcp")
    leaf = running_providers.authority.leaf_file((HOST, OTHER))
    ran = folder / "ran.jsonl"
    command = [sys.executable, str(SERVER), HOST, str(leaf), str(ran)]
    with subprocess.Popen(command, stdout=subprocess.PIPE, text=True) as server:
        try:
            assert server.stdout is not None
            port = int(server.stdout.readline())
            policy = policy_folder(folder / "policy")
            (policy / "catalog").mkdir()
            (policy / "catalog" / "own.yaml").write_text(OVERLAY)
            routes = [f"--connect-to={host}:443=127.0.0.1:{port}" for host in (HOST, OTHER)]
            product = make_product(running_providers, folder / "node", policy=policy, flags=routes)
            product.start()
            try:
                yield Desk(product, ran)
            finally:
                product.stop()
        finally:
            server.terminate()


modes = pytest.mark.parametrize("mode", ["legacy", "auto"])
"""With a handshake and a session, and the way of 2026-07-28 without."""


@modes
def test_listing_and_reading_ask_nobody(desk: Desk, mode: str) -> None:
    name = f"read-{mode}"
    assert desk.run(name, mode, ("read_ledger", {"name": name})) == [{"text": f"{name} is balanced"}]
    assert desk.ran(name) == ["read_ledger"]
    assert [review for review in desk.product.reviews() if review["agent"] == name] == []
    called = {record["tool"] for record in desk.product.log(agent=name, kind="intent")}
    assert {"mcp.ledgers-corp-example.read_ledger", "mcp.ledgers-corp-example.tools.list"} <= called


@modes
@pytest.mark.parametrize(
    ("tool", "done"),
    [("close_ledger", "closed"), ("delete_ledger", "deleted"), ("tidy_ledger", "tidied")],
    ids=["judged", "by its name", "by its server's word"],
)
def test_what_destroys_waits_and_then_runs_once(desk: Desk, mode: str, tool: str, done: str) -> None:
    name = f"{done}-{mode}"
    running = desk.start(name, mode, (tool, {"name": name}), ("read_ledger", {"name": name}))
    review = desk.product.wait_review(agent=name)
    assert (review["tool"], review["tier"]) == (f"mcp.ledgers-corp-example.{tool}", "irreversible")
    assert desk.ran(name) == []
    assert desk.product.decide(review["review_id"], "approve").status == 200
    _, *told = running.rest()
    assert told == [{"text": f"{name} is {done}"}, {"text": f"{name} is balanced"}]
    assert desk.ran(name) == [tool, "read_ledger"]

    def states() -> list[str]:
        return [found["state"] for found in desk.product.reviews() if found["agent"] == name]

    eventually(lambda: states() == ["executed"], "the result of the one review")


@modes
def test_rejected_is_an_error_that_the_client_shows_and_goes_on_after(desk: Desk, mode: str) -> None:
    name = f"kept-{mode}"
    running = desk.start(name, mode, ("delete_ledger", {"name": name}), ("read_ledger", {"name": name}))
    review = desk.product.wait_review(agent=name)
    assert desk.product.decide(review["review_id"], "reject").status == 200
    _, refused, read = running.rest()
    assert "A reviewer rejected mcp.ledgers-corp-example.delete_ledger" in refused["message"]
    assert refused["data"]["reason_codes"][0] == "review_rejected"
    assert read == {"text": f"{name} is balanced"}
    assert desk.ran(name) == ["read_ledger"]


@modes
def test_progress_arrives_while_the_tool_runs(desk: Desk, mode: str) -> None:
    """The tool ends only when the client, told of its progress, calls another."""
    assert desk.run(f"watch-{mode}", mode, ("watch", {})) == [{"progress": 1.0}, {"text": "watched"}]


def test_what_the_server_says_by_itself_arrives(desk: Desk) -> None:
    assert desk.run("listener", "legacy", ("announce", {})) == [{"text": "announced"}, {"changed": True}]


def test_on_a_host_that_nobody_named_a_loss_waits_too(desk: Desk) -> None:
    running = desk.start("stranger", "auto", ("delete_ledger", {"name": "strange"}), host=OTHER)
    review = desk.product.wait_review(agent="stranger")
    assert review["tool"] == "mcp.unnamed-corp-example.delete_ledger"
    assert desk.product.decide(review["review_id"], "approve").status == 200
    assert running.rest()[1:] == [{"text": "strange is deleted"}]
    assert desk.ran("strange") == ["delete_ledger"]
