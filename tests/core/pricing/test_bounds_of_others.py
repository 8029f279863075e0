"""Gemini, Bedrock, Cohere and Ollama: what raises the worst case of a call, and what makes it impossible to know."""

from __future__ import annotations

import datetime
from typing import Any

import pytest

from douane.core.charge import Unpriced
from douane.core.pricing import Plan

DAY = datetime.date(2026, 11, 23)
GEMINI = "generativelanguage.googleapis.com"
BEDROCK = "bedrock-runtime.us-east-1.amazonaws.com"
NOVA = "/model/us.amazon.nova-lite-v1%3A0/converse"
CLAUDE = "/model/global.anthropic.claude-haiku-4-5-20251001-v1%3A0"
COMMAND = "command-a-03-2025"
TEXT = {"contents": [{"role": "user", "parts": [{"text": "an image of the source"}]}]}
WINDOW, LONGEST = 1_048_576, 65_536
"""Of gemini-2.5-flash."""


def gemini(call: Any, body: dict[str, Any], model: str = "gemini-2.5-flash") -> Plan:
    plan = call(GEMINI, f"/v1beta/models/{model}:generateContent", TEXT | body)
    assert isinstance(plan, Plan), plan
    return plan


def bedrock(call: Any, body: dict[str, Any], path: str = NOVA) -> Plan:
    plan = call(BEDROCK, path, {"messages": [], "inferenceConfig": {"maxTokens": 100}} | body)
    assert isinstance(plan, Plan), plan
    return plan


def cohere(call: Any, body: dict[str, Any], path: str = "/v2/chat") -> Plan:
    plan = call("api.cohere.com", path, {"model": COMMAND, "max_tokens": 100, "messages": []} | body)
    assert isinstance(plan, Plan), plan
    return plan


def work(plan: Plan) -> tuple[int, int]:
    return plan.bound.works[0].input_tokens, plan.bound.works[0].output_tokens


@pytest.mark.parametrize(
    ("body", "output"),
    [
        ({}, LONGEST),
        ({"generationConfig": None}, LONGEST),
        ({"generationConfig": {"maxOutputTokens": 600}}, 600),
        ({"generation_config": {"max_output_tokens": 600}}, 600),
        ({"generationConfig": {"max_output_tokens": 600, "candidate_count": 3}}, 1_800),
        ({"generationConfig": {"maxOutputTokens": 1, "max_output_tokens": 600}}, 600),
        ({"generationConfig": {"maxOutputTokens": 1}, "generation_config": {"maxOutputTokens": 600}}, 600),
        ({"generationConfig": {"maxOutputTokens": 9}, "generation_config": {"candidateCount": 5}}, 45),
        ({"generationConfig": {"maxOutputTokens": 0}}, LONGEST),
        ({"generationConfig": {"maxOutputTokens": "600"}}, LONGEST),
        ({"generationConfig": {"maxOutputTokens": -1}}, LONGEST),
    ],
)
def test_gemini_writes_what_is_asked_in_either_spelling(call: Any, body: dict[str, Any], output: int) -> None:
    input_tokens, output_tokens = work(gemini(call, body))
    assert output_tokens == output
    assert input_tokens < 5_000, "text is bounded by its bytes"


@pytest.mark.parametrize(
    "part",
    [
        {"inlineData": {"mimeType": "image/png", "data": "aGk="}},
        {"inline_data": {"mime_type": "image/png", "data": "aGk="}},
        {"fileData": {"fileUri": "https://youtu.be/x"}},
        {"file_data": {"file_uri": "gs://b/v.mp4"}},
    ],
)
def test_media_of_gemini_are_bounded_by_the_window(call: Any, part: dict[str, Any]) -> None:
    assert work(gemini(call, {"contents": [{"parts": [part]}]}))[0] == WINDOW


def test_so_is_what_a_cache_holds_and_what_is_written_in_escapes(call: Any) -> None:
    assert work(gemini(call, {"cachedContent": "cachedContents/1"}))[0] == WINDOW
    assert work(gemini(call, {"cached_content": "cachedContents/1"}))[0] == WINDOW
    body = b'{"contents": [{"parts": [{"\\u0069nlineData": {"data": "aGk="}}]}]}'
    plan = call(GEMINI, "/v1beta/models/gemini-2.5-flash:generateContent", body)
    assert work(plan)[0] == WINDOW


