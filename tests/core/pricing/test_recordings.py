"""All recordings: priced as their providers state or as their prices say, every miss with its cause.

They lie beside the checkout, or where DOUANE_RECORDINGS says, and are no part of the project; without them these tests
are skipped by name.
"""

from __future__ import annotations

import datetime
import json
import os
import subprocess
import sys
from functools import cache
from pathlib import Path

import pytest

from douane.core.charge import Unpriced
from douane.core.pricing import Plan, PriceBook
from douane.core.pricing.recorded import Recording, compare, plan, read_recording, settle
from douane.edge.prices import load_prices

ROOT = Path(__file__).parents[3]
RECORDINGS = Path(os.environ.get("DOUANE_RECORDINGS") or ROOT.parent / "shared" / "data" / "pricing")
DAY = datetime.date(2026, 11, 23)

ITERATIONS = "the other figure leaves out the compaction's own iteration"
REASONING = "the other figure leaves out reasoning that only the total shows"
FEES = "the other figure leaves out the fee of a tool that the provider ran"
NO_SEARCH = "the other figure has a search that no event of the answer shows"
ROUTED = "OpenRouter sent it to a host that is dearer than the one in the book"
CONTRADICTS = "the cached tokens are counted as written too: charged at the dearest that they could be"

MISSES = {
    "anthropic__anthropic__stream__cached": ITERATIONS,
    "anthropic__anthropic__stream__iterations": ITERATIONS,
    "google__chat__json__basic": REASONING,
    "google__gemini__json__grounding": FEES,
    "openai__responses__json__codeinterp": FEES,
    "openai__responses__stream__codeinterp": FEES,
    "openai__responses__stream__cached": NO_SEARCH,
    "openrouter__chat__json__calc-error": CONTRADICTS,
    "openrouter__responses__stream__nousage": ROUTED,
}
"""With stated costs not believed: every figure that is not met, and why."""

NOT_PRICED = {
    "aws__free__json__basic": "counting tokens is free",
    "google__free__json__basic": "counting tokens is free",
    "azure__chat__json__basic": "a deployment: `same_as` says which model it is",
    "azure__chat__stream__nousage": "a deployment: `same_as` says which model it is",
    "azure__other__json__basic": "no call of a model",
    "bedrock-mantle__v1-chat-completions__json__basic": "the book has no price of the model",
    "cohere__cohere-rerank__json__basic": "the book has no price of the model",
    "cohere__other__json__basic": "no call of a model that is metered",
    "google__other__json__basic": "no call of a model that is metered",
    "openai__conversations__json__basic": "no call of a model",
    "openai__other__json__background-queued": "no call of a model",
    "openai__other__json__basic": "no call of a model",
    "openai__other__stream__basic": "no call of a model",
}
"""What is refused for a capped agent, and why."""

pytestmark = pytest.mark.skipif(not RECORDINGS.is_dir(), reason="no recordings beside the checkout")


@cache
def recordings() -> dict[str, Recording]:
    found = {}
    for path in sorted(RECORDINGS.glob("*__*.json")):
        streams = [path.with_suffix(end) for end in (".sse.txt", ".eventstream.bin") if path.with_suffix(end).exists()]
        stream, end = (streams[0].read_bytes(), streams[0].suffix) if streams else (None, "")
        found[path.stem] = read_recording(path.stem, json.loads(path.read_bytes()), stream, end)
    return found


def cases(*, stated: bool = False) -> list[str]:
    return [case for case, told in recordings().items() if not stated or told.stated_nano is not None]


@pytest.fixture(scope="module")
def unbelieving(book: PriceBook) -> PriceBook:
    """The same prices, with the stated-cost override off."""
    return book.without_stated_costs()


def planned(book: PriceBook, recording: Recording) -> Plan | Unpriced | None:
    """The plan of the day of the response; of today where a variant or a model had no price in the book then."""
    found = plan(book, recording, recording.day or DAY)
    return found if isinstance(found, Plan) else plan(book, recording, DAY)


def test_every_recording_is_priced_or_has_its_reason(book: PriceBook) -> None:
    plans = {case: planned(book, recording) for case, recording in recordings().items()}
    refused = {case: told for case, told in plans.items() if not isinstance(told, Plan)}
    assert set(refused) == set(NOT_PRICED)
    for case, told in refused.items():
        if NOT_PRICED[case].endswith(("of the model", "model it is")):
            assert told is not None
            assert "Add it to prices/*.yaml of the policy folder: `- {provider: " in told.message, case


