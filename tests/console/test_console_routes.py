"""What of mitmweb is reachable: every route of the installed version, with every method, against one table."""

from __future__ import annotations

import re
from typing import Any

import pytest
from mitmproxy.tools.web.app import handlers

from console.people import Console, Visitor
from support.product import eventually
from support.wire import Wire, request

METHODS = ("GET", "HEAD", "POST", "PUT", "PATCH", "DELETE", "OPTIONS", "TRACE")
FLOW = r"/flows/(?P<flow_id>[0-9a-f\-]+)"
MESSAGE = FLOW + r"/(?P<message>request|response|messages)"
VIEW = MESSAGE + r"/content/(?P<content_view>[0-9a-zA-Z\-\_%]+)(?:\.json)?"

TABLE: tuple[tuple[str, str, dict[str, int]], ...] = (
    # mitmweb's pattern, a path that it serves, and what the console answers a reviewer by method: all else is closed
    ("/", "/", {"GET": 200}),
    (r"/filter-help(?:\.json)?", "/filter-help", {"GET": 200}),
    (r"/filter-help(?:\.json)?", "/filter-help.json", {"GET": 200}),
    ("/updates", "/updates", {"GET": 400}),  # no WebSocket was asked for
    (r"/commands(?:\.json)?", "/commands", {"GET": 200}),
    (r"/commands(?:\.json)?", "/commands.json", {"GET": 200}),
    ("/commands/(?P<cmd>[a-z.]+)", "/commands/view.clear", {}),
    ("/commands/(?P<cmd>[a-z.]+)", "/commands/replay.client", {}),
    (r"/events(?:\.json)?", "/events", {"GET": 200}),
    (r"/events(?:\.json)?", "/events.json", {"GET": 200}),
    (r"/flows(?:\.json)?", "/flows", {"GET": 200}),
    (r"/flows(?:\.json)?", "/flows.json", {"GET": 200}),
    ("/flows/dump", "/flows/dump", {}),
    ("/flows/resume", "/flows/resume", {}),
    ("/flows/kill", "/flows/kill", {}),
    (FLOW, "/flows/{id}", {}),
    (FLOW + "/resume", "/flows/{id}/resume", {"POST": 428}),  # nobody opened it
    (FLOW + "/kill", "/flows/{id}/kill", {"POST": 409}),  # it is decided already
    (FLOW + "/duplicate", "/flows/{id}/duplicate", {}),
    (FLOW + "/replay", "/flows/{id}/replay", {}),
    (FLOW + "/revert", "/flows/{id}/revert", {}),
    (MESSAGE + "/content.data", "/flows/{id}/request/content.data", {"GET": 200}),
    (MESSAGE + "/content.data", "/flows/{id}/response/content.data", {"GET": 200}),
    (MESSAGE + "/content.data", "/flows/{id}/messages/content.data", {}),
    (VIEW, "/flows/{id}/request/content/auto", {"GET": 200}),
    (VIEW, "/flows/{id}/request/content/hex.json", {"GET": 200}),
    (VIEW, "/flows/{id}/response/content/auto", {"GET": 200}),
    (VIEW, "/flows/{id}/messages/content/auto", {}),
    ("/clear", "/clear", {}),
    (r"/options(?:\.json)?", "/options", {"GET": 200}),
    (r"/options(?:\.json)?", "/options.json", {"GET": 200}),
    ("/options/save", "/options/save", {}),
    (r"/state(?:\.json)?", "/state", {"GET": 200}),
    (r"/state(?:\.json)?", "/state.json", {"GET": 200}),
    ("/processes", "/processes", {}),
    ("/executable-icon", "/executable-icon?path=/bin/sh", {}),
)

BODIES: dict[str, Any] = {
    "/flows/{id}": {"comment": "approved by the CEO", "marked": "", "request": {"path": "/other", "method": "GET"}},
    "/options": {"web_password": "", "web_columns": [], "intercept": "~all", "scripts": ["/tmp/evil.py"]},
    "/commands/view.clear": {"arguments": []},
    "/commands/replay.client": {"arguments": ["@all"]},
}


