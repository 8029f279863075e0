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


MCP = """
hosts: {mcp.corp.example: mcp, "*.tools.corp.example": mcp}
tools:
  mcp.mcp-corp-example.close_books: {tier: irreversible, reason: for good}
  mcp.mcp-corp-example.run_report: {tier: visible, nature: read, reviewed: 2026-11-23, reason: only reads}
  mcp.a-tools-corp-example.tidy: {tier: irreversible}
"""


def test_tools_of_an_mcp_server_are_judged_by_name(tmp_path: Path) -> None:
    catalog = catalog_of(tmp_path, MCP)

    def found(tool: str, host: str = "mcp.corp.example") -> tuple[str, Tier, Nature]:
        body = {"jsonrpc": "2.0", "id": 1, "method": "tools/call", "params": {"name": tool}}
        classification = catalog.classify(canonical("POST", f"https://{host}/mcp", json=body))
        return classification.tool, classification.tier, classification.nature

    assert found("close_books") == ("mcp.mcp-corp-example.close_books", Tier.IRREVERSIBLE, Nature.WRITE)
    assert found("run_report") == ("mcp.mcp-corp-example.run_report", Tier.VISIBLE, Nature.READ)
    assert found("run.report")[:2] == ("mcp.mcp-corp-example.run_report", Tier.IRREVERSIBLE), "only spelt alike"
    assert found("close.books")[1] is Tier.IRREVERSIBLE
    assert found("run_reports")[1] is Tier.IRREVERSIBLE
    assert found("open_books")[1] is Tier.VISIBLE
    assert found("tidy", "a.tools.corp.example")[1] is Tier.IRREVERSIBLE
    assert found("tidy", "b.tools.corp.example")[1] is Tier.VISIBLE
    judged = catalog.tool("mcp.mcp-corp-example.close_books")
    assert judged is not None
    assert judged.evidence == "operator: for good"
    assert ("mcp.mcp-corp-example.close_books", Tier.IRREVERSIBLE, Nature.WRITE) in catalog.tiers()


@pytest.mark.parametrize(
    ("text", "told"),
    [
        ("tools: {mcp.mcp-corp-example.x: {tier: irreversible}}", "under `hosts`"),
        ("hosts: {a.example: mcp}\ntools: {mcp.b-example.x: {tier: irreversible}}", "under `hosts`"),
        ("hosts: {a.example: mcp}\ntools: {mcp.a-example.run: {tier: visible}}", "is lowered from irreversible"),
        ("hosts: {a.example: mcp}\ntools: {mcp.a-example.*: {tier: visible}}", "no tool"),
    ],
)
def test_a_judgement_on_no_mcp_server_is_a_mistake(tmp_path: Path, text: str, told: str) -> None:
    with pytest.raises(CatalogInvalid, match=told):
        catalog_of(tmp_path, text)


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
