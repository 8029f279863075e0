"""Lists: aligned columns. Names and ids come first and are never cut, so that they can be copied."""

from __future__ import annotations

import json
from collections.abc import Sequence
from typing import Any

from rich.console import Console
from rich.padding import Padding
from rich.text import Text

from douane.core.mask import printable


def plain(value: Any) -> str:
    """A value from outside on one line, without control characters."""
    return printable(value if isinstance(value, str) else json.dumps(value, ensure_ascii=False))


def counted(number: int, noun: str) -> str:
    """`1 case`, `2 cases`."""
    return f"{number} {noun}" if number == 1 else f"{number} {noun}s"


def print_rows(head: Sequence[str], rows: Sequence[Sequence[str | Text]], below: int = 0) -> None:
    """Print a list; the cells have been through `plain` where they come from outside.

    Where a terminal is too narrow, the last columns (`below`) are folded under each row, and the rest ends with `…`.
    """
    table = [[Text(name, "bold") for name in head], *([Text.assemble(cell) for cell in row] for row in rows)]
    widths = [max(cell.cell_len for cell in column) for column in zip(*table, strict=True)]
    console = Console(highlight=False)
    narrow = below and console.is_terminal and sum(widths) + 2 * (len(widths) - 1) > console.width
    beside = len(widths) - below if narrow else len(widths)
    for row in table:
        for cell, width in zip(row[:beside], widths, strict=False):
            cell.pad_right(width - cell.cell_len)
        line = Text("  ").join(row[:beside])
        line.rstrip()
        if narrow:
            line.truncate(console.width, overflow="ellipsis")
        console.print(line, soft_wrap=True)
        if folded := [cell for cell in row[beside:] if cell]:
            console.print(Padding(Text("  ").join(folded), (0, 0, 0, 4), expand=False))
