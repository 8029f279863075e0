"""GraphQL over real HTTP: a document that hides a mutation waits, whatever it is called; one that only reads passes."""

from __future__ import annotations

import json
from typing import Any
from urllib.parse import quote

import pytest

from support.agents import start_agent
from support.product import Product
from support.providers import Providers
from support.tools import need

pytestmark = pytest.mark.sdk

URL = "https://api.github.com/graphql"
WRITE = "deleteIssue(input: {issueId: 1}) { clientMutationId }"

READS = {
    "aliases": "query { viewer: viewer { login } mutation: viewer { login } }",
    "fragments": "query { ...Reads } fragment Reads on Query { viewer { login } }",
    "several": "query A { viewer { login } } query B { rateLimit { cost } }",
    "the words": 'query { search(query: "mutation { deleteIssue }", type: ISSUE, first: 1) { issueCount } } # mutation',
}
HIDDEN: dict[str, tuple[str, dict[str, Any]]] = {
    "an alias": (f"mutation {{ viewer: {WRITE} }}", {}),
    "a fragment": (f"mutation {{ ...Reads }} fragment Reads on Mutation {{ {WRITE} }}", {}),
    "a fragment of a fragment": (
        f"mutation {{ ...A }} fragment A on Mutation {{ ...B }} fragment B on Mutation {{ viewer: {WRITE} }}",
        {},
    ),
    "an inline fragment": (f"mutation {{ ... on Mutation {{ viewer: {WRITE} }} }}", {}),
    "behind a query": (
        f"query Read {{ viewer {{ login }} }} mutation Write {{ {WRITE} }}",
        {"operationName": "Read"},
    ),
    "a name": (f"mutation query {{ viewer: {WRITE} }}", {"operationName": "query"}),
    "a variable": (
        "mutation ($never: Boolean!) { viewer: deleteIssue(input: {issueId: 1}) @include(if: $never) { x } }",
        {"variables": {"never": False}},
    ),
}


def posted(body: object) -> list[str]:
    return [need("curl"), "-sS", "-H", "Content-Type: application/json", "--data-binary", json.dumps(body), URL]


@pytest.mark.parametrize("document", READS.values(), ids=READS)
def test_what_only_reads_passes(product: Product, providers: Providers, document: str) -> None:
    agent = product.agent("reader")
    for command in (posted({"query": document}), [need("curl"), "-sS", f"{URL}?query={quote(document)}"]):
        assert start_agent(product, agent, command).rest() == [{"data": {"viewer": {"login": "octocat"}}}]
    assert len(providers.stand_in.seen(path="/graphql")) == 2
    assert [review for review in product.reviews() if review["agent"] == "reader"] == []


@pytest.mark.parametrize("hidden", HIDDEN)
def test_what_hides_a_mutation_waits_and_is_sent_once_approved(
    product: Product, providers: Providers, hidden: str
) -> None:
    document, members = HIDDEN[hidden]
    agent = product.agent(f"hider-{list(HIDDEN).index(hidden)}")
    running = start_agent(product, agent, posted({"query": document, **members}))
    review = product.wait_review(agent=agent.name)
    assert (review["tool"], review["tier"]) == ("github.graphql.deleteIssue", "irreversible")
    assert "deleteIssue" in review["summary"]
    assert providers.stand_in.seen(path="/graphql") == []
    assert product.decide(review["review_id"], "approve").status == 200
    assert running.rest() == [{"data": {"viewer": {"login": "octocat"}}}]
    (sent,) = providers.stand_in.seen(path="/graphql")
    assert json.loads(sent.body) == {"query": document, **members}


def test_a_batch_waits_for_its_one_mutation(product: Product, providers: Providers) -> None:
    agent = product.agent("batcher")
    running = start_agent(product, agent, posted([{"query": READS["aliases"]}, {"query": HIDDEN["a fragment"][0]}]))
    review = product.wait_review(agent="batcher")
    assert review["operations"] == ["github.graphql.deleteIssue"]
    assert providers.stand_in.seen(path="/graphql") == []
    assert product.decide(review["review_id"], "reject").status == 200
    (told,) = running.rest()
    assert told["decision"]["reason_codes"][0] == "review_rejected"
    assert providers.stand_in.seen(path="/graphql") == []
