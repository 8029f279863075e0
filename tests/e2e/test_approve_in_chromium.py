"""The whole path: PyGithub at its default settings, a person in a real browser, exactly one DELETE."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from pathlib import Path

import pytest
from playwright.sync_api import Page, sync_playwright

from support.agents import start_agent
from support.policy import policy_folder
from support.product import Product, client, eventually
from support.providers import Providers
from support.tools import need

pytestmark = [pytest.mark.browser, pytest.mark.sdk]


@pytest.fixture
def page() -> Iterator[Page]:
    with sync_playwright() as playwright:
        browser = playwright.chromium.launch(executable_path=need("chromium"), args=["--no-sandbox"])
        yield browser.new_page()
        browser.close()


def log_in(product: Product, page: Page) -> None:
    """Follow the single-use link that `douane up` prints."""
    link = product.wait_line(r"console\s+http://").split()[-1]
    page.goto(link)
    page.locator(".douane-bar").wait_for()


def decide(page: Page, label: str) -> None:
    """Open the review in mitmweb's list, read it, press the button and confirm."""
    page.locator("tbody tr").filter(has_text="legacy-billing").first.click()
    button = page.locator(".douane-verdict").get_by_text(label, exact=True)
    button.wait_for()
    page.get_by_text("github.repos.delete").last.wait_for()
    page.wait_for_timeout(1_000)  # a verdict counts only from someone who could have read what it is about
    button.click()
    page.locator("dialog.douane button[data-verdict]").click()


@pytest.mark.parametrize(("label", "sent"), [("Approve", 1), ("Reject", 0)])
def test_a_delete_waits_for_a_person_in_a_browser(
    new_product: Callable[..., Product],
    providers: Providers,
    page: Page,
    tmp_path: Path,
    label: str,
    sent: int,
) -> None:
    product = new_product(command="up", policy=policy_folder(tmp_path / "policy", wait="60s")).start()
    log_in(product, page)
    running = start_agent(product, product.agent("cleaner"), [*client("github_delete.py"), "acme/legacy-billing"])
    try:
        review = product.wait_review()
        decide(page, label)
        path = f"/v1/reviews/{review['review_id']}"
        eventually(lambda: product.api("GET", path).body["state"] in ("executed", "rejected"), "the verdict")
        (told,) = running.rest()
    finally:
        running.kill()
    assert told.get("deleted") == ("acme/legacy-billing" if sent else None)
    assert told.get("status") == (None if sent else 403)
    assert len(providers.stand_in.seen("DELETE")) == sent
    decided = product.api("GET", path).body
    assert decided["reviewer"] == "operator"
    assert "console" in decided["channel"]
    (verdict,) = product.log(kind="verdict")
    assert "operator" in str(verdict)
    assert verdict["at_us"] > 0
