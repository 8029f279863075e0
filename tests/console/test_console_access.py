"""Who gets into the console, and from where: links, secrets, cookies, hosts, other sites, the update channel."""

from __future__ import annotations

import contextlib
import stat
from collections import Counter
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from http.cookies import SimpleCookie
from pathlib import Path

import httpx
import pytest
from playwright.sync_api import expect

from console.people import Console, Tab, Visitor
from support.product import eventually
from support.wire import ConnectionOver, Wire


def test_previews_of_a_link_do_not_spend_it_and_its_first_use_does(console: Console) -> None:
    link = console.link()
    for _ in range(3):
        preview = console.visitor().get(link)
        assert preview.status_code == 200
        assert "douane_session" not in preview.cookies
    used = console.visitor().follow(link)
    assert (used.status_code, used.headers["Location"]) == (302, "/")
    again = console.visitor().follow(link)
    assert again.status_code == 403
    assert "was used before" in again.text
    assert "douane_session" not in again.cookies


@pytest.mark.browser
def test_a_link_logs_a_browser_in_once(console: Console, open_tab: Callable[..., Tab]) -> None:
    link = console.link("paul").removeprefix(console.url)
    first = open_tab(None, link).page
    expect(first.locator(".douane-bar")).to_contain_text("Log out paul")
    assert first.url.startswith(f"{console.url}/#")
    second = open_tab(None, link).page
    expect(second.get_by_role("alert")).to_have_text(
        "The link is not valid, or was used before. douane reviewer link NAME makes another."
    )
    expect(second.get_by_role("code")).to_have_text("douane reviewer link NAME")
    second.goto(console.url)
    assert second.url == f"{console.url}/login"


@pytest.mark.browser
def test_a_reviewer_logs_in_by_name_and_secret_and_out_again(console: Console, open_tab: Callable[..., Tab]) -> None:
    secret = console.product.reviewer("rita")
    page = open_tab(None).page
    assert page.url == f"{console.url}/login"
    page.get_by_label("Name").fill("rita")
    page.get_by_label("Secret").fill("a guess")
    page.get_by_role("button", name="Log in").click()
    expect(page.get_by_role("alert")).to_have_text("Name or secret are not right.")
    page.get_by_label("Name").fill("rita")
    page.get_by_label("Secret").fill(secret)
    page.get_by_role("button", name="Log in").click()
    page.get_by_role("button", name="Log out rita").click()
    expect(page.get_by_label("Name")).to_be_visible()
    page.goto(f"{console.url}/governance")
    assert page.url == f"{console.url}/login"


def test_the_session_is_a_cookie_that_no_script_and_no_other_site_gets(console: Console, folder_of: Path) -> None:
    visitor = console.visitor()
    set_cookie = visitor.follow(console.link()).headers["Set-Cookie"]
    morsel = SimpleCookie(set_cookie)["douane_session"]
    assert (morsel["httponly"], morsel["samesite"], morsel["path"], morsel["domain"]) == (True, "Strict", "/", "")
    assert int(morsel["max-age"]) == 12 * 3600
    kept = folder_of / "console-sessions.json"
    assert stat.S_IMODE(kept.stat().st_mode) == 0o600
    assert morsel.value not in kept.read_text()


def test_a_stolen_cookie_is_worth_nothing_after_logout(console: Console) -> None:
    visitor = console.logged_in()
    thief = console.visitor()
    thief.cookies = httpx.Cookies(visitor.cookies)
    assert thief.get("/flows").status_code == 200
    assert visitor.send_form("/logout").headers["Location"] == "/login"
    assert thief.get("/flows").status_code == 401
    assert "douane_session" not in visitor.cookies


def test_a_removed_reviewer_sees_nothing_any_more(console: Console) -> None:
    visitor = console.logged_in("leaver")
    channel = upgrade(console, visitor)
    assert channel.head().status == 101
    assert console.product.api("DELETE", "/v1/reviewers/leaver").status == 200
    assert closed(channel) == (4401, "the session is over")
    assert visitor.get("/flows").status_code == 401


