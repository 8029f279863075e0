"""slack-sdk and the kubernetes client build a request of every method, and the catalog names it."""

from __future__ import annotations

import functools
import inspect
import re
from typing import Any

import pytest
from kubernetes import client as kubernetes
from slack_sdk import WebClient

from douane.core.catalog.kubernetes import read_path
from douane.core.request import canonicalise
from douane.core.tool import Tier
from support.built import Built, Tally, raw_request
from support.requests import shipped_catalog


class SlackSink(WebClient):
    def _urllib_api_call(self, **request: Any) -> Any:
        raise Built(raw_request("POST", request["url"], request["additional_headers"] or {}, b""))


def slack_arguments(method: Any) -> dict[str, Any]:
    found: dict[str, Any] = {}
    for name, parameter in inspect.signature(method).parameters.items():
        if parameter.default is inspect.Parameter.empty and parameter.kind is inspect.Parameter.KEYWORD_ONLY:
            found[name] = ["x1"] if "Sequence" in str(parameter.annotation) else "x1"
    return found


def test_every_method_of_slack() -> None:
    client, tally = SlackSink("xoxb-1"), Tally()
    for name, method in inspect.getmembers(WebClient, inspect.isfunction):
        if name.startswith("_") or "_" not in name or name in ("api_call", "files_upload_v2"):
            continue
        source = inspect.getsource(method)
        called = re.findall(r'"([a-z]+(?:\.[A-Za-z]+)+)"', source.rpartition("api_call(")[2])[:1]
        if not called:
            continue
        try:
            getattr(client, name)(**slack_arguments(method))
        except Built as built:
            tally.add(f"slack.{called[0]}", built.args[0])
        except Exception as error:
            tally.not_built.append(f"{name}: {error}")
    assert tally.requests > 250, tally.not_built
    assert (tally.wrong, tally.lower) == ([], [])


class KubernetesSink:
    """The client's transport, which catches what would be sent."""

    pool_manager = None

    def request(self, method: str, url: str, **request: Any) -> Any:
        raise Built(raw_request(method, url, request.get("headers") or {}, b""))

    def __getattr__(self, name: str) -> Any:
        return lambda url, **request: self.request(name, url, **request)


APIS = [
    (name, api)
    for name, api in inspect.getmembers(kubernetes, inspect.isclass)
    if name.endswith("Api") and name not in ("ApiClient", "CustomObjectsApi", "WellKnownApi", "LogsApi", "OpenidApi")
]


@pytest.mark.parametrize(("name", "api"), APIS, ids=[name for name, _ in APIS])
def test_every_operation_of_kubernetes(name: str, api: type[Any]) -> None:
    configuration = kubernetes.Configuration()
    configuration.host = "https://kubernetes.default.svc"
    transport = kubernetes.ApiClient(configuration)
    transport.rest_client = KubernetesSink()
    client = api(transport)
    operations = 0
    for operation, method in inspect.getmembers(client, inspect.ismethod):
        if operation.endswith(("_with_http_info", "_without_preload_content")) or operation.startswith("_"):
            continue
        required = [
            parameter
            for parameter in inspect.signature(method).parameters.values()
            if parameter.default is parameter.empty and parameter.kind is not parameter.VAR_KEYWORD
        ]
        try:
            plain = getattr(getattr(api, operation), "raw_function", None)  # without validation of the dummies
            (functools.partial(plain, client) if plain else method)(
                **{parameter.name: {} if parameter.name == "body" else "x1" for parameter in required}
            )
        except Built as built:
            request = canonicalise(built.args[0])
        else:
            continue  # a generator over pages
        found = shipped_catalog().classify(request)
        operations += 1
        expected = read_path(request.method, request.segments)
        if request.method in ("HEAD", "OPTIONS"):
            continue
        if expected is None:
            assert found.tier is Tier.REVERSIBLE, (operation, found.tool)
            continue
        assert found.tool == expected.tool, operation
        verb = operation.partition("_")[0]
        if verb == "delete":
            assert found.tier is Tier.IRREVERSIBLE, operation
        if verb in ("replace", "patch", "create"):
            assert found.tier is not Tier.REVERSIBLE or "_review" in operation, operation
        if verb in ("list", "read") and "secret" not in operation:
            assert found.tier is Tier.REVERSIBLE, operation
    assert operations or name.endswith("VersionApi")
