"""Lists in the terminal: aligned columns that are never cut or wrapped, so that what is shown can be copied."""

from __future__ import annotations

import json
from collections.abc import Sequence
from typing import Any

from rich.console import Console
from rich.text import Text

from douane.core.mask import printable


def plain(value: Any) -> str:
    """A value from outside on one line, without control characters."""
    return printable(value if isinstance(value, str) else json.dumps(value, ensure_ascii=False))


def counted(number: int, noun: str) -> str:
    """`1 case`, `2 cases`."""
    return f"{number} {noun}" if number == 1 else f"{number} {noun}s"


def print_rows(head: Sequence[str], rows: Sequence[Sequence[str | Text]]) -> None:
    """Print a list; the cells have been through `plain` where they come from outside."""
    table = [[Text(name, "bold") for name in head], *([Text.assemble(cell) for cell in row] for row in rows)]
    widths = [max(cell.cell_len for cell in column) for column in zip(*table, strict=True)]
    console = Console(highlight=False)
    for row in table:
        for cell, width in zip(row, widths, strict=True):
            cell.pad_right(width - cell.cell_len)
        line = Text("  ").join(row)
        line.rstrip()
        console.print(line, soft_wrap=True)
