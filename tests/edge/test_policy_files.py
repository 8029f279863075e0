"""Reading a policy folder: every mistake at once, and nothing that would be passed over in silence."""

from __future__ import annotations

import ipaddress
import json
import re
from pathlib import Path
from typing import Any

import pytest

from douane.core.decision import Budget, Effect, Limits
from douane.core.policy import DEFAULT_BUDGET, Uncountable
from douane.edge.home import shipped_policy_dir
from douane.edge.policy import PolicyInvalid, load_policy, policy_from_text
from douane.edge.policy.units import duration_text, duration_us, money_nano
from support.policies import facts, policy_of


def mistakes(text: str, **others: str) -> list[tuple[int, str, str]]:
    """Line, message and mend of every mistake; of further files with their name before the message."""
    files = {"policy.yaml": text} | {f"{name}.yaml": other for name, other in others.items()}
    with pytest.raises(PolicyInvalid) as invalid:
        policy_from_text(json.dumps(files))
    return [
        (found.line, found.message if found.file == "policy.yaml" else f"{found.file}: {found.message}", found.mend)
        for found in invalid.value.problems
    ]


EVERYTHING_WRONG = """\
version: 1
mode: enforced
caps: 50
hold: {wait: 2 days, expiry: 0s}
budgets:
  - {cap: 50}
  - {cap: $5, window: 30d, agents: [nightly]}
  - {cap: "$1,00", agents: [b]}
  - {window: 24h}
limits: 5
rates: {EUR: 1, gbp: -1}
tiers: {irreversible: allow}
destinations: {private: ["10.0.0.1/8", "a b"]}
rules:
  - name: twice
    effect: forbid
    tools: [github.repos.delete]
  - name: twice
    effect: hold
    when: "tool ==="
  - {name: free, effect: allow, wait: 5s, tools: [github.repos.get]}
  - name: x
    effect: deny
    toools: [github.repos.delete]
  - {name: loops, effect: hold, when: "args.a.exists(x, args.b.exists(z, z == x))"}
  - {name: names, effect: hold, when: "tol == 'a'"}
  - {name: words, effect: hold, methods: [get], natures: [moneys], labels: {env: true}}
  - hold
unmaped: hold
"""


def test_all_mistakes_of_a_file_at_once_with_line_and_mend() -> None:
    found = mistakes(EVERYTHING_WRONG)
    assert [line for line, _, _ in found] == [
        *[2, 3, 4, 4, 6, 7, 8, 9, 10, 11, 11, 12, 13, 13],
        *[16, 18, 20, 21, 24, 25, 26, 27, 27, 27, 28, 29],
    ]
    assert all(mend for _, _, mend in found)
    told = {line: f"{message} → {mend}" for line, message, mend in found}
    assert told[2] == "`mode: enforced` is not known → Did you mean `enforce`?"
    assert told[6] == "`50` is not an amount of dollars → Write $50, $0.05 or 50 USD."
    assert told[7] == "`30d` is out of range → It must be from 1m to 7d."
    assert told[18] == "the rule `twice` stands twice → It stands first in policy.yaml:15."
    assert told[24] == "unknown key `toools` → Did you mean `tools`?"
    assert told[26].startswith("the condition: there is no `tol` → There are: tool, tier")
    assert told[29] == "unknown key `unmaped` → Did you mean `unmapped`?"


