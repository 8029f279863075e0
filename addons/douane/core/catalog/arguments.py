"""Arguments of a call under the vendor's names, refusing what the provider could read in two ways."""

from __future__ import annotations

import re
from collections.abc import Mapping
from typing import Any

from douane.core.catalog.operation import Operation, Reads
from douane.core.refusal import RequestAmbiguous
from douane.core.request import SAFE_METHODS, CanonicalRequest
from douane.core.request.canonical import FORM, MULTIPART, override_in
from douane.core.request.fields import Pairs, boundary_of, read_json

_FORM_NAME = re.compile(r"[A-Za-z0-9_.:-]+(?:\[[^\[\]]*\])*")
"""Rack reads `]amount`, ` amount` and `[amount]` as `amount`; names out of the ordinary are refused instead."""
_SEMICOLON_FIELD = re.compile(r";[^&;=]*=")
_TRUTHS = {"true": True, "false": False}
_MOST_DIGITS = 15

_TEXTS = frozenset({"messages", "system", "tools", "input", "prompt", "contents", "instructions", "functions", "user"})
_MOST_SCALAR = 100
"""Of a text beside an inference call's prompt: a model's name or a mode, not another prompt."""


def read_arguments(
    request: CanonicalRequest, operation: Operation, reads: Reads, parameters: Mapping[str, str]
) -> dict[str, Any]:
    """Path, query and body members; a path parameter wins over a body member of its name. Raises `RequestAmbiguous`."""
    if request.query_trap is not None:
        raise RequestAmbiguous(request.query_trap)
    found: dict[str, Any]
    if request.method in SAFE_METHODS:
        found = _lists(request.query)
    else:
        found = _unsafe(request, operation, operation.reads or reads)
    found.update(parameters)
    return found


def _lists(pairs: Pairs) -> dict[str, Any]:
    """Pairs of a query; what stands several times is a list, in which no condition finds the one value it wants."""
    found: dict[str, Any] = dict(pairs)
    if len(found) != len(pairs):
        values: dict[str, list[str]] = {}
        for name, text in pairs:
            values.setdefault(name, []).append(text)
        found = {name: texts if len(texts) > 1 else texts[0] for name, texts in values.items()}
    return found


def _unsafe(request: CanonicalRequest, operation: Operation, reads: Reads) -> dict[str, Any]:
    found: dict[str, Any] = {}
    pairs = request.query
    if request.body:
        if reads == "form":
            pairs += _form(request)
        elif reads == "any" or (reads == "either" and _is_opaque(request, operation)):
            found = _metadata(request) if operation.raises else {}
            found["body_bytes"] = len(request.body)
        elif reads == "either" and request.media_type == FORM:
            pairs += _form(request)
        elif reads in ("multipart", "either") and request.media_type == MULTIPART:
            pairs += _multipart(request, found)
        else:
            found = _json(request, operation)
    if pairs:
        _add(found, pairs, strict=reads == "form", integers=operation.integers)
    for name in operation.required:
        if name not in found:
            raise RequestAmbiguous(f"a missing {name}")
    for name in operation.integers:
        value = found.get(name, 0)
        if not isinstance(value, int) or isinstance(value, bool):
            raise RequestAmbiguous(f"a {name} that is not a plain integer")
    return found


def _is_opaque(request: CanonicalRequest, operation: Operation) -> bool:
    """Whether a body is neither form, form-data nor JSON, where none of its members decides anything."""
    if request.media_type in (FORM, MULTIPART) or operation.raises or operation.required or operation.integers:
        return False
    return request.json() is None


def _metadata(request: CanonicalRequest) -> dict[str, Any]:
    """What an upload to Google says of its object: the first part of a multipart one, or how a resumable one starts."""
    if request.media_type == "multipart/related":
        delimiter = b"--" + boundary_of(request.content_type or "")
        _, blank, content = request.body.partition(delimiter)[2].replace(b"\r\n", b"\n").partition(b"\n\n")
        if not blank:
            raise RequestAmbiguous("an upload whose first part cannot be read")
        body = read_json(content.partition(b"\n" + delimiter)[0])
    else:
        body = None if ("uploadType", "media") in request.query else request.json()
    return dict(body) if isinstance(body, dict) else {}


def _form(request: CanonicalRequest) -> Pairs:
    if request.encoded:
        raise RequestAmbiguous("a compressed form, which no client of the provider sends")
    form = request.form()
    if form is None:
        raise RequestAmbiguous("a body that is not the url-encoded form which the provider reads")
    text = request.body.decode("utf-8")
    if ";" in text and _SEMICOLON_FIELD.search(text):
        raise RequestAmbiguous("fields of a form separated by semicolons")
    return form


