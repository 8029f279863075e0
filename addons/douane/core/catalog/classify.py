"""One request to one classification: the worst tool that it could be."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from douane.core.catalog.graphql import read_document
from douane.core.catalog.shard import Operation, Shard
from douane.core.hosts import looks_like_inference, provider_of
from douane.core.mask import mask_text
from douane.core.refusal import RequestAmbiguous
from douane.core.request import SAFE_METHODS, CanonicalRequest
from douane.core.tool import Classification, Nature, Tier, worst

_NATURE_OF = {"DELETE": Nature.DELETE, "GET": Nature.READ, "HEAD": Nature.READ, "OPTIONS": Nature.META}


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

    def tools(self) -> dict[str, Operation]:
        """Every tool by name, with the worst of its operations."""
        found: dict[str, Operation] = {}
        for shard in {id(s): s for s in [*self._hosts.values(), *self._suffixes.values()]}.values():
            for operation in shard.operations:
                known = found.get(operation.tool)
                if known is None or operation.tier.rank > known.tier.rank:
                    found[operation.tool] = operation
        return found

    def classify(self, request: CanonicalRequest) -> Classification:
        """Map a request; raises `RequestAmbiguous` where the provider could read it as another tool."""
        shard = self.shard_of(request.host)
        if shard is None:
            return _unmapped(request)
        if request.path_trap is not None:
            raise RequestAmbiguous(request.path_trap)
        method = "GET" if request.method == "HEAD" else request.method
        matches = shard.find(method, request.segments)
        if request.other_method is not None:
            # Nobody outside knows which of the two the provider takes; the worse of both counts.
            other = shard.find("GET" if request.other_method == "HEAD" else request.other_method, request.segments)
            matches = matches + other if other else []
        matches = [found for found in matches if _applies(found[0], request)]
        if not matches:
            return _unmatched(request, shard.provider)
        return _matched(request, shard, matches)


def _applies(operation: Operation, request: CanonicalRequest) -> bool:
    if operation.only_if is None:
        return True
    where, name, value = operation.only_if
    match where:
        case "query":
            values = [text for key, text in request.query if key == name]
        case "header":
            values = [request.header(name) or ""]
        case _:
            body = request.json()
            values = [str(body.get(name))] if isinstance(body, dict) else []
    if len(values) > 1:
        raise RequestAmbiguous("a discriminating parameter that stands twice")
    return values == [value]


def _matched(
    request: CanonicalRequest, shard: Shard, matches: list[tuple[Operation, tuple[str, ...]]]
) -> Classification:
    # The most specific match names the tool, unless a riskier one could be meant just as well.
    operation, values = max(matches, key=lambda found: found[0].tier.rank)
    arguments = _arguments(request, operation, values)
    tool, tier, nature, evidence = operation.tool, operation.tier, operation.nature, operation.evidence
    operations: tuple[str, ...] = ()
    if operation.reader == "graphql":
        document = read_document(request, shard.provider)
        tool, operations = document.tool, document.operations
        tier, nature = worst(tier, document.tier) if document.tier is Tier.IRREVERSIBLE else document.tier, document.nature
        evidence = document.evidence
        arguments = document.arguments
    for predicate in operation.raises:
        if predicate.argument in arguments and predicate.tier.rank > tier.rank:
            value = arguments[predicate.argument]
            if not predicate.equals or _canonical(value) in predicate.equals or value in predicate.equals:
                tier, evidence = predicate.tier, f"body: {predicate.why}"
    return Classification(
        tool=tool,
        tier=tier,
        nature=nature,
        provider=shard.provider,
        mapped=True,
        billable=any(found.billable for found, _ in matches),
        arguments=arguments,
        summary=_sentence(operation, tool, arguments, request) if tier is not Tier.REVERSIBLE else "",
        evidence=evidence,
        operations=operations,
    )


def _canonical(value: Any) -> Any:
    return {"true": True, "false": False}.get(value.lower(), value) if isinstance(value, str) else value


class _Named(dict[str, Any]):
    def __missing__(self, key: str) -> str:
        return "?"


def _sentence(operation: Operation, tool: str, arguments: Mapping[str, Any], request: CanonicalRequest) -> str:
    if operation.summary and operation.reader is None:
        shown = _Named({key: str(value)[:200] for key, value in arguments.items()})
        return mask_text(operation.summary.format_map(shown))
    path = mask_text(request.path.decode("latin-1")[:200])
    return f"{tool}: {request.method} {request.host}{path}"


def _arguments(request: CanonicalRequest, operation: Operation, values: tuple[str, ...]) -> dict[str, Any]:
    """Path, query and body members under the vendor's names; a path parameter wins over a body member of its name."""
    found: dict[str, Any] = {}
    pairs = list(request.query)
    if request.method not in SAFE_METHODS and request.body:
        form = request.form()
        if form is not None:
            pairs += form
        else:
            body = request.json()
            if isinstance(body, dict):
                found.update(_counted(body) if operation.inference else body)
            elif body is not None:
                found["items"] = body
    names = {name for name, _ in pairs}
    if request.method not in SAFE_METHODS and len(names) != len(pairs):
        repeated = {name for name, _ in pairs if not name.endswith("[]")}
        if len(repeated) != sum(not name.endswith("[]") for name, _ in pairs):
            raise RequestAmbiguous("a parameter that stands twice")
    for name in operation.integers:
        split = [other for other in names if other.partition("[")[0] == name and other != name]
        if split or (name in names and name in found):
            raise RequestAmbiguous(f"a split or repeated {name}")
    for name, text in pairs:
        if name in operation.integers:
            if not (text.isascii() and text.isdigit() and len(text) <= 18):
                raise RequestAmbiguous(f"a {name} that is not a plain integer")
            found[name] = int(text)
        elif name == "currency":
            found[name] = text.lower()
        elif name in found and name.endswith("[]"):
            found[name] = [*(found[name] if isinstance(found[name], list) else [found[name]]), text]
        else:
            found[name] = {"true": True, "false": False}.get(text, text)
    for name in operation.required:
        if name not in found:
            raise RequestAmbiguous(f"a missing {name}")
    for name in operation.integers:
        if name in found and (not isinstance(found[name], int) or isinstance(found[name], bool)):
            raise RequestAmbiguous(f"a {name} that is not a plain integer")
    found.update(zip(operation.parameters, values, strict=False))
    return found


