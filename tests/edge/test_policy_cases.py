"""Cases, names and differences: what stands between a changed policy and its taking force."""

from __future__ import annotations

import json
from pathlib import Path

import pytest

from douane.core.catalog import Catalog
from douane.edge.catalog import load_catalog
from douane.edge.home import shipped_policy_dir
from douane.edge.policy import (
    LoadedPolicy,
    check_names,
    count_cases,
    difference,
    load_policy,
    policy_from_text,
    run_cases,
)
from douane.edge.rules import RulesInvalid, load_rules


@pytest.fixture(scope="module")
def catalog() -> Catalog:
    return load_catalog()


@pytest.fixture(scope="module")
def shipped() -> LoadedPolicy:
    return load_policy(shipped_policy_dir())


def loaded(*rules: str, **settings: object) -> LoadedPolicy:
    text = json.dumps({"version": 1, **settings, "rules": [json.loads(rule) for rule in rules]}, indent=1)
    return policy_from_text(json.dumps({"policy.yaml": text}))


def test_the_shipped_policy_meets_its_cases(shipped: LoadedPolicy, catalog: Catalog) -> None:
    assert run_cases(shipped, catalog, shipped_policy_dir()) == []
    assert count_cases(shipped_policy_dir()) >= 30
    assert check_names(shipped, catalog) == ([], [])


CASES = """\
- call: GET https://api.github.com/repos/acme/site
  effect: hold
- call: GET https://api.github.com/repos/acme/site
- call: GET https://api.github.com/repos/acme/site
  efect: allow
- {call: GET ftp://api.github.com/, effect: allow}
- {call: POST https://api.stripe.com/v1/charges, form: amount=1&amount=2&currency=usd, effect: hold}
- {call: GET https://api.github.com/user, refused: true}
- {call: GET https://api.github.com/user, cap: $49}
- {call: GET https://api.github.com/user, cap: $50, tier: reversible, rule: tier.reversible, effect: allow}
- {call: DELETE https://api.github.com/repos/acme/site, reason_codes: [other], tool: x.y}
"""


def test_a_case_that_is_not_met_is_told_with_its_line(tmp_path: Path, shipped: LoadedPolicy, catalog: Catalog) -> None:
    (tmp_path / "cases").mkdir()
    (tmp_path / "cases" / "own.yaml").write_text(CASES)
    failures = run_cases(shipped, catalog, tmp_path)
    assert [failure.line for failure in failures] == [1, 3, 5, 6, 7, 8, 9, 11]
    told = {failure.line: str(failure) for failure in failures}
    assert told[1].endswith("GET https://api.github.com/repos/acme/site: expected effect hold, found allow")
    assert "expects nothing" in told[3]
    assert "unknown key `efect` → Did you mean `effect`?" in told[5]
    assert "not an http or https URL" in told[6]
    assert "refused: " in told[7]
    assert "expected a refusal, found github.users.get-authenticated" in told[8]
    assert "expected cap 49000000000, found 50000000000" in told[9]
    assert "expected tool x.y, found github.repos.delete; expected reason_codes" in told[11]


@pytest.mark.parametrize("text", ["a: yes", "call: GET https://x.example/", "- just words", "- {call: 5}"])
def test_a_broken_file_of_cases_fails(tmp_path: Path, shipped: LoadedPolicy, catalog: Catalog, text: str) -> None:
    (tmp_path / "cases").mkdir()
    (tmp_path / "cases" / "own.yaml").write_text(text)
    assert run_cases(shipped, catalog, tmp_path)


def test_a_tool_that_the_catalog_does_not_know(catalog: Catalog) -> None:
    found = loaded(
        '{"name": "free", "effect": "allow", "tools": ["github.repos.delet"]}',
        '{"name": "strict", "effect": "deny", "tools": ["github.repos.delte", "nobody.*", "github.repos.*"]}',
        '{"name": "cased", "effect": "allow", "tools": ["GitHub.repos.get"]}',
        '{"name": "made", "effect": "allow", "tools": ["github.unmatched.get", "mcp.files.read"]}',
    )
    mistakes, warnings = check_names(found, catalog)
    assert [(problem.message, problem.mend) for problem in mistakes] == [
        ("the catalog has no tool `github.repos.delet`", "Did you mean `github.repos.delete`?"),
        ("the catalog has no tool `GitHub.repos.get`", "Did you mean `github.repos.get`?"),
    ]
    assert [problem.message.rpartition(" ")[2] for problem in warnings] == ["`github.repos.delte`", "`nobody.*`"]


def test_all_mistakes_of_a_folder_are_told_at_once(tmp_path: Path) -> None:
    """An `allow` of a tool that is not there takes no force, however it is loaded."""
    rule = {"name": "free", "effect": "allow", "tools": ["github.repos.delet"]}
    (tmp_path / "policy.yaml").write_text(json.dumps({"version": 1, "rules": [rule]}, indent=1))
    (tmp_path / "prices").mkdir()
    (tmp_path / "prices" / "own.yaml").write_text("- provider: openai\n  modle: x\n")
    with pytest.raises(RulesInvalid) as raised:
        load_rules(tmp_path)
    assert {Path(problem.file).name for problem in raised.value.problems} == {"policy.yaml", "own.yaml"}


def test_a_change_is_told_before_it_takes_force(catalog: Catalog) -> None:
    old = loaded('{"name": "gone", "effect": "deny", "tools": ["github.repos.get"]}').policy
    new = loaded(
        '{"name": "free", "effect": "allow", "tools": ["github.repos.delete"], "agents": ["janitor"]}',
        '{"name": "prod", "effect": "deny", "tiers": ["irreversible"], "labels": {"env": "production"}}',
        unmapped="hold",
        budgets=[{"cap": "$5", "window": "1h"}],
        rates={"eur": 1.2},
    ).policy
    told = difference(old, new, catalog)
    assert told[:6] == [
        "unmapped: default → hold",
        "budget of all agents: $50.00 in 1d, waiting 30s → $5.00 in 1h, waiting 30s",
        "rates.eur: not set → 1.2",
        "rule free: added (allow)",
        "rule gone: removed (deny)",
        "rule prod: added (deny)",
    ]
    effects = told[6:]
    assert "looser: deny → allow for anybody: github.repos.get" in effects
    assert "stricter: allow → hold for anybody: unmapped.get, unmapped.post" in effects
    assert "looser: hold → allow for janitor: github.repos.delete" in effects
    (production,) = [line for line in effects if line.startswith("stricter: hold → deny for env=production: ")]
    assert production.endswith(" more")
    assert effects.index("looser: deny → allow for anybody: github.repos.get") == 0


def test_no_change_no_difference(shipped: LoadedPolicy, catalog: Catalog) -> None:
    assert difference(shipped.policy, policy_from_text(shipped.text).policy, catalog) == []
    assert difference(None, shipped.policy, catalog) == ["the first policy"]


def test_report_mode_is_told_as_looser(catalog: Catalog) -> None:
    told = difference(loaded().policy, loaded(mode="report").policy, catalog)
    assert told[0] == "mode: enforce → report"
    assert told[1].startswith("looser: hold → allow for anybody: ")


def test_a_changed_rule_is_told(catalog: Catalog) -> None:
    one, other = (
        loaded(json.dumps({"name": "r", "effect": "hold", "tools": ["x.y"], "when": when, "reason": when})).policy
        for when in ("cost > 1.0", "cost > 2.0")
    )
    assert difference(one, other, catalog) == ["rule r: changed (when, reason)"]
