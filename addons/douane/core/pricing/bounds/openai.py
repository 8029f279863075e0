"""OpenAI's APIs, at OpenAI and at those who offer the same."""

from __future__ import annotations

import re
from collections.abc import Mapping
from dataclasses import replace
from typing import Any

from douane.core.charge import Unpriced
from douane.core.pricing.bounds.work import (
    Bound,
    OutputLimit,
    RowOf,
    Work,
    at_the_provider,
    holds_more,
    input_bound,
    input_units,
    is_escaped,
    items,
    most_asked,
    shown,
)
from douane.core.pricing.row import PriceRow
from douane.core.usage.openai_responses import IMAGE_MODEL, gigabytes
from douane.core.usage.tokens import count, mapping

_PLAIN = ("gpt-4o", "gpt-4.1", "gpt-4-", "gpt-4.5", "gpt-3.5", "chatgpt-4o", "gpt-5-chat")
"""Models that generate nothing unseen."""

_CHAT_TEXT = frozenset({"text", "refusal"})
_RESPONSES_TEXT = frozenset(
    {"message", "input_text", "output_text", "refusal", "summary_text", "reasoning_text", "reasoning", "text", None}
    | {"function_call", "function_call_output", "custom_tool_call", "custom_tool_call_output", "web_search_call"}
    | {"local_shell_call", "local_shell_call_output", "shell_call", "shell_call_output", "apply_patch_call"}
    | {"apply_patch_call_output"}
)
_CLIENT_TOOLS = frozenset({"function", "custom", "local_shell", "apply_patch", "computer_use_preview", "computer"})
_SEARCHES = re.compile(r"(?<!re)search|deep-research")
"""Models that search the web by themselves."""
_METERED_TOOLS = ("web_search", "file_search", "code_interpreter", "image_generation")

_MOST_IMAGE_TOKENS = 16_384
"""Of one picture with its previews: a large one in high quality has 6,240."""

_AUDIO_BYTES_A_SECOND = 500
"""Below the lowest rate that speech is sent at."""
_AUDIO_TOKENS_A_SECOND = 25


def chat(body: Mapping[str, Any], body_bytes: bytes, row: PriceRow, row_of: RowOf) -> Bound | Unpriced:
    """The worst case of a Chat Completions or Completions request."""
    model = str(body["model"])
    if _SEARCHES.search(model) or any(body.get(key) is not None for key in ("web_search_options", "search_parameters")):
        return Unpriced(model, "Web searches of Chat Completions are charged beside their tokens and not metered yet.")
    if model.endswith(":online") or body.get("plugins"):
        return Unpriced(model, "A call that plugins may answer is not metered yet.")
    if body.get("data_sources") is not None:
        return Unpriced(model, "Data sources bring context of their own, which cannot be seen from here.")
    others = _others(body, row_of)
    if isinstance(others, Unpriced):
        return others
    for tool in items(body.get("tools")):
        if (kind := mapping(tool).get("type")) not in ("function", "custom"):
            return at_the_provider(model, kind)
    several = _answers(body)
    if not several:
        return Unpriced(model, "`n` has to be a positive integer: it multiplies what the call may cost.")
    units = {"cache_read_tokens"}
    if "cache_write_tokens" in row.names:
        units.add("cache_write_tokens")
    if (b"audio" in body_bytes or is_escaped(body_bytes)) and "input_audio_tokens" in row.names:
        units.add("input_audio_tokens")
    if "audio" in items(body.get("modalities")):
        units.add("output_audio_tokens")
    refers = any(
        holds_more(mapping(message).get("content"), _CHAT_TEXT) or mapping(message).get("audio") is not None
        for message in items(body.get("messages"))
    )
    works = []
    for name, own in [(None, row), *others]:
        output = most_asked(body, ("max_completion_tokens", "max_tokens"), own) * several
        if body.get("prediction") is not None:  # what is predicted and not used is charged as output
            output += len(body_bytes) * several
        works.append(Work(input_bound(len(body_bytes), own, refers=refers), output, frozenset(units), model=name))
    hidden = bool(others) or not model.startswith(_PLAIN)
    limit = None
    both = body.get("max_tokens") is not None and body.get("max_completion_tokens") is not None
    structured = body.get("response_format") is not None or body.get("prediction") is not None
    if not (hidden or both or structured or body.get("modalities")):
        name = "max_completion_tokens" if body.get("max_completion_tokens") is not None else "max_tokens"
        limit = OutputLimit((name,), several)
    return Bound(tuple(works), hidden, limit=limit)


