"""Recorded answers of real providers: read in any pieces, charged, and within what would have been reserved.

The recordings lie beside the checkout and are no part of the project; without them these tests are skipped by name.
"""

from __future__ import annotations

import json
import os
from decimal import ROUND_CEILING, Decimal
from pathlib import Path
from typing import Any

import pytest

from douane.core.charge import Charge
from douane.core.pricing import Plan, PriceBook

RECORDINGS = Path(
    os.environ.get("DOUANE_RECORDINGS") or Path(__file__).parents[3].parent / "shared" / "data" / "pricing"
)
TOOLS = {"openai__chat": "openai.chat.completions.create", "anthropic__anthropic": "anthropic.messages.create"}
JSON = ((b"content-type", b"application/json"),)
SSE = ((b"content-type", b"text/event-stream; charset=utf-8"),)

pytestmark = pytest.mark.skipif(not RECORDINGS.is_dir(), reason="no recordings beside the checkout")


def cases() -> list[str]:
    return sorted(
        path.stem for prefix in TOOLS for path in RECORDINGS.glob(f"{prefix}__*.json") if path.stem.count("__") == 3
    )


def body_of(case: str) -> tuple[dict[str, Any], bytes, bool]:
    recorded = json.loads((RECORDINGS / f"{case}.json").read_bytes())
    stream = RECORDINGS / f"{case}.sse.txt"
    if stream.exists():
        return recorded, stream.read_bytes(), True
    return recorded, json.dumps(recorded["response"]).encode(), False


def settle(book: PriceBook, plan: Plan, body: bytes, headers: Any, step: int) -> tuple[Charge, bytes]:
    meter = book.meter(plan, 200, headers)
    passed = b"".join(meter.feed(body[at : at + step]) for at in range(0, len(body), step)) + meter.end()
    return meter.charge(complete=True), passed


def plan_of(ask: Any, case: str, request: dict[str, Any]) -> Plan:
    for tool in request.get("tools") or ():
        if str(tool.get("type")).startswith("web_search"):  # recorded without a limit, which is not priced
            tool["max_uses"] = 5
    plan = ask(TOOLS["__".join(case.split("__")[:2])], request)
    assert isinstance(plan, Plan), plan
    return plan


@pytest.mark.parametrize("case", cases())
def test_a_recorded_answer_is_charged_alike_in_any_pieces(book: PriceBook, ask: Any, case: str) -> None:
    recorded, body, streamed = body_of(case)
    plan = plan_of(ask, case, recorded["request"])
    settled = [settle(book, plan, body, SSE if streamed else JSON, step)[0] for step in (1, 7, 1_000, 10**6)]
    assert len(set(map(repr, settled))) == 1
    charge = settled[0]
    if case.endswith("__nousage"):
        assert (charge.amount_nano, charge.method) == (plan.reserve_nano, "fallback")
    else:
        assert charge.method == "usage"
        assert 0 < charge.amount_nano <= plan.reserve_nano


def counted() -> list[str]:
    """Cases with another program's figure that means the same: no iterations, no prices that have changed since."""
    return [
        case
        for case in cases()
        if not case.endswith(("iterations", "cached", "nousage"))
        and json.loads((RECORDINGS / f"{case}.json").read_bytes())["cross_check_usd"] is not None
    ]


@pytest.mark.parametrize("case", counted())
def test_recorded_charges_agree_with_another_programs_count(book: PriceBook, ask: Any, case: str) -> None:
    recorded, body, streamed = body_of(case)
    charge, _ = settle(book, plan_of(ask, case, recorded["request"]), body, SSE if streamed else JSON, 1_000)
    stated = Decimal(recorded["cross_check_usd"])
    fees = Decimal(charge.usage.get("web_searches", 0)) / 100
    wanted = {int((figure * 10**9).to_integral_value(ROUND_CEILING)) for figure in (stated, stated + fees)}
    assert charge.amount_nano in wanted


def test_recorded_compaction_is_charged_with_all_of_its_work(book: PriceBook, ask: Any) -> None:
    case = "anthropic__anthropic__stream__iterations"
    recorded, body, _ = body_of(case)
    charge, _ = settle(book, plan_of(ask, case, recorded["request"]), body, SSE, 1_000)
    wanted = (100 + 181) * 3_000 + 55_096 * 300 + (83 + 8) * 15_000
    assert charge.amount_nano == wanted


@pytest.mark.parametrize("name", ["anthropic-advisor-20250301.1", "anthropic-compaction.1"])
def test_recorded_advice_and_compaction_streams(book: PriceBook, messages: Any, name: str) -> None:
    lines = (RECORDINGS / "vercel" / f"{name}.chunks.txt.trimmed").read_bytes().splitlines()
    stream = b"".join(b"data: " + line + b"\n\n" for line in lines)
    charge, passed = settle(book, messages({"stream": True}), stream, SSE, 100)
    assert passed == stream
    wanted = {
        "anthropic-advisor-20250301.1": (1_051 + 3_676) * 3_000
        + (35 + 3_356) * 15_000
        + 2_728 * 5_000
        + 3_880 * 25_000,
        "anthropic-compaction.1": (60_385 + 612) * 5_000 + (522 + 2_819) * 25_000,
    }
    assert (charge.amount_nano, charge.method) == (wanted[name], "usage")


def test_a_recorded_stream_with_usage_reaches_a_client_that_did_not_ask_without_it(book: PriceBook, chat: Any) -> None:
    body = (RECORDINGS / "openai__chat__stream__basic.sse.txt").read_bytes()
    charge, passed = settle(book, chat({"model": "gpt-5-nano", "stream": True}), body, SSE, 11)
    assert charge.amount_nano == 12 * 50 + 100 * 400
    assert b'"usage"' not in passed
    assert b'"choices":[]' not in passed
    kept = [event.replace(b',"usage":null', b"") for event in body.split(b"\n\n") if b'"choices":[]' not in event]
    assert passed == b"\n\n".join(kept)
