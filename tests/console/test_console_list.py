"""The list in a real browser: what a reviewer sees without reloading, and what does and does not decide."""

from __future__ import annotations

import re
from collections.abc import Callable

import pytest
from playwright.sync_api import expect

from console.people import SHORT_S, Console, Tab
from support.product import eventually
from support.providers import Providers

pytestmark = pytest.mark.browser

REFUSED = "Failed to load resource: the server responded with a status of"
"""What chromium itself logs of a refusal."""


def test_a_held_call_appears_without_a_reload_with_all_that_a_verdict_needs(console: Console, tab: Tab) -> None:
    before = tab.page.evaluate("performance.timeOrigin")
    review = console.refund("newcomer", {"reason": "duplicate"})
    row = tab.row("newcomer")
    expect(row).to_contain_text("stripe.refunds.create · pending · irreversible · newcomer · ")
    expect(row).to_contain_text(review["summary"])
    expect(row).to_have_class(re.compile(r"\bintercepted\b"))
    for part, told in (("state", "pending"), ("tool", "stripe.refunds.create"), ("what", review["summary"])):
        expect(row.locator(f".douane-{part}")).to_have_text(told)
    for part, told in ((".douane-held", r"^\d+ (s|min) ago$"), (".douane-expires", r"^in \d+ (h|min)$")):
        expect(row.locator(part)).to_have_attribute("data-shown", re.compile(told))
        expect(row.locator(part)).to_be_visible()
    view = tab.open("newcomer")
    for line in (
        review["summary"],
        "state      pending",
        "tool       stripe.refunds.create",
        "tier       irreversible   (money)",
        "agent      newcomer",
        "request    POST api.stripe.com",
        f"held       {review['reason']}",
        f"rule       {review['rule']}",
        f"expires    {review['expires_at']}",
        "client     waits now",
        "    charge: ch_1",
        "    amount: 250",
        "    reason: duplicate",
    ):
        assert line in view.inner_text().split("\n") or line in view.inner_text(), line
    expect(tab.page).to_have_title(re.compile(r"^\([1-9]\d*\) Approvals$"))
    assert tab.page.evaluate("performance.timeOrigin") == before
    assert tab.messages == []


@pytest.mark.parametrize("width", [1280, 390])
def test_the_newest_comes_first_and_is_decided_on_any_screen(console: Console, tab: Tab, width: int) -> None:
    page = tab.page
    page.set_viewport_size({"width": width, "height": 800})
    names = [f"{name}-{width}" for name in ("first", "second")]
    for name in names:
        console.refund(name, {"reason": "duplicate"})
        expect(tab.row(name)).to_be_visible()
    newer_above_older = page.locator("tr", has_text=names[1]).locator("xpath=following-sibling::tr")
    expect(newer_above_older.filter(has_text=names[0])).to_have_count(1)
    shown = ("state", "tool", "agent", "what", "held", "expires")
    if width < 480:
        shown = ("state", "tool", "agent", "expires")
    row = tab.row(names[1])
    box = row.bounding_box()
    assert box is not None
    assert box["height"] == 32, "mitmweb's scrolling reckons with it"
    for column in shown:
        expect(row.locator(f".douane-{column}")).to_be_visible()
        expect(page.locator(f"th .douane-{column}")).to_be_visible()
        assert row.locator(f".douane-{column}").evaluate("cell => cell.scrollWidth <= cell.clientWidth"), column
        assert page.locator(f"th .douane-{column}").evaluate("cell => cell.scrollWidth <= cell.clientWidth"), column
    assert row.locator("i:visible, .marker").count() == 0, "signs that nobody explains"
    assert page.evaluate("document.documentElement.scrollWidth <= innerWidth")
    tab.open(names[0])
    approve = page.get_by_role("button", name="Approve")
    expect(approve).to_be_in_viewport()
    assert page.evaluate("document.documentElement.scrollWidth <= innerWidth")
    box = page.locator(".flow-detail").bounding_box()
    assert box is not None
    assert box["width"] >= min(width, 600)


def test_the_open_view_tells_when_the_client_leaves(console: Console, tab: Tab) -> None:
    console.agent("leaver")
    wire = console.send("leaver", "POST", "api.stripe.com", "/v1/refunds", b"charge=ch_9", console_form())
    console.product.wait_review(agent="leaver")
    view = tab.open("leaver")
    expect(view).to_contain_text("client     waits now")
    wire.close()
    expect(view).to_contain_text("client     does not wait")
    expect(view).to_contain_text("the agent's next identical call is sent, once")


