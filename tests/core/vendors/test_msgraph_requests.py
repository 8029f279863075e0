"""Microsoft Graph's request builders build every request they can, and the catalog names the same operation."""

from __future__ import annotations

import importlib
import inspect
import re
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


@pytest.mark.timeout(900)
def test_requests_of_the_builders() -> None:
    wrong, count = [], 0
    for module in BUILDERS[::4]:  # importing all of them takes a minute and a half
        for method, url in requests_of(module):
            found = shipped_catalog().classify(canonicalise(raw_request(method, url, {}, b"")))
            count += 1
            key = method, url
            if found.tool.startswith("msgraph.unmatched"):
                wrong.append(key)
            assert method != "DELETE" or found.tier is Tier.IRREVERSIBLE, key
            assert method == "GET" or found.tier is not Tier.REVERSIBLE, key
    assert count > 4_000
    assert len(wrong) < count * 0.005, wrong[:50]
