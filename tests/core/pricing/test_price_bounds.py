"""The reservation is the worst case: nothing that a call can use within its bounds costs more."""

from __future__ import annotations

import datetime
import json
from typing import Any
from urllib.parse import urlsplit

import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from douane.core.charge import Unpriced
from douane.core.pricing import Plan, PriceBook
from douane.core.request import RawRequest, canonicalise
from douane.core.tool import Classification, Nature, Tier

CHAT = "openai.chat.completions.create"
MESSAGES = "anthropic.messages.create"
IMAGE = {"type": "image_url", "image_url": {"url": "https://example.com/cat.png"}}


def work(plan: Plan) -> tuple[int, int]:
    return plan.bound.works[0].input_tokens, plan.bound.works[0].output_tokens


def test_text_is_bounded_by_its_bytes(chat: Any, messages: Any) -> None:
    body = {"messages": [{"role": "user", "content": "Grüße, 世界 👋"}], "max_tokens": 500}
    bytes_sent = len(json.dumps({"model": "gpt-4.1-mini", "messages": []} | body).encode())
    assert work(chat(body)) == (bytes_sent + 4_096, 500)
    assert work(messages(body))[1] == 500


@pytest.mark.parametrize(
    ("body", "output"),
    [
        ({}, 32_768),
        ({"max_tokens": 10, "n": 3}, 30),
        ({"max_completion_tokens": 20, "max_tokens": 10}, 20),
        ({"max_tokens": None, "n": None}, 32_768),
        ({"max_tokens": "10"}, 32_768),
        ({"max_tokens": 0}, 32_768),
        ({"max_tokens": 10.5}, 32_768),
        ({"max_tokens": -1}, 32_768),
        ({"model": "gpt-5.5"}, 128_000),
        ({"model": "gpt-realtime-mini"}, 4_096),
        ({"model": "gpt-rosalind-research"}, 1_050_000),
    ],
)
def test_output_is_bounded_by_what_is_asked_else_by_the_model(chat: Any, body: dict[str, Any], output: int) -> None:
    assert work(chat(body))[1] == output


def test_what_is_predicted_and_not_used_is_output(chat: Any) -> None:
    plain = work(chat({"max_tokens": 10}))[1]
    assert work(chat({"max_tokens": 10, "prediction": {"type": "content", "content": "x" * 1_000}}))[1] > plain + 1_000


@pytest.mark.parametrize(
    "messages_sent",
    [
        [{"role": "user", "content": [IMAGE]}],
        [{"role": "user", "content": [{"type": "text", "text": "a"}, {"type": "file", "file": {"file_id": "f-1"}}]}],
        [{"role": "assistant", "audio": {"id": "audio_1"}}],
        [{"role": "user", "content": [{"type": "what_comes_next", "id": "x"}]}],
        [{"role": "user", "content": [7]}],
        [{"role": "user", "content": {"type": "image_url"}}],
    ],
)
def test_media_and_references_are_bounded_by_the_context_window(chat: Any, messages_sent: Any) -> None:
    assert work(chat({"model": "gpt-4o", "messages": messages_sent}))[0] == 128_000


@pytest.mark.parametrize(
    "content",
    [
        [{"type": "image", "source": {"type": "file", "file_id": "f"}}],
        [{"type": "tool_result", "tool_use_id": "t", "content": [{"type": "image", "source": {"type": "url"}}]}],
        [{"type": "document", "source": {"type": "url", "url": "https://example.com/a.pdf"}}],
        [{"type": "container_upload", "file_id": "f"}],
    ],
)
def test_so_are_those_of_messages(messages: Any, content: Any) -> None:
    body = {"model": "claude-haiku-4-5", "messages": [{"role": "user", "content": content}]}
    assert work(messages(body))[0] == 200_000


