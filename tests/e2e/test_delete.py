"""PyGithub at its default settings deletes a repository: one review however long it takes, and at most one DELETE."""

from __future__ import annotations

import datetime
from collections.abc import Callable
from pathlib import Path

import pytest

from support.agents import AgentProcess, start_agent
from support.policy import policy_folder
from support.product import Product, client, eventually
from support.providers import Providers
from support.wire import Wire, request

pytestmark = pytest.mark.sdk
REPOSITORY = "acme/legacy-billing"


def delete(product: Product, agent: str = "cleaner") -> AgentProcess:
    return start_agent(product, product.agent(agent), [*client("github_delete.py"), REPOSITORY])


@pytest.fixture
def held(new_product: Callable[..., Product], tmp_path: Path) -> Callable[..., Product]:
    """A node whose holds wait as long as said before the client is told to come back."""

    def start(**settings: object) -> Product:
        product = new_product(policy=policy_folder(tmp_path / "policy", **settings))
        product.start()
        return product

    return start


def test_approved_in_time_goes_through_on_the_same_connection(product: Product, providers: Providers) -> None:
    running = delete(product)
    review = product.wait_review(agent="cleaner")
    assert review["tool"] == "github.repos.delete"
    assert review["tier"] == "irreversible"
    assert review["waiting"] == 1
    assert "acme/legacy-billing" in review["summary"]
    assert providers.stand_in.seen("DELETE") == []
    before = datetime.datetime.now(datetime.UTC)
    assert product.decide(review["review_id"], "approve", "rita").status == 200
    assert running.rest() == [{"deleted": REPOSITORY}]
    assert len(providers.stand_in.seen("DELETE", f"/repos/{REPOSITORY}")) == 1
    eventually(lambda: bool(product.reviews("executed")), "the result of the approved call")
    verdicts = product.log(kind="verdict")
    assert len(verdicts) == 1
    text = str(verdicts[0])
    assert "rita" in text
    decided = product.api("GET", f"/v1/reviews/{review['review_id']}").body
    assert decided["reviewer"] == "rita"
    assert abs(decided["decided_us"] / 1e6 - before.timestamp()) < 60


def test_rejected_is_a_403_and_nothing_was_sent(product: Product, providers: Providers) -> None:
    running = delete(product, "rejected")
    review = product.wait_review(agent="rejected")
    assert product.decide(review["review_id"], "reject", note="keep it").status == 200
    (told,) = running.rest()
    assert told["status"] == 403
    assert told["data"]["decision"]["reason_codes"][0] == "review_rejected"
    assert told["data"]["decision"]["outcome"] == "BLOCK"
    assert providers.stand_in.seen("DELETE") == []


def test_expired_is_a_403_and_nothing_was_sent(held: Callable[..., Product], providers: Providers) -> None:
    product = held(expires="1s")
    (told,) = delete(product).rest()
    assert told["status"] == 403
    assert told["data"]["decision"]["reason_codes"][0] == "review_expired"
    assert providers.stand_in.seen("DELETE") == []
    assert [review["state"] for review in product.reviews()] == ["expired"]
    late = product.decide(product.reviews()[0]["review_id"], "approve")
    assert late.status == 409
    assert providers.stand_in.seen("DELETE") == []


def test_repeats_join_one_review_and_a_late_approval_is_spent_once(
    held: Callable[..., Product], providers: Providers
) -> None:
    """The client is told to come back; each repeat joins; the approval is a ticket for exactly one DELETE."""
    product = held(wait="1s")
    for _ in range(3):
        (told,) = delete(product).rest()
        assert told["status"] == 403
        assert told["data"]["decision"]["outcome"] == "ESCALATE"
        assert told["data"]["decision"]["reason_codes"][0] == "review_pending"
    (review,) = product.reviews()
    assert told["data"]["decision"]["review_id"] == review["review_id"]
    assert providers.stand_in.seen("DELETE") == []
    assert product.decide(review["review_id"], "approve").status == 200
    assert delete(product).rest() == [{"deleted": REPOSITORY}]
    providers.github.repositories.add(REPOSITORY)
    (again,) = delete(product).rest()
    assert again["status"] == 403, "a second identical delete is a review of its own"
    assert len(providers.stand_in.seen("DELETE")) == 1
    assert len(product.reviews()) == 2
    assert len([record for record in product.log(kind="intent") if "github.repos.delete" in str(record)]) == 1


@pytest.mark.parametrize("end", ["stop", "kill"])
def test_a_review_outlives_the_node(held: Callable[..., Product], providers: Providers, end: str) -> None:
    product = held(wait="2s")
    running = delete(product)
    review = product.wait_review()
    secret_before = product.reviewer("rita")
    getattr(product, end)()
    running.kill()
    product.start()
    assert [found["state"] for found in product.reviews()] == ["pending"]
    assert product.decide(review["review_id"], "approve").status == 200
    assert product.reviewers["rita"] == secret_before
    assert delete(product).rest() == [{"deleted": REPOSITORY}]
    assert len(providers.stand_in.seen("DELETE")) == 1
    (review,) = product.reviews()
    assert review["state"] == "executed"


def test_a_held_call_hears_that_the_node_stops(held: Callable[..., Product], providers: Providers) -> None:
    product = held(wait="60s")
    agent = product.agent("cleaner")
    with Wire.tunnel(agent, product.proxy_address, "api.github.com", timeout=60) as wire:
        wire.send(request("DELETE", "api.github.com", f"/repos/{REPOSITORY}"))
        product.wait_review(agent="cleaner")
        assert product.stop() == 0
        answer = wire.read(method="DELETE")
    assert (answer.status, answer.code) == (403, "review_pending")
    product.start()
    assert [found["state"] for found in product.reviews()] == ["pending"]
    told = {record["kind"]: record["seq"] for record in product.log() if record["kind"] in ("refusal", "boot")}
    stop = next(record["seq"] for record in product.log(kind="boot") if record["event"] == "stop")
    assert told["refusal"] < stop, "recorded after the head was signed"
    assert providers.stand_in.seen("DELETE") == []


def test_a_client_that_left_while_held_executes_nothing(held: Callable[..., Product], providers: Providers) -> None:
    product = held(wait="30s")
    running = delete(product)
    review = product.wait_review()
    running.kill()
    eventually(lambda: product.api("GET", f"/v1/reviews/{review['review_id']}").body["waiting"] == 0, "the leaving")
    assert product.decide(review["review_id"], "approve").status == 200
    assert product.api("GET", f"/v1/reviews/{review['review_id']}").body["state"] == "approved"
    assert providers.stand_in.seen("DELETE") == []


def test_an_agent_cannot_give_a_verdict(product: Product, providers: Providers) -> None:
    running = delete(product, "self-approver")
    review = product.wait_review(agent="self-approver")
    path = f"/v1/reviews/{review['review_id']}/approve"
    agent = product.agent("self-approver")
    assert product.api("POST", path, {}).status == 401
    assert product.api("POST", path, {}, basic=(agent.name, agent.key)).status == 401
    assert product.api("POST", path, {}, bearer=agent.key).status == 401
    assert product.api("GET", f"/v1/reviews/{review['review_id']}").body["state"] == "pending"
    product.decide(review["review_id"], "reject")
    running.rest()
    assert providers.stand_in.seen("DELETE") == []
