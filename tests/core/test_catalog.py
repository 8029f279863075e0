"""The shipped catalog: what calls come to, in which tier, and that the matcher finds the worst of what could be."""

from __future__ import annotations

import random
import re
from typing import Any

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from douane.core.catalog.operation import Operation
from douane.core.catalog.shard import Shard, ShardInvalid, shard_from_json
from douane.core.catalog.trie import Route, trie_of
from douane.core.refusal import RequestAmbiguous
from douane.core.tool import Nature, Tier
from support.requests import canonical, classified, shipped_catalog

GITHUB, STRIPE = "https://api.github.com", "https://api.stripe.com"
OPENAI, ANTHROPIC = "https://api.openai.com", "https://api.anthropic.com"
R, V, X = Tier.REVERSIBLE, Tier.VISIBLE, Tier.IRREVERSIBLE

TABLE = [
    # GitHub
    ("GET", f"{GITHUB}/repos/acme/site", {}, "github.repos.get", R),
    ("HEAD", f"{GITHUB}/repos/acme/site", {}, "github.repos.get", R),
    ("GET", f"{GITHUB}/repos/acme/site/contents/src/a/b.py?ref=main", {}, "github.repos.get-content", R),
    ("GET", f"{GITHUB}/repos/acme/site/contents/src%2Fa.py", {}, "github.repos.get-content", R),
    ("GET", f"{GITHUB}/repos/acme/site/compare/main...feature/x", {}, "github.repos.compare-commits-with-basehead", R),
    ("GET", f"{GITHUB}/repos/acme/site/compare/main...dev", {}, "github.repos.compare-commits", R),
    (
        "POST",
        f"{GITHUB}/orgs/acme/advanced_security/disable_all",
        {},
        "github.orgs.enable-or-disable-security-product-on-all-org-repos",
        X,
    ),
    ("POST", f"{GITHUB}/orgs/acme/actions/variables", {"json": {}}, "github.actions.create-org-variable", V),
    ("DELETE", f"{GITHUB}/repos/acme/site", {}, "github.repos.delete", X),
    ("DELETE", f"{GITHUB}/repos/acme/site/", {}, "github.repos.delete", X),
    ("DELETE", f"{GITHUB}/repos/acme/site.json", {}, "github.repos.delete", X),
    ("DELETE", f"{GITHUB}/repositories/1296269", {}, "github.repos.delete", X),
    ("DELETE", "http://api.github.com/repos/acme/site", {}, "github.repos.delete", X),
    ("DELETE", f"{GITHUB}/repos/acme/site/git/refs/heads/feature/x", {}, "github.git.delete-ref", X),
    ("DELETE", f"{GITHUB}/repos/acme/site/git/refs/heads%2Ffeature%2Fx", {}, "github.git.delete-ref", X),
    ("DELETE", f"{GITHUB}/repositories/1/git/refs/heads/main", {}, "github.git.delete-ref", X),
    ("DELETE", f"{GITHUB}/repos/acme/site/issues/1/labels/bug", {}, "github.issues.remove-label", R),
    ("DELETE", f"{GITHUB}/user/starred/acme/site", {}, "github.activity.unstar-repo-for-authenticated-user", R),
    ("DELETE", f"{GITHUB}/orgs/acme", {}, "github.orgs.delete", X),
    ("DELETE", f"{GITHUB}/organizations/1", {}, "github.orgs.delete", X),
    ("PATCH", f"{GITHUB}/repos/acme/site", {"json": {"description": "x"}}, "github.repos.update", V),
    ("PATCH", f"{GITHUB}/repos/acme/site", {"json": {"private": False}}, "github.repos.update", X),
    ("PATCH", f"{GITHUB}/repos/acme/site", {"json": {"archived": True}}, "github.repos.update", X),
    ("POST", f"{GITHUB}/repos/acme/site", {"json": {"visibility": "public"}}, "github.repos.update", X),
    (
        "PATCH",
        f"{GITHUB}/repos/a/s/git/refs/heads/x",
        {"json": {"sha": "1", "force": False}},
        "github.git.update-ref",
        V,
    ),
    (
        "PATCH",
        f"{GITHUB}/repos/a/s/git/refs/heads/x",
        {"json": {"sha": "1", "force": True}},
        "github.git.update-ref",
        X,
    ),
    ("PATCH", f"{GITHUB}/repos/a/s/git/refs/heads/x", {"json": {"sha": "1", "force": "1"}}, "github.git.update-ref", X),
    ("PUT", f"{GITHUB}/repos/acme/site/pulls/1/merge", {}, "github.pulls.merge", X),
    ("POST", f"{GITHUB}/repos/acme/site/merges", {"json": {"base": "a", "head": "b"}}, "github.repos.merge", X),
    ("POST", f"{GITHUB}/repos/acme/site/issues", {"json": {"title": "x"}}, "github.issues.create", V),
    ("POST", f"{GITHUB}/repos/acme/site/releases", {"json": {"tag_name": "v1"}}, "github.repos.create-release", X),
    (
        "POST",
        f"{GITHUB}/repos/acme/site/actions/workflows/1/dispatches",
        {"json": {"ref": "x"}},
        "github.actions.create-workflow-dispatch",
        X,
    ),
    ("PUT", f"{GITHUB}/repos/acme/site/collaborators/bob", {}, "github.repos.add-collaborator", X),
    (
        "PUT",
        f"{GITHUB}/repos/acme/site/actions/secrets/A",
        {"json": {}},
        "github.actions.create-or-update-repo-secret",
        X,
    ),
    (
        "PUT",
        f"{GITHUB}/repos/acme/site/branches/main/protection",
        {"json": {}},
        "github.repos.update-branch-protection",
        X,
    ),
    ("POST", f"{GITHUB}/markdown", {"json": {"text": "x"}}, "github.markdown.render", R),
    ("GET", f"{GITHUB}/repos/acme/site/secret-scanning/alerts", {}, "github.secret-scanning.list-alerts-for-repo", V),
    (
        "POST",
        "https://uploads.github.com/repos/acme/site/releases/1/assets?name=x",
        {"body": "PK\x03\x04"},
        "github.repos.upload-release-asset",
        X,
    ),
    ("POST", f"{GITHUB}/nothing/known", {"json": {}}, "github.unmatched.post", X),
    ("GET", f"{GITHUB}/nothing/known", {}, "github.unmatched.get", R),
    ("PUT", f"{GITHUB}/Repos/acme/site", {"json": {}}, "github.unmatched.put", X),
    # Stripe
    ("GET", f"{STRIPE}/v1/charges/ch_1", {}, "stripe.charges.retrieve", R),
    ("POST", f"{STRIPE}/v1/refunds", {"form": "charge=ch_1"}, "stripe.refunds.create", X),
    ("POST", f"{STRIPE}/v1/charges/ch_1/refund", {}, "stripe.charges.refund", X),
    ("POST", f"{STRIPE}/v1/charges/ch_1/refunds", {"form": "amount=1"}, "stripe.charges.refund", X),
    ("POST", f"{STRIPE}/v1/charges", {"form": "amount=9999&currency=usd"}, "stripe.charges.create", V),
    ("POST", f"{STRIPE}/v1/payment_intents", {"form": "amount=9999&currency=usd"}, "stripe.payment_intents.create", V),
    (
        "POST",
        f"{STRIPE}/v1/payment_intents",
        {"form": "amount=9&currency=usd&confirm=true"},
        "stripe.payment_intents.create",
        X,
    ),
    (
        "POST",
        f"{STRIPE}/v1/payment_intents",
        {"form": "amount=9&currency=usd&confirm=1"},
        "stripe.payment_intents.create",
        X,
    ),
    (
        "POST",
        f"{STRIPE}/v1/payment_intents",
        {"form": "amount=9&currency=usd&confirm=false"},
        "stripe.payment_intents.create",
        V,
    ),
    ("POST", f"{STRIPE}/v1/payment_intents/pi_1/confirm", {}, "stripe.payment_intents.confirm", V),
    ("POST", f"{STRIPE}/v1/payment_intents/pi_1/capture", {}, "stripe.payment_intents.capture", V),
    (
        "POST",
        f"{STRIPE}/v1/payment_intents/pi_1/increment_authorization",
        {"form": "amount=5"},
        "stripe.payment_intents.increment_authorization",
        V,
    ),
    ("POST", f"{STRIPE}/v1/payment_intents/pi_1", {"form": "amount=5"}, "stripe.payment_intents.update", V),
    ("POST", f"{STRIPE}/v1/charges/ch_1/capture", {}, "stripe.charges.capture", V),
    ("POST", f"{STRIPE}/v1/payouts", {"form": "amount=1&currency=usd"}, "stripe.payouts.create", X),
    ("POST", f"{STRIPE}/v1/transfers", {"form": "amount=1&currency=usd"}, "stripe.transfers.create", X),
    ("POST", f"{STRIPE}/v1/subscriptions", {"form": "customer=c"}, "stripe.subscriptions.create", X),
    ("POST", f"{STRIPE}/v1/invoices/in_1/pay", {}, "stripe.invoices.pay", X),
    ("POST", f"{STRIPE}/v1/accounts/a", {"form": "external_account[iban]=x"}, "stripe.accounts.update", X),
    ("POST", f"{STRIPE}/v1/accounts/a", {"form": "email=x"}, "stripe.accounts.update", V),
    ("POST", f"{STRIPE}/v1/customers", {"form": "email=x"}, "stripe.customers.create", V),
    ("DELETE", f"{STRIPE}/v1/customers/cus_1", {}, "stripe.customers.delete", X),
    ("POST", f"{STRIPE}/v1/bitcoin/receivers", {"form": "a=1"}, "stripe.unmatched.post", X),
    ("POST", "https://connect.stripe.com/oauth/deauthorize", {"form": "a=1"}, "stripe.unmatched.post", X),
    # models
    (
        "POST",
        f"{OPENAI}/v1/chat/completions",
        {"json": {"model": "m", "messages": []}},
        "openai.chat.completions.create",
        V,
    ),
    ("POST", f"{OPENAI}/v1/responses", {"json": {"model": "m", "input": "x"}}, "openai.responses.create", V),
    ("POST", f"{OPENAI}/v1/embeddings", {"json": {"model": "m", "input": "x"}}, "openai.embeddings.create", V),
    ("POST", f"{OPENAI}/v1/moderations", {"json": {"input": "x"}}, "openai.moderations.create", R),
    ("GET", f"{OPENAI}/v1/models", {}, "openai.models.list", R),
    ("DELETE", f"{OPENAI}/v1/files/f", {}, "openai.files.delete", X),
    ("DELETE", f"{OPENAI}/v1/models/ft:x", {}, "openai.models.delete", X),
    (
        "POST",
        f"{OPENAI}/v1/organization/admin_api_keys",
        {"json": {}},
        "openai.admin.organization.admin_api_keys.create",
        X,
    ),
    ("POST", f"{OPENAI}/v1/new_thing", {"json": {}}, "openai.unmatched.post", X),
    (
        "POST",
        "https://eu.api.openai.com/v1/chat/completions",
        {"json": {"model": "m"}},
        "openai.chat.completions.create",
        V,
    ),
    ("POST", f"{ANTHROPIC}/v1/messages", {"json": {"model": "m"}}, "anthropic.messages.create", V),
    ("POST", f"{ANTHROPIC}/v1/messages?beta=true", {"json": {"model": "m"}}, "anthropic.messages.create", V),
    ("POST", f"{ANTHROPIC}/v1/messages/count_tokens", {"json": {"model": "m"}}, "anthropic.messages.count_tokens", R),
    ("DELETE", f"{ANTHROPIC}/v1/messages/batches/b", {}, "anthropic.messages.batches.delete", X),
    (
        "POST",
        "https://generativelanguage.googleapis.com/v1beta/models/g:generateContent",
        {"json": {}},
        "google.generativelanguage.models.generateContent",
        V,
    ),
    (
        "POST",
        "https://generativelanguage.googleapis.com/v1beta/models/g:countTokens",
        {"json": {}},
        "google.generativelanguage.models.countTokens",
        R,
    ),
    (
        "POST",
        "https://europe-west4-aiplatform.googleapis.com/v1/projects/p/locations/l/publishers/google/models/g:generateContent",
        {"json": {}},
        "google.aiplatform.projects.locations.publishers.models.generateContent",
        V,
    ),
    (
        "POST",
        "https://aiplatform.googleapis.com/v1/projects/p/locations/l/publishers/google/models/g:countTokens",
        {"json": {}},
        "google.aiplatform.projects.locations.publishers.models.countTokens",
        R,
    ),
    ("POST", "https://generativelanguage.googleapis.com/v1beta/files", {"json": {}}, "google.unmatched.post", X),
    ("GET", "https://generativelanguage.googleapis.com/v1beta/models", {}, "google.unmatched.get", R),
    # anything else
    ("GET", "https://api.example.com/things", {}, "unmapped.get", R),
    ("POST", "https://api.example.com/things", {"json": {}}, "unmapped.post", V),
    ("PUT", "https://api.example.com/things", {"json": {}}, "unmapped.put", V),
    ("DELETE", "https://api.example.com/things/1", {}, "unmapped.delete", X),
    ("GET", "https://api.github.com.evil.example/repos/acme/site", {}, "unmapped.get", R),
]


