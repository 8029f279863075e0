"""The web application: mitmweb's UI behind an allow-list of routes, our own login, and our own verdicts."""

from __future__ import annotations

import asyncio
import contextlib
import json
import math
import secrets
import time
from pathlib import Path
from typing import Any

import tornado.httputil
import tornado.web
from mitmproxy.tools.web import app as stock

from douane.api.client import ApiClient, ApiError, NodeNotRunning
from douane.console import pages
from douane.console.card import card_digest, card_text
from douane.console.feed import Feed
from douane.console.master import ConsoleMaster, shown_options
from douane.console.sessions import LASTS_S, Attempts, Session, Sessions, Turns
from douane.console.updates import Updates

LOOK_S = 0.7
"""An approval counts only if the whole view was served at least this long before."""

MOST_BODY = 32 * 1024
"""Bytes of a request's body: a note of 2,000 characters, each as long as a form can write it, and some more."""

COOKIE = "douane_session"
CARD = "Douane-Card"
"""The header that carries a card's digest to the page that shows it."""

STATIC = Path(__file__).parent / "static"
_STOCK = Path(stock.__file__).parent
CSP = (
    "default-src 'none'; script-src 'self'; connect-src 'self'; img-src 'self' data:; font-src 'self'; "
    "style-src 'self' 'unsafe-inline'; form-action 'self'; base-uri 'none'; frame-ancestors 'none'"
)


class ConsoleApplication(tornado.web.Application):
    """Everything that is not listed here is closed, whatever a later mitmweb brings."""

    def __init__(
        self, master: ConsoleMaster, client: ApiClient, sessions: Sessions, hosts: frozenset[str], *, secure: bool
    ) -> None:
        self.master = master
        self.client = client
        self.sessions = sessions
        self.attempts = Attempts()
        self.logins = {"link": Turns(), "account": Turns()}
        self.hosts = hosts
        self.secure = secure
        self.feed = Feed(client, master.view, self.tell_node)
        review = r"/flows/(?P<flow_id>[0-9a-f\-]{36})"
        super().__init__(
            [
                (r"/", Index),
                (r"/login", Login),
                (r"/logout", Logout),
                (r"/updates", Updates),
                (r"/state(?:\.json)?", State),
                (r"/options(?:\.json)?", Options),
                (r"/events(?:\.json)?", Nothing),
                (r"/commands(?:\.json)?", Nothing, {"empty": {}}),
                (r"/filter-help(?:\.json)?", Nothing, {"empty": {"commands": []}}),
                (r"/flows(?:\.json)?", Flows),
                (review + r"/(?:request|response)/content/(?P<view>[0-9a-zA-Z_%\-]+)(?:\.json)?", Card),
                (review + r"/(?:request|response)/content\.data", CardData),
                (review + r"/(?P<verdict>resume|kill)", Verdict),
                (r"/governance", Governance),
                (r"/governance/data", GovernanceData),
                (r"/governance/(?P<review_id>[0-9a-f\-]{36})", GovernanceReview),
                (r"/governance/(?P<review_id>[0-9a-f\-]{36})/(?P<verdict>approve|reject)", GovernanceVerdict),
                (r"/console/([a-z.]+)", Own, {"path": str(STATIC)}),
            ],
            default_handler_class=Closed,
            static_path=str(_STOCK / "static"),
            static_handler_class=Static,
            template_path=str(_STOCK / "templates"),
            xsrf_cookies=True,
            xsrf_cookie_name="_mitmproxy_xsrf",
            xsrf_cookie_kwargs={"samesite": "Strict", "secure": secure},
            cookie_secret=secrets.token_bytes(32),
            is_valid_password=lambda password: False,  # noqa: ARG005 - stock's own login stays shut
            auth_cookie_name=lambda: "unused",
            transforms=[stock.GZipContentAndFlowFiles],
            websocket_max_message_size=MOST_BODY,
            log_function=lambda handler: None,  # noqa: ARG005 - URLs hold login links
        )

    def find_handler(self, request: tornado.httputil.HTTPServerRequest, **kwargs: Any) -> Any:
        """Answer only under the console's own name, against DNS rebinding; static files and the WebSocket too."""
        if request.host.lower() not in self.hosts:
            return self.get_handler_delegate(request, WrongHost)
        return super().find_handler(request, **kwargs)

    def session_of(self, handler: tornado.web.RequestHandler) -> Session | None:
        """The session of a request."""
        return self.sessions.get(handler.get_cookie(COOKIE))

    def tell_node(self) -> None:
        """Tell every open page whether the node answers."""
        Updates.broadcast(type="state/update", payload={"node_answers": self.feed.node_answers})

    async def api(self, method: str, path: str, body: object = None, **options: Any) -> Any:
        """One API request, off the loop."""
        return await asyncio.to_thread(self.client.request, method, path, body, **options)


