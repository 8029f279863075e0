"""The money of one WebSocket of OpenAI's Realtime API, event by event.

Work begins by the agent's word (`response.create`) or by the provider's own (speech under turn detection). For each
piece of work that is under way, and for each that may begin unasked, `needed` says that a reservation has to be open;
the event that ends it closes one with its charge.
"""

from __future__ import annotations

from collections import deque
from collections.abc import Mapping
from enum import StrEnum
from typing import TYPE_CHECKING, Any

from douane.core.charge import Charge
from douane.core.pricing.bounds.realtime import seconds, transcript_nano
from douane.core.pricing.bounds.work import shown
from douane.core.pricing.row import InconsistentUsage, PriceRow
from douane.core.refusal import ReasonCode, Refusal
from douane.core.usage.realtime import Realtime, answers_by_itself, heard, heard_s, hosted, transcription
from douane.core.usage.tokens import mapping, text

if TYPE_CHECKING:
    from douane.core.pricing.book import Plan, PriceBook

MOST_UNDER_WAY = 64
"""Responses of one socket beside each other; the API itself allows few."""


class Work(StrEnum):
    """What a reservation is for."""

    RESPONSE = "response"
    TRANSCRIPT = "transcript"


class RealtimeMeter:
    """Reads the events of one socket, both ways. Raises whatever an event's shape makes it raise: the socket is cut."""

    def __init__(self, book: PriceBook, plan: Plan) -> None:
        self._book = book
        self._plan = plan
        self._asked: deque[str | None] = deque()
        """`event_id` of each `response.create` that was sent and has no response yet."""
        self._running: set[str] = set()
        self._over: deque[str] = deque(maxlen=MOST_UNDER_WAY * 4)
        """Ids of responses that have their charge."""
        self._by_itself = True
        self._by_silence = False
        self._updates = 0
        """Changes of the session that the provider has not confirmed: until then the dearer of both holds."""
        self._audio = False
        self._due = 0
        """Speech ended: a response may have begun that was not announced yet."""
        self._writer: PriceRow | None = None
        """Writes down what is heard."""
        self._hearing = 0
        """Pieces of speech whose transcript is not there yet."""
        self.model = plan.model

    @property
    def plan(self) -> Plan:
        """How a response of the socket is bounded."""
        return self._plan

    def needed(self, work: Work) -> int:
        """How many reservations have to be open now."""
        if work is Work.RESPONSE:
            unasked = (self._by_itself and self._audio) or self._by_silence
            return len(self._running) + len(self._asked) + unasked
        return self._hearing + (self._writer is not None and self._audio)

    def under_way(self, work: Work) -> int:
        """How many may cost something although nothing of it was reported."""
        if work is Work.RESPONSE:
            return len(self._running) + len(self._asked) + min(1, self._due)
        return self._hearing

    def worst_nano(self, work: Work) -> int:
        """What one of them costs at most."""
        if work is Work.RESPONSE:
            return self._plan.reserve_nano
        return self._transcript_nano(self._writer) or 0

    def model_of(self, work: Work) -> str:
        """Who does it."""
        return self._writer.model if work is Work.TRANSCRIPT and self._writer is not None else self.model

    def lost(self, work: Work, reserve_nano: int) -> Charge:
        """The charge for what was under way when the socket ended."""
        return Charge(reserve_nano, self.model_of(work), estimated=True, method="full-reservation")

    def sent(self, event: Mapping[str, Any]) -> Refusal | None:
        """Read what the agent is about to send; the refusal of what cannot be bounded."""
        match event.get("type"):
            case "response.create":
                settings = mapping(event.get("response"))
                if len(self._asked) + len(self._running) >= MOST_UNDER_WAY:
                    return Refusal(ReasonCode.LIMIT_EXCEEDED, f"Over {MOST_UNDER_WAY} responses at a time.")
                if (refusal := _unbounded(settings)) is not None:
                    return refusal
                self._asked.append(text(event.get("event_id")))
            case "session.update" | "transcription_session.update":
                settings = mapping(event.get("session"))
                self._updates += 1
                return _unbounded(settings) or self._settings(settings, widens=True)
            case "input_audio_buffer.append" | "input_audio_buffer.commit":
                self._audio = True
        return None

    def came(self, event: Mapping[str, Any]) -> tuple[list[tuple[Work, Charge]], Refusal | None]:
        """Read what the provider sent: the charges it brings, and the refusal of what cannot be bounded."""
        match event.get("type"):
            case "session.created" | "session.updated" as kind:
                if kind == "session.updated":
                    self._updates = max(0, self._updates - 1)
                session = mapping(event.get("session"))
                refusal = _unbounded(session) or self._model(session)
                return [], refusal or self._settings(session, widens=self._updates > 0)
            case "response.created":
                self._begins(text(mapping(event.get("response")).get("id")))
            case "response.done":
                return self._ends(event), None
            case "input_audio_buffer.committed":
                self._due += self._by_itself
                self._hearing += self._writer is not None
            case "conversation.item.input_audio_transcription.completed" if event.get("status") != "in_progress":
                return self._written(mapping(event.get("usage"))), None
            case "conversation.item.input_audio_transcription.failed" if self._hearing:
                self._hearing -= 1
                return [(Work.TRANSCRIPT, Charge(0, self.model_of(Work.TRANSCRIPT), method="released"))], None
            case "error":
                self._failed(mapping(event.get("error")))
        return [], None

    def _begins(self, response_id: str | None) -> None:
        if response_id is None or response_id in self._running or response_id in self._over:
            return
        self._due = 0  # only one at a time answers the conversation, whoever asked
        if self._asked:
            self._asked.popleft()
        self._running.add(response_id)

    def _ends(self, event: Mapping[str, Any]) -> list[tuple[Work, Charge]]:
        response = mapping(event.get("response"))
        response_id = text(response.get("id"))
        if response_id is None or response_id in self._over:
            return []
        self._begins(response_id)
        self._running.discard(response_id)
        self._over.append(response_id)
        reader = Realtime()
        reader.whole(event)
        usage = reader.usage
        usage.model = self.model
        if usage.reported and (usage.totals() or not response.get("output")):
            priced = self._book.charge_nano(self._plan, usage)
            amount, exact = priced if priced is not None else (self._plan.reserve_nano, False)
            method = "usage" if exact else "fallback"
            charge = Charge(amount, self.model, usage.totals(), not exact, method, response_id)
        elif response.get("status") == "failed" and not response.get("output"):
            charge = Charge(0, self.model, method="released", response_id=response_id)
        else:
            charge = Charge(self._plan.reserve_nano, self.model, {}, True, "fallback", response_id)
        return [(Work.RESPONSE, charge)]

    def _written(self, usage: Mapping[str, Any]) -> list[tuple[Work, Charge]]:
        row = self._writer
        if row is None:  # nobody asked for it: nothing says what it costs
            return []
        self._hearing = max(0, self._hearing - 1)
        spoken_s = heard_s(usage)
        used = heard(usage) if spoken_s is None else seconds(row, spoken_s)
        amount = None
        if used:
            try:
                amount = row.charge_nano_ceiling(used, percent=self._plan.percent)
            except InconsistentUsage:
                amount = None
        if amount is None:
            return [
                (Work.TRANSCRIPT, Charge(self.worst_nano(Work.TRANSCRIPT), row.model, used or {}, True, "fallback"))
            ]
        return [(Work.TRANSCRIPT, Charge(amount, row.model, used or {}))]

    def _failed(self, error: Mapping[str, Any]) -> None:
        """Take back what the provider refused; what cannot be told apart stays, at the worst."""
        told = text(error.get("event_id"))
        if told is not None and told in self._asked:
            self._asked.remove(told)
        elif self._asked and (
            error.get("code") == "conversation_already_has_active_response"
            or str(error.get("param") or "").startswith("response.")
        ):
            self._asked.popleft()

    def _model(self, session: Mapping[str, Any]) -> Refusal | None:
        """Take the model that the provider names; the refusal of one that the reservations are too small for."""
        name = text(session.get("model"))
        if name is None or name == self.model:
            return None
        plan = self._book.socket_plan_of(self._plan, name)
        if plan is None or plan.reserve_nano > self._plan.reserve_nano:
            return Refusal(
                ReasonCode.MODEL_UNPRICED,
                f"The provider answers with the model {shown(name)}, which has no price or a higher one.",
            )
        self.model = name
        return None

    def _settings(self, session: Mapping[str, Any], *, widens: bool) -> Refusal | None:
        """Take a session's settings; `widens`: they may not be in force yet, so that only what costs more counts."""
        said, by_itself, by_silence = answers_by_itself(session)
        if said:
            self._by_itself = by_itself or (widens and self._by_itself)
            self._by_silence = (by_itself and by_silence) or (widens and self._by_silence)
        said, model = transcription(session)
        if not said:
            return None
        if model is None:
            self._writer = self._writer if widens else None
            return None
        row = self._book.row(self._plan.provider, str(model), self._plan.day, ())
        worst_nano = self._transcript_nano(row)
        if worst_nano is None:
            return Refusal(
                ReasonCode.MODEL_UNPRICED,
                f"There is no price for transcripts by {shown(model) or 'a model that is not named'}. "
                "Switch the transcription off, or add a price to prices/*.yaml of the policy folder.",
            )
        if not widens or self.worst_nano(Work.TRANSCRIPT) < worst_nano:
            self._writer = row
        return None

    def _transcript_nano(self, row: PriceRow | None) -> int | None:
        return None if row is None else transcript_nano(row, self._plan.percent)


def _unbounded(settings: Mapping[str, Any]) -> Refusal | None:
    for what in hosted(settings):
        return Refusal(ReasonCode.MODEL_UNPRICED, f"Nobody can bound what {what} costs. Use tools of type function.")
    return None
