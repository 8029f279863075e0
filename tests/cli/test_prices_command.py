"""`douane prices`: what holds for a model and where it is from, and which models of the register have no price."""

from __future__ import annotations

import json
from collections.abc import Callable
from pathlib import Path
from typing import Any

import yaml

from support.commands import call
from support.policy import policy_folder
from support.product import Product

TODAY = "2020-01-01"
OWN = f"""\
- {{provider: openai, model: gpt-own, from: {TODAY}, input: 2.00, output: 8.5, cache_read: 0.075, web_search: 0.02}}
- {{provider: openai, model: gpt-own, from: 2024-06-01, input: 1.00, output: 8.5, max_output: 4000, context: 9000}}
- {{provider: azure, model: our-chat, from: {TODAY}, same_as: gpt-4o}}
- {{provider: groq, model: gift, from: {TODAY}, free: true}}
"""
FEES = {"web_search": 0.01, "file_search": 0.0025, "container": 0.03}
"""What OpenAI charges beside every model's tokens."""


def offline(tmp_path: Path, text: str = OWN) -> Callable[..., Any]:
    """`prices(words…)` over a policy folder with own prices; no home is there."""
    (tmp_path / "policy" / "prices").mkdir(parents=True)
    (tmp_path / "policy" / "prices" / "own.yaml").write_text(text)

    def run(*words: str, check: bool = True) -> Any:
        product = Product(home=tmp_path / "nowhere")
        return product.run(
            "prices", *words, "--policy", str(tmp_path / "policy"), check=check, variables={"COLUMNS": "200"}
        )

    return run


def listed(done: Any) -> list[dict[str, Any]]:
    return [json.loads(line) for line in done.stdout.splitlines()]


def test_one_model_is_shown_whole(tmp_path: Path) -> None:
    prices = offline(tmp_path)
    shown = " ".join(prices("gpt-5.5", "--provider", "openai", "--on", "2026-11-23").stdout.split())
    for told in (
        "gpt-5.5 openai input $5.00 per million tokens output $30.00 per million tokens",
        "above 272,000 tokens input $10.00 per million tokens",
        "flex output $15.00",
        "priority input $12.50",
        "batch input $2.50",
        "web_search $0.01 per web search",
        "container $0.03 per container",
        "longest answer 128,000 tokens",
        "source genai-prices 0.2.3",
    ):
        assert told in shown, told
    assert not (tmp_path / "nowhere").exists()


def test_the_operators_prices_stand_with_file_line_and_day(tmp_path: Path) -> None:
    prices = offline(tmp_path)
    (now,), (before,) = listed(prices("gpt-own", "--json")), listed(prices("gpt-own", "--json", "--on", "2024-05-31"))
    assert (now["source"], now["from"]) == ("prices/own.yaml:2", "2024-06-01")
    assert (now["prices"], now["context_tokens"], now["max_output_tokens"]) == (
        {"input": 1.0, "output": 8.5} | FEES,
        9_000,
        4_000,
    )
    assert (before["source"], before["from"]) == ("prices/own.yaml:1", TODAY)
    assert before["prices"] == {"input": 2.0, "output": 8.5, "cache_read": 0.075} | FEES | {"web_search": 0.02}
    assert "prices/own.yaml:2 from 2024-06-01" in prices("gpt-own").stdout
    (same,), (book,) = (
        listed(prices("our-chat", "--json")),
        listed(prices("gpt-4o", "--provider", "azure", "--json")),
    )
    assert same["prices"] == book["prices"]
    assert (same["model"], same["source"]) == ("our-chat", "prices/own.yaml:3")
    (free,) = listed(prices("gift", "--json"))
    assert (free["free"], free["source"]) == (True, "prices/own.yaml:4")


