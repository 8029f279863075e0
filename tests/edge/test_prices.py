"""The operator's prices: dated, exact by name, and every mistake told at once with its line."""

from __future__ import annotations

import datetime
import json
import pickle
import subprocess
import sys
import time
from pathlib import Path

import pytest
from genai_prices.data import providers
from genai_prices.data_units import unit_data

from douane.core.pricing import PriceBook, PriceRow, known_models
from douane.core.pricing.book import MOST_ROWS
from douane.core.pricing.stated import UNITS
from douane.edge.home import shipped_policy_dir
from douane.edge.prices import PricesInvalid, load_prices, read_tool_fees

SHIPPED = shipped_policy_dir() / "prices"
DAY = datetime.date(2026, 11, 23)


def overlay(folder: Path, text: str, name: str = "own.yaml") -> PriceBook:
    (folder / "prices").mkdir(exist_ok=True)
    (folder / "prices" / name).write_text(text)
    return load_prices(folder)


def row(book: PriceBook, model: str, day: datetime.date = DAY, provider: str = "openai") -> PriceRow:
    found = book.row(provider, model, day, ())
    assert found is not None
    return found


def test_the_shipped_book_has_prices_and_bounds() -> None:
    book = load_prices(shipped_policy_dir())
    assert row(book, "gpt-4.1").max_output_tokens == 32_768
    assert book.row("openai", "gpt-99", DAY, ()) is None
    assert load_prices().digest == load_prices().digest


def test_every_bound_of_the_shipped_table_is_of_a_model_in_the_book() -> None:
    table = json.loads((SHIPPED / "max_output.json").read_bytes())
    assert "litellm" in table.pop("source")
    for provider, bounds in table.items():
        names = [model for model, _ in known_models(provider)]
        matches = [repr(model.match).replace("^", "") for found in providers for model in found.models]
        for prefix, most in bounds.items():
            known = any(name.startswith(prefix) for name in names) or any(f"'{prefix}" in match for match in matches)
            assert known, (provider, prefix)
            assert 0 < most < 2_000_000, (provider, prefix)
    assert (SHIPPED / "max_output.json").stat().st_size < 150_000


@pytest.mark.parametrize(
    ("provider", "model", "most"),
    [
        ("openai", "gpt-5.5", 128_000),
        ("anthropic", "claude-sonnet-4-5", 64_000),
        ("google", "gemini-2.5-pro", 65_536),
        ("google", "claude-sonnet-4-5", 64_000),
        ("mistral", "mistral-large-latest", 262_144),
        ("groq", "openai/gpt-oss-120b", 65_536),
        ("deepseek", "deepseek-v4-pro", 393_216),
        ("x-ai", "grok-code-fast-1", 256_000),
        ("cohere", "command-a-03-2025", 8_000),
        ("aws", "us.anthropic.claude-sonnet-4-5-20250929-v1:0", 64_000),
        ("aws", "amazon.nova-lite-v1:0", 10_000),
        ("azure", "gpt-4o", 16_384),
        ("fireworks", "accounts/fireworks/models/deepseek-v4-pro", 131_072),
        ("together", "openai/gpt-oss-120b", 131_072),
        ("cerebras", "gpt-oss-120b", 32_768),
        ("perplexity", "sonar-pro", 8_000),
        ("openrouter", "anthropic/claude-sonnet-4.5", 64_000),
        ("openrouter", "openai/gpt-5.5", 128_000),
    ],
)
def test_the_longest_answer_is_known_across_providers(provider: str, model: str, most: int) -> None:
    assert row(load_prices(), model, provider=provider).max_output_tokens == most


def test_a_model_is_bounded_alike_wherever_it_is_sold() -> None:
    """A bound that is lower at a cloud than at home would let a call cost more than was set aside."""
    book = load_prices()
    for home, name in (("anthropic", "claude-sonnet-4-6"), ("anthropic", "claude-opus-4-5"), ("openai", "gpt-5.5")):
        most = row(book, name, provider=home).max_output_tokens
        elsewhere = [
            model
            for provider in ("aws", "google", "azure")
            for model, _ in known_models(provider)
            if name in model
            for found in [book.row(provider, model, DAY, ())]
            if found is not None and found.max_output_tokens < most
        ]
        assert elsewhere == []


