"""GraphQL over HTTP: a document of query operations reads; any other document is held."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

from graphql import GraphQLError, parse
from graphql.language import FieldNode, FragmentDefinitionNode, OperationDefinitionNode, OperationType

from douane.core.refusal import RequestAmbiguous
from douane.core.request import CanonicalRequest
from douane.core.tool import Nature, Tier

MOST_DOCUMENT_CHARACTERS = 200_000
MOST_TOKENS = 20_000


@dataclass(frozen=True, slots=True)
class Document:
    """What a request's documents do, all together."""

    tool: str
    tier: Tier
    nature: Nature
    operations: tuple[str, ...]
    arguments: dict[str, Any]
    evidence: str


def read_document(request: CanonicalRequest, provider: str) -> Document:
    """Read every operation of a request, batches included; raises `RequestAmbiguous` for what cannot be read."""
    body = request.json()
    if body is None and request.media_type == "application/graphql":
        body = {"query": request.body.decode("utf-8", "replace")}
    requests = body if isinstance(body, list) else [body]
    fields: list[str] = []
    reads = True
    for item in requests:
        if not isinstance(item, dict) or not isinstance(item.get("query"), str):
            raise RequestAmbiguous("a GraphQL request without its document (persisted queries cannot be read)")
        if any(name == "query" for name, _ in request.query):
            raise RequestAmbiguous("a GraphQL document in both the query string and the body")
        read, names = _operations(item["query"])
        reads = reads and read
        fields += names
    if not fields:
        raise RequestAmbiguous("a GraphQL document without an operation")
    variables = requests[0].get("variables") if len(requests) == 1 else None
    arguments: dict[str, Any] = {"fields": fields[:50]}
    if isinstance(variables, dict):
        arguments["variables"] = variables
    if reads:
        return Document(f"{provider}.graphql.query", Tier.REVERSIBLE, Nature.READ, (), arguments, "GraphQL query")
    unique = tuple(dict.fromkeys(f"{provider}.graphql.{name}" for name in fields))
    return Document(unique[0], Tier.IRREVERSIBLE, Nature.WRITE, unique, arguments, "GraphQL mutation")


def _operations(text: str) -> tuple[bool, list[str]]:
    if len(text) > MOST_DOCUMENT_CHARACTERS:
        raise RequestAmbiguous("a GraphQL document that is too long")
    try:
        document = parse(text, no_location=True, max_tokens=MOST_TOKENS)
    except (GraphQLError, RecursionError):
        raise RequestAmbiguous("a GraphQL document that cannot be parsed") from None
    reads = True
    mutations: list[str] = []
    queries: list[str] = []
    fragments = {d.name.value: d for d in document.definitions if isinstance(d, FragmentDefinitionNode)}
    for definition in document.definitions:
        if isinstance(definition, OperationDefinitionNode):
            names = _root_fields(definition.selection_set, fragments, set())
            if definition.operation is OperationType.QUERY:
                queries += names
            else:
                reads = False
                mutations += names
        elif not isinstance(definition, FragmentDefinitionNode):
            raise RequestAmbiguous("a GraphQL document with more than operations and fragments")
    return reads, mutations or queries


def _root_fields(selections: Any, fragments: dict[str, FragmentDefinitionNode], seen: set[str]) -> list[str]:
    names: list[str] = []
    for selection in selections.selections:
        if isinstance(selection, FieldNode):
            names.append(selection.name.value)
        elif hasattr(selection, "name"):
            fragment = fragments.get(selection.name.value)
            if fragment is None or selection.name.value in seen:
                raise RequestAmbiguous("a GraphQL fragment that is missing or spreads itself")
            names += _root_fields(fragment.selection_set, fragments, seen | {selection.name.value})
        else:
            names += _root_fields(selection.selection_set, fragments, seen)
    return names
