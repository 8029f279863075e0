"""Every route of the API on a running node: what it does, and what it says to what it will not do."""

from __future__ import annotations

import socket
import subprocess
import sys
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from itertools import count
from pathlib import Path
from typing import Any
from urllib.parse import quote

import pytest

from douane.api.server import MOST_BODY_BYTES, MOST_READ_BYTES
from support.product import Agent, ApiAnswer, Product
from support.routes import METHODS, paths, served
from support.wire import Answer, ConnectRefused, Wire, request

ROOT = Path(__file__).parents[2]
GITHUB = "api.github.com"
UNKNOWN = "0198c0de-0000-7000-8000-000000000000"
number = count(1)
"""Each test has names and repositories of its own."""


def name() -> str:
    return f"name-{next(number)}"


def call(product: Product, agent: Agent, method: str = "GET", path: str = "/user") -> Answer:
    with Wire.tunnel(agent, product.proxy_address, GITHUB) as wire:
        return wire.ask(request(method, GITHUB, path), method=method)


def passes(product: Product, agent: Agent) -> bool:
    """Whether a call of the agent goes through now."""
    try:
        return call(product, agent).status == 200
    except ConnectRefused:
        return False


def added(product: Product) -> Agent:
    """An agent of a test's own."""
    answer = product.api("POST", "/v1/agents", {"name": (who := name())})
    assert answer.status == 201, answer
    key = answer.body["key"]
    return Agent(who, key, f"http://{who}:{key}@127.0.0.1:{product.proxy_port}", product.ca)


def held(product: Product) -> str:
    """The review of a delete that was just asked for, by an agent of its own."""
    refused = call(product, added(product), "DELETE", f"/repos/acme/{name()}")
    assert refused.decision["reason_codes"][0] == "review_pending"
    review_id: str = refused.decision["review_id"]
    return review_id


def session(product: Product, reviewer: str = "rita") -> str:
    answer = product.api("POST", "/v1/login", {"reviewer": reviewer, "secret": product.reviewer(reviewer)})
    assert answer.status == 200, answer
    token: str = answer.body["token"]
    return token


def error(answer: ApiAnswer, status: int, code: str) -> str:
    """The message of an error of that status and code."""
    assert (answer.status, answer.body["error"]["code"]) == (status, code), answer
    message: str = answer.body["error"]["message"]
    assert message
    return message


# what each route does

type Does = Callable[[Product], None]
DOES: dict[tuple[str, str], Does] = {}


def does(method: str, path: str) -> Callable[[Does], Does]:
    def keep(function: Does) -> Does:
        DOES[method, path] = function
        return function

    return keep


@pytest.mark.parametrize("route", served(), ids=" ".join)
def test_every_route_does_what_it_is_for(product: Product, route: tuple[str, str]) -> None:
    DOES[route](product)


@does("GET", "/v1/health")
def _(product: Product) -> None:
    answer = product.api("GET", "/v1/health")
    assert answer.status == 200
    assert (answer.body["state"], answer.body["ready"], answer.body["reason"]) == ("ready", True, None)
    assert answer.body["proxy"] == f"127.0.0.1:{product.proxy_port}"
    assert answer.body["ca_cert"] == str(product.ca)
    assert product.process is not None
    assert answer.body["pid"] == product.process.pid


@does("GET", "/v1/agents")
def _(product: Product) -> None:
    agent = added(product)
    answer = product.api("GET", "/v1/agents")
    assert answer.status == 200
    (row,) = (row for row in answer.body["agents"] if row["name"] == agent.name)
    assert (row["labels"], row["cap_usd"], row["suspended"], row["session_keys"]) == ({}, None, False, 0)
    assert agent.key not in str(answer.body)


@does("POST", "/v1/agents")
def _(product: Product) -> None:
    who = name()
    answer = product.api("POST", "/v1/agents", {"name": who, "labels": {"env": "prod"}, "cap_usd": "0.0000000011"})
    assert answer.status == 201
    assert answer.body["agent"]["labels"] == {"env": "prod"}
    assert answer.body["agent"]["cap_usd"] == 2e-9, "a cap is rounded up to whole nano-dollars"
    assert passes(product, Agent(who, answer.body["key"], "", product.ca))
    message = error(product.api("POST", "/v1/agents", {"name": who}), 409, "conflict")
    assert message == f"there is an agent {who} already"


