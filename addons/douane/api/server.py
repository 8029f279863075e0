"""The API's routes, served on the node's own event loop."""

from __future__ import annotations

import base64
import binascii
import contextlib
import logging
import os
import re
import socket
from collections.abc import Awaitable
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any, cast, get_args

import orjson
import tornado.httpserver
import tornado.netutil
import tornado.web
from pydantic import BaseModel, BeforeValidator, ConfigDict, Field, ValidationError

from douane.api.shapes import agent_json, log_json, review_json, spend_json, spent_json
from douane.core.money import format_usd, nano_from_usd_ceiling
from douane.core.record import MAX_INTEGER
from douane.core.review import IllegalTransition, ReviewState
from douane.edge.ports import reached_at
from douane.store.interface import LogFilter, SpendKey, StoreError

if TYPE_CHECKING:
    from douane.calls.node import Node

logger = logging.getLogger(__name__)

MOST_BODY_BYTES = 64 * 1024
MOST_READ_BYTES = 16 * MOST_BODY_BYTES
"""A body up to here is read, to be refused with words; beyond it the connection is cut."""

MOST_CAP_NANO = MAX_INTEGER
"""The register holds no larger number."""

LONGEST_WAIT_S = 60.0
NAME = re.compile(r"[a-z0-9][a-z0-9._-]{0,63}")
ALL = frozenset({"suspend-all", "resume-all"})
"""The kill switch and its undoing: paths where other routes have a name."""


def _name(value: Any) -> Any:
    if not isinstance(value, str) or not NAME.fullmatch(value):
        raise ValueError(
            "a name is 1 to 64 lower-case letters, digits, `.`, `_` and `-`, and begins with a letter or digit"
        )
    return value


def _agent_name(value: Any) -> Any:
    if value in ALL:
        raise ValueError(f"`{value}` is the kill switch, not a name")
    return _name(value)


def _cap_nano(value: Any) -> Any:
    if not isinstance(value, str):
        raise ValueError('dollars as a string, such as "12.50"')  # noqa: TRY004 - pydantic collects these
    if (cap_nano := nano_from_usd_ceiling(value)) > MOST_CAP_NANO:
        raise ValueError(f"a cap is at most {format_usd(MOST_CAP_NANO)}")
    return cap_nano


Name = Annotated[str, BeforeValidator(_name)]


class _Body(BaseModel):
    model_config = ConfigDict(extra="forbid", strict=True)


class NewAgent(_Body):
    """A new agent."""

    name: Annotated[str, BeforeValidator(_agent_name)]
    labels: Annotated[dict[Name, Annotated[str, Field(max_length=200)]], Field(max_length=50)] = {}
    cap_usd: Annotated[int, BeforeValidator(_cap_nano)] | None = None
    """Dollars on the wire, nano-dollars from here on."""


class NewSession(_Body):
    """A session key."""

    seconds: Annotated[int, Field(ge=1, le=7 * 86_400)]


class EndSession(_Body):
    """A session key to end."""

    key: Annotated[str, Field(max_length=200)]


class NewReviewer(_Body):
    """A new reviewer."""

    name: Name


class Login(_Body):
    """A reviewer's secret, or a login link."""

    reviewer: Name | None = None
    secret: Annotated[str, Field(max_length=500)] | None = None
    link: Annotated[str, Field(max_length=500)] | None = None


class Verdict(_Body):
    """A verdict's note."""

    note: Annotated[str, Field(max_length=2_000)] | None = None
    channel: Annotated[str, Field(pattern=r"^[a-z]{1,20}$")] = "api"


class ApplyPolicy(_Body):
    """Who applies, and whether to look only."""

    by: Annotated[str, Field(max_length=200)] = "operator"
    dry_run: bool = False


class Head(_Body):
    """Why a head is signed."""

    reason: Annotated[str, Field(max_length=200)] = "api"


class _Refused(Exception):
    def __init__(self, status: int, code: str, message: str, **more: Any) -> None:
        super().__init__(message)
        self.status, self.code, self.more = status, code, more


