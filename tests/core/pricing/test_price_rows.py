"""The compiled rows are the price book: every model, tier, variant and unit of tokens, against the library itself."""

from __future__ import annotations

import datetime
import random
from decimal import ROUND_CEILING, Decimal
from typing import Any

import pytest
from genai_prices.data import providers
from genai_prices.data_units import unit_data
from genai_prices.types import ModelPrice, TieredPrices, Usage

from douane.core.pricing.compile import book_row, overlay_row
from douane.core.pricing.row import InconsistentUsage, PriceRow
from douane.core.pricing.stated import OverlayPrice, ToolFee, known_as, most_output

DAYS = (datetime.date(2024, 7, 1), datetime.date(2025, 11, 1), datetime.date(2026, 3, 13), datetime.date(2026, 11, 23))
TOKEN_UNITS = {unit for unit, data in unit_data.items() if data["dimensions"]["family"] == "tokens"}
FEE_UNITS = {"web_searches", "requests"}


def contexts(model: Any) -> list[tuple[tuple[str, str], ...]]:
    return [(), *{tuple(sorted(variant.when.items())) for variant in model.price_variants or ()}]


def library_prices(model: Any, day: datetime.date, context: tuple[tuple[str, str], ...]) -> ModelPrice:
    at = datetime.datetime.combine(day, datetime.time(12), datetime.UTC)
    prices: ModelPrice = model.get_prices(at, dict(context) or None)
    return prices


def thresholds(prices: ModelPrice) -> set[int]:
    return {tier.start for price in prices.__dict__.values() if isinstance(price, TieredPrices) for tier in price.tiers}


def usages(row: PriceRow, prices: ModelPrice, chance: random.Random) -> list[dict[str, int]]:
    """Consistent quantities of the row's token units: empty, at and around every tier, and anywhere."""
    found = []
    for whole in sorted({0, 1, 1_234_567, *(start + add for start in thresholds(prices) for add in (-1, 0, 1))}):
        used: dict[str, int] = {}
        left = {"input": whole, "output": chance.randrange(200_000)}
        for unit in row.units:  # parts before wholes
            if unit.name not in TOKEN_UNITS or unit.name in ("input_tokens", "output_tokens"):
                continue
            own = chance.randrange(left[unit.kind] + 1)
            left[unit.kind] -= own
            used[unit.name] = own + sum(used.get(row.units[part].name, 0) for part in unit.contains)
        wholes = {
            "input_tokens": whole,
            "output_tokens": left["output"]
            + sum(used[u.name] for u in row.units if u.kind == "output" and u.name in used),
        }
        used |= {unit: number for unit, number in wholes.items() if unit in row.names}
        if prices.web_searches_kcount is not None:
            used["web_searches"] = chance.randrange(5)
        found.append(used)
    return found


def test_every_row_is_the_book() -> None:
    chance = random.Random(23)
    compared = tiers = variants = 0
    for provider in providers:
        for model in provider.models:
            for day in DAYS:
                for context in contexts(model):
                    prices = library_prices(model, day, context)
                    row = compiled(provider, model, day, context)
                    if row is None:
                        continue
                    for used in usages(row, prices, chance):
                        try:
                            exact = prices.calc_price(Usage(**used))["total_price"]
                        except ValueError:  # overlapping parts that the library wants told apart
                            continue
                        nano = int((exact * 10**9).to_integral_value(rounding=ROUND_CEILING))
                        assert row.charge_nano_ceiling(used) == nano, (provider.id, model.id, day, context, used)
                        compared += 1
                    tiers += bool(thresholds(prices))
                    variants += bool(context)
    assert compared > 20_000
    assert tiers > 100
    assert variants > 300


def compiled(provider: Any, model: Any, day: datetime.date, context: tuple[tuple[str, str], ...]) -> PriceRow | None:
    row = book_row(provider.id, model.id, day, context, {})
    return row if row is not None and row.model == model.id else None