@pytest.mark.parametrize(("method", "url", "sent", "tool", "tier"), TABLE)
def test_calls_and_what_they_come_to(method: str, url: str, sent: dict[str, Any], tool: str, tier: Tier) -> None:
    sent = dict(sent)
    found = classified(method, url, sent.pop("body", b""), **sent)
    assert (found.tool, found.tier) == (tool, tier)


def test_names_that_are_never_changed() -> None:
    names = shipped_catalog().tools()
    assert {
        "github.repos.delete",
        "stripe.refunds.create",
        "stripe.charges.create",
        "stripe.payment_intents.create",
        "stripe.payment_intents.update",
        "stripe.payment_intents.confirm",
        "stripe.payment_intents.capture",
        "stripe.payment_intents.increment_authorization",
        "stripe.charges.capture",
        "openai.chat.completions.create",
        "anthropic.messages.create",
        "github.graphql.query",
        "git.clone",
        "git.fetch",
        "git.push",
    } <= set(names)


BILLABLE = [
    ("POST", f"{OPENAI}/v1/chat/completions", True),
    ("POST", f"{OPENAI}/v1/images/edits", True),
    ("POST", f"{OPENAI}/v1/unknown", True),
    ("POST", f"{OPENAI}/v1/moderations", False),
    ("POST", f"{OPENAI}/v1/responses/input_tokens", False),
    ("GET", f"{OPENAI}/v1/models", False),
    ("DELETE", f"{OPENAI}/v1/files/f", False),
    ("POST", f"{ANTHROPIC}/v1/messages", True),
    ("POST", f"{ANTHROPIC}/v1/messages/batches", True),
    ("POST", f"{ANTHROPIC}/v1/messages/count_tokens", False),
    ("POST", "http://generativelanguage.googleapis.com/v1beta/models/g:generateContent", True),
    ("POST", "https://openrouter.ai/api/v1/chat/completions", True),
    ("POST", "https://relay.example.com/v1/chat/completions", True),
    ("POST", "https://relay.example.com/v1/messages", True),
    ("POST", "https://relay.example.com/anything", True),
    ("GET", "https://relay.example.com/v1/chat/completions", False),
    ("POST", f"{GITHUB}/repos/acme/site/issues", False),
]


