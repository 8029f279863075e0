"""One request to one classification: the worst tool that it could be."""

from __future__ import annotations

import re
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import replace
from typing import Any

import orjson

from douane.core.catalog.arguments import read_arguments, values_at, values_of
from douane.core.catalog.batch import parts_of
from douane.core.catalog.expand import as_mcp, of_batch
from douane.core.catalog.git import Push, read_fetch, read_push
from douane.core.catalog.kubernetes import REHEARSED, read_path, stops
from douane.core.catalog.mcp import read_calls
from douane.core.catalog.operation import Operation
from douane.core.catalog.readings import Place, readings_of
from douane.core.catalog.shard import Shard
from douane.core.catalog.signature import signed_service
from douane.core.catalog.sites import Sites
from douane.core.catalog.unmapped import shown_target, unmapped, unmatched
from douane.core.mask import mask_arguments, mask_resource, printable
from douane.core.refusal import RequestAmbiguous
from douane.core.request import SAFE_METHODS, CanonicalRequest, canonicalise
from douane.core.tool import Classification, Nature, Tier

_MOST_SHOWN = 200
_MOST_VALUES = 20
_BUCKETS = "aws/s3-bucket"
_BUCKET = re.compile(r"(.+)\.s3[a-z0-9-]*\.")
"""A bucket that is called by a host of its own."""


class Catalog:
    """All shards, found by host."""

    def __init__(self, sites: Sites, shards: Mapping[str, Shard], digest: str) -> None:
        """`shards` may read a shard when it is first asked for."""
        self._sites = sites
        self._shards = shards
        self.digest = digest

    @property
    def sites(self) -> Sites:
        """Every host with its shards."""
        return self._sites

    def names(self) -> list[str]:
        """The names of all shards."""
        return sorted(self._shards)

    def shards(self) -> Iterator[Shard]:
        """Every shard, by name."""
        for name in sorted(self._shards):
            yield self._shards[name]

    def shards_at(self, host: str) -> list[Shard]:
        """The shards of a canonical host."""
        site = self._sites.site_of(host)
        return [self._shards[name] for name in site.shards] if site is not None else []

    def providers(self) -> frozenset[str]:
        """The first words of tools' names, of hosts without any known tool too."""
        return frozenset(site.provider for site in self._sites.all().values())

    def tools(self) -> list[str]:
        """Every tool's name once, sorted; some ten thousands."""
        return sorted({tool for shard in self.shards() for tool in shard.tools()})

    def tiers(self) -> Iterator[tuple[str, Tier, Nature]]:
        """Every tool with the tier and nature of its worst operation, sorted."""
        worst: dict[str, tuple[Tier, Nature]] = {}
        for shard in self.shards():
            for tool, tier, nature in shard.tiers():
                if tool not in worst or tier.rank > worst[tool][0].rank:
                    worst[tool] = tier, nature
        for tool in sorted(worst):
            yield (tool, *worst[tool])

    def tool(self, name: str) -> Operation | None:
        """The worst operation of a tool under its exact name."""
        shards = [shard for shard in self.shards_of(name) if name.startswith(shard.prefix)]
        found = [worst for shard in shards if (worst := shard.worst_of(name)) is not None]
        return max(found, key=lambda operation: operation.tier.rank, default=None)

    def shards_of(self, tool: str) -> list[Shard]:
        """The shards of a tool's provider and API: `provider`, or `provider/api`."""
        provider, _, rest = tool.partition(".")
        api = f"{provider}/{rest.partition('.')[0]}"
        near = [name for name in self._shards if name.partition("/")[0] == provider]
        exact = [name for name in near if name in (provider, api) or name.startswith(f"{api}-")]
        found = [self._shards[name] for name in exact]
        if any(shard.indices_of(tool) for shard in found):
            return found
        return [self._shards[name] for name in near]

    def classify(self, request: CanonicalRequest) -> Classification:
        """Map a request; raises `RequestAmbiguous` where the provider could read it as another tool."""
        site = self._sites.site_of(request.host)
        if site is None:
            return self._elsewhere(request)
        if site.refused:
            raise RequestAmbiguous(site.refused)
        if request.path_trap is not None:
            raise RequestAmbiguous(request.path_trap)
        if (inner := parts_of(request, site.provider)) is not None:
            return of_batch([self.classify(canonicalise(raw)) for raw in inner], site.provider)
        names: Sequence[str] = site.shards
        if site.provider == "aws":
            names = self._aws_shards(request, names)
        matches, unknown = readings_of(request, [self._shards[name] for name in names])
        if not matches:
            return unmatched(request, site.provider)
        classification = _matched(request, matches)
        if unknown and classification.tier is not Tier.IRREVERSIBLE:
            return replace(classification, tier=Tier.IRREVERSIBLE, evidence="could also be an operation nobody knows")
        return classification

    def _aws_shards(self, request: CanonicalRequest, names: Sequence[str]) -> Sequence[str]:
        """The host's shards, and those of the service that the signature names, which may be another."""
        if any(key.lower() == b"x-amz-target" for key, _ in request.raw.headers) and values_at(
            request, "form", "Action"
        ):
            raise RequestAmbiguous("an AWS request with both Action and X-Amz-Target")
        service = signed_service(request)
        if service is None or any(self._shards[name].signing == service for name in names):
            return names
        return (*names, *self._sites.signed_for(service))

    def _elsewhere(self, request: CanonicalRequest) -> Classification:
        """A host that nobody described: AWS by its signature (custom endpoints), MCP by its calls, or anything."""
        found = unmapped(request)
        service = signed_service(request)
        if service is not None and (names := self._sites.signed_for(service)) and request.path_trap is None:
            matches, _ = readings_of(request, [self._shards[name] for name in names])
            if matches:
                signed = replace(_matched(request, matches), mapped=False)
                return signed if signed.tier.rank >= found.tier.rank else replace(signed, tier=found.tier)
        return as_mcp(request, found) if found.provider is None else found