def test_models_are_found_by_the_names_that_providers_answer_with() -> None:
    day = DAYS[-1]
    for provider, name, model in (
        ("openai", "gpt-4.1-mini-2025-04-14", "gpt-4.1-mini"),
        ("openai", "gpt-4o-2024-11-20", "gpt-4o"),
        ("openai", "GPT-4o", "gpt-4o"),
        ("openai", "gpt-5.2-20251211", "gpt-5.2"),
        ("anthropic", "claude-sonnet-4-5-20250929", "claude-sonnet-4-5"),
        ("anthropic", "claude-3-5-haiku-20241022", "claude-3-5-haiku-latest"),
    ):
        row = book_row(provider, name, day, (), {})
        assert row is not None, name
        assert row.model == model
    for provider, name in (("openai", "gpt-99"), ("openai", ""), ("openai", "x" * 10_000), ("nobody", "gpt-4o")):
        assert book_row(provider, name, day, (), {}) is None


def test_a_model_without_prices_has_no_row_and_one_without_prices_of_a_kind_no_bound_of_it() -> None:
    assert book_row("openai", "moderation", DAYS[-1], (), {}) is None
    embedding = book_row("openai", "text-embedding-3-small", DAYS[-1], (), {})
    assert embedding is not None
    assert embedding.bound_nano_ceiling(1_000, 0) == 20_000
    assert embedding.bound_nano_ceiling(1_000, 1) is None
    heard = book_row("openai", "whisper-1", DAYS[-1], (), {})
    assert heard is not None
    assert heard.bound_nano_ceiling(1, 0) is None
    assert heard.bound_nano_ceiling(0, 0, fees=[("input_audio_seconds", 60)]) == 6_000_000


def test_a_dearer_tier_needs_prices_of_its_own() -> None:
    day = DAYS[-1]
    priority = (("service_tier", "priority"),)
    standard, dearer = book_row("openai", "gpt-5", day, (), {}), book_row("openai", "gpt-5", day, priority, {})
    assert standard is not None
    assert dearer is not None
    used = {"input_tokens": 1_000, "output_tokens": 1_000}
    assert dearer.charge_nano_ceiling(used) == 2 * (standard.charge_nano_ceiling(used) or 0)
    assert book_row("openai", "gpt-5-nano", day, priority, {}) is None
    assert book_row("openai", "gpt-5", datetime.date(2026, 1, 1), priority, {}) is None, "before the tier had prices"


def test_dearer_variants_price_every_unit_of_tokens_that_the_standard_does() -> None:
    for provider in providers:
        for model in provider.models:
            for context in contexts(model):
                if context not in ((("service_tier", "priority"),), (("service_tier", "fast"),), (("speed", "fast"),)):
                    continue
                variants = [v for v in model.price_variants or () if tuple(sorted(v.when.items())) == context]
                own = {key for v in variants for key, price in v.prices.__dict__.items() if price is not None}
                standard = library_prices(model, DAYS[-1], ())
                keys = {key for key, price in standard.__dict__.items() if price is not None and key.endswith("_mtok")}
                assert keys <= own, (provider.id, model.id, context)


def test_a_unit_without_a_price_has_no_charge() -> None:
    row = book_row("openai", "gpt-4o-audio-preview", DAYS[-1], (), {})
    assert row is not None
    used = {"input_tokens": 100, "output_tokens": 100}
    assert row.charge_nano_ceiling(used) == 1_250_000
    assert row.charge_nano_ceiling(used | {"input_audio_tokens": 10}) is None
    assert row.charge_nano_ceiling(used | {"rerank_searches": 1}) is None
    assert row.charge_nano_ceiling(used | {"cache_write_tokens": 1}) is None
    assert row.charge_nano_ceiling(used | {"cache_read_tokens": 50}) == 1_250_000, "as dear as what it is part of"


