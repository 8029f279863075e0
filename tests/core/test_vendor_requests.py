"""The vendors' own clients build their requests, nothing is sent, and the catalog names each as its vendor does."""

from __future__ import annotations

import functools
import inspect
import warnings
from collections.abc import Callable, Iterator
from typing import Any
from urllib.parse import urlsplit

import anthropic
import github
import openai
import pytest
import stripe
from github.Requester import Requester

from douane.core.refusal import RequestAmbiguous
from douane.core.request import RawRequest, canonicalise
from douane.core.tool import Tier
from support.requests import shipped_catalog


class Built(BaseException):
    """A client has built its request and is about to send it."""


def tool_of(request: RawRequest) -> str:
    try:
        return shipped_catalog().classify(canonicalise(request)).tool
    except RequestAmbiguous as trap:
        return f"refused: {trap}"


def raw_request(method: str, url: str, headers: dict[str, Any], body: bytes | str | None) -> RawRequest:
    parts = urlsplit(url)
    target = parts.path + (f"?{parts.query}" if parts.query else "")
    fields = tuple((name.encode(), str(value).encode()) for name, value in headers.items())
    content = body if isinstance(body, bytes) else (body or "").encode()
    assert parts.hostname is not None
    return RawRequest(parts.scheme, parts.hostname, 443, method.upper(), target.encode(), fields, content)


def arguments_for(function: Callable[..., Any]) -> tuple[list[Any], dict[str, Any]]:
    """Something for every required argument, of about the right kind."""
    positional: list[Any] = []
    named: dict[str, Any] = {}
    for parameter in inspect.signature(function).parameters.values():
        if parameter.default is not parameter.empty or parameter.kind in (
            parameter.VAR_KEYWORD,
            parameter.VAR_POSITIONAL,
        ):
            continue
        kind, value = str(parameter.annotation), "id_1"  # type: str, Any
        if "FileTypes" in kind or parameter.name in ("file", "image", "data"):
            value = b"abc"
        elif parameter.name == "model":
            value = "m"
        elif parameter.name == "messages":
            value = [{"role": "user", "content": "hi"}]
        elif any(word in kind for word in ("Iterable", "List", "Sequence")):
            value = ["x"]
        elif "Param" in kind or "Dict" in kind:
            value = {"a": "b"}
        if parameter.kind is parameter.KEYWORD_ONLY:
            named[parameter.name] = value
        else:
            positional.append(value)
    return positional, named


# Stripe


class StripeSink(stripe.HTTPClient):
    name = "sink"

    def request_with_retries(
        self, method: str, url: str, headers: Any, post_data: Any = None, *_: Any, **__: Any
    ) -> Any:
        raise Built(raw_request(method, url, headers, post_data))

    request_stream_with_retries = request_with_retries


def stripe_methods(service: Any, path: tuple[str, ...]) -> Iterator[tuple[str, Callable[..., Any]]]:
    module = inspect.getmodule(type(service))
    for name in getattr(module, "_subservices", {}):
        yield from stripe_methods(getattr(service, name), (*path, name))
    for name, _ in inspect.getmembers(type(service), inspect.isfunction):
        if not name.startswith("_") and not name.endswith("_async"):
            yield ".".join((*path, name)), getattr(service, name)


STRIPE_OTHERWISE = {
    "stripe.invoices.create_preview": "stripe.invoices.update",  # the worst of two templates
    "stripe.sources.detach": "stripe.customers.payment_sources.delete",  # one route under two names
}


def test_stripe() -> None:
    client = stripe.StripeClient("sk_test_x", http_client=StripeSink())
    named = 0
    for services in (client.v1, client.v2):
        for name, method in stripe_methods(services, ("stripe",)):
            positional, _ = arguments_for(method)
            if "params" in inspect.signature(method).parameters:
                positional = [value for value in positional if value != {"a": "b"}]
                params = (
                    {"purpose": "p", "file": b"x"}
                    if name == "stripe.files.create"
                    else {"amount": 5, "currency": "usd"}
                )
                call = functools.partial(method, *positional[: _identifiers(method)], params=params)
            else:
                call = functools.partial(method, *positional)
            with pytest.raises(Built) as built:
                call()
            assert tool_of(built.value.args[0]) == STRIPE_OTHERWISE.get(name, name)
            named += 1
    assert named > 600


def _identifiers(method: Callable[..., Any]) -> int:
    """How many of a method's arguments stand in its path."""
    return list(inspect.signature(method).parameters).index("params")


# OpenAI and Anthropic

HELPERS = (
    "_stream",
    "_poll",
    ".stream",
    ".parse",
    ".poll",
    ".upload",
    "_and_wait",
    ".tool_runner",
    ".wait_for_processing",
)
OTHERWISE = {
    "openai.files.retrieve_content": "openai.files.content",
    "openai.fine_tuning.checkpoints.permissions.retrieve": "openai.fine_tuning.checkpoints.permissions.list",
    "anthropic.messages.batches.results": "anthropic.messages.batches.retrieve",  # asks for the address first
}


def stainless_methods(resource: Any, path: tuple[str, ...]) -> Iterator[tuple[str, Callable[..., Any]]]:
    for name in dir(type(resource)):
        member = inspect.getattr_static(type(resource), name)
        if name.startswith(("_", "with_")):
            continue
        if inspect.isfunction(member):
            if len(path) > 1:
                yield ".".join((*path, name)), getattr(resource, name)
        elif type(member).__name__ in ("cached_property", "property"):
            child = getattr(resource, name, None)
            if "resources" in type(child).__module__:
                yield from stainless_methods(child, (*path, name))


