"""The signing key's file, the public key, and the last signed head."""

from __future__ import annotations

import stat
from pathlib import Path

import pytest

from douane.core.tree import NoteInvalid, TreeHead
from douane.edge.keys import KeysInvalid, SigningKeys, load_keys, load_or_create_keys


@pytest.fixture
def private(tmp_path: Path) -> Path:
    folder = tmp_path / "private"
    folder.mkdir(mode=0o700)
    return folder


@pytest.fixture
def keys(private: Path) -> SigningKeys:
    return load_or_create_keys(private)


def test_keys_are_made_once_and_for_their_owner_only(private: Path, keys: SigningKeys) -> None:
    again = load_or_create_keys(private)
    assert (again.origin, again.public) == (keys.origin, keys.public)
    assert stat.S_IMODE((private / "register.key").stat().st_mode) == 0o600
    public = private.parent / "register-key.pub"
    assert public.read_text() == f"{keys.verifying.text()}\n"
    assert stat.S_IMODE(public.stat().st_mode) == 0o644


def test_a_replaced_public_key_is_put_right(private: Path, keys: SigningKeys) -> None:
    public = private.parent / "register-key.pub"
    public.write_text("evil+00000000+AAAA\n")
    load_or_create_keys(private)
    assert public.read_text() == f"{keys.verifying.text()}\n"


def test_a_signature_is_good_for_its_head_alone(keys: SigningKeys) -> None:
    head = TreeHead(keys.origin, 5, b"r" * 32)
    note = keys.sign(head)
    assert keys.verifying.open_note(note) == head
    with pytest.raises(NoteInvalid, match="does not fit"):
        keys.verifying.open_note(note.replace("\n5\n", "\n6\n"))


def test_another_key_does_not_open_it(tmp_path: Path, keys: SigningKeys) -> None:
    other_folder = tmp_path / "other" / "private"
    other_folder.mkdir(parents=True)
    other = load_or_create_keys(other_folder)
    with pytest.raises(NoteInvalid, match="no signature of"):
        other.verifying.open_note(keys.sign(TreeHead(keys.origin, 5, b"r" * 32)))


def test_the_last_head_is_remembered_and_an_altered_one_noticed(private: Path, keys: SigningKeys) -> None:
    assert keys.last_head() is None
    head = TreeHead(keys.origin, 5, b"r" * 32)
    keys.remember_head(keys.sign(head))
    last = load_keys(private).last_head()
    assert last is not None
    assert last[0] == head
    path = private / "register.head"
    path.write_text(path.read_text().replace("\n5\n", "\n4\n"))
    with pytest.raises(KeysInvalid, match="does not fit"):
        keys.last_head()


@pytest.mark.parametrize("line", ["", "garbage", "PRIVATE+KEY+a+b", "PRIVATE+KEY+douane/x+00000000+AQ=="])
def test_a_damaged_key_file_is_one_clear_error(private: Path, line: str) -> None:
    path = private / "register.key"
    path.write_text(line)
    path.chmod(0o600)
    with pytest.raises(KeysInvalid, match=r"register\.key"):
        load_or_create_keys(private)


def test_a_key_that_others_can_read_is_refused(private: Path, keys: SigningKeys) -> None:
    (private / "register.key").chmod(0o640)
    with pytest.raises(KeysInvalid, match="set its mode to 0600"):
        load_keys(private)