@pytest.mark.parametrize(
    ("text", "line", "said"),
    [
        ("", 1, "a policy is a mapping"),
        ("- a", 1, "a policy is a mapping"),
        ("mode: enforce", 1, "`version` is missing"),
        ("version: 2", 1, "`version: 2` is not known"),
        ("version: 1\nrules:", 2, "`rules` is a list"),
        ("version: 1\nhold: 12s", 2, "`hold` is a mapping"),
        ("version: 1\nhold: {wait: 25h}", 2, "out of range"),
        ("version: 1\nhold: {wait: 12}", 2, "not a duration"),
        ("version: 1\nrules:\n- {name: a, effect: hold, expiry: 900ms}", 3, "out of range"),
        ("version: 1\nrules:\n- {name: a, effect: hold, expiry: 366d}", 3, "out of range"),
        ("version: 1\nrules:\n- {name: a, effect: deny, expiry: 1h}", 3, "`expiry` is for a hold only"),
        ("version: 1\nrules:\n- {name: tier.a, effect: deny}", 3, "a name of the defaults"),
        ("version: 1\nrules:\n- {name: A b, effect: deny}", 3, "not a valid name"),
        ("version: 1\nrules:\n- {effect: deny}", 3, "`name` is missing"),
        ("version: 1\nrules:\n- {name: a, effect: allow}", 3, "an allow that names no tool"),
        ("version: 1\nrules:\n- {name: a, effect: allow, tools: [github.*]}", 3, "an allow with the pattern"),
        ("version: 1\nrules:\n- {name: a, effect: allow, tools: [unmapped.post]}", 3, "on every unknown host"),
        ("version: 1\nrules:\n- {name: a, effect: deny, tools: [git*.x]}", 3, "not a valid name"),
        ("version: 1\nrules:\n- {name: a, effect: deny, tools: github.repos.delete}", 3, "`tools` is a list"),
        ("version: 1\nrules:\n- {name: a, effect: deny, hosts: ['https://a.b']}", 3, "not a host"),
        ("version: 1\nrules:\n- {name: a, effect: deny, hosts: ['a.b:443']}", 3, "not a host"),
        ('version: 1\nrules:\n- {name: a, effect: deny, reason: "a\\eb"}', 3, "not a sentence"),
        ("version: 1\nbudgets:\n- {cap: $5}\n- {cap: $6}", 4, "a second entry for all agents"),
        (
            "version: 1\nbudgets:\n- {cap: $5, agents: [a]}\n- {cap: $6, agents: [b, a]}",
            4,
            "a second entry for agent `a`",
        ),
        ("version: 1\nbudgets:\n- {cap: $5, labels: {a: b}}\n- {cap: none, labels: {a: b}}", 4, "for the same labels"),
        ("version: 1\nbudgets:\n- {cap: $5, agents: [a], labels: {a: b}}", 3, "agents and labels together"),
        ("version: 1\nbudgets:\n- {cap: $5, window: 1m, wait: 2m}", 3, "longer than the window"),
        ("version: 1\nbudgets:\n- {cap: $5000001}", 3, "out of range"),
        ("version: 1\nbudgets:\n- {cap: $-1}", 3, "not an amount"),
        ("version: 1\nunpriced_assumed: $5", 2, "without `on_unpriced: assume`"),
        ("version: 1\non_unpriced: assume\nunpriced_assumed: $5\nbudgets:\n- {cap: $4}", 5, "below `unpriced_assumed`"),
        ("version: 1\nlimits:\n- {open_reviews: 0}", 3, "greater than or equal to 1"),
        ("version: 1\nlimits:\n- {open_reviews: '5'}", 3, "valid integer"),
        ("version: 1\ndestinations: {private: allowed}", 2, "is not known"),
        ("version: 1\nmode: report\nmode: enforce", 3, "stands twice"),
    ],
)
def test_mistakes(text: str, line: int, said: str) -> None:
    found = mistakes(text)
    assert found[0][0] == line, found
    assert said in found[0][1]
    assert found[0][2]


def test_further_files_are_joined_and_checked_together() -> None:
    policy = policy_of(
        {"rules": [{"name": "a", "effect": "deny", "tools": ["x"]}]},
        more='rules: [{name: b, effect: hold, tools: ["y"]}]',
    )
    assert policy.decide(facts(tool="x")).effect is Effect.DENY
    assert policy.decide(facts(tool="y")).effect is Effect.HOLD
    found = mistakes(
        "version: 1\nmode: report\nrules: [{name: a, effect: deny}]",
        more="mode: enforce\nrules: [{name: a, effect: deny}]\nbudgets: [{cap: $1}, {cap: $2}]",
    )
    assert {message for _, message, _ in found} == {
        "`mode` stands in two files",
        "the rule `a` stands twice",
        "more.yaml: a second entry for all agents",
    }


def test_a_folder_is_read_whole_or_not_at_all(tmp_path: Path) -> None:
    with pytest.raises(PolicyInvalid, match="there is no policy here"):
        load_policy(tmp_path)
    (tmp_path / "policy.yaml").write_text("version: 1\n")
    for folder in ("cases", "schema", "catalog", "prices", ".git", "old"):
        (tmp_path / folder).mkdir()
    (tmp_path / "cases" / "a.yaml").write_text("- call: x")
    (tmp_path / ".git" / "a.yml").write_text("no: yes")
    (tmp_path / "catalog" / "own.yaml").write_text("tools: {}\n")
    loaded = load_policy(tmp_path)
    assert set(json.loads(loaded.text)) == {"policy.yaml", "catalog/own.yaml"}
    assert policy_from_text(loaded.text).digest == loaded.digest == loaded.policy.digest
    (tmp_path / "more.yml").write_text("rules: []")
    (tmp_path / "old" / "rules.yaml").write_text("rules: []")
    with pytest.raises(PolicyInvalid) as invalid:
        load_policy(tmp_path)
    assert [Path(found.file).name for found in invalid.value.problems] == ["more.yml", "rules.yaml"]


