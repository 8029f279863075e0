"""Commands where no node runs: those that read leave no trace, those that change one make no other."""

from __future__ import annotations

import json
from collections.abc import Callable
from pathlib import Path

import pytest

from support.commands import held, refused
from support.policy import policy_folder
from support.product import Product

READING = (
    ("agent", "list"), ("agent", "list", "--json"), ("reviewer", "list"), ("reviewer", "list", "--json"),
    ("reviews", "list"), ("reviews", "list", "--all", "--json"), ("spend",), ("spend", "--json"),
    ("log",), ("log", "--json"), ("prices", "--check"),
)  # fmt: skip
UNKNOWN = "0198c0de-0000-7000-8000-000000000000"


def files(home: Path) -> dict[str, bytes]:
    """All that lies in a home but what SQLite shares between readers."""
    found = [path for path in home.rglob("*") if path.is_file() and path.name != "douane.db-shm"]
    return {str(path.relative_to(home)): path.read_bytes() for path in found}


def read_everything(product: Product, review_id: str, call_id: str) -> None:
    own = (("reviews", "show", review_id), ("log", "show", call_id))
    for words in (*READING, *own, *((*words, "--json") for words in own)):
        done = product.run(*words)
        assert (done.returncode, done.stderr) == (0, ""), words
        if "--json" in words:
            assert [json.loads(line) for line in done.stdout.splitlines()], words
    for words in (("reviews", "show", UNKNOWN), ("log", "show", UNKNOWN), ("doctor",)):
        refused(product, *words)


@pytest.mark.parametrize("ended", ["stopped", "killed"])
def test_what_only_reads_leaves_no_trace(new_product: Callable[..., Product], tmp_path: Path, ended: str) -> None:
    product = new_product(policy=policy_folder(tmp_path / "policy", wait="100ms")).start()
    review_id = held(product, product.agent("reader"), "website")
    (refusal,) = product.log(agent="reader", kind="refusal")
    if ended == "killed":
        product.kill()
    else:
        assert product.stop() == 0
    before = files(product.home)
    read_everything(product, review_id, refusal["call_id"])
    assert files(product.home) == before
    product.start()
    boots = product.log(kind="boot")
    assert [record["event"] for record in boots].count("start") == 2


@pytest.mark.parametrize(
    "words",
    [
        *READING, ("agent", "rotate", "x"), ("agent", "remove", "x"), ("agent", "suspend", "x"),
        ("agent", "suspend", "--all"), ("agent", "resume", "x"), ("reviewer", "link", "x"), ("reviewer", "remove", "x"),
        ("reviews", "show", UNKNOWN), ("log", "show", UNKNOWN), ("doctor",), ("run", "--agent", "x", "--", "true"),
        ("policy", "apply"), ("console",),
    ],
    ids=" ".join,
)  # fmt: skip
def test_a_mistyped_home_is_said_and_not_made(tmp_path: Path, words: tuple[str, ...]) -> None:
    home = tmp_path / "mistyped"
    wanted = f"Name its home with --home DIR, or start one there: douane up --home {home}"
    assert refused(Product(home=home), *words, code=2) == f"there is no {home}. {wanted}"
    assert not home.exists()
    home.mkdir()
    assert refused(Product(home=home), *words, code=2) == f"no node was started in {home} yet. {wanted}"
    assert list(home.iterdir()) == []
