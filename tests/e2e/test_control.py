"""What an operator does takes force at once, and what is wrong never does."""

from __future__ import annotations

import re
from collections.abc import Callable, Iterator
from pathlib import Path

import pytest
import yaml

from support.policy import policy_folder
from support.product import Agent, Product
from support.providers import Providers
from support.wire import Answer, ConnectRefused, Wire, request


@pytest.fixture
def open_wire(product: Product, providers: Providers) -> Iterator[Callable[[str], tuple[Agent, Wire]]]:
    """A connection on which a call has gone through already."""
    wires: list[Wire] = []

    def make(name: str) -> tuple[Agent, Wire]:
        agent = product.agent(name)
        wires.append(Wire.tunnel(agent, product.proxy_address, "api.github.com"))
        assert ask(wires[-1]).status == 200
        providers.stand_in.forget()
        return agent, wires[-1]

    yield make
    for wire in wires:
        wire.close()


def ask(wire: Wire) -> Answer:
    return wire.ask(request("GET", "api.github.com", "/user"))


@pytest.mark.parametrize("command", ["remove", "rotate", "suspend"])
def test_the_next_request_on_an_open_connection_is_refused(
    product: Product, providers: Providers, open_wire: Callable[[str], tuple[Agent, Wire]], command: str
) -> None:
    agent, wire = open_wire(f"to-{command}")
    product.run("agent", command, agent.name)
    answer = ask(wire)
    assert (answer.status, answer.code) == (403, "agent_unknown")
    assert providers.stand_in.seen() == []
    with pytest.raises(ConnectRefused) as refused:
        Wire.tunnel(agent, product.proxy_address, "api.github.com")
    assert refused.value.answer.status == 407


@pytest.mark.parametrize("command", ["remove", "rotate", "suspend"])
def test_a_held_call_ends_with_its_agents_key(product: Product, providers: Providers, command: str) -> None:
    agent = product.agent(f"held-{command}")
    with Wire.tunnel(agent, product.proxy_address, "api.github.com") as wire:
        wire.send(request("DELETE", "api.github.com", f"/repos/acme/{agent.name}"))
        review = product.wait_review(agent=agent.name)
        product.run("agent", command, agent.name)
        answer = wire.read()
        assert (answer.status, answer.code) == (403, "agent_unknown")
        product.decide(review["review_id"], "approve")
    assert providers.stand_in.seen("DELETE") == []


def test_a_held_call_is_decided_by_the_policy_of_the_moment_it_goes(
    new_product: Callable[..., Product], providers: Providers, tmp_path: Path
) -> None:
    folder = policy_folder(tmp_path / "policy")
    product = new_product(policy=folder).start()
    with Wire.tunnel(product.agent("late"), product.proxy_address, "api.github.com") as wire:
        wire.send(request("DELETE", "api.github.com", "/repos/acme/legacy-billing"))
        review = product.wait_review(agent="late")
        policy = yaml.safe_load((folder / "policy.yaml").read_text())
        policy["rules"].append({"name": "never", "effect": "deny", "tools": ["github.repos.delete"], "reason": "No."})
        (folder / "policy.yaml").write_text(yaml.safe_dump(policy, sort_keys=False))
        assert product.api("POST", "/v1/policy/apply", {}).body["applied"]
        answer = wire.read()
        assert (answer.status, answer.code) == (403, "rule_denied")
        product.decide(review["review_id"], "approve")
        again = wire.ask(request("DELETE", "api.github.com", "/repos/acme/legacy-billing"))
        assert (again.status, again.code) == (403, "rule_denied")
    assert providers.stand_in.seen("DELETE") == []


def test_a_held_call_keeps_its_one_review_under_other_rules(
    new_product: Callable[..., Product], providers: Providers, tmp_path: Path
) -> None:
    folder = policy_folder(tmp_path / "policy")
    product = new_product(policy=folder).start()
    with Wire.tunnel(product.agent("patient"), product.proxy_address, "api.github.com") as wire:
        wire.send(request("DELETE", "api.github.com", "/repos/acme/legacy-billing"))
        review = product.wait_review(agent="patient")
        policy = yaml.safe_load((folder / "policy.yaml").read_text())
        policy["rules"].append({"name": "other", "effect": "deny", "tools": ["stripe.refunds.create"], "reason": "No."})
        (folder / "policy.yaml").write_text(yaml.safe_dump(policy, sort_keys=False))
        assert product.api("POST", "/v1/policy/apply", {}).body["applied"]
        assert product.decide(review["review_id"], "approve").status == 200
        assert wire.read(method="DELETE").status == 204
    assert len(product.reviews()) == 1
    assert len(providers.stand_in.seen("DELETE")) == 1