@pytest.mark.parametrize("text", ["", "[]", "{}", '{"policy.yaml": 1}', '{"other.yaml": "version: 1"}'])
def test_a_damaged_bundle_is_no_policy(text: str) -> None:
    with pytest.raises(PolicyInvalid):
        policy_from_text(text)


def test_the_digest_covers_overlays() -> None:
    one, other = (
        policy_from_text(json.dumps({"policy.yaml": "version: 1", "catalog/own.yaml": overlay})).digest
        for overlay in ("tools: {}", "tools: {} ")
    )
    assert one != other


BUDGETS: dict[str, Any] = {
    "budgets": [
        {"cap": "$50", "window": "12h", "wait": "10s"},
        {"cap": "$5", "agents": ["nightly"], "window": "1m"},
        {"cap": "none", "agents": ["boss"]},
        {"cap": "$200", "labels": {"team": "research"}},
        {"cap": "$100", "labels": {"env": "production"}, "wait": "1s"},
    ]
}


@pytest.mark.parametrize(
    ("agent", "labels", "own_nano", "cap_nano", "window_s", "wait_s", "source"),
    [
        ("a", {}, None, 50 * 10**9, 43200, 10, "policy policy.yaml:4"),
        ("a", {}, 7, 7, 43200, 10, "agent"),
        ("nightly", {}, 7, 5 * 10**9, 60, 10, "policy policy.yaml:9"),
        ("boss", {"team": "research"}, 7, None, 43200, 10, "policy policy.yaml:16"),
        ("a", {"team": "research"}, 7, 200 * 10**9, 43200, 10, "policy policy.yaml:22"),
        ("a", {"team": "research", "env": "production"}, None, 100 * 10**9, 43200, 1, "policy policy.yaml:28"),
    ],
)
def test_budgets(
    agent: str,
    labels: dict[str, str],
    own_nano: int | None,
    cap_nano: int | None,
    window_s: int,
    wait_s: int,
    source: str,
) -> None:
    found = policy_of(BUDGETS).budget(agent, labels, own_nano)
    assert found == Budget(cap_nano, window_s * 1_000_000, wait_s * 1_000_000, source)


def test_without_a_budget_the_guides_cap_is_in_force() -> None:
    assert policy_of({}).budget("a", {}, None) == DEFAULT_BUDGET == Budget(50_000_000_000, source="default")
    assert policy_of({}).budget("a", {}, 1) == Budget(1, source="agent")


