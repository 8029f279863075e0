"""What people judged: enough of it, one by one, and nothing risky below its tier without a name and a reason."""

from __future__ import annotations

from collections import Counter
from typing import Any

import pytest
import yaml

from douane.core.tool import Nature, Tier
from douane.edge.home import shipped_policy_dir
from support.requests import classified, shipped_catalog

R, V, X = Tier.REVERSIBLE, Tier.VISIBLE, Tier.IRREVERSIBLE
JSON: dict[str, Any] = {"json": {}}

PACKS = [
    ("POST", "https://backboard.railway.app/graphql/v2",
     {"json": {"query": "mutation { volumeDelete(volumeId: \"v\") }"}}, "railway.graphql.volumeDelete", X),
    ("POST", "https://backboard.railway.app/graphql/v2", {"json": {"query": "{ me { id } }"}},
     "railway.graphql.query", R),
    ("PUT", "https://registry.npmjs.org/@acme%2fsite", JSON, "npm.package.publish", X),
    ("PUT", "https://registry.npmjs.org/@acme/site", JSON, "npm.package.publish", X),
    ("GET", "https://registry.npmjs.org/@acme%2fsite", {}, "npm.package.get", R),
    ("DELETE", "https://registry.npmjs.org/site/-/site-1.0.0.tgz/-rev/1-a", {}, "npm.package.unpublish", X),
    ("POST", "https://registry.npmjs.org/-/npm/v1/security/advisories/bulk", JSON, "npm.audit", R),
    ("POST", "https://upload.pypi.org/legacy/", {"form": "a=b"}, "pypi.release.upload", X),
    ("GET", "https://pypi.org/simple/requests/", {}, "pypi.project.get", R),
    ("PUT", "https://crates.io/api/v1/crates/new", {}, "crates.crate.publish", X),
    ("DELETE", "https://crates.io/api/v1/crates/serde/1.0.0/yank", {}, "crates.version.yank", V),
    ("PUT", "https://ghcr.io/v2/acme/site/manifests/latest", JSON, "oci.manifest.put", X),
    ("DELETE", "https://123.dkr.ecr.eu-west-1.amazonaws.com/v2/site/manifests/sha256:1", {}, "oci.manifest.delete", X),
    ("GET", "https://registry-1.docker.io/v2/library/debian/manifests/stable", {}, "oci.read", R),
    ("POST", "https://hooks.slack.com/services/T/B/x", JSON, "slack.webhook.send", V),
    ("POST", "https://discord.com/api/webhooks/1/x", JSON, "discord.webhook.send", V),
    ("DELETE", "https://acme.my.salesforce.com/services/data/v61.0/sobjects/Account/1", {},
     "salesforce.sobjects.delete", X),
    ("GET", "https://acme.my.salesforce.com/services/data/v61.0/tooling/executeAnonymous?anonymousBody=x", {},
     "salesforce.apex.execute", X),
    ("POST", "https://acme.myshopify.com/admin/api/2026-10/orders/1/refunds.json", JSON, "shopify.refunds.create", X),
    ("GET", "https://acme.myshopify.com/admin/api/2026-10/orders.json", {}, "shopify.read", R),
    ("POST", "https://acme.myshopify.com/admin/api/2026-10/graphql.json",
     {"json": {"query": "mutation { productDelete(input: {id: 1}) { id } }"}}, "shopify.graphql.productDelete", X),
]  # fmt: skip


@pytest.mark.parametrize(("method", "url", "sent", "tool", "tier"), PACKS, ids=[row[3] + " " + row[0] for row in PACKS])
def test_providers_that_no_package_describes(
    method: str, url: str, sent: dict[str, Any], tool: str, tier: Tier
) -> None:
    found = classified(method, url, **sent)
    assert (found.tool, found.tier) == (tool, tier)


def judged() -> dict[str, dict[str, Any]]:
    reviewed = yaml.safe_load((shipped_policy_dir() / "catalog" / "reviewed.yaml").read_text())
    found = {name: entry for tools in reviewed["tools"].values() for name, entry in tools.items()}
    return found | {name: group for groups in reviewed["alike"].values() for group in groups for name in group["tools"]}


def test_at_least_five_hundred_writes_of_twelve_providers_are_judged() -> None:
    writes = [name for name, entry in judged().items() if entry["nature"] not in ("read", "meta", "secret-read")]
    per_provider = Counter(name.partition(".")[0] for name in writes)
    assert len(writes) >= 500
    assert sum(count >= 8 for count in per_provider.values()) >= 12, per_provider


def test_a_judgement_has_a_reason_and_names_one_tool() -> None:
    for name, entry in judged().items():
        assert len(entry["reason"]) > 3, name
        assert not set(name) & set("*?["), name


def test_no_write_or_permissions_action_of_iam_is_reversible_unless_named() -> None:
    checked = 0
    for shard in shipped_catalog().shards():
        if shard.provider != "aws":
            continue
        for index in range(len(shard.rows)):
            operation = shard.operation(index)
            if operation.evidence.startswith(("IAM: Write", "IAM: Permissions", "IAM: Tagging")):
                checked += 1
                assert operation.tier is not R, operation.tool
            if operation.evidence.startswith("IAM: Permissions"):
                assert operation.tier is X, operation.tool
    assert checked > 8_000


def test_no_delete_is_reversible_unless_named() -> None:
    for shard in shipped_catalog().shards():
        for operation, method, _, _ in shard.routes():
            if method == "DELETE" and operation.tier is R:
                assert operation.reviewed is not None, operation.tool


def test_what_moves_money_sends_or_publishes_is_never_reversible() -> None:
    for shard in shipped_catalog().shards():
        for index in range(len(shard.rows)):
            operation = shard.operation(index)
            if operation.nature in (Nature.MONEY, Nature.SEND, Nature.DEPLOY, Nature.CREDENTIAL, Nature.PERMISSIONS):
                assert operation.tier is not R, operation.tool
