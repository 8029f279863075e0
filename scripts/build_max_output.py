"""Build `policy/prices/max_output.json`, the longest answer of each model, from a table of facts.

    python scripts/build_max_output.py model_prices_and_context_window_backup.json > policy/prices/max_output.json

The table is the one of the package `litellm` (MIT): of it only `max_output_tokens` is taken, by the price book's name
of the model. What is read from the providers' own pages stands here and goes first. Nothing is downloaded.
"""

from __future__ import annotations

import json
import re
import sys
from collections.abc import Iterator, Mapping
from pathlib import Path
from typing import Any

from genai_prices.data import providers

from douane.core.pricing.stated import most_output

SOURCE = (
    "the providers' model pages (openai, anthropic, google, groq), read 2026-11, and "
    "model_prices_and_context_window_backup.json of litellm {version} (MIT): built by scripts/build_max_output.py; a "
    "prefix of the model's name → tokens; the longest prefix counts"
)

# fmt: off
READ: dict[str, dict[str, int]] = {
    "openai": {
        "gpt-3.5-turbo": 4096, "gpt-3.5-turbo-16k": 16385, "ft:gpt-3.5-turbo": 4096,
        "gpt-4": 8192, "gpt-4-32k": 32768, "gpt-4-turbo": 4096, "gpt-4-1106": 4096, "gpt-4-0125": 4096,
        "gpt-4-vision": 4096, "gpt-4o": 16384, "gpt-4o-2024-05-13": 4096, "ft:gpt-4o": 16384, "chatgpt-4o": 16384,
        "gpt-4.1": 32768, "gpt-4.5": 16384,
        "o1": 100000, "o1-mini": 65536, "o1-preview": 32768, "o3": 100000, "o4-mini": 100000, "codex-mini": 100000,
        "gpt-5": 128000, "gpt-5-chat": 16384, "gpt-5-pro": 272000, "gpt-6": 128000,
        "gpt-realtime": 4096, "gpt-realtime-2": 32000, "gpt-realtime-2025": 4096, "gpt-4o-realtime": 4096,
        "gpt-4o-mini-realtime": 4096,
    },
    "anthropic": {
        "claude-2": 4096, "claude-3-opus": 4096, "claude-3-sonnet": 4096, "claude-3-haiku": 4096, "claude-3-5": 8192,
        "claude-3-7": 128000,
        "claude-opus-4": 32000, "claude-opus-4-5": 64000, "claude-opus-4-6": 128000, "claude-opus-4-7": 128000,
        "claude-opus-4-8": 128000, "claude-sonnet-4": 64000, "claude-sonnet-4-6": 128000, "claude-haiku-4": 64000,
        "claude-opus-5": 128000, "claude-sonnet-5": 128000, "claude-haiku-5": 128000,
        "claude-fable-5": 128000, "claude-mythos-5": 128000,
    },
    "azure": {
        "gpt-realtime": 4096, "gpt-realtime-2": 32000, "gpt-realtime-2025": 4096, "gpt-4o-realtime": 4096,
        "gpt-4o-mini-realtime": 4096,
    },
    "google": {"gemini-1.5": 8192, "gemini-2.0-flash": 8192, "gemini-2.0-flash-thinking": 65536},
    "groq": {"llama-3.3-70b-versatile": 32768, "llama-3.1-8b-instant": 131072},
}
SOLD_BY = {
    "openai": "openai", "text-completion-openai": "openai", "anthropic": "anthropic", "gemini": "google",
    "mistral": "mistral", "codestral": "mistral", "text-completion-codestral": "mistral", "groq": "groq",
    "deepseek": "deepseek", "xai": "x-ai", "cohere": "cohere", "cohere_chat": "cohere",
    "bedrock": "aws", "bedrock_converse": "aws", "bedrock_mantle": "aws",
    "azure": "azure", "azure_ai": "azure", "azure_text": "azure",
    "fireworks_ai": "fireworks", "together_ai": "together", "cerebras": "cerebras", "perplexity": "perplexity",
    "openrouter": "openrouter",
}
# fmt: on
"""The table's name of a provider → the price book's; Google's further platforms begin alike."""

ONLY_THEIRS = ("anthropic", "openai", "google", "x-ai", "cohere", "perplexity")
"""Vendors whose models nobody else limits otherwise: what holds there holds at OpenRouter."""

