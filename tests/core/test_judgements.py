"""What people judged: enough of it, one by one, and nothing risky below its tier without a name and a reason."""

from __future__ import annotations

import importlib.util
import inspect
import json
import string
from collections import Counter
from pathlib import Path
from typing import Any

import botocore.session
import googleapiclient.discovery_cache
import pytest
import yaml
from slack_sdk import WebClient

from douane.core.tool import Nature, Tier
from douane.edge.home import shipped_policy_dir
from support.requests import classified, shipped_catalog

R, V, X = Tier.REVERSIBLE, Tier.VISIBLE, Tier.IRREVERSIBLE
DOCUMENTS = Path(googleapiclient.discovery_cache.__file__).parent / "documents"
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


SENTENCES_OF_THE_REQUEST = {"mcp.call", "google.batch", "msgraph.batch", "git.push"} | {
    *("git.branch.delete", "git.branch.force_or_unproven", "git.tag.update", "git.tag.delete"),
    *("git.ref.create", "git.ref.update", "git.ref.delete"),
}
"""What reads these makes their sentence: the MCP call, the calls of a batch, the refs of a push."""

BODIES: dict[str, set[str]] = {
    # Of vendors whose clients are not installed: members of bodies, by their documentation.
    "stripe.charges.refund": {"amount"},
    "github.repos.create-dispatch-event": {"event_type"},
    "github.actions.create-self-hosted-runner-group-for-org": {"name"},
    "github.enterprise-team-organizations.bulk-add": {"organization_slugs"},
    "github.interactions.set-pull-request-bypass-list-for-repo": {"users"},
    "github.copilot.add-copilot-seats-for-teams": {"selected_teams"},
    "github.copilot.add-copilot-seats-for-users": {"selected_usernames"},
    "github.repos.transfer": {"new_owner"},
    "github.repos.merge": {"base", "head"},
    "github.repos.create-release": {"tag_name"},
    "github.actions.create-workflow-dispatch": {"ref"},
    "github.repos.upload-release-asset": {"name"},
    "openai.beta.chatkit.sessions.create": {"user"},
    "msgraph.groups.members.$ref.delete": {"@id"},
    "msgraph.drives.items.createLink": {"type", "scope"},
    "msgraph.drives.items.invite": {"roles"},
    "msgraph.groups.create": {"displayName"},
    "msgraph.oauth2PermissionGrants.create": {"clientId", "scope"},
    "msgraph.users.appRoleAssignments.create": {"appRoleId", "principalId"},
    "msgraph.users.create": {"userPrincipalName"},
    "msgraph.users.mailFolders.messageRules.create": {"displayName"},
    "cloudflare.d1.database.query": {"sql"},
    "cloudflare.d1.database.raw": {"sql"},
    "cloudflare.dns.records.create": {"name", "type", "content"},
    "cloudflare.workers.routes.create": {"pattern", "script"},
    "cloudflare.workers.routes.update": {"pattern"},
    "cloudflare.accounts.tokens.create": {"name"},
    "cloudflare.user.tokens.create": {"name"},
    "cloudflare.r2.temporary_credentials.create": {"bucket"},
    "cloudflare.workers.domains.update": {"hostname", "service"},
    "google.directory.chromeosdevices.action": {"action"},
    "google.directory.mobiledevices.action": {"action"},
    "google.directory.users.createGuest": {"primaryGuestEmail"},
    "google.directory.users.insert": {"primaryEmail"},
    "msgraph.servicePrincipals.create": {"appId"},
    "zoom.userStatus": {"action"},
}


def of_aws(tool: str) -> set[str]:
    """Members of an operation's input as they stand on the wire."""
    _, service, name = tool.split(".")
    model = botocore.session.Session().get_service_model(service)
    given = model.operation_model(name).input_shape
    found = set()
    for member, shape in given.members.items() if given is not None else ():
        wire = shape.serialization.get("name", member)
        found.add(
            shape.serialization.get("queryName") or wire[0].upper() + wire[1:] if model.protocol == "ec2" else wire
        )
    return found


def of_google(tool: str) -> set[str]:
    """Parameters and the body's members of a method, in every version of its API."""
    _, api, *path, verb = tool.split(".")
    found: set[str] = set()
    for file in DOCUMENTS.glob(f"{api}.v*.json"):
        document = json.loads(file.read_text())
        here = document
        for part in path:
            here = here.get("resources", {}).get(part, {})
        method = here.get("methods", {}).get(verb, {})
        found |= method.get("parameters", {}).keys()
        if "request" in method:
            found |= document["schemas"][method["request"]["$ref"]].get("properties", {}).keys()
    return found


def of_slack(tool: str) -> set[str]:
    wanted = tool.removeprefix("slack.").replace(".", "").lower()
    names = [name for name in dir(WebClient) if name.replace("_", "").lower() == wanted]
    return {name for known in names for name in inspect.signature(getattr(WebClient, known)).parameters}


def of_stripe(tool: str) -> set[str]:
    """Members of the class of its parameters: `issuing.cards.create` is `issuing`'s `CardCreateParams`."""
    parts = tool.removeprefix("stripe.").split(".")
    space = f"{parts.pop(0)}." if importlib.util.find_spec(f"stripe.params.{parts[0]}") else ""
    words = "_".join(part.removesuffix("s") for part in parts)
    name = f"stripe.params.{space}_{words}_params"
    if importlib.util.find_spec(name) is None:
        return set()
    params = getattr(importlib.import_module(name), f"{words.title().replace('_', '')}Params")
    return set(params.__annotations__)


READ = {"aws": of_aws, "google": of_google, "slack": of_slack, "stripe": of_stripe}
READERS = {"graphql": {"fields"}, "kubernetes": {"namespace", "name"}}


def arguments_of(tool: str) -> set[str]:
    """What a request to a tool can say: in its path, and in the vendor's own description of it."""
    provider = tool.partition(".")[0]
    shards = [shard for shard in shipped_catalog().shards() if tool.startswith(shard.prefix)]
    found = {
        parameter.name
        for shard in shards
        for index in shard.indices_of(tool)
        for parameter in shard.operation(index).parameters
    }
    found |= BODIES.get(tool, set()) | (READERS["kubernetes"] if provider == "k8s" else set())
    if tool.split(".")[1] == "graphql":
        found |= READERS["graphql"]
    return found | (READ[provider](tool) if provider in READ else set())


IRREVERSIBLE = sorted(name for name, entry in judged().items() if entry["tier"] == "irreversible")


def test_every_irreversible_tool_that_people_judged_has_a_sentence_of_its_own_arguments() -> None:
    without, strange = [], []
    for tool in IRREVERSIBLE:
        operation = shipped_catalog().tool(tool)
        assert operation is not None, tool
        if not operation.summary:
            without.append(tool)
            continue
        fields = [name for _, name, *_ in string.Formatter().parse(operation.summary) if name is not None]
        names = {name for field in fields for name in field.split("|")}
        if names and (missing := names - arguments_of(tool)):
            strange.append((tool, sorted(missing)))
        assert operation.summary[0].isupper(), tool
        assert not operation.summary.endswith("."), tool
        assert len(operation.summary) <= 110, tool
    assert sorted(without) == sorted(SENTENCES_OF_THE_REQUEST)
    assert strange == [], strange
    assert len(IRREVERSIBLE) > 480


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