@does("POST", "/v1/agents/suspend-all")
@does("POST", "/v1/agents/resume-all")
def _(product: Product) -> None:
    one, other = added(product), added(product)
    answer = product.api("POST", "/v1/agents/suspend-all")
    assert answer.status == 200
    assert {one.name, other.name} <= set(answer.body["suspended"])
    assert not passes(product, one)
    assert product.api("POST", "/v1/agents/suspend-all").body == {"suspended": []}
    assert all(row["suspended"] for row in product.api("GET", "/v1/agents").body["agents"])
    answer = product.api("POST", "/v1/agents/resume-all")
    assert {one.name, other.name} <= set(answer.body["resumed"])
    assert product.api("POST", "/v1/agents/resume-all").body == {"resumed": []}
    assert passes(product, one)
    assert passes(product, other)


@does("DELETE", "/v1/agents/{}")
def _(product: Product) -> None:
    agent = added(product)
    with Wire.tunnel(agent, product.proxy_address, GITHUB) as wire:
        assert wire.ask(request("GET", GITHUB, "/user")).status == 200
        assert product.api("DELETE", f"/v1/agents/{agent.name}") == ApiAnswer(200, {})
        assert wire.ask(request("GET", GITHUB, "/user")).code == "agent_unknown"
    assert agent.name not in str(product.api("GET", "/v1/agents").body)


@does("POST", "/v1/agents/{}/rotate")
def _(product: Product) -> None:
    agent = added(product)
    answer = product.api("POST", f"/v1/agents/{agent.name}/rotate")
    assert answer.status == 200
    assert not passes(product, agent)
    assert passes(product, Agent(agent.name, answer.body["key"], "", product.ca))


@does("POST", "/v1/agents/{}/suspend")
@does("POST", "/v1/agents/{}/resume")
def _(product: Product) -> None:
    agent = added(product)
    assert product.api("POST", f"/v1/agents/{agent.name}/suspend").body["agent"]["suspended"] is True
    assert not passes(product, agent)
    assert product.api("POST", f"/v1/agents/{agent.name}/resume").body["agent"]["suspended"] is False
    assert passes(product, agent)


@does("POST", "/v1/agents/{}/sessions")
@does("DELETE", "/v1/agents/{}/sessions")
def _(product: Product) -> None:
    agent = added(product)
    made = product.api("POST", f"/v1/agents/{agent.name}/sessions", {"seconds": 600})
    assert made.status == 201
    further = Agent(agent.name, made.body["key"], "", product.ca)
    assert passes(product, further)
    rows = {row["name"]: row["session_keys"] for row in product.api("GET", "/v1/agents").body["agents"]}
    assert rows[agent.name] == 1
    assert product.api("DELETE", f"/v1/agents/{agent.name}/sessions", {"key": further.key}) == ApiAnswer(200, {})
    assert not passes(product, further)
    assert passes(product, agent)


@does("GET", "/v1/reviewers")
@does("POST", "/v1/reviewers")
def _(product: Product) -> None:
    who = name()
    made = product.api("POST", "/v1/reviewers", {"name": who})
    assert made.status == 201
    assert made.body["reviewer"] == who
    listed = product.api("GET", "/v1/reviewers")
    assert listed.status == 200
    assert who in [row["name"] for row in listed.body["reviewers"]]
    assert made.body["secret"] not in str(listed.body)
    message = error(product.api("POST", "/v1/reviewers", {"name": who}), 409, "conflict")
    assert message == f"there is a reviewer {who} already"


@does("DELETE", "/v1/reviewers/{}")
def _(product: Product) -> None:
    who = name()
    token = session(product, who)
    review_id = held(product)
    assert product.api("DELETE", f"/v1/reviewers/{who}") == ApiAnswer(200, {})
    path = f"/v1/reviews/{review_id}/approve"
    error(product.api("POST", path, {}, bearer=token), 401, "unauthorized")
    error(product.api("POST", path, {}, basic=(who, product.reviewers[who])), 401, "unauthorized")