def test_no_flagship_is_bounded_by_its_whole_context_window() -> None:
    """Without a cap in the request a call of one would not fit under the default budget."""
    book = load_prices()
    for model in ("gpt-5", "gpt-5.5", "gpt-5.6-sol", "gpt-6-astra", "gpt-6-luna", "o3", "gpt-4.1", "gpt-4o"):
        assert row(book, model).max_output_tokens <= 128_000, model
    for model in ("claude-opus-5-5", "claude-sonnet-5-5", "claude-haiku-5-5", "claude-fable-5-2", "claude-opus-4-8"):
        assert row(book, model, provider="anthropic").max_output_tokens <= 128_000, model


def test_unknown_models_are_looked_up_once_and_only_so_many_are_remembered() -> None:
    book = PriceBook()
    book.row("openai", "gpt-99", DAY, ())
    started = time.process_time()
    for _ in range(10_000):
        assert book.row("openai", "gpt-99", DAY, ()) is None
    assert time.process_time() - started < 0.5, "one look-up in the book takes 300 µs"
    for number in range(MOST_ROWS + 100):
        book.row("nobody", f"m{number}", DAY, ())
    assert book.row.cache_info().currsize == MOST_ROWS  # type: ignore[attr-defined]


def test_the_command_line_starts_without_the_book() -> None:
    code = "import sys, douane.cli.main; sys.exit('genai_prices' in sys.modules)"
    subprocess.run([sys.executable, "-c", code], check=True, timeout=60)


def test_a_price_holds_from_its_day_and_the_latest_counts(tmp_path: Path) -> None:
    book = overlay(
        tmp_path,
        "- {provider: openai, model: gpt-7, from: 2026-11-01, input: 1.00, output: 2, max_output: 1000, context: 5000}"
        "\n- {provider: openai, model: gpt-7, from: 2026-11-20, input: 3.00, output: 4.50, cache_read: 0.1}\n",
    )
    assert book.row("openai", "gpt-7", datetime.date(2026, 10, 31), ()) is None
    assert book.row("anthropic", "gpt-7", DAY, ()) is None
    assert book.row("openai", "gpt-7-mini", DAY, ()) is None
    used = {"input_tokens": 1_000_000, "output_tokens": 1_000_000}
    first, second = row(book, "gpt-7", datetime.date(2026, 11, 19)), row(book, "gpt-7")
    assert first.charge_nano_ceiling(used) == 3_000_000_000
    assert second.charge_nano_ceiling(used) == 7_500_000_000
    assert (first.max_output_tokens, first.context_tokens) == (1_000, 5_000)
    assert second.charge_nano_ceiling({"input_tokens": 1_000_000, "cache_read_tokens": 1_000_000}) == 100_000_000
    assert second.charge_nano_ceiling(used | {"cache_write_tokens": 1}) is None, "a unit that was not priced"


def test_what_a_price_leaves_open_is_as_in_the_book(tmp_path: Path) -> None:
    book = overlay(
        tmp_path, "- {provider: anthropic, model: claude-sonnet-4-6, from: 2026-01-01, input: 1, output: 2}\n"
    )
    own = row(book, "claude-sonnet-4-6", provider="anthropic")
    assert (own.context_tokens, own.max_output_tokens) == (1_000_000, 128_000)
    assert own.charge_nano_ceiling({"web_searches": 1}) == 10_000_000
    dated = row(book, "claude-sonnet-4-6-20260101", provider="anthropic")
    assert dated.charge_nano_ceiling({"output_tokens": 1}) == 2_000, "the book's other names for it are meant too"


def test_the_digest_follows_the_prices(tmp_path: Path) -> None:
    plain = load_prices(tmp_path).digest
    first = overlay(tmp_path, "- {provider: openai, model: gpt-7, from: 2026-11-01, input: 1, output: 2}\n").digest
    second = overlay(tmp_path, "- {provider: openai, model: gpt-7, from: 2026-11-01, input: 1, output: 3}\n").digest
    assert len({plain, first, second}) == 3