class _Handler(tornado.web.RequestHandler):
    """Closed to whoever is not logged in, and to other sites."""

    application: ConsoleApplication
    public = False
    session: Session | None = None

    def set_default_headers(self) -> None:
        """Headers of every answer."""
        self.set_header("Server", "douane")
        self.set_header("Content-Security-Policy", CSP)
        self.set_header("X-Frame-Options", "DENY")
        self.set_header("X-Content-Type-Options", "nosniff")
        self.set_header("Referrer-Policy", "same-origin")
        self.set_header("Cache-Control", "no-store")

    def prepare(self) -> None:
        """Check site and session before any method runs."""
        site = self.request.headers.get("Sec-Fetch-Site")
        if self.request.method not in ("GET", "HEAD") and site not in (None, "same-origin", "none"):
            self.fail(403, "the request came from another site")
            return
        origin = self.request.headers.get("Origin")
        if origin is not None and origin.partition("://")[2].lower() not in self.application.hosts:
            self.fail(403, "the request came from another site")
            return
        self.session = self.application.session_of(self)
        self.current_user = self.session.reviewer if self.session is not None else None
        if self.session is None and not self.public:
            if self.request.method == "GET" and "text/html" in self.request.headers.get("Accept", ""):
                self.redirect("/login")
            else:
                self.fail(401, "log in first")

    def fail(self, status: int, message: str) -> None:
        """End with an error that the page can show."""
        self.set_status(status)
        self.set_header("Content-Type", "application/json")
        self.finish(json.dumps({"message": message}))

    def write_error(self, status_code: int, **kwargs: Any) -> None:
        """Errors are one line, never a traceback."""
        del kwargs
        self.fail(status_code, self._reason)

    def send_json(self, value: Any) -> None:
        """Answer in JSON."""
        self.set_header("Content-Type", "application/json; charset=UTF-8")
        self.finish(json.dumps(value))

    def send_html(self, page: str) -> None:
        """Answer with a page."""
        self.set_header("Content-Type", "text/html; charset=UTF-8")
        self.finish(page)


class Closed(_Handler):
    """Every route that is not on the list."""

    def prepare(self) -> None:
        """Refuse."""
        self.fail(405 if self.request.method not in ("GET", "HEAD") else 404, "this is closed")


class WrongHost(_Handler):
    """A request under another host name."""

    def prepare(self) -> None:
        """Refuse (RFC 9110, 15.5.20)."""
        self.fail(421, "the console does not answer under this name")


class Static(tornado.web.StaticFileHandler):
    """mitmweb's files: the same for everyone."""

    def set_extra_headers(self, path: str) -> None:  # noqa: ARG002 - tornado's signature
        """Scripts and styles run under the same policy as the pages."""
        self.set_header("X-Content-Type-Options", "nosniff")


class Own(Static):
    """The console's own script and style."""


class Index(_Handler):
    """mitmweb's page with our script before its own and our style after."""

    def get(self) -> None:
        """Serve the page."""
        page = (_STOCK / "index.html").read_text()
        script = '<script src="./console/console.js"></script>'
        page = page.replace('<script type="module"', script + '\n      <script type="module"', 1)
        page = page.replace("</head>", '  <link rel="stylesheet" href="./console/console.css">\n    </head>', 1)
        page = page.replace("<title>mitmproxy</title>", "<title>Approvals</title>", 1)
        assert self.session is not None
        token = self.xsrf_token.decode() if isinstance(self.xsrf_token, bytes) else self.xsrf_token
        page = page.replace(
            "<body>", f'<body data-reviewer="{pages.text(self.session.reviewer)}" data-xsrf="{token}">', 1
        )
        self.send_html(page)