@does("POST", "/v1/reviewers/{}/link")
@does("POST", "/v1/login")
def _(product: Product) -> None:
    who = name()
    product.reviewer(who)
    made = product.api("POST", f"/v1/reviewers/{who}/link")
    assert made.status == 201
    first = product.api("POST", "/v1/login", {"link": made.body["link"]})
    assert (first.status, first.body["reviewer"]) == (200, who)
    path = f"/v1/reviews/{held(product)}/reject"
    assert product.api("POST", path, {}, bearer=first.body["token"]).status == 200
    again = product.api("POST", "/v1/login", {"link": made.body["link"]})
    assert "was used before" in error(again, 401, "unauthorized")


@does("POST", "/v1/logout")
def _(product: Product) -> None:
    token = session(product)
    path = f"/v1/reviews/{held(product)}/approve"
    assert product.api("POST", "/v1/logout", bearer=token) == ApiAnswer(200, {})
    error(product.api("POST", path, {}, bearer=token), 401, "unauthorized")
    assert product.api("POST", "/v1/logout").status == 200, "to log out twice is no mistake"


@does("GET", "/v1/reviews")
def _(product: Product) -> None:
    pending, rejected = held(product), held(product)
    product.decide(rejected, "reject")

    def listed(query: str) -> list[str]:
        answer = product.api("GET", f"/v1/reviews{query}")
        assert answer.status == 200
        return [row["review_id"] for row in answer.body["reviews"]]

    assert {pending, rejected} <= set(listed(""))
    assert pending in listed("?state=pending")
    assert rejected not in listed("?state=pending")
    assert {pending, rejected} <= set(listed("?state=pending&state=rejected"))
    assert len(listed("?limit=1")) == 1


@does("GET", "/v1/reviews/changes")
def _(product: Product) -> None:
    version = product.api("GET", "/v1/reviews/changes").body["version"]
    review_id = held(product)
    found = product.api("GET", f"/v1/reviews/changes?after={version}&wait=60")
    assert [row["review_id"] for row in found.body["reviews"]] == [review_id]
    version = found.body["version"]
    assert product.api("GET", f"/v1/reviews/changes?after={version}").body == {"reviews": [], "version": version}
    with ThreadPoolExecutor(1) as pool:
        poll = pool.submit(product.api, "GET", f"/v1/reviews/changes?after={version}&wait=60")
        product.decide(review_id, "reject")
        (row,) = poll.result(30).body["reviews"]
    assert (row["review_id"], row["state"]) == (review_id, "rejected")


@does("GET", "/v1/reviews/{}")
def _(product: Product) -> None:
    review_id = held(product)
    answer = product.api("GET", f"/v1/reviews/{review_id}")
    assert answer.status == 200
    row = answer.body
    assert (row["review_id"], row["state"], row["tool"], row["tier"]) == (
        *(review_id, "pending", "github.repos.delete", "irreversible"),
    )
    assert (row["waiting"], row["reviewer"], row["decided_at"]) == (0, None, None)
    assert row["created_at"] < row["expires_at"]
    assert row["arguments"]["owner"] == "acme"


@does("POST", "/v1/reviews/{}/approve")
@does("POST", "/v1/reviews/{}/reject")
def _(product: Product) -> None:
    approved, rejected = held(product), held(product)
    answer = product.api(
        "POST", f"/v1/reviews/{approved}/approve", {"note": "fine", "channel": "phone"}, bearer=session(product)
    )
    assert answer.status == 200
    row = answer.body
    assert (row["state"], row["reviewer"], row["channel"], row["note"]) == ("approved", "rita", "phone", "fine")
    answer = product.decide(rejected, "reject")
    assert (answer.status, answer.body["state"], answer.body["channel"]) == (200, "rejected", "api")

    before = product.log(kind="verdict")
    assert product.decide(rejected, "reject").status == 200, "the same verdict again changes nothing"
    late = product.decide(rejected, "approve")
    assert error(late, 409, "conflict") == "the review is rejected already; nothing was changed"
    assert late.body["state"] == "rejected"
    assert product.log(kind="verdict") == before


