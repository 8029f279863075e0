"""`douane policy`: what it prints and how it exits."""

from __future__ import annotations

import json
import shutil
from collections.abc import Callable
from pathlib import Path

import pytest
from click.testing import CliRunner, Result

from douane.cli.policy import policy
from douane.edge.home import shipped_policy_dir
from support.product import Product

type Run = Callable[..., Result]


@pytest.fixture
def run(tmp_path: Path) -> Run:
    def command(*arguments: str) -> Result:
        done = CliRunner().invoke(policy, [*arguments, "--home", str(tmp_path / "home")], env={"COLUMNS": "200"})
        assert done.exception is None or isinstance(done.exception, SystemExit), done.exception
        return done

    return command


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    made = tmp_path / "home" / "policy"
    made.mkdir(parents=True)
    shutil.copyfile(shipped_policy_dir() / "policy.yaml", made / "policy.yaml")
    shutil.copytree(shipped_policy_dir() / "cases", made / "cases")
    return made


def test_the_shipped_policy_is_right(run: Run) -> None:
    done = run("check")
    assert done.exit_code == 0
    assert f"{shipped_policy_dir()}: no mistakes" in done.output
    done = run("test")
    assert (done.exit_code, done.output.endswith("cases, all as expected.\n")) == (0, True)


def test_mistakes_of_policy_catalog_and_prices_at_once(run: Run, folder: Path) -> None:
    (folder / "policy.yaml").write_text("version: 1\nmode: enforced\nrulez: []\n")
    for overlay in ("catalog", "prices"):
        (folder / overlay).mkdir()
        (folder / overlay / "own.yaml").write_text("nonsense: yes\n")
    done = run("check", str(folder))
    assert done.exit_code == 2
    assert f"{folder}/policy.yaml:2: `mode: enforced` is not known → Did you mean `enforce`?" in done.stderr
    assert f"{folder}/policy.yaml:3: unknown key `rulez` → Did you mean `rules`?" in done.stderr
    assert "catalog/own.yaml:1: " in done.stderr
    assert "prices/own.yaml:1: " in done.stderr
    assert done.stdout == ""
    assert run("test").exit_code == run("explain", "GET", "https://x.example/").exit_code == 2


def test_a_name_that_does_nothing_is_a_warning_in_a_hold_and_a_mistake_in_an_allow(run: Run, folder: Path) -> None:
    rule = "version: 1\nrules: [{name: a, effect: %s, tools: [github.repos.delet]}]\n"
    (folder / "policy.yaml").write_text(rule % "hold")
    done = run("check")
    assert done.exit_code == 0
    assert "no tool `github.repos.delet` → Did you mean `github.repos.delete`? (a warning)" in done.stderr
    (folder / "policy.yaml").write_text(rule % "allow")
    done = run("check")
    assert done.exit_code == 2
    assert "policy.yaml:2: the catalog has no tool `github.repos.delet`" in done.stderr


def test_every_answer_names_its_folder_and_what_comes_next(run: Run, folder: Path, tmp_path: Path) -> None:
    (folder / "cases" / "tiers.yaml").write_text("- {call: GET https://api.github.com/user, effect: allow}\n")
    for case in (folder / "cases").glob("[!t]*"):
        case.unlink()
    assert run("check").stdout.startswith(f"{folder}: no mistakes; ")
    assert run("check").stdout.endswith(" rules, 1 case. Next: douane policy test\n")
    shipped = str(shipped_policy_dir())
    assert run("check", shipped).stdout.endswith(f" Next: douane policy test {shipped}\n")
    assert run("test").stdout == f"{folder}: 1 case, all as expected.\n", "there is no node to apply it to"
    Product(home=tmp_path / "home").run("reviewer", "add", "rita")
    assert run("test").stdout == f"{folder}: 1 case, all as expected. Next: douane policy apply\n"
    assert "Next" not in run("test", str(shipped_policy_dir())).stdout
    assert "apply" in run(*DELETE).stdout
    assert "apply" not in run(*DELETE, "--policy", str(shipped_policy_dir())).stdout
    (folder / "policy.yaml").write_text("version: 1\nrulez: []\n")
    assert run("check").stderr.endswith(f"\n{folder}: 1 mistake; the policy takes no force.\n")