def test_a_pattern_or_a_part_of_a_name_is_a_table(tmp_path: Path) -> None:
    prices = offline(tmp_path)
    by_pattern = prices("*CLAUDE-sonnet-4*", "--provider", "aws").stdout.splitlines()
    assert by_pattern[0].split()[:4] == ["provider", "model", "input", "output"]
    assert len(by_pattern) > 3
    assert all(line.startswith("aws ") and "claude-sonnet-4" in line for line in by_pattern[1:])
    assert {one["model"] for one in listed(prices("gpt-ow", "--json"))} == {"gpt-own"}
    everywhere = listed(prices("--json"))
    assert len(everywhere) > 1_500
    assert {"openai", "anthropic", "google", "aws", "openrouter", "groq"} <= {one["provider"] for one in everywhere}
    assert all(one["free"] or one["prices"] for one in everywhere), "what has no price is not listed"


def test_what_has_no_price_is_said(tmp_path: Path) -> None:
    done = offline(tmp_path)("gpt-99", "--provider", "openai", check=False)
    assert (done.returncode, done.stdout, done.stderr) == (1, "", "No price of gpt-99 at openai.\n")


def test_mistakes_in_the_prices_are_all_told(tmp_path: Path) -> None:
    prices = offline(tmp_path, "- {provider: openai, model: a}\n- {provider: nobody, model: b, free: true}\n")
    done = prices(check=False)
    assert (done.returncode, done.stdout) == (2, "")
    assert [line.partition(" ")[0] for line in done.stderr.splitlines()] == [
        *["prices/own.yaml:1:"] * 3,
        *["prices/own.yaml:2:"] * 2,
    ]


def test_check_names_what_was_asked_for_without_a_price(new_product: Callable[..., Product], tmp_path: Path) -> None:
    folder = policy_folder(tmp_path / "policy")
    policy = yaml.safe_load((folder / "policy.yaml").read_text())
    policy["budgets"].append({"agents": ["uncapped"], "cap": "none"})
    (folder / "policy.yaml").write_text(yaml.safe_dump(policy))
    product = new_product(policy=folder).start()
    clean = product.run("prices", "--check")
    assert clean.stdout == "Every model in the register has a price.\n"
    capped, uncapped = product.agent("capped", cap_usd="5"), product.agent("uncapped")

    def ask(agent: Any, model: str, host: str = "api.openai.com", path: str = "/v1/chat/completions") -> int:
        body = json.dumps({"model": model, "max_tokens": 5, "messages": [{"role": "user", "content": "hi"}]})
        return call(product, agent, "POST", path, body.encode(), host=host).status

    assert [ask(capped, "gpt-99"), ask(capped, "gpt-99"), ask(capped, "100")] == [403, 403, 403]
    assert ask(capped, "gpt-4o-mini") == 200
    assert ask(uncapped, "gpt-own-x") != 403
    assert ask(capped, "m", host="inference.example.net") == 403, "no price would mend this"

    def check(*more: str) -> Any:
        return product.run("prices", "--check", *more, check=False)

    def found() -> dict[str, dict[str, Any]]:
        return {one["model"]: one for one in listed(check("--json"))}

    told = check()
    assert told.returncode == 1
    today = found()["gpt-99"]["last"][:10]
    line = f"- {{provider: openai, model: gpt-99, from: {today}, input: 0.00, output: 0.00}}"
    assert line in told.stdout.splitlines()
    assert "refused 2 times" in told.stdout
    assert set(found()) == {"gpt-99", "100", "gpt-own-x"}
    assert (found()["gpt-99"]["refused"], found()["gpt-own-x"]["charged_otherwise"]) == (2, 1)
    assert found()["100"]["line"].startswith('- {provider: openai, model: "100", ')

    product.stop()
    before = {
        path: path.read_bytes() for path in product.home.rglob("*") if path.is_file() and "db-shm" not in path.name
    }
    assert check("--json").stdout, "without a node"
    assert {path: path.read_bytes() for path in before} == before, "what only reads leaves no trace"

    (folder / "prices").mkdir()
    own = "\n".join(one["line"].replace("0.00", "1.00") for one in found().values())
    (folder / "prices" / "own.yaml").write_text(own + "\n")
    mended = product.run("prices", "--check", "--policy", str(folder))
    assert mended.stdout == clean.stdout, "the lines as they were printed are the mend"
