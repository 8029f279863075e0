"""Responses: the event that ends a stream has the usage; calls of OpenAI's own tools are fees."""

from __future__ import annotations

from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from douane.core.usage.openai_responses import OpenAIResponses, gigabytes, measured
from support.reading import dump, event, read

USAGE = {
    "input_tokens": 20,
    "input_tokens_details": {"cached_tokens": 5, "cache_write_tokens": 0},
    "output_tokens": 10,
    "output_tokens_details": {"reasoning_tokens": 4},
    "total_tokens": 30,
}
CHARGED = {"input_tokens": 20, "output_tokens": 10, "cache_read_tokens": 5}


def response(**more: Any) -> dict[str, Any]:
    return {"id": "resp_1", "object": "response", "status": "completed", "model": "gpt-4.1-mini", "output": [], **more}


def stream(ending: str | None, **more: Any) -> bytes:
    begun = response(status="in_progress", usage=None, service_tier="auto")
    events = [
        event({"type": "response.created", "response": begun}, "response.created"),
        event({"type": "response.in_progress", "response": begun}, "response.in_progress"),
        event({"type": "response.output_item.added", "item": {"id": "msg_1", "type": "message"}}),
        event({"type": "response.output_text.delta", "item_id": "msg_1", "delta": "Grüße"}),
    ]
    if ending is not None:
        done = response(usage=USAGE, service_tier="default", **more)
        events.append(event({"type": ending, "response": done}, ending))
    return b"".join(events)


@pytest.mark.parametrize("ending", ["response.completed", "response.incomplete", "response.failed"])
@given(cuts=st.lists(st.integers(0, 1_500), max_size=12))
def test_a_stream_reports_at_its_end(ending: str, cuts: list[int]) -> None:
    reader = read(OpenAIResponses(), stream(ending), cuts)
    assert reader.usage.totals() == CHARGED
    assert (reader.usage.reported, reader.usage.pending) == (True, False)
    assert (reader.usage.model, reader.usage.response_id) == ("gpt-4.1-mini", "resp_1")
    assert reader.usage.service_tier == "default"
    assert reader.visible_bytes == len("Grüße".encode())


def test_a_stream_that_is_cut_has_its_id_and_no_usage() -> None:
    reader = read(OpenAIResponses(), stream(None))
    assert (reader.usage.reported, reader.usage.response_id, reader.usage.model) == (False, "resp_1", "gpt-4.1-mini")


def test_an_ending_too_large_to_keep_still_has_its_usage() -> None:
    text = {"type": "output_text", "text": "x" * 3_000_000, "annotations": [{"usage": {"input_tokens": 9_999}}]}
    message = {"type": "message", "id": "msg_1", "content": [text]}
    data = stream("response.completed", output=[message])
    reader = read(OpenAIResponses(), data, range(0, len(data), 65_536))
    assert {unit: number for unit, number in reader.usage.totals().items() if unit in CHARGED} == CHARGED
    assert (reader.usage.reported, reader.usage.response_id) == (True, "resp_1")


@pytest.mark.parametrize("status", ["queued", "in_progress"])
def test_work_in_the_background_is_pending(status: str) -> None:
    reader = OpenAIResponses()
    reader.whole(response(status=status, usage=None, background=True))
    assert (reader.usage.pending, reader.usage.reported, reader.usage.response_id) == (True, False, "resp_1")


@pytest.mark.parametrize(
    ("usage", "expected"),
    [
        (USAGE, CHARGED),
        ({"input_tokens": 3, "output_tokens": 1, "total_tokens": 9}, {"input_tokens": 3, "output_tokens": 6}),
        (
            {"input_tokens": 3, "input_tokens_details": {"cache_write_tokens": 2}},
            {"input_tokens": 3, "cache_write_tokens": 2},
        ),
        (
            {"input_tokens": 3, "output_tokens": 1, "server_side_tool_usage_details": {"web_search_calls": 2}},
            {"input_tokens": 3, "output_tokens": 1, "web_searches": 2},
        ),
        ({}, None),
        ({"input_tokens": "3"}, None),
        ({"input_tokens": 3, "input_tokens_details": 7}, {"input_tokens": 3}),
    ],
)
def test_a_usage(usage: dict[str, Any], expected: dict[str, int] | None) -> None:
    found = measured(usage)
    assert (found and {unit: number for unit, number in found.items() if number}) == expected


