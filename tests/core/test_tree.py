"""The RFC 6962 tree against the RFC's own recursion and known roots; notes that are none."""

from __future__ import annotations

from hashlib import sha256

import pytest
from hypothesis import given
from hypothesis import strategies as st

from douane.core.tree import Frontier, NoteInvalid, TreeHead, leaf_hash, node_hash, parse_note

LEAVES = [bytes.fromhex(leaf) for leaf in ("", "00", "10", "2021", "3031", "40414243", "5051525354555657", "60" * 16)]


def by_the_rfc(leaves: list[bytes]) -> bytes:
    """MTH of RFC 6962 § 2.1, word for word."""
    if not leaves:
        return sha256().digest()
    if len(leaves) == 1:
        return leaf_hash(leaves[0])
    split = 1 << ((len(leaves) - 1).bit_length() - 1)
    return node_hash(by_the_rfc(leaves[:split]), by_the_rfc(leaves[split:]))


def test_known_roots() -> None:
    """Roots of the test vectors that certificate-transparency implementations share."""
    tree = Frontier()
    assert tree.root().hex() == "e3b0c44298fc1c149afbf4c8996fb92427ae41e4649b934ca495991b7852b855"
    tree.append(LEAVES[0])
    assert tree.root().hex() == "6e340b9cffb37a989ca544e6bb780a2c78901d3fb33738768511a30617afa01d"
    tree.append(LEAVES[1])
    assert tree.root().hex() == "fac54203e7cc696cf0dfcb42c92a1d9dbaf70ad9e621f4bd8d98662f00e3c125"


@given(st.lists(st.binary(max_size=8), max_size=70), st.integers(0, 70))
def test_the_frontier_has_the_rfcs_root_and_can_be_resumed(leaves: list[bytes], pause: int) -> None:
    tree = Frontier()
    for number, leaf in enumerate(leaves):
        if number == pause:
            tree = Frontier.load(tree.size, tree.dump())
        tree.append(leaf)
        assert tree.root() == by_the_rfc(leaves[: number + 1])
    assert tree.size == len(leaves)


def test_a_dump_of_another_size_is_refused() -> None:
    tree = Frontier()
    for leaf in LEAVES[:3]:
        tree.append(leaf)
    with pytest.raises(ValueError, match="a tree of 4 records"):
        Frontier.load(4, tree.dump())


HEAD = TreeHead("douane/x", 3, b"r" * 32).text()
LINE = "— douane/x AAAAAAAA\n"


@pytest.mark.parametrize(
    "note",
    [
        "",
        HEAD,
        HEAD + LINE,
        f"{HEAD}\n",
        f"{HEAD}\n- douane/x AAAAAAAA\n",
        f"{HEAD}\n— douane/x AAAA=AAA\n",
        f"{HEAD}\n{LINE[:-1]}",
        f"{HEAD}more\n\n{LINE}",
        HEAD.replace("\n3\n", "\n03\n") + f"\n{LINE}",
        HEAD.replace("\n3\n", "\n-3\n") + f"\n{LINE}",
        HEAD.replace("\n3\n", "\n٣\n") + f"\n{LINE}",
    ],
)
def test_other_text_is_no_note(note: str) -> None:
    with pytest.raises(NoteInvalid):
        parse_note(note)


def test_a_note_is_read_as_it_was_written() -> None:
    head, signatures = parse_note(f"{HEAD}\n{LINE}")
    assert head == TreeHead("douane/x", 3, b"r" * 32)
    assert [signature.name for signature in signatures] == ["douane/x"]
