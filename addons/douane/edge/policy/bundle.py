"""A policy in force as files, made from the text that the store keeps of it."""

from __future__ import annotations

import json
import shutil
from pathlib import Path


def lay_out(text: str, directory: Path) -> None:
    """Write a policy's bundle (a JSON object of relative path to text); done at each start, so no crash lasts."""
    shutil.rmtree(directory, ignore_errors=True)
    for name, content in json.loads(text).items():
        path = directory / name
        path.parent.mkdir(parents=True, exist_ok=True, mode=0o700)
        path.write_text(content)
