"""One `douane up` and one chromium for the folder; a tab for each test."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from contextlib import ExitStack
from pathlib import Path

import pytest
import yaml
from playwright.sync_api import Browser, BrowserContext, ViewportSize, expect, sync_playwright

from console.people import SHORT_S, Console, Tab
from e2e.conftest import running_providers
from support.policy import policy_folder
from support.product import make_product
from support.providers import Providers
from support.tools import need

__all__ = ["running_providers"]

VIEWPORT: ViewportSize = {"width": 1400, "height": 2400}
"""High enough for every row, since mitmweb draws only those in view."""


@pytest.fixture(scope="package")
def console(running_providers: Providers, tmp_path_factory: pytest.TempPathFactory) -> Iterator[Console]:
    """A product with its console, for the tests of this folder."""
    folder = tmp_path_factory.mktemp("console")
    policy = policy_folder(folder / "policy", wait="10m")
    rules = yaml.safe_load((policy / "policy.yaml").read_text())
    short = {"name": "short", "effect": "hold", "tools": ["stripe.refunds.create"], "reason": "in a hurry"}
    rules["rules"].append(short | {"agents": ["hurried"], "expiry": f"{SHORT_S}s", "wait": "2s"})
    (policy / "policy.yaml").write_text(yaml.safe_dump(rules, sort_keys=False))
    product = make_product(running_providers, folder, command="up", policy=policy).start()
    console = Console(product)
    with console.connections:
        yield console
    product.kill()


@pytest.fixture(scope="package")
def chromium() -> Iterator[Browser]:
    expect.set_options(timeout=20_000)  # a node that is replaced takes its time on a busy machine
    with sync_playwright() as playwright:
        browser = playwright.chromium.launch(executable_path=need("chromium"), args=["--no-sandbox"])
        yield browser
        browser.close()


@pytest.fixture(scope="package")
def contexts(console: Console, chromium: Browser) -> Iterator[Callable[[str], BrowserContext]]:
    """A reviewer's browser, logged in once."""
    made: dict[str, BrowserContext] = {}

    def of(reviewer: str) -> BrowserContext:
        if reviewer not in made:
            made[reviewer] = chromium.new_context(viewport=VIEWPORT)
            cookies = console.logged_in(reviewer).cookies
            made[reviewer].add_cookies([{"name": n, "value": v, "url": console.url} for n, v in cookies.items()])
        return made[reviewer]

    yield of
    for context in made.values():
        context.close()


@pytest.fixture
def tab(console: Console, open_tab: Callable[..., Tab]) -> Tab:
    """The list, as rita has it open."""
    return open_tab()


@pytest.fixture
def open_tab(
    console: Console, chromium: Browser, contexts: Callable[[str], BrowserContext]
) -> Iterator[Callable[..., Tab]]:
    """Tabs of reviewers, or of a stranger's new browser: `open_tab("paul", "/governance")`, `open_tab(None)`."""
    with ExitStack() as opened:

        def make(reviewer: str | None = "rita", path: str = "/") -> Tab:
            if reviewer is None:
                context = chromium.new_context(viewport=VIEWPORT)
                opened.callback(context.close)
            else:
                context = contexts(reviewer)
            tab = Tab(context.new_page())
            opened.callback(tab.page.close)
            tab.page.goto(console.url + path)
            if path == "/" and reviewer is not None:
                expect(tab.page.locator(".douane-bar")).to_contain_text(reviewer)
            return tab

        yield make


@pytest.fixture
def folder_of(console: Console) -> Path:
    """The product's private folder."""
    return console.product.home / "private"
