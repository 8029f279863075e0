"""Programs that the tests need beside Python: a missing one fails in CI, and skips by name elsewhere."""

from __future__ import annotations

import os
import shutil
import subprocess
from pathlib import Path

import pytest

TOOLS = Path(os.environ.get("DOUANE_TEST_TOOLS", "~/.cache/douane-tests")).expanduser()
"""Where `scripts/setup-tests` puts what no package manager of the system has."""


def need(name: str) -> str:
    """The path of a program."""
    found = shutil.which(name)
    return found or _missing(name)


def need_node() -> str:
    """A Node that reads `NODE_USE_ENV_PROXY`: 24 or later."""
    candidates = [TOOLS / "node_modules" / ".bin" / "node", *TOOLS.glob("*/node_modules/.bin/node")]
    if on_path := shutil.which("node"):
        candidates.append(Path(on_path))
    for candidate in candidates:
        if candidate.exists() and _node_major(candidate) >= 24:
            return str(candidate)
    return _missing("node 24")


def _node_major(node: Path) -> int:
    done = subprocess.run([node, "--version"], capture_output=True, text=True, check=False)
    return int(done.stdout.strip().lstrip("v").partition(".")[0] or 0)


def _missing(name: str) -> str:
    if os.environ.get("CI") == "true":
        pytest.fail(f"{name} is not installed: run scripts/setup-tests")
    pytest.skip(f"{name} is not installed: run scripts/setup-tests")
