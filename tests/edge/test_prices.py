"""The operator's prices: dated, exact by name, and every mistake told at once with its line."""

from __future__ import annotations

import datetime
import json
import subprocess
import sys
import time
from pathlib import Path

import pytest
from genai_prices.data import providers

from douane.core.pricing import PriceBook, PriceRow
from douane.core.pricing.book import MOST_ROWS
from douane.edge.home import shipped_policy_dir
from douane.edge.prices import PricesInvalid, load_prices

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
    table = json.loads((shipped_policy_dir() / "prices" / "max_output.json").read_bytes())
    for provider in table.keys() - {"source"}:
        models = next(found.models for found in providers if found.id == provider)
        for prefix in table[provider]:
            assert any(f"'{prefix}" in repr(model.match).replace("^", "") for model in models), prefix


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