@does("GET", "/v1/spend")
def _(product: Product) -> None:
    who = name()
    product.api("POST", "/v1/agents", {"name": who, "cap_usd": "2.5"})
    answer = product.api("GET", "/v1/spend")
    assert answer.status == 200
    (row,) = (row for row in answer.body["spend"] if row["agent"] == who)
    assert (row["settled_nano"], row["reserved_nano"], row["cap_usd"], row["source"]) == (0, 0, 2.5, "agent")
    assert row["window_seconds"] == 86_400


@does("GET", "/v1/log")
def _(product: Product) -> None:
    agent = added(product)
    for path in ("/user", "/repos/acme/website", "/repos/acme/docs"):
        assert call(product, agent, path=path).status == 200

    def listed(**query: object) -> list[dict[str, Any]]:
        answer = product.api("GET", "/v1/log?" + "&".join(f"{key}={value}" for key, value in query.items()))
        assert answer.status == 200
        found: list[dict[str, Any]] = answer.body["log"]
        assert [entry["seq"] for entry in found] == sorted(entry["seq"] for entry in found)
        return found

    intents = listed(agent=agent.name, kind="intent")
    tools = [entry["record"]["tool"] for entry in intents]
    assert tools == ["github.users.get-authenticated", "github.repos.get", "github.repos.get"]
    assert len(listed(agent=agent.name, tool="github.repos.get", kind="intent")) == 2
    first, second, third = intents
    assert listed(agent=agent.name, kind="intent", limit=1) == [third], "the newest"
    assert listed(agent=agent.name, kind="intent", before=third["seq"]) == [first, second]
    at = second["record"]["at_us"]
    assert second in listed(agent=agent.name, since=at)
    assert first not in listed(agent=agent.name, since=at)
    assert third not in listed(agent=agent.name, until=at)
    assert {entry["record"]["outcome"] for entry in listed(agent=agent.name, outcome="ALLOW")} == {"ALLOW"}
    assert second["values"]["arguments"] == {"owner": "acme", "repo": "website"}
    assert listed(agent="nobody") == listed(call="0") == []


@does("GET", "/v1/calls/{}")
def _(product: Product) -> None:
    agent = added(product)
    call(product, agent)
    (intent,) = product.log(agent=agent.name, kind="intent")
    answer = product.api("GET", f"/v1/calls/{intent['call_id']}")
    assert answer.status == 200
    kinds = [entry["record"]["kind"] for entry in answer.body["log"]]
    assert kinds[0] == "intent"
    assert set(kinds) <= {"intent", "result"}


@does("GET", "/v1/policy")
@does("POST", "/v1/policy/apply")
def _(product: Product) -> None:
    assert product.policy is not None
    file = product.policy / "policy.yaml"
    before = product.api("GET", "/v1/policy")
    assert before.status == 200
    assert before.body["differs"] is False
    text = file.read_text()
    try:
        file.write_text(text.replace("wait: 100ms", "wait: 200ms"))
        look = product.api("POST", "/v1/policy/apply", {"dry_run": True})
        assert (look.status, look.body["applied"], look.body["problems"]) == (200, False, [])
        assert product.api("GET", "/v1/policy").body["digest"] == before.body["digest"]
        done = product.api("POST", "/v1/policy/apply", {"by": "ada"})
        assert (done.body["applied"], done.body["failures"]) == (True, [])
        assert product.api("GET", "/v1/policy").body["digest"] == done.body["digest"] != before.body["digest"]
        assert product.log(kind="policy")[-1]["by"] == "ada"
        file.write_text("version: 1\nrulez: []\n")
        wrong = product.api("POST", "/v1/policy/apply", {}).body
        assert wrong["applied"] is False
        assert "unknown key `rulez`" in wrong["problems"][0]
    finally:
        file.write_text(text)
        assert product.api("POST", "/v1/policy/apply", {}).body["applied"]


