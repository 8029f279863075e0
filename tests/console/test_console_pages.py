"""The plain pages in a real browser, on a desk and on a phone."""

from __future__ import annotations

import re
from collections.abc import Callable

import pytest
from playwright.sync_api import expect

from console.people import Console, Tab
from support.product import eventually

pytestmark = pytest.mark.browser


@pytest.mark.parametrize("width", [1280, 390])
@pytest.mark.parametrize("verdict", ["Approve", "Reject"])
def test_a_review_is_read_and_decided_with_one_note(
    console: Console, open_tab: Callable[..., Tab], verdict: str, width: int
) -> None:
    agent = f"plain-{verdict.lower()}-{width}"
    review = console.refund(agent)
    page = open_tab("rita", "/governance").page
    page.set_viewport_size({"width": width, "height": 800})
    entry = page.locator(".reviews a", has_text=agent)
    expect(entry).to_contain_text(re.compile(r"held \d\d-\d\d \d\d:\d\d, until \d\d-\d\d \d\d:\d\d UTC"))
    assert page.evaluate("document.documentElement.scrollWidth <= innerWidth")
    entry.click()
    expect(page.get_by_role("button", name="Log out rita")).to_be_visible()
    expect(page.locator(".card")).to_contain_text("approval   the waiting call is sent at once")
    sure = page.get_by_role("checkbox", name=f"approve stripe.refunds.create by {agent}: {review['summary']}")
    expect(page.get_by_role("textbox")).to_have_count(1)
    page.get_by_role("textbox").fill("looked at")
    assert page.evaluate("document.documentElement.scrollWidth <= innerWidth")
    if verdict == "Approve":
        sure.check()
        eventually(lambda: page.evaluate("performance.now()") > 1_500, "the time that reading takes")
    page.get_by_role("button", name=verdict).click()
    expect(page.get_by_role("status")).to_have_text(
        re.compile("^The review is (approved|dispatching|executed|rejected)")
    )
    assert console.review(review["review_id"])["note"] == "looked at"
    page.get_by_role("link", name="Governance").click()
    latest = page.locator("table").last.locator("tr", has_text=agent).first
    expect(latest.locator("td").first).to_have_text(re.compile(r"^\d\d-\d\d \d\d:\d\d:\d\d$"))


def test_a_decided_card_promises_nothing_of_approvals(console: Console, open_tab: Callable[..., Tab]) -> None:
    review = console.decided("long-over")
    card = open_tab("rita", f"/governance/{review['review_id']}").page.locator(".card")
    expect(card).to_contain_text("state      rejected   by paul at ")
    expect(card).not_to_contain_text("approval ")
    expect(card).not_to_contain_text("answer  ")
