"""OpenAI Responses: usage in the finished response, or in the event that ends a stream; calls of OpenAI's own tools."""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from typing import Any

from douane.core.usage.framing import Framing
from douane.core.usage.openai_chat import server_side_tools
from douane.core.usage.reader import Reader, size
from douane.core.usage.tokens import Quantities, count, keep_larger, mapping, stated_cost, text

_OVER = frozenset({"response.completed", "response.incomplete", "response.failed", "response.cancelled"})
_BEGUN = frozenset({"response.created", "response.queued", "response.in_progress"})
_UNFINISHED = frozenset({"queued", "in_progress"})

_PREVIEW_IS_DEARER = ("gpt-4o", "gpt-4.1")
"""Models that do not reason: their `web_search_preview` has a price of its own."""


class OpenAIResponses(Reader):
    """Reads one response."""

    members = ("id", "model", "service_tier", "status", "usage", "tool_usage", "output", "tools", "background")
    level = 2
    tool_member = "output"

    def __init__(self, framing: Framing = "sse") -> None:
        super().__init__(framing)
        self._usage: dict[str, Any] = {}

    def whole(self, answer: Mapping[str, Any]) -> None:
        """Read a JSON answer, the response of a stream's last event, or what was read of one."""
        usage = self.usage
        usage.model = text(answer.get("model"), usage.model)
        reported = answer.get("usage")
        usage.pending = not isinstance(reported, Mapping) and answer.get("status") in _UNFINISHED
        if usage.pending or isinstance(reported, Mapping):  # an item of the output has an id too
            usage.response_id = text(answer.get("id"), usage.response_id)
        usage.service_tier = text(answer.get("service_tier"), usage.service_tier)
        if not isinstance(reported, Mapping):
            return
        keep_larger(self._usage, reported)
        usage.stated_nano = stated_cost(self._usage) or usage.stated_nano
        found = measured(self._usage)
        if found is None:
            return
        images = mapping(mapping(answer.get("tool_usage")).get("image_gen"))
        usage.parts = [(None, found | _tool_calls(answer, usage.model or ""))]
        if drawn := measured_images(images):
            usage.parts.append((_image_model(answer.get("tools")), drawn))
        usage.reported = True

    def event(self, event: Mapping[str, Any]) -> None:
        """Read one event of a stream."""
        kind = event.get("type")
        if kind in _OVER:
            self.whole(mapping(event.get("response")))
            self.usage.pending = False
        elif kind in _BEGUN:
            begun = mapping(event.get("response"))
            self.usage.model = text(begun.get("model"), self.usage.model)
            self.usage.response_id = text(begun.get("id"), self.usage.response_id)
            self.usage.pending = begun.get("background") is True
        elif isinstance(kind, str) and kind.endswith(".delta"):
            self.visible_bytes += size(event.get("delta"))


def measured(usage: Mapping[str, Any]) -> Quantities | None:
    """The quantities of a `usage` object; None where it has no counts."""
    told, written = count(usage.get("input_tokens")), count(usage.get("output_tokens"))
    if told is None and written is None:
        return None
    inputs = mapping(usage.get("input_tokens_details"))
    cached = (inputs.get("cached_tokens"), inputs.get("cache_read_input_tokens"))
    searches = mapping(mapping(usage.get("tool_calls_details")).get("search_web"))
    found = {
        "input_tokens": told or 0,
        "output_tokens": max(written or 0, (count(usage.get("total_tokens")) or 0) - (told or 0)),
        "cache_read_tokens": max(count(value) or 0 for value in cached),
        "cache_write_tokens": count(inputs.get("cache_write_tokens")) or 0,
    }
    if searched := count(searches.get("invocation")):
        found["web_searches"] = searched
    return found | server_side_tools(usage)


def measured_images(usage: Mapping[str, Any]) -> Quantities | None:
    """The quantities of an image model's `usage`; None where it has none."""
    told, drawn = count(usage.get("input_tokens")), count(usage.get("output_tokens"))
    if not told and not drawn:
        return None
    inputs, outputs = mapping(usage.get("input_tokens_details")), mapping(usage.get("output_tokens_details"))
    return {
        "input_tokens": told or 0,
        "output_tokens": drawn or 0,
        "input_image_tokens": count(inputs.get("image_tokens")) or 0,
        "output_image_tokens": count(outputs.get("image_tokens")) or 0,
        "cache_read_tokens": count(inputs.get("cached_tokens")) or 0,
    }


def _tool_calls(answer: Mapping[str, Any], model: str) -> Quantities:
    """The fees: searches of the web and of files, containers that code ran in."""
    tools = _mappings(answer.get("tools"))
    searches = files = 0
    containers: set[Any] = set()
    drawn = False
    for item in _mappings(answer.get("output")):
        match item.get("type"):
            case "web_search_call":  # opening a page that was found, or looking through it, is free
                searches += mapping(item.get("action")).get("type") in (None, "search")
            case "file_search_call":
                files += 1
            case "code_interpreter_call" | "shell_call":
                if (container := item.get("container_id")) is not None:
                    containers.add(str(container))
            case "image_generation_call":
                drawn = True
    told = mapping(mapping(answer.get("tool_usage")).get("web_search"))
    searches = max(searches, count(told.get("num_requests")) or 0)
    found: Quantities = {}
    if searches:
        preview = any(str(tool.get("type")).startswith("web_search_preview") for tool in tools)
        dearer = preview and model.startswith(_PREVIEW_IS_DEARER)
        found["web_searches_preview" if dearer else "web_searches"] = searches
    if files:
        found["storage_searches"] = files
    if containers:
        found["container_gigabytes"] = len(containers) * max(map(gigabytes, tools), default=1)
    if drawn and not mapping(answer.get("tool_usage")).get("image_gen"):
        found["images_unmeasured"] = 1  # has no price: the reservation counts
    return found


def gigabytes(tool: Mapping[str, Any]) -> int:
    """The size of the container that a tool runs in: its price is by it."""
    asked = str(
        mapping(tool.get("container")).get("memory_limit") or mapping(tool.get("environment")).get("memory_limit")
    )
    return int(asked[:-1]) if asked[:-1].isdecimal() and asked.endswith("g") else 1


def _image_model(tools: Any) -> str:
    for tool in _mappings(tools):
        if tool.get("type") == "image_generation":
            return text(tool.get("model")) or IMAGE_MODEL
    return IMAGE_MODEL


IMAGE_MODEL = "gpt-image-1"
"""What the tool draws with where the request names nothing."""


def _mappings(value: Any) -> Iterable[Mapping[str, Any]]:
    return [item for item in value if isinstance(item, Mapping)] if isinstance(value, list) else []