@pytest.mark.parametrize(
    ("model", "output", "more", "fees"),
    [
        ("gpt-4.1", [{"type": "web_search_call", "action": {"type": "search"}}] * 2, {}, {"web_searches": 2}),
        ("gpt-4.1", [{"type": "web_search_call", "action": {"type": "open_page"}}], {}, {}),
        ("gpt-4.1", [{"type": "web_search_call"}], {}, {"web_searches": 1}),
        (
            "gpt-4.1",
            [{"type": "web_search_call"}],
            {"tools": [{"type": "web_search_preview"}]},
            {"web_searches_preview": 1},
        ),
        ("gpt-5", [{"type": "web_search_call"}], {"tools": [{"type": "web_search_preview"}]}, {"web_searches": 1}),
        ("gpt-5", [], {"tool_usage": {"web_search": {"num_requests": 3}}}, {"web_searches": 3}),
        ("gpt-5", [{"type": "file_search_call"}] * 2, {}, {"storage_searches": 2}),
        ("gpt-5", [{"type": "code_interpreter_call", "container_id": "c"}] * 2, {}, {"container_gigabytes": 1}),
        (
            "gpt-5",
            [{"type": "code_interpreter_call", "container_id": name} for name in "ab"],
            {"tools": [{"type": "code_interpreter", "container": {"type": "auto", "memory_limit": "4g"}}]},
            {"container_gigabytes": 8},
        ),
        ("gpt-5", [{"type": "image_generation_call"}], {}, {"images_unmeasured": 1}),
        ("gpt-5", [{"type": "function_call"}, {"type": "message"}, 7], {}, {}),
    ],
)
def test_the_calls_of_openais_tools_are_fees(
    model: str, output: list[Any], more: dict[str, Any], fees: dict[str, int]
) -> None:
    reader = OpenAIResponses()
    reader.whole(response(model=model, output=output, usage=USAGE, **more))
    assert reader.usage.totals() == CHARGED | fees


def test_what_a_tool_draws_is_work_of_its_own_model() -> None:
    drawn = {"input_tokens": 50, "output_tokens": 1_056, "output_tokens_details": {"image_tokens": 1_056}}
    reader = OpenAIResponses()
    output = [{"type": "image_generation_call"}]
    tools = [{"type": "image_generation", "model": "gpt-image-1-mini"}]
    reader.whole(response(output=output, usage=USAGE, tools=tools, tool_usage={"image_gen": drawn}))
    (_, own), (model, quantities) = reader.usage.parts
    assert "images_unmeasured" not in own
    assert (model, quantities["output_tokens"]) == ("gpt-image-1-mini", 1_056)


@pytest.mark.parametrize(
    ("tool", "size"),
    [
        ({}, 1),
        ({"container": "cntr_1"}, 1),
        ({"container": {"memory_limit": "64g"}}, 64),
        ({"environment": {"type": "container_auto", "memory_limit": "16g"}}, 16),
        ({"container": {"memory_limit": "lots"}}, 1),
    ],
)
def test_the_size_of_a_container(tool: dict[str, Any], size: int) -> None:
    assert gigabytes(tool) == size


def test_a_whole_answer_that_is_too_large_may_hide_calls_of_tools() -> None:
    reader = OpenAIResponses()
    reader.partly({"id": "resp_1", "usage": USAGE, "model": "gpt-4.1"})
    assert (reader.usage.tools_unseen, reader.usage.reported) == (True, True)
    assert dump(reader.usage.totals()) == dump(CHARGED)
