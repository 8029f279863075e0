"""Money moved through Stripe: small charges pass, larger ones wait for a person, what cannot be read is not sent."""

from __future__ import annotations

import json
from collections.abc import Callable, Iterator
from pathlib import Path

import pytest

from support.agents import run_agent
from support.policy import policy_folder
from support.product import Product, client, make_product
from support.providers import Providers
from support.wire import Answer, Wire, request

PASS, HOLD, REFUSE = "pass", "hold", "refuse"
CHARGES, INTENTS = "/v1/charges", "/v1/payment_intents"

TABLE = [
    ("a charge of $99.99", CHARGES, "amount=9999&currency=usd&source=tok_visa", PASS),
    ("a charge of $100.00", CHARGES, "amount=10000&currency=usd&source=tok_visa", PASS),
    ("a charge of $100.01", CHARGES, "amount=10001&currency=usd&source=tok_visa", HOLD),
    ("upper-case currency", CHARGES, "amount=9999&currency=USD&source=tok_visa", PASS),
    ("9999 in another currency", CHARGES, "amount=9999&currency=eur&source=tok_visa", HOLD),
    ("9999 in a currency without minor unit", CHARGES, "amount=9999&currency=jpy&source=tok_visa", HOLD),
    ("no currency", CHARGES, "amount=9999&source=tok_visa", (HOLD, REFUSE)),
    ("no amount", CHARGES, "currency=usd&source=tok_visa", REFUSE),
    ("amount twice", CHARGES, "amount=9999&amount=10001&currency=usd", REFUSE),
    ("amount split", CHARGES, "amount[0]=9999&amount[1]=9999&currency=usd", REFUSE),
    ("amount in query and body", CHARGES + "?amount=10001", "amount=9999&currency=usd", REFUSE),
    ("amount in an encoded name", CHARGES, "amount=9999&%61mount=10001&currency=usd", REFUSE),
    ("exponent", CHARGES, "amount=1e9&currency=usd", (HOLD, REFUSE)),
    ("fraction", CHARGES, "amount=9999.99&currency=usd", (HOLD, REFUSE)),
    ("negative", CHARGES, "amount=-5&currency=usd", (HOLD, REFUSE)),
    ("full-width digits", CHARGES, "amount=%EF%BC%99&currency=usd", (HOLD, REFUSE)),
    ("an intent of $99.99", INTENTS, "amount=9999&currency=usd", PASS),
    ("an intent of $100.01", INTENTS, "amount=10001&currency=usd", HOLD),
    ("an intent with confirm", INTENTS, "amount=5000&currency=usd&confirm=true", HOLD),
    ("an intent of $100.01 with confirm", INTENTS, "amount=10001&currency=usd&confirm=true", HOLD),
    ("confirm", INTENTS + "/pi_1/confirm", "", (HOLD, REFUSE)),
    ("capture of an intent", INTENTS + "/pi_1/capture", "", (HOLD, REFUSE)),
    ("capture of a charge", CHARGES + "/ch_1/capture", "", (HOLD, REFUSE)),
    ("increment over the limit", INTENTS + "/pi_1/increment_authorization", "amount=10001", (HOLD, REFUSE)),
    ("amount update over the limit", INTENTS + "/pi_1", "amount=10001&currency=usd", HOLD),
    ("a refund", "/v1/refunds", "charge=ch_1&amount=1", HOLD),
    ("a refund by the older path", CHARGES + "/ch_1/refund", "amount=1", HOLD),
    ("a refund with an override", CHARGES, "amount=1&currency=usd&_method=DELETE", (HOLD, REFUSE, PASS)),
]


@pytest.fixture(scope="module")
def shared_product(running_providers: Providers, tmp_path_factory: pytest.TempPathFactory) -> Iterator[Product]:
    """A node that holds for a moment only, so that a held call is told at once."""
    folder = tmp_path_factory.mktemp("stripe")
    product = make_product(
        running_providers, folder, policy=policy_folder(folder / "policy", wait="1s", open_reviews=100)
    )
    product.start()
    yield product
    product.stop()


def ask(product: Product, target: str, body: str) -> Answer:
    agent = product.agent("shop")
    with Wire.tunnel(agent, product.proxy_address, "api.stripe.com") as wire:
        fields = ("Authorization: Bearer sk_test", "Content-Type: application/x-www-form-urlencoded")
        if not body:
            fields += ("Content-Length: 0",)
        return wire.ask(request("POST", "api.stripe.com", target, body.encode(), *fields))


