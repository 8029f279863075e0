"""The money of a realtime socket: what has to be reserved before each message, and what each response cost."""

from __future__ import annotations

import datetime
import itertools
from typing import Any

import pytest

from douane.core.charge import Charge, Unpriced
from douane.core.pricing import Plan, PriceBook
from douane.core.pricing.realtime import MOST_UNDER_WAY, RealtimeMeter, Work
from douane.core.refusal import ReasonCode
from douane.core.request import canonicalise
from douane.core.tool import Classification, Nature, Tier
from support.requests import raw

DAY = datetime.date(2026, 11, 23)
PLAIN = (
    *("Connection: Upgrade", "Upgrade: websocket"),
    *("Sec-WebSocket-Version: 13", "Sec-WebSocket-Key: dGhlIHNhbXBsZSBub25jZQ=="),
)
WORST_NANO = 32_768 * 32_000 + 4_096 * 64_000
APPEND = {"type": "input_audio_buffer.append", "audio": "AAAA"}
CREATE = {"type": "response.create"}
USAGE = {
    "total_tokens": 1_240,
    "input_tokens": 1_040,
    "output_tokens": 200,
    "input_token_details": {
        "text_tokens": 900,
        "audio_tokens": 130,
        "image_tokens": 10,
        "cached_tokens": 192,
        "cached_tokens_details": {"text_tokens": 128, "audio_tokens": 64, "image_tokens": 0},
    },
    "output_token_details": {"text_tokens": 60, "audio_tokens": 140},
}
USAGE_NANO = 772 * 4_000 + 66 * 32_000 + 10 * 5_000 + 192 * 400 + 60 * 16_000 + 140 * 64_000


def asked(book: PriceBook, url: str, *fields: str) -> Plan | Unpriced | None:
    found = Classification("openai.realtime.connect", Tier.VISIBLE, Nature.EXEC, "openai", mapped=True, billable=True)
    return book.plan(canonicalise(raw("GET", url, b"", *(fields or PLAIN))), found, DAY)


@pytest.fixture
def meter(book: PriceBook) -> RealtimeMeter:
    plan = asked(book, "https://api.openai.com/v1/realtime?model=gpt-realtime")
    assert isinstance(plan, Plan)
    return book.socket_meter(plan)


def created(number: int) -> dict[str, Any]:
    return {"type": "response.created", "response": {"id": f"resp_{number}"}}


def done(number: int, usage: Any = USAGE, **more: Any) -> dict[str, Any]:
    response = {"id": f"resp_{number}", "status": "completed", "output": [{"type": "message"}], "usage": usage}
    return {"type": "response.done", "response": response | more}


def charge_of(meter: RealtimeMeter, event: dict[str, Any]) -> Charge:
    ((work, charge),), refusal = meter.came(event)
    assert (work, refusal) == (Work.RESPONSE, None)
    return charge


def session(kind: str, **audio_input: Any) -> dict[str, Any]:
    return {"type": kind, "session": {"type": "realtime", "tools": [], "audio": {"input": audio_input}}}


# what is reserved