@pytest.mark.parametrize(("method", "url", "billable"), BILLABLE)
def test_what_is_charged_by_usage(method: str, url: str, billable: bool) -> None:
    sent = {} if method in ("GET", "DELETE") else {"json": {"model": "m", "messages": [], "title": "x"}}
    assert classified(method, url, **sent).billable is billable


@pytest.mark.parametrize(
    "body",
    ['{"model": "m", "model": "n", "messages": []}', '{"model": "m", "messages": []}'.encode("utf-16")],
)
def test_a_body_that_two_parsers_read_differently_still_looks_like_inference(body: str | bytes) -> None:
    assert classified("POST", "https://relay.example.com/x", body, "Content-Type: application/json").billable


def test_arguments_have_the_vendors_names() -> None:
    found = classified("POST", f"{STRIPE}/v1/charges", form="amount=9999&currency=USD&metadata[a]=b&capture=false")
    assert found.arguments == {"amount": 9999, "currency": "usd", "metadata[a]": "b", "capture": False}
    found = classified("PATCH", f"{GITHUB}/repos/acme/site?x=1", json={"name": "new", "owner": "evil"})
    assert found.arguments == {"owner": "acme", "repo": "site", "name": "new", "x": "1"}
    assert found.summary == "Change repository acme/site"
    assert (
        classified("DELETE", f"{GITHUB}/repos/acme/legacy-billing").summary == "Delete repository acme/legacy-billing"
    )


