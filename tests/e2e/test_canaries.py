"""Planted secrets appear in no log, record, database, card, export or error."""

from __future__ import annotations

import json
import sqlite3
import subprocess
import sys
from collections.abc import Callable
from pathlib import Path

import pytest

from support.policy import policy_folder
from support.product import Agent, Product, eventually
from support.providers import UNMAPPED, Providers
from support.wire import Answer, ConnectRefused, Wire, request

ROOT = Path(__file__).parents[2]

HEADER = "ghp_CANARYheader0123456789abcdefghijklmn"
URL = "AIzaCANARYurl0123456789abcdefghijklmnopq"
BODY = "sk-CANARYbody0123456789abcdefghijklmnopqrstuv"
FORM = "sk_live_CANARYform0123456789abcd"
COOKIE = "session=CANARYcookie0123456789"
PATH = "bot110201543:CANARYpathAAHdqTcvCH1vGWJxfSeofSAs0K5PALDsaw"


def ask(product: Product, agent: Agent, host: str, sent: bytes) -> Answer:
    with Wire.tunnel(agent, product.proxy_address, host) as wire:
        return wire.ask(sent)


@pytest.fixture
def canaries(new_product: Callable[..., Product], providers: Providers, tmp_path: Path) -> tuple[Product, list[bytes]]:
    """A node that has seen secrets in every place, with everything it answered."""
    product = new_product(policy=policy_folder(tmp_path / "policy", wait="1s"), command="up").start()
    agent = product.agent("careless", cap_usd="1")
    product.reviewer("rita")
    json_type = "Content-Type: application/json"
    chat = {"model": "gpt-4.1-mini", "max_tokens": 50, "messages": [{"role": "user", "content": BODY}], "api_key": BODY}
    secret_body = json.dumps({"name": "x", "token": BODY, "password": BODY, "nested": {"client_secret": BODY}}).encode()
    header = f"Authorization: Bearer {HEADER}"
    repository, key, chats = "/repos/acme/website", f"X-Api-Key: {HEADER}", json.dumps(chat).encode()
    sent = [
        ("api.github.com", "GET", "/user", b"", header, f"Cookie: {COOKIE}"),
        ("api.github.com", "GET", f"/user?access_token={URL}&key={URL}", b"", header),
        ("api.github.com", "DELETE", f"{repository}?access_token={URL}", b"", header),
        ("api.github.com", "PATCH", repository, secret_body, header, json_type),
        ("api.openai.com", "POST", "/v1/chat/completions", chats, header, json_type),
        (UNMAPPED, "GET", f"/{PATH}/getMe?key={URL}", b"", key),
        (UNMAPPED, "DELETE", f"/{PATH}/things?sig={URL}", secret_body, key, json_type),
        (UNMAPPED, "POST", "/v1/chat/completions", chats, header, json_type),
        ("api.stripe.com", "POST", "/v1/refunds", f"charge=ch_1&key={FORM}".encode(), header),
        ("api.github.com", "GET", "/user", b"", f"Host: {HEADER}", header),
        ("api.github.com", "GET", f"/user/../{URL}", b"", header),
        ("api.github.com", "GET", "/user", b"", f"Upgrade: {HEADER}", header),
    ]
    answers = []
    for host, method, target, body, *fields in sent:
        answer = ask(product, agent, host, request(method, host, target, body, *fields))
        answers.append(repr(answer.headers).encode() + (b"" if answer.status == 200 else answer.body))
    wrong = Agent("careless", HEADER, "", agent.ca)
    with pytest.raises(ConnectRefused):
        Wire.tunnel(wrong, product.proxy_address, "api.github.com")
    eventually(lambda: product.spend("careless")["reserved_usd"] == 0, "the results")
    return product, answers


def test_planted_secrets_appear_nowhere(canaries: tuple[Product, list[bytes]], tmp_path: Path) -> None:
    product, answers = canaries
    assert len(product.log(kind="intent")) >= 3
    assert len(product.reviews()) >= 2
    places: dict[str, bytes] = {f"answer {number}": answer for number, answer in enumerate(answers)}
    places["api: reviews"] = json.dumps(product.reviews()).encode()
    places["api: log"] = json.dumps(product.log()).encode()
    places["api: health"] = json.dumps(product.api("GET", "/v1/health").body).encode()
    places["douane log"] = product.run("log").stdout.encode()
    places["douane reviews list"] = product.run("reviews", "list").stdout.encode()
    for review in product.reviews():
        shown = product.run("reviews", "show", review["review_id"])
        places[f"douane reviews show {review['tool']}"] = shown.stdout.encode() + shown.stderr.encode()
    assert product.stop() == 0
    places["output"] = product.output().encode()
    bundle = tmp_path / "bundle"
    export = [sys.executable, str(ROOT / "scripts" / "export_audit.py"), "--home", str(product.home), str(bundle)]
    done = subprocess.run(export, capture_output=True, timeout=120, check=False)
    assert done.returncode == 0, done.stderr
    for path in [*product.home.rglob("*"), *bundle.rglob("*")]:
        if path.is_file() and not path.is_socket():
            places[str(path.relative_to(tmp_path))] = path.read_bytes()
    found = {
        where: canary
        for where, content in places.items()
        for canary in (HEADER, URL, BODY, FORM, COOKIE.partition("=")[2], PATH.partition(":")[2])
        if canary.encode() in content
    }
    assert found == {}
    keys = {agent.key for agent in product.agents.values()} | set(product.reviewers.values())
    assert not {where for where, content in places.items() for key in keys if key.encode() in content}
    with sqlite3.connect(f"file:{product.home / 'private' / 'douane.db'}?mode=ro", uri=True) as database:
        dump = "\n".join(database.iterdump())
    database.close()
    assert "CANARY" not in dump
