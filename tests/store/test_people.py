"""Agents, keys, reviewers, logins: what changes, and what the register tells of it."""

from __future__ import annotations

from collections.abc import Awaitable, Callable

import pytest

from douane.store.sqlite import SqliteStore
from support.register import Place, SetClock, records

OWN, NEW, SESSION = "aa" * 32, "bb" * 32, "cc" * 32


async def test_an_agent_from_first_to_last(store: SqliteStore) -> None:
    assert await store.ever_had_agents() is False
    added = await store.add_agent("worker", {"env": "production"}, 5, OWN)
    assert await store.agents() == [added]
    assert added.key_hashes == {OWN: None}
    rotated = await store.rotate_agent("worker", NEW)
    assert rotated.key_hashes == {NEW: None}
    assert (await store.suspend_agent("worker", True)).suspended is True
    assert (await store.suspend_agent("worker", False)).suspended is False
    await store.remove_agent("worker")
    assert await store.agents() == []
    assert await store.ever_had_agents() is True
    actions = [record["action"] for record in await records(store, kind="admin")]
    assert actions == ["agent.add", "agent.rotate", "agent.suspend", "agent.resume", "agent.remove"]


async def test_changes_tell_before_and_after_without_secrets(store: SqliteStore) -> None:
    await store.add_agent("worker", {"env": "production", "team": "a"}, 5, OWN)
    await store.rotate_agent("worker", NEW)
    added, rotated = await records(store, kind="admin")
    assert "before" not in added
    assert added["after"]["labels"] == ["env=production", "team=a"]
    assert added["after"]["cap_nano"] == 5
    assert (rotated["before"]["keys"], rotated["after"]["keys"]) == (["aa" * 8], ["bb" * 8])
    assert OWN not in str([added, rotated])


async def test_session_keys_end_by_themselves(store: SqliteStore, clock: SetClock) -> None:
    await store.add_agent("worker", {}, None, OWN)
    ends = clock.now_us + 10_000_000
    assert (await store.add_session_key("worker", SESSION, ends)).key_hashes == {OWN: None, SESSION: ends}
    clock.pass_by(10)
    assert [row.key_hashes for row in await store.agents()] == [{OWN: None}]
    await store.add_session_key("worker", NEW, clock.now_us + 10_000_000)
    assert (await store.end_session_key("worker", NEW)).key_hashes == {OWN: None}
    assert (await store.end_session_key("worker", OWN)).key_hashes == {OWN: None}


@pytest.mark.parametrize(
    ("call", "error"),
    [
        (lambda store: store.add_agent("worker", {}, None, NEW), ValueError),
        (lambda store: store.add_agent("other", {}, None, OWN), ValueError),
        (lambda store: store.add_agent("bad\ud800name", {}, None, NEW), ValueError),
        (lambda store: store.add_agent("x" * 600, {}, None, NEW), ValueError),
        (lambda store: store.rotate_agent("nobody", NEW), KeyError),
        (lambda store: store.rotate_agent("worker", OWN), ValueError),
        (lambda store: store.remove_agent("nobody"), KeyError),
        (lambda store: store.suspend_agent("nobody", True), KeyError),
        (lambda store: store.add_session_key("nobody", NEW, 5), KeyError),
        (lambda store: store.add_session_key("worker", OWN, 5), ValueError),
        (lambda store: store.end_session_key("nobody", NEW), KeyError),
        (lambda store: store.add_reviewer("rita", "other"), ValueError),
        (lambda store: store.remove_reviewer("nobody"), KeyError),
        (lambda store: store.add_login_link("nobody", "l", 2**60), KeyError),
        (lambda store: store.add_reviewer_session("nobody", "t", 2**60), KeyError),
    ],
)
async def test_what_cannot_be_done_changes_nothing(
    store: SqliteStore, call: Callable[[SqliteStore], Awaitable[object]], error: type[Exception]
) -> None:
    await store.add_agent("worker", {}, None, OWN)
    await store.add_reviewer("rita", "hash")
    before = await records(store)
    with pytest.raises(error):
        await call(store)
    assert await records(store) == before
    assert store.latched is None


async def test_a_login_link_logs_in_once(store: SqliteStore, clock: SetClock) -> None:
    await store.add_reviewer("rita", "scrypt-hash")
    assert await store.reviewer_secret_hash("rita") == "scrypt-hash"
    assert await store.reviewer_secret_hash("nobody") is None
    await store.add_login_link("rita", "link", clock.now_us + 1_000_000)
    assert await store.spend_login_link("link") == "rita"
    assert await store.spend_login_link("link") is None
    await store.add_login_link("rita", "late", clock.now_us + 1_000_000)
    clock.pass_by(1)
    assert await store.spend_login_link("late") is None
    assert "scrypt-hash" not in str(await records(store))


async def test_a_reviewer_session_ends(store: SqliteStore, clock: SetClock) -> None:
    await store.add_reviewer("rita", "hash")
    for token in ("one", "two", "three"):
        await store.add_reviewer_session("rita", token, clock.now_us + 10_000_000)
    assert await store.reviewer_session("one") == "rita"
    await store.end_reviewer_session("one")
    assert await store.reviewer_session("one") is None
    clock.pass_by(10)
    assert await store.reviewer_session("two") is None
    await store.remove_reviewer("rita")
    assert await store.reviewers() == []
    assert await store.reviewer_session("three") is None


async def test_everything_is_there_after_a_restart(place: Place) -> None:
    async with place.opened() as store:
        added = await store.add_agent("worker", {"env": "staging"}, 7, OWN)
        await store.add_reviewer("rita", "hash")
        await store.record_policy("digest", "text", "operator", ["one line"])
    async with place.opened() as store:
        assert await store.agents() == [added]
        assert [row.name for row in await store.reviewers()] == ["rita"]
        assert await store.policy_in_force() == ("digest", "text")
