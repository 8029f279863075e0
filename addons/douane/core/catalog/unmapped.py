"""Requests that no operation of the catalog covers: on a known provider's host, and on hosts that nobody described."""

from __future__ import annotations

import re
from dataclasses import replace
from typing import Any

from douane.core.catalog.git import PUSH_MEDIA_TYPE
from douane.core.hosts import is_realtime, looks_like_inference, provider_of
from douane.core.mask import mask_target, printable
from douane.core.refusal import RequestAmbiguous
from douane.core.request import METHODS, SAFE_METHODS, CanonicalRequest, asks_for_websocket
from douane.core.request.canonical import FORM, override_in
from douane.core.tool import Classification, Nature, Tier

_NATURES = {"DELETE": Nature.DELETE, "GET": Nature.READ, "HEAD": Nature.READ, "OPTIONS": Nature.META}
_MOST_PATH = 300
_MOST_MASKED = 1500
"""Bytes that are searched for secrets, which costs about a microsecond each in the worst case."""

_OVERRIDE = re.compile(
    rb"(?<![a-z0-9_-])(?:_method|_httpmethod|\$httpmethod|x-http-method|x-method-override)", re.IGNORECASE
)
"""A method override in a body that is not taken apart: whatever it says, it is the worst of them."""
_AFTER_SEMICOLON = re.compile(rb";\s*_method=", re.IGNORECASE)
"""Older servers part a query's and a form's fields by semicolons too."""

_CALLS_BY_GET = {"slack": "api", "telegram": "bot", "mandrill": "api", "nexmo": ""}
"""Providers whose paths name what to do, and do it for a GET as well: what the first segment begins with there."""

_MODEL_PATH = re.compile(
    r"/(responses|messages|embeddings?|chat|completions|rerank|generate|embed|ocr|predictions)$"
    r"|/text-to-speech/[^/]+(/stream)?$"
)
"""Where providers of models answer prompts."""


def worse_method(*methods: str) -> str:
    """The method with the most to lose: nobody knows which of the two the provider takes."""
    return max(methods, key=lambda method: (method not in SAFE_METHODS) + (method == "DELETE"))


def unmatched(request: CanonicalRequest, provider: str) -> Classification:
    """An operation that the catalog does not know, of a provider that it knows."""
    if provider_of(request.host) is not None:
        return _model_host(request, provider)
    return _unknown(request, provider, serves_models=False)


def _unknown(request: CanonicalRequest, provider: str, *, serves_models: bool) -> Classification:
    method = worse_method(request.method, request.other_method or request.method)
    safe = method in SAFE_METHODS and not _acts_by_get(request, provider)
    return Classification(
        tool=f"{provider}.unmatched.{method.lower()}",
        tier=Tier.REVERSIBLE if safe else Tier.IRREVERSIBLE,
        nature=_NATURES.get(method, Nature.WRITE),
        provider=provider,
        mapped=True,
        billable=serves_models and not safe,
        arguments=_arguments(request),
        summary="" if safe else f"An operation of {provider} that the catalog does not know: {_shown(request, method)}",
        evidence="unknown operation of a known provider",
    )


def _acts_by_get(request: CanonicalRequest, provider: str) -> bool:
    """Whether a read by its method may be any operation: one of AWS by its `Action`, or one that its path names."""
    if provider == "aws":
        return any(name.lower() == "action" for name, _ in request.query)
    start = _CALLS_BY_GET.get(provider)
    return start is not None and bool(request.segments) and request.segments[0].lower().startswith(start)