def _others(body: Mapping[str, Any], row_of: RowOf) -> list[tuple[str, PriceRow]] | Unpriced:
    """The further models that OpenRouter may ask in turn: each is paid for what it did."""
    found: dict[str, PriceRow] = {}
    named = body.get("models")
    for name in named if isinstance(named, list) else [named] if named else []:
        if not isinstance(name, str) or name.endswith(":online") or (row := row_of(name)) is None:
            return Unpriced(
                shown(name), f"There is no price for the further model {shown(name)}. Add it to prices/*.yaml."
            )
        if name != body["model"]:
            found[name] = row
    return list(found.items())


def _answers(body: Mapping[str, Any]) -> int | None:
    """How many answers are generated; None or 0 for what is no number of them."""
    several = 1
    for name in ("n", "best_of"):
        if body.get(name) is not None:
            number = count(body[name])
            if not number:
                return None
            several = max(several, number)
    prompt = items(body.get("prompt"))
    prompts = len(prompt) if prompt and not isinstance(prompt[0], int) else 1
    return several * prompts


def responses(body: Mapping[str, Any], body_bytes: bytes, row: PriceRow, row_of: RowOf) -> Bound | Unpriced:
    """The worst case of a Responses request."""
    model = str(body["model"])
    if body.get("plugins") or body.get("models") or model.endswith(":online"):
        return Unpriced(model, "A call that plugins or further models may answer is not metered yet.")
    if body.get("prompt") is not None:
        return Unpriced(model, "A stored prompt may bring tools of its own, which cannot be seen from here.")
    works: list[Work] = []
    fees: dict[str, int] = {}
    hosted = False
    calls = count(body.get("max_tool_calls"))
    for tool in map(mapping, items(body.get("tools"))):
        kind = str(tool.get("type"))
        if kind in _CLIENT_TOOLS:
            continue
        if not kind.startswith(_METERED_TOOLS):
            return at_the_provider(model, kind)
        if calls is None:
            return Unpriced(model, f"The tool {shown(kind)} may run without a limit. Give the call `max_tool_calls`.")
        hosted = True
        if kind.startswith("web_search"):
            fees["web_searches"] = calls
            if "preview" in kind:
                fees["web_searches_preview"] = calls
        elif kind.startswith("file_search"):
            fees["storage_searches"] = calls
        elif kind.startswith("code_interpreter"):
            fees["container_gigabytes"] = fees.get("container_gigabytes", 0) + calls * gigabytes(tool)
        else:
            drawer = str(tool.get("model") or IMAGE_MODEL)
            drawn = row_of(drawer)
            if drawn is None:
                return Unpriced(model, f"There is no price for the image model {shown(drawer)}.")
            works.append(_drawing(drawn, calls, drawer))
    if "web_searches_preview" in fees:
        del fees["web_searches_preview" if not model.startswith(_PLAIN) else "web_searches"]
    refers = (
        body.get("previous_response_id") is not None
        or body.get("conversation") is not None
        or holds_more(body.get("input"), _RESPONSES_TEXT)
    )
    rounds = 1 + (calls or 0) if hosted else 1
    input_tokens = row.context_tokens * rounds if hosted else input_bound(len(body_bytes), row, refers=refers)
    output_tokens = most_asked(body, ("max_output_tokens",), row)
    if body.get("context_management") is not None:  # compaction reads everything once more and writes a summary
        input_tokens, output_tokens = input_tokens * 2, output_tokens + row.max_output_tokens
    units = input_units(row, "cache_write_tokens")
    works.insert(0, Work(input_tokens, output_tokens, units, tuple(sorted(fees.items()))))
    hidden = hosted or not model.startswith(_PLAIN) or body.get("reasoning") is not None
    structured = body.get("text") is not None or body.get("context_management") is not None
    limit = None if hidden or structured else OutputLimit(("max_output_tokens",))
    return Bound(tuple(works), hidden, limit=limit)


