"""The coverage report is what the catalog is, and a comparison of two builds tells what a reviewer must look at."""

from __future__ import annotations

import json
import os
import shutil
import subprocess
import sys
from hashlib import sha256
from pathlib import Path

from douane.edge.catalog import read_built, sources_of
from douane.edge.coverage import changes, report
from douane.edge.home import shipped_policy_dir
from support.requests import shipped_catalog

BUILT = shipped_policy_dir() / "catalog" / "built"
PAGE = Path(__file__).parents[2] / "docs" / "catalog.md"
MARK = "<!-- coverage: written by tests/edge/test_coverage.py, run it with DOUANE_WRITE_DOCS=1 -->\n"


def test_the_report_is_what_the_catalog_is() -> None:
    before, mark, written = PAGE.read_text().partition(MARK)
    assert mark
    made = "\n" + report(shipped_catalog(), sources_of(BUILT))
    if os.environ.get("DOUANE_WRITE_DOCS"):
        PAGE.write_text(before + mark + made)
        return
    assert written == made, "run this test with DOUANE_WRITE_DOCS=1 and read the difference"


def test_it_is_as_broad_as_it_says() -> None:
    tools = shipped_catalog().tools()
    assert len(tools) >= 65_000
    assert len({tool.partition(".")[0] for tool in tools}) >= 40
    assert sum(path.stat().st_size for path in BUILT.rglob("*.json")) <= 15_000_000


def test_two_builds_are_compared(tmp_path: Path) -> None:
    shutil.copytree(BUILT, tmp_path / "built")
    shard = tmp_path / "built" / "git.json"
    text = shard.read_text().replace('"nature":"delete","reviewed":"2026-11-23","tier":"irreversible"',
                                     '"nature":"delete","reviewed":"2026-11-23","tier":"visible"')  # fmt: skip
    shard.write_text(text.replace('"fetch ', '"fetched '))
    index = tmp_path / "built" / "index.json"
    data = json.loads(index.read_text())
    data["shards"]["git"] = sha256(shard.read_bytes()).hexdigest()
    index.write_text(json.dumps(data))
    told = list(changes(shipped_catalog(), read_built(tmp_path / "built")))
    assert "lowered: git.branch.delete: irreversible → visible" in told
    assert {"gone: git.fetch (reversible)", "new: git.fetched (reversible)"} <= set(told)
    script = Path(__file__).parents[2] / "scripts" / "compare_catalogs.py"
    done = subprocess.run(
        [sys.executable, script, BUILT, tmp_path / "built"], capture_output=True, text=True, timeout=60, check=False
    )
    assert done.returncode == 1
    assert done.stdout.splitlines() == told
    assert list(changes(shipped_catalog(), shipped_catalog())) == []
