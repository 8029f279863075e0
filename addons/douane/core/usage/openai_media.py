"""OpenAI's embeddings, images and audio, and what others offer in their shape."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from douane.core.usage.framing import Framing
from douane.core.usage.openai_responses import measured_images
from douane.core.usage.reader import Reader, size
from douane.core.usage.tokens import Quantities, count, mapping, stated_cost, text, whole_number


class Embeddings(Reader):
    """Vectors: only their input is charged."""

    members = ("id", "model", "usage", "meta")

    def whole(self, answer: Mapping[str, Any]) -> None:
        """Read a JSON answer, or what was read of one."""
        usage = self.usage
        usage.model = text(answer.get("model"), usage.model)
        usage.response_id = text(answer.get("id"), usage.response_id)
        reported = mapping(answer.get("usage"))
        usage.stated_nano = stated_cost(reported)
        used = [count(reported.get(name)) for name in ("prompt_tokens", "total_tokens", "input_tokens")]
        known = [number for number in used if number is not None]
        if known:
            usage.parts = [(None, {"input_tokens": max(known)})]
            usage.reported = True


class Images(Reader):
    """Pictures: in a stream the last event has the usage of all."""

    members = ("model", "usage")

    def whole(self, answer: Mapping[str, Any]) -> None:
        """Read a JSON answer, an event, or what was read of one."""
        self.usage.model = text(answer.get("model"), self.usage.model)
        if (found := measured_images(mapping(answer.get("usage")))) is not None:
            self.usage.parts = [(None, found)]
            self.usage.reported = True


class Audio(Reader):
    """Transcripts, charged by tokens or by seconds, and speech."""

    members = ("usage", "duration")

    def __init__(self, framing: Framing = "sse") -> None:
        super().__init__(framing)
        self._quantities: Quantities = {}

    def whole(self, answer: Mapping[str, Any]) -> None:
        """Read a JSON answer, an event, or what was read of one."""
        self.visible_bytes += size(answer.get("delta"))
        usage = mapping(answer.get("usage"))
        told, written = count(usage.get("input_tokens")), count(usage.get("output_tokens"))
        if told is not None or written is not None:
            details = mapping(usage.get("input_token_details") or usage.get("input_tokens_details"))
            self._quantities = {
                "input_tokens": told or 0,
                "output_tokens": written or 0,
                "input_audio_tokens": count(details.get("audio_tokens")) or 0,
            }
        else:
            seconds = usage.get("seconds") if "seconds" in usage else usage.get("prompt_audio_seconds")
            heard = max(whole_number(seconds) or 0, whole_number(_number(answer.get("duration"))) or 0)
            if heard:
                self._quantities = {"input_audio_seconds": heard}
        if self._quantities:
            self.usage.parts = [(None, dict(self._quantities))]
            self.usage.reported = True


def _number(value: Any) -> Any:
    """A number that may be written as text, as older answers have the duration."""
    if isinstance(value, str):
        try:
            return float(value)
        except ValueError:
            return None
    return value
