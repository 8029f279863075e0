#!/usr/bin/env python3
"""Build the catalog's shards from the vendors' own machine-readable descriptions.

Sources are the pinned packages of `catalog_sources/providers.py`, read as files and never run. Carried over are
methods, paths, hosts, operation ids and parameters, no prose. On top comes `policy/catalog/reviewed.yaml`, where people
have judged tools one by one. The same sources give the same bytes.

    python scripts/build_catalog.py [--packages FOLDER] [--out FOLDER]
"""

from __future__ import annotations

import argparse
from pathlib import Path

from rich.progress import track

from catalog_sources import judged
from catalog_sources.described import Api
from catalog_sources.packages import Packages
from catalog_sources.providers import sources
from catalog_sources.write import write

ROOT = Path(__file__).resolve().parent.parent
CATALOG = ROOT / "policy" / "catalog"


def main() -> None:
    """Build all shards and the index."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--packages", type=Path, default=ROOT / ".cache" / "packages", help="where packages are kept")
    parser.add_argument("--out", type=Path, default=CATALOG / "built", help="where the shards go")
    options = parser.parse_args()
    kept = Packages(options.packages)
    reviewed = judged.read(CATALOG / "reviewed.yaml")
    apis: list[Api] = []
    for source in track(list(sources()), description="reading descriptions"):
        apis += source.read(kept)
    for name, pack in reviewed["packs"].items():
        apis.append(Api(name, f"{name}.", [], profile=pack or {}))
    judged.lay(apis, reviewed)
    by_name = {api.name: api for api in apis}
    others: dict[str, list[str]] = {}
    for host, name in reviewed["hosts"].items():
        if name in by_name:
            by_name[name].hosts.append(host)
        else:
            others[host] = [name]
    write(options.out, apis, reviewed["refused"], others)
    routes = sum(bool(found.method) for api in apis for found in api.operations)
    tools = {found.tool for api in apis for found in api.operations}
    providers = {tool.partition(".")[0] for tool in tools}
    print(f"{len(providers)} providers, {len(apis)} shards, {routes} routes, {len(tools)} tools")


if __name__ == "__main__":
    main()