def console_form() -> str:
    return "Content-Type: application/x-www-form-urlencoded"


@pytest.mark.parametrize("channel", ["cli", "api", "another reviewer's console"])
def test_a_verdict_given_elsewhere_changes_the_list_and_the_open_view(
    console: Console, tab: Tab, open_tab: Callable[..., Tab], channel: str
) -> None:
    agent = f"elsewhere-{channel[:3].strip()}"
    review = console.refund(agent)
    view = tab.open(agent)
    expect(tab.page.locator(".douane-verdict")).to_be_visible()
    if channel == "cli":
        secret = {"DOUANE_REVIEWER_SECRET": console.product.reviewer("paul")}
        console.product.run("reviews", "reject", review["review_id"], "--reviewer", "paul", variables=secret)
    elif channel == "api":
        assert console.product.decide(review["review_id"], "reject", "paul").status == 200
    else:
        other = open_tab("paul")
        other.open(agent)
        other.press("Reject")
        other.confirm()
    expect(tab.row(agent)).to_contain_text("stripe.refunds.create · rejected · ")
    expect(tab.row(agent).locator(".douane-state")).to_have_text("rejected")
    expect(tab.row(agent).locator(".douane-expires")).to_have_attribute("data-shown", "")
    expect(tab.row(agent)).not_to_have_class(re.compile(r"\bintercepted\b"))
    expect(view).to_contain_text("state      rejected   by paul at ")
    expect(tab.page.locator(".douane-verdict")).to_have_count(0)
    tab.page.get_by_role("button", name="Pending").click()
    expect(tab.row(agent)).to_have_count(0)
    tab.page.get_by_role("button", name="All").click()
    expect(tab.row(agent)).to_have_count(1)


def test_pending_only_follows_what_comes_and_goes(console: Console, tab: Tab) -> None:
    tab.page.get_by_role("button", name="Pending").click()
    review = console.refund("comes-and-goes")
    expect(tab.row("comes-and-goes")).to_have_count(1)
    assert console.product.decide(review["review_id"], "reject", "paul").status == 200
    expect(tab.row("comes-and-goes")).to_have_count(0)


def test_approve_sends_the_call_once_in_the_reviewers_name(
    console: Console, tab: Tab, running_providers: Providers
) -> None:
    review = console.refund("approved")
    sent = len(running_providers.stand_in.seen("POST", "/v1/refunds"))
    tab.open("approved")
    dialog = tab.press("Approve")
    expect(dialog.locator(".sentence")).to_have_text(review["summary"])
    dialog.get_by_role("textbox").press_sequentially("seen by a person: Ax d, z r!")
    tab.confirm()
    expect(tab.toast).to_have_text(re.compile(r"^The review is (approved|dispatching|executed)\.$"))
    expect(tab.row("approved")).to_contain_text(" · executed · ")
    assert len(running_providers.stand_in.seen("POST", "/v1/refunds")) == sent + 1
    decided = console.review(review["review_id"])
    assert (decided["reviewer"], decided["channel"]) == ("rita", "console")
    view = tab.page.locator(".flow-detail .contentview pre")
    expect(view).to_contain_text(f"answer     {decided['result_status']}, from the provider")
    expect(view).not_to_contain_text("approval   ")
    assert decided["note"] == "seen by a person: Ax d, z r!"
    assert tab.asked == [("POST", f"/flows/{review['review_id']}/resume")]
    assert tab.messages == []


def test_reject_sends_nothing(console: Console, tab: Tab, running_providers: Providers) -> None:
    review = console.refund("unwanted")
    sent = len(running_providers.stand_in.seen())
    tab.open("unwanted")
    tab.press("Reject")
    tab.confirm()
    expect(tab.toast).to_have_text("The review is rejected.")
    assert console.review(review["review_id"])["reviewer"] == "rita"
    assert len(running_providers.stand_in.seen()) == sent
    assert tab.messages == []


# what decides nothing

KEYS = [
    *"abcdefghijklmnopqrstuvwxyzADXRVZNE0123456789?:/",
    *("Enter", "Space", "Delete", "Backspace", "Insert", "Tab", "ArrowLeft", "ArrowRight", "F1", "F2"),
    *("Control+Enter", "Control+a", "Alt+a", "Meta+a", "Shift+Delete", "Shift+A"),
]