def test_the_table_has_every_route_of_mitmweb() -> None:
    assert {pattern for pattern, _, _ in TABLE} == {str(route[0]) for route in handlers}
    for pattern, path, _ in TABLE:
        plain = path.partition("?")[0].replace("{id}", "0f0f0f0f-0000-4000-8000-00000000000f")
        assert re.fullmatch(pattern, plain), path


def everything(console: Console, visitor: Visitor) -> dict[str, Any]:
    """All that a closed route could change; a card's text also tells whether a client waits, which ends by itself."""
    found = {path: visitor.get(path).json() for path in ("/flows", "/options", "/state", "/events", "/commands")}
    for flow in found["/flows"]:
        del flow["request"]["contentHash"], flow["request"]["contentLength"]
    return {
        **found,
        "reviews": console.product.reviews(),
        "records": [(record["kind"], record["at_us"]) for record in console.product.log()],
        "sent": len(console.product.stand_in.seen()) if console.product.stand_in else None,
    }


@pytest.mark.parametrize("state", ["pending", "rejected"])
def test_every_route_and_method_answers_as_the_table_says_and_changes_nothing(console: Console, state: str) -> None:
    """A pending review is asked for all but its verdicts, which have tests of their own."""
    review = console.refund("walked") if state == "pending" else console.decided("walked-and-decided")
    visitor = console.logged_in()
    eventually(lambda: visitor.row(review) != "", "the review in the console")
    before = everything(console, visitor)
    for _, path, open_to in TABLE:
        target = path.replace("{id}", review["review_id"])
        for method in METHODS:
            expected = open_to.get(method, 405 if open_to or method not in ("GET", "HEAD") else 404)
            if state == "pending" and expected == 409:
                continue
            answer = visitor.ask(method, target, BODIES.get(path, {}))
            assert answer.status_code == expected, f"{method} {target}: {answer.text[:200]}"
    assert everything(console, visitor) == before


def test_nothing_is_open_to_whoever_is_not_logged_in(console: Console) -> None:
    review = console.decided("unseen")
    reviewer, stranger = console.logged_in(), console.visitor()
    before = everything(console, reviewer)
    governance = [f"/governance{end}" for end in ("", "/data", "/{id}", "/{id}/approve", "/{id}/reject")]
    for path in [*(path for _, path, _ in TABLE), *governance, "/nowhere", "/governance/nowhere"]:
        target = path.replace("{id}", review["review_id"])
        for method in METHODS:
            answer = stranger.ask(method, target, {})
            assert answer.status_code in (401, 403, 404, 405), f"{method} {target}"
            assert "stripe" not in answer.text, f"{method} {target}"
    page = stranger.get("/", headers={"Accept": "text/html"})
    assert (page.status_code, page.headers["Location"]) == (302, "/login")
    assert everything(console, reviewer) == before


@pytest.mark.parametrize(
    "target",
    [
        "/static/../app.py",
        "/static/..%2fapp.py",
        "/static/%2e%2e/app.py",
        "/static//etc/passwd",
        "/static/%2fetc%2fpasswd",
        "/console/../app.py",
        "/console/..%2fapp.py",
        "/console/..",
        "/console/",
        "/static/",
    ],
)
def test_files_are_served_from_nowhere_else(console: Console, target: str) -> None:
    with Wire.open(("127.0.0.1", console.product.console_port)) as wire:
        answer = wire.ask(request("GET", console.host, target))
    assert answer.status in (403, 404)
    assert b"import" not in answer.body
    assert b"root:" not in answer.body


def test_options_tell_what_the_page_needs_and_no_secret(console: Console) -> None:
    assert set(console.logged_in().get("/options").json()) == {
        *("web_columns", "content_view_lines_cutoff", "mode", "http2", "rawtcp", "websocket", "upstream_cert")
    }
