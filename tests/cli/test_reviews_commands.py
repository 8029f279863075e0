"""`douane reviews`: held calls listed, shown and decided from the terminal."""

from __future__ import annotations

import fcntl
import json
import os
import pty
import re
import subprocess
import termios
from pathlib import Path
from urllib.parse import urlencode

import pytest

from support.commands import call, held, refused
from support.product import DOUANE, Product, base_environment
from support.providers import Providers
from support.stand_in import PATIENCE_S

UNKNOWN = "0198c0de-0000-7000-8000-000000000000"


def secret(product: Product, reviewer: str = "rita") -> dict[str, str]:
    return {"DOUANE_REVIEWER_SECRET": product.reviewer(reviewer)}


def state(product: Product, review_id: str) -> str:
    found: str = product.api("GET", f"/v1/reviews/{review_id}").body["state"]
    return found


def test_list_and_show(product: Product) -> None:
    assert product.run("reviews", "list").stdout == "Nothing waits for a person.\n"
    review_id = held(product, product.agent("shown"), "website")
    printed = product.run("reviews", "list", variables={"COLUMNS": "80"}).stdout.splitlines()
    assert printed[0].split() == ["review", "state", "waits", "expires", "agent", "what"]
    (line,) = (line for line in printed if line.startswith(review_id))
    assert re.search(r"  pending  no +\S+Z  shown  .*acme/website", line)
    (row,) = json.loads(product.run("reviews", "list", "--json").stdout)
    assert (row["review_id"], row["tool"], row["waiting"]) == (review_id, "github.repos.delete", 0)
    shown = product.run("reviews", "show", review_id).stdout
    assert "acme/website" in shown.splitlines()[0]
    for part in (
        "state      pending",
        "tool       github.repos.delete",
        "no client waits",
        "owner: acme",
        "repo: website",
    ):
        assert part in shown
    assert json.loads(product.run("reviews", "show", review_id, "--json").stdout) == row
    product.decide(review_id, "reject")
    assert product.run("reviews", "list", "--json").stdout == "[]\n"
    assert "client waits" not in product.run("reviews", "show", review_id).stdout, "it is decided"
    listed = [["--state", "rejected"], ["--state", "expired", "--state", "rejected"], ["--all"]]
    for words in listed:
        (line,) = (ln for ln in product.run("reviews", "list", *words).stdout.splitlines() if ln.startswith(review_id))
        assert re.search(r"  rejected +\S+Z  shown  ", line)


def test_approve_lets_the_call_through_once(product: Product, providers: Providers) -> None:
    agent = product.agent("approved")
    review_id = held(product, agent, "docs")
    printed = product.run(
        *("reviews", "approve", review_id, "--reviewer", "rita", "--note", "agreed"), variables=secret(product)
    ).stdout
    assert printed == f"{review_id} is approved\n"
    row = product.api("GET", f"/v1/reviews/{review_id}").body
    assert (row["reviewer"], row["channel"], row["note"]) == ("rita", "cli", "agreed")
    assert call(product, agent, "DELETE", "/repos/acme/docs").status == 204
    assert call(product, agent, "DELETE", "/repos/acme/docs").decision["review_id"] != review_id
    assert len(providers.stand_in.seen("DELETE")) == 1


def test_reject_for_machines_with_the_reviewer_from_the_environment(product: Product) -> None:
    review_id = held(product, product.agent("rejected"), "website")
    variables = {**secret(product), "DOUANE_REVIEWER": "rita"}
    row = json.loads(product.run("reviews", "reject", review_id, "--json", variables=variables).stdout)
    assert (row["review_id"], row["state"], row["reviewer"]) == (review_id, "rejected", "rita")
    again = product.run("reviews", "reject", review_id, variables=variables)
    assert again.stdout == f"{review_id} is rejected\n"
    line = refused(product, "reviews", "approve", review_id, variables=variables)
    assert line == "the review is rejected already; nothing was changed"
    product.reviewer("omar")
    other = {**secret(product, "omar"), "DOUANE_REVIEWER": "omar"}
    assert "rejected already" in refused(product, "reviews", "reject", review_id, variables=other)