def _multipart(request: CanonicalRequest, found: dict[str, Any]) -> Pairs:
    pairs = []
    for name, text in request.multipart() or ():
        if text is None:
            found[name] = "a file"
        else:
            pairs.append((name, text))
    if override_in(name.strip("[] ") for name, _ in pairs) is not None:
        raise RequestAmbiguous("a method override inside form-data")
    return tuple(pairs)


def _json(request: CanonicalRequest, operation: Operation) -> dict[str, Any]:
    if request.media_type == MULTIPART:
        raise RequestAmbiguous("form-data where the provider reads JSON")
    body = request.json()
    if body is None:
        raise RequestAmbiguous("a body that is not the JSON which the provider reads")
    if not isinstance(body, dict):
        return {"items": body}
    if override_in(body) is not None:
        raise RequestAmbiguous("a method override inside a JSON body")
    return _counted(body, len(request.body)) if operation.inference else dict(body)


def _add(found: dict[str, Any], pairs: Pairs, *, strict: bool, integers: tuple[str, ...]) -> None:
    """Add the pairs of query and form; a name stands once in all of these, or is a list's."""
    for name, text in pairs:
        if strict and not _FORM_NAME.fullmatch(name):
            raise RequestAmbiguous("a form field with an odd name")
        if name in found:
            if "[]" not in name:
                raise RequestAmbiguous("a parameter that stands twice")
            earlier = found[name]
            found[name] = [*earlier, text] if isinstance(earlier, list) else [earlier, text]
        elif name in integers:
            if not (text.isascii() and text.isdigit() and len(text) <= _MOST_DIGITS):
                raise RequestAmbiguous(f"a {name} that is not a plain integer")
            found[name] = int(text)
        elif name == "currency":
            found[name] = text.lower()
        else:
            found[name] = _TRUTHS.get(text, text)
    for name in integers:
        if any(other != name and other.partition("[")[0] == name for other in found):
            raise RequestAmbiguous(f"a split {name}")


def _counted(body: Mapping[str, Any], size: int) -> dict[str, Any]:
    """The members of an inference call, its texts as counts only."""
    found: dict[str, Any] = {}
    for name, value in body.items():
        if value is None or isinstance(value, bool | int | float):
            found[name] = value
        elif isinstance(value, str):
            plain = len(value) <= _MOST_SCALAR and name not in _TEXTS
            found[name] = value if plain else f"{len(value)} characters"
        elif isinstance(value, list):
            found[name] = f"{len(value)} items"
        else:
            found[name] = f"{len(value)} members"
    found["body_bytes"] = size
    return found


def values_at(request: CanonicalRequest, where: str, name: str) -> list[str]:
    """What stands at a place that tells operations apart; raises `RequestAmbiguous` where it stands twice."""
    values: list[str]
    match where:
        case "query":
            values = [text for key, text in request.query if key == name]
        case "form":
            pairs = request.query if request.method in SAFE_METHODS else (*request.query, *(request.form() or ()))
            values = _joined(pairs, name.split("&"))
        case "header":
            wanted = name.lower().encode()
            values = [value.decode("latin-1").strip() for key, value in request.raw.headers if key.lower() == wanted]
        case _:
            body = request.json()
            values = [str(body[name])] if isinstance(body, dict) and name in body else []
    if len(values) > 1:
        raise RequestAmbiguous("a discriminating parameter that stands twice")
    return values


def _joined(pairs: Pairs, names: list[str]) -> list[str]:
    """The values of a parameter, or of several that together tell operations apart, joined by `&`."""
    found = [[text for key, text in pairs if key == name] for name in names]
    if len(names) == 1 or not all(found):
        return found[0] if len(names) == 1 else []
    if any(len(values) > 1 for values in found):
        raise RequestAmbiguous("a discriminating parameter that stands twice")
    return ["&".join(values[0] for values in found)]


def values_of(request: CanonicalRequest, arguments: Mapping[str, Any], name: str) -> list[Any]:
    """The values of an argument, its form members `name[…]` included; of `x-…` as a header, or signed into a query; of
    `outer.inner` inside an object."""
    if name.startswith("x-"):
        wanted = name.encode()
        found: list[Any] = [text for key, text in request.query if key.lower() == name]
        return found + [value.decode("latin-1").strip() for key, value in request.raw.headers if key.lower() == wanted]
    outer, _, inner = name.partition(".")
    if inner and isinstance(within := arguments.get(outer), dict) and inner in within:
        return [within[inner]]
    found = [arguments[name]] if name in arguments else []
    return found + [value for other, value in arguments.items() if other.startswith(f"{name}[")]