def test_an_empty_file_and_no_folder_are_no_prices(tmp_path: Path) -> None:
    assert load_prices(tmp_path).digest == overlay(tmp_path, "# nothing yet\n").digest


def test_every_mistake_is_told_with_its_line_and_mend(tmp_path: Path) -> None:
    text = """\
- {provider: openai, model: gpt-7, from: 2026-11-01, input: 1, output: 2}
- provider: opneai
  model: 7
  from: 23.11.2026
  input: -1
  output: cheap
  discount: 5
- just a word
- {provider: openai, model: gpt-7}
- {provider: openai, model: gpt-7, from: 2026-11-01, input: 5, output: 6}
- {provider: openai, model: gpt-8, from: 2026-11-01, input: 2000000, output: true, context: 0, max_output: 1.5}
"""
    with pytest.raises(PricesInvalid) as caught:
        overlay(tmp_path, text)
    found = {(problem.line, problem.message) for problem in caught.value.problems}
    assert found == {
        (2, "unknown provider `opneai`"),
        (3, "`model` is no text"),
        (4, "`from` is no day"),
        (5, "`input` is no price"),
        (6, "`output` is no price"),
        (7, "unknown key `discount`"),
        (8, "a price is a mapping"),
        (9, "`from` is missing"),
        (9, "`input` is missing"),
        (9, "`output` is missing"),
        (10, "gpt-7 has a price from 2026-11-01 already, at prices/own.yaml:1"),
        (11, "`input` is no price"),
        (11, "`output` is no price"),
        (11, "`context` is no number of tokens"),
        (11, "`max_output` is no number of tokens"),
    }
    assert all(problem.mend for problem in caught.value.problems)
    assert all(problem.file == "prices/own.yaml" for problem in caught.value.problems)


@pytest.mark.parametrize(
    "text", ["prices: []\n", "{a\n", "- {provider: openai, model: m, from: 2026-11-01, input: .inf, output: .nan}\n"]
)
def test_what_is_no_list_of_prices_takes_no_force(tmp_path: Path, text: str) -> None:
    with pytest.raises(PricesInvalid):
        overlay(tmp_path, text)


def test_every_unit_that_an_entry_may_price_is_one_that_the_book_or_a_reader_counts(tmp_path: Path) -> None:
    from_the_table = {fee.unit for fee in read_tool_fees((SHIPPED / "tool_fees.json").read_bytes())}
    assert {unit for unit, _ in UNITS.values()} <= set(unit_data) | from_the_table
    for key, (unit, per) in UNITS.items():
        tokens = "" if key in ("input", "output") else "input: 0, output: 0, "
        more = "output: 0, " if key == "input" else "input: 0, " if key == "output" else tokens
        book = overlay(tmp_path, f"- {{provider: openai, model: m-{key}, from: 2026-01-01, {more}{key}: 6.00}}\n")
        whole = "output_tokens" if unit.startswith("output_") else "input_tokens"
        used = {unit: per} | ({whole: per} if unit.endswith("_tokens") else {})
        assert row(book, f"m-{key}").charge_nano_ceiling(used) == 6_000_000_000, key


def test_what_is_counted_without_tokens_needs_no_price_of_them(tmp_path: Path) -> None:
    book = overlay(tmp_path, "- {provider: openai, model: ears-1, from: 2026-01-01, audio_minute: 0.006}\n")
    assert row(book, "ears-1").charge_nano_ceiling({"input_audio_seconds": 30}) == 3_000_000
    assert row(book, "ears-1").charge_nano_ceiling({"input_tokens": 1}) is None


ARN = "arn:aws:bedrock:eu-west-1:123456789012:application-inference-profile/x1y2"