@pytest.mark.parametrize(
    ("tool", "fees"),
    [
        ({"googleSearch": {}}, {"web_searches": 20}),
        ({"google_search_retrieval": {}}, {"web_searches": 20}),
        ({"googleMaps": {}}, {"map_searches": 1}),
        ({"codeExecution": {}}, {}),
        ({"urlContext": {}}, {}),
    ],
)
def test_what_googles_tools_find_is_read_too(call: Any, tool: dict[str, Any], fees: dict[str, int]) -> None:
    plan = gemini(call, {"tools": [{"functionDeclarations": []}, tool]})
    assert work(plan)[0] == 2 * WINDOW
    assert dict(plan.bound.works[0].fees) == fees
    assert plan.reserve_nano > gemini(call, {}).reserve_nano


def test_functions_of_the_client_cost_no_more(call: Any) -> None:
    plan = gemini(call, {"tools": [{"function_declarations": [{"name": "look_at", "parameters": {}}]}]})
    assert work(plan)[0] < 5_000


@pytest.mark.parametrize(
    ("body", "word"),
    [
        ({"tools": [{"mcpServers": []}]}, "mcp_servers"),
        ({"generationConfig": {"candidateCount": 0}}, "candidateCount"),
        ({"generationConfig": {"candidate_count": "2"}}, "candidateCount"),
        ({"generationConfig": {"candidateCount": 1, "candidate_count": 2.5}}, "candidateCount"),
    ],
)
def test_what_gemini_may_do_without_a_limit_has_no_price(call: Any, body: dict[str, Any], word: str) -> None:
    found = call(GEMINI, "/v1beta/models/gemini-2.5-flash:generateContent", TEXT | body)
    assert isinstance(found, Unpriced)
    assert word in found.message


def test_a_model_that_draws_is_bounded_at_the_price_of_pictures(call: Any, book: Any) -> None:
    """It draws unasked: a picture has 1,290 tokens, at twelve times the price of text."""
    plan = gemini(call, {"generationConfig": {"maxOutputTokens": 2_000}}, "gemini-2.5-flash-image")
    assert plan.reserve_nano >= 2_000 * 30_000
    usage = (
        b'{"usageMetadata": {"promptTokenCount": 10, "candidatesTokenCount": 1290,'
        b'"candidatesTokensDetails": [{"modality": "IMAGE", "tokenCount": 1290}]}}'
    )
    meter = book.meter(plan, 200, ((b"content-type", b"application/json"),))
    meter.feed(usage)
    assert meter.charge(complete=True).amount_nano == 10 * 300 + 1_290 * 30_000 <= plan.reserve_nano


def test_embeddings_of_gemini_are_bounded_by_their_bytes_and_number(call: Any) -> None:
    path = "/v1beta/models/gemini-embedding-001"
    one = {"content": {"parts": [{"text": "x" * 1_000}]}}
    assert 1_000 < work(call(GEMINI, f"{path}:embedContent", one))[0] < 1_100
    several = call(GEMINI, f"{path}:batchEmbedContents", {"requests": [one] * 3})
    assert 3_000 < work(several)[0] < 3_300
    media = {"requests": [{"content": {"parts": [{"inline_data": {"data": "aGk="}}]}}] * 3}
    assert work(call(GEMINI, f"{path}:batchEmbedContents", media))[0] >= 3 * 1_000_000


@pytest.mark.parametrize(
    ("body", "output"),
    [
        ({}, 100),
        ({"inferenceConfig": {}}, 10_000),
        ({"inferenceConfig": {"maxTokens": 0}}, 10_000),
        ({"inferenceConfig": {"maxTokens": "5"}}, 10_000),
        ({"additionalModelRequestFields": {"inferenceConfig": {"max_new_tokens": 900}}}, 900),
        ({"additionalModelRequestFields": {"max_tokens": 50}}, 100),
        ({"additionalModelRequestFields": [{"maxTokenCount": 700}, {"max_gen_len": 800}]}, 800),
    ],
)
def test_the_largest_of_converses_limits_holds(call: Any, body: dict[str, Any], output: int) -> None:
    assert work(bedrock(call, body))[1] == output