def test_a_parameter_that_stands_twice_in_a_read_is_a_list() -> None:
    found = classified("GET", f"{GITHUB}/repos/acme/site/issues?labels=a&labels=b&state=open")
    assert found.arguments == {"owner": "acme", "repo": "site", "labels": ["a", "b"], "state": "open"}


def test_texts_of_an_inference_call_are_counted_and_not_kept() -> None:
    secret = "the merger is on Monday"
    sent = {
        "model": "gpt-4.1-mini",
        "max_tokens": 50,
        "stream": True,
        "temperature": 0.5,
        "system": secret,
        "messages": [{"role": "user", "content": secret}] * 2,
        "tools": [{"x": secret}],
        "input": secret,
        "metadata": {"x": secret},
        "unheard_of": secret * 9,
        "user": secret,
    }
    for url in (f"{OPENAI}/v1/chat/completions", f"{ANTHROPIC}/v1/messages", f"{OPENAI}/v1/responses"):
        found = classified("POST", url, json=sent)
        assert secret not in str(found)
        told = found.arguments
        assert (told["model"], told["max_tokens"], told["stream"], told["messages"]) == (
            "gpt-4.1-mini",
            50,
            True,
            "2 items",
        )
        assert told["body_bytes"] > 500


def test_an_upload_names_its_model() -> None:
    body = (
        '--b\r\nContent-Disposition: form-data; name="model"\r\n\r\nwhisper-1\r\n'
        '--b\r\nContent-Disposition: form-data; name="file"; filename="a"\r\n\r\nxx\r\n--b--\r\n'
    )
    found = classified(
        "POST", f"{OPENAI}/v1/audio/transcriptions", body, "Content-Type: multipart/form-data; boundary=b"
    )
    assert found.arguments == {"model": "whisper-1", "file": "a file"}


