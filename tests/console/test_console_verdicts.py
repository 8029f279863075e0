"""What counts as a verdict: by whom, on what was shown, once; and how a refusal is told. Without a browser."""

from __future__ import annotations

import json
import re
import signal
import sqlite3
import time
from typing import Any

import pytest

from console.people import Console, Visitor
from support.product import eventually
from support.providers import Providers

LOOK_S = 0.7


def opened(visitor: Visitor, review: dict[str, Any]) -> str:
    """Open a review; the digest of its card."""
    eventually(lambda: visitor.card(review).status_code == 200, "the review in the console")
    return visitor.card(review).headers["Douane-Card"]


def message(answer: Any) -> str:
    return str(answer.json()["message"])


def verdicts(console: Console, review: dict[str, Any]) -> list[dict[str, Any]]:
    """The verdicts on a review, as `douane log --json` tells them."""
    lines = console.product.run("log", "--json", "--kind", "verdict", "--limit", "500").stdout.splitlines()
    found = [json.loads(line) for line in lines]
    return [entry["record"] | entry["values"] for entry in found if entry["record"]["review_id"] == review["review_id"]]


def test_an_approval_counts_only_after_the_whole_view_was_there_to_be_read(console: Console) -> None:
    review = console.refund("careful")
    rita, paul = console.logged_in("rita"), console.logged_in("paul")
    eventually(lambda: rita.row(review) != "", "the review in the console")
    digest = opened(paul, review)
    for said in ("", digest):
        refused = rita.approve(review, said)
        assert refused.status_code == 428, "only paul has opened it"
        assert "Open the review" in message(refused)
    part = rita.card(review, lines=5)
    assert len(part.json()["text"].splitlines()) == 5
    assert "Douane-Card" not in part.headers
    assert rita.approve(review, digest).status_code == 428, "rita has seen a part of it"
    began = time.monotonic()
    assert opened(rita, review) == digest
    assert rita.approve(review, digest).status_code == 428, "nobody reads that fast"
    eventually(lambda: rita.approve(review, digest).status_code == 200, "an approval that counts")
    assert time.monotonic() - began >= LOOK_S
    assert console.review(review["review_id"])["reviewer"] == "rita"


def test_a_view_one_line_longer_than_the_page_shows_is_not_whole(console: Console) -> None:
    review = console.refund("long")
    visitor = console.logged_in()
    opened(visitor, review)
    lines = visitor.card(review).json()["text"].split("\n")
    assert "Douane-Card" not in visitor.card(review, lines=len(lines)).headers
    assert "Douane-Card" in visitor.card(review, lines=len(lines) + 1).headers


def test_the_verdict_is_the_logged_in_reviewers_whatever_the_request_says(
    console: Console, running_providers: Providers
) -> None:
    review = console.refund("attributed")
    paul = console.logged_in("paul")
    card = opened(paul, review)
    target = f"/flows/{review['review_id']}/resume?reviewer=rita"
    body = {"note": "as agreed", "card": card, "reviewer": "rita", "channel": "cli"}
    before = len(running_providers.stand_in.seen("POST", "/v1/refunds"))
    eventually(lambda: paul.ask("POST", target, body).status_code == 200, "the approval")
    eventually(lambda: console.state(review) == "executed", "the refund")
    assert len(running_providers.stand_in.seen("POST", "/v1/refunds")) == before + 1
    decided = console.review(review["review_id"])
    assert (decided["reviewer"], decided["channel"], decided["note"]) == ("paul", "console", "as agreed")
    (verdict,) = verdicts(console, review)
    assert (verdict["reviewer"], verdict["channel"], verdict["outcome"]) == ("paul", "console", "approved")


def test_a_rejection_is_the_logged_in_reviewers_too(console: Console, running_providers: Providers) -> None:
    review = console.refund("refused")
    paul = console.logged_in("paul")
    eventually(lambda: paul.row(review) != "", "the review in the console")
    sent = len(running_providers.stand_in.seen())
    answer = paul.ask("POST", f"/flows/{review['review_id']}/kill", {"note": "not this one"})
    assert (answer.status_code, message(answer)) == (200, "The review is rejected.")
    (verdict,) = verdicts(console, review)
    assert (verdict["reviewer"], verdict["channel"], verdict["outcome"]) == ("paul", "console", "rejected")
    assert console.review(review["review_id"])["note"] == "not this one"
    assert len(running_providers.stand_in.seen()) == sent