_GENERATE = frozenset({"chat", "completion", "responses"})
_AREA = re.compile(r"^((us|eu|apac|jp|au|us-gov|global|ca|sa)\.|(azure|azure_ai)/((us|eu|global|global-standard)/)?)")
_VENDORS = re.compile(r"(?:^|(anthropic|openai)\.)(claude-[^:]*|gpt-[^:]*|grok-[^:]*)")
_HOMES = {"claude": "anthropic", "gpt": "openai", "grok": "x-ai"}
_BOOK = {provider.id: provider for provider in providers}


def main(path: str) -> None:
    """Print the table."""
    facts = json.loads(Path(path).read_bytes())
    found: dict[str, dict[str, int]] = {provider: {} for provider in dict.fromkeys(SOLD_BY.values())}
    for name, fact in facts.items():
        sold_by = str(fact.get("litellm_provider"))
        provider = SOLD_BY.get(sold_by) or ("google" if sold_by.startswith("vertex_ai") else None)
        most = fact.get("max_output_tokens")
        if provider is None or fact.get("mode") not in _GENERATE or not isinstance(most, int) or most <= 0:
            continue
        for model in {id_ for spelling in _spellings(name) if (id_ := _id(provider, spelling)) is not None}:
            found[provider][model] = max(most, found[provider].get(model, 0))
    for provider, read in READ.items():
        kept = {
            model: most for model, most in found[provider].items() if most > (most_output(READ, provider, model) or 0)
        }
        found[provider] = kept | read
    for provider in ("aws", "google", "azure"):
        for model, most in _sold_elsewhere(provider, found):
            found[provider][model] = max(most, found[provider].get(model, 0))
    found["openrouter"] |= dict(_at_openrouter(found))
    print(_written({provider: _without_repeats(models) for provider, models in found.items()}, _version(Path(path))))


def _version(path: Path) -> str:
    """The package's version, from the folder beside it where a wheel was unpacked."""
    folders = sorted(path.resolve().parents[1].glob("litellm-*"))
    found = re.match(r"litellm-([0-9.]+[0-9])", folders[-1].name) if folders else None
    return found[1] if found else "unknown"


def _spellings(name: str) -> set[str]:
    plain = _AREA.sub("", name)
    return {name, plain, plain.partition("/")[2] or plain, plain.rpartition("/")[2], _AREA.sub("", plain)}


def _id(provider: str, name: str) -> str | None:
    """The book's name of a model."""
    try:
        found = _BOOK[provider].find_model(name, all_providers=providers)
    except Exception:  # noqa: BLE001 - the library raises on real names
        return None
    return found.id if found is not None else None


def _sold_elsewhere(provider: str, found: Mapping[str, Mapping[str, int]]) -> Iterator[tuple[str, int]]:
    """Models of Anthropic, OpenAI and xAI at a cloud: never less than at home."""
    for model in {*found[provider], *(model.id for model in _BOOK[provider].models)}:
        for vendor, name in _VENDORS.findall(model):
            home = vendor or _HOMES[name.partition("-")[0]]
            if (most := most_output(found, home, name)) is not None:
                yield model, most


def _at_openrouter(found: Mapping[str, Mapping[str, int]]) -> Iterator[tuple[str, int]]:
    for model in _BOOK["openrouter"].models:
        vendor, _, name = model.id.partition("/")
        if vendor in ONLY_THEIRS:
            own = name.partition(":")[0]
            most = most_output(found, vendor, own, own.replace(".", "-"))
            if most is not None:
                yield model.id, most


def _without_repeats(models: Mapping[str, int]) -> dict[str, int]:
    """The prefixes without those that a shorter one says alike."""
    kept: dict[str, int] = {}
    for model in sorted(models):
        shorter = most_output({"": kept}, "", model)
        if shorter != models[model]:
            kept[model] = models[model]
    return kept


def _written(table: Mapping[str, Mapping[str, Any]], version: str) -> str:
    lines = [f' "source": {json.dumps(SOURCE.format(version=version), ensure_ascii=False)}']
    for provider, models in table.items():
        rows: list[str] = [""]
        for model, most in models.items():
            entry = f"{json.dumps(model)}: {most}, "
            if len(rows[-1]) + len(entry) > 118:
                rows.append("")
            rows[-1] += entry
        body = "\n".join("  " + row.rstrip() for row in rows).rstrip(",")
        lines.append(f' "{provider}": {{\n{body}\n }}')
    return "{\n" + ",\n".join(lines) + "\n}"


if __name__ == "__main__":
    main(*sys.argv[1:])
