"""`scripts/up` for the first time: nobody waits in silence."""

from __future__ import annotations

import os
import shutil
import subprocess
import sys
from pathlib import Path

import pytest

SCRIPTS = Path(__file__).parents[2] / "scripts"
UV = """#!/bin/sh
printf 'installed\\n' >&2
printf '#!/bin/sh\\necho started "$@"\\n' >.venv/bin/douane
chmod +x .venv/bin/douane
"""
"""In place of the package installer, which needs the network."""


@pytest.fixture
def checkout(tmp_path: Path) -> Path:
    (tmp_path / ".venv" / "bin").mkdir(parents=True)
    (tmp_path / ".venv" / "bin" / "uv").write_text(UV)
    (tmp_path / ".venv" / "bin" / "uv").chmod(0o755)
    (tmp_path / "scripts").mkdir()
    for name in ("up", "setup"):
        shutil.copy(SCRIPTS / name, tmp_path / "scripts")
    return tmp_path


def test_the_first_start_says_what_it_does(checkout: Path) -> None:
    def up() -> subprocess.CompletedProcess[str]:
        return subprocess.run(
            [checkout / "scripts" / "up", "--demo"],
            env={**os.environ, "PATH": f"{Path(sys.executable).parent}:{os.environ['PATH']}"},
            capture_output=True,
            text=True,
            check=True,
            timeout=30,
        )

    first = up()
    assert first.stdout == "started up --demo\n"
    assert first.stderr.splitlines() == [
        "setup: installing the packages that uv.lock names",
        "installed",
        "setup: done; the first start takes a few seconds more",
    ]
    assert up().stderr == "installed\n"