def test_a_folder_without_a_policy(run: Run, tmp_path: Path) -> None:
    done = run("check", str(tmp_path))
    assert (done.exit_code, done.stdout) == (2, "")
    assert "there is no policy here → Name its folder with --policy DIR." in done.stderr


def test_control_characters_in_a_file_do_not_reach_the_terminal(run: Run, folder: Path) -> None:
    (folder / "policy.yaml").write_text('version: 1\n"mo\\e[2Jde": 1\n')
    done = run("check")
    assert done.exit_code == 2
    assert "\x1b" not in done.output


def test_a_failed_case(run: Run, folder: Path) -> None:
    (folder / "cases" / "own.yaml").write_text("- {call: GET https://api.github.com/user, effect: deny}\n")
    done = run("test")
    assert done.exit_code == 1
    assert "own.yaml:1: GET https://api.github.com/user: expected effect deny, found allow" in done.stderr


def test_explain_for_machines(run: Run, folder: Path) -> None:
    done = run("explain", "delete", "https://api.github.com/repos/acme/site", "--label", "env=production", "--json")
    assert done.exit_code == 0
    told = json.loads(done.stdout)
    assert (told["tool"], told["tier"], told["effect"]) == ("github.repos.delete", "irreversible", "hold")
    assert told["rule"] == "irreversible-in-production"
    assert told["reason_codes"] == ["irreversible_in_production", "tool_irreversible"]
    assert told["arguments"] == {"owner": "acme", "repo": "site"}
    assert told["summary"]
    assert told["reason"].endswith(".")
    assert (told["cap_usd"], told["enforced"], told["hold_wait_seconds"]) == (50.0, True, 12.0)


@pytest.mark.parametrize(
    ("arguments", "expected"),
    [
        (["POST", "https://api.stripe.com/v1/charges", "--data", "amount=9999&currency=usd"], ("allow", [])),
        (
            ["POST", "https://api.stripe.com/v1/charges", "--data", "amount=1&currency=chf"],
            ("hold", ["amount_over_limit", "condition_unevaluable"]),
        ),
        (["POST", "https://api.stripe.com/v1/charges", "--data", "amount=1&amount=2"], ("deny", ["request_ambiguous"])),
        (["GET", "https://api.example.com//x"], ("allow", [])),
        (["DELETE", "https://api.example.com/x"], ("hold", ["host_unmapped"])),
        (
            ["POST", "https://api.openai.com/v1/chat/completions", "--data", '{"model": "no-such", "messages": []}'],
            ("deny", ["model_unpriced"]),
        ),
    ],
)
def test_explain(run: Run, folder: Path, arguments: list[str], expected: tuple[str, list[str]]) -> None:
    told = json.loads(run("explain", *arguments, "--json").stdout)
    assert (told["effect"], told["reason_codes"]) == expected


def test_explain_prices_a_model_call(run: Run, folder: Path) -> None:
    (folder / "policy.yaml").write_text("version: 1\nrules: [{name: dear, effect: hold, when: cost > 0.01}]\n")
    call = ["explain", "POST", "https://api.anthropic.com/v1/messages", "--json", "--data"]
    body = {"model": "claude-sonnet-4-5", "max_tokens": 1, "messages": [{"role": "user", "content": "hi"}]}
    cheap = json.loads(run(*call, json.dumps(body)).stdout)
    dear = json.loads(run(*call, json.dumps({**body, "max_tokens": 10_000})).stdout)
    assert 0 < cheap["worst_case_usd"] < dear["worst_case_usd"]
    assert (dear["effect"], dear["rule"]) == ("hold", "dear")


def test_explain_tells_what_counts_against_a_budget_of_its_own(run: Run, folder: Path) -> None:
    budget = "{each: pay, tools: [stripe.payouts.create], counts: 'usd(args.amount, args.currency)', cap: $9"
    more = "window: 1h, also: [{cap: $50, window: 24h}]}"
    (folder / "policy.yaml").write_text(f"version: 1\nbudgets:\n  - {budget}, {more}\n")
    call = ["explain", "POST", "https://api.stripe.com/v1/payouts", "--agent", "shop", "--json", "--data"]
    told = json.loads(run(*call, "amount=500&currency=usd").stdout)
    assert (told["effect"], told["counts"]) == ("hold", [{"budget": "pay/shop", "usd": 5.0}])
    told = json.loads(run(*call, "currency=usd").stdout)
    assert (told["effect"], told["rule"], told["counts"]) == ("deny", "budget.pay", [])
    assert "$5.00 against pay/shop" in run(*call[:-2], "--data", "amount=500&currency=usd").stdout


