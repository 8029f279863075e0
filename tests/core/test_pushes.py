"""What git itself sends when it pushes: only what could lose commits is irreversible."""

from __future__ import annotations

import hashlib
import random
import subprocess
import time
import zlib
from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st

from douane.core.catalog.pack import proven
from douane.core.refusal import RequestAmbiguous
from douane.core.tool import Classification, Tier
from support.git import Repository
from support.requests import classified
from support.tools import need

URL = "https://github.com/acme/site.git/git-receive-pack"
CREATE, UPDATE, FORCE, DELETE = (f"git.branch.{verb}" for verb in ("create", "update", "force_or_unproven", "delete"))
LONG = "\n".join(hashlib.sha256(str(line).encode()).hexdigest() for line in range(60))
"""A message that two commits share, so that git sends one as a delta of the other."""


def push(body: bytes) -> Classification:
    return classified("POST", URL, body, "Content-Type: application/x-git-receive-pack-request")


@pytest.fixture(params=["sha1", "sha256"])
def kind(request: pytest.FixtureRequest) -> str:
    return str(request.param)


@pytest.fixture
def pair(tmp_path: Path, kind: str) -> tuple[Repository, Repository]:
    """A repository, and the one it pushes to, with three commits on `main` and `old`, and the tag `v1`."""
    there = Repository.create(tmp_path / "there.git", "--bare", f"--object-format={kind}")
    here = Repository.create(tmp_path / "here", f"--object-format={kind}")
    for number in range(3):
        here.commit(f"{number}")
    here.git("tag", "v1")
    here.push(there, "main:main", "main:old", "v1")
    return here, there


def test_a_new_branch_and_a_new_tag_pass(pair: tuple[Repository, Repository]) -> None:
    here, there = pair
    here.commit()
    found = push(here.push(there, "main:topic"))
    assert (found.tool, found.tier, found.operations) == (CREATE, Tier.VISIBLE, ())
    assert found.summary == "Push to acme/site.git: create refs/heads/topic"
    here.git("tag", "-a", "-m", "two", "v2")
    assert (push(here.push(there, "v2")).tool, push(here.push(there, "v1:v3")).tier) == ("git.tag.create", Tier.VISIBLE)


def test_a_fast_forward_passes(pair: tuple[Repository, Repository]) -> None:
    here, there = pair
    here.commit()
    found = push(here.push(there, "main"))
    assert (found.tool, found.tier, found.operations) == (UPDATE, Tier.VISIBLE, ())
    assert found.summary == "Push to acme/site.git: update refs/heads/main"
    for number in range(30):
        here.commit(f"{number}")
    assert push(here.push(there, "main")).tool == UPDATE
    here.git("commit", "-q", "--allow-empty", "-m", "no file at all")
    assert push(here.push(there, "main")).tool == UPDATE


def test_a_merge_passes_whichever_parent_is_the_old_one(pair: tuple[Repository, Repository]) -> None:
    here, there = pair
    here.git("checkout", "-q", "-b", "side", "HEAD~2")
    here.commit("beside")
    here.git("merge", "-q", "--no-ff", "-m", "merge", "main")
    assert here.git("rev-parse", "side^2") == here.git("rev-parse", "main")
    assert push(here.push(there, "side:main")).tool == UPDATE


@pytest.mark.parametrize("offsets", ["true", "false"], ids=["offset deltas", "reference deltas"])
def test_commits_that_are_sent_as_deltas_prove_as_much(pair: tuple[Repository, Repository], offsets: str) -> None:
    here, there = pair
    there.git("config", "repack.useDeltaBaseOffset", offsets)
    for number in range(6):
        here.commit(f"{LONG}\n{number}")
    body = here.push(there, "main")
    pack = there.folder / "sent.pack"
    pack.write_bytes(body[body.index(b"PACK") :])
    with pack.open("rb") as sent:
        index = [need("git"), "-C", str(there.folder), "index-pack", "--stdin", "--fix-thin"]
        name = subprocess.run(index, stdin=sent, capture_output=True, check=True).stdout.split()[1].decode()
    listed = there.git("verify-pack", "-v", str(there.folder / "objects" / "pack" / f"pack-{name}.idx"))
    commits = [words for words in (line.split() for line in listed.splitlines()) if words[1:2] == ["commit"]]
    assert any(len(words) == 7 for words in commits), "git sent no commit as a delta"
    assert push(body).tool == UPDATE


