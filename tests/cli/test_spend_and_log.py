"""`douane spend` and `douane log`: figures and records as people and machines read them."""

from __future__ import annotations

import json
import re
import subprocess
from collections.abc import Iterator
from typing import Any

import pytest
from rich.cells import cell_len

from support.bill import NANO_PER_TOKEN
from support.commands import call, held, refused
from support.product import DOUANE, Agent, Product, base_environment, eventually
from support.providers import Providers

MODEL = "gpt-4o-mini"
CHARGE_NANO = 1_000 * NANO_PER_TOKEN[MODEL][0] + 2_000 * NANO_PER_TOKEN[MODEL][1]
BODY = json.dumps({"model": MODEL, "max_tokens": 20, "messages": [{"role": "user", "content": "hi"}]}).encode()


@pytest.fixture(autouse=True)
def bill(providers: Providers) -> Iterator[None]:
    usual = providers.bill.output_tokens
    providers.bill.output_tokens = 2_000
    yield
    providers.bill.output_tokens = usual


def think(product: Product, agent: Agent) -> None:
    """One model call, charged."""
    before = product.spend(agent.name)["settled_nano"]
    assert call(product, agent, "POST", "/v1/chat/completions", BODY, host="api.openai.com").status == 200
    eventually(lambda: product.spend(agent.name)["settled_nano"] == before + CHARGE_NANO, "the charge")


def line_of(printed: str, agent: str) -> str:
    (line,) = (line for line in printed.splitlines() if line.split()[0] == agent)
    return line