def test_the_sentence_for_the_reviewer_cannot_be_forged() -> None:
    found = classified("DELETE", f"{GITHUB}/repos/acme/x%E2%80%AEgnp.{'y' * 500}")
    assert "\u202e" not in found.summary
    assert len(found.summary) < 300
    found = classified("POST", f"{STRIPE}/v1/refunds", form="charge={amount.__class__}&payment_intent=%0AApproved")
    assert found.summary == "Refund {amount.__class__}, \\u{a}Approved (amount ?; all of it if none is named)"


def test_a_sentence_says_what_the_request_says() -> None:
    """Numbered members together, names of which one is there, structures masked; and the path where it lacks one."""
    terminate = "Action=TerminateInstances&Version=2016-11-15&InstanceId.1=i-1&InstanceId.2=i-2"
    found = classified("POST", "https://ec2.eu-west-1.amazonaws.com/", form=terminate)
    assert found.summary == "Terminate instances i-1, i-2 for good"
    found = classified("POST", "https://ec2.eu-west-1.amazonaws.com/", form="Action=DeleteKeyPair&KeyPairId=key-7")
    assert found.summary == "Delete key pair key-7"
    found = classified("DELETE", f"{GITHUB}/repositories/42")
    assert found.summary == "Delete repository ?/? (DELETE api.github.com/repositories/42)"
    found = classified("DELETE", "https://graph.microsoft.com/v1.0/me")
    assert found.summary == "Delete user ? (DELETE graph.microsoft.com/v1.0/me)"
    for host in ("acme.backups.s3.eu-west-1.amazonaws.com", "acme.backups.s3-accelerate.amazonaws.com"):
        found = classified("DELETE", f"https://{host}/2026/orders.gz")
        assert found.summary == "Delete 2026/orders.gz from bucket acme.backups"
    body = {"imageIds": [{"imageTag": "v1", "token": "plain"}], "repositoryName": "site"}
    target = "X-Amz-Target: AmazonEC2ContainerRegistry_V20150921.BatchDeleteImage"
    found = classified("POST", "https://api.ecr.eu-west-1.amazonaws.com/", b"", target, json=body)
    assert found.summary == 'Delete images of repository site: {"imageTag":"v1","token":"••••"}'
    secret = {"SecretId": "prod/db", "ClientRequestToken": "plain"}
    target = "X-Amz-Target: secretsmanager.DeleteSecret"
    found = classified("POST", "https://secretsmanager.eu-west-1.amazonaws.com/", b"", target, json=secret)
    assert found.summary == "Delete secret prod/db"
    document = {"query": 'mutation { volumeDelete(volumeId: "v") }'}
    found = classified("POST", "https://backboard.railway.app/graphql/v2", json=document)
    assert found.summary == "Delete a volume and all that is stored on it (railway GraphQL: volumeDelete)"


