"""The wheel holds all that the product needs to run: policy, cases, catalog, prices, pages."""

from __future__ import annotations

import os
import subprocess
import sys
import zipfile
from pathlib import Path

ROOT = Path(__file__).parents[1]


def test_the_product_runs_from_its_wheel(tmp_path: Path) -> None:
    built = tmp_path / "built"
    command = [sys.executable, "-m", "hatchling", "build", "--target", "wheel", "--directory", str(built)]
    subprocess.run(command, cwd=ROOT, check=True, capture_output=True, timeout=60)
    (wheel,) = built.glob("douane-*.whl")
    installed = tmp_path / "installed"
    with zipfile.ZipFile(wheel) as archive:
        archive.extractall(installed)
        names = set(archive.namelist())
    for folder in ("addons/douane", "policy"):
        inside = "douane" if folder == "addons/douane" else "douane/_policy"
        kept = subprocess.run(
            ["git", "ls-files", "--cached", "--others", "--exclude-standard", folder],
            cwd=ROOT,
            check=True,
            capture_output=True,
            text=True,
        ).stdout.split()
        assert kept
        missing = [path for path in kept if path.replace(folder, inside, 1) not in names and (ROOT / path).exists()]
        assert missing == []
    environment = {"PATH": os.environ["PATH"], "HOME": str(tmp_path), "PYTHONPATH": str(installed)}
    program = "import douane.cli.main as m, sys; print(m.__file__, file=sys.stderr); m.main()"
    for words in (["policy", "check"], ["policy", "test"]):
        done = subprocess.run(
            [sys.executable, "-c", program, *words],
            cwd=tmp_path,
            env=environment,
            capture_output=True,
            text=True,
            timeout=60,
            check=False,
        )
        assert done.returncode == 0, done.stdout + done.stderr
        assert done.stderr.startswith(str(installed))