def test_a_second_verdict_is_refused_and_changes_nothing(console: Console) -> None:
    review = console.refund("twice")
    rita, paul = console.logged_in("rita"), console.logged_in("paul")
    card = opened(rita, review)
    opened(paul, review)
    eventually(lambda: rita.approve(review, card).status_code == 200, "the approval")
    for action in ("resume", "kill"):
        answer = paul.ask("POST", f"/flows/{review['review_id']}/{action}", {"card": card})
        assert answer.status_code == 409
        assert re.search(r"Nothing was decided: the review is (approved|dispatching|executed) already", message(answer))
    (verdict,) = verdicts(console, review)
    assert verdict["reviewer"] == "rita"


def test_a_review_that_is_not_there(console: Console) -> None:
    visitor = console.logged_in()
    nobody = {"review_id": "0f0f0f0f-0000-4000-8000-00000000000f"}
    assert (visitor.approve(nobody).status_code, visitor.card(nobody).status_code) == (404, 404)
    assert visitor.get(f"/governance/{nobody['review_id']}").status_code == 404


@pytest.mark.parametrize("body", ["", "[]", "null", "{", '{"note": 7, "card": []}', '{"note": {"a": 1}}', "\ud800"])
def test_a_malformed_verdict_decides_nothing(console: Console, body: str) -> None:
    review = next(iter(console.product.reviews("pending")), None) or console.refund("malformed")
    visitor = console.logged_in()
    opened(visitor, review)
    said = {"X-XSRFToken": visitor.xsrf}
    answer = visitor.post(
        f"/flows/{review['review_id']}/resume", content=body.encode("utf-8", "surrogatepass"), headers=said
    )
    assert answer.status_code == 428
    assert console.state(review) == "pending"


# the plain page


def form(page: str, verdict: str) -> dict[str, str]:
    """The hidden fields of a review's form."""
    found = re.search(rf'<form method="post" action="[^"]+/{verdict}">.*?</form>', page, re.DOTALL)
    assert found is not None, page
    pairs = [re.search(r'name="([^"]+)" value="([^"]*)"', field) for field in re.findall("<input[^>]+>", found[0])]
    return {pair[1]: pair[2] for pair in pairs if pair is not None and pair[1] != "sure"}


def test_the_plain_page_decides_only_what_it_showed_and_was_ticked(console: Console) -> None:
    review = console.refund("plain")
    visitor = console.logged_in("paul")
    opened(visitor, review)
    target = f"/governance/{review['review_id']}"
    fields = form(visitor.get(target).text, "approve")
    assert len(fields["card"]) == 64
    refused = visitor.send_form(f"{target}/approve", **fields)
    assert (refused.status_code, message(refused)) == (428, "tick that you are sure")
    sure = {**fields, "sure": "yes"}
    eventually(
        lambda: "not what you were shown" in visitor.send_form(f"{target}/approve", **{**sure, "card": "0"}).text,
        "a refusal of another card",
    )
    assert console.state(review) == "pending"
    eventually(lambda: visitor.send_form(f"{target}/approve", **sure).status_code == 200, "the approval")
    (verdict,) = verdicts(console, review)
    assert (verdict["reviewer"], verdict["outcome"]) == ("paul", "approved")
    again = visitor.send_form(f"{target}/reject", **fields)
    assert again.status_code == 409
    assert "already; nothing was changed" in again.text
    assert "<form" not in visitor.get(target).text.partition("<main>")[2]


# what was shown is what is approved


def test_a_review_that_changed_since_it_was_shown_cannot_be_approved(console: Console) -> None:
    """The store is changed behind the node's back while it is down: nothing else changes what a review says."""
    review = console.refund("changed", {"metadata[order]": "1001"})
    visitor = console.logged_in()
    target = f"/governance/{review['review_id']}"
    card = opened(visitor, review)
    fields = {**form(visitor.get(target).text, "approve"), "sure": "yes"}
    supervisor, node = console.product.process, console.child("proxy")
    assert supervisor is not None
    supervisor.send_signal(signal.SIGSTOP)  # it would replace the node at once
    node.kill()
    eventually(lambda: not node.is_running() or node.status() == "zombie", "the end of the node")
    store = sqlite3.connect(console.product.home / "private" / "douane.db")
    with store:
        store.execute(
            "UPDATE review SET card = CAST(replace(CAST(card AS TEXT), '1001', '9999') AS BLOB) WHERE review_id = ?",
            (review["review_id"],),
        )
    store.close()
    supervisor.send_signal(signal.SIGCONT)
    eventually(lambda: "9999" in visitor.card(review).text, "the change in the console")
    assert visitor.card(review).headers["Douane-Card"] != card
    for answer in (visitor.approve(review, card), visitor.send_form(f"{target}/approve", **fields)):
        assert answer.status_code == 428
    eventually(
        lambda: "not what you were shown" in visitor.approve(review, card).text, "the refusal of what is not shown"
    )
    assert console.state(review) == "pending"
    assert visitor.approve(review, opened(visitor, review)).status_code == 200
