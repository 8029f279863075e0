"""An operator's own hosts and APIs: mapped like the shipped ones, and checked with every mistake told."""

from __future__ import annotations

from pathlib import Path

import pytest

from douane.core.catalog import Catalog
from douane.core.refusal import RequestAmbiguous
from douane.core.tool import Nature, Tier
from douane.edge.catalog import CatalogInvalid, load_catalog
from support.requests import canonical

OWN = """
hosts:
  k8s.corp.example: k8s
  mcp.corp.example: mcp
  "*.storage.corp.example": aws/s3
apis:
  billing:
    hosts: [billing.corp.example]
    routes:
      - {route: "GET /v1/invoices/{id}", tool: billing.invoices.get, tier: reversible}
      - {route: "DELETE /v1/invoices/{id}", tool: billing.invoices.delete, tier: irreversible,
         summary: "Delete invoice {id}"}
      - {route: "DELETE /v1/drafts/{id}", tool: billing.drafts.delete, tier: visible,
         reviewed: 2026-11-23, reason: kept for 30 days}
      - {route: "PUT /files/{*path}", tool: billing.files.put, tier: visible, nature: write}
"""


def catalog_of(folder: Path, text: str) -> Catalog:
    (folder / "own.yaml").write_text(text)
    return load_catalog(folder)


def test_private_apis_and_hosts_are_mapped(tmp_path: Path) -> None:
    catalog = catalog_of(tmp_path, OWN)

    def found(method: str, url: str, **sent: object) -> tuple[str, Tier]:
        classification = catalog.classify(canonical(method, url, **sent))  # type: ignore[arg-type]
        return classification.tool, classification.tier

    deleted = catalog.classify(canonical("DELETE", "https://billing.corp.example/v1/invoices/7"))
    assert (deleted.tool, deleted.tier, deleted.nature) == ("billing.invoices.delete", Tier.IRREVERSIBLE, Nature.DELETE)
    assert (deleted.summary, dict(deleted.arguments), deleted.mapped) == ("Delete invoice 7", {"id": "7"}, True)
    assert found("GET", "https://billing.corp.example/v1/invoices/7") == ("billing.invoices.get", Tier.REVERSIBLE)
    assert found("DELETE", "https://billing.corp.example/v1/drafts/7") == ("billing.drafts.delete", Tier.VISIBLE)
    assert found("PUT", "https://billing.corp.example/files/a/b", json={}) == ("billing.files.put", Tier.VISIBLE)
    assert found("POST", "https://billing.corp.example/v1/x", json={}) == ("billing.unmatched.post", Tier.IRREVERSIBLE)
    assert found("DELETE", "https://k8s.corp.example/api/v1/namespaces/a") == (
        "k8s.namespaces.delete",
        Tier.IRREVERSIBLE,
    )
    assert found("DELETE", "https://a.storage.corp.example/b/k") == ("aws.s3.DeleteObject", Tier.IRREVERSIBLE)
    listing = {"jsonrpc": "2.0", "id": 1, "method": "tools/list"}
    assert found("POST", "https://mcp.corp.example/mcp", json=listing)[1] is Tier.REVERSIBLE
    assert found("POST", "https://mcp.corp.example/mcp", json={"a": 1})[1] is Tier.IRREVERSIBLE
    assert catalog.tool("billing.invoices.delete") is not None
    assert "billing" in catalog.providers()
    assert catalog.digest != load_catalog().digest
    with pytest.raises(RequestAmbiguous):
        found("GET", "https://billing.corp.example/v1/../admin")


def test_every_mistake_is_told(tmp_path: Path) -> None:
    with pytest.raises(CatalogInvalid) as invalid:
        catalog_of(
            tmp_path,
            """
hosts: {api.github.com: mcp, "a b": k8s, x.example: nobody}
apis:
  github: {hosts: [g.example], routes: []}
  empty: {hosts: [], routes: []}
  odd: {host: x}
  own:
    hosts: [api.stripe.com, own.example]
    routes:
      - {route: "DELETE /x/{id}", tool: own.x.delete, tier: visible}
      - {route: "DROP /x", tool: own.x.drop, tier: visible}
      - {route: "GET /x/{id}y", tool: own.x.get, tier: reversible}
      - {route: "GET /x", tool: other.x.get, tier: harmless, nature: kind, speed: 1}
      - {tool: own.x}
""",
        )
    told = "\n".join(str(problem) for problem in invalid.value.problems)
    for expected in (
        "`api.github.com` is described already", "not a host", "there is no API `nobody`", "`github` is taken",
        "at least one host and one route", "two keys, `hosts` and `routes`", "`api.stripe.com` is described already",
        "a DELETE that is not irreversible needs", "not a method and path", "not a tool's name that begins with `own.`",
        "no tier `harmless`", "no nature `kind`", "unknown key `speed`", "a route has `route`, `tool` and `tier`",
    ):  # fmt: skip
        assert expected in told, expected