def test_guessing_secrets_is_slowed(console: Console) -> None:
    secret = console.product.reviewer("rita")
    visitor = console.visitor()
    guesses = [visitor.send_form("/login", reviewer="rita", secret=f"guess {n}").status_code for n in range(5)]
    assert guesses[0] == 403
    assert guesses[-1] == 429
    other = console.product.reviewer("paul")
    assert visitor.send_form("/login", reviewer="paul", secret=other).status_code == 302, "it slows no one else"
    assert visitor.follow(console.link("rita")).status_code == 302, "nor a link"
    right = {"reviewer": "rita", "secret": secret}
    eventually(lambda: visitor.send_form("/login", **right).status_code == 302, "the end of the wait")


def test_guesses_made_at_the_same_time_are_slowed_too_and_slow_nobody_else(console: Console) -> None:
    secret = console.product.reviewer("rita")
    visitor, mallory = console.visitor(), console.visitor()
    assert visitor.xsrf
    assert mallory.xsrf
    with ThreadPoolExecutor(16) as together:
        guesses = [together.submit(mallory.send_form, "/login", reviewer="mallory", secret=f"{n}") for n in range(40)]
        assert visitor.send_form("/login", reviewer="rita", secret=secret).status_code == 302
        found = Counter(guess.result().status_code for guess in guesses)
    assert found[403] <= 8
    assert found[429] == 40 - found[403]


def test_wrong_links_are_slowed_and_slow_no_fresh_one(console: Console) -> None:
    visitor = console.visitor()
    guesses = [visitor.send_form("/login", link=f"!!{n}").status_code for n in range(5)]
    assert guesses == [403] * 4 + [429]
    assert visitor.follow(console.link()).status_code == 302


def test_logins_under_many_names_are_bounded_together(console: Console) -> None:
    visitor = console.visitor()
    assert visitor.xsrf
    with ThreadPoolExecutor(60) as together:
        asked = [together.submit(visitor.send_form, "/login", reviewer=f"name-{n}", secret="x") for n in range(120)]
        assert visitor.follow(console.link()).status_code == 302, "links do not wait for secrets"
        found = Counter(answer.result().status_code for answer in asked)
    assert found[429] > 0
    assert found[403] + found[429] == 120


@pytest.mark.parametrize("target", ["POST /login", "POST /logout", "POST /nowhere", "GET /login", "PUT /flows"])
@pytest.mark.parametrize("framing", ["Content-Length: 90000000", "Content-Length: 40000", "Transfer-Encoding: chunked"])
def test_a_stranger_cannot_make_the_console_hold_a_large_body(console: Console, target: str, framing: str) -> None:
    wire = console.connections.enter_context(Wire.open(("127.0.0.1", console.product.console_port)))
    wire.send(f"{target} HTTP/1.1\r\nHost: {console.host}\r\n{framing}\r\n\r\n".encode())
    if "chunked" in framing:
        with contextlib.suppress(ConnectionError):  # closed before all of it was sent
            for _ in range(10):
                wire.send(b"1000\r\n" + b"x" * 4096 + b"\r\n")
    try:
        assert wire.head().status == 400
    except (ConnectionError, ConnectionOver):
        assert "chunked" in framing, "only what comes after the answer resets a connection"


def test_a_stranger_cannot_make_the_console_hold_a_large_head(console: Console) -> None:
    wire = console.connections.enter_context(Wire.open(("127.0.0.1", console.product.console_port)))
    with contextlib.suppress(ConnectionError):
        wire.send(b"GET /login HTTP/1.1\r\nX: " + b"x" * 40_000)
    with pytest.raises((ConnectionOver, ConnectionError)):
        wire.head()


def test_the_longest_note_fits_into_the_form(console: Console) -> None:
    review = console.refund("long-note")
    note = "\U0001f600" * 2_000
    told = console.logged_in().send_form(f"/governance/{review['review_id']}/reject", note=note)
    assert told.status_code == 200
    assert console.review(review["review_id"])["note"] == note


# names of the console, and other sites


@pytest.mark.parametrize(
    "host", ["evil.example", "127.0.0.1", "127.0.0.1:1", "evil.example:{port}", "localhost.:{port}"]
)
def test_it_answers_under_no_other_name(console: Console, host: str) -> None:
    visitor = console.logged_in()
    said = {"Host": host.format(port=console.product.console_port)}
    for target in ("/", "/login", "/flows", "/updates", "/console/console.js", "/static/favicon.ico", "/nowhere"):
        assert visitor.get(target, headers=said).status_code == 421, target
    assert visitor.get("/flows", headers={"Host": f"localhost:{console.product.console_port}"}).status_code == 200