# every tool

ROUTES = [(shard, *route) for shard in shipped_catalog().shards() for route in shard.routes()]
OPERATIONS = [(shard, operation) for shard, operation, *_ in ROUTES]


def test_a_delete_is_irreversible_unless_people_found_that_it_only_unlinks() -> None:
    for _, operation, method, template, _ in ROUTES:
        if method == "DELETE" and operation.tier is not X:
            assert operation.nature is Nature.UNLINK, (operation.tool, template)
            assert operation.reviewed is not None, operation.tool


DECLARED = ("IAM: Read", "IAM: List", "Google: a readonly scope", "Slack: called by GET")


def test_a_write_is_reversible_only_by_review_or_by_the_providers_own_word() -> None:
    for _, operation, method, _, _ in ROUTES:
        if method not in ("GET", "HEAD") and operation.tier is R:
            assert operation.reviewed is not None or operation.evidence.startswith(DECLARED), operation.tool


_MONEY_OR_WORSE = re.compile(r"\.(delete|refund|payout|transfer|destroy|purge|revoke)[^.]*$")


def test_names_that_sound_of_loss_are_never_reversible() -> None:
    for _, operation in OPERATIONS:
        if _MONEY_OR_WORSE.search(operation.tool) and operation.nature not in (Nature.READ, Nature.UNLINK):
            assert operation.tier is not R, operation.tool


