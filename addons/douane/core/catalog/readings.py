"""Every way to read a request's method and path, and the operations that these could be."""

from __future__ import annotations

from collections.abc import Sequence
from functools import partial
from typing import NamedTuple

from douane.core.catalog.arguments import values_at
from douane.core.catalog.shard import Match, Shard
from douane.core.refusal import RequestAmbiguous
from douane.core.request import SAFE_METHODS, CanonicalRequest


class Place(NamedTuple):
    """A match, and the shard whose provider reads the request."""

    match: Match
    shard: Shard


def readings_of(request: CanonicalRequest, shards: Sequence[Shard]) -> tuple[list[Place], bool]:
    """What a request could be in every reading of its method and path, and whether one of them is unknown."""
    if request.other_method is None and not request.encoded_slash and not _has_suffix(request.segments):
        return _found(request, shards, request.method, request.segments), False
    methods = [request.method]
    if request.other_method is not None:
        methods.append(request.other_method)
    readings = [request.segments]
    if request.encoded_slash:
        slash = {shard.encoded_slash for shard in shards}
        if not slash or "refused" in slash:
            raise RequestAmbiguous("an encoded slash in the path")
        if "either" in slash:
            readings.append(tuple("/".join(request.segments).split("/")))
    return _all_readings(request, shards, methods, readings)


def _all_readings(
    request: CanonicalRequest, shards: Sequence[Shard], methods: Sequence[str], readings: Sequence[tuple[str, ...]]
) -> tuple[list[Place], bool]:
    found: list[Place] = []
    unknown = False
    for method in methods:
        for segments in readings:
            here = _found(request, shards, method, segments)
            unknown = unknown or (not here and method not in SAFE_METHODS)
            found += here
            if _has_suffix(segments):
                plain = (*segments[:-1], segments[-1].removesuffix(".json"))
                found += _found(request, shards, method, plain)
    return found, unknown


def _has_suffix(segments: Sequence[str]) -> bool:
    """Whether a path ends in `.json`, which some providers take for the format and no part of the name."""
    return bool(segments) and segments[-1].endswith(".json") and len(segments[-1]) > len(".json")


def _found(request: CanonicalRequest, shards: Sequence[Shard], method: str, segments: tuple[str, ...]) -> list[Place]:
    """What a method and path could be; a HEAD is a GET where it has no name of its own."""
    choose = partial(values_at, request)
    found = [Place(match, shard) for shard in shards for match in shard.find(method, segments, choose)]
    return found or (_found(request, shards, "GET", segments) if method == "HEAD" else [])
