"""A recorded call, priced again: what it would have been charged, beside what is known of its cost."""

from __future__ import annotations

import datetime
import json
import re
from collections.abc import Mapping
from dataclasses import dataclass
from decimal import Decimal
from typing import Any
from urllib.parse import urlsplit

from douane.core.charge import Charge, Unpriced
from douane.core.money import nano_from_usd_ceiling
from douane.core.pricing.book import Plan, PriceBook
from douane.core.request import RawRequest, canonicalise
from douane.core.tool import Classification, Nature, Tier

_FOUND = Classification("recorded", Tier.VISIBLE, Nature.EXEC, "recorded", mapped=True, billable=True)
_KINDS = {".txt": b"text/event-stream", ".bin": b"application/vnd.amazon.eventstream"}
_OF_THE_WIRE = frozenset({"content-encoding", "content-length", "transfer-encoding", "content-type"})
_CREATED = re.compile(rb'"(?:created|created_at)": ?(\d{10})\b')
_MOST_USES = 8
"""Uses that a recorded call with a tool of the provider is given, where it came without a limit."""


@dataclass(frozen=True, slots=True)
class Recording:
    """One recorded call."""

    case: str
    request: RawRequest
    status: int
    headers: tuple[tuple[bytes, bytes], ...]
    body: bytes
    """Of the response."""
    day: datetime.date | None
    """Of the response, where it names one."""
    stated_nano: int | None
    """What the provider says that the call cost."""
    counted_nano: int | None
    """What another program made of it."""


def read_recording(case: str, told: Mapping[str, Any], stream: bytes | None, suffix: str) -> Recording:
    """Read a recording; `stream` is the response's body where it stands beside, by the end of its file's name."""
    url = urlsplit(told["url"])
    body = stream if stream is not None else json.dumps(told.get("response")).encode()
    kind = _KINDS.get(suffix, b"application/json")
    heads = [
        (name.encode(), str(value[0] if isinstance(value, list) else value).encode())
        for name, value in (told.get("response_headers") or {}).items()
        if name.lower() not in _OF_THE_WIRE
    ]
    created = _CREATED.search(body)
    asked = told.get("request")
    return Recording(
        case,
        RawRequest(
            "https",
            url.hostname or "",
            url.port or 443,
            "POST",
            (url.path + (f"?{url.query}" if url.query else "")).encode(),
            ((b"content-type", b"application/json"),),
            asked.encode() if isinstance(asked, str) else json.dumps(_limited(url.path, asked)).encode(),
        ),
        int(str(told.get("status") or 200).partition(" ")[0]),
        (*heads, (b"content-type", kind)),
        body,
        datetime.datetime.fromtimestamp(int(created[1]), datetime.UTC).date() if created else None,
        _nano(told.get("provider_stated_cost_usd")),
        _nano(told.get("cross_check_usd")),
    )


def _nano(usd: Any) -> int | None:
    return nano_from_usd_ceiling(str(Decimal(str(usd)))) if usd is not None else None


def _limited(path: str, asked: Any) -> Any:
    """The request with a limit on the provider's tools, without which a capped agent's call is refused."""
    tools = asked.get("tools") if isinstance(asked, dict) else None
    if not isinstance(tools, list):
        return asked
    if path.endswith("/messages"):
        hosted = [tool | {"max_uses": _MOST_USES} if "_20" in str(tool.get("type")) else tool for tool in tools]
        return asked | {"tools": hosted}
    return {"max_tool_calls": _MOST_USES} | asked if path.endswith("/responses") else asked


def plan(book: PriceBook, recording: Recording, day: datetime.date) -> Plan | Unpriced | None:
    """How the recorded request would have been bounded on a day."""
    return book.plan(canonicalise(recording.request), _FOUND, day)


def settle(book: PriceBook, planned: Plan, recording: Recording, step: int = 1 << 30) -> Charge:
    """The charge for the recorded response, read in pieces of `step` bytes."""
    meter = book.meter(planned, recording.status, recording.headers)
    for at in range(0, len(recording.body), step):
        meter.feed(recording.body[at : at + step])
    meter.end()
    return meter.charge(complete=True)


@dataclass(frozen=True, slots=True)
class Compared:
    """What a recording comes to."""

    charged_nano: int | None
    """None: it is not priced, `why` says why."""
    known_nano: int | None
    """What the provider stated, else what another program counted."""
    matches: bool | None
    """None where one of both is not known."""
    why: str


def compare(book: PriceBook, recording: Recording, today: datetime.date) -> Compared:
    """Hold the charge against what is known of the cost: by the prices of the response's day, else by today's.

    The book knows some variants and price changes only from the day that somebody looked.
    """
    known = recording.counted_nano if recording.stated_nano is None else recording.stated_nano
    found = Compared(None, known, None, "free of charge")
    for day in dict.fromkeys((recording.day or today, today)):
        planned = plan(book, recording, day)
        if not isinstance(planned, Plan):
            if planned is not None and found.charged_nano is None:
                found = Compared(None, known, None, planned.message)
            continue
        charge = settle(book, planned, recording)
        matches = None if known is None else charge.amount_nano == known
        why = "" if matches else f"by {charge.method}: {dict(charge.usage)}"
        found = Compared(charge.amount_nano, known, matches, why)
        if matches:
            break
    return found