def outcome(answer: Answer) -> str:
    if answer.status == 200:
        return PASS
    assert answer.status == 403, answer
    return {"ESCALATE": HOLD, "BLOCK": REFUSE}[answer.decision["outcome"]]


@pytest.mark.parametrize(("target", "body", "expected"), [row[1:] for row in TABLE], ids=[row[0] for row in TABLE])
def test_table(product: Product, providers: Providers, target: str, body: str, expected: str | tuple[str, ...]) -> None:
    found = outcome(ask(product, target, body))
    assert found in (expected if isinstance(expected, tuple) else (expected,))
    assert len(providers.stand_in.seen("POST")) == (1 if found == PASS else 0)


def test_refunds_have_a_budget_of_their_own(
    new_product: Callable[..., Product], providers: Providers, tmp_path: Path
) -> None:
    folder = policy_folder(tmp_path / "policy")
    amount = "has(args.amount) ? usd(args.amount, 'usd') : 40.0"
    (folder / "refunds.yaml").write_text(
        "budgets:\n"
        f'  - {{shared: refunds, tools: [stripe.refunds.create], counts: "{amount}", cap: $100, window: 1h}}\n'
        "rules:\n"
        "  - {name: refunds, effect: allow, tools: [stripe.refunds.create], reason: The budget guards them.}\n"
    )
    product = new_product(policy=folder).start()
    assert ask(product, "/v1/refunds", "charge=ch_1&amount=5999").status == 200
    assert ask(product, "/v1/refunds", "charge=ch_2").status == 200
    full = ask(product, "/v1/refunds", "charge=ch_3&amount=2")
    assert (full.status, full.code) == (403, "cost_limit_exceeded")
    told = {name: full.decision[name] for name in ("budget", "currentCostUsd", "thresholdUsd", "neededUsd")}
    assert told == {"budget": "refunds", "currentCostUsd": 99.99, "thresholdUsd": 100.0, "neededUsd": 0.02}
    assert "budget=refunds" in (ask(product, "/v1/refunds", "charge=ch_4&amount=1").header("douane-budget") or "")
    unknown = ask(product, "/v1/refunds", "charge=ch_5&amount=0")
    assert (unknown.status, unknown.decision["rule"]) == (403, "budget.refunds")
    assert len(providers.stand_in.seen("POST", "/v1/refunds")) == 3
    rows = {row["agent"]: row for row in json.loads(product.run("spend", "--json").stdout)}
    assert (rows["@refunds"]["settled_nano"], rows["@refunds"]["reserved_nano"]) == (100 * 10**9, 0)
    assert rows["shop"]["settled_nano"] == 0


@pytest.mark.sdk
def test_stripes_own_client_sees_a_held_refund_as_an_error(product: Product, providers: Providers) -> None:
    calls = [
        ["charges", "create", {"amount": 9999, "currency": "usd", "source": "tok_visa"}],
        ["charges", "create", {"amount": 10_001, "currency": "usd", "source": "tok_visa"}],
        ["refunds", "create", {"charge": "ch_1"}],
    ]
    small, large, refund = run_agent(product, product.agent("sdk"), [*client("stripe_money.py"), json.dumps(calls)])
    assert small["id"].startswith("ch_")
    for told, tool in ((large, "stripe.charges.create"), (refund, "stripe.refunds.create")):
        assert (told["status"], told["error"]) == (403, "PermissionError")
        assert told["decision"]["outcome"] == "ESCALATE"
        assert told["decision"]["tool"] == tool
    assert len(providers.stand_in.seen("POST")) == 1, "retried, or let through"


@pytest.mark.sdk
def test_an_approved_refund_is_sent_once_with_the_clients_retry_key(
    new_product: Callable[..., Product], providers: Providers, tmp_path: Path
) -> None:
    product = new_product(policy=policy_folder(tmp_path / "policy", wait="1s")).start()
    agent = product.agent("shop")
    command = [*client("stripe_money.py"), json.dumps([["refunds", "create", {"charge": "ch_9"}]])]
    (told,) = run_agent(product, agent, command)
    assert told["decision"]["outcome"] == "ESCALATE"
    (review,) = product.reviews("pending")
    assert product.decide(review["review_id"], "approve").status == 200
    (made,) = run_agent(product, agent, command)
    assert made["id"].startswith("re_")
    (sent,) = providers.stand_in.seen("POST", "/v1/refunds")
    assert sent.header("idempotency-key")
