"""Lists on a terminal of 80 columns: nothing runs over its edge, and what one copies is whole."""

from __future__ import annotations

import os
import pty
import re
import subprocess

from rich.cells import cell_len

from support.commands import call, held
from support.product import DOUANE, Product, base_environment
from support.stand_in import PATIENCE_S


def on_terminal(product: Product, *words: str) -> list[str]:
    """The lines of a command that writes to a terminal of 80 columns."""
    terminal, inside = pty.openpty()
    process = subprocess.Popen(
        [DOUANE, *words, "--home", str(product.home)],
        stdin=subprocess.DEVNULL, stdout=inside, stderr=inside,
        env=base_environment(product.home) | {"COLUMNS": "80", "TERM": "xterm"},
    )  # fmt: skip
    os.close(inside)
    shown = b""
    try:
        while chunk := _read(terminal):
            shown += chunk
        process.wait(PATIENCE_S)
    finally:
        process.kill()
        process.wait(PATIENCE_S)
        os.close(terminal)
    return re.sub(r"\x1b\[[0-9;]*m", "", shown.decode()).splitlines()


def _read(terminal: int) -> bytes:
    try:
        return os.read(terminal, 4096)
    except OSError:  # how Linux says that the other side closed
        return b""


def test_lists_fit_and_ids_are_whole(product: Product) -> None:
    agent = product.agent("an-agent-with-a-long-name", labels=["env=production", "team=a-team-with-a-long-name-too"])
    call(product, agent)
    review_id = held(product, agent, "a-repository-whose-name-is-long-enough-for-any-terminal")
    calls = [record["call_id"] for record in product.log(agent=agent.name) if "call_id" in record]
    wanted = {
        ("log",): [*calls, review_id, agent.name],
        ("reviews", "list"): [review_id, agent.name, "for-any-terminal"],
        ("agent", "list"): [agent.name, "env=production"],
        ("spend",): [agent.name, "policy policy.yaml:"],
    }
    for words, names in wanted.items():
        lines = on_terminal(product, *words)
        assert [line for line in lines if cell_len(line) > 80] == [], words
        printed = "\n".join(lines)
        assert [name for name in names if name not in printed] == [], printed
    assert any(line.startswith("    ") for line in on_terminal(product, "log")), "the rest is folded under the row"
    assert not any(line.startswith("    ") for line in product.run("log").stdout.splitlines()), "a pipe gets whole rows"