def test_spend_shows_a_bar_of_each_cap_at_80_columns(product: Product) -> None:
    half = product.agent("half", cap_usd=f"{2 * CHARGE_NANO / 1e9:.9f}")
    full = product.agent("full", cap_usd=f"{CHARGE_NANO / 1e9:.9f}")
    product.agent("none", cap_usd="10")
    product.agent("zero", cap_usd="0")
    product.agent("by-policy")
    for agent in (half, full):
        think(product, agent)
    printed = product.run("spend", variables={"COLUMNS": "80"}).stdout
    assert printed.splitlines()[0].split("  ")[0] == "agent"
    assert [line for line in printed.splitlines() if cell_len(line) > 80] == []

    def bar(agent: str) -> tuple[int, int]:
        line = line_of(printed, agent)
        return line.count("█"), line.count("░")

    wide = sum(bar("none"))
    assert wide >= 8
    assert bar("none") == (0, wide)
    assert bar("full") == (wide, 0)
    assert bar("half") == (-(-wide // 2), wide // 2)
    assert bar("zero") == (0, 0)
    assert re.match(r"half  +\$0\.0014  +\$0\.00  +\$0\.0027  +24 h  +[█░]+  agent$", line_of(printed, "half"))
    assert re.search(r"\$50\.00  +24 h  +[█░]+  policy policy\.yaml:\d+$", line_of(printed, "by-policy"))
    wider = product.run("spend", variables={"COLUMNS": "200"}).stdout
    assert line_of(wider, "full").count("█") == 24


def test_spend_for_machines(product: Product) -> None:
    agent = product.agent("counted", cap_usd="1")
    think(product, agent)
    rows = {row["agent"]: row for row in json.loads(product.run("spend", "--json").stdout)}
    row = rows["counted"]
    assert (row["settled_nano"], row["reserved_nano"], row["cap_nano"]) == (CHARGE_NANO, 0, 10**9)
    assert (row["window_seconds"], row["source"]) == (86_400, "agent")


def test_spend_summed_up(product: Product) -> None:
    agent, other = product.agent("summed", cap_usd="1"), product.agent("other", cap_usd="1")
    for each in (agent, agent, other):
        think(product, each)

    def spent(*words: str) -> list[dict[str, Any]]:
        found: list[dict[str, Any]] = json.loads(product.run("spend", *words, "--json").stdout)
        return [row for row in found if row["agent"] in ("summed", "other")]

    (mine,) = spent("--by", "model", "--agent", "summed")
    assert (mine["agent"], mine["calls"], mine["charge_nano"]) == ("summed", 2, 2 * CHARGE_NANO)
    assert mine["model"] == "gpt-4o-mini"
    tools = spent("--by", "tool", "--since", "1h")
    assert [(row["agent"], row["calls"], row["tool"]) for row in tools] == [
        ("summed", 2, "openai.chat.completions.create"),
        ("other", 1, "openai.chat.completions.create"),
    ]
    (day,) = spent("--by", "day", "--agent", "other")
    assert re.fullmatch(r"20\d\d-\d\d-\d\d", day["day"])
    printed = product.run("spend", "--by", "model", "--agent", "summed").stdout
    assert re.search(r"summed +gpt-4o-mini +2 +\$0\.0027 +█+", printed)
    assert product.run("spend", "--by", "day", "--agent", "nobody").stdout == "Nothing was charged.\n"
    assert "--since needs --by" in product.run("spend", "--since", "7d", check=False).stderr
    assert "write 12s" in product.run("spend", "--since", "soon", "--by", "day", check=False).stderr


def test_spend_without_a_node_shows_who_calls_before_any_agent_is_registered(idle: Product) -> None:
    (row,) = json.loads(idle.run("spend", "--json").stdout)
    assert (row["agent"], row["settled_nano"], row["cap_usd"]) == ("default", 0, 50.0)


def records(product: Product, *words: str) -> list[dict[str, Any]]:
    return [json.loads(line)["record"] for line in product.run("log", *words, "--json").stdout.splitlines()]


def test_log_filters(product: Product) -> None:
    agent, other = product.agent("logged"), product.agent("elsewhere")
    for path in ("/user", "/repos/acme/docs", "/repos/acme/website"):
        assert call(product, agent, path=path).status == 200
    assert call(product, other).status == 200
    assert call(product, agent, "DELETE", "/repos/acme/docs").status == 403
    mine = records(product, "--agent", "logged")
    assert {record["agent"] for record in mine} == {"logged"}
    assert {"intent", "result", "refusal", "review"} <= {record["kind"] for record in mine}
    intents = records(product, "--agent", "logged", "--kind", "intent")
    assert [record["tool"] for record in intents] == ["github.users.get-authenticated", *["github.repos.get"] * 2]
    assert records(product, "--agent", "logged", "--kind", "intent", "--limit", "1") == intents[-1:]
    assert records(product, "--agent", "logged", "--tool", "github.repos.get", "--kind", "intent") == intents[1:]
    held = records(product, "--agent", "logged", "--outcome", "ESCALATE")
    assert {record["kind"] for record in held} >= {"refusal"}
    assert {record["outcome"] for record in held} == {"ESCALATE"}
    assert len(records(product, "--limit", "3")) == 3
    for kind in ("admin", "policy", "review"):
        assert {record["kind"] for record in records(product, "--kind", kind)} <= {kind}
    assert product.run("log", "--agent", "nobody").stdout == "The register has no such record.\n"
    assert product.run("log", "--agent", "nobody", "--json").stdout == ""


def test_log_for_people_is_never_cut(product: Product) -> None:
    agent = product.agent("a-name-of-quite-some-length-that-no-list-may-cut-in-two")
    call(product, agent)
    (intent,) = records(product, "--agent", agent.name, "--kind", "intent")
    printed = product.run("log", "--agent", agent.name, variables={"COLUMNS": "80"}).stdout.splitlines()
    assert printed[0].split() == ["seq", "time", "kind", "agent", "tool", "call", "what"]
    (line,) = (line for line in printed if line.split()[0] == str(intent["seq"]))
    assert f"  intent  {agent.name}  github.users.get-authenticated  " in " ".join(line.split(" "))
    assert f"  {intent['call_id']}  " in line


def test_one_calls_story(product: Product) -> None:
    agent = product.agent("storied", cap_usd="1")
    think(product, agent)
    (intent,) = records(product, "--agent", "storied", "--kind", "intent")
    told = json.loads(product.run("log", "show", intent["call_id"], "--json").stdout)
    assert [entry["record"]["kind"] for entry in told] == ["intent", "result"]
    printed = product.run("log", "show", intent["call_id"]).stdout
    heads = [line for line in printed.splitlines() if not line.startswith(" ")]
    assert [line.split("  ")[1] for line in heads] == ["intent", "result"]
    assert "$0.0014" in heads[1]
    assert f"    charge_nano: {CHARGE_NANO}" in printed
    assert f"    model: {MODEL}" in printed


def heads(product: Product, *words: str) -> list[str]:
    """Each record's kind and what it says, of a story for people."""
    printed = product.run("log", "show", *words).stdout.splitlines()
    return [" ".join(line.split("  ")[1:3]) for line in printed if not line.startswith(" ")]


def test_a_held_calls_story_is_whole_from_whichever_end_it_is_asked_for(product: Product) -> None:
    agent = product.agent("approved")
    review_id = held(product, agent, "storied")
    assert held(product, agent, "storied") == review_id
    product.decide(review_id, "approve")
    assert call(product, agent, "DELETE", "/repos/acme/storied").status == 404
    other = held(product, agent, "other")
    wanted = ["review", "refusal", "refusal", "verdict", "intent", "result"]
    calls = list(dict.fromkeys(r["call_id"] for r in records(product, "--agent", "approved") if "call_id" in r))[:3]
    stories = [heads(product, name) for name in (review_id, *calls, review_id[:-6], calls[0][:-6])]
    assert stories == [stories[0]] * 6
    assert [head.split()[0] for head in stories[0]] == wanted
    assert stories[0][3] == "verdict approved · rita"
    assert review_id not in product.run("log", "show", other).stdout
    told = json.loads(product.run("log", "show", review_id, "--json").stdout)
    assert [entry["record"]["kind"] for entry in told] == wanted
    assert told[3]["record"]["reviewer"] == "rita"


def test_the_beginning_of_several_ids_lists_them(product: Product) -> None:
    agent = product.agent("several")
    seen: dict[str, str] = {}
    while (second := held(product, agent, f"number-{len(seen)}"))[0] not in seen:
        seen[second[0]] = second
    first = seen[second[0]]
    done = product.run("log", "show", first[0], check=False)
    assert (done.returncode, done.stdout) == (1, "")
    lines = done.stderr.splitlines()
    assert lines[0] == f"douane: more than one id begins with {first[0]}:"
    assert {f"  review {first}", f"  review {second}"} <= set(lines)
    answer = product.api("GET", f"/v1/calls/{first[0]}")
    assert (answer.status, answer.body["error"]["code"]) == (409, "conflict")
    assert len(answer.body["candidates"]) == len(lines) - 1


def test_unknown_calls_and_wrong_limits_are_one_clear_line(product: Product) -> None:
    for unknown in ("0198c0de-0000-7000-8000-000000000000", "no such", "../agents", "\x1b[2J"):
        assert refused(product, "log", "show", unknown) == "there is no such call or review"
    for limit in ("-1", "0", "100001", "many"):
        assert refused(product, "log", "--limit", limit, code=2).startswith("Invalid value for '--limit'")
    assert "'refusal'" in refused(product, "log", "--kind", "refusals", code=2)


def test_text_from_outside_cannot_play_the_terminal(product: Product, providers: Providers) -> None:
    agent = product.agent("hostile")
    title = "\x1b[2J\x1b]0;owned\x07[bold red]fake[/] \u202e gpj.exe\r\n99  forged \u2028"
    call(product, agent, "POST", "/repos/acme/website/issues", json.dumps({"title": title}).encode())
    (intent,) = records(product, "--agent", "hostile", "--kind", "intent")
    shown = ""
    for words in ([], ["--json"], ["show", intent["call_id"]], ["show", intent["call_id"], "--json"]):
        printed = product.run("log", *words).stdout
        assert intent["call_id"] in printed
        assert [ch for ch in printed if not ch.isprintable() and ch != "\n"] == []
        assert "\n99  forged" not in printed
        shown += printed
    assert "[bold red]fake[/]" in shown


def test_a_reader_that_leaves_early_is_no_error(product: Product) -> None:
    process = subprocess.Popen(
        [DOUANE, "log", "--json", "--home", str(product.home)],
        stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True, env=base_environment(product.home),
    )  # fmt: skip
    assert process.stdout is not None
    process.stdout.close()
    assert process.stderr is not None
    assert process.stderr.read() == ""
    process.stderr.close()
    process.wait(60)