def test_a_deployment_is_priced_as_the_model_that_it_is(tmp_path: Path) -> None:
    book = overlay(
        tmp_path,
        "- {provider: azure, model: our-chat, from: 2026-06-01, same_as: gpt-4o}\n"
        f'- {{provider: aws, model: "{ARN}", from: 2026-06-01, same_as: us.anthropic.claude-sonnet-4-6}}\n'
        "- {provider: openai, model: ours, from: 2026-06-01, same_as: gpt-7}\n"
        "- {provider: openai, model: gpt-7, from: 2026-01-01, input: 2, output: 3}\n",
    )
    for provider, name, same in (("azure", "our-chat", "gpt-4o"), ("aws", ARN, "us.anthropic.claude-sonnet-4-6")):
        assert row(book, name, provider=provider) == row(book, same, provider=provider)
    assert row(book, "ours").charge_nano_ceiling({"input_tokens": 1, "output_tokens": 1}) == 5_000
    assert book.row("azure", "our-chat", datetime.date(2026, 5, 31), ()) is None
    priority = (("service_tier", "priority"),)
    book = overlay(tmp_path, "- {provider: openai, model: ours, from: 2026-06-01, same_as: gpt-5.5}\n")
    assert book.row("openai", "ours", DAY, priority) == book.row("openai", "gpt-5.5", DAY, priority) != None  # noqa: E711


def test_an_arn_that_names_its_model_is_found_under_either_name(tmp_path: Path) -> None:
    named = "arn:aws:bedrock:us-east-1:123456789012:inference-profile/us.vendor.model-9"
    book = overlay(tmp_path, f'- {{provider: aws, model: "{named}", from: 2026-06-01, input: 1, output: 2}}\n')
    assert row(book, "us.vendor.model-9", provider="aws").charge_nano_ceiling({"output_tokens": 1}) == 2_000
    stated = book.stated("aws", named, DAY)
    assert stated is not None
    assert stated.source == "prices/own.yaml:1"


def test_free_is_not_unknown(tmp_path: Path) -> None:
    book = overlay(tmp_path, "- {provider: groq, model: gift-1, from: 2026-06-01, free: true}\n")
    used = {"input_tokens": 10, "cache_read_tokens": 3, "output_tokens": 5, "requests": 1}
    for provider, model in (("groq", "gift-1"), ("openrouter", "vendor/new-model:free"), ("ollama", "llama3.3:70b")):
        found = row(book, model, provider=provider)
        assert found.charge_nano_ceiling(used) == 0, model
        assert found.bound_nano_ceiling(10**6, 10**6, {"input_audio_tokens"}) == 0, model
        assert found.charge_nano_ceiling(used | {"web_searches": 1}) is None, "what nobody said is free"
    assert book.row("openrouter", "vendor/new-model", DAY, ()) is None
    assert book.row("groq", "gift-2", DAY, ()) is None
    priced = overlay(tmp_path, "- {provider: ollama, model: big, from: 2026-06-01, input: 1, output: 2}\n")
    tokens = {"input_tokens": 10, "output_tokens": 5}
    assert row(priced, "big", provider="ollama").charge_nano_ceiling(tokens) == 20_000
    free = overlay(tmp_path, "- {provider: openai, model: gpt-4.1, from: 2026-06-01, free: true}\n")
    assert row(free, "gpt-4.1").charge_nano_ceiling(used) == 0
    assert row(free, "gpt-4.1").charge_nano_ceiling(used | {"web_searches": 2}) == 20_000_000


@pytest.mark.parametrize(
    ("entry", "message"),
    [
        ("same_as: gpt-99", "gpt-99 of openai has no price on 2026-11-01"),
        ("same_as: m", "m is priced as another model itself"),
        ("same_as: gpt-4o, input: 1", "`same_as` and `input` contradict each other"),
        ("same_as: gpt-4o, context: 1", "`same_as` and `context` contradict each other"),
        ("same_as: gpt-4o, free: true", "`same_as` and `free` contradict each other"),
        ("same_as: 5", "`same_as` is no text"),
        ("free: true, output: 1", "`free` and `output` contradict each other"),
        ("free: 1", "`free` is `true` or absent"),
        ("free: false", "`free` is `true` or absent"),
        ("web_search: 10001", "`web_search` is no price"),
        ("input_audio: 1, output: 1", "`input` is missing"),
    ],
)
def test_a_mistaken_entry_is_told(tmp_path: Path, entry: str, message: str) -> None:
    with pytest.raises(PricesInvalid) as caught:
        overlay(tmp_path, f"# mine\n- {{provider: openai, model: m, from: 2026-11-01, {entry}}}\n")
    assert [(problem.line, problem.message) for problem in caught.value.problems] == [(2, message)]
    assert all(problem.mend for problem in caught.value.problems)