def test_a_whole_conversation_of_text_and_client_tools_is_bounded_by_its_bytes(messages: Any) -> None:
    body = {
        "model": "claude-haiku-4-5",
        "system": [{"type": "text", "text": "Be brief."}],
        "messages": [
            {"role": "user", "content": "a"},
            {
                "role": "assistant",
                "content": [{"type": "tool_use", "id": "t", "name": "bash", "input": {"type": "image"}}],
            },
            {
                "role": "user",
                "content": [{"type": "tool_result", "tool_use_id": "t", "content": [{"type": "text", "text": "x"}]}],
            },
            {
                "role": "user",
                "content": [{"type": "tool_result", "tool_use_id": "t", "content": "x"}, {"type": "tool_result"}],
            },
        ],
        "tools": [
            {"name": "a", "input_schema": {}},
            {"type": "bash_20250124", "name": "bash"},
            {"type": "custom", "name": "b"},
        ],
    }
    assert work(messages(body))[0] < 10_000


def test_the_long_context_beta_widens_the_window(messages: Any) -> None:
    body = {"model": "claude-sonnet-4-5", "messages": [{"role": "user", "content": [{"type": "image"}]}]}
    assert work(messages(body))[0] == 200_000
    beta = ((b"anthropic-beta", b"a,context-1m-2025-08-07"),)
    plan = messages(body, headers=beta)
    assert work(plan)[0] == 1_000_000
    assert plan.reserve_nano > 1_000_000 * 6_000, "at the price above 200,000 tokens"


def test_the_providers_own_tools_read_the_window_once_per_use(messages: Any) -> None:
    body = {"model": "claude-haiku-4-5", "max_tokens": 100, "tools": [{"type": "web_search_20250305", "max_uses": 3}]}
    plan = messages(body)
    assert work(plan) == (4 * 200_000, 400)
    assert plan.bound.works[0].fees == (("web_searches", 3),)
    assert plan.reserve_nano == (800_000 * 1_000 + 400 * 5_000) * 11 // 10 + 3 * 10_000_000
    assert plan.bound.hidden_output
    assert work(messages({"model": "claude-haiku-4-5", "tools": [{"type": "web_fetch_20250910"}]}))[0] == 11 * 200_000


def test_an_advisor_is_reserved_at_its_own_model(messages: Any) -> None:
    tool = {"type": "advisor_20260301", "name": "advisor", "model": "claude-opus-4-7", "max_uses": 2}
    plan = messages({"tools": [tool]})
    _own, advice = plan.bound.works
    assert advice.model == "claude-opus-4-7"
    assert (advice.input_tokens, advice.output_tokens) == (2_000_000, 256_000)
    assert plan.reserve_nano > 2_000_000 * 10_000 + 256_000 * 25_000


def test_compaction_reads_the_conversation_twice(messages: Any) -> None:
    plain = work(messages({}))
    edits = {"context_management": {"edits": [{"type": "compact_20260112"}]}}
    compacted = work(messages(edits))
    assert compacted[0] > 2 * plain[0]
    assert compacted[1] == plain[1] + 128_000
    assert work(messages({"context_management": {"edits": [{"type": "clear_tool_uses_20250919"}]}}))[1] == plain[1]


