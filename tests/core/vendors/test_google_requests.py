"""googleapiclient builds a request of every method of every API, and the catalog names it."""

from __future__ import annotations

import re
import warnings
from pathlib import Path
from typing import Any

import googleapiclient
import orjson
import pytest
from googleapiclient.discovery import build_from_document

from support.built import Tally, raw_request

DOCUMENTS = sorted((Path(googleapiclient.__file__).parent / "discovery_cache" / "documents").glob("*.json"))
UNNAMED = "google.recaptchaenterprise.projects.keys.retrieveLegacySecretKey"
"""Its path parameter `key` is taken for the API key, so that the client's request names no key at all."""


class NoWire:
    """Where a transport belongs, which is never asked."""

    def request(self, *_: Any, **__: Any) -> None:
        raise AssertionError

    def close(self) -> None:
        pass


def dummy(pattern: str) -> str:
    """Something that a pattern of a path parameter accepts."""
    text = pattern.removeprefix("^").removesuffix("$")
    text = re.sub(r"\[\^/\][+*]|\.[+*]|\([^)]*\)|\[[^\]]*\][+*]?|\\d\+", "x1", text)
    return text.replace("\\", "")


def value(parameter: dict[str, Any]) -> Any:
    if parameter["location"] == "path" or parameter.get("pattern"):
        text = dummy(parameter["pattern"]) if parameter.get("pattern") else "x1"
        if parameter.get("enum"):
            text = parameter["enum"][0]
        return 1 if parameter["type"] == "integer" else text
    if parameter.get("enum"):
        return parameter["enum"][0]
    return {"integer": 1, "boolean": False, "number": 1.0}.get(parameter["type"], "x1")


def add(service: Any, node: dict[str, Any], tally: Tally) -> None:
    for name, method in node.get("methods", {}).items():
        parameters = method.get("parameters", {})
        arguments = {
            re.sub(r"[^A-Za-z0-9_]", "_", key): value(described)
            for key, described in parameters.items()
            if described.get("required")
        }
        if "request" in method:
            arguments["body"] = {}
        try:
            call = getattr(service, name if name not in ("import", "global") else f"{name}_")
            built = call(**arguments)
        except Exception as error:
            tally.not_built.append(f"google.{method['id']}: {type(error).__name__}: {str(error)[:100]}")
            continue
        body = built.body if built.body is not None else ""
        tally.add(f"google.{method['id']}", raw_request(built.method, built.uri, built.headers, body))
    for name, child in node.get("resources", {}).items():
        accessor = re.sub(r"[^A-Za-z0-9_]", "_", name)
        accessor = f"{accessor}_" if accessor in ("import", "global", "in", "from") else accessor
        add(getattr(service, accessor)(), child, tally)


@pytest.mark.timeout(900)
def test_every_method_of_every_api() -> None:
    tally = Tally()
    for path in DOCUMENTS:
        if path.name == "index.json":
            continue
        document = orjson.loads(path.read_bytes())
        with warnings.catch_warnings():
            warnings.simplefilter("ignore")
            service = build_from_document(document, http=NoWire())
        add(service, document, tally)
    assert [told for told in tally.lower if not told.startswith(f"{UNNAMED}:")] == []
    assert tally.requests > 25_000
    assert len(tally.wrong) < tally.requests * 0.005, tally.wrong[:50]