def test_windows_and_shared_budgets() -> None:
    policy = policy_of(
        {
            "budgets": [
                {"cap": "$5", "window": "1h", "also": [{"cap": "$50", "window": "7d"}]},
                {"cap": "$200", "window": "7d", "shared": "data", "labels": {"team": "data"}, "exempt": ["ci"]},
                {"cap": "$900", "window": "24h", "shared": "all", "also": [{"cap": "$90", "window": "1h"}]},
            ]
        }
    )

    def caps(agent: str, labels: dict[str, str], own: int | None = None) -> list[tuple[str | None, int, int]]:
        return [
            (budget.account, (budget.cap_nano or 0) // 10**9, budget.window_us // 3_600_000_000)
            for budget in policy.budget(agent, labels, own).caps
        ]

    everybody = [("@all", 900, 24), ("@all", 90, 1)]
    assert caps("x", {}) == [(None, 5, 1), (None, 50, 168), *everybody]
    assert caps("x", {"team": "data"}) == [(None, 5, 1), (None, 50, 168), ("@data", 200, 168), *everybody]
    assert caps("ci", {"team": "data"}, 3 * 10**9) == [(None, 3, 1), (None, 50, 168), *everybody]
    assert policy.budget("x", {"team": "data"}, None).accounts == {"@data": None, "@all": None}


@pytest.mark.parametrize(
    ("budget", "wrong"),
    [
        ({"cap": "$5", "exempt": ["a"]}, "without `shared`"),
        ({"cap": "none", "shared": "a"}, "without a cap"),
        ({"cap": "$5", "shared": "a", "wait": "1s"}, "`wait` of a named"),
        ({"cap": "$5", "window": "1h", "also": [{"cap": "$9", "window": "1h"}]}, "same window"),
        ({"cap": "none", "also": [{"cap": "$9", "window": "1h"}]}, "beside no cap"),
        ({"cap": "$5", "also": [{"cap": "$9"}]}, "window"),
        ({"cap": "$5", "shared": "Data Team"}, "not a valid name"),
        ({"cap": "$5", "tools": ["stripe.refunds.create"]}, "`tools` without `counts`"),
        ({"cap": "$5", "each": "refunds"}, "`each` without `counts`"),
        ({"cap": "$5", "counts": "1.0", "shared": "a"}, "`counts` without `tools`"),
        ({"cap": "$5", "counts": "1.0", "tools": ["a.b"]}, "either `shared` or `each`"),
        ({"cap": "$5", "counts": "1.0", "tools": ["a.b"], "shared": "a", "each": "b"}, "either `shared` or `each`"),
        ({"cap": "$5", "counts": "nothing.here", "tools": ["a.b"], "shared": "a"}, "there is no `nothing`"),
        ({"cap": "$5", "counts": "args.", "tools": ["a.b"], "shared": "a"}, "the amount: not CEL"),
        ({"cap": "none", "counts": "1.0", "tools": ["a.b"], "each": "a"}, "without a cap"),
    ],
)
def test_mistakes_of_windows_and_shared_budgets(budget: dict[str, Any], wrong: str) -> None:
    with pytest.raises(PolicyInvalid, match=re.escape(wrong)):
        policy_of({"budgets": [budget]})


REFUNDS = {
    "cap": "$500",
    "window": "24h",
    "also": [{"cap": "$100", "window": "1h"}],
    "tools": ["stripe.refunds.create"],
    "counts": "has(args.amount) ? usd(args.amount, 'usd') : 80.0",
}


def counted(budget: dict[str, Any], tool: str = "stripe.refunds.create", **members: Any) -> list[tuple[str, int, int]]:
    policy = policy_of({"budgets": [budget]})
    found = policy.counted(facts(tool=tool, **members))
    return [(each.account or "", (each.cap_nano or 0) // 10**9, each.amount_nano or 0) for each in found]


def test_what_tools_move_counts_against_a_budget_of_its_own() -> None:
    shared, each = REFUNDS | {"shared": "refunds", "exempt": ["boss"]}, REFUNDS | {"each": "refunds"}
    assert counted(shared, args={"amount": 1999}) == [
        ("@refunds", 500, 19_990_000_000),
        ("@refunds", 100, 19_990_000_000),
    ]
    assert counted(shared, args={})[0] == ("@refunds", 500, 80_000_000_000)
    assert counted(each, agent="shop", args={"amount": 1})[0] == ("@refunds/shop", 500, 10_000_000)
    assert counted(shared, agent="boss", args={"amount": 1999}) == []
    assert counted(shared, tool="stripe.charges.create", args={"amount": 1999}) == []
    assert counted(shared | {"tools": ["stripe.*"]}, tool="stripe.charges.create", args={"amount": 1999}) != []
    whole = shared | {"counts": "double(args.amount)"}
    assert counted(whole, args={"amount": 0})[0] == ("@refunds", 500, 0)


@pytest.mark.parametrize(
    ("args", "operations"),
    [
        ({"amount": -5}, ()),
        ({"amount": "many"}, ()),
        ({"amount": [1]}, ()),
        ({"amount": None}, ()),
        ({"amount": 10**12}, ()),
        ({"amount": 1}, ("stripe.refunds.create", "stripe.refunds.create")),
    ],
)
def test_an_amount_that_cannot_be_told_is_no_amount(args: dict[str, Any], operations: tuple[str, ...]) -> None:
    with pytest.raises(Uncountable, match="refunds"):
        counted(REFUNDS | {"shared": "refunds"}, args=args, operations=operations)


def test_a_batch_that_hides_a_counted_tool_is_not_counted_as_nothing() -> None:
    with pytest.raises(Uncountable):
        counted(REFUNDS | {"shared": "refunds"}, tool="stripe.batch", operations=("stripe.refunds.create",))


def test_a_shared_budget_stands_once() -> None:
    with pytest.raises(PolicyInvalid, match="a second budget `a`"):
        policy_of({"budgets": [{"cap": "$5", "shared": "a"}, {"cap": "$6", "shared": "a"}]})


def test_limits() -> None:
    policy = policy_of(
        {
            "limits": [
                {"open_reviews": 5},
                {"agents": ["bulk"], "concurrent_calls": 500},
                {"labels": {"a": "1"}, "concurrent_calls": 9, "connections": 7},
                {"labels": {"b": "1"}, "concurrent_calls": 8},
            ]
        }
    )
    assert policy.limits("x", {}) == Limits(open_reviews=5)
    assert policy.limits("bulk", {"a": "1"}) == Limits(open_reviews=5, concurrent_calls=500)
    assert policy.limits("x", {"a": "1", "b": "1"}) == Limits(open_reviews=5, concurrent_calls=8, connections=7)
    assert policy_of({}).limits("x", {}) == Limits()


def test_private_destinations() -> None:
    policy = policy_of(
        {"destinations": {"private": ["build.internal:8443", "[::1]:9000", "db", "10.20.0.0/16", "fd00::/8"]}}
    )

    def listed(host: str, port: int, address: str) -> bool:
        return policy.destination_listed(host, port, ipaddress.ip_address(address))

    assert listed("build.internal", 8443, "192.168.0.1")
    assert not listed("build.internal", 443, "192.168.0.1")
    assert listed("::1", 9000, "::1")
    assert listed("db", 5432, "127.0.0.1")
    assert not listed("db.evil", 5432, "127.0.0.1")
    assert listed("any", 1, "10.20.255.255")
    assert listed("any", 1, "::ffff:10.20.0.1")
    assert not listed("any", 1, "10.21.0.1")
    assert listed("any", 1, "fd12::1")
    assert policy_of({"destinations": {"private": "allow"}}).destination_listed(
        "x", 1, ipaddress.ip_address("10.0.0.1")
    )
    assert not policy_of({}).destination_listed("x", 1, ipaddress.ip_address("10.0.0.1"))


def test_unpriced_calls() -> None:
    policy = policy_of({"on_unpriced": "assume", "unpriced_assumed": "$2.50"})
    assert (policy.on_unpriced, policy.unpriced_assumed_nano) == ("assume", 2_500_000_000)
    assert policy_of({}).on_unpriced == "deny"


@pytest.mark.parametrize(
    ("text", "us"),
    [
        ("12s", 12_000_000),
        ("1m", 60_000_000),
        ("24h", 86_400_000_000),
        ("7d", 604_800_000_000),
        ("500ms", 500_000),
        ("0s", 0),
    ],
)
def test_durations(text: str, us: int) -> None:
    assert duration_us(text) == us
    assert duration_us(duration_text(us)) == us


@pytest.mark.parametrize("value", ["12", "1.5h", "-1s", "1 day", "1h30m", "١s", "", 12, None, True, "9999999s", "1s\n"])
def test_no_durations(value: Any) -> None:
    with pytest.raises(ValueError):
        duration_us(value)


@pytest.mark.parametrize(
    ("text", "nano"),
    [
        ("$50", 50 * 10**9),
        ("50 USD", 50 * 10**9),
        ("$0.05", 50_000_000),
        ("$1,234.5", 1_234_500_000_000),
        ("$0.000000001", 1),
    ],
)
def test_money(text: str, nano: int) -> None:
    assert money_nano(text) == nano


@pytest.mark.parametrize(
    "value", ["50", "$1,00", "$1,2345", "50 EUR", "$-1", "$1e3", "$.5", "$٥", 50, 0.5, True, None, "$5\n"]
)
def test_no_money(value: Any) -> None:
    with pytest.raises(ValueError):
        money_nano(value)


def test_the_shipped_policy_is_the_guides() -> None:
    policy = load_policy(shipped_policy_dir()).policy
    assert policy.mode == "enforce"
    budget = policy.budget("anyone", {}, None)
    assert (budget.cap_nano, budget.window_us, budget.wait_us) == (50_000_000_000, 86_400_000_000, 30_000_000)
    decision = policy.decide(facts(tool="github.repos.delete", tier="irreversible", nature="delete", method="DELETE"))
    assert (decision.effect, decision.hold_wait_us, decision.expires_us) == (Effect.HOLD, 12_000_000, 86_400_000_000)
    assert policy.limits("anyone", {}) == Limits()
    assert policy.on_unpriced == "deny"