class _Handler(tornado.web.RequestHandler):
    """Answers in JSON; errors are `{"error": {"code", "message"}}` and never a traceback."""

    def initialize(self, node: Node) -> None:
        """Take the node."""
        self.node = node

    def prepare(self) -> None:
        """Refuse what a browser was led to send, and what is too large."""
        if self.request.headers.get("Sec-Fetch-Site") or self.request.headers.get("Origin"):
            raise _Refused(403, "forbidden", "the API is not for browsers")
        if len(self.request.body) > MOST_BODY_BYTES:
            raise _Refused(413, "too_large", f"a body is at most {MOST_BODY_BYTES:,} bytes")

    def answer(self, body: Any, status: int = 200) -> None:
        """Send JSON."""
        self.set_status(status)
        self.set_header("Content-Type", "application/json")
        self.set_header("Cache-Control", "no-store")
        self.finish(orjson.dumps(body))

    def body[T: _Body](self, shape: type[T]) -> T:
        """The typed body; raises a refusal that names every mistake."""
        try:
            return shape.model_validate_json(self.request.body or b"{}")
        except ValidationError as invalid:
            told = "; ".join(
                f"{'.'.join(str(part) for part in e['loc'] if part != '[key]') or 'body'}: "
                f"{e['msg'].removeprefix('Value error, ')}"
                for e in invalid.errors()
            )
            raise _Refused(400, "bad_request", told) from None

    def number(self, name: str, default: int, most: int) -> int:
        """A whole number from the query."""
        text = self.get_query_argument(name, str(default))
        if not re.fullmatch(r"[0-9]{1,16}", text) or int(text) > most:
            raise _Refused(400, "bad_request", f"{name} is a whole number up to {most}")
        return int(text)

    async def known[T](self, what: str, outcome: Awaitable[T]) -> T:
        """What the node did; unknown names are 404, names taken 409."""
        try:
            return await outcome
        except KeyError:
            raise _Refused(404, "not_found", f"there is no {what}") from None
        except ValueError as error:
            raise _Refused(409, "conflict", str(error)) from None

    def write_error(self, status_code: int, **kwargs: Any) -> None:
        """Tell an error."""
        error = kwargs.get("exc_info", (None, None, None))[1]
        code, message, more = "error", "the node failed on this request; its log says how", {}
        if isinstance(error, _Refused):
            status_code, code, message, more = error.status, error.code, str(error), error.more
        elif isinstance(error, StoreError):
            status_code, code, message = 503, "store_unavailable", str(error)
        elif status_code == 405:
            code, message = "not_allowed", f"{self.request.method} is not a method of this route"
        elif status_code == 400:
            code, message = "bad_request", "the path, the query or the body is malformed"
        self.answer({"error": {"code": code, "message": message}, **more}, status_code)

    def log_exception(self, typ: Any, value: Any, tb: Any) -> None:
        """Log what is our fault; a refusal is not."""
        if not isinstance(value, _Refused | tornado.web.HTTPError | StoreError):
            logger.error("the API failed", exc_info=(typ, value, tb))


class HealthRoute(_Handler):
    """`GET health`."""

    def get(self) -> None:
        """State and version."""
        supervised = self.node.config.heartbeat_fd is not None  # then its parent would only start another
        self.answer({**self.node.health(), "pid": os.getppid() if supervised else os.getpid()})


class AgentsRoute(_Handler):
    """`GET agents`, `POST agents`."""

    async def get(self) -> None:
        """All agents."""
        self.answer({"agents": [agent_json(row) for row in await self.node.store.agents()]})

    async def post(self) -> None:
        """Register one; its key is told this once."""
        new = self.body(NewAgent)
        first = self.node.agents.default_agent_allowed
        adding = self.node.add_agent(new.name, new.labels, new.cap_usd)
        row, key = await self.known(f"agent {new.name}", adding)
        self.answer({"agent": agent_json(row), "key": key, "first": first}, 201)


class AgentRoute(_Handler):
    """`DELETE agents/NAME`."""

    async def delete(self, name: str) -> None:
        """Remove an agent."""
        await self.known(f"agent {name}", self.node.remove_agent(name))
        self.answer({})


class AgentChangeRoute(_Handler):
    """`POST agents/NAME/rotate|suspend|resume`."""

    async def post(self, name: str, what: str) -> None:
        """A new key, told this once; or a stop, or its end."""
        if what == "rotate":
            row, key = await self.known(f"agent {name}", self.node.rotate_agent(name))
            self.answer({"agent": agent_json(row), "key": key})
        else:
            row = await self.known(f"agent {name}", self.node.suspend_agent(name, what == "suspend"))
            self.answer({"agent": agent_json(row)})