@pytest.mark.parametrize(
    "content",
    [
        [{"image": {"format": "png", "source": {"bytes": "aGk="}}}],
        [{"document": {"format": "pdf", "name": "a", "source": {"s3Location": {"uri": "s3://b/a"}}}}],
        [{"video": {"format": "mp4", "source": {"bytes": "aGk="}}}],
        [{"text": "a"}, {"toolResult": {"toolUseId": "t", "content": [{"text": "x"}, {"image": {}}]}}],
        [{"whatComesNext": {}}],
        ["text"],
    ],
)
def test_media_of_converse_are_bounded_by_the_window(call: Any, content: Any) -> None:
    assert work(bedrock(call, {"messages": [{"role": "user", "content": content}]}))[0] == 300_000
    assert work(bedrock(call, {"system": content}))[0] == 300_000


def test_text_and_client_tools_of_converse_are_bounded_by_their_bytes(call: Any) -> None:
    schema = {"json": {"type": "object", "properties": {"image": {}, "source": {}, "document": {}}}}
    body = {
        "system": [{"text": "Be brief."}, {"cachePoint": {"type": "default"}}],
        "messages": [
            {"role": "user", "content": [{"text": 'an "image" from a "source"'}]},
            {
                "role": "assistant",
                "content": [
                    {"reasoningContent": {"reasoningText": {"text": "so"}}},
                    {"toolUse": {"toolUseId": "t", "name": "look", "input": {"image": "a", "source": "b"}}},
                ],
            },
            {"role": "user", "content": [{"toolResult": {"toolUseId": "t", "content": [{"json": {"image": 1}}]}}]},
        ],
        "toolConfig": {"tools": [{"toolSpec": {"name": "look", "inputSchema": schema}}]},
    }
    assert work(bedrock(call, body))[0] < 6_000


def test_what_is_written_to_a_cache_costs_more(call: Any) -> None:
    claude = CLAUDE + "/converse"
    plain = bedrock(call, {}, claude).reserve_nano
    cached = bedrock(call, {"system": [{"text": "a"}, {"cachePoint": {"type": "default", "ttl": "1h"}}]}, claude)
    assert cached.reserve_nano > plain * 3 // 2


@pytest.mark.parametrize(
    ("body", "word"),
    [
        ({"guardrailConfig": {"guardrailIdentifier": "g"}}, "Guardrails"),
        ({"performanceConfig": {"latency": "optimized"}}, "Latency"),
        ({"serviceTier": {"type": "priority"}}, "tier"),
        ({"toolConfig": {"tools": [{"systemTool": {"name": "nova_grounding"}}]}}, "Tools"),
    ],
)
def test_what_bedrock_charges_beside_tokens_has_no_price(call: Any, body: dict[str, Any], word: str) -> None:
    found = call(BEDROCK, NOVA, {"messages": []} | body)
    assert isinstance(found, Unpriced)
    assert word in found.message


def test_invoke_is_bounded_as_the_models_own_api(call: Any) -> None:
    ask = {"anthropic_version": "bedrock-2023-05-31", "max_tokens": 100}
    text = call(BEDROCK, CLAUDE + "/invoke", ask | {"messages": [{"role": "user", "content": 'an "image"'}]})
    assert work(text)[0] < 5_000
    assert work(text)[1] == 100
    image = [{"type": "image", "source": {"type": "base64", "data": "aGk="}}]
    seen = call(BEDROCK, CLAUDE + "/invoke", ask | {"messages": [{"role": "user", "content": image}]})
    assert work(seen)[0] == 200_000
    assert isinstance(call(BEDROCK, CLAUDE + "/invoke", ask | {"mcp_servers": [{}]}), Unpriced)
    nova = "/model/amazon.nova-lite-v1%3A0/invoke"
    body = {"messages": [{"role": "user", "content": [{"text": "a"}]}], "inferenceConfig": {"max_new_tokens": 70}}
    assert work(call(BEDROCK, nova, body))[1] == 70
    body["messages"] = [{"role": "user", "content": [{"image": {"source": {"bytes": "aGk="}}}]}]
    assert work(call(BEDROCK, nova, body))[0] == 300_000


