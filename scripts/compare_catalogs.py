#!/usr/bin/env python3
"""Tell what changes between two built catalogs, tool by tool: tiers that fall first.

python scripts/compare_catalogs.py OLD/built NEW/built
"""

from __future__ import annotations

import sys
from pathlib import Path

from douane.edge.catalog import read_built
from douane.edge.coverage import changes


def main() -> None:
    """Print every change; exit 1 where a tier falls."""
    if len(sys.argv) != 3:
        sys.exit(__doc__)
    lines = list(changes(read_built(Path(sys.argv[1])), read_built(Path(sys.argv[2]))))
    print("\n".join(lines) or "no tool changes")
    sys.exit(any(line.startswith("lowered: ") for line in lines))


if __name__ == "__main__":
    main()