class SessionsRoute(_Handler):
    """`POST agents/NAME/sessions`, `DELETE agents/NAME/sessions`."""

    async def post(self, name: str) -> None:
        """A further key that ends by itself."""
        seconds = self.body(NewSession).seconds
        self.answer({"key": await self.known(f"agent {name}", self.node.session_key(name, seconds))}, 201)

    async def delete(self, name: str) -> None:
        """End such a key before its time."""
        await self.known(f"agent {name}", self.node.end_session_key(name, self.body(EndSession).key))
        self.answer({})


class AllAgentsRoute(_Handler):
    """`POST agents/suspend-all`, `POST agents/resume-all`."""

    async def post(self, what: str) -> None:
        """The kill switch, or its undoing."""
        suspended = what == "suspend"
        names = [row.name for row in await self.node.store.agents() if row.suspended != suspended]
        for name in names:
            await self.node.suspend_agent(name, suspended=suspended)
        self.answer({"suspended" if suspended else "resumed": names})


class ReviewersRoute(_Handler):
    """`GET reviewers`, `POST reviewers`."""

    async def get(self) -> None:
        """All reviewers."""
        found = [{"name": row.name, "created_us": row.created_us} for row in await self.node.store.reviewers()]
        self.answer({"reviewers": found})

    async def post(self) -> None:
        """Register one; secret and link are told this once."""
        name = self.body(NewReviewer).name
        secret, link = await self.known(f"reviewer {name}", self.node.add_reviewer(name))
        self.answer({"reviewer": name, "secret": secret, "link": link, "url": _url(self.node, link)}, 201)


class ReviewerRoute(_Handler):
    """`DELETE reviewers/NAME`."""

    async def delete(self, name: str) -> None:
        """Remove a reviewer and all sessions of theirs."""
        await self.known(f"reviewer {name}", self.node.remove_reviewer(name))
        self.answer({})


class LinkRoute(_Handler):
    """`POST reviewers/NAME/link`."""

    async def post(self, name: str) -> None:
        """A further login link."""
        link = await self.known(f"reviewer {name}", self.node.login_link(name))
        self.answer({"reviewer": name, "link": link, "url": _url(self.node, link)}, 201)


def _url(node: Node, link: str) -> str | None:
    """What a browser opens to log in; None where the node knows of no console."""
    console = node.config.console
    return None if console is None else f"http://{reached_at(*console)}/login?link={link}"


class LoginRoute(_Handler):
    """`POST login`."""

    async def post(self) -> None:
        """A session token for a secret, or for a link that was not used."""
        login = self.body(Login)
        if login.link is not None:
            found = await self.node.login_with_link(login.link)
        elif login.reviewer is not None and login.secret is not None:
            token = await self.node.login_with_secret(login.reviewer, login.secret)
            found = (token, login.reviewer) if token is not None else None
        else:
            raise _Refused(400, "bad_request", "a login is a reviewer and a secret, or a link")
        if found is None:
            raise _Refused(401, "unauthorized", "the secret or the link is not valid, or was used before")
        self.answer({"token": found[0], "reviewer": found[1]})


class LogoutRoute(_Handler):
    """`POST logout`."""

    async def post(self) -> None:
        """End the session of the bearer token."""
        scheme, _, token = self.request.headers.get("Authorization", "").partition(" ")
        if scheme.lower() == "bearer":
            await self.node.logout(token)
        self.answer({})


class ReviewsRoute(_Handler):
    """`GET reviews?state=&limit=`."""

    async def get(self) -> None:
        """Reviews, newest change last."""
        names = self.get_query_arguments("state")
        try:
            states = tuple(ReviewState(name) for name in names)
        except ValueError:
            known = ", ".join(state.value for state in ReviewState)
            raise _Refused(400, "bad_request", f"state is one of {known}") from None
        found = await self.node.store.reviews(states=states, limit=self.number("limit", 500, 5_000))
        self.answer({"reviews": [review_json(review, self.node.waiting(review.review_id)) for review in found]})


class ReviewChangesRoute(_Handler):
    """`GET reviews/changes?after=V&wait=S`."""

    async def get(self) -> None:
        """Reviews changed after a version, waiting for one."""
        after = self.number("after", 0, 2**53)
        wait_s = min(LONGEST_WAIT_S, float(self.number("wait", 0, 600)))
        found = await self.node.reviews_changed(after, wait_s)
        self.answer(
            {
                "reviews": [review_json(review, self.node.waiting(review.review_id)) for review in found],
                "version": max([after, *(review.version for review in found)]),
            }
        )