@pytest.mark.parametrize(
    ("url", "worst_nano"),
    [
        ("https://api.openai.com/v1/realtime?model=gpt-realtime", WORST_NANO),
        ("https://api.openai.com/v1/realtime?model=gpt-realtime-2025-08-28", WORST_NANO),
        ("https://eu.api.openai.com/v1/realtime?model=gpt-realtime", WORST_NANO * 110 // 100),
        ("https://api.openai.com/v1/realtime?model=gpt-realtime-mini", 128_000 * 10_000 + 4_096 * 20_000),
        ("https://api.openai.com/v1/realtime?model=gpt-realtime-2", 128_000 * 32_000 + 32_000 * 64_000),
        ("https://x.openai.azure.com/openai/realtime?api-version=1&deployment=gpt-realtime", WORST_NANO),
        ("https://x.openai.azure.com/openai/v1/realtime?model=gpt-realtime", WORST_NANO),
    ],
)
def test_one_response_may_fill_the_window_with_the_dearest(book: PriceBook, url: str, worst_nano: int) -> None:
    plan = asked(book, url)
    assert isinstance(plan, Plan)
    assert plan.reserve_nano == worst_nano


@pytest.mark.parametrize(
    "query",
    [
        *("", "?model=", "?model=nobody", "?model=whisper-1", "?model=gpt-realtime&model=gpt-realtime-mini"),
        *("?model=gpt-realtime&intent=transcription", "?model=gpt-realtime&call_id=rtc_1", "?deployment=gpt-realtime"),
    ],
)
def test_a_socket_that_names_no_one_priced_model_has_no_plan(book: PriceBook, query: str) -> None:
    assert isinstance(asked(book, f"https://api.openai.com/v1/realtime{query}"), Unpriced)


def test_without_an_upgrade_nothing_is_charged(book: PriceBook) -> None:
    assert asked(book, "https://api.openai.com/v1/realtime?model=gpt-realtime", "Accept: */*") is None


def test_each_response_that_is_asked_for_needs_a_reservation_until_it_is_done(meter: RealtimeMeter) -> None:
    needed = [meter.needed(Work.RESPONSE)]
    for act, event in (
        (meter.sent, CREATE),
        (meter.sent, CREATE | {"event_id": "second"}),
        (meter.came, created(1)),
        (meter.came, done(1)),
        (meter.came, done(1)),
        (meter.came, created(2)),
        (meter.came, done(2)),
    ):
        act(event)  # type: ignore[operator]
        needed.append(meter.needed(Work.RESPONSE))
    assert needed == [0, 1, 2, 2, 1, 1, 1, 0]


def test_speech_needs_one_more_than_is_under_way(meter: RealtimeMeter) -> None:
    assert meter.needed(Work.RESPONSE) == 0
    meter.sent(APPEND)
    assert meter.needed(Work.RESPONSE) == 1
    meter.came({"type": "input_audio_buffer.committed", "item_id": "item"})
    assert meter.under_way(Work.RESPONSE) == 1
    meter.came(created(1))
    assert (meter.needed(Work.RESPONSE), meter.under_way(Work.RESPONSE)) == (2, 1)
    meter.came(done(1))
    assert (meter.needed(Work.RESPONSE), meter.under_way(Work.RESPONSE)) == (1, 0)


def test_only_the_provider_says_that_nothing_answers_by_itself(meter: RealtimeMeter) -> None:
    meter.sent(APPEND)
    meter.sent(session("session.update", turn_detection=None))
    assert meter.needed(Work.RESPONSE) == 1
    meter.sent(session("session.update", turn_detection={"type": "semantic_vad"}))
    meter.came(session("session.updated", turn_detection=None))
    assert meter.needed(Work.RESPONSE) == 1, "the second change is still to come"
    meter.came(session("session.updated", turn_detection={"type": "semantic_vad"}))
    meter.sent(session("session.update", turn_detection={"type": "server_vad", "create_response": False}))
    meter.came(session("session.updated", turn_detection={"type": "server_vad", "create_response": False}))
    assert meter.needed(Work.RESPONSE) == 0


def test_the_older_shape_of_settings_is_read_too(meter: RealtimeMeter) -> None:
    meter.sent(APPEND)
    meter.came({"type": "session.created", "session": {"turn_detection": None, "input_audio_transcription": None}})
    assert meter.needed(Work.RESPONSE) == 0
    meter.sent({"type": "session.update", "session": {"input_audio_transcription": {"model": "whisper-1"}}})
    assert (meter.needed(Work.TRANSCRIPT), meter.worst_nano(Work.TRANSCRIPT)) == (1, 3_600 * 100_000)


def test_silence_that_makes_the_model_speak_needs_a_reservation(meter: RealtimeMeter) -> None:
    meter.sent(session("session.update", turn_detection={"type": "server_vad", "idle_timeout_ms": 5_000}))
    assert meter.needed(Work.RESPONSE) == 1


def test_a_request_that_the_provider_refuses_gives_its_reservation_back(meter: RealtimeMeter) -> None:
    for number in range(3):
        meter.sent(CREATE | {"event_id": f"mine_{number}"})
    meter.came({"type": "error", "error": {"event_id": "mine_1", "code": "invalid"}})
    assert meter.needed(Work.RESPONSE) == 2
    meter.came({"type": "error", "error": {"event_id": None, "code": "conversation_already_has_active_response"}})
    assert meter.needed(Work.RESPONSE) == 1
    meter.came({"type": "error", "error": {"event_id": None, "code": "something_else"}})
    assert meter.needed(Work.RESPONSE) == 1, "nobody knows what it is about"


def test_responses_at_a_time_have_a_limit(meter: RealtimeMeter) -> None:
    for _ in range(MOST_UNDER_WAY):
        assert meter.sent(CREATE) is None
    refusal = meter.sent(CREATE)
    assert refusal is not None
    assert refusal.code is ReasonCode.LIMIT_EXCEEDED


# what it costs


def test_a_response_costs_what_its_usage_says(meter: RealtimeMeter) -> None:
    charge = charge_of(meter, done(1))
    assert (charge.amount_nano, charge.estimated, charge.method) == (USAGE_NANO, False, "usage")
    assert charge.response_id == "resp_1"
    assert meter.came(done(1)) == ([], None), "once"


def test_tokens_that_are_not_told_apart_are_audio(meter: RealtimeMeter) -> None:
    charge = charge_of(meter, done(1, {"input_tokens": 10, "output_tokens": 20, "total_tokens": 30}))
    assert charge.amount_nano == 10 * 32_000 + 20 * 64_000


@pytest.mark.parametrize(
    ("event", "amount_nano", "estimated"),
    [
        (done(1, None), WORST_NANO, True),
        (done(1, {}), WORST_NANO, True),
        (done(1, {"input_tokens": 0, "output_tokens": 0}), WORST_NANO, True),
        (done(1, {"input_tokens": 0, "output_tokens": 0}, output=[], status="cancelled"), 0, False),
        (done(1, None, output=[], status="failed"), 0, False),
        (done(1, None, output=[], status="cancelled"), WORST_NANO, True),
    ],
    ids=["none", "empty", "zero", "cancelled-at-once", "failed", "cancelled-untold"],
)
def test_what_is_not_reported_counts_at_its_worst(
    meter: RealtimeMeter, event: dict[str, Any], amount_nano: int, estimated: bool
) -> None:
    charge = charge_of(meter, event)
    assert (charge.amount_nano, charge.estimated) == (amount_nano, estimated)


@pytest.mark.parametrize(
    ("model", "usage", "amount_nano", "estimated"),
    [
        ("whisper-1", {"type": "duration", "seconds": 3}, 300_000, False),
        ("whisper-1", {"type": "duration", "seconds": 2.2}, 300_000, False),
        ("whisper-1", {"type": "tokens", "input_tokens": 26, "output_tokens": 9}, 3_600 * 100_000, True),
        ("whisper-1", None, 3_600 * 100_000, True),
        (
            "gpt-4o-transcribe",
            {"type": "tokens", "input_tokens": 26, "output_tokens": 9, "input_token_details": {"audio_tokens": 20}},
            6 * 2_500 + 20 * 6_000 + 9 * 10_000,
            False,
        ),
    ],
)
def test_transcripts_are_priced_by_their_own_model(
    meter: RealtimeMeter, model: str, usage: Any, amount_nano: int, estimated: bool
) -> None:
    assert meter.sent(session("session.update", transcription={"model": model})) is None
    meter.sent(APPEND)
    assert meter.needed(Work.TRANSCRIPT) == 1
    meter.came({"type": "input_audio_buffer.committed"})
    assert (meter.needed(Work.TRANSCRIPT), meter.under_way(Work.TRANSCRIPT)) == (2, 1)
    told = {"type": "conversation.item.input_audio_transcription.completed", "usage": usage}
    ((work, charge),), _ = meter.came(told)
    assert (work, charge.amount_nano, charge.estimated) == (Work.TRANSCRIPT, amount_nano, estimated)
    assert charge.amount_nano <= meter.worst_nano(Work.TRANSCRIPT)
    assert meter.under_way(Work.TRANSCRIPT) == 0


# what is refused

_UNBOUNDED = (
    {"tools": [{"type": "function"}, {"type": "mcp", "server_label": "x"}]},
    {"tools": [{"server_label": "x"}]},
    {"prompt": {"id": "pmpt_1"}},
    {"type": "transcription"},
    {"audio": {"input": {"transcription": {"model": "nobody"}}}},
    {"audio": {"input": {"transcription": {}}}},
)


@pytest.mark.parametrize(
    ("settings", "kind"),
    [
        *itertools.product(_UNBOUNDED, ("session.update", "session.created", "session.updated")),
        *itertools.product(_UNBOUNDED[:3], ("response.create",)),
    ],
)
def test_what_the_provider_would_do_beside_answering_is_refused(
    meter: RealtimeMeter, settings: dict[str, Any], kind: str
) -> None:
    if kind == "response.create":
        refusal = meter.sent({"type": kind, "response": settings})
    elif kind == "session.update":
        refusal = meter.sent({"type": kind, "session": settings})
    else:
        refusal = meter.came({"type": kind, "session": settings})[1]
    assert refusal is not None
    assert refusal.code is ReasonCode.MODEL_UNPRICED


@pytest.mark.parametrize(("model", "fits"), [("gpt-realtime-mini-x", False), ("nobody", False), ("gpt-realtime", True)])
def test_another_model_than_was_asked_for_is_refused_where_it_may_cost_more(
    meter: RealtimeMeter, model: str, fits: bool
) -> None:
    _, refusal = meter.came({"type": "session.created", "session": {"model": model}})
    assert (refusal is None) is fits