@pytest.mark.parametrize(
    ("tool", "body", "words"),
    [
        (CHAT, {"model": "gpt-99"}, ["gpt-99", "prices/*.yaml", "provider: openai"]),
        (CHAT, {"model": "gpt-4o-search-preview"}, ["searches"]),
        (CHAT, {"model": "gpt-4o", "web_search_options": {}}, ["searches"]),
        (CHAT, {"model": "gpt-4o", "tools": [{"type": "web_search"}]}, ["web_search"]),
        (CHAT, {"model": "gpt-4o", "tools": [7]}, ["None"]),
        (CHAT, {"model": "gpt-4o", "n": 2.5}, ["`n`"]),
        (CHAT, {"model": "gpt-4o", "n": 0}, ["`n`"]),
        (CHAT, {"model": "gpt-5-nano", "service_tier": "priority"}, ["gpt-5-nano", "priority"]),
        (CHAT, {"model": "gpt-5", "service_tier": "platinum"}, ["gpt-5", "tier"]),
        (CHAT, {"model": "gpt-5", "service_tier": 3}, ["gpt-5", "tier"]),
        (CHAT, {"model": "gpt-4o-audio-preview", "modalities": ["audio"]}, ["output_audio_tokens"]),
        (CHAT, {"model": ""}, ["names a model"]),
        (CHAT, {"model": ["gpt-4o"]}, ["names a model"]),
        (CHAT, [], ["names a model"]),
        (CHAT, b'{"model": "gpt-4o", "model": "gpt-5"}', ["names a model"]),
        (
            MESSAGES,
            {"model": "claude-haiku-4-5", "tools": [{"type": "web_search_20250305", "max_uses": None}]},
            ["max_uses"],
        ),
        (MESSAGES, {"model": "claude-haiku-4-5", "tools": [{"type": "code_execution_20250825"}]}, ["code_execution"]),
        (
            MESSAGES,
            {"model": "claude-haiku-4-5", "tools": [{"type": "advisor_1", "max_uses": 1, "model": "x"}]},
            ["advisor"],
        ),
        (MESSAGES, {"model": "claude-haiku-4-5", "mcp_servers": [{"url": "https://example.com"}]}, ["MCP"]),
        (MESSAGES, {"model": "claude-fable-5", "fallbacks": [{"model": "claude-opus-4-8"}]}, ["further models"]),
        (MESSAGES, {"model": "claude-sonnet-4-6", "speed": "fast"}, ["fast"]),
        (
            MESSAGES,
            {"model": "claude-3-haiku", "tools": [{"type": "web_search_20250305", "max_uses": 1}]},
            ["no price"],
        ),
        ("openai.threads.runs.create", {"model": "gpt-5"}, ["openai.threads.runs.create", "not metered yet"]),
        ("google.models.generate_content", {"model": "gemini-9"}, ["not metered yet"]),
    ],
)
def test_what_cannot_be_bounded_is_unpriced_and_says_why(ask: Any, tool: str, body: Any, words: list[str]) -> None:
    found = ask(tool, body)
    assert isinstance(found, Unpriced)
    for word in words:
        assert word in found.message


def test_a_hosts_own_provider_counts_not_the_catalogs(ask: Any) -> None:
    body = {"model": "gpt-4o", "messages": []}
    assert isinstance(ask(CHAT, body, host="eu.api.openai.com"), Plan)
    for host in ("api.openai.com.evil.example", "api.groq.com", "10.0.0.1"):
        assert isinstance(ask(CHAT, body, host=host), Unpriced)


def test_free_calls_have_no_plan(ask: Any) -> None:
    assert ask("anthropic.messages.count_tokens", {"model": "claude-haiku-4-5"}, billable=False) is None


def test_a_hostile_model_name_is_shown_harmlessly(ask: Any) -> None:
    found = ask(CHAT, {"model": "a\n\x1b[31m\u202e" + "b" * 500})
    assert isinstance(found, Unpriced)
    assert found.message.isascii()
    assert found.message.isprintable()
    assert len(found.message) < 500


def test_the_tier_that_is_not_named_is_reserved_at_its_dearest(chat: Any) -> None:
    named, unnamed = (chat({"model": "gpt-5", "max_tokens": 100} | tier) for tier in ({"service_tier": "default"}, {}))
    assert unnamed.reserve_nano > 1.9 * named.reserve_nano
    assert chat({"model": "gpt-5", "max_tokens": 100, "service_tier": "priority"}).contexts == (
        (("service_tier", "priority"),),
    )


