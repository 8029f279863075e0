#!/usr/bin/env python3
"""Measure the catalog: how long a node takes to load it, what it keeps, and what reading one request costs.

    python scripts/bench_catalog.py [--json FILE]

Exit 1 where a figure is over its limit.
"""

from __future__ import annotations

import argparse
import json
import random
import statistics
import subprocess
import sys
import time
from collections.abc import Callable
from functools import partial
from pathlib import Path

import psutil

from douane.core.catalog import Catalog
from douane.core.refusal import RequestAmbiguous
from douane.core.request import RawRequest, canonicalise
from douane.edge.catalog import load_catalog

LIMITS = {
    "load_s": 0.4,
    "memory_mb": 80.0,
    "match_us": 12.0,
    "canonicalise_us": 10.0,
    "hostile_ms": 5.0,
    "command_s": 0.3,
}
PATHS = 10_000


def requests_of(catalog: Catalog) -> list[RawRequest]:
    """Requests of routes all over the catalog, with varied parameters; those that only need method and path."""
    chance = random.Random(5)
    places = {name: host for host, site in catalog.sites.all().items() for name in site.shards}
    routes = [
        (shard, method, template)
        for shard in catalog.shards()
        if shard.name in places
        for operation, method, template, selector in shard.routes()
        if selector is None and operation.reader is None
    ]
    found = []
    for shard, method, template in chance.choices(routes, k=PATHS):
        word = f"id-{chance.randrange(10**6)}"
        path = "/".join((*sorted(shard.roots)[:1], *template)).replace("{*}", f"{word}/b").replace("{}", word)
        host = places[shard.name].replace("**", "a").replace("*", "us-east-1")
        found.append(RawRequest("https", host, 443, method, f"/{path}".encode(), (), b""))
    return found


def hostile() -> list[RawRequest]:
    """Requests made to cost the matcher as much as they can."""
    hosts = ("api.github.com", "www.googleapis.com", "compute.googleapis.com", "bucket.s3.amazonaws.com",
             "graph.microsoft.com", "kubernetes.default.svc", "a.b.c.d.e.f.g.h.amazonaws.com")  # fmt: skip
    paths = (
        b"/repos" + b"/a" * 250,
        b"/v1" + b"/projects/p/locations/l" * 60,
        b"/" + b"%41" * 2500,
        b"/" + b"/".join([b"%2541"] * 200),
        b"/v1.0" + b"/users/u" * 120,
        b"/api/v1/" + b"namespaces/" * 200,
        b"/x?" + b"&".join(b"a%d=1" % number for number in range(2000)),
    )
    return [RawRequest("https", host, 443, "DELETE", path, (), b"") for host in hosts for path in paths]


def mean_us(work: Callable[[], object], calls: int) -> float:
    """The best mean of five runs: what else the machine does only ever adds."""
    best = float("inf")
    for _ in range(5):
        started = time.perf_counter()
        work()
        best = min(best, (time.perf_counter() - started) / calls)
    return best * 1e6


def measure() -> dict[str, float]:
    """All figures."""
    process = psutil.Process()
    import douane.core.catalog.graphql  # noqa: F401 - a library that the node has at start, and no part of the catalog

    before = process.memory_info().rss
    started = time.perf_counter()
    catalog = load_catalog()
    found = {"load_s": time.perf_counter() - started, "memory_mb": (process.memory_info().rss - before) / 1e6}
    raw = requests_of(catalog)
    requests = [canonicalise(one) for one in raw]
    found["canonicalise_us"] = mean_us(lambda: [canonicalise(one) for one in raw], len(raw))
    sites = [(request, catalog.shards_at(request.host)) for request in requests]
    found["match_us"] = mean_us(
        lambda: [shard.find(request.method, request.segments) for request, shards in sites for shard in shards[:1]],
        len(requests),
    )
    found["classify_us"] = mean_us(lambda: [classify(catalog, one) for one in raw], len(raw))
    found["hostile_ms"] = max(mean_us(partial(classify, catalog, one), 1) for one in hostile()) / 1e3
    command = [
        sys.executable,
        "-m",
        "douane.cli.main",
        "catalog",
        "match",
        "DELETE",
        "https://api.github.com/repos/a/b",
    ]
    times = []
    for _ in range(5):
        started = time.perf_counter()
        subprocess.run(command, check=True, capture_output=True)
        times.append(time.perf_counter() - started)
    found["command_s"] = statistics.median(times)
    found["tools"] = len(catalog.tools())
    return found


def classify(catalog: Catalog, raw: RawRequest) -> object:
    """The whole way of one request, refusals included."""
    try:
        return catalog.classify(canonicalise(raw))
    except RequestAmbiguous:
        return None


def main() -> None:
    """Measure, print, judge."""
    parser = argparse.ArgumentParser(description=(__doc__ or "").splitlines()[0])
    parser.add_argument("--json", type=Path, help="write the figures to this file")
    options = parser.parse_args()
    found = measure()
    for name, value in found.items():
        limit = LIMITS.get(name)
        print(f"{name:<16}{value:>12.3f}" + (f"   limit {limit}" if limit else ""))
    if options.json:
        options.json.write_text(json.dumps(found, indent=1) + "\n")
    sys.exit(any(found[name] > limit for name, limit in LIMITS.items()))


if __name__ == "__main__":
    main()