def test_force_is_held(pair: tuple[Repository, Repository]) -> None:
    here, there = pair
    here.git("commit", "-q", "--amend", "-m", "another past")
    found = push(here.push(there, "+main"))
    assert (found.tool, found.tier, found.operations) == (FORCE, Tier.IRREVERSIBLE, ())
    assert found.summary == "Push to acme/site.git: force_or_unproven refs/heads/main"
    here.git("checkout", "-q", "--orphan", "elsewhere")
    here.commit("nothing before it")
    assert push(here.push(there, "+elsewhere:main")).tool == FORCE
    assert push(here.push(there, "+elsewhere~0:old")).tool == FORCE


def test_back_and_what_is_there_already_is_not_proven(pair: tuple[Repository, Repository]) -> None:
    here, there = pair
    assert push(here.push(there, "+main~1:old")).tool == FORCE
    assert push(here.push(there, "main:old")).tool == FORCE, "forwards, but the pack has no commit that says so"


def test_deletes_are_held(pair: tuple[Repository, Repository]) -> None:
    here, there = pair
    there.git("config", "receive.denyDeleteCurrent", "ignore")
    found = push(here.push(there, ":old"))
    assert (found.tool, found.tier) == (DELETE, Tier.IRREVERSIBLE)
    assert push(here.push(there, ":main")).tool == DELETE
    found = push(here.push(there, ":v1"))
    assert (found.tool, found.tier) == ("git.tag.delete", Tier.IRREVERSIBLE)


def test_a_moved_tag_is_held_even_forwards(pair: tuple[Repository, Repository]) -> None:
    here, there = pair
    here.commit()
    found = push(here.push(there, "+main:refs/tags/v1"))
    assert (found.tool, found.tier) == ("git.tag.update", Tier.IRREVERSIBLE)


def test_of_several_refs_the_worst_decides(pair: tuple[Repository, Repository]) -> None:
    here, there = pair
    here.commit()
    fine = push(here.push(there, "main", "main:topic", "main:refs/tags/v2"))
    assert (fine.tool, fine.tier) == ("git.push", Tier.VISIBLE)
    assert set(fine.operations) == {UPDATE, CREATE, "git.tag.create"}
    here.commit()
    mixed = push(here.push(there, "main", ":topic"))
    assert (mixed.tool, mixed.tier, set(mixed.operations)) == ("git.push", Tier.IRREVERSIBLE, {UPDATE, DELETE})
    assert {change["ref"]: change["action"] for change in mixed.arguments["refs"]} == {
        "refs/heads/main": "update",
        "refs/heads/topic": "delete",
    }
    here.push(there, "main:old")
    for number in range(2):
        here.commit(f"{number}")
    assert push(here.push(there, "main", "main~1:old")).tool == UPDATE, "both are proven by the same commits"


def test_a_mirror_is_held_only_where_it_takes_away(pair: tuple[Repository, Repository]) -> None:
    here, there = pair
    here.git("branch", "old", "main")
    here.git("branch", "new")
    assert push(here.push(there, "--mirror")).tool == CREATE
    here.git("branch", "-q", "-D", "old")
    found = push(here.push(there, "--mirror"))
    assert (found.tool, found.tier) == (DELETE, Tier.IRREVERSIBLE)


def test_a_shallow_clone_proves_its_own_commits(pair: tuple[Repository, Repository], tmp_path: Path) -> None:
    here, there = pair
    here.git("clone", "-q", "--depth=1", f"file://{there.folder}", str(tmp_path / "shallow"))
    shallow = Repository(tmp_path / "shallow")
    assert shallow.git("rev-list", "--count", "HEAD") == "1"
    shallow.commit()
    body = shallow.push(there, "main")
    assert b"shallow " in body
    assert push(body).tool == UPDATE
    shallow.git("commit", "-q", "--amend", "-m", "another past")
    assert push(shallow.push(there, "+main")).tool == FORCE