class ReviewRoute(_Handler):
    """`GET reviews/ID`."""

    async def get(self, review_id: str) -> None:
        """One review."""
        review = await self.node.store.review(review_id)
        if review is None:
            raise _Refused(404, "not_found", "there is no such review")
        self.answer(review_json(review, self.node.waiting(review_id)))


class VerdictRoute(_Handler):
    """`POST reviews/ID/approve|reject`."""

    async def post(self, review_id: str, what: str) -> None:
        """A verdict by a reviewer, who is known by a session or a secret."""
        reviewer = await self._reviewer()
        verdict = self.body(Verdict)
        if self.node.state in ("draining", "starting"):
            raise _Refused(503, "not_ready", "the node is starting or stopping; nothing was decided")
        try:
            review = await self.node.give_verdict(
                review_id, approve=what == "approve", reviewer=reviewer, channel=verdict.channel, note=verdict.note
            )
        except KeyError:
            raise _Refused(404, "not_found", "there is no such review") from None
        except IllegalTransition as illegal:
            state = illegal.state.value
            raise _Refused(
                409, "conflict", f"the review is {state} already; nothing was changed", state=state
            ) from None
        self.answer(review_json(review, self.node.waiting(review_id)))

    async def _reviewer(self) -> str:
        scheme, _, credential = self.request.headers.get("Authorization", "").partition(" ")
        reviewer = None
        if scheme.lower() == "bearer":
            reviewer = await self.node.reviewer_of(credential)
        elif scheme.lower() == "basic":
            with contextlib.suppress(binascii.Error, UnicodeDecodeError):
                name, _, secret = base64.b64decode(credential, validate=True).decode().partition(":")
                if await self.node.secret_belongs(name, secret):
                    reviewer = name
        if not scheme:
            raise _Refused(401, "unauthorized", "a verdict needs a reviewer's session or secret")
        if reviewer is None:
            raise _Refused(401, "unauthorized", "the reviewer's secret or session is not valid; nothing was decided")
        return reviewer


class SpendRoute(_Handler):
    """`GET spend?by&agent&since`."""

    async def get(self) -> None:
        """Each agent's spend against its cap; with `by`, what was charged, summed up."""
        if (by := self.get_query_argument("by", None)) is not None:
            if by not in get_args(SpendKey.__value__):
                raise _Refused(400, "bad_request", "by is one of agent, model, tool, day")
            since_us = self.number("since", 0, 2**53) or None
            agent = self.get_query_argument("agent", None)
            spent = await self.node.store.spent(cast("SpendKey", by), agent=agent, since_us=since_us)
            self.answer({"spent": [spent_json(row, by) for row in spent]})
            return
        budgets = self.node.spend_budgets()
        found = await self.node.store.spend(budgets)
        self.answer({"spend": [spend_json(row, row.budget) for row in found]})


class LogRoute(_Handler):
    """`GET log?agent&tool&kind&outcome&call&since&until&limit&before`."""

    async def get(self) -> None:
        """Records of the register, oldest first."""
        query = {name: self.get_query_argument(name, None) for name in ("agent", "tool", "kind", "outcome", "call")}
        wanted = LogFilter(
            agent=query["agent"],
            tool=query["tool"],
            kind=query["kind"],
            outcome=query["outcome"],
            call_id=query["call"],
            since_us=self.number("since", 0, 2**53) or None,
            until_us=self.number("until", 0, 2**53) or None,
            limit=self.number("limit", 100, 100_000),
            before_seq=self.number("before", 0, 2**53) or None,
        )
        self.answer({"log": [log_json(entry) for entry in await self.node.store.log(wanted)]})


class CallRoute(_Handler):
    """`GET calls/ID`."""

    async def get(self, beginning: str) -> None:
        """The whole story of a call or a review, in order; its id may be cut where it is still the only one."""
        candidates = await self.node.store.named(beginning)
        if not candidates:
            raise _Refused(404, "not_found", "there is no such call or review")
        found = await self.node.store.story(candidates[0][1])
        told = {entry.record.get(name) for entry in found for name in ("call_id", "review_id")}
        if not told.issuperset(name for _, name in candidates):
            listed = "".join(f"\n  {what} {name}" for what, name in candidates)
            raise _Refused(
                409,
                "conflict",
                f"more than one id begins with {beginning}:{listed}",
                candidates=[name for _, name in candidates],
            )
        self.answer({"log": [log_json(entry) for entry in found]})


