"""Lists in the terminal: aligned columns that are never cut or wrapped, so that what is shown can be copied."""

from __future__ import annotations

import json
from collections.abc import Sequence
from typing import Any

from rich.cells import cell_len
from rich.console import Console
from rich.text import Text

from douane.core.mask import printable


def plain(value: Any) -> str:
    """A value from outside on one line, without control characters."""
    return printable(value if isinstance(value, str) else json.dumps(value, ensure_ascii=False))


def print_rows(head: Sequence[str], rows: Sequence[Sequence[str]]) -> None:
    """Print a list; the cells have been through `plain` where they come from outside."""
    widths = [max(map(cell_len, column)) for column in zip(head, *rows, strict=True)]
    console = Console(highlight=False)
    for row in (head, *rows):
        line = "  ".join(cell + " " * (width - cell_len(cell)) for cell, width in zip(row, widths, strict=True))
        console.print(Text(line.rstrip(), "bold" if row is head else ""), soft_wrap=True)