@pytest.mark.parametrize("where", ["list", "view", "selection of several", "bar"])
def test_no_key_decides_or_asks_for_anything(console: Console, tab: Tab, where: str) -> None:
    agents = [f"keys-{where[:4]}-{number}" for number in (1, 2)]
    reviews = [console.refund(agent) for agent in agents]
    view = tab.open(agents[0])
    if where == "list":
        tab.row(agents[1]).click()
    elif where == "view":
        view.click()
    elif where == "bar":
        tab.page.locator(".douane-bar b").click()
    else:
        tab.row(agents[1]).click(modifiers=["Control"])
        expect(tab.page.locator("tr.selected")).to_have_count(2)
    rows = tab.page.locator(".flow-table tbody tr.has-request").count()
    for key in KEYS:
        if where == "bar" and key == "Tab":
            continue  # leads to a button of the bar, which Enter may press
        tab.page.keyboard.press(key)
    tab.page.evaluate("fetch('./state')")
    assert tab.asked == []
    expect(tab.page.locator("dialog")).to_have_count(0)
    assert tab.page.locator(".flow-table tbody tr.has-request").count() == rows
    assert [console.state(review) for review in reviews] == ["pending", "pending"]


def test_keys_on_the_buttons_only_ask_and_the_question_waits(console: Console, tab: Tab) -> None:
    review = console.refund("keyboard")
    tab.open("keyboard")
    for key in ("Enter", "Space"):
        tab.page.locator("button.douane-approve").focus()
        tab.page.keyboard.press(key)
        expect(tab.dialog).to_contain_text("Approve stripe.refunds.create by keyboard?")
        expect(tab.dialog.get_by_role("textbox")).to_be_focused()
        tab.page.keyboard.press("Escape")
        expect(tab.dialog).to_have_count(0)
    assert tab.asked == []
    tab.page.locator("button.douane-approve").dblclick()
    yes = tab.dialog.locator("button[data-verdict]")
    expect(yes).to_be_disabled()
    expect(yes).to_be_enabled()
    assert tab.asked == []
    assert console.state(review) == "pending"
    tab.dialog.get_by_role("textbox").focus()
    tab.page.keyboard.press("Tab")  # past Cancel to Approve
    tab.page.keyboard.press("Tab")
    expect(yes).to_be_focused()
    tab.page.keyboard.press("Enter")
    expect(tab.row("keyboard")).to_contain_text(" · executed · ")


def test_hovering_a_row_offers_nothing_to_click(console: Console, tab: Tab) -> None:
    review = console.refund("hovered")
    row = tab.row("hovered")
    row.hover()
    expect(row.locator(".quickaction")).to_be_hidden()
    box = row.bounding_box()
    assert box is not None
    for back in range(5, 90, 12):
        tab.page.mouse.click(box["x"] + box["width"] - back, box["y"] + box["height"] / 2)
    expect(tab.page.locator(".douane-verdict")).to_be_visible()
    expect(tab.page.locator("dialog")).to_have_count(0)
    assert tab.asked == []
    assert console.state(review) == "pending"


def test_mitmwebs_own_buttons_are_hidden_and_pressed_all_the_same_change_nothing(console: Console, tab: Tab) -> None:
    """Even a script in the page that clicks them gets a question, or a refusal."""
    review = console.refund("buttons")
    tab.open("buttons")
    expect(tab.page.locator("header")).to_be_hidden()
    expect(tab.page.locator("footer")).to_be_hidden()
    expect(tab.page.locator(".contentview .controls")).to_be_hidden()
    labels = tab.page.locator("header .flow-menu button").all_inner_texts()
    assert {label.strip() for label in labels} >= {"Replay", "Duplicate", "Revert", "Delete", "Resume", "Abort"}
    before = console.logged_in().get("/flows").json()
    for label in ("Replay", "Duplicate", "Delete"):
        tab.page.locator("header .flow-menu button", has_text=label).evaluate("button => button.click()")
        expect(tab.toast).to_have_text("This is closed here.")
        tab.page.evaluate("document.querySelector('.douane-toasts').replaceChildren()")
    for selector in ("header .flow-menu button[title^='[a]ccept']", "tr.selected .quickaction"):
        tab.page.locator(selector).evaluate("button => button.click()")
        expect(tab.dialog).to_contain_text("Approve stripe.refunds.create by buttons?")
        tab.dialog.get_by_role("button", name="Cancel").click()
    assert [method for method, path in tab.asked if path.endswith(("/resume", "/kill"))] == []
    assert console.logged_in().get("/flows").json() == before
    assert console.state(review) == "pending"