@does("POST", "/v1/head")
def _(product: Product) -> None:
    call(product, added(product))
    exports = len(product.log(kind="export"))
    first = product.api("POST", "/v1/head", {"reason": "a look"})
    assert first.status == 200
    assert first.body["note"].split("\n")[1] == str(first.body["seq"] + 1), "the note's size counts every record"
    assert len(product.log(kind="export")) == exports
    second = product.api("POST", "/v1/head", {"reason": "export"})
    assert second.body["seq"] > first.body["seq"]
    assert len(product.log(kind="export")) == exports + 1


def test_a_head_of_a_live_node_covers_an_export_that_verifies(product: Product, tmp_path: Path) -> None:
    call(product, added(product))
    product.decide(held(product), "reject")
    kept = tmp_path / "kept.head"
    kept.write_text(product.api("POST", "/v1/head").body["note"])
    bundle = tmp_path / "bundle"

    def run(*words: object) -> str:
        done = subprocess.run(
            [sys.executable, *map(str, words)], capture_output=True, text=True, timeout=100, check=False
        )
        assert done.returncode == 0, done.stdout + done.stderr
        return done.stdout

    run(ROOT / "scripts" / "export_audit.py", "--home", product.home, "--out", bundle)
    key = product.home / "register-key.pub"
    run(ROOT / "scripts" / "verify_audit.py", bundle, "--key", key, "--head", kept)
    assert product.api("GET", "/v1/health").body["ready"]
    assert passes(product, added(product))


# what no route takes


def test_every_other_method_is_refused(product: Product) -> None:
    wrong = []
    for path, methods in paths().items():
        for method in set(METHODS) - set(methods):
            answer = product.api(method, path.replace("{}", "nobody"), {} if method in ("PUT", "PATCH") else None)
            code = answer.body["error"]["code"] if answer.body else "not_allowed"  # HEAD has no body
            if (answer.status, code) != (405, "not_allowed"):
                wrong.append((method, path, answer))
    assert wrong == []


@pytest.mark.parametrize("path", ["/", "/v1", "/v1/", "/v2/health", "/v1/health/", "/v1/agents/x/promote", "/v1/agent"])
def test_other_paths_are_not_there(product: Product, path: str) -> None:
    for method in ("GET", "POST", "DELETE"):
        error(product.api(method, path), 404, "not_found")


@pytest.mark.parametrize(
    ("method", "path", "body", "said"),
    [
        ("DELETE", "/v1/agents/{}", None, "there is no agent {}"),
        ("POST", "/v1/agents/{}/rotate", None, "there is no agent {}"),
        ("POST", "/v1/agents/{}/suspend", None, "there is no agent {}"),
        ("POST", "/v1/agents/{}/resume", None, "there is no agent {}"),
        ("POST", "/v1/agents/{}/sessions", {"seconds": 1}, "there is no agent {}"),
        ("DELETE", "/v1/agents/{}/sessions", {"key": "k"}, "there is no agent {}"),
        ("DELETE", "/v1/reviewers/{}", None, "there is no reviewer {}"),
        ("POST", "/v1/reviewers/{}/link", None, "there is no reviewer {}"),
        ("GET", "/v1/reviews/{}", None, "there is no such review"),
        ("POST", "/v1/reviews/{}/approve", {}, "there is no such review"),
        ("POST", "/v1/reviews/{}/reject", {}, "there is no such review"),
        ("GET", "/v1/calls/{}", None, "there is no such call or review"),
    ],
)
def test_unknown_names_are_told(product: Product, method: str, path: str, body: object, said: str) -> None:
    basic = ("rita", product.reviewer("rita")) if path.startswith("/v1/reviews/") else None
    for unknown in ("nobody", UNKNOWN, "No Body/../§", "x" * 300, "\x1b[2J"):
        answer = product.api(method, path.format(quote(unknown, safe="")), body, basic=basic)
        assert error(answer, 404, "not_found") == said.format(unknown)