def test_explain_refuses_what_has_no_price_where_only_a_shared_budget_caps(run: Run, folder: Path) -> None:
    (folder / "policy.yaml").write_text("version: 1\nbudgets: [{cap: none}, {shared: all, cap: $9, window: 1h}]\n")
    call = ["explain", "POST", "https://api.openai.com/v1/chat/completions", "--json", "--data"]
    told = json.loads(run(*call, '{"model": "no-such", "messages": []}').stdout)
    assert (told["effect"], told["rule"]) == ("deny", "on_unpriced")


DELETE = ("explain", "DELETE", "https://api.github.com/repos/acme/site")


def test_explain_knows_the_agents_labels_and_cap(run: Run, folder: Path, tmp_path: Path) -> None:
    home = Product(home=tmp_path / "home")
    home.run("agent", "add", "nightly", "--label", "env=production", "--label", "team=ops", "--cap", "5")
    shutil.copyfile(shipped_policy_dir() / "policy.yaml", folder / "policy.yaml")
    told = json.loads(run(*DELETE, "--agent", "nightly", "--json").stdout)
    assert (told["agent_known"], told["rule"]) == (True, "irreversible-in-production")
    assert told["labels"] == {"env": "production", "team": "ops"}
    other = json.loads(run(*DELETE, "--agent", "nightly", "--label", "env=staging", "--json").stdout)
    assert other["labels"] == {"env": "staging", "team": "ops"}
    assert other["rule"] != told["rule"]
    (folder / "policy.yaml").write_text("version: 1\n")
    told = json.loads(run(*DELETE, "--agent", "nightly", "--json").stdout)
    assert (told["cap_usd"], told["cap_source"]) == (5.0, "agent")


def test_explain_says_that_it_does_not_know_the_agent(run: Run, folder: Path, tmp_path: Path) -> None:
    for _ in range(2):
        done = run(*DELETE, "--agent", "nightyl")
        assert (done.exit_code, "github.repos.delete" in done.stdout) == (0, True)
        assert "no agent nightyl is registered in" in done.stderr
        done = run(*DELETE, "--agent", "nightyl", "--json")
        assert (done.stderr, json.loads(done.stdout)["agent_known"]) == ("", False)
        assert run(*DELETE).stderr == "", "nobody asked about one agent"
        Product(home=tmp_path / "home").run("agent", "add", "nightly", check=False)


def test_explain_for_people_masks_and_reads_a_file(run: Run, folder: Path, tmp_path: Path) -> None:
    (tmp_path / "body").write_text('{"name": "web", "config": {"secret": "s3cr3t-canary"}}')
    done = run("explain", "POST", "https://api.github.com/repos/a/b/hooks", "--data", f"@{tmp_path / 'body'}")
    assert done.exit_code == 0
    assert "github.repos.create-webhook" in done.output
    assert "s3cr3t-canary" not in done.output


@pytest.mark.parametrize(
    "arguments",
    [
        ["GET", "ftp://x/"],
        ["G T", "https://x.example/"],
        ["GET", "https://x.example/", "--label", "env"],
        ["GET", "https://x.example/", "--header", "nothing"],
        ["GET", "https://x.example/", "--data", "@/no/such/file"],
    ],
)
def test_explain_misused(run: Run, folder: Path, arguments: list[str]) -> None:
    done = run("explain", *arguments)
    assert done.exit_code == 2
    assert "Error: " in done.stderr


def test_apply_without_a_node_says_what_to_do(run: Run, tmp_path: Path) -> None:
    Product(home=tmp_path / "home").run("reviewer", "add", "rita")
    done = run("apply")
    assert done.exit_code == 1
    assert "Start one with `douane up`, then run `douane policy apply` again." in done.stderr