class Login(_Handler):
    """Name and secret, or a link that logs in once."""

    public = True

    def get(self) -> None:
        """The form; a link is exchanged by a POST, so that no preview of it spends it."""
        link = self.get_query_argument("link", "")
        self.send_html(pages.login(self.xsrf_form_html(), link=link))

    async def post(self) -> None:
        """Log in."""
        link = self.get_body_argument("link", "")
        reviewer = self.get_body_argument("reviewer", "")[:64]
        # Programs on this machine share its address: what one guesses must slow neither other accounts nor fresh links,
        # of which it does not know how they begin.
        kind, name = ("link", link[:2]) if link else ("account", reviewer)
        key = f"{self.request.remote_ip} {kind} {name}"
        turns = self.application.logins[kind]
        if (wait_s := max(self.application.attempts.wait_s(key), turns.wait_s())) > 0:
            self.set_status(429)
            problem = f"Too many attempts; wait {math.ceil(wait_s)} s, or use a link of `douane reviewer link NAME`."
            self.send_html(pages.login(self.xsrf_form_html(), problem=problem))
            return
        self.application.attempts.begins(key)
        body = {"link": link} if link else {"reviewer": reviewer, "secret": self.get_body_argument("secret", "")[:500]}
        try:
            async with turns:
                found = await self.application.api("POST", "/v1/login", body)
        except ApiError as error:
            self.application.attempts.failed(key)
            self.set_status(403)
            problem = "Name or secret are not right."
            if link:
                problem = "The link is not valid, or was used before. `douane reviewer link NAME` makes another."
            if error.status >= 500:
                problem = "The node cannot check this now."
            self.send_html(pages.login(self.xsrf_form_html(), problem=problem))
            return
        except (NodeNotRunning, TimeoutError, OSError):
            self.set_status(503)
            self.send_html(pages.login(self.xsrf_form_html(), problem="The node does not answer."))
            return
        self.application.attempts.succeeded(key)
        cookie = self.application.sessions.begin(found["reviewer"], found["token"])
        self.set_cookie(
            COOKIE, cookie, httponly=True, samesite="Strict", secure=self.application.secure, max_age=LASTS_S, path="/"
        )
        self.redirect("/")


class Logout(_Handler):
    """End the session, at the node too, and close its update channel."""

    async def post(self) -> None:
        """Log out."""
        session = self.application.sessions.end(self.get_cookie(COOKIE))
        self.clear_cookie(COOKIE)
        for channel in list(Updates.connections):
            if session is not None and channel.session is session:
                channel.close(4401, "logged out")
        if session is not None:
            with contextlib.suppress(
                ApiError, NodeNotRunning, TimeoutError, OSError
            ):  # the node's own ends by its time
                await self.application.api("POST", "/v1/logout", bearer=session.token)
        self.redirect("/login")


class State(_Handler):
    """What the UI draws itself from."""

    def get(self) -> None:
        """mitmweb's state with one content view and no servers."""
        self.send_json(
            {
                "version": "douane",
                "contentViews": ["Governance"],
                "servers": {},
                "platform": "linux",
                "localModeUnavailable": "closed",
                "node_answers": self.application.feed.node_answers,
            }
        )


class Options(_Handler):
    """The options the UI cannot do without."""

    def get(self) -> None:
        """An allow-list."""
        self.send_json(shown_options(self.application.master))


class Nothing(_Handler):
    """Lists that the UI asks for and that are empty here."""

    def initialize(self, empty: Any = None) -> None:
        """What empty looks like."""
        self._empty = [] if empty is None else empty

    def get(self) -> None:
        """Nothing."""
        self.send_json(self._empty)


class Flows(_Handler):
    """The reviews as mitmweb's flows."""

    def get(self) -> None:
        """All of them."""
        self.send_json([stock.flow_to_json(flow) for flow in self.application.master.view])


class Card(_Handler):
    """The Governance view, whatever view was asked for."""

    def get(self, flow_id: str, view: str) -> None:
        """The card; serving all of it is what counts as opened."""
        del view
        review = self.application.feed.reviews.get(flow_id)
        if review is None:
            self.fail(404, "there is no such review")
            return
        text = card_text(review)
        lines = self.get_query_argument("lines", "")
        asked = int(lines) if lines.isascii() and lines.isdigit() and len(lines) < 8 else None
        shown = text.split("\n")
        whole = asked is None or len(shown) < asked  # the UI asks for one line more than it shows
        assert self.session is not None
        if whole:
            self.set_header(CARD, opened(self.session, review))
        self.send_json(
            {
                "text": text if whole else "\n".join(shown[:asked]),
                "view_name": "Governance",
                "syntax_highlight": "none",
                "description": "",
            }
        )


class CardData(_Handler):
    """The card as a file."""

    def get(self, flow_id: str) -> None:
        """Plain text."""
        review = self.application.feed.reviews.get(flow_id)
        if review is None:
            self.fail(404, "there is no such review")
            return
        self.set_header("Content-Type", "text/plain; charset=UTF-8")
        self.set_header("Content-Disposition", "attachment; filename=review.txt")
        self.finish(card_text(review))