def test_other_refs_and_options_are_what_the_server_makes_of_them(pair: tuple[Repository, Repository]) -> None:
    here, there = pair
    there.git("config", "receive.advertisePushOptions", "true")
    here.commit()
    found = push(here.push(there, "main", "-o", "repo.private=false"))
    assert (found.tool, found.tier) == ("git.push", Tier.IRREVERSIBLE)
    assert found.arguments["options"] == ["repo.private=false"]
    assert found.operations == (UPDATE,)
    other = push(here.push(there, "main:refs/for/main"))
    assert (other.tool, other.tier) == ("git.ref.create", Tier.IRREVERSIBLE)


@pytest.mark.parametrize("kind", ["sha1"], indirect=True)
def test_a_large_push_is_proven_by_its_beginning(pair: tuple[Repository, Repository]) -> None:
    here, there = pair
    here.commit("large", size=3_000_000)
    (here.folder / "zeros").write_bytes(bytes(50_000_000))
    here.git("add", ".")
    here.git("commit", "-q", "-m", "a bomb to whoever inflates it")
    body = here.push(there, "main")
    assert push(body).tool == UPDATE
    at = body.index(b"PACK")
    assert push(body[: at + 2000]).tool == UPDATE, "its trees and files are not read"


@pytest.mark.parametrize("kind", ["sha1"], indirect=True)
def test_a_pack_that_was_changed_proves_nothing(pair: tuple[Repository, Repository]) -> None:
    here, there = pair
    for number in range(5):
        here.commit(f"{number}")
    body = here.push(there, "main")
    at = body.index(b"PACK")
    for place in (0, 4, 12, 13, 20, 60, 200, 400):
        changed = bytearray(body)
        changed[at + place] ^= 0x41
        assert push(bytes(changed)).tool == FORCE, place
    for length in (0, 3, 12, 13, 200, 500):
        assert push(body[: at + length]).tool == FORCE, length


# packs that git would not write


def an_object(kind: int, content: bytes, *, size: int | None = None, packed: bytes | None = None) -> bytes:
    left = len(content) if size is None else size
    head = [kind << 4 | left & 15]
    left >>= 4
    while left:
        head[-1] |= 128
        head.append(left & 127)
        left >>= 7
    return bytes(head) + (zlib.compress(content, 9) if packed is None else packed)


def a_pack(*objects: bytes) -> bytes:
    return b"PACK" + (2).to_bytes(4) + len(objects).to_bytes(4) + b"".join(objects)


def a_commit(*parents: bytes, message: bytes = b"") -> tuple[bytes, bytes]:
    """Its id and content."""
    lines = [b"tree " + b"4" * 40, *(b"parent " + parent for parent in parents), b"author a <a> 1 +0000", b"", message]
    content = b"\n".join(lines)
    return hashlib.sha1(b"commit %d\0" % len(content) + content, usedforsecurity=False).hexdigest().encode(), content


OLD = b"a" * 40


def proves(pack: bytes, old: bytes, new: bytes) -> bool:
    return bool(proven(memoryview(pack), [(old, new)]))


def test_only_a_commits_own_parents_count() -> None:
    new, content = a_commit(OLD)
    assert proves(a_pack(an_object(1, content)), OLD, new)
    assert not proves(a_pack(an_object(3, content)), OLD, new), "a file that looks like a commit"
    for forged in (
        b"tree " + b"4" * 40 + b"\nauthor a <a> 1 +0000\nparent " + OLD + b"\n\n",
        b"tree " + b"4" * 40 + b"\nauthor a <a> 1 +0000\n\nparent " + OLD + b"\n",
        b"parent " + OLD + b"\nauthor a <a> 1 +0000\n\n",
        b"tree " + b"4" * 40 + b"\nparent " + OLD.upper() + b"\nauthor a <a> 1 +0000\n\n",
    ):
        name = hashlib.sha1(b"commit %d\0" % len(forged) + forged, usedforsecurity=False).hexdigest().encode()
        assert not proves(a_pack(an_object(1, forged)), OLD, name)
    other, _ = a_commit(OLD, message=b"another")
    assert not proves(a_pack(an_object(1, content)), OLD, other), "a commit beside the way"


