"""The console as reviewers and strangers see it, by HTTP and in a browser, and agents whose calls it holds."""

from __future__ import annotations

import json
from collections.abc import Mapping
from contextlib import ExitStack
from dataclasses import dataclass, field
from typing import Any
from urllib.parse import urlencode

import httpx
import psutil
from playwright.sync_api import Locator, Page, Request, expect

from support.product import Agent, Product, eventually
from support.wire import Wire, request

FORM = "Content-Type: application/x-www-form-urlencoded"
SHORT_S = 5
"""How long reviews of the agent `hurried` stay open."""


@dataclass
class Console:
    """The console of a product, and agents whose calls it holds."""

    product: Product
    connections: ExitStack = field(default_factory=ExitStack)
    """All that is open, until the tests are over."""

    @property
    def host(self) -> str:
        """As in the Host header."""
        return f"127.0.0.1:{self.product.console_port}"

    @property
    def url(self) -> str:
        """Where a browser goes."""
        return f"http://{self.host}"

    # people

    def link(self, reviewer: str = "rita") -> str:
        """A login link that nobody has used."""
        self.product.reviewer(reviewer)
        token = self.product.api("POST", f"/v1/reviewers/{reviewer}/link").body["link"]
        return f"{self.url}/login?link={token}"

    def visitor(self) -> Visitor:
        """Somebody with an HTTP client and no session."""
        return self.connections.enter_context(Visitor(base_url=self.url, timeout=30))

    def logged_in(self, reviewer: str = "rita") -> Visitor:
        """A reviewer with an HTTP client."""
        visitor = self.visitor()
        assert visitor.follow(self.link(reviewer)).headers["Location"] == "/"
        return visitor

    # agents

    def agent(self, name: str) -> Agent:
        """An agent, registered at the first call."""
        product = self.product
        if name not in product.agents:
            key = product.api("POST", "/v1/agents", {"name": name}).body["key"]
            product.agents[name] = Agent(name, key, f"http://{name}:{key}@127.0.0.1:{product.proxy_port}", product.ca)
        return product.agents[name]

    def send(self, agent: str, method: str, host: str, target: str, body: bytes = b"", *fields: str) -> Wire:
        """A call; its connection stays open until the tests are over."""
        wire = self.connections.enter_context(
            Wire.tunnel(self.agent(agent), self.product.proxy_address, host, timeout=60)
        )
        wire.send(request(method, host, target, body, *fields))
        return wire

    def refund(self, agent: str, arguments: Mapping[str, str] | None = None) -> dict[str, Any]:
        """A refund by that agent, whose client waits; the review."""
        body = urlencode({"charge": "ch_1", "amount": "250", **(arguments or {})}).encode()
        self.send(agent, "POST", "api.stripe.com", "/v1/refunds", body, FORM)
        return self._waited_for(agent)

    def delete(self, agent: str, repository: str = "acme/docs", body: object = None) -> dict[str, Any]:
        """The deletion of a repository, its name in the path as it stands here; the review."""
        data = b"" if body is None else json.dumps(body).encode()
        self.send(agent, "DELETE", "api.github.com", f"/repos/{repository}", data, "Content-Type: application/json")
        return self._waited_for(agent)

    def _waited_for(self, agent: str) -> dict[str, Any]:
        """The agent's review, once its client is known to wait: a page that is loaded before says that it does not."""
        review = self.product.wait_review(agent=agent)
        eventually(lambda: self.review(review["review_id"])["waiting"] > 0, "the client to wait")
        return review

    def review(self, review_id: str) -> dict[str, Any]:
        """A review as it stands at the node."""
        found: dict[str, Any] = self.product.api("GET", f"/v1/reviews/{review_id}").body
        return found

    def state(self, review: Mapping[str, Any]) -> str:
        """The state of a review at the node now."""
        return str(self.review(review["review_id"])["state"])

    def decided(self, agent: str) -> dict[str, Any]:
        """A review that was rejected by the API, and that the console knows to be."""
        review = self.refund(agent)
        assert self.product.decide(review["review_id"], "reject", "paul").status == 200
        visitor = self.logged_in()
        eventually(lambda: " · rejected · " in visitor.row(review), "the verdict in the console")
        return review

    def child(self, name: str) -> psutil.Process:
        """The supervisor's child: `proxy` or `console`."""
        assert self.product.process is not None
        (found,) = (c for c in psutil.Process(self.product.process.pid).children() if name in c.cmdline())
        return found


