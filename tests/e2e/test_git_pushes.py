"""git itself pushes over HTTPS through the product: only what could lose commits waits for a person."""

from __future__ import annotations

import os
from collections.abc import Callable
from pathlib import Path
from uuid import uuid4

import pytest

from support.agents import AgentProcess, start_agent
from support.git import ADA, Repository
from support.product import Product, eventually
from support.providers import Providers
from support.tools import need

pytestmark = pytest.mark.sdk


class Desk:
    """An agent with a clone, and the repository on the server, which only this test's pushes change."""

    def __init__(self, product: Product, providers: Providers, folder: Path) -> None:
        self.product = product
        self.name = f"coder-{uuid4().hex[:8]}"
        self.agent = product.agent(self.name)
        self.url = f"https://github.com/acme/{self.name}.git"
        providers.git.create(f"acme/{self.name}")
        self.server = Repository(providers.git.root / "bare" / "acme" / f"{self.name}.git")
        self.server.git("config", "receive.denyDeleteCurrent", "ignore")
        self._folder = folder

    def clone(self, *options: str) -> Repository:
        """`git clone` through the proxy; the folder that pushes from now on."""
        self.here = Repository(self._folder / f"clone-{uuid4().hex[:8]}")
        self._git("clone", "-q", *options, self.url, str(self.here.folder)).rest()
        return self.here

    def _git(self, *words: str) -> AgentProcess:
        return start_agent(self.product, self.agent, [need("git"), *words], **ADA, HOME=os.devnull)

    def start(self, *words: str) -> AgentProcess:
        """`git push -q …` through the proxy."""
        return self._git("-C", str(self.here.folder), "push", "-q", *words)

    def passes(self, *words: str) -> None:
        """A push that nobody is asked about, and that arrives."""
        self.start(*words).rest()
        assert self.reviews() == []

    def waits(self, tool: str, *words: str) -> None:
        """A push that changes nothing until a person approves it, and then all."""
        before = self.server.refs()
        running = self.start(*words)
        review = self.product.wait_review(agent=self.name)
        assert (review["tool"], review["tier"]) == (tool, "irreversible")
        assert running.process.poll() is None
        assert self.server.refs() == before
        assert self.product.decide(review["review_id"], "approve").status == 200
        running.rest()
        eventually(lambda: [found["state"] for found in self.reviews()] == ["executed"], "the result")

    def reviews(self) -> list[dict[str, object]]:
        return [review for review in self.product.reviews() if review["agent"] == self.name]


@pytest.fixture
def desk(product: Product, providers: Providers, tmp_path: Path) -> Callable[..., Desk]:
    def take(*options: str) -> Desk:
        found = Desk(product, providers, tmp_path)
        found.clone(*options)
        return found

    return take


def test_new_branches_tags_and_fast_forwards_pass(desk: Callable[..., Desk]) -> None:
    at = desk()
    main = at.here.commit()
    at.passes("origin", "main")
    assert at.server.refs()["refs/heads/main"] == main
    topic = at.here.commit()
    at.here.git("tag", "-a", "-m", "one", "v1")
    at.passes("origin", "main:topic", "v1")
    assert at.server.refs()["refs/heads/topic"] == topic
    assert at.server.refs()["refs/tags/v1"] == at.here.git("rev-parse", "v1")
    at.here.commit()
    at.passes("origin", "main:topic")
    assert at.server.refs()["refs/heads/topic"] == at.here.git("rev-parse", "main")


def test_a_push_of_megabytes_passes(desk: Callable[..., Desk], providers: Providers) -> None:
    """git asks with a probe first, and then sends in chunks."""
    at = desk()
    main = at.here.commit("large", size=3_000_000)
    at.passes("origin", "main")
    assert at.server.refs()["refs/heads/main"] == main
    probe, push = providers.stand_in.seen("POST", f"/acme/{at.name}.git/git-receive-pack")
    assert probe.body == b"0000"
    assert len(push.body) > 3_000_000
    at.here.git("reset", "-q", "--hard", "HEAD~1")
    at.here.commit("another past", size=3_000_000)
    at.waits("git.branch.force_or_unproven", "--force", "origin", "main")
    assert at.server.refs()["refs/heads/main"] == at.here.git("rev-parse", "main")


def test_force_waits(desk: Callable[..., Desk]) -> None:
    at = desk()
    at.here.git("commit", "-q", "--amend", "-m", "another past")
    at.waits("git.branch.force_or_unproven", "--force", "origin", "main")
    assert at.server.refs()["refs/heads/main"] == at.here.git("rev-parse", "main")


@pytest.mark.parametrize(
    ("tool", "made", "deleted"),
    [("git.branch.delete", "main:topic", "refs/heads/topic"), ("git.tag.delete", "main:refs/tags/v1", "refs/tags/v1")],
)
def test_a_delete_waits(desk: Callable[..., Desk], tool: str, made: str, deleted: str) -> None:
    at = desk()
    at.passes("origin", made)
    assert deleted in at.server.refs()
    at.waits(tool, "origin", f":{deleted}")
    assert at.server.refs().keys() == {"refs/heads/main"}


def test_a_moved_tag_waits(desk: Callable[..., Desk]) -> None:
    at = desk()
    at.passes("origin", "main:refs/tags/v1")
    moved = at.here.commit()
    at.waits("git.tag.update", "--force", "origin", "main:refs/tags/v1")
    assert at.server.refs()["refs/tags/v1"] == moved


def test_a_mirror_waits_where_it_takes_away(desk: Callable[..., Desk]) -> None:
    at = desk("--mirror")
    at.here.git("branch", "topic", "main")
    at.here.git("tag", "v1", "main")
    at.passes("--mirror", at.url)
    assert at.server.refs().keys() == {"refs/heads/main", "refs/heads/topic", "refs/tags/v1"}
    at.here.git("branch", "-D", "topic")
    at.waits("git.branch.delete", "--mirror", at.url)
    assert at.server.refs().keys() == {"refs/heads/main", "refs/tags/v1"}


def test_from_a_shallow_clone(desk: Callable[..., Desk]) -> None:
    at = desk()
    for number in range(3):
        at.here.commit(f"{number}")
    at.passes("origin", "main")
    at.clone("--depth=1")
    assert at.here.git("rev-list", "--count", "HEAD") == "1"
    main = at.here.commit("from shallow")
    at.passes("origin", "main")
    assert at.server.refs()["refs/heads/main"] == main
    at.here.git("commit", "-q", "--amend", "-m", "another past")
    at.waits("git.branch.force_or_unproven", "--force", "origin", "main")
    assert at.server.git("log", "-1", "--format=%s", "main") == "another past"


def test_several_refs_wait_together_for_the_worst(desk: Callable[..., Desk]) -> None:
    at = desk()
    at.passes("origin", "main:topic")
    main = at.here.commit()
    at.waits("git.push", "origin", "main", ":topic", "main:refs/tags/v1")
    assert at.server.refs() == {"refs/heads/main": main, "refs/tags/v1": main}


def test_rejected_is_told_to_git_and_nothing_changes(desk: Callable[..., Desk]) -> None:
    at = desk()
    before = at.server.refs()
    running = at.start("origin", ":main")
    review = at.product.wait_review(agent=at.name)
    assert review["summary"] == f"Push to acme/{at.name}.git: delete refs/heads/main"
    assert at.product.decide(review["review_id"], "reject").status == 200
    with pytest.raises(AssertionError, match="403"):
        running.rest()
    assert at.server.refs() == before
