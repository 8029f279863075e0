#!/usr/bin/env python3
"""Export the register as a bundle that `verify_audit.py` checks: `export_audit.py --home DIR [--out DIR]`.

Beside a running node it asks the node to sign a head first; without one it opens the store itself, and nobody else can.
"""

from __future__ import annotations

import argparse
import asyncio
import importlib.util
import os
import shutil
import sys
from datetime import UTC, datetime
from importlib.metadata import version
from pathlib import Path

_PYTHON = Path(__file__).resolve().parents[1] / ".venv" / "bin" / "python"
if importlib.util.find_spec("douane") is None and _PYTHON.is_file() and Path(sys.prefix) != _PYTHON.parents[1]:
    os.execv(_PYTHON, [str(_PYTHON), *sys.argv])  # the checkout's own Python has what it takes

from rich.console import Console
from rich.progress import Progress

from douane.api.client import ApiClient, ApiError, NodeNotRunning
from douane.edge.home import Home
from douane.edge.keys import KeysInvalid, SigningKeys, load_keys
from douane.store.export import write_bundle
from douane.store.interface import StoreError
from douane.store.sqlite import SqliteStore

VERIFIER = Path(__file__).with_name("verify_audit.py")


def main(arguments: list[str] | None = None) -> int:
    """Run; returns the exit code: 0 exported, 1 not."""
    parser = argparse.ArgumentParser(description="Export Douane's register with all that it takes to verify it.")
    parser.add_argument("--home", type=Path, default=Home.default(), help="the node's home folder (%(default)s)")
    parser.add_argument("out", type=Path, nargs="?", help="the new folder to write (douane-audit-TIME)")
    parser.add_argument("--out", type=Path, dest="out_option", metavar="DIR", help="the same, as an option")
    parser.add_argument("--without-values", action="store_true", help="leave out arguments, notes and reasons")
    parser.add_argument("--as-is", action="store_true", help="sign nothing, change nothing: for a store that is broken")
    options = parser.parse_args(arguments)
    home = Home(options.home.expanduser().absolute())
    out = options.out_option or options.out or Path(f"douane-audit-{datetime.now(UTC):%Y%m%dT%H%M%SZ}")
    try:
        size, key = export(home, out, values=not options.without_values, as_is=options.as_is)
    except (StoreError, KeysInvalid, ApiError, OSError) as error:
        print(f"export_audit: {error}", file=sys.stderr)
        return 1
    print(f"{size:,} records in {out}")
    print(f"verify with: {sys.executable} {out / 'verify.py'} {out} --key {key}")
    return 0


def export(home: Home, out: Path, *, values: bool, as_is: bool) -> tuple[int, str]:
    """Sign a head, write the bundle; returns the number of records and the key to verify them with."""
    if not home.database.is_file():
        raise StoreError(f"there is no register at {home.database}")
    if out.exists():
        raise StoreError(f"{out} is there already")
    keys = load_keys(home.private)
    if not as_is:
        sign(home, keys)
    console = Console(stderr=True)
    with Progress(console=console, disable=not console.is_terminal, transient=True) as bars:
        bar = bars.add_task("exporting")
        size = write_bundle(
            home.database,
            out,
            keys.verifying,
            version=version("douane"),
            values=values,
            progress=lambda done, total: bars.update(bar, completed=done, total=total),
        )
    shutil.copyfile(VERIFIER, out / "verify.py")
    return size, keys.verifying.text()


def sign(home: Home, keys: SigningKeys) -> None:
    """Have a head signed over everything there is now."""
    try:
        ApiClient(home.api_socket).request("POST", "/v1/head", {"reason": "export"})
    except NodeNotRunning:
        asyncio.run(sign_alone(home, keys))


async def sign_alone(home: Home, keys: SigningKeys) -> None:
    """Sign with the store to ourselves; opening and closing it leave their records."""
    store = await SqliteStore.open(home.database, keys)
    try:
        await store.sign_head("export")
    finally:
        await store.close()


if __name__ == "__main__":
    sys.exit(main())