def test_without_a_terminal_the_secret_is_the_first_line_of_standard_input(product: Product) -> None:
    review_id = held(product, product.agent("piped"), "website")
    approve = ("reviews", "approve", review_id, "--reviewer", "rita")
    line = refused(product, *approve, code=2, stdin="")
    assert line == "no secret of rita: set DOUANE_REVIEWER_SECRET, or pass it on standard input"
    assert state(product, review_id) == "pending"
    assert product.run(*approve, stdin=f"{product.reviewer('rita')}\nmore\n").returncode == 0
    assert state(product, review_id) == "approved"


def test_on_a_terminal_the_secret_is_asked_for_and_not_shown(product: Product) -> None:
    review_id = held(product, product.agent("typed"), "website")
    typed = product.reviewer("rita")
    terminal, inside = pty.openpty()
    process = subprocess.Popen(
        [DOUANE, "reviews", "approve", review_id, "--reviewer", "rita", "--home", str(product.home)],
        stdin=inside, stdout=inside, stderr=inside, env=base_environment(product.home), start_new_session=True,
        preexec_fn=lambda: fcntl.ioctl(0, termios.TIOCSCTTY, 0),
    )  # fmt: skip
    os.close(inside)
    shown = b""
    try:
        while b"secret of rita" not in shown:
            shown += os.read(terminal, 1024)
        os.write(terminal, f"{typed}\n".encode())
        while chunk := _read(terminal):
            shown += chunk
        assert process.wait(PATIENCE_S) == 0, shown
    finally:
        process.kill()
        process.wait(PATIENCE_S)
        os.close(terminal)
    assert f"{review_id} is approved".encode() in shown
    assert typed.encode() not in shown


def _read(terminal: int) -> bytes:
    try:
        return os.read(terminal, 1024)
    except OSError:  # how Linux says that the other side closed
        return b""


@pytest.mark.parametrize("reviewer", ["rita", "nobody", "piped"])
def test_a_wrong_secret_decides_nothing(product: Product, reviewer: str) -> None:
    agent = product.agent("piped")
    review_id = held(product, agent, f"for-{reviewer}")
    product.reviewer("rita")
    wrong = {"DOUANE_REVIEWER_SECRET": agent.key}
    line = refused(product, "reviews", "approve", review_id, "--reviewer", reviewer, variables=wrong)
    assert line == "the reviewer's secret or session is not valid; nothing was decided"
    assert state(product, review_id) == "pending"


def test_other_mistakes_are_one_clear_line(product: Product) -> None:
    for unknown in (UNKNOWN, "no such/review"):
        assert refused(product, "reviews", "show", unknown) == "there is no such review"
    words = ("reviews", "approve", UNKNOWN, "--reviewer", "rita")
    assert refused(product, *words, variables=secret(product)) == "there is no such review"
    assert "'pending', 'approved', " in refused(product, "reviews", "list", "--state", "open", code=2)
    assert refused(product, "reviews", "approve", UNKNOWN, code=2) == "Missing option '--reviewer'."


def test_without_a_node_a_pending_review_is_decided_all_the_same(tmp_path: Path, product: Product) -> None:
    review_id = held(product, product.agent("offline"), "website")
    assert product.stop() == 0
    try:
        words = ("reviews", "reject", review_id, "--reviewer", "rita")
        assert product.run(*words, variables={"DOUANE_REVIEWER_SECRET": "x"}, check=False).returncode == 1
        assert product.run(*words, variables={"DOUANE_REVIEWER_SECRET": _known(product)}).returncode == 0
    finally:
        product.start()
    assert state(product, review_id) == "rejected"


def _known(product: Product) -> str:
    """A secret that was registered while the node ran."""
    return product.reviewers["rita"]


HOSTILE = "\x1b[2J\x1b]0;owned\x07[bold red]fake[/] \u202e gpj.exe\r\napproved \u2028"


def test_text_from_outside_cannot_play_the_terminal(product: Product) -> None:
    agent = product.agent("hostile")
    body = urlencode({"charge": "ch_1", "amount": 100, "metadata[note]": HOSTILE}).encode()
    answer = call(product, agent, "POST", "/v1/refunds", body, host="api.stripe.com")
    review_id = answer.decision["review_id"]
    for words in (["list"], ["list", "--json"], ["show", review_id], ["show", review_id, "--json"]):
        printed = product.run("reviews", *words).stdout
        assert review_id in printed
        assert [ch for ch in printed if not ch.isprintable() and ch != "\n"] == []
        assert "\napproved" not in printed
    shown = product.run("reviews", "show", review_id).stdout
    assert "\\u{1b}[2J" in shown
    assert "[bold red]fake[/]" in shown