MISTAKES = [
    ("POST", "/v1/agents", {}, ["name"]),
    ("POST", "/v1/agents", {"name": "A", "labels": {"E": "x", "env": 1}, "cap_usd": "-1", "capp": 1},
     ["name", "labels.E", "labels.env", "cap_usd", "capp"]),
    ("POST", "/v1/agents", {"name": "resume-all"}, ["name"]),
    ("POST", "/v1/agents", {"name": "suspend-all", "labels": {"a": "x" * 201}}, ["name", "labels.a"]),
    ("POST", "/v1/agents", {"name": "a", "labels": {f"l{n}": "" for n in range(51)}}, ["labels"]),
    *(("POST", "/v1/agents", {"name": "a", "cap_usd": cap}, ["cap_usd"])
      for cap in ("", "five", "NaN", "Infinity", "-0.01", "1e30", "1e99999999", "9" * 100, 5, True, ["5"])),
    *(("POST", "/v1/agents", {"name": wrong}, ["name"]) for wrong in ("", "-a", "a b", "ä", "a" * 65, "a/b", 1, None)),
    ("POST", "/v1/agents/nobody/sessions", {"seconds": 0, "second": 1}, ["seconds", "second"]),
    ("POST", "/v1/agents/nobody/sessions", {"seconds": 7 * 86_400 + 1}, ["seconds"]),
    ("POST", "/v1/agents/nobody/sessions", {"seconds": "60"}, ["seconds"]),
    ("DELETE", "/v1/agents/nobody/sessions", {"key": 1, "all": True}, ["key", "all"]),
    ("POST", "/v1/reviewers", {"name": "Rita", "secret": "x"}, ["name", "secret"]),
    ("POST", "/v1/login", {"reviewer": "R", "secret": 1, "link": 2}, ["reviewer", "secret", "link"]),
    ("POST", "/v1/policy/apply", {"by": 1, "dry_run": "yes"}, ["by", "dry_run"]),
    ("POST", "/v1/head", {"reason": "x" * 201, "sign": True}, ["reason", "sign"]),
]  # fmt: skip


@pytest.mark.parametrize(("method", "path", "body", "wrong"), MISTAKES)
def test_a_wrong_body_is_told_with_all_its_mistakes(
    product: Product, method: str, path: str, body: object, wrong: list[str]
) -> None:
    before = product.log(kind="admin")
    message = error(product.api(method, path, body), 400, "bad_request")
    assert [mistake.partition(": ")[0] for mistake in message.split("; ")] == wrong
    assert product.log(kind="admin") == before


def test_a_wrong_verdict_is_told_with_all_its_mistakes(product: Product) -> None:
    review_id = held(product)
    body = {"note": "x" * 2001, "channel": "CLI!", "reviewer": "ada"}
    answer = product.api("POST", f"/v1/reviews/{review_id}/approve", body, basic=("rita", product.reviewer("rita")))
    message = error(answer, 400, "bad_request")
    assert [mistake.partition(": ")[0] for mistake in message.split("; ")] == ["note", "channel", "reviewer"]
    assert product.api("GET", f"/v1/reviews/{review_id}").body["state"] == "pending"


@pytest.mark.parametrize("body", [{}, {"reviewer": "rita"}, {"secret": "x"}])
def test_half_a_login_is_a_mistake(product: Product, body: object) -> None:
    message = error(product.api("POST", "/v1/login", body), 400, "bad_request")
    assert message == "a login is a reviewer and a secret, or a link"


def raw(product: Product, data: bytes) -> Answer:
    """What the socket answers to exactly these bytes."""
    connection = socket.socket(socket.AF_UNIX)
    connection.settimeout(20)
    connection.connect(str(product.home / "private" / "api.sock"))
    with Wire(connection) as wire:
        return wire.ask(data)


@pytest.mark.parametrize("body", [b"{", b"[]", b"null", b"7", b'"name"', b"\xff", b'{"name": "a\x00"}', b"[" * 5000])
def test_what_is_no_json_object_is_refused(product: Product, body: bytes) -> None:
    answer = raw(product, request("POST", "localhost", "/v1/agents", body))
    assert (answer.status, answer.code) == (400, "bad_request")
    assert answer.header("content-type") == "application/json"


