"""Loading the catalog: shards are what the index names, an operator's judgements are exact, and it is quick."""

from __future__ import annotations

import json
import shutil
from pathlib import Path

import pytest

from douane.core.tool import Nature, Tier
from douane.edge import catalog as loading
from douane.edge.catalog import CatalogInvalid, load_catalog
from douane.edge.home import shipped_policy_dir
from douane.edge.overlay import ROUTE_KEYS
from support.requests import canonical


@pytest.fixture
def overlay(tmp_path: Path) -> Path:
    folder = tmp_path / "catalog"
    folder.mkdir()
    return folder


def problems(folder: Path) -> list[str]:
    with pytest.raises(CatalogInvalid) as invalid:
        load_catalog(folder)
    return [str(problem) for problem in invalid.value.problems]


def test_judgements_of_an_operator_lie_over_the_shipped_ones(overlay: Path) -> None:
    (overlay / "own.yaml").write_text(
        "tools:\n"
        "  github.issues.create: {tier: irreversible, reason: our issues are mailed to customers}\n"
        "  github.repos.delete-file:\n"
        "    {tier: visible, nature: write, reviewed: 2026-11-23, reason: kept, summary: 'Drop {path} of {repo}'}\n"
    )
    found = load_catalog(overlay)
    raised = found.classify(canonical("POST", "https://api.github.com/repos/a/b/issues", json={"title": "x"}))
    assert (raised.tier, raised.evidence) == (Tier.IRREVERSIBLE, "operator: our issues are mailed to customers")
    lowered = found.classify(canonical("DELETE", "https://api.github.com/repos/a/b/contents/x.py", json={"sha": "1"}))
    assert (lowered.tier, lowered.nature, lowered.summary) == (Tier.VISIBLE, Nature.WRITE, "Drop x.py of b")
    assert found.digest != load_catalog().digest
    assert load_catalog(overlay).digest == found.digest


def test_every_mistake_is_told_at_once_with_its_line(overlay: Path) -> None:
    (overlay / "a.yaml").write_text(
        "tools:\n"
        "  github.repos.*: {tier: visible, reviewed: 2026-11-23, reason: all of them}\n"
        "  github.repos.remove: {tier: visible}\n"
        "  github.repos.delete: {tier: visible}\n"
        "  github.pulls.merge: {tier: harmless, speed: fast}\n"
        "  github.pulls.create: visible\n"
        "  github.pulls.update: {tier: visible, reviewed: yesterday, summary: 'x {a.__class__}', nature: kind}\n"
        "  stripe.refunds.create: {tier: irreversible, reason: [1]}\n"
    )
    (overlay / "b.yaml").write_text("tools:\n  stripe.refunds.create: {tier: irreversible}\n")
    (overlay / "c.yaml").write_text("tiers: {}\n")
    (overlay / "d.yaml").write_text("tools: {a: b: c}\n")
    told = problems(overlay)
    for expected in (
        "a.yaml:2: the catalog has no tool `github.repos.*` → Names are exact; a pattern would judge",
        "a.yaml:3: the catalog has no tool `github.repos.remove`",
        "a.yaml:4: the tier is lowered from irreversible without `reviewed` and `reason`",
        "a.yaml:5: there is no tier `harmless`",
        "a.yaml:5: unknown key `speed`",
        "a.yaml:6: a judgement names a tier",
        "a.yaml:7: not a date",
        "a.yaml:7: a field that is not just a name",
        "a.yaml:7: there is no nature `kind`",
        "a.yaml:8: a reason is a sentence",
        "b.yaml:2: `stripe.refunds.create` is judged twice",
        "c.yaml:1: an overlay has the keys `tools`, `hosts` and `apis`",
        "d.yaml:1: ",
    ):
        assert any(line.startswith(f"catalog/{expected}") for line in told), (expected, told)


def test_the_shipped_judgements_may_lie_in_an_operators_folder_but_not_changed(overlay: Path) -> None:
    copy = overlay / "reviewed.yaml"
    shutil.copy(shipped_policy_dir() / "catalog" / "reviewed.yaml", copy)
    assert load_catalog(overlay).digest == load_catalog().digest
    copy.write_text(copy.read_text().replace("tier: irreversible", "tier: reversible", 1))
    assert "has no effect" in problems(overlay)[0]


def test_a_folder_that_is_not_there_is_no_overlay(tmp_path: Path) -> None:
    assert load_catalog(tmp_path / "none").digest == load_catalog().digest


@pytest.mark.parametrize("damage", ["changed", "cut", "gone", "no index", "index of nothing", "unknown shard"])
def test_a_damaged_catalog_is_refused(damage: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    shutil.copytree(shipped_policy_dir() / "catalog", tmp_path / "catalog")
    built = tmp_path / "catalog" / "built"
    index = json.loads((built / "index.json").read_text())
    match damage:
        case "changed":
            text = (built / "github.json").read_text()
            (built / "github.json").write_text(text.replace('"tier":"irreversible"', '"tier":"reversible"', 1))
        case "cut":
            (built / "git.json").write_bytes((built / "git.json").read_bytes()[:-10])
        case "gone":
            (built / "stripe.json").unlink()
        case "no index":
            (built / "index.json").unlink()
        case "index of nothing":
            (built / "index.json").write_text("[]")
        case "unknown shard":
            index["hosts"]["api.example.com"] = ["example", "example"]
            (built / "index.json").write_text(json.dumps(index))
    monkeypatch.setattr(loading, "shipped_policy_dir", lambda: tmp_path)
    assert "the shipped catalog is damaged" in problems(tmp_path / "none")[0]


def test_the_shards_are_what_the_judgements_say() -> None:
    """A judgement changed in reviewed.yaml without building the shards anew would look as if it were in force."""
    import yaml

    reviewed = yaml.safe_load((shipped_policy_dir() / "catalog" / "reviewed.yaml").read_text())
    catalog = load_catalog()
    judged = {name: found for tools in reviewed["tools"].values() for name, found in tools.items()}
    judged |= {name: group for groups in reviewed["alike"].values() for group in groups for name in group["tools"]}
    assert len(judged) > 200
    for name, found in judged.items():
        operation = catalog.tool(name)
        assert operation is not None, name
        assert (operation.tier, operation.nature) == (found["tier"], found["nature"]), name
        assert operation.evidence == f"reviewed: {found['reason']}", name
        assert str(operation.reviewed) == str(found["reviewed"]), name
    index = json.loads((shipped_policy_dir() / "catalog" / "built" / "index.json").read_text())
    assert index["refused"] == reviewed["refused"]
    for host, name in reviewed["hosts"].items():
        assert name in index["hosts"][host], host


def test_every_key_of_an_overlay_is_documented() -> None:
    text = (shipped_policy_dir().parent / "docs" / "catalog.md").read_text()
    for key in (*loading.KEYS, *loading.SECTIONS, *ROUTE_KEYS, *Tier, *Nature):
        assert f"`{key}`" in text or f" {key} " in text or f"`{key} " in text or f" {key}`" in text, key
