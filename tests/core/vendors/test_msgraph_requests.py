"""Microsoft Graph's request builders build every request they can, and the catalog names the same operation."""

from __future__ import annotations

import importlib
import inspect
import re
from collections.abc import Callable, Iterable, Iterator
from pathlib import Path
from typing import Any

import msgraph
import pytest
from kiota_abstractions.base_request_builder import BaseRequestBuilder
from kiota_abstractions.method import Method
from kiota_abstractions.request_information import RequestInformation

from douane.core.request import canonicalise
from douane.core.tool import Tier
from support.built import raw_request
from support.requests import shipped_catalog

FOLDER = Path(next(iter(msgraph.__path__)))
BUILDERS = [
    ".".join(("msgraph", *path.relative_to(FOLDER).with_suffix("").parts))
    for path in sorted((FOLDER / "generated").rglob("*_request_builder.py"))
]


class Adapter:
    """What builders ask for before anything is sent."""

    base_url = "https://graph.microsoft.com/v1.0"

    def __getattr__(self, name: str) -> Any:
        raise AssertionError(name)


def parameters_of(builder: type[Any]) -> dict[str, str]:
    source = inspect.getsource(builder.__init__)
    names = re.findall(r"\{\+?([^{}?]+)\}", source.partition("baseurl}")[2].partition("{?")[0])
    return dict.fromkeys(names, "x1") | {"baseurl": Adapter.base_url}


def requests_of(module: str) -> list[tuple[str, str]]:
    """Method and address of what a builder can send."""
    found = []
    for _, builder in inspect.getmembers(importlib.import_module(module), inspect.isclass):
        if builder.__module__ != module or not issubclass(builder, BaseRequestBuilder):
            continue
        parameters = parameters_of(builder)
        made = builder(Adapter(), dict(parameters))
        made.path_parameters.update(parameters)
        for name in dir(builder):
            if match := re.fullmatch(r"to_(get|post|put|patch|delete)_request_information", name):
                information = RequestInformation(Method[match[1].upper()], made.url_template, made.path_parameters)
                found.append((match[1].upper(), information.url))
    return found


TEMPLATE = re.compile(r'super\(\).__init__\(request_adapter, "\{\+baseurl\}([^"]*)"')
ODD = re.compile(r"/(getAllRecordings|getAllTranscripts|doesUserHaveAccess)\(|/cell\(.*\)/(row|column)\(")
"""A dozen functions whose folders the package names in a way of their own."""
VERBS = {"PATCH": "update", "PUT": "replace", "DELETE": "delete"}


def name_of(module: str, method: str, source: str) -> str:
    """A tool's name as the package's folders and a builder's methods give it."""
    words = [folder.removesuffix("_escaped") for folder in module.split(".")[2:-1] if folder != "item"]
    words = [re.sub("^microsoft_graph_", "", word) for word in words]
    methods = set(re.findall(r"def to_([a-z]+)_request_information", source))
    is_collection = "def by_" in source
    is_function = module.split(".")[-2].startswith("microsoft_graph_")
    if not (is_function or (methods == {"post"} and not is_collection)):
        verb = ("list" if method == "GET" else "create") if is_collection else method.lower()
        words.append(VERBS.get(method, verb))
    return letters("msgraph." + ".".join(words))


def letters(name: str) -> str:
    """The letters of a name, without the words that stand before a function's parameters (`x_with_id`, `xById`)."""
    return re.sub("by|with", "", re.sub("[^a-z0-9]", "", name.lower()))


def wrong_names(requests: Iterable[tuple[str, str, str]]) -> tuple[int, list[tuple[str, str, str]]]:
    """How many requests (method, address, name) there were, and those that the catalog names otherwise."""
    wrong, count = [], 0
    for method, url, name in requests:
        found = shipped_catalog().classify(canonicalise(raw_request(method, url, {}, b"")))
        count += 1
        if not ODD.search(url) and name not in (
            letters(tool) for tool in (found.tool, *found.operations)
        ):  # several: it could be any of them
            wrong.append((method, url, found.tool + " is not " + name))
        assert method != "DELETE" or found.tier is Tier.IRREVERSIBLE, url
        assert method == "GET" or found.tier is not Tier.REVERSIBLE, url
    return count, wrong


def written() -> Iterator[tuple[str, str, str]]:
    """Every request that the builders' sources describe, without importing them, which takes a minute and a half."""
    for module in BUILDERS:
        source = (FOLDER.parent / module.replace(".", "/")).with_suffix(".py").read_text()
        if (template := TEMPLATE.search(source)) is None:
            continue
        path = re.sub(r"\{[^}]*\}", "x1", re.split(r"\{?\?", template[1])[0])
        for method in re.findall(r"RequestInformation\(Method\.([A-Z]+)", source):
            yield method, Adapter.base_url + path, name_of(module, method, source)


def built() -> Iterator[tuple[str, str, str]]:
    """The requests of some builders, built by them."""
    for module in BUILDERS[::24]:
        source = (FOLDER.parent / module.replace(".", "/")).with_suffix(".py").read_text()
        for method, url in requests_of(module):
            yield method, url, name_of(module, method, source)


@pytest.mark.parametrize(("requests", "least"), [(written, 16_000), (built, 600)])
@pytest.mark.timeout(600)
def test_requests_of_the_builders(requests: Callable[[], Iterator[tuple[str, str, str]]], least: int) -> None:
    count, wrong = wrong_names(requests())
    assert count > least
    assert wrong == [], (len(wrong), wrong[:40])