FOREIGN = [
    {"Origin": "http://evil.example"},
    {"Origin": "null"},
    {"Origin": "http://127.0.0.1:1"},
    {"Origin": "http://127.0.0.1"},
    {"Sec-Fetch-Site": "cross-site"},
    {"Sec-Fetch-Site": "same-site"},
]


@pytest.mark.parametrize("said", FOREIGN, ids=str)
def test_other_sites_decide_nothing_even_with_the_token(console: Console, said: dict[str, str]) -> None:
    review = held_once(console)
    visitor = console.logged_in()
    targets = [f"/flows/{review['review_id']}/{verdict}" for verdict in ("resume", "kill")]
    targets += [f"/governance/{review['review_id']}/{verdict}" for verdict in ("approve", "reject")]
    for target in (*targets, "/logout", "/login"):
        answer = visitor.ask("POST", target, {}, **said)
        assert (answer.status_code, answer.json()) == (403, {"message": "the request came from another site"}), target
    assert console.state(review) == "pending"
    assert visitor.get("/flows").status_code == 200, "still logged in"


@pytest.mark.parametrize("token", [None, "", "2|00000000|guess|0"])
def test_nothing_is_decided_without_the_pages_token(console: Console, token: str | None) -> None:
    review = held_once(console)
    visitor = console.logged_in()
    said = {} if token is None else {"X-XSRFToken": token}
    for target in (f"/flows/{review['review_id']}/kill", f"/governance/{review['review_id']}/reject", "/logout"):
        assert visitor.post(target, headers=said).status_code == 403, target
    assert console.state(review) == "pending"
    assert visitor.get("/flows").status_code == 200, "still logged in"


def held_once(console: Console) -> dict[str, object]:
    """One review that no test of this file decides."""
    pending = [review for review in console.product.reviews("pending") if review["agent"] == "patient"]
    return pending[0] if pending else console.refund("patient")


# the update channel


def upgrade(console: Console, visitor: Visitor, **fields: str) -> Wire:
    """A WebSocket that was asked for with a visitor's cookies."""
    wire = console.connections.enter_context(Wire.open(("127.0.0.1", console.product.console_port)))
    said = {
        "Host": console.host,
        "Origin": console.url,
        "Upgrade": "websocket",
        "Connection": "Upgrade",
        "Sec-WebSocket-Version": "13",
        "Sec-WebSocket-Key": "dGhlIHNhbXBsZSBub25jZQ==",
        "Cookie": "; ".join(f"{name}={value}" for name, value in visitor.cookies.items()),
        **fields,
    }
    lines = ["GET /updates HTTP/1.1", *(f"{name}: {value}" for name, value in said.items() if value), "", ""]
    wire.send("\r\n".join(lines).encode())
    return wire


def closed(channel: Wire) -> tuple[int, str]:
    """Code and reason of the frame that ends what a WebSocket's server sends (RFC 6455, 5.2 and 5.5.1)."""
    while True:
        kind, size = channel.exactly(2)
        if size == 126:
            size = int.from_bytes(channel.exactly(2))
        elif size == 127:
            size = int.from_bytes(channel.exactly(8))
        data = channel.exactly(size)
        if kind == 0x88:
            return int.from_bytes(data[:2]), data[2:].decode()


def test_the_update_channel_needs_a_session_and_the_consoles_own_page(console: Console) -> None:
    visitor = console.logged_in()
    for who, fields, status in (
        (visitor, {}, 101),
        (visitor, {"Origin": "http://evil.example"}, 403),
        (visitor, {"Origin": "http://127.0.0.1:1"}, 403),
        (visitor, {"Origin": "null"}, 403),
        (visitor, {"Host": "evil.example"}, 421),
        (visitor, {"Cookie": "douane_session=guess"}, 403),
        (console.visitor(), {}, 403),
    ):
        assert upgrade(console, who, **fields).head().status == status, fields


def test_logout_closes_the_update_channel(console: Console) -> None:
    visitor = console.logged_in()
    channel = upgrade(console, visitor)
    assert channel.head().status == 101
    visitor.send_form("/logout")
    assert closed(channel) == (4401, "logged out")
