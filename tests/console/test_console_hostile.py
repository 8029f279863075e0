"""What agents and reviewers write is text: it runs nothing, hides nothing, and stays on its line."""

from __future__ import annotations

import re
from collections.abc import Callable
from typing import Any
from urllib.parse import quote

import pytest
from playwright.sync_api import Locator, expect

from console.people import Console, Tab
from support.product import Agent, eventually
from support.wire import ConnectRefused, Wire

pytestmark = pytest.mark.browser

POLICY = {
    "default-src": "'none'",
    "script-src": "'self'",
    "connect-src": "'self'",
    "img-src": "'self' data:",
    "font-src": "'self'",
    "style-src": "'self' 'unsafe-inline'",
    "form-action": "'self'",
    "base-uri": "'none'",
    "frame-ancestors": "'none'",
}

HTML = "<img src=x onerror=document.title='hacked'><script>document.title='hacked'</script>\"'><a href=javascript:1>"
FAKE = "state      approved   by the CEO"
HOSTILE = {
    "charge": f"ch_1 · {HTML}",
    f"metadata[{HTML}]": HTML,
    "metadata[lines]": f"\n{FAKE}\r\n{FAKE}\u2028{FAKE}\u2029{FAKE}\x85{FAKE}\x0b{FAKE}",
    f"metadata[\n{FAKE}]": "a name that would be a line",
    "metadata[bidi]": "\u202eevil\u2066\u200f\u200b\u00ad\ufeff\U000e0041",
    "metadata[ansi]": "\x1b[2J\x1b[31mred\x00nul\x07",
    "metadata[wide]": "go on " * 150 + FAKE,
    "metadata[tall]": "z" + "\u0300" * 300,
    "metadata[huge]": "A" * 1_000_000,
}
ESCAPED = ("u{202e}evil", "u{2066}", "u{200b}", "u{1b}[2J", "u{0}nul", "u{2028}", "u{85}", "(1000000 characters)")


@pytest.fixture(scope="module")
def review(console: Console) -> dict[str, Any]:
    return console.refund("hostile", HOSTILE)


def lines(view: Locator) -> list[str]:
    return view.locator("> div").all_inner_texts()


def assert_lines_are_told_apart(view: Locator) -> None:
    """One element a line; what a line has no room for goes on to the right of where any line begins."""
    shown = lines(view)
    assert [line for line in shown if line.startswith("state")] == ["state      pending"]
    assert len([line for line in shown if FAKE in line]) == 3, "the names, the lines, the wide one"
    assert not any("\n" in line for line in shown)
    begins, goes_on = view.evaluate(
        """(view, fake) => {
            const rows = [...view.children].map((line) => {
                const range = document.createRange();
                range.selectNodeContents(line);
                return [...range.getClientRects()].filter((rect) => rect.width > 0).map((rect) => rect.left);
            });
            const wide = [...view.children].findIndex((line) => line.textContent.includes("go on go on"));
            return [Math.max(...rows.filter((row) => row.length).map((row) => row[0])), rows[wide].slice(1)];
        }""",
        FAKE,
    )
    assert len(goes_on) >= 2, "the wide line does not fit"
    assert min(goes_on) > begins, "nothing that goes on begins where a line begins"


def test_hostile_arguments_are_text_in_the_list_and_the_view(
    console: Console, tab: Tab, review: dict[str, Any]
) -> None:
    dialogs: list[str] = []
    tab.page.on("dialog", lambda dialog: dialogs.append(dialog.message))
    expect(tab.row("hostile")).to_contain_text(HTML)
    box = tab.row("hostile").bounding_box()
    assert box is not None
    assert box["height"] == 32
    view = tab.open("hostile")
    expect(view).to_contain_text(HTML)
    assert tab.page.locator(".flow-table, .flow-detail pre").locator("img, script, a[href^=javascript]").count() == 0
    served = console.logged_in().card(review).json()["text"].split("\n")
    assert lines(view) == served
    assert_lines_are_told_apart(view)
    for escaped in ESCAPED:
        assert escaped in view.inner_text(), escaped
    tall = view.locator("> div", has_text="tall")
    assert tall.evaluate("line => getComputedStyle(line).overflow") == "clip", "marks that pile up stay on their line"
    assert len(view.inner_text()) < 20_000
    expect(tab.page).to_have_title(re.compile("Approvals$"))
    assert (tab.messages, dialogs) == ([], [])


def test_the_question_repeats_the_whole_sentence_as_text(console: Console, tab: Tab, review: dict[str, Any]) -> None:
    """The sign between the parts of a row, in an argument, does not cut the sentence short."""
    tab.open("hostile")
    dialog = tab.press("Approve")
    shown = dialog.locator(".sentence").inner_text()
    assert shown == review["summary"].replace("·", "\\u{b7}")
    assert HTML in shown
    assert dialog.locator("img, script, a").count() == 0
    expect(dialog).to_contain_text("stripe.refunds.create by hostile")
    assert tab.messages == []


