"""Python SDKs that generators make: paths and methods as their sources spell them."""

from __future__ import annotations

import re
from collections.abc import Iterator

from catalog_sources.described import Described, template_of, tool_name
from catalog_sources.packages import Files
from catalog_sources.tiers import guess

_PARAM = r"""['"](/[^'"\s]*)['"]"""
_SHAPES = {
    # openapi-generator: def _x_serialize( … method='GET', resource_path='/…'
    "generator": re.compile(
        rf"def _?(\w+?)(?:_serialize|_with_http_info)?\(.*?method=['\"]([A-Z]+)['\"],\s*resource_path={_PARAM}", re.S
    ),
    # Datadog: settings={ … "endpoint_path": "/…", "operation_id": "x", "http_method": "GET"
    "endpoint": re.compile(
        rf"['\"]endpoint_path['\"]: {_PARAM},\s*['\"]operation_id['\"]: ['\"](\w+)['\"],\s*['\"]http_method['\"]: ['\"]([A-Z]+)['\"]"
    ),
    # swagger-codegen: def x_with_http_info( … call_api("/…", "GET",
    "swagger": re.compile(rf"def (\w+?)_with_http_info\(.*?call_api\(\s*{_PARAM},\s*['\"]([A-Z]+)['\"]", re.S),
    # autorest: def build_x_request( … _url = "/…" … method="GET"
    "autorest": re.compile(rf"def build_(\w+)_request\(.*?_url = {_PARAM}.*?method=['\"]([A-Z]+)['\"]", re.S),
    # Speakeasy: def x( … method="GET", path="/…"
    "speakeasy": re.compile(rf"def (\w+)\(.*?_build_request\(\s*method=['\"]([A-Z]+)['\"],\s*path={_PARAM}", re.S),
}


def read(files: Files, shape: str, folder: str, provider: str, root: str) -> list[Described]:
    """Operations named by module and function."""
    found: dict[tuple[str, str], Described] = {}
    for name in files.names(folder, ".py"):
        if "/models/" in name or "/test" in name:
            continue
        group = re.sub(r"(_api|_operations)$", "", name.rpartition("/")[2].removesuffix(".py").strip("_"))
        for function, method, path in _operations(shape, files.text(name)):
            words = [provider, group, function] if shape != "autorest" else [provider, function]
            tool = tool_name(".".join(words))
            template = template_of((root + path).partition("#")[0].partition("?")[0])
            if template is None:  # a mistake of the generator
                continue
            found.setdefault((method, template), Described(tool, method, template, members=guess(tool, method)))
    return list(found.values())


def _operations(shape: str, text: str) -> Iterator[tuple[str, str, str]]:
    """Function, method and path of each; a match never runs over the next function."""
    pattern = _SHAPES[shape]
    pieces = [text] if shape == "endpoint" else re.split(r"(?m)^(?=    (?:async )?def |def )", text)
    for piece in pieces:
        for match in pattern.finditer(piece):
            if shape == "endpoint":
                yield match[2], match[3], match[1]
            elif shape in ("swagger", "autorest"):
                yield match[1], match[3], match[2]
            else:
                yield match[1], match[2], match[3]