def test_amounts_are_rounded_up_once() -> None:
    row = book_row("openai", "gpt-5-nano", DAYS[-1], (), {})
    assert row is not None
    assert row.charge_nano_ceiling({"input_tokens": 1, "cache_read_tokens": 1, "output_tokens": 0}) == 5
    assert row.charge_nano_ceiling({"input_tokens": 0, "output_tokens": 0}) == 0
    assert row.charge_nano_ceiling({"input_tokens": 1, "output_tokens": 1}, percent=110) == 495
    luna = book_row("openai", "gpt-6-luna", DAYS[-1], (), {})
    assert luna is not None
    assert luna.charge_nano_ceiling({"input_tokens": 1, "cache_read_tokens": 1}, percent=101) == 11


def test_contradicting_counts_are_not_priced_silently() -> None:
    row = book_row("openai", "gpt-4o", DAYS[-1], (), {})
    assert row is not None
    with pytest.raises(InconsistentUsage):
        row.charge_nano_ceiling({"input_tokens": 10, "cache_read_tokens": 11, "output_tokens": 1})


def test_the_longest_prefix_bounds_the_output() -> None:
    table = {"openai": {"gpt-4": 8192, "gpt-4o": 16384, "gpt-4o-2024-05-13": 4096}}
    assert most_output(table, "openai", "gpt-4o-mini") == 16384
    assert most_output(table, "openai", "gpt-4o-2024-05-13") == 4096
    assert most_output(table, "openai", "gpt-9", "gpt-4") == 8192
    assert most_output(table, "openai", "o9") is None
    assert most_output(table, "reseller", "openai/gpt-4") == 8_192, "as at its maker's"
    assert most_output(table, "reseller", "llama-4") is None


def test_prices_hold_from_their_day() -> None:
    def output(day: datetime.date) -> int | None:
        row = book_row("openai", "gpt-5.6-luna", day, (), {})
        assert row is not None
        return row.charge_nano_ceiling({"output_tokens": 1})

    assert (output(datetime.date(2026, 7, 29)), output(datetime.date(2026, 7, 30))) == (6_000, 1_200)
    assert Decimal(6_000) / Decimal(10**9) == Decimal("0.000006")


def test_free_variants_and_fees_stand_in_the_row() -> None:
    day = DAYS[-1]
    free = book_row("openrouter", "deepseek/deepseek-r1:free", day, (), {})
    assert free is not None
    assert free.free
    assert free.charge_nano_ceiling({"input_tokens": 10**6, "output_tokens": 10**6, "cache_read_tokens": 5}) == 0
    assert free.charge_nano_ceiling({"web_searches": 1}) is None
    assert book_row("openai", "gpt-9:free", day, (), {}) is None, "only OpenRouter names them so"
    fee = ToolFee("openai", ("gpt-4.1",), "container_gigabytes", day, Decimal("0.03"))
    for model, nano in (("gpt-4.1-mini", 60_000_000), ("gpt-4o", None)):
        row = book_row("openai", model, day, (), {}, (fee,))
        assert row is not None
        assert row.charge_nano_ceiling({"container_gigabytes": 2}) == nano


def test_what_the_operator_states_leaves_the_rest_to_the_book() -> None:
    def stated(model: str, **more: Any) -> OverlayPrice:
        return OverlayPrice("openai", model, DAYS[0], {}, None, None, "prices/own.yaml:1", **more)

    row = overlay_row((stated("gpt-4.1", free=True),), "openai", "gpt-4.1", DAYS[-1], {"openai": {"gpt-4.1": 5}})
    assert row is not None
    assert (row.max_output_tokens, row.free) == (5, True)
    assert row.charge_nano_ceiling({"output_tokens": 7}) == 0
    assert row.charge_nano_ceiling({"web_searches": 1}) == 10_000_000
    aliases = (stated("ours", same_as="gpt-4.1"),)
    assert known_as(aliases, "openai", "ours", DAYS[-1]) == "gpt-4.1"
    assert known_as(aliases, "azure", "ours", DAYS[-1]) == "ours"
    assert known_as(aliases, "openai", "ours", datetime.date(2024, 1, 1)) == "ours"