def test_hostile_arguments_are_text_on_the_plain_pages(
    console: Console, open_tab: Callable[..., Tab], review: dict[str, Any]
) -> None:
    tab = open_tab("rita", "/governance")
    expect(tab.page.locator(".reviews")).to_contain_text(HTML)
    with tab.page.expect_response("**/governance/data"):
        pass  # the page draws its part anew by itself
    expect(tab.page.locator(".reviews")).to_contain_text(HTML)
    assert tab.page.locator("img, main script, a[href^=javascript]").count() == 0
    expect(tab.page).to_have_title(re.compile("Governance$"))
    tab.page.locator(".reviews a", has_text="hostile").click()
    view = tab.page.locator(".card")
    assert lines(view) == console.logged_in().card(review).json()["text"].split("\n")
    assert_lines_are_told_apart(view)
    assert tab.page.locator("img, script, a[href^=javascript]").count() == 0
    assert tab.messages == []


def test_hostile_notes_are_text_and_stay_on_the_line_of_the_state(console: Console, tab: Tab) -> None:
    review = console.refund("noted")
    note = f"{HTML}\n{FAKE}\u202e"
    assert console.product.decide(review["review_id"], "reject", "paul", note).status == 200
    expect(tab.row("noted")).to_contain_text(" · rejected · ")
    view = tab.open("noted")
    (state,) = [line for line in lines(view) if line.startswith("state")]
    assert state.endswith(f": {HTML}\\u{{a}}{FAKE}\\u{{202e}}")
    assert tab.messages == []


def test_hosts_and_paths_are_shown_as_they_are_sent(console: Console, tab: Tab) -> None:
    """No look-alike letters for a host in punycode, and no letters that turn the reading around."""
    console.send("lookalike", "DELETE", "xn--pypal-4ve.com", f"/v1/{quote(HTML)}")
    console.product.wait_review(agent="lookalike")
    expect(tab.row("lookalike")).to_contain_text("DELETE xn--pypal-4ve.com/v1/")
    expect(tab.open("lookalike")).to_contain_text("request    DELETE xn--pypal-4ve.com ")
    console.delete("turner", f"acme/{quote(HTML, safe='')}{quote(chr(0x202E))}gpj")
    view = tab.open("turner")
    expect(view).to_contain_text(f"Delete repository acme/{HTML}\\u{{202e}}gpj")
    assert "\u202e" not in tab.page.content()
    assert tab.messages == []


def test_look_alike_letters_are_pointed_out(console: Console, tab: Tab) -> None:
    console.refund("cyrillic", {"metadata[to]": "pаypal"})
    expect(tab.open("cyrillic")).to_contain_text("CAREFUL: there are letters of other alphabets")
    console.refund("latin", {"metadata[to]": "paypal"})
    expect(tab.open("latin")).not_to_contain_text("CAREFUL")


def test_hostile_names_of_agents_reach_no_page(console: Console, open_tab: Callable[..., Tab]) -> None:
    assert console.product.api("POST", "/v1/agents", {"name": "<b>bold</b>"}).status == 400
    stranger = Agent(HTML.replace(":", ""), "key", "", console.product.ca)
    with pytest.raises(ConnectRefused) as refused:
        Wire.tunnel(stranger, console.product.proxy_address, "api.stripe.com")
    assert refused.value.answer.status == 407
    tab = open_tab("rita", "/governance")
    expect(tab.page.locator("table").last).to_contain_text("agent")
    assert tab.page.locator("img, main script, a[href^=javascript]").count() == 0
    assert tab.messages == []


def test_a_card_longer_than_the_page_shows_is_approved_only_with_its_end(console: Console, tab: Tab) -> None:
    numbers = [[str(number) for number in range(60)] for _ in range(15)]
    review = console.delete("endless", "acme/docs", {"before": numbers, "the end": "of it"})
    view = tab.open("endless")
    more = view.get_by_role("button", name="Show more")
    assert len(lines(view)) == 512
    tab.press("Approve")
    tab.confirm()
    expect(tab.toast).to_contain_text("Open the review and read it to its end before you approve it.")
    assert console.state(review) == "pending"
    while more.count():
        more.click()
        expect(view.locator("> div").nth(600)).to_be_attached()
    expect(view).to_contain_text("the end: of it")
    tab.press("Approve")
    tab.confirm()
    expect(tab.row("endless")).to_contain_text(" · executed · ")


# the pages' own policy


def test_every_page_comes_with_the_policy(console: Console, review: dict[str, Any]) -> None:
    visitor = console.logged_in()
    for target in ("/", "/login", "/governance", "/governance/data", f"/governance/{review['review_id']}", "/nowhere"):
        said = visitor.get(target).headers
        parts = dict(part.strip().split(" ", 1) for part in said["Content-Security-Policy"].split(";"))
        assert parts == POLICY, target
        assert (said["X-Frame-Options"], said["X-Content-Type-Options"]) == ("DENY", "nosniff"), target
        assert said["Cache-Control"] == "no-store", target


@pytest.mark.parametrize("path", ["/", "/governance"])
def test_a_script_that_got_into_a_page_would_not_run_and_would_be_noticed(
    console: Console, open_tab: Callable[..., Tab], path: str
) -> None:
    tab = open_tab("rita", path)
    title = tab.page.title()
    tab.page.evaluate(
        """() => {
            const script = document.createElement("script");
            script.textContent = "document.title = 'hacked'";
            document.body.append(script);
            document.body.insertAdjacentHTML("beforeend", "<img src='data:,' onerror=\\"document.title='hacked'\\">");
        }"""
    )
    eventually(lambda: len([said for said in tab.messages if "Content Security Policy" in said]) == 2, "the violations")
    assert tab.page.title() == title