def test_regional_surcharges_are_reserved(chat: Any, messages: Any) -> None:
    body = {"model": "gpt-5.5", "max_tokens": 100}
    assert chat(body, host="eu.api.openai.com").reserve_nano == -(-chat(body).reserve_nano * 11 // 10)
    old = {"model": "gpt-4o", "max_tokens": 100}
    assert chat(old, host="eu.api.openai.com").reserve_nano == chat(old).reserve_nano
    assert messages({"inference_geo": "global"}).percent == 100
    assert messages({"inference_geo": "us"}).percent == messages({}).percent == 110


def test_cache_writes_are_reserved_only_where_they_can_happen(messages: Any) -> None:
    marked = {"type": "text", "text": "a", "cache_control": {"type": "ephemeral", "ttl": "1h"}}
    assert messages({"system": [marked]}).bound.works[0].units >= {"cache_write_tokens", "cache_write_1h_tokens"}
    assert "cache_write_1h_tokens" not in messages({"cache_control": {"type": "ephemeral"}}).bound.works[0].units
    assert messages({}).bound.works[0].units == {"cache_read_tokens"}


def test_a_key_written_with_escapes_hides_nothing(ask: Any) -> None:
    text = b'{"model":"claude-haiku-4-5","max_tokens":9,"messages":[],"cache\\u005fcontrol":{"type":"ephemeral"}}'
    plan = ask(MESSAGES, text)
    assert isinstance(plan, Plan)
    assert "cache_write_1h_tokens" in plan.bound.works[0].units


def test_a_stream_is_made_to_report_its_usage(ask: Any, chat: Any, messages: Any) -> None:
    assert chat({}).body is None
    assert chat({"stream": False}).body is None
    asked = chat({"stream": True, "stream_options": {"include_usage": True}})
    assert (asked.body, asked.strip_usage, asked.stream) == (None, False, True)
    plan = chat({"stream": True})
    assert plan.body is not None
    assert json.loads(plan.body)["stream_options"] == {"include_usage": True}
    assert plan.strip_usage
    assert messages({"stream": True}).body is None
    signed = (
        (
            b"authorization",
            b"AWS4-HMAC-SHA256 Credential=a/20261123/us-east-1/x/aws4_request, SignedHeaders=host, Signature=0",
        ),
    )
    assert isinstance(ask(CHAT, {"model": "gpt-4o", "messages": [], "stream": True}, headers=signed), Unpriced)


MODELS = [
    ("openai", "gpt-4o"),
    ("openai", "gpt-5.4"),
    ("openai", "gpt-6-astra"),
    ("openai", "gpt-audio"),
    ("anthropic", "claude-sonnet-4-5"),
    ("anthropic", "claude-haiku-5-5"),
    ("anthropic", "claude-opus-5-5"),
]


@settings(suppress_health_check=[HealthCheck.function_scoped_fixture], max_examples=300, deadline=None)
@given(data=st.data())
def test_no_usage_within_the_bounds_costs_more_than_was_reserved(
    ask: Any, book: PriceBook, data: st.DataObject
) -> None:
    provider, model = data.draw(st.sampled_from(MODELS))
    size = data.draw(st.sampled_from([0, 1_000, 90_000, 190_000, 260_000]))
    body: dict[str, Any] = {"model": model, "messages": [{"role": "user", "content": "x" * size}]}
    if data.draw(st.booleans()):
        body["max_tokens"] = data.draw(st.integers(1, 100_000))
    if provider == "openai":
        body |= data.draw(st.sampled_from([{}, {"n": 3}, {"service_tier": "default"}, {"service_tier": "auto"}]))
        tiers: tuple[str | None, ...] = (
            ("default",) if body.get("service_tier") == "default" else ("default", "flex", "priority", "fast", None)
        )
    else:
        extra = [{}, {"cache_control": {"type": "ephemeral", "ttl": "1h"}}, {"inference_geo": "us"}]
        extra.append({"tools": [{"type": "web_search_1", "max_uses": 2}]})
        body |= data.draw(st.sampled_from(extra))
        if model == "claude-opus-5-5":
            body |= data.draw(st.sampled_from([{}, {"speed": "fast"}]))
        tiers = (None,)
    plan = ask(CHAT if provider == "openai" else MESSAGES, body)
    assert isinstance(plan, Plan)
    (bound,) = plan.bound.works

    used = {
        "input_tokens": data.draw(st.integers(0, bound.input_tokens)),
        "output_tokens": data.draw(st.integers(0, bound.output_tokens)),
    }
    left = used["input_tokens"]
    for unit in sorted(bound.units - {"cache_write_1h_tokens", "output_audio_tokens"}):
        used[unit] = data.draw(st.integers(0, left))
        left -= used[unit]
    if "cache_write_1h_tokens" in bound.units:
        used["cache_write_1h_tokens"] = data.draw(st.integers(0, used["cache_write_tokens"]))
    for unit, times in bound.fees:
        used[unit] = data.draw(st.integers(0, times))
    tier = data.draw(st.sampled_from(tiers))
    answered = book_usage(model, used, tier, body)
    priced = book.charge_nano(plan, answered)
    if priced is None:  # a tier that this model is not sold at
        assert tier in ("priority", "fast")
        return
    assert priced[0] <= plan.reserve_nano


def book_usage(model: str, used: dict[str, int], tier: str | None, body: dict[str, Any]) -> Any:
    from douane.core.usage.tokens import Usage

    geography = "us" if body.get("inference_geo") == "us" else "global"
    speed = body.get("speed")
    return Usage(model, "id", tier, geography, speed, [(None, used)], reported=True)


def planned(book: PriceBook, url: str, body: Any) -> Plan | Unpriced | None:
    """What the book says of a call of an API by its address."""
    to = urlsplit(url)
    raw = RawRequest(
        to.scheme,
        to.hostname or "",
        to.port or 443,
        "POST",
        to.path.encode(),
        ((b"content-type", b"application/json"),),
        json.dumps(body).encode(),
    )
    found = Classification("some.tool", Tier.VISIBLE, Nature.EXEC, "some", mapped=True, billable=True)
    return book.plan(canonicalise(raw), found, datetime.date(2026, 11, 23))


@pytest.mark.parametrize(
    "url",
    [
        "http://127.0.0.1:11434/api/chat",
        "http://localhost:11434/v1/chat/completions",
        "http://127.0.0.1:8000/api/generate",
        "https://ollama.com/api/chat",
    ],
)
def test_a_model_on_ones_own_machine_costs_nothing(book: PriceBook, url: str) -> None:
    found = planned(book, url, {"model": "llama3.3:70b", "messages": [], "prompt": ""})
    assert isinstance(found, Plan), found
    assert (found.provider, found.reserve_nano) == ("ollama", 0)


@pytest.mark.parametrize(
    "url",
    [
        "http://10.0.0.1:11434/api/chat",
        "http://localhost:8000/v1/chat/completions",
        "http://127.0.0.1.nip.io/api/chat",
    ],
)
def test_what_is_not_surely_there_is_not_free(book: PriceBook, url: str) -> None:
    assert isinstance(planned(book, url, {"model": "llama3.3:70b", "messages": []}), Unpriced)


def test_a_stored_files_chunks_are_read_as_input(book: PriceBook) -> None:
    url = "https://generativelanguage.googleapis.com/v1beta/models/gemini-2.5-pro:generateContent"
    tools = [{"fileSearch": {"file_search_store_names": ["fileSearchStores/x"]}}]
    found = planned(book, url, {"contents": [{"parts": [{"text": "hi"}]}], "tools": tools})
    assert isinstance(found, Plan), found
    assert work(found)[0] >= 1_000_000


def test_a_picture_of_a_text_is_bounded_by_its_bytes_and_one_of_pictures_by_the_window(book: PriceBook) -> None:
    url = "https://api.openai.com/v1/images/generations"
    drawn, edited = (
        planned(book, url, {"model": "gpt-image-1-mini", "prompt": "a cat"} | more)
        for more in ({}, {"images": [{"file_id": "f"}]})
    )
    assert isinstance(drawn, Plan)
    assert isinstance(edited, Plan)
    assert work(drawn)[0] < 10_000 < work(edited)[0]


def test_the_line_to_add_names_an_arn_whole_and_in_quotes(book: PriceBook) -> None:
    arn = "arn:aws:bedrock:eu-central-1:123456789012:application-inference-profile/abcdefghijklmnop"
    host = "bedrock-runtime.eu-central-1.amazonaws.com"
    found = planned(book, f"https://{host}/model/{arn.replace('/', '%2F')}/converse", {})
    assert isinstance(found, Unpriced)
    line = f'- {{provider: aws, model: "{arn}", from: 2026-11-23, input: 0.00, output: 0.00}}'
    assert line in found.message
    assert found.provider == "aws"
    beyond = planned(book, "https://api.replicate.com/v1/predictions", {"model": "m", "prompt": "hi"})
    assert isinstance(beyond, Unpriced)
    assert beyond.provider is None, "no price would mend it"


ADDRESSES = {
    "https://api.openai.com/v1/chat/completions": "gpt-5.5",
    "https://api.openai.com/v1/completions": "gpt-3.5-turbo-instruct",
    "https://api.openai.com/v1/responses": "gpt-5.5",
    "https://api.openai.com/v1/embeddings": "text-embedding-3-small",
    "https://api.openai.com/v1/images/generations": "gpt-image-1",
    "https://api.openai.com/v1/audio/speech": "tts-1",
    "https://api.anthropic.com/v1/messages": "claude-sonnet-4-6",
    "https://generativelanguage.googleapis.com/v1beta/models/gemini-2.5-pro:generateContent": "",
    "https://generativelanguage.googleapis.com/v1beta/models/gemini-embedding-001:embedContent": "",
    "https://bedrock-runtime.us-east-1.amazonaws.com/model/amazon.nova-lite-v1%3A0/converse": "",
    "https://bedrock-runtime.us-east-1.amazonaws.com/model/amazon.nova-lite-v1%3A0/invoke": "",
    "https://api.cohere.com/v2/chat": "command-a-03-2025",
    "https://api.cohere.com/v2/embed": "embed-v4.0",
    "https://api.cohere.com/v2/rerank": "rerank-v3.5",
    "https://ollama.com/api/chat": "llama3",
}
MEMBERS = (
    *("messages", "contents", "input", "prompt", "tools", "generationConfig", "generation_config", "stream_options"),
    *("max_tokens", "n", "service_tier", "thinking", "inferenceConfig", "guardrailConfig", "performanceConfig"),
    *("requests", "instances", "documents", "texts", "images", "tool_choice", "context_management", "system"),
)


@pytest.mark.parametrize("url", ADDRESSES)
def test_no_body_makes_the_plan_fail(book: PriceBook, url: str) -> None:
    named = {"model": ADDRESSES[url]} if ADDRESSES[url] else {}
    values: list[Any] = [None, 1, -1, 1.5, True, "", "x", [], {}, [None], [1], ["x"], [[]], [{}], {"type": 1}]
    values += [[{"type": None}], [{"content": [{"type": []}]}], [{"parts": [1]}], {"include_usage": 1}, {"type": {}}]
    for body in [{}, *({name: value} for name in MEMBERS for value in values)]:
        found = planned(book, url, named | body)
        assert isinstance(found, Plan | Unpriced), body


def test_further_models_are_bounded_each_at_its_own_price(book: PriceBook) -> None:
    url = "https://openrouter.ai/api/v1/chat/completions"

    def told(**more: Any) -> Plan | Unpriced | None:
        return planned(book, url, {"model": "openai/gpt-4o", "max_tokens": 100, "messages": []} | more)

    alone, both = told(), told(models=["openai/gpt-4o", "anthropic/claude-opus-4.5"])
    assert isinstance(alone, Plan)
    assert isinstance(both, Plan)
    assert [work.model for work in both.bound.works] == [None, "anthropic/claude-opus-4.5"]
    assert both.reserve_nano > 2 * alone.reserve_nano
    for models in (["nobody/nothing-9"], [5], "nobody/nothing-9", ["openai/gpt-4o:online"]):
        assert isinstance(told(models=models), Unpriced), models