def test_a_judgement_carries_its_day_and_a_guess_says_that_it_is_one() -> None:
    for _, operation in OPERATIONS:
        assert (operation.reviewed is not None) == operation.evidence.startswith("reviewed: "), operation.tool


def _pattern(template: tuple[str, ...]) -> re.Pattern[str]:
    marked = "/".join(template).replace("{*}", "\x01").replace("{}", "\x02")
    return re.compile(re.escape(marked).replace("\x01", ".+").replace("\x02", "[^/]+"))


SAMPLE = [
    "github", "git", "stripe", "openai", "anthropic", "slack", "k8s", "cloudflare", "aws/s3", "aws/lambda", "aws/iam",
    "google/drive", "google/compute", "google/storage", "google/pubsub", "datadog", "twilio",
]  # fmt: skip


def _shard(name: str) -> Shard:
    return next(shard for shard in shipped_catalog().shards() if shard.name == name)


@pytest.mark.parametrize("name", SAMPLE)
def test_the_trie_finds_what_plain_patterns_find(name: str) -> None:
    """Every route, and paths mixed from two routes, against all templates one by one."""
    shard = _shard(name)
    chance = random.Random(7)
    routes = list(shard.routes())
    patterns = [(operation, method, _pattern(template)) for operation, method, template, _ in routes]
    for _ in range(60):
        _, method, one, _ = chance.choice(routes)
        _, _, other, _ = chance.choice(routes)
        mixed = [chance.choice(pair) for pair in zip(one, other, strict=False)] if chance.random() < 0.5 else list(one)
        path = "/".join(mixed).replace("{*}", "a/b").replace("{}", chance.choice(["x", "search", "1"]))
        expected = {id(found) for found, verb, pattern in patterns if verb == method and pattern.fullmatch(path)}
        segments = path.split("/") if path else []
        assert {id(operation) for operation, _ in shard.find(method, segments)} == expected, (method, path)


@pytest.mark.parametrize("name", SAMPLE)
def test_every_route_is_mapped_to_its_tool_or_a_worse_one(name: str) -> None:
    shard = _shard(name)
    patterns = [host for host, site in shipped_catalog().sites.all().items() if name in site.shards]
    host = min(patterns, key=lambda pattern: ("*" in pattern, pattern)).replace("**", "a").replace("*", "us-east-1")
    for operation, method, template, selector in shard.routes():
        if operation.reader is not None or selector is not None:
            continue
        path = "/".join(template).replace("{*}", "a/b").replace("{}", "x1")
        sent: dict[str, Any] = {"form": "amount=5&currency=usd"} if shard.provider == "stripe" else {"json": {}}
        if operation.reads == "json":
            sent = {"json": {}}
        found = classified(method, f"https://{host}/{path}", **({} if method in ("GET", "DELETE") else sent))
        assert found.tool == operation.tool or operation.tool in found.operations
        assert found.tier.rank >= operation.tier.rank
        names = {parameter.name for parameter in operation.parameters}
        assert found.tool != operation.tool or names <= found.arguments.keys()


# the matcher by itself

WORDS = st.sampled_from(["a", "b", "c", "a:go", "b:go"])
TEMPLATES = st.lists(
    st.lists(st.sampled_from(["a", "b", "{p}", "{p}:go", "x{p}", "{*m}"]), min_size=1, max_size=4).map("/".join),
    min_size=1,
    max_size=8,
    unique=True,
)


def _of(templates: list[str]) -> Shard:
    """A shard of GET routes, whose tools are named by their places."""
    kind = Operation("", R, Nature.READ)
    rows = [f"{number:02d} 0 " + ",".join("v" * ("{" in part) for part in t.split("/") if "{" in part)
            for number, t in enumerate(templates)]  # fmt: skip
    return Shard("t", "t.", (kind,), rows, trie_of([Route("GET", t, number) for number, t in enumerate(templates)]))