class PolicyRoute(_Handler):
    """`GET policy`."""

    async def get(self) -> None:
        """The policy in force."""
        found = await self.node.store.policy_in_force()
        digest, text = found if found is not None else (None, None)
        self.answer({"digest": digest, "text": text, "differs": self.node.policy_differs})


class ApplyRoute(_Handler):
    """`POST policy/apply`."""

    async def post(self) -> None:
        """Check the policy on disk and put it in force."""
        asked = self.body(ApplyPolicy)
        change = await self.node.apply_policy(asked.by, dry_run=asked.dry_run)
        self.answer(
            {
                "applied": change.applied,
                "digest": change.digest,
                "difference": list(change.difference),
                "problems": [str(problem) for problem in change.problems],
                "failures": [str(failure) for failure in change.failures],
            }
        )


class HeadRoute(_Handler):
    """`POST head`."""

    async def post(self) -> None:
        """Sign a head of the register."""
        head = await self.node.store.sign_head(self.body(Head).reason)
        self.answer({"seq": head.seq, "hash": head.hash, "note": head.note})


ROUTES = (
    (r"/v1/health", HealthRoute),
    (r"/v1/agents", AgentsRoute),
    (r"/v1/agents/(suspend|resume)-all", AllAgentsRoute),
    (r"/v1/agents/([^/]+)", AgentRoute),
    (r"/v1/agents/([^/]+)/(rotate|suspend|resume)", AgentChangeRoute),
    (r"/v1/agents/([^/]+)/sessions", SessionsRoute),
    (r"/v1/reviewers", ReviewersRoute),
    (r"/v1/reviewers/([^/]+)", ReviewerRoute),
    (r"/v1/reviewers/([^/]+)/link", LinkRoute),
    (r"/v1/login", LoginRoute),
    (r"/v1/logout", LogoutRoute),
    (r"/v1/reviews", ReviewsRoute),
    (r"/v1/reviews/changes", ReviewChangesRoute),
    (r"/v1/reviews/([^/]+)", ReviewRoute),
    (r"/v1/reviews/([^/]+)/(approve|reject)", VerdictRoute),
    (r"/v1/spend", SpendRoute),
    (r"/v1/log", LogRoute),
    (r"/v1/calls/([^/]+)", CallRoute),
    (r"/v1/policy", PolicyRoute),
    (r"/v1/policy/apply", ApplyRoute),
    (r"/v1/head", HeadRoute),
)
"""Every path with its methods; `docs/api.md` tells the same, and a test holds the two together."""


def make_app(node: Node) -> tornado.web.Application:
    """The API's application."""
    routes = [(pattern, handler, {"node": node}) for pattern, handler in ROUTES]
    return tornado.web.Application(
        routes,
        default_handler_class=_NoRoute,
        default_handler_args={"node": node},
        log_function=lambda _: None,
    )


class _NoRoute(_Handler):
    def prepare(self) -> None:
        """Every other path."""
        raise _Refused(404, "not_found", "there is no such route")


class ApiServer:
    """Serves the API on a Unix socket that only its owner can open."""

    def __init__(self) -> None:
        self._server: tornado.httpserver.HTTPServer | None = None
        self._path: Path | None = None

    def start(self, node: Node, path: Path) -> None:
        """Listen; a socket that an ended node left behind is replaced."""
        path.unlink(missing_ok=True)
        sock = socket.socket(socket.AF_UNIX)
        sock.setblocking(False)
        before = os.umask(0o177)
        try:
            sock.bind(str(path))
        finally:
            os.umask(before)
        path.chmod(0o600)
        sock.listen(128)
        self._path = path
        self._server = tornado.httpserver.HTTPServer(
            make_app(node), max_body_size=MOST_READ_BYTES, max_buffer_size=MOST_READ_BYTES
        )
        self._server.add_socket(sock)

    async def stop(self) -> None:
        """Close the socket and every connection."""
        if self._server is not None:
            self._server.stop()
            await self._server.close_all_connections()
        if self._path is not None:
            self._path.unlink(missing_ok=True)