def test_the_order_of_objects_and_a_file_between_them_do_not_matter() -> None:
    chain = [a_commit(OLD)]
    for number in range(40):
        chain.append(a_commit(chain[-1][0], message=b"%d" % number))
    objects = [an_object(kind, content) for _, content in chain for kind in (1, 3)]
    for seed in range(5):
        random.Random(seed).shuffle(objects)
        assert proves(a_pack(*objects), OLD, chain[-1][0])
    assert not proves(a_pack(*[one for one in objects if one != an_object(1, chain[20][1])]), OLD, chain[-1][0])


@pytest.mark.parametrize(
    "body",
    [
        b"0000" + b"0000",
        b"0000PACK",
        b"0000" + a_pack(),
        b"0035shallow " + b"1" * 40 + b"\n" + b"0000",
    ],
)
def test_a_push_without_a_command_that_is_no_probe_is_held(body: bytes) -> None:
    found = push(body)
    assert (found.tool, found.tier) == ("git.push", Tier.IRREVERSIBLE)


@pytest.mark.parametrize("name", ["refs/heads/a..b", "refs/heads/a b", "refs/heads/", "refs/heads//a", "refs/heads/.a"])
def test_a_ref_that_git_would_not_name_so_is_refused(name: str) -> None:
    line = b"%s %s %s\0report-status" % (b"0" * 40, b"1" * 40, name.encode())
    with pytest.raises(RequestAmbiguous):
        push(b"%04x" % (len(line) + 4) + line + b"0000")


def test_names_of_two_kinds_in_one_push_are_refused() -> None:
    line = b"%s %s refs/heads/a" % (b"0" * 40, b"1" * 64)
    with pytest.raises(RequestAmbiguous):
        push(b"%04x" % (len(line) + 4) + line + b"0000")


def update(pack: bytes, count: int = 1) -> bytes:
    lines = [b"%s %040x refs/heads/b%d" % (OLD, 1 + number, number) for number in range(count)]
    return b"".join(b"%04x" % (len(line) + 4) + line for line in lines) + b"0000" + pack


def hostile() -> dict[str, bytes]:
    """Packs that are made to cost much, of a size that is read on the node's loop."""
    zeros = bytes(60_000)
    links = [a_commit(OLD)]
    while len(links) < 200:
        links.append(a_commit(links[-1][0], OLD, message=b"%d" % len(links)))
    first, base = bytes.fromhex(links[0][0].decode()), links[0][1]
    delta = bytes([len(base) & 127 | 128, len(base) >> 7, 0xFF, 0x7F]) + b"\x91\x00\x01" * 16_000
    on_first = an_object(7, b"", size=len(delta), packed=first + zlib.compress(delta, 9))
    return {
        "zeros": a_pack(*[an_object(3, zeros)] * 340),
        "zeros as commits": a_pack(*[an_object(1, zeros)] * 340),
        "one large object": a_pack(an_object(3, bytes(30_000_000))),
        "a size that is a lie": a_pack(an_object(1, b"", size=1 << 59)),
        "empty objects": a_pack(*[an_object(3, b"")] * 3_400),
        "empty blocks": a_pack(an_object(3, b"", size=1, packed=b"\x78\x9c" + b"\0\0\0\xff\xff" * 6_000)),
        "refs times commits": a_pack(*[an_object(1, content) for _, content in links]),
        "deltas of many copies": a_pack(an_object(1, base), *[on_first] * 300),
    }


@pytest.mark.parametrize("name", hostile())
def test_hostile_packs_cost_little_and_prove_nothing(name: str) -> None:
    body = update(hostile()[name], 150)[: 32 * 1024]
    best = min(timed(body) for _ in range(3))
    assert best < 0.05, "6 ms on the slowest machine known"


def timed(body: bytes) -> float:
    started = time.perf_counter()
    assert push(body).tier is Tier.IRREVERSIBLE
    return time.perf_counter() - started


@given(st.binary(max_size=300), st.integers(0, 300))
def test_no_bytes_make_it_raise_or_prove(data: bytes, at: int) -> None:
    new, content = a_commit(b"b" * 40)
    pack = a_pack(an_object(1, content), an_object(7, b"x" * 20))
    mixed = pack[: min(at, len(pack))] + data
    assert proven(memoryview(mixed), [(OLD, new)]) == set()
