"""What is stated beside the price book: the operator's prices, tool fees, and the longest answers."""

from __future__ import annotations

import datetime
import re
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from decimal import Decimal

MILLION = 1_000_000
UNITS: dict[str, tuple[str, int]] = {
    "input": ("input_tokens", MILLION),
    "output": ("output_tokens", MILLION),
    "cache_read": ("cache_read_tokens", MILLION),
    "cache_write": ("cache_write_tokens", MILLION),
    "cache_write_5m": ("cache_write_5m_tokens", MILLION),
    "cache_write_1h": ("cache_write_1h_tokens", MILLION),
    "input_audio": ("input_audio_tokens", MILLION),
    "output_audio": ("output_audio_tokens", MILLION),
    "cache_read_audio": ("cache_audio_read_tokens", MILLION),
    "input_image": ("input_image_tokens", MILLION),
    "output_image": ("output_image_tokens", MILLION),
    "cache_read_image": ("cache_image_read_tokens", MILLION),
    "input_video": ("input_video_tokens", MILLION),
    "output_video": ("output_video_tokens", MILLION),
    "reasoning": ("output_reasoning_tokens", MILLION),
    "citation": ("output_citation_tokens", MILLION),
    "characters": ("input_characters", MILLION),
    "audio_minute": ("input_audio_seconds", 60),
    "request": ("requests", 1),
    "rerank_search": ("rerank_searches", 1),
    "web_search": ("web_searches", 1),
    "web_search_preview": ("web_searches_preview", 1),
    "x_search": ("social_searches", 1),
    "maps_search": ("map_searches", 1),
    "file_search": ("storage_searches", 1),
    "document_search": ("document_searches", 1),
    "search_source": ("search_sources", 1),
    "code_execution": ("code_executions", 1),
    "container": ("container_gigabytes", 1),
}
"""What an entry may price: the price book's unit, and for how many of it the dollars are."""


def per_words(key: str) -> str:
    """What the dollars of such an entry are for, in words."""
    unit, per = UNITS.get(key, (key, MILLION if key.endswith("_tokens") else 1))
    if per != MILLION:
        return f"per {key.replace('_', ' ')}"
    return "per million tokens" if unit.endswith("_tokens") else f"per million {key.replace('_', ' ')}"


@dataclass(frozen=True, slots=True)
class OverlayPrice:
    """A price that the operator states, in force from a day on."""

    provider: str
    model: str
    from_day: datetime.date
    prices: Mapping[str, tuple[Decimal, int]]
    """(dollars, for how many) by unit (`input_tokens`, …)."""
    max_output_tokens: int | None
    context_tokens: int | None
    source: str
    """`prices/FILE.yaml:LINE`."""
    same_as: str | None = None
    """Another model of the provider, whose price holds."""
    free: bool = False


@dataclass(frozen=True, slots=True)
class ToolFee:
    """What a provider charges for a tool of its own beside tokens, in force from a day on."""

    provider: str
    models: tuple[str, ...]
    """Beginnings of the models' names; `""`: all."""
    unit: str
    from_day: datetime.date
    usd: Decimal
    """Dollars for each."""


type MaxOutput = Mapping[str, Mapping[str, int]]
"""Most output tokens, by provider and prefix of the model's name."""


def most_output(table: MaxOutput, provider: str, *names: str) -> int | None:
    """The table's bound for a model: that of the longest prefix of any of its names.

    Where a provider has none for a model, that of the model's maker holds: `us.anthropic.claude-…`, `openai/gpt-…`.
    """
    found = _of_longest_prefix(table.get(provider, {}), names)
    if found is None:
        bare = [name.rpartition("/")[2] for name in names]
        claude = ["claude-" + name.partition("claude-")[2].replace(".", "-") for name in bare if "claude-" in name]
        found = _of_longest_prefix(table.get("anthropic", {}), claude) if claude else None
        if found is None and not claude:
            found = _of_longest_prefix(table.get("openai", {}), bare)
    return found


def _of_longest_prefix(table: Mapping[str, int], names: Sequence[str]) -> int | None:
    fitting = [
        (len(prefix), tokens) for prefix, tokens in table.items() if any(name.startswith(prefix) for name in names)
    ]
    return max(fitting)[1] if fitting else None


def fees_on(fees: Iterable[ToolFee], provider: str, model: str, day: datetime.date) -> dict[str, Decimal]:
    """The tool fees of a model on a day, dollars each by unit: the latest in force, and before the first one that."""
    found: dict[str, ToolFee] = {}
    for fee in sorted(fees, key=lambda fee: fee.from_day):
        if fee.provider == provider and model.startswith(fee.models) and (fee.unit not in found or fee.from_day <= day):
            found[fee.unit] = fee
    return {unit: fee.usd for unit, fee in found.items()}


_PLAIN_NAME = re.compile(r"[A-Za-z][A-Za-z0-9._/@+-]*")


def overlay_line(provider: str, model: str, day: datetime.date) -> str:
    """The line that prices a model in `prices/*.yaml`, for the operator to fill in."""
    name = model if _PLAIN_NAME.fullmatch(model) else '"' + model.replace("\\", "\\\\").replace('"', '\\"') + '"'
    return f"- {{provider: {provider}, model: {name}, from: {day}, input: 0.00, output: 0.00}}"


def in_force(overlay: Iterable[OverlayPrice], provider: str, model: str, day: datetime.date) -> OverlayPrice | None:
    """The latest of the operator's prices of a model on a day."""
    stated = [p for p in overlay if p.provider == provider and p.model == model and p.from_day <= day]
    return max(stated, key=lambda price: price.from_day, default=None)


def known_as(overlay: Iterable[OverlayPrice], provider: str, model: str, day: datetime.date) -> str:
    """The model whose price holds for a name: another one under `same_as`."""
    latest = in_force(overlay, provider, model, day)
    return model if latest is None or latest.same_as is None else latest.same_as
