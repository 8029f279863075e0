"""GraphQL over HTTP: a document of query operations reads; any other document is held."""

from __future__ import annotations

from dataclasses import dataclass
from functools import lru_cache
from typing import Any

from graphql import GraphQLError, parse
from graphql.language import (
    FieldNode,
    FragmentDefinitionNode,
    FragmentSpreadNode,
    InlineFragmentNode,
    OperationDefinitionNode,
    OperationType,
    SelectionSetNode,
)

from douane.core.refusal import RequestAmbiguous
from douane.core.request import SAFE_METHODS, CanonicalRequest
from douane.core.request.fields import refuse_twins
from douane.core.tool import Nature, Tier

MOST_DOCUMENT_CHARACTERS = 100_000
MOST_TOKENS = 10_000
"""graphql-core reads about 1.5 tokens a microsecond at best; introspection has 300."""
MOST_REQUESTS = 50
"""In one array."""

_PERSISTED = frozenset({"id", "queryid", "documentid", "doc_id", "hash", "extensions"})


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
    reads = True
    fields: list[str] = []
    queries: list[str] = []
    variables: Any = None
    requests = _requests(request)
    for item in requests:
        read, names = operations_of(_text(item))
        reads = reads and read
        (queries if read else fields).extend(names)
        variables = item.get("variables")
    arguments: dict[str, Any] = {"fields": [*fields, *queries][:50]}
    if len(requests) == 1 and isinstance(variables, dict):
        arguments["variables"] = variables
    if reads:
        return Document(
            f"{provider}.graphql.query", Tier.REVERSIBLE, Nature.READ, (), arguments, "GraphQL: queries only"
        )
    operations = tuple(dict.fromkeys(f"{provider}.graphql.{name}" for name in fields))
    # One name for several fields: a rule that allows the first must not let the others through.
    tool = operations[0] if len(operations) == 1 and not queries else f"{provider}.graphql.mutation"
    return Document(tool, Tier.IRREVERSIBLE, Nature.WRITE, operations, arguments, "GraphQL: not only queries")


def _requests(request: CanonicalRequest) -> list[dict[str, Any]]:
    in_query = dict(request.query)
    if len(in_query) != len(request.query):
        raise RequestAmbiguous("a GraphQL parameter that stands twice")
    if request.method in SAFE_METHODS:
        # A bare GET asks for the schema.
        return [in_query] if in_query else [{"query": "{ __schema }"}]
    if "query" in in_query:
        raise RequestAmbiguous("a GraphQL document in the query string of a POST")
    if request.media_type == "application/graphql":
        request.refuse_charset()
        try:
            return [{"query": request.body.decode("utf-8")}]
        except UnicodeDecodeError:
            raise RequestAmbiguous("a GraphQL document that is not UTF-8") from None
    body = request.json()
    items = body if isinstance(body, list) else [body]
    if not 0 < len(items) <= MOST_REQUESTS or not all(isinstance(item, dict) for item in items):
        raise RequestAmbiguous("a GraphQL request without its document, or too many in one")
    for item in items:
        refuse_twins(item)
    return items


def _text(item: dict[str, Any]) -> str:
    if not isinstance(item.get("query"), str):
        raise RequestAmbiguous("a GraphQL request without its document (persisted queries cannot be read)")
    if any(name.lower() in _PERSISTED and value for name, value in item.items()):
        raise RequestAmbiguous("a GraphQL request that could stand for a persisted document")
    text: str = item["query"]
    if len(text) > MOST_DOCUMENT_CHARACTERS:
        raise RequestAmbiguous("a GraphQL document that is too long")
    return text


@lru_cache(maxsize=64)
def operations_of(text: str) -> tuple[bool, tuple[str, ...]]:
    """Whether all operations of a document are queries, and its root fields; raises `RequestAmbiguous`."""
    try:
        document = parse(text, no_location=True, max_tokens=MOST_TOKENS)
    except (GraphQLError, RecursionError):
        raise RequestAmbiguous("a GraphQL document that cannot be parsed") from None
    fragments: dict[str, FragmentDefinitionNode] = {}
    operations: list[OperationDefinitionNode] = []
    for definition in document.definitions:
        if isinstance(definition, OperationDefinitionNode):
            operations.append(definition)
        elif isinstance(definition, FragmentDefinitionNode):
            if definition.name.value in fragments:
                raise RequestAmbiguous("a GraphQL document with two fragments of one name")
            fragments[definition.name.value] = definition
        else:
            raise RequestAmbiguous("a GraphQL document with more than operations and fragments")
    if not operations:
        raise RequestAmbiguous("a GraphQL document without an operation")
    writes = [found for found in operations if found.operation is not OperationType.QUERY]
    names: dict[str, None] = {}
    for operation in writes or operations:
        names |= dict.fromkeys(_root_fields(operation.selection_set, fragments))
    return not writes, tuple(names)


def _root_fields(selections: SelectionSetNode, fragments: dict[str, FragmentDefinitionNode]) -> list[str]:
    """The fields at an operation's root, through aliases, inline fragments and spreads; each fragment is read once."""
    names: list[str] = []
    left = [selections]
    read: set[str] = set()
    while left:
        for selection in left.pop().selections:
            match selection:
                case FieldNode():
                    names.append(selection.name.value)
                case InlineFragmentNode():
                    left.append(selection.selection_set)
                case FragmentSpreadNode():
                    name = selection.name.value
                    if name not in fragments:
                        raise RequestAmbiguous("a GraphQL fragment that is missing")
                    if name not in read:
                        read.add(name)
                        left.append(fragments[name].selection_set)
    return names