def test_a_resumed_agent_works_again_with_its_key(
    product: Product, providers: Providers, open_wire: Callable[[str], tuple[Agent, Wire]]
) -> None:
    agent, wire = open_wire("paused")
    product.run("agent", "suspend", agent.name)
    assert ask(wire).status == 403
    product.api("POST", f"/v1/agents/{agent.name}/resume", {})
    with Wire.tunnel(agent, product.proxy_address, "api.github.com") as wire:
        assert ask(wire).status == 200


def test_suspending_all_stops_everyone(new_product: Callable[..., Product], providers: Providers) -> None:
    product = new_product().start()
    wires = [Wire.tunnel(product.agent(name), product.proxy_address, "api.github.com") for name in ("ann", "ben")]
    assert [ask(wire).status for wire in wires] == [200, 200]
    product.run("agent", "suspend", "--all")
    assert [ask(wire).code for wire in wires] == ["agent_unknown", "agent_unknown"]
    for wire in wires:
        wire.close()


def test_the_default_agent_ends_with_the_first_registration(
    new_product: Callable[..., Product], providers: Providers
) -> None:
    product = new_product().start()

    def without_key() -> Answer:
        with Wire.open(product.proxy_address) as wire:
            wire.send(b"CONNECT api.github.com:443 HTTP/1.1\r\nHost: api.github.com:443\r\n\r\n")
            head = wire.head()
            if head.status != 200:
                return head
            wire.start_tls(product.ca, "api.github.com")
            return ask(wire)

    assert without_key().status == 200
    assert [record["agent"] for record in product.log(kind="intent")] == ["default"]
    product.agent("first")
    assert without_key().status == 407
    product.run("agent", "remove", "first")
    assert without_key().status == 407, "removing the last agent does not bring `default` back"


WRONG = """\
version: 1
mode: enforced
caps: 50
rules:
  - name: twice
    effect: forbid
    tools: [github.repos.delete]
  - name: twice
    effect: hold
    when: "tool ==="
unmaped: hold
"""


def test_a_wrong_policy_tells_every_mistake_and_never_takes_force(
    new_product: Callable[..., Product], providers: Providers, tmp_path: Path
) -> None:
    folder = policy_folder(tmp_path / "policy")
    product = new_product(policy=folder).start()
    agent = product.agent("steady")
    digest = product.api("GET", "/v1/policy").body["digest"]
    (folder / "policy.yaml").write_text(WRONG)
    for command in (["policy", "check"], ["policy", "apply"]):
        arguments = [*command, "--policy", str(folder)] if command[1] == "check" else command
        done = product.run(*arguments, check=False)
        told = done.stdout + done.stderr
        assert done.returncode == 2, told
        lines = {int(number) for number in re.findall(r"policy\.yaml:(\d+)", told)}
        assert {2, 3, 6, 10, 11} <= lines, told
        assert lines & {5, 8}, told
    assert product.api("GET", "/v1/policy").body["digest"] == digest
    with Wire.tunnel(agent, product.proxy_address, "api.github.com") as wire:
        assert ask(wire).status == 200


def test_a_node_does_not_start_on_a_wrong_policy(new_product: Callable[..., Product], tmp_path: Path) -> None:
    folder = policy_folder(tmp_path / "policy")
    (folder / "policy.yaml").write_text(WRONG)
    product = new_product(policy=folder).start(ready=False)
    assert product.wait_ended() == 2
    assert "policy.yaml:2" in product.output()


def test_a_changed_file_takes_force_only_by_apply(
    new_product: Callable[..., Product], providers: Providers, tmp_path: Path
) -> None:
    folder = policy_folder(tmp_path / "policy", wait="1s")
    product = new_product(policy=folder).start()
    agent = product.agent("waiting")

    def delete() -> str:
        with Wire.tunnel(agent, product.proxy_address, "api.github.com") as wire:
            return wire.ask(request("DELETE", "api.github.com", "/repos/acme/docs")).decision["outcome"]

    assert delete() == "ESCALATE"
    policy_folder(folder, wait="1s", deny=["github.repos.delete"])
    assert delete() == "ESCALATE"
    product.run("policy", "apply")
    assert delete() == "BLOCK"
    assert providers.stand_in.seen("DELETE") == []
    assert product.log(kind="policy")


def test_a_port_in_use_is_one_clear_line(new_product: Callable[..., Product], product: Product) -> None:
    second = new_product()
    second.proxy_port = product.proxy_port
    second.start(ready=False)
    assert second.wait_ended() != 0
    assert str(product.proxy_port) in second.output()
    assert "Traceback" not in second.output()