def embeddings(body: Mapping[str, Any], body_bytes: bytes, row: PriceRow, row_of: RowOf) -> Bound | Unpriced:  # noqa: ARG001
    """The worst case of embeddings: a token or more for each byte, and what each of the inputs gets added."""
    texts = [body.get(name) for name in ("input", "texts", "inputs", "prompt")]
    several = sum(len(text) for text in texts if isinstance(text, list) and not _is_tokens(text))
    refers = body.get("images") is not None or not all(map(_is_text, texts))
    tokens = row.context_tokens * max(1, several) if refers else len(body_bytes) + 8 * several
    return Bound((Work(tokens + HIDDEN, 0),), hidden_output=True)


HIDDEN = 64


def nothing(body: Mapping[str, Any], body_bytes: bytes, row: PriceRow, row_of: RowOf) -> Bound | Unpriced:  # noqa: ARG001
    """An answer that only tells what earlier work did cost."""
    return Bound((), hidden_output=False)


def _is_tokens(text: list[Any]) -> bool:
    return bool(text) and isinstance(text[0], int)


def _is_text(value: Any) -> bool:
    """Whether it is text, or tokens, or several of them: all that it stands for is in the body."""
    parts = value if isinstance(value, list) else [value]
    return all(
        part is None or isinstance(part, str | int) or (isinstance(part, list) and _is_tokens(part)) for part in parts
    )


def plain(body: Mapping[str, Any], body_bytes: bytes, row: PriceRow, row_of: RowOf) -> Bound | Unpriced:  # noqa: ARG001
    """The worst case of a request without tools of the provider: its body, or the context, and the longest answer."""
    messages = [mapping(message) for message in items(body.get("messages"))]
    refers = any(part.get("images") or holds_more(part.get("content"), _CHAT_TEXT) for part in (body, *messages))
    work = Work(input_bound(len(body_bytes), row, refers=refers), row.max_output_tokens)
    return Bound((work,), hidden_output=True)


def images(body: Mapping[str, Any], body_bytes: bytes, row: PriceRow, row_of: RowOf) -> Bound | Unpriced:  # noqa: ARG001
    """The worst case of pictures that are drawn or edited."""
    model = str(body["model"])
    several = 1 if body.get("n") is None else count(body["n"])
    if not several:
        return Unpriced(model, "`n` has to be a positive integer: it multiplies what the call may cost.")
    drawing = _drawing(row, several, None)
    shows = b"image" in body_bytes.replace(model.encode(), b"") or is_escaped(body_bytes)
    if body_bytes.startswith(b"{") and not shows:
        drawing = replace(drawing, input_tokens=input_bound(len(body_bytes), row, refers=False))
    if drawing.units <= {"cache_read_tokens"}:
        return Unpriced(model, f"{shown(model)} has a price for each picture, which is not metered yet.")
    return Bound((drawing,), hidden_output=True)


def _drawing(row: PriceRow, pictures: int, model: str | None) -> Work:
    units = input_units(row, "input_image_tokens", "output_image_tokens", "cache_image_read_tokens")
    return Work(row.context_tokens, _MOST_IMAGE_TOKENS * pictures, units, model=model)


def speech(body: Mapping[str, Any], body_bytes: bytes, row: PriceRow, row_of: RowOf) -> Bound | Unpriced:  # noqa: ARG001
    """What speech costs: by the characters of its text where the model has such a price."""
    spoken = body.get("input")
    if not isinstance(spoken, str):
        return Unpriced(str(body["model"]), "Speech is charged by its `input`, which has to be a text.")
    if "input_characters" in row.names:
        return Bound((Work(0, 0, frozenset(), (("input_characters", len(spoken)),)),), hidden_output=True, exact=True)
    units = input_units(row, "output_audio_tokens")
    return Bound((Work(input_bound(len(body_bytes), row, refers=False), row.max_output_tokens, units),), True)


def transcription(body: Mapping[str, Any], body_bytes: bytes, row: PriceRow, row_of: RowOf) -> Bound | Unpriced:  # noqa: ARG001
    """The worst case of a transcript: as long as the file could be at the lowest rate."""
    seconds = -(-len(body_bytes) // _AUDIO_BYTES_A_SECOND)
    if "input_audio_seconds" in row.names:
        return Bound((Work(0, 0, frozenset(), (("input_audio_seconds", seconds),)),), hidden_output=True)
    heard = seconds * _AUDIO_TOKENS_A_SECOND + len(str(body.get("prompt") or ""))
    return Bound((Work(heard, row.max_output_tokens, input_units(row, "input_audio_tokens")),), hidden_output=True)