@pytest.mark.parametrize("case", cases())
def test_a_charge_is_the_same_in_any_pieces_and_never_nothing(book: PriceBook, case: str) -> None:
    recording = recordings()[case]
    found = planned(book, recording)
    if not isinstance(found, Plan):
        assert case in NOT_PRICED
        return
    settled = [settle(book, found, recording, step) for step in (1, 7, 1_000, 1 << 30)]
    assert len(set(map(repr, settled))) == 1
    charge = settled[0]
    if found.provider == "ollama":
        assert charge.amount_nano == 0, "runs on one's own machine"
    elif charge.deferred:
        assert (charge.amount_nano, charge.method) == (0, "deferred"), "its reservation stays until its usage is told"
    else:
        assert charge.amount_nano > 0
    assert charge.amount_nano <= found.reserve_nano


@pytest.mark.parametrize("case", cases())
def test_usage_times_price_is_the_known_cost_or_its_cause_is_listed(unbelieving: PriceBook, case: str) -> None:
    found = compare(unbelieving, recordings()[case], DAY)
    if case in MISSES:
        assert found.matches is False, "it is met now: take it off the list"
    elif case not in NOT_PRICED:
        assert found.matches in (True, None), found


def test_19_of_20_cases_that_only_tokens_were_paid_for_match_to_the_last_digit(unbelieving: PriceBook) -> None:
    """Of all with a known figure; those whose figure is no price of these tokens are left out, each by its cause."""
    beside = {FEES, NO_SEARCH, ITERATIONS, REASONING, ROUTED}
    told = {case: compare(unbelieving, recording, DAY).matches for case, recording in recordings().items()}
    tokens = {case: match for case, match in told.items() if match is not None and MISSES.get(case) not in beside}
    assert len(tokens) >= 50
    assert sum(tokens.values()) >= 0.95 * len(tokens)


@pytest.mark.parametrize("case", [case for case in cases(stated=True) if case not in NOT_PRICED])
def test_a_stated_cost_is_charged_exactly(book: PriceBook, case: str) -> None:
    recording = recordings()[case]
    found = planned(book, recording)
    assert isinstance(found, Plan)
    charge = settle(book, found, recording)
    assert (charge.amount_nano, charge.method, charge.estimated) == (recording.stated_nano, "stated", False)


def test_a_deployment_is_priced_with_the_line_that_the_refusal_asks_for(tmp_path: Path) -> None:
    (tmp_path / "prices").mkdir()
    entry = "- {provider: azure, model: openllmetry-testing, from: 2023-01-01, same_as: gpt-4o}\n"
    (tmp_path / "prices" / "own.yaml").write_text(entry)
    own = load_prices(tmp_path)
    for case in ("azure__chat__json__basic", "azure__chat__stream__nousage"):
        found = planned(own, recordings()[case])
        assert isinstance(found, Plan), found
        assert (found.model, found.reserve_nano > 0) == ("gpt-4o", True)


@pytest.mark.parametrize(
    ("model", "known"),
    [
        ("x-ai/grok-4", True),
        ("x-ai/grok-4-0709", True),
        ("x-ai/grok-4-turbo", False),
        ("x-ai/grok-4:online", False),
        ("anthropic/claude-sonnet-4.5-fast", False),
        ("anthropic/claude-sonnet-4-5-20250929", True),
        ("nobody/grok-4", False),
        ("deepseek/deepseek-reasoner", False),
    ],
)
def test_a_makers_price_holds_at_openrouter_for_that_very_model(model: str, known: bool) -> None:
    assert (load_prices().row("openrouter", model, datetime.date(2026, 11, 23), ()) is not None) is known


def test_openrouter_sells_at_the_makers_price_what_its_own_list_lacks() -> None:
    own = load_prices()
    recording = recordings()["openrouter__chat__stream__cached"]
    found = planned(own, recording)
    assert isinstance(found, Plan), found
    assert settle(own, found, recording).amount_nano == recording.stated_nano == 3_338_250
    unbelieving = own.without_stated_costs()
    assert settle(unbelieving, found, recording).amount_nano == recording.stated_nano


def test_the_script_says_the_same_of_a_folder(tmp_path: Path) -> None:
    def run() -> subprocess.CompletedProcess[str]:
        script = ROOT / "scripts" / "price_recordings.py"
        return subprocess.run(
            [sys.executable, str(script), str(tmp_path)], capture_output=True, text=True, check=False, timeout=60
        )

    for case in ("openai__chat__json__basic", "openrouter__chat__json__calc-error"):
        (tmp_path / f"{case}.json").write_bytes((RECORDINGS / f"{case}.json").read_bytes())
    done = run()
    assert done.returncode == 1, done.stderr
    assert "1 match, 1 do not and nobody says why" in done.stdout
    (tmp_path / "causes.json").write_text(json.dumps({"openrouter__chat__json__calc-error": CONTRADICTS}))
    done = run()
    assert done.returncode == 0, done.stderr
    assert CONTRADICTS in done.stdout