@settings(max_examples=300)
@given(TEMPLATES, st.lists(WORDS, min_size=1, max_size=5))
def test_every_template_that_fits_is_found_with_backtracking(templates: list[str], segments: list[str]) -> None:
    found = {operation.tool for operation, _ in _of(templates).find("GET", segments)}
    path = "/".join(segments)
    fits = {
        f"t.{number:02d}"
        for number, template in enumerate(templates)
        if re.fullmatch(template.replace("{*m}", ".+").replace("{p}", "[^/]+"), path)
    }
    assert found == fits


def test_literal_before_affixed_before_parameter_before_many() -> None:
    shard = _of(["x/{*m}", "x/{p}", "x/{p}:go", "x/a:go"])
    assert [(found.tool, values) for found, values in shard.find("GET", ["x", "a:go"])] == [
        ("t.03", {}),
        ("t.02", {"v": "a"}),
        ("t.01", {"v": "a:go"}),
        ("t.00", {"v": "a:go"}),
    ]


def test_of_several_templates_the_worst_counts_and_all_are_named() -> None:
    found = classified("POST", f"{STRIPE}/v1/invoices/create_preview", form="customer=c")
    assert (found.tier, found.tool) == (V, "stripe.invoices.update")
    assert set(found.operations) == {"stripe.invoices.update", "stripe.invoices.create_preview"}


@pytest.mark.parametrize(
    "damage",
    [
        {"shard": "other"},
        {"reads": "guesswork"},
        {"prefix": "t"},
        {"kinds": [{"tier": "harmless", "nature": "read"}]},
        {"kinds": [{"tier": "visible", "nature": "write", "speed": 1}]},
        {"operations": ["x"]},
        {"operations": ["x 7 "]},
        {"operations": ["y 0 ", "x 0 "]},
        {"operations": "x 0 "},
        {"trie": {"/GET": 7}},
        {"trie": {"/GET": -1}},
        {"trie": {"/GET": "0"}},
        {"trie": {"/p": {"/GET": 0}}},
        {"trie": {"/z": {}}},
        {"trie": {"a": 0}},
        {"trie": {"/GET": [["mood", "x", {"*": 0}]]}},
    ],
)
def test_a_damaged_shard_is_refused(damage: dict[str, Any]) -> None:
    whole = {
        "shard": "t",
        "prefix": "t.",
        "kinds": [{"tier": "visible", "nature": "write"}],
        "operations": ["x 0 "],
        "trie": {"/GET": 0},
    }
    shard = shard_from_json("t", whole)
    shard.check()
    assert shard.find("GET", [])
    with pytest.raises(ShardInvalid):
        shard_from_json("t", whole | damage).check()


def test_paths_that_a_provider_could_read_otherwise_are_refused_where_there_is_a_catalog() -> None:
    for path in ("/repos/acme/../../user", "/repos//acme/site", "/repos/acme/site;x=1", "/repos/%2561cme/site"):
        with pytest.raises(RequestAmbiguous):
            classified("GET", f"{GITHUB}{path}")
        assert classified("GET", f"https://api.example.com{path}").tool == "unmapped.get"
    with pytest.raises(RequestAmbiguous, match="encoded slash"):
        classified("GET", f"{STRIPE}/v1/charges%2Fch_1")


def test_classifying_is_a_function() -> None:
    request = canonical("DELETE", f"{GITHUB}/repos/acme/site")
    assert shipped_catalog().classify(request) == shipped_catalog().classify(request)


@pytest.mark.parametrize("query", ["", "?page=1"])
def test_a_formats_suffix_is_no_part_of_the_name(query: str) -> None:
    found = classified(
        "POST", f"https://api.github.com/repos/acme/site/merges.json{query}", "{}", "Content-Type: application/json"
    )
    assert (found.tool, found.tier) == ("github.repos.merge", Tier.IRREVERSIBLE)
