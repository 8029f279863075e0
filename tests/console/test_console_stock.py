"""What our script and style rely on in mitmweb's page: an upgrade that moves any of it fails here."""

from __future__ import annotations

import re
from html.parser import HTMLParser
from importlib import resources
from typing import Any

import pytest
from playwright.sync_api import expect

from console.people import Console, Tab

pytestmark = pytest.mark.browser

STATIC = resources.files("douane.console") / "static"
OURS = re.compile(r"\.douane-|dialog\.douane|dialog\[open\]")


def selectors_of_style() -> list[str]:
    """Every selector of our style that is not for elements of our own."""
    style = re.sub(r"/\*.*?\*/|@[^{]*\{|::\w+", "", (STATIC / "console.css").read_text(), flags=re.DOTALL)
    rules = re.sub(r"\{[^}]*\}|\}", "\n", style)
    found = [selector.strip() for line in rules.split("\n") for selector in line.split(",")]
    return [selector for selector in found if selector and not OURS.match(selector)]


def selectors_of_script() -> list[str]:
    """Every selector that our script looks for, but for elements of our own."""
    found = re.findall(r'(?:querySelector(?:All)?|closest)\("([^"]+)"\)', (STATIC / "console.js").read_text())
    return [selector for selector in found if not OURS.match(selector)]


def test_every_selector_finds_something_while_a_review_is_open(console: Console, tab: Tab) -> None:
    assert len(selectors_of_style()) >= 10
    assert set(selectors_of_script()) == {
        *(".inline-input", ".flow-detail"),
        *(".flow-table th.col-comment", ".flow-table td.col-comment", "td .douane-held", "td .douane-expires"),
    }
    console.refund("selected-for-style")
    tab.open("selected-for-style")
    missing = [
        selector
        for selector in (*selectors_of_style(), *selectors_of_script())
        if tab.page.locator(selector).count() == 0
    ]
    assert missing == []


def test_the_style_does_what_it_is_for(console: Console, tab: Tab) -> None:
    """The wide column, and nothing of mitmweb that edits, uploads, or leads elsewhere."""
    console.refund("styled")
    tab.open("styled")
    for selector in (
        *("#mitmproxy header", "footer", ".contentview .controls", ".first-line", ".kv-editor"),
        *(".flow-detail .nav-tabs a:not(.active)", ".quickaction"),
    ):
        for number in range(tab.page.locator(selector).count()):
            expect(tab.page.locator(selector).nth(number)).to_be_hidden()
    wide = tab.row("styled").locator(".col-comment").bounding_box()
    row = tab.row("styled").bounding_box()
    assert wide is not None
    assert row is not None
    assert wide["width"] > row["width"] / 2
    assert tab.page.locator("input[type=file]:visible, .flow-detail [contenteditable=true]:visible").count() == 0


def test_the_store_has_what_the_script_reads(console: Console, tab: Tab) -> None:
    review = console.refund("stored")
    tab.open("stored")
    found: dict[str, Any] = tab.page.evaluate(
        """(id) => {
            const flows = window.backend.store.getState().flows;
            return {
                byId: flows.byId instanceof Map && flows.byId.get(id)?.id,
                listed: Array.isArray(flows.list) && flows.list.some((flow) => flow.id === id),
                selected: flows.selected.map((flow) => flow.id),
                intercepted: flows.byId.get(id)?.intercepted,
                parts: flows.byId.get(id)?.comment.split(" · ").length,
            };
        }""",
        review["review_id"],
    )
    assert found == {
        "byId": review["review_id"],
        "listed": True,
        "selected": [review["review_id"]],
        "intercepted": True,
        "parts": 8,
    }


def test_the_list_still_moves_by_keys(console: Console, tab: Tab) -> None:
    """What is left of mitmweb's keys: no selection is moved by our own code."""
    for agent in ("lower", "upper"):  # the newest is the uppermost
        console.refund(agent)
        expect(tab.row(agent)).to_be_visible()
    tab.open("upper")
    tab.page.keyboard.press("ArrowDown")
    expect(tab.row("lower")).to_have_class(re.compile(r"\bselected\b"))
    expect(tab.page.locator(".flow-detail .contentview pre")).to_contain_text("agent      lower")
    expect(tab.page.locator(".douane-verdict")).to_have_count(1)
    tab.page.keyboard.press("Escape")
    expect(tab.page.locator(".douane-verdict")).to_have_count(0)


class Head(HTMLParser):
    """The page's scripts and styles, in order."""

    def __init__(self) -> None:
        super().__init__()
        self.scripts: list[dict[str, str | None]] = []
        self.styles: list[str | None] = []
        self.body: dict[str, str | None] = {}

    def handle_starttag(self, tag: str, attrs: list[tuple[str, str | None]]) -> None:
        said = dict(attrs)
        if tag == "script":
            self.scripts.append(said)
        elif tag == "link" and said.get("rel") == "stylesheet":
            self.styles.append(said.get("href"))
        elif tag == "body":
            self.body = said


def test_our_script_comes_before_mitmwebs_and_our_style_after(console: Console) -> None:
    """The script takes keys and fetch before mitmweb's does; all three places in its page were found."""
    page = console.logged_in().get("/").text
    head = Head()
    head.feed(page)
    first, second = head.scripts
    assert first == {"src": "./console/console.js"}
    assert second["type"] == "module"
    assert head.styles[-1] == "./console/console.css"
    assert len(head.styles) > 1
    assert head.body["data-reviewer"] == "rita"
    assert head.body["data-xsrf"]
    assert "<title>Approvals</title>" in page