_TEXTS = frozenset({"messages", "system", "tools", "input", "prompt", "contents", "instructions", "functions"})


def _counted(body: Mapping[str, Any]) -> dict[str, Any]:
    """The members of an inference call, its texts as counts only."""
    found: dict[str, Any] = {}
    for name, value in body.items():
        if isinstance(value, bool | int | float) or value is None or (isinstance(value, str) and name not in _TEXTS):
            found[name] = value[:200] if isinstance(value, str) else value
        elif isinstance(value, list):
            found[name] = f"{len(value)} items"
        elif isinstance(value, str):
            found[name] = f"{len(value)} characters"
        else:
            found[name] = "object"
    return found


def _unmatched(request: CanonicalRequest, provider: str) -> Classification:
    method = request.other_method or request.method
    safe = method in SAFE_METHODS and request.method in SAFE_METHODS
    return Classification(
        tool=f"{provider}.unmatched.{method.lower()}",
        tier=Tier.REVERSIBLE if safe else Tier.IRREVERSIBLE,
        nature=_NATURE_OF.get(method, Nature.WRITE),
        provider=provider,
        mapped=True,
        billable=not safe and provider_of(request.host) is not None,
        arguments=_plain_arguments(request),
        summary=f"An operation of {provider} that the catalog does not know: {method} "
        f"{request.host}{mask_text(request.path.decode('latin-1')[:200])}",
        evidence="unknown operation of a known provider",
    )


def _unmapped(request: CanonicalRequest) -> Classification:
    method = request.other_method or request.method
    safe = method in SAFE_METHODS and request.method in SAFE_METHODS
    provider = provider_of(request.host)
    billable = False
    if provider is not None:
        billable = not safe
    elif not safe:
        path = "/" + "/".join(request.segments)
        billable = looks_like_inference(path, _lenient_json(request))
    tier = Tier.REVERSIBLE if safe else Tier.IRREVERSIBLE if method == "DELETE" else Tier.VISIBLE
    return Classification(
        tool=f"unmapped.{method.lower()}" if provider is None else f"{provider}.unmatched.{method.lower()}",
        tier=tier,
        nature=_NATURE_OF.get(method, Nature.WRITE),
        provider=provider,
        mapped=False,
        billable=billable,
        arguments=_plain_arguments(request),
        summary=f"{method} {request.host}{mask_text(request.path.decode('latin-1')[:200])}",
        evidence="unknown host" if provider is None else "inference host without a catalog",
    )


def _plain_arguments(request: CanonicalRequest) -> dict[str, Any]:
    """The path; on a host nobody described, a body's members may be anything and are not read."""
    return {"path": mask_text(request.path.decode("latin-1")[:500])}


def _lenient_json(request: CanonicalRequest) -> Any:
    try:
        return request.json()
    except RequestAmbiguous:
        return None