def _matched(request: CanonicalRequest, places: Sequence[Place]) -> Classification:
    # The most specific match names the tool, unless a riskier one could be meant just as well.
    (operation, parameters), shard = places[0]
    operations: tuple[str, ...] = ()
    billable = operation.billable
    if len(places) > 1:
        (operation, parameters), shard = max(places, key=lambda place: place.match.operation.tier.rank)
        names = dict.fromkeys(place.match.operation.tool for place in places)
        operations = tuple(names) if len(names) > 1 else ()
        billable = any(place.match.operation.billable for place in places)
    if operation.reader == "kubernetes":
        resource = _kubernetes(request, shard)
        if resource is None:
            return unmatched(request, shard.provider)
        operation, parameters = resource
    elif operation.reader is not None:
        return _by_reader(request, shard, operation, parameters)
    if shard.name == _BUCKETS and (bucket := _BUCKET.match(request.host)) is not None:
        parameters = {"Bucket": bucket[1], **parameters}
    arguments = read_arguments(request, operation, shard.reads, parameters)
    tier, evidence = _by_body(request, [place.match.operation for place in places], operation, arguments)
    if len(places) == 1 and operation.lowers and request.other_method is None:
        tier, evidence = _rehearsed(request, operation, shard, tier, evidence)
    return Classification(
        tool=operation.tool,
        tier=tier,
        nature=operation.nature,
        provider=shard.provider,
        mapped=True,
        billable=billable,
        arguments=arguments,
        in_path=tuple(parameters),
        summary=_sentence(operation, arguments, parameters, request, shard.provider)
        if tier is not Tier.REVERSIBLE
        else "",
        evidence=evidence,
        operations=operations,
    )


def _kubernetes(request: CanonicalRequest, shard: Shard) -> tuple[Operation, dict[str, str]] | None:
    """The operation that a path of the Kubernetes API names, under an operator's judgement on its tool."""
    method = "GET" if request.method == "HEAD" else request.method
    found = [read_path(one, request.segments) for one in {method, request.other_method or method}]
    resources = [resource for resource in found if resource is not None]
    if len(resources) != len(found):
        return None
    worst = max(resources, key=lambda resource: resource.tier.rank)
    known = shard.worst_of(worst.tool)
    if known is None:
        known = Operation(worst.tool, worst.tier, worst.nature, evidence=worst.why)
    if known.tier is not Tier.REVERSIBLE:
        # A delete with options in its body has none in its query: the API reads the one or the other.
        if worst.rehearsable and not (request.body and method == "DELETE"):
            known = replace(known, lowers=REHEARSED)
        if request.body and method in ("PUT", "PATCH") and (why := stops(request.json())):
            known = replace(known, tier=Tier.IRREVERSIBLE, evidence=f"body: {why}")
    return known, worst.parameters


def _by_body(
    request: CanonicalRequest, operations: Sequence[Operation], worst: Operation, arguments: Mapping[str, Any]
) -> tuple[Tier, str]:
    """The tier that the body's members make of the worst of some operations, and why."""
    tier, evidence = worst.tier, worst.evidence
    for operation in operations:
        for predicate in operation.raises:
            if predicate.tier.rank > tier.rank and any(
                predicate.applies_to(value) for value in values_of(request, arguments, predicate.argument)
            ):
                tier, evidence = predicate.tier, f"body: {predicate.why}"
    return tier, evidence


def _rehearsed(
    request: CanonicalRequest, operation: Operation, shard: Shard, tier: Tier, evidence: str
) -> tuple[Tier, str]:
    """The tier of a call that the provider surely only rehearses: as a parameter of the query, or of the form where it
    reads one. The same word inside a JSON body may mean nothing to it, nor one in the query beside a form."""
    pairs = request.query
    if (operation.reads or shard.reads) == "form" and request.method not in SAFE_METHODS:
        form = request.form() or ()
        pairs = () if pairs and form else (*pairs, *form)
    for predicate in operation.lowers:
        if [text for name, text in pairs if name == predicate.argument] in [[wanted] for wanted in predicate.equals]:
            return predicate.tier, f"body: {predicate.why}"
    return tier, evidence