def opened(session: Session, review: dict[str, Any]) -> str:
    """Remember that all of a review was served to a session; returns its digest, which an approval has to name."""
    digest = card_digest(review)
    known = session.opened.get(review["review_id"])
    if known is None or known[0] != digest:
        if len(session.opened) > 5_000:
            session.opened.clear()
        session.opened[review["review_id"]] = digest, time.monotonic()
    return digest


class _Decides(_Handler):
    async def decide(self, review_id: str, *, approve: bool, note: str | None, card: str) -> tuple[int, str]:
        """Give a verdict as the logged-in reviewer, an approval of the card shown; a status and what to tell."""
        session = self.session
        assert session is not None
        review = self.application.feed.reviews.get(review_id)
        if review is None:
            return 404, "There is no such review."
        if approve:
            seen = session.opened.get(review_id)
            if seen is None or time.monotonic() - seen[1] < LOOK_S:
                return 428, "Open the review and read it to its end before you approve it. Nothing was decided."
            if not card == seen[0] == card_digest(review):
                return 428, "The review is not what you were shown. Open and read it again. Nothing was decided."
        verdict = "approve" if approve else "reject"
        try:
            found = await self.application.api(
                "POST",
                f"/v1/reviews/{review_id}/{verdict}",
                {"note": note or None, "channel": "console"},
                bearer=session.token,
            )
        except ApiError as error:
            await self.application.feed.refresh(review_id)
            if error.status == 401:
                self.application.sessions.end(self.get_cookie(COOKIE))
                return 401, "Your session is over, or you are no reviewer any more. Log in again. Nothing was decided."
            return error.status, f"Nothing was decided: {error}"
        except NodeNotRunning:
            return 503, "The node does not run. Nothing was decided."
        except (TimeoutError, OSError):
            return 504, "The node did not answer in time. The outcome is UNKNOWN: look at the review's state again."
        await self.application.feed.refresh(review_id)
        return 200, f"The review is {found['state']}."


class Verdict(_Decides):
    """Resume approves, Abort rejects."""

    async def post(self, flow_id: str, verdict: str) -> None:
        """Decide."""
        try:
            body = json.loads(self.request.body or b"{}")
        except ValueError:
            body = None
        told = body if isinstance(body, dict) else {}
        note, card = (value if isinstance(value := told.get(name), str) else "" for name in ("note", "card"))
        status, message = await self.decide(flow_id, approve=verdict == "resume", note=note[:2_000], card=card)
        self.set_status(status)
        self.send_json({"message": message})


class Governance(_Handler):
    """The plain page: what waits, who spends, what was decided, how the node is."""

    async def get(self) -> None:
        """The whole page."""
        self.send_html(pages.governance(await overview(self.application), self.current_user, self.xsrf_form_html()))


class GovernanceData(_Handler):
    """The part of the page that changes."""

    async def get(self) -> None:
        """HTML of the main part."""
        self.send_html(pages.governance_main(await overview(self.application)))


class GovernanceReview(_Handler):
    """One review, to read and decide."""

    def get(self, review_id: str) -> None:
        """The card with its form."""
        review = self.application.feed.reviews.get(review_id)
        if review is None:
            self.fail(404, "there is no such review")
            return
        assert self.session is not None
        shown = opened(self.session, review)
        self.send_html(pages.review(review, card_text(review), shown, self.current_user, self.xsrf_form_html()))


class GovernanceVerdict(_Decides):
    """The form's verdict."""

    async def post(self, review_id: str, verdict: str) -> None:
        """Decide, and show what came of it."""
        note = self.get_body_argument("note", "")[:2_000]
        if verdict == "approve" and self.get_body_argument("sure", "") != "yes":
            self.fail(428, "tick that you are sure")
            return
        card = self.get_body_argument("card", "")
        status, message = await self.decide(review_id, approve=verdict == "approve", note=note, card=card)
        self.set_status(status)
        self.send_html(pages.told(message, self.current_user, self.xsrf_form_html()))


async def overview(application: ConsoleApplication) -> dict[str, Any]:
    """All that the governance page shows; parts that the node did not tell are None."""
    reviews = sorted(application.feed.reviews.values(), key=lambda r: -int(r["created_us"]))
    found: dict[str, Any] = {
        "pending": [review for review in reviews if review["state"] == "pending"],
        "spend": None,
        "log": None,
        "health": None,
    }
    try:
        found["health"] = await application.api("GET", "/v1/health", timeout_s=5.0)
        found["spend"] = (await application.api("GET", "/v1/spend", timeout_s=5.0))["spend"]
        found["log"] = (await application.api("GET", "/v1/log?limit=30", timeout_s=5.0))["log"]
    except (ApiError, NodeNotRunning, TimeoutError, OSError):
        pass
    return found