def test_the_shipped_tool_fees_have_a_source_and_a_day() -> None:
    table = json.loads((SHIPPED / "tool_fees.json").read_bytes())
    assert set(table) == {"openai", "google", "x-ai"}
    for told in table.values():
        assert told["source"].startswith("https://")
        assert datetime.date.fromisoformat(told["read"]) <= datetime.date(2026, 11, 30)


@pytest.mark.parametrize(
    ("provider", "model", "unit", "nano"),
    [
        ("openai", "gpt-5.5", "container_gigabytes", 30_000_000),
        ("openai", "gpt-4o", "web_searches_preview", 25_000_000),
        ("openai", "gpt-4.1-mini", "web_searches_preview", 25_000_000),
        ("openai", "gpt-4.1", "web_searches", 10_000_000),
        ("openai", "gpt-5.5", "storage_searches", 2_500_000),
        ("google", "gemini-2.5-pro", "map_searches", 25_000_000),
        ("x-ai", "grok-4", "web_searches", 5_000_000),
        ("x-ai", "grok-4", "social_searches", 5_000_000),
        ("x-ai", "grok-4", "code_executions", 5_000_000),
        ("x-ai", "grok-4", "document_searches", 5_000_000),
        ("x-ai", "grok-4", "storage_searches", 2_500_000),
        ("x-ai", "grok-4", "search_sources", 25_000_000),
    ],
)
def test_tools_of_the_providers_have_fees(provider: str, model: str, unit: str, nano: int) -> None:
    found = row(load_prices(), model, provider=provider)
    assert found.charge_nano_ceiling({unit: 1}) == nano
    assert found.charge_nano_ceiling({unit: 3}) == 3 * nano


def test_a_model_that_reasons_has_no_dearer_preview() -> None:
    assert row(load_prices(), "gpt-5.5").charge_nano_ceiling({"web_searches_preview": 1}) is None


def test_a_fee_changes_on_its_day() -> None:
    table = {
        "openai": {
            "source": "https://example.com",
            "read": "2026-01-01",
            "fees": [
                {"unit": "container_gigabytes", "usd": "0.03"},
                {"unit": "container_gigabytes", "usd": "0.05", "from": "2026-11-23"},
            ],
        }
    }
    book = PriceBook(fees=read_tool_fees(json.dumps(table).encode()))
    used = {"container_gigabytes": 1}
    charged = [
        row(book, "gpt-5.5", day).charge_nano_ceiling(used)
        for day in (datetime.date(2025, 6, 1), datetime.date(2026, 11, 22), DAY)
    ]
    assert charged == [30_000_000, 30_000_000, 50_000_000]
    assert book.digest != PriceBook().digest


def test_a_book_goes_to_another_process_whole(tmp_path: Path) -> None:
    book = overlay(tmp_path, "- {provider: openai, model: gpt-7, from: 2026-11-01, input: 1, output: 2}\n")
    for one in (book, book.without_stated_costs()):
        again = pickle.loads(pickle.dumps(one))
        assert again.digest == book.digest
        assert row(again, "gpt-4o") == row(one, "gpt-4o")
        assert again.believes_stated_costs is one.believes_stated_costs


def test_the_documents_name_every_key_of_a_price() -> None:
    told = (Path(__file__).parents[2] / "docs" / "prices.md").read_text()
    keys = (*UNITS, "provider", "model", "from", "same_as", "free", "max_output", "context", "source")
    assert [key for key in keys if f"`{key}`" not in told] == []