def first_request(call: Callable[[], Any]) -> RawRequest | None:
    """What a call would send first, or None where dummies are not enough to build it."""
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        try:
            with call():  # what streams sends on entering
                return None
        except Built as built:
            request = built.args[0]
            assert isinstance(request, RawRequest)
            return request
        except Exception:
            return None


@pytest.mark.parametrize(("library", "at_least"), [(openai, 350), (anthropic, 330)], ids=["openai", "anthropic"])
def test_stainless(library: Any, at_least: int) -> None:
    http = library._base_client.httpx2 if hasattr(library._base_client, "httpx2") else library._base_client.httpx

    class Sink(http.BaseTransport):  # type: ignore[misc, name-defined]
        def handle_request(self, request: Any) -> Any:
            request.read()
            raise Built(raw_request(request.method, str(request.url), dict(request.headers), request.content))

    client_class = library.OpenAI if library is openai else library.Anthropic
    keys = {name: "sk-x" for name in ("api_key", "admin_api_key") if name in inspect.signature(client_class).parameters}
    client = client_class(http_client=http.Client(transport=Sink()), max_retries=0, **keys)
    named = 0
    for name, method in stainless_methods(client, (library.__name__,)):
        positional, keywords = arguments_for(method)
        request = first_request(functools.partial(method, *positional, **keywords))
        if request is None:
            continue
        found = tool_of(request)
        plain = name.replace(".beta.", ".") if found == name.replace(".beta.", ".") else name
        if found != OTHERWISE.get(name.replace(".beta.", "."), plain):
            assert name.endswith(HELPERS), (name, found)
            assert ".unmatched." not in found
            assert not found.startswith("refused"), (name, found)
        named += 1
    assert named >= at_least
    client.close()


# PyGithub


class GitHubSink:
    def __init__(self, host: str, *_: Any, **__: Any) -> None:
        self.host = host

    def request(self, verb: str, url: str, body: Any, headers: dict[str, Any], *_: Any, **__: Any) -> None:
        raise Built(raw_request(verb, f"https://{self.host}{url}", headers, body))


R, V, X = Tier.REVERSIBLE, Tier.VISIBLE, Tier.IRREVERSIBLE
PYGITHUB: list[tuple[str, Callable[[Any, Any], Any], str, Tier]] = [
    ("delete", lambda g, r: r.delete(), "github.repos.delete", X),
    ("make public", lambda g, r: r.edit(private=False), "github.repos.update", X),
    ("describe", lambda g, r: r.edit(description="x"), "github.repos.update", V),
    ("issue", lambda g, r: r.create_issue("t", "b"), "github.issues.create", V),
    ("branch", lambda g, r: r.get_branch("feature/x"), "github.repos.get-branch", R),
    ("contents", lambda g, r: r.get_contents("src/a b.py"), "github.repos.get-content", R),
    ("file", lambda g, r: r.create_file("src/a.py", "m", "c"), "github.repos.create-or-update-file-contents", V),
    ("delete file", lambda g, r: r.delete_file("a.py", "m", "1"), "github.repos.delete-file", X),
    ("ref", lambda g, r: r.create_git_ref("refs/heads/x", "0" * 40), "github.git.create-ref", V),
    ("merge", lambda g, r: r.merge("main", "x"), "github.repos.merge", X),
    ("dispatch", lambda g, r: r.create_repository_dispatch("e", {}), "github.repos.create-dispatch-event", X),
    ("release", lambda g, r: r.create_git_release("v1", "n", "m"), "github.repos.create-release", X),
    ("collaborator", lambda g, r: r.add_to_collaborators("bob"), "github.repos.add-collaborator", X),
    ("hook", lambda g, r: r.create_hook("web", {"url": "https://x"}), "github.repos.create-webhook", X),
    ("label", lambda g, r: r.create_label("bug/x", "ffffff"), "github.issues.create-label", V),
    ("star", lambda g, r: g.get_user().add_to_starred(r), "github.activity.star-repo-for-authenticated-user", R),
    (
        "unstar",
        lambda g, r: g.get_user().remove_from_starred(r),
        "github.activity.unstar-repo-for-authenticated-user",
        R,
    ),
    ("me", lambda g, r: g.get_user().login, "github.users.get-authenticated", R),
    ("search", lambda g, r: g.search_repositories("a language:python")[0], "github.search.repos", R),
    ("render", lambda g, r: g.render_markdown("x"), "github.markdown.render", R),
    ("query", lambda g, r: g.requester.graphql_query("query { viewer { login } }", {}), "github.graphql.query", R),
    (
        "mutation",
        lambda g, r: g.requester.graphql_named_mutation("deleteIssue", {"issueId": "x"}, "clientMutationId"),
        "github.graphql.deleteIssue",
        X,
    ),
]


@pytest.fixture
def pygithub() -> Iterator[tuple[Any, Any]]:
    Requester.injectConnectionClasses(GitHubSink, GitHubSink)  # type: ignore[arg-type]
    client = github.Github(
        auth=github.Auth.Token("t"), lazy=True, seconds_between_requests=None, seconds_between_writes=None
    )
    yield client, client.get_repo("acme/site")
    Requester.resetConnectionClasses()


@pytest.mark.parametrize(("call", "tool", "tier"), [row[1:] for row in PYGITHUB], ids=[row[0] for row in PYGITHUB])
def test_pygithub(pygithub: tuple[Any, Any], call: Callable[[Any, Any], Any], tool: str, tier: Tier) -> None:
    with pytest.raises(Built) as built:
        call(*pygithub)
    found = shipped_catalog().classify(canonicalise(built.value.args[0]))
    assert (found.tool, found.tier) == (tool, tier)
