"""OpenAI's Realtime API: what the events of a WebSocket say of the work behind it."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from typing import Any

from douane.core.usage.reader import Reader
from douane.core.usage.tokens import Quantities, count, mapping, text, whole_number


class Realtime(Reader):
    """Reads one response, from the event that ends it."""

    members = ("response", "usage")

    def whole(self, answer: Mapping[str, Any]) -> None:
        """Read `response.done`."""
        response = mapping(answer.get("response"))
        self.usage.response_id = text(response.get("id"))
        if (found := measured(mapping(response.get("usage")))) is not None:
            self.usage.parts = [(None, found)]
            self.usage.reported = True


def measured(usage: Mapping[str, Any]) -> Quantities | None:
    """The quantities of a `usage` object; None where it has no counts."""
    told, written = count(usage.get("input_tokens")), count(usage.get("output_tokens"))
    if told is None and written is None:
        return None
    inputs, outputs = mapping(usage.get("input_token_details")), mapping(usage.get("output_token_details"))
    # What is not told apart may all be audio, the dearest.
    heard = inputs.get("audio_tokens", told)
    spoken = outputs.get("audio_tokens", written)
    cached = mapping(inputs.get("cached_tokens_details"))
    return {
        "input_tokens": told or 0,
        "output_tokens": written or 0,
        "input_audio_tokens": count(heard) or 0,
        "input_image_tokens": count(inputs.get("image_tokens")) or 0,
        "output_audio_tokens": count(spoken) or 0,
        "cache_read_tokens": count(inputs.get("cached_tokens")) or 0,
        "cache_audio_read_tokens": count(cached.get("audio_tokens")) or 0,
        "cache_image_read_tokens": count(cached.get("image_tokens")) or 0,
    }


def heard_s(usage: Mapping[str, Any]) -> int | None:
    """The seconds that a transcript's `usage` states, rounded up; None where it counts tokens, or nothing."""
    return whole_number(usage.get("seconds")) if usage.get("type") == "duration" else None


def heard(usage: Mapping[str, Any]) -> Quantities | None:
    """The tokens that a transcript's `usage` counts; None where it has none."""
    found = measured(usage)
    return found and {name: found[name] for name in ("input_tokens", "output_tokens", "input_audio_tokens")}


def transcription(session: Mapping[str, Any]) -> tuple[bool, Any]:
    """(whether a session says something of it, the model that writes down what is heard, or None)."""
    spoken = mapping(mapping(session.get("audio")).get("input"))
    for holder, name in ((spoken, "transcription"), (session, "input_audio_transcription")):
        if name in holder:
            wanted = holder[name]
            return True, mapping(wanted).get("model", "") if wanted is not None else None
    return False, None


def answers_by_itself(session: Mapping[str, Any]) -> tuple[bool, bool, bool]:
    """(whether a session says something of it, whether audio makes the model answer, whether silence does)."""
    spoken = mapping(mapping(session.get("audio")).get("input"))
    for holder in (spoken, session):
        if "turn_detection" in holder:
            wanted = holder["turn_detection"]
            if wanted is None:
                return True, False, False
            return (
                True,
                mapping(wanted).get("create_response") is not False,
                mapping(wanted).get("idle_timeout_ms") is not None,
            )
    return False, True, False


def hosted(settings: Mapping[str, Any]) -> Iterator[str]:
    """What a session's or a response's settings would have the provider do beside answering."""
    if settings.get("prompt") is not None:
        yield "a stored prompt, which may bring tools of its own"
    tools = settings.get("tools")
    for tool in tools if isinstance(tools, list) else []:
        if (kind := mapping(tool).get("type")) != "function":
            yield f"a tool of the type {kind!r:.40}, which runs at the provider"
    if settings.get("type") not in (None, "realtime"):
        yield f"a session of the type {settings.get('type')!r:.40}"