def unmapped(request: CanonicalRequest) -> Classification:
    """A request to a host without a shard: models of the price book's providers, or anything at all."""
    provider = provider_of(request.host)
    if provider is not None:
        return _model_host(request, provider)
    method, body = _method_and_json(request)
    safe = method in SAFE_METHODS
    tool, nature = f"unmapped.{method.lower()}", _NATURES.get(method, Nature.WRITE)
    tier = Tier.REVERSIBLE if safe else Tier.IRREVERSIBLE if method == "DELETE" else Tier.VISIBLE
    evidence = "unknown host"
    if not safe and (request.media_type == PUSH_MEDIA_TYPE or request.segments[-1:] == ("git-receive-pack",)):
        tool, nature, tier, evidence = "git.push", Nature.DEPLOY, Tier.IRREVERSIBLE, "a git push to an unknown host"
    return Classification(
        tool=tool,
        tier=tier,
        nature=nature,
        provider=None,
        mapped=False,
        billable=not safe and looks_like_inference("/" + "/".join(request.segments), body),
        arguments=_arguments(request),
        summary="" if safe else _shown(request, method),
        evidence=evidence,
    )


def _model_host(request: CanonicalRequest, provider: str) -> Classification:
    found = _unknown(request, provider, serves_models=True)
    if asks_for_websocket(request.raw) and is_realtime(request.host, "/" + "/".join(request.segments)):
        return replace(
            found,
            tool=f"{provider}.realtime.connect",
            tier=Tier.VISIBLE,
            nature=Nature.EXEC,
            billable=True,
            summary=_shown(request, "GET"),
            evidence="inference by its path: the meter guards it",
        )
    if found.tier is Tier.REVERSIBLE or request.method != "POST" or request.other_method is not None:
        return found
    path = "/" + "/".join(request.segments)
    if not (_MODEL_PATH.search(path) or looks_like_inference(path, None)):  # whatever the body says: it is the agent's
        return found
    return Classification(
        tool=found.tool,
        tier=Tier.VISIBLE,
        nature=Nature.EXEC,
        provider=provider,
        mapped=True,
        billable=True,
        arguments=found.arguments,
        summary=_shown(request, "POST"),
        evidence="inference by its path: the meter guards it",
    )


def _method_and_json(request: CanonicalRequest) -> tuple[str, Any]:
    """The worse of the methods that a request asks for, an override inside its body included, and its JSON."""
    method = worse_method(request.method, request.other_method or request.method)
    if method in SAFE_METHODS:
        return method, None
    if _AFTER_SEMICOLON.search(request.raw.target):
        method = "DELETE"
    if not request.body:
        return method, None
    body, is_read = None, request.media_type == FORM and not _AFTER_SEMICOLON.search(request.body)
    try:
        body = request.json()
    except RequestAmbiguous:
        body = _unreadable(request.body)
    else:
        is_read = is_read or body is not None
        if isinstance(body, dict) and (name := override_in(body)) is not None:
            other = str(body[name]).strip().upper()
            method = worse_method(method, other if other in METHODS else "DELETE")
    if not is_read and _OVERRIDE.search(request.body.replace(b"\0", b"")):
        method = "DELETE"
    return method, body


def _unreadable(body: bytes) -> Any:
    """A stand-in for JSON that two parsers would read differently, or that is not in UTF-8: what it could be about."""
    text = body.replace(b"\0", b"")
    return {name: "" for name in ("model", "messages", "input", "prompt", "contents") if f'"{name}"'.encode() in text}


def shown_target(request: CanonicalRequest) -> str:
    """The beginnings of path and query without secrets: far more than is shown, so that no secret is cut in two."""
    path, mark, query = request.raw.target.partition(b"?")
    return mask_target(path[:_MOST_MASKED] + mark + query[:_MOST_MASKED])


def _arguments(request: CanonicalRequest) -> dict[str, Any]:
    """The path and query; what a body's members mean nobody described, and so no condition can trust them."""
    path, _, query = shown_target(request).partition("?")
    found: dict[str, Any] = {"path": path[:_MOST_PATH]}
    if query:
        found["query"] = query[:_MOST_PATH]
    if request.body:
        found["body_bytes"] = len(request.body)
    return found


def _shown(request: CanonicalRequest, method: str) -> str:
    path = shown_target(request).partition("?")[0]
    return printable(f"{method} {request.host}{path[:_MOST_PATH]}")