def test_a_body_too_large_is_refused_and_one_far_too_large_is_not_read(product: Product) -> None:
    body = b'{"name": "' + b"a" * MOST_BODY_BYTES + b'"}'
    answer = raw(product, request("POST", "localhost", "/v1/agents", body))
    assert (answer.status, answer.code) == (413, "too_large")
    head = f"POST /v1/agents HTTP/1.1\r\nHost: localhost\r\nContent-Length: {MOST_READ_BYTES + 1}\r\n\r\n"
    assert raw(product, head.encode()).status == 400
    assert product.api("GET", "/v1/health").status == 200


@pytest.mark.parametrize(
    "query",
    ["limit=x", "limit=-1", "limit=1.5", "limit=", "limit=100001", "limit=" + "9" * 5000, "limit=%D9%A3", "since=2e9",
     "until=now", "before=-0", "agent=%ff"],
)  # fmt: skip
def test_a_wrong_query_is_told(product: Product, query: str) -> None:
    error(product.api("GET", f"/v1/log?{query}"), 400, "bad_request")


def test_a_wrong_query_for_reviews_is_told(product: Product) -> None:
    assert "pending" in error(product.api("GET", "/v1/reviews?state=open"), 400, "bad_request")
    error(product.api("GET", "/v1/reviews?limit=5001"), 400, "bad_request")
    error(product.api("GET", "/v1/reviews/changes?after=x"), 400, "bad_request")
    error(product.api("GET", "/v1/reviews/changes?wait=601"), 400, "bad_request")


@pytest.mark.parametrize("field", ["Origin: https://evil.example", "Origin: null", "Sec-Fetch-Site: same-origin"])
def test_a_browser_is_refused(product: Product, field: str) -> None:
    answer = raw(product, request("POST", "localhost", "/v1/agents/suspend-all", b"", field, "Content-Length: 0"))
    assert (answer.status, answer.code) == (403, "forbidden")


def test_answers_are_not_kept(product: Product) -> None:
    assert raw(product, request("GET", "localhost", "/v1/health")).header("cache-control") == "no-store"


# who may decide


def test_a_verdict_needs_a_reviewer(product: Product) -> None:
    agent, review_id = added(product), held(product)
    path = f"/v1/reviews/{review_id}/approve"
    error(product.api("POST", path, {}), 401, "unauthorized")
    for token in ("", "x", agent.key, product.reviewer("rita"), session(product)[:-1]):
        error(product.api("POST", path, {}, bearer=token), 401, "unauthorized")
    for basic in (("rita", "wrong"), ("rita", ""), (agent.name, agent.key), ("nobody", "x"), ("", "")):
        error(product.api("POST", path, {}, basic=basic), 401, "unauthorized")
    for credential in ("Basic", "Basic !!!", "Basic /w==", "Digest x", "Bearer"):
        fields = f"Authorization: {credential}", "Content-Length: 0"
        assert raw(product, request("POST", "localhost", path, b"", *fields)).status == 401
    assert product.api("GET", f"/v1/reviews/{review_id}").body["state"] == "pending"
    assert product.decide(review_id, "approve").status == 200


def test_a_wrong_secret_logs_nobody_in_and_slows_the_next_try(product: Product) -> None:
    who = name()
    product.reviewer(who)
    for reviewer in (who, "nobody-at-all"):
        error(product.api("POST", "/v1/login", {"reviewer": reviewer, "secret": "wrong"}), 401, "unauthorized")
    error(product.api("POST", "/v1/login", {"link": "wrong"}), 401, "unauthorized")
    assert session(product, who), "the right one logs in after the pause"


def test_the_api_is_not_reached_through_the_proxy(product: Product) -> None:
    agent, port = added(product), product.proxy_port
    with Wire.open(product.proxy_address) as wire:
        assert wire.ask(request("GET", f"127.0.0.1:{port}", "/v1/health")).status == 407
    for host in ("127.0.0.1", "localhost"):
        with Wire.connected(agent, product.proxy_address, f"{host}:{port}") as wire:
            assert wire.ask(request("GET", f"{host}:{port}", "/v1/health")).code == "destination_forbidden"
