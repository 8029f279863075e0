"""The reviews as flows in mitmweb's list, kept up to date from the API's change feed."""

from __future__ import annotations

import asyncio
import contextlib
import json
import logging
import uuid
from collections.abc import Callable
from typing import Any

from mitmproxy import connection, http
from mitmproxy.addons.view import View

from douane.api.client import ApiClient, ApiError, NodeNotRunning
from douane.console.card import card_digest, one_line

logger = logging.getLogger(__name__)

WAIT_S = 20
MOST_REVIEWS = 5_000
COLUMNS = ("tool", "state", "tier", "agent", "summary", "reason", "created_at", "expires_at")
"""The parts of a row, which the page's script sets in columns."""
MOST_PART = 600
"""Characters of a part of a row; the card has the rest."""


class Feed:
    """Follows the node's reviews; reconnects for as long as the console runs."""

    def __init__(self, client: ApiClient, view: View, changed: Callable[[], None]) -> None:
        self._client = client
        self._view = view
        self._changed = changed
        self.reviews: dict[str, dict[str, Any]] = {}
        self.node_answers = False
        self._version = 0

    async def run(self) -> None:
        """Follow until cancelled."""
        while True:
            try:
                if not self.node_answers:
                    found = await self._get(f"/v1/reviews?limit={MOST_REVIEWS}")
                    self._take(found["reviews"])
                    self._say(answers=True)
                found = await self._get(f"/v1/reviews/changes?after={self._version}&wait={WAIT_S}")
                self._take(found["reviews"])
            except (NodeNotRunning, ApiError, TimeoutError, OSError, ValueError):
                self._say(answers=False)
                await asyncio.sleep(1.0)

    async def refresh(self, review_id: str) -> dict[str, Any] | None:
        """One review as it stands at the node now; None where the node does not answer."""
        with contextlib.suppress(NodeNotRunning, ApiError, TimeoutError, OSError, ValueError):
            self._take([await self._get(f"/v1/reviews/{review_id}")])
        return self.reviews.get(review_id)

    async def _get(self, path: str) -> Any:
        return await asyncio.to_thread(self._client.request, "GET", path, timeout_s=WAIT_S + 10.0)

    def _say(self, *, answers: bool) -> None:
        if answers != self.node_answers:
            self.node_answers = answers
            self._changed()

    def _take(self, reviews: list[dict[str, Any]]) -> None:
        for review in sorted(reviews, key=lambda r: int(r["version"])):
            self._version = max(self._version, int(review["version"]))
            review_id = str(review["review_id"])
            known = self.reviews.get(review_id)
            if known == review:
                continue
            self.reviews[review_id] = review
            flow = self._view.get_by_id(review_id)
            if flow is None:
                self._view.add([to_flow(review)])
            else:
                assert isinstance(flow, http.HTTPFlow)
                paint(flow, review)
                self._view.update([flow])
        if len(self.reviews) > MOST_REVIEWS:
            self._forget()

    def _forget(self) -> None:
        """Drop the oldest decided reviews: never one that is open, never one because it was decided just now."""
        decided = [r for r in self.reviews.values() if r["state"] not in ("pending", "approved", "dispatching")]
        decided.sort(key=lambda review: int(review["version"]))
        for review in decided[: len(self.reviews) - MOST_REVIEWS]:
            del self.reviews[review["review_id"]]
            flow = self._view.get_by_id(review["review_id"])
            if flow is not None:
                self._view.remove([flow])


_MARKS = {
    "pending": ":red_circle:",
    "approved": ":hourglass_flowing_sand:",
    "dispatching": ":hourglass_flowing_sand:",
    "executed": ":white_check_mark:",
    "rejected": ":no_entry_sign:",
    "expired": ":no_entry_sign:",
    "failed": ":warning:",
    "unknown": ":warning:",
}


def to_flow(review: dict[str, Any]) -> http.HTTPFlow:
    """A review as a flow that was never live."""
    client = connection.Client(
        peername=("127.0.0.1", 0), sockname=("127.0.0.1", 0), timestamp_start=review["created_us"] / 1e6
    )
    flow = http.HTTPFlow(client, connection.Server(address=None), live=False)
    flow.id = str(uuid.UUID(review["review_id"]))
    flow.timestamp_created = review["created_us"] / 1e6
    flow.request = http.Request.make("GET", "https://held.invalid/", b"")
    flow.request.timestamp_start = flow.request.timestamp_end = review["created_us"] / 1e6
    paint(flow, review)
    return flow


def paint(flow: http.HTTPFlow, review: dict[str, Any]) -> None:
    """Put a review's state on its flow. The content carries the state: the UI reads a view anew when it changes."""
    flow.request.method = str(review["method"])
    flow.request.data.host = str(review["host"])  # not by `make`, which would decode punycode to look-alikes
    flow.request.data.path = b"/"
    flow.request.headers.clear()
    flow.request.data.content = json.dumps(
        [review["state"], review["version"], review["waiting"], card_digest(review)]
    ).encode()
    flow.intercepted = review["state"] == "pending"
    flow.marked = _MARKS.get(str(review["state"]), "")
    told = [review[name] for name in COLUMNS]
    flow.comment = " · ".join(_part(value) for value in told)


def _part(value: object) -> str:
    """A part of a row: the sign between parts is written otherwise inside of one, so that no part can end early."""
    shown = one_line(value).replace("·", "\\u{b7}")
    return shown if len(shown) <= MOST_PART else f"{shown[:MOST_PART]}… ({len(shown)} characters)"