def _by_reader(
    request: CanonicalRequest, shard: Shard, operation: Operation, parameters: Mapping[str, str]
) -> Classification:
    """A request whose body is in a grammar of its own, which names the tool."""
    arguments: dict[str, Any] = dict(parameters)
    operations: tuple[str, ...] = ()
    tool, tier, nature, evidence = operation.tool, operation.tier, operation.nature, operation.evidence
    shown = tool
    match operation.reader:
        case "graphql":
            from douane.core.catalog.graphql import read_document  # costs a quarter of a second, see load_catalog

            document = read_document(request, shard.provider)
            tool, tier, nature, evidence = document.tool, document.tier, document.nature, document.evidence
            operations, arguments = document.operations, document.arguments
            shown = f"{shard.provider} GraphQL: {', '.join(arguments['fields'])[:_MOST_SHOWN]}"
            if (known := shard.worst_of(tool)) is not None and known.summary:
                shown = f"{known.summary.format_map(_Shown(arguments, {}, shard.provider))} ({shown})"
        case "mcp":
            calls = read_calls(request, described=True, judged=shard.changes)
            if calls is None:
                return unmatched(request, shard.provider)
            tool, tier, nature, evidence = calls.tool, calls.tier, calls.nature, calls.evidence
            operations, arguments = calls.operations, calls.arguments
            shown = f"Call {tool} at {request.host}"
        case "git-fetch":
            tool = read_fetch(request.body)
        case "git-push":
            push = read_push(request.body)
            worst = _worst_change(push, shard, operation)
            tool, tier, nature, evidence = worst.tool, worst.tier, worst.nature, worst.evidence
            operations = tuple(dict.fromkeys(change.tool for change in push.changes))
            if len(operations) > 1:  # as with GraphQL: what is allowed of one must not let the others through
                tool = operation.tool
            elif operations == (tool,):
                operations = ()
            arguments["refs"] = [{"ref": change.ref, "action": change.action} for change in push.changes]
            if push.options:
                arguments["options"] = list(push.options)
            listed = ", ".join(f"{change.action} {change.ref}" for change in push.changes)
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


def _worst_change(push: Push, shard: Shard, operation: Operation) -> Operation:
    """The riskiest of a push's changes, under an operator's judgement; all of the push where it says no more."""
    if push.is_probe:
        return shard.worst_of("git.push.probe") or operation
    if push.options:
        return replace(operation, evidence="git: push options, which mean what the server makes of them")
    found = [shard.worst_of(change.tool) or operation for change in push.changes]
    return max(found, key=lambda one: one.tier.rank, default=operation)


class _Shown(dict[str, str]):
    """A call's arguments for a sentence, without what is secret.

    `{InstanceId}` is all of `InstanceId.1`, `InstanceId.2`, …; `{KeyName|KeyPairId}` what is there of both.
    """

    def __init__(self, arguments: Mapping[str, Any], parameters: Mapping[str, str], provider: str) -> None:
        super().__init__({name: _cut(mask_resource(name, text, provider)) for name, text in parameters.items()})
        self._arguments = arguments
        self._provider = provider
        self.lacks = False
        """Whether a field of the sentence was nowhere in the request."""
        self.says = False
        """Whether some other was."""

    def __missing__(self, key: str) -> str:
        shown = [text for name in key.split("|") if (text := super().get(name) or self._of_query_or_body(name))]
        if shown:
            self.says = True
            return _cut(", ".join(shown))
        self.lacks = True
        return "?"

    def _of_query_or_body(self, key: str) -> str:
        found = [self._arguments[key]] if key in self._arguments else []
        found += [value for name, value in self._arguments.items() if name.startswith((f"{key}.", f"{key}["))]
        values = [item for value in found for item in (value if isinstance(value, list) else [value])]
        masked = [mask_arguments({key: value}, self._provider)[key] for value in values[:_MOST_VALUES]]
        shown = [value if isinstance(value, str) else orjson.dumps(value).decode() for value in masked]
        return _cut(", ".join(shown))


def _cut(text: str) -> str:
    return text if len(text) <= _MOST_SHOWN else f"{text[:_MOST_SHOWN]}…"


def _sentence(
    operation: Operation,
    arguments: Mapping[str, Any],
    parameters: Mapping[str, str],
    request: CanonicalRequest,
    provider: str,
) -> str:
    """A plain sentence for the reviewer, with nothing in it that is secret or could forge another."""
    if operation.inference:
        return f"Ask the model {printable(str(arguments.get('model', '?'))[:_MOST_SHOWN])}"
    if operation.summary:
        shown = _Shown(arguments, parameters, provider)
        sentence = printable(operation.summary.format_map(shown))
        return f"{sentence} ({_line(request)})" if shown.lacks and (parameters or not shown.says) else sentence
    return f"{operation.tool}: {_line(request)}"


def _line(request: CanonicalRequest) -> str:
    path = shown_target(request).partition("?")[0]
    return f"{request.method} {request.host}{path[:_MOST_SHOWN]}"