def test_fields_of_mitmweb_cannot_be_edited(console: Console, tab: Tab) -> None:
    console.refund("edited")
    tab.open("edited")
    expect(tab.page.locator(".douane-verdict")).to_be_visible()
    shown = tab.page.locator(".flow-detail").inner_text()
    for number in range(tab.page.locator(".inline-input").count()):
        tab.page.locator(".inline-input").nth(number).evaluate(
            "field => { field.click(); field.focus(); field.dispatchEvent(new MouseEvent('dblclick')); }"
        )
        tab.page.keyboard.type("HACKED")
    assert "HACKED" not in tab.page.content()
    assert tab.page.locator(".flow-detail").inner_text() == shown
    assert [asked for asked in tab.asked if asked[0] == "PUT"] == []


# refusals are told on the page


def test_a_verdict_that_comes_too_late_is_told(console: Console, tab: Tab) -> None:
    review = console.refund("late")
    tab.open("late")
    tab.press("Approve")
    assert console.product.decide(review["review_id"], "reject", "paul").status == 200
    expect(tab.row("late")).to_contain_text(" · rejected · ")
    tab.confirm()
    expect(tab.toast).to_have_text("Nothing was decided: the review is rejected already; nothing was changed")
    assert console.review(review["review_id"])["reviewer"] == "paul"


def test_a_verdict_after_the_reviews_time_is_told(console: Console, tab: Tab, running_providers: Providers) -> None:
    review = console.refund("hurried")
    sent = len(running_providers.stand_in.seen())
    tab.open("hurried")
    tab.press("Approve")
    eventually(lambda: console.state(review) == "expired", "the end of its time", SHORT_S * 5)
    tab.confirm()
    expect(tab.toast).to_have_text("Nothing was decided: the review is expired already; nothing was changed")
    expect(tab.row("hurried")).to_contain_text(" · expired · ")
    expect(tab.page.locator(".douane-verdict")).to_have_count(0)
    assert len(running_providers.stand_in.seen()) == sent


def test_a_session_that_ended_is_told(console: Console, open_tab: Callable[..., Tab]) -> None:
    review = console.refund("over")
    tab = open_tab("sam")
    tab.open("over")
    tab.press("Approve")
    assert console.product.api("DELETE", "/v1/reviewers/sam").status == 200
    del console.product.reviewers["sam"]
    tab.dialog.locator("button[data-verdict]").click()
    expect(tab.page.get_by_label("Name")).to_be_visible()
    assert tab.page.url == f"{console.url}/login"
    assert console.state(review) == "pending"


# what goes away comes back


def test_a_lost_node_is_told_and_the_list_is_right_when_it_is_back(console: Console, tab: Tab) -> None:
    """A verdict that it did not answer is told as unknown, never as not done: a node that hangs may still act."""
    review = console.refund("survivor")
    tab.open("survivor")
    tab.press("Reject")
    node, client = console.child("proxy"), console.child("console")
    node.suspend()
    open_before = len(client.net_connections("unix"))
    tab.confirm()
    eventually(lambda: len(client.net_connections("unix")) > open_before, "the question to the node")
    node.kill()
    expect(tab.toast).to_contain_text("The outcome is UNKNOWN: look at the review's state again.")
    expect(tab.page.get_by_role("alert")).to_contain_text("The node does not answer: nothing can be decided now.")
    expect(tab.page.get_by_role("alert")).to_have_count(0)
    expect(tab.row("survivor")).to_contain_text(" · pending · ")
    expect(tab.page.locator(".flow-detail .contentview pre")).to_contain_text("client     does not wait")
    tab.press("Reject")
    tab.confirm()
    expect(tab.row("survivor")).to_contain_text(" · rejected · ")
    assert console.review(review["review_id"])["reviewer"] == "rita"
    console.refund("after-the-node")
    expect(tab.row("after-the-node")).to_contain_text(" · pending · ")


def test_a_lost_console_is_told_and_the_list_is_right_when_it_is_back(console: Console, tab: Tab) -> None:
    review = console.refund("outlives")
    expect(tab.row("outlives")).to_contain_text(" · pending · ")
    child = console.child("console")
    child.suspend()
    child.kill()
    expect(tab.page.get_by_role("alert")).to_contain_text("The connection to the console is lost")
    assert console.product.decide(review["review_id"], "reject", "paul").status == 200
    console.refund("meanwhile")
    expect(tab.row("outlives")).to_contain_text(" · rejected · ")
    expect(tab.row("meanwhile")).to_contain_text(" · pending · ")
    expect(tab.page.get_by_role("alert")).to_have_count(0)
    expect(tab.page.locator(".douane-bar")).to_contain_text("Log out rita")
    tab.open("meanwhile")
    tab.press("Reject")
    tab.confirm()
    expect(tab.toast).to_have_text("The review is rejected.")