@pytest.mark.parametrize(
    ("body", "path", "expected"),
    [
        ({}, "/v2/chat", 100),
        ({"max_tokens": None}, "/v2/chat", 8_000),
        ({"prompt": "a", "num_generations": 5}, "/v1/generate", 500),
    ],
)
def test_cohere_writes_what_is_asked(call: Any, body: dict[str, Any], path: str, expected: int) -> None:
    assert work(cohere(call, body, path))[1] == expected


def test_text_of_cohere_is_bounded_by_its_bytes_and_pictures_by_the_window(call: Any) -> None:
    text = {"messages": [{"role": "user", "content": [{"type": "text", "text": "an image, as image_url"}]}]}
    documents = {"documents": [{"id": "1", "data": {"text": "x" * 1_000}}]}
    assert 5_000 < work(cohere(call, text | documents))[0] < 6_000
    picture = [{"type": "image_url", "image_url": {"url": "https://example.com/cat.png"}}]
    assert work(cohere(call, {"messages": [{"role": "user", "content": picture}]}))[0] == 1_050_000
    assert work(cohere(call, {"message": "go on", "conversation_id": "c"}, "/v1/chat"))[0] == 1_050_000


@pytest.mark.parametrize(
    ("body", "word"),
    [
        ({"connectors": [{"id": "web-search"}]}, "Connectors"),
        ({"num_generations": 0}, "num_generations"),
        ({"num_generations": "5"}, "num_generations"),
        ({"num_generations": [1]}, "num_generations"),
    ],
)
def test_what_cohere_may_do_without_a_limit_has_no_price(call: Any, body: dict[str, Any], word: str) -> None:
    found = call("api.cohere.com", "/v1/chat", {"model": COMMAND, "message": "hi"} | body)
    assert isinstance(found, Unpriced)
    assert word in found.message


def test_the_long_context_beta_of_a_body_widens_the_window(call: Any) -> None:
    image = [{"role": "user", "content": [{"type": "image", "source": {"type": "base64", "data": "aGk="}}]}]
    ask = {"anthropic_version": "bedrock-2023-05-31", "max_tokens": 100, "messages": image}
    beta = ["context-1m-2025-08-07"]
    path = "/model/global.anthropic.claude-sonnet-4-5-20250929-v1%3A0"
    assert work(call(BEDROCK, path + "/invoke", ask))[0] == 200_000
    assert work(call(BEDROCK, path + "/invoke", ask | {"anthropic_beta": beta}))[0] == 1_000_000
    picture = {"messages": [{"role": "user", "content": [{"image": {"format": "png"}}]}]}
    wide = picture | {"additionalModelRequestFields": {"anthropic_beta": beta}}
    assert work(bedrock(call, picture, path + "/converse"))[0] == 200_000
    assert work(bedrock(call, wide, path + "/converse"))[0] == 1_000_000


@pytest.mark.parametrize(
    ("provider", "model", "tokens"),
    [
        ("google", "gemini-2.5-flash", 65_536),
        ("google", "gemini-2.0-flash", 8_192),
        ("google", "claude-haiku-4-5@20251001", 64_000),
        ("aws", "global.anthropic.claude-sonnet-4-5-20250929-v1:0", 64_000),
        ("aws", "anthropic.claude-3-5-sonnet-20240620-v1:0", 8_192),
        ("aws", "us.amazon.nova-lite-v1:0", 10_000),
        ("azure", "gpt-4o", 16_384),
        ("openrouter", "openai/gpt-4.1-mini", 32_768),
        ("openrouter", "anthropic/claude-opus-4.5", 64_000),
        ("cohere", "command-a-03-2025", 8_000),
        ("groq", "llama-3.3-70b-versatile", 32_768),
        ("groq", "openai/gpt-oss-120b", 65_536),
        ("groq", "qwen/qwen3-32b", 131_072),
    ],
)
def test_the_longest_answer_of_a_model_is_its_makers_wherever_it_is_sold(
    book: Any, provider: str, model: str, tokens: int
) -> None:
    assert book.row(provider, model, DAY, ()).max_output_tokens == tokens