class Visitor(httpx.Client):
    """An HTTP client that keeps cookies, as a browser does, and can send what browsers never would."""

    @property
    def xsrf(self) -> str:
        """The token that the console's pages carry."""
        if "_mitmproxy_xsrf" not in self.cookies:
            self.get("/login")
        return self.cookies["_mitmproxy_xsrf"]

    def follow(self, link: str) -> httpx.Response:
        """What a browser does with a login link: load the page, send its form."""
        assert self.get(link).status_code == 200
        return self.send_form("/login", link=link.partition("link=")[2])

    def send_form(self, target: str, **fields: str) -> httpx.Response:
        """A form with its token."""
        return self.post(target, data={"_xsrf": self.xsrf, **fields})

    def ask(self, method: str, target: str, body: object = None, **headers: str) -> httpx.Response:
        """A request as mitmweb's script makes them."""
        said = {"X-XSRFToken": self.xsrf, "Content-Type": "application/json", **headers}
        return self.request(method, target, content=None if body is None else json.dumps(body), headers=said)

    def card(self, review: Mapping[str, Any], lines: int | None = None) -> httpx.Response:
        """The Governance view of a review."""
        query = "" if lines is None else f"?lines={lines}"
        return self.get(f"/flows/{review['review_id']}/request/content/auto{query}")

    def approve(self, review: Mapping[str, Any], card: str = "", note: str = "") -> httpx.Response:
        """Resume."""
        return self.ask("POST", f"/flows/{review['review_id']}/resume", {"note": note, "card": card})

    def row(self, review: Mapping[str, Any]) -> str:
        """A review's row in the list; empty while there is none."""
        flows = self.get("/flows").json()
        return next((str(flow["comment"]) for flow in flows if flow["id"] == review["review_id"]), "")


@dataclass
class Tab:
    """A reviewer's browser tab, with all it ever said and asked."""

    page: Page
    messages: list[str] = field(default_factory=list)
    asked: list[tuple[str, str]] = field(default_factory=list)
    """Method and path of every request but GET."""

    def __post_init__(self) -> None:
        self.page.set_default_timeout(20_000)
        self.page.on("console", lambda message: self.messages.append(message.text))
        self.page.on("pageerror", lambda error: self.messages.append(str(error)))
        self.page.on("request", self._note)

    def _note(self, request: Request) -> None:
        if request.method != "GET":
            self.asked.append((request.method, httpx.URL(request.url).path))

    def row(self, agent: str) -> Locator:
        """The row of an agent's review."""
        return self.page.locator(".flow-table tbody tr", has_text=f" · {agent} · ")

    def open(self, agent: str) -> Locator:
        """Click the row; the Governance view with all of the card."""
        self.row(agent).locator("td.col-comment").click()
        view = self.page.locator(".flow-detail .contentview pre")
        expect(view).to_contain_text(f"agent      {agent}")
        return view

    def press(self, label: str) -> Locator:
        """The button of the opened review; the dialog that asks once more."""
        self.page.locator(".douane-verdict").get_by_role("button", name=label, exact=True).click()
        expect(self.dialog).to_be_visible()
        return self.dialog

    def confirm(self) -> None:
        """Yes, I am sure."""
        self.dialog.locator("button[data-verdict]").click()
        expect(self.dialog).to_have_count(0)

    @property
    def dialog(self) -> Locator:
        """The open one."""
        return self.page.locator("dialog[open]")

    @property
    def toast(self) -> Locator:
        """The last thing told."""
        return self.page.locator(".douane-toast").last
