"""One request to one classification: the worst tool that it could be."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import replace
from typing import Any

from douane.core.catalog.arguments import read_arguments, values_of
from douane.core.catalog.git import read_fetch, read_push
from douane.core.catalog.graphql import read_document
from douane.core.catalog.operation import Discriminator, Operation
from douane.core.catalog.shard import Match, Shard
from douane.core.catalog.unmapped import unmapped, unmatched
from douane.core.hosts import provider_of
from douane.core.mask import is_secret_name, mask_target, mask_text, printable
from douane.core.refusal import RequestAmbiguous
from douane.core.request import SAFE_METHODS, CanonicalRequest
from douane.core.tool import Classification, Tier

_MOST_SHOWN = 200


class Catalog:
    """All shards, found by host."""

    def __init__(self, hosts: Mapping[str, Shard], suffixes: Mapping[str, Shard], digest: str) -> None:
        self._hosts = dict(hosts)
        self._suffixes = dict(suffixes)
        """`.example.com` → shard: any host below it."""
        self.digest = digest

    def shard_of(self, host: str) -> Shard | None:
        """The shard that a canonical host belongs to."""
        found = self._hosts.get(host)
        if found is None and self._suffixes:
            at = host.find(".")
            while at >= 0:
                if (found := self._suffixes.get(host[at:])) is not None:
                    return found
                at = host.find(".", at + 1)
        return found

    def shards(self) -> tuple[Shard, ...]:
        """Every shard once."""
        return tuple({id(shard): shard for shard in [*self._hosts.values(), *self._suffixes.values()]}.values())

    def tools(self) -> dict[str, Operation]:
        """Every tool by name, with the worst of its operations."""
        found: dict[str, Operation] = {}
        for shard in self.shards():
            for operation in shard.operations:
                known = found.get(operation.tool)
                if known is None or operation.tier.rank > known.tier.rank:
                    found[operation.tool] = operation
        return found

    def classify(self, request: CanonicalRequest) -> Classification:
        """Map a request; raises `RequestAmbiguous` where the provider could read it as another tool."""
        shard = self.shard_of(request.host)
        if shard is None:
            return unmapped(request)
        if request.path_trap is not None:
            raise RequestAmbiguous(request.path_trap)
        method = "GET" if request.method == "HEAD" else request.method
        matches = shard.find(method, request.segments)
        unknown = False
        if request.other_method is not None or request.encoded_slash or _has_suffix(request.segments):
            matches, unknown = _all_readings(request, shard)
        if any(operation.only_if is not None for operation, _ in matches):
            matches = [found for found in matches if _applies(found[0].only_if, request)]
        if not matches:
            return unmatched(request, shard.provider, serves_models=provider_of(request.host) is not None)
        classification = _matched(request, shard, matches)
        if unknown and classification.tier is not Tier.IRREVERSIBLE:
            return replace(classification, tier=Tier.IRREVERSIBLE, evidence="could also be an operation nobody knows")
        return classification


def _all_readings(request: CanonicalRequest, shard: Shard) -> tuple[list[Match], bool]:
    """What a request could be where its method or path can be read in two ways, and whether one of them is unknown."""
    methods = [request.method if request.method != "HEAD" else "GET"]
    if request.other_method is not None:
        methods.append("GET" if request.other_method == "HEAD" else request.other_method)
    readings = [request.segments]
    if request.encoded_slash:
        if not shard.encoded_slash:
            raise RequestAmbiguous("an encoded slash in the path")
        readings.append(tuple("/".join(request.segments).split("/")))
    found: list[Match] = []
    unknown = False
    for method in methods:
        for segments in readings:
            matches = shard.find(method, segments)
            unknown = unknown or (not matches and method not in SAFE_METHODS)
            found += matches
            if _has_suffix(segments):
                found += shard.find(method, (*segments[:-1], segments[-1].removesuffix(".json")))
    return found, unknown


def _has_suffix(segments: tuple[str, ...]) -> bool:
    """Whether a path ends in `.json`, which some providers take for the format and no part of the name."""
    return bool(segments) and segments[-1].endswith(".json") and len(segments[-1]) > len(".json")


def _applies(only_if: Discriminator | None, request: CanonicalRequest) -> bool:
    if only_if is None:
        return True
    where, name, wanted = only_if
    match where:
        case "query":
            values = [text for key, text in request.query if key == name]
        case "header":
            values = [value.decode("latin-1") for key, value in request.raw.headers if key.lower() == name.encode()]
        case "body":
            body = request.json()
            values = [str(body[name])] if isinstance(body, dict) and name in body else []
    if len(values) > 1:
        raise RequestAmbiguous("a discriminating parameter that stands twice")
    return bool(values) and wanted in ("*", values[0])


def _matched(request: CanonicalRequest, shard: Shard, matches: list[Match]) -> Classification:
    # The most specific match names the tool, unless a riskier one could be meant just as well.
    operation, values = matches[0]
    operations: tuple[str, ...] = ()
    billable = operation.billable
    if len(matches) > 1:
        operation, values = max(matches, key=lambda found: found[0].tier.rank)
        names = dict.fromkeys(found.tool for found, _ in matches)
        operations = tuple(names) if len(names) > 1 else ()
        billable = any(found.billable for found, _ in matches)
    if operation.reader is not None:
        return _by_reader(request, shard, operation, values)
    arguments = read_arguments(request, operation, shard.reads, values)
    tier, evidence = operation.tier, operation.evidence
    for found, _ in matches:
        for predicate in found.raises:
            if predicate.tier.rank > tier.rank and any(
                predicate.applies_to(value) for value in values_of(arguments, predicate.argument)
            ):
                tier, evidence = predicate.tier, f"body: {predicate.why}"
    return Classification(
        tool=operation.tool,
        tier=tier,
        nature=operation.nature,
        provider=shard.provider,
        mapped=True,
        billable=billable,
        arguments=arguments,
        summary=_sentence(operation, arguments, request) if tier is not Tier.REVERSIBLE else "",
        evidence=evidence,
        operations=operations,
    )


def _by_reader(
    request: CanonicalRequest, shard: Shard, operation: Operation, values: tuple[str, ...]
) -> Classification:
    """A request whose body is in a grammar of its own, which names the tool."""
    arguments: dict[str, Any] = dict(zip(operation.parameters, values, strict=True))
    operations: tuple[str, ...] = ()
    tool, tier, nature, evidence = operation.tool, operation.tier, operation.nature, operation.evidence
    shown = tool
    match operation.reader:
        case "graphql":
            document = read_document(request, shard.provider)
            tool, tier, nature, evidence = document.tool, document.tier, document.nature, document.evidence
            operations, arguments = document.operations, document.arguments
            shown = f"{shard.provider} GraphQL: {', '.join(arguments['fields'])[:_MOST_SHOWN]}"
        case "git-fetch":
            tool = read_fetch(request.body)
        case "git-push":
            changes = read_push(request.body)
            arguments["refs"] = [{"ref": change.ref, "action": change.action} for change in changes]
            operations = tuple(dict.fromkeys(change.tool for change in changes))
            listed = ", ".join(f"{change.action} {change.ref}" for change in changes)
            shown = f"Push to {arguments.get('repository', request.host)}: {listed[:_MOST_SHOWN] or 'nothing yet'}"
    return Classification(
        tool=tool,
        tier=tier,
        nature=nature,
        provider=shard.provider,
        mapped=True,
        billable=False,
        arguments=arguments,
        summary=printable(shown) if tier is not Tier.REVERSIBLE else "",
        evidence=evidence,
        operations=operations,
    )


class _Shown(dict[str, str]):
    def __missing__(self, key: str) -> str:
        return "?"


def _sentence(operation: Operation, arguments: Mapping[str, Any], request: CanonicalRequest) -> str:
    """A plain sentence for the reviewer, with nothing in it that is secret or could forge another."""
    if operation.inference:
        return f"Ask the model {printable(str(arguments.get('model', '?'))[:_MOST_SHOWN])}"
    if operation.summary:
        shown = _Shown(
            {name: mask_text(str(value)[:_MOST_SHOWN]) for name, value in arguments.items() if not is_secret_name(name)}
        )
        return printable(operation.summary.format_map(shown))
    path = mask_target(request.raw.target).partition("?")[0]
    return f"{operation.tool}: {request.method} {request.host}{path[:_MOST_SHOWN]}"
