"""docs/register.md names every kind of record and every member that is written."""

from __future__ import annotations

import re

from douane.core.record import Kind
from support.register import ROOT, Place, records, tell_every_kind, until_settled

COMMON = {"seq", "prev", "at_us", "kind", "agent", "n", "committed"}

SELDOM = {"response_digest", "response_id", "count", "previous"}


def documented() -> dict[str, set[str]]:
    rows = re.findall(r"^\| (`.*?) \| .*? \| (.*?) \|$", (ROOT / "docs" / "register.md").read_text(), re.MULTILINE)
    return {
        kind: set(" ".join(re.findall(r"`(.*?)`", members)).split())
        for kinds, members in rows
        for kind in re.findall(r"`(\w+)`", kinds)
    }


async def test_the_page_names_what_is_written(place: Place) -> None:
    async with place.opened() as store:
        await tell_every_kind(store, place.clock)
        await until_settled(store)
        found = await records(store)
    page = documented()
    assert set(page) == {kind.value for kind in Kind}
    for record in found:
        assert record.keys() - COMMON <= page[record["kind"]], record["kind"]
    for kind in ("intent", "result", "review", "verdict", "expiry", "refusal", "admin", "policy", "heartbeat"):
        written = set().union(*(record.keys() for record in found if record["kind"] == kind))
        assert page[kind] - written <= {
            *("response_digest", "estimated", "method", "response_id", "count", "previous"),
            *("budgets", "shared", "warned_percent"),
        }, kind
