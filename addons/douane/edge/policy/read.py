"""Read one policy file: every part is checked by itself, so that a mistake in one hides none in another."""

from __future__ import annotations

import difflib
import re
from collections.abc import Mapping
from dataclasses import dataclass, field
from decimal import Decimal
from typing import Any

from pydantic import BaseModel, TypeAdapter, ValidationError
from pydantic.fields import FieldInfo

from douane.core.policy import Condition, ConditionInvalid, usd_function
from douane.edge.policy.schema import LISTS, CasePart, Part, PolicyFile
from douane.edge.yaml import Document, Problem

_DOCS = "See docs/policy.md."


@dataclass(slots=True)
class PolicyPart:
    """What is right in one file."""

    document: Document
    settings: dict[str, Any] = field(default_factory=dict)
    """Valid values of keys that are no lists."""
    items: dict[str, dict[int, Any]] = field(default_factory=lambda: {key: {} for key in LISTS})
    """Valid items of lists, by their place."""
    problems: list[Problem] = field(default_factory=list)


def read_file(document: Document, *, main: bool) -> PolicyPart:
    """Read a document; `main` is the folder's policy.yaml, which states its version."""
    part = PolicyPart(document, problems=list(document.problems))
    value = document.value
    if not isinstance(value, dict):
        if not document.problems or value is not None:
            part.problems.append(document.problem((), "a policy is a mapping", "Begin with `version: 1`."))
        return part
    if main and "version" not in value:
        part.problems.append(document.problem((), "`version` is missing", "Begin with `version: 1`."))
    for key, content in value.items():
        if key not in PolicyFile.model_fields:
            part.problems.append(_unknown(document, (key,), PolicyFile))
        elif key in LISTS:
            _read_items(part, key, content)
        else:
            _read_setting(part, key, content)
    return part


def _read_setting(part: PolicyPart, key: str, content: Any) -> None:
    known: FieldInfo = PolicyFile.model_fields[key]
    adapter: TypeAdapter[Any] = TypeAdapter(known.rebuild_annotation())
    try:
        part.settings[key] = adapter.validate_python(content, strict=True)
    except ValidationError as invalid:
        part.problems += problems_of(part.document, (key,), invalid)


def _read_items(part: PolicyPart, key: str, content: Any) -> None:
    if not isinstance(content, list):
        part.problems.append(part.document.problem((key,), f"`{key}` is a list", f"Write `{key}:` and `- …` below it."))
        return
    for index, item in enumerate(content):
        try:
            part.items[key][index] = LISTS[key].model_validate(item)
        except ValidationError as invalid:
            part.problems += problems_of(part.document, (key, index), invalid)


def conditions(part: PolicyPart, rates: Mapping[str, Decimal]) -> dict[tuple[str, int], Condition]:
    """The compiled expressions of a file, by list and place; mistakes are added, those of wrong items too."""
    usd = usd_function(rates)
    found: dict[tuple[str, int], Condition] = {}
    value = part.document.value
    for key, member, what in (("rules", "when", "condition"), ("budgets", "counts", "amount")):
        listed = value.get(key) if isinstance(value, dict) else None
        for index, item in enumerate(listed if isinstance(listed, list) else ()):
            if isinstance(item, dict) and isinstance(item.get(member), str):
                try:
                    found[key, index] = Condition(item[member], usd)
                except ConditionInvalid as invalid:
                    path = (key, index, member)
                    part.problems.append(part.document.problem(path, f"the {what}: {invalid}", invalid.mend or _DOCS))
    return found


def read_case(document: Document, index: int, content: Any) -> CasePart | list[Problem]:
    """A case, or its mistakes."""
    try:
        return CasePart.model_validate(content)
    except ValidationError as invalid:
        return problems_of(document, (index,), invalid)


def problems_of(document: Document, base: tuple[str | int, ...], invalid: ValidationError) -> list[Problem]:
    """What pydantic found, told with line and mend."""
    return sorted({_problem(document, base, error) for error in invalid.errors()})


def _problem(document: Document, base: tuple[str | int, ...], error: Any) -> Problem:
    path = base
    for step in error["loc"]:  # pydantic adds names of union members; the document knows only keys and places
        if (*path, step) in document.lines:
            path = (*path, step)
    name = next((step for step in reversed(path) if isinstance(step, str)), "")
    match error["type"]:
        case "extra_forbidden":
            return _unknown(document, path, _part_at(base))
        case "missing":
            return document.problem(path, f"`{error['loc'][-1]}` is missing", f"Add `{error['loc'][-1]}: …`.")
        case "literal_error":
            words = re.findall(r"'([^']+)'", error["ctx"]["expected"]) or [error["ctx"]["expected"]]
            close = difflib.get_close_matches(str(error["input"]), words, 1)
            close = close or [word for word in words if word.lower() == str(error["input"]).lower()]
            mend = f"Did you mean `{close[0]}`?" if close else f"Choose one of {', '.join(words)}."
            return document.problem(path, f"`{name}: {_shown(error['input'])}` is not known", mend)
        case "value_error":
            said, _, how = error["msg"].removeprefix("Value error, ").partition("; ")
            return document.problem(path, f"`{_shown(error['input'])}` is {said}", how[:1].upper() + how[1:] + ".")
        case "string_type":
            return document.problem(path, f"`{name}` is not text", "Quote it if it is meant as text.")
        case "list_type":
            return document.problem(path, f"`{name}` is a list", f"Write `{name}: [{_shown(error['input'])}]`.")
        case "dict_type" | "model_type":
            what = "an entry" if isinstance(path[-1], int) else f"`{name}`"
            return document.problem(path, f"{what} is a mapping", _DOCS)
        case _:
            message = str(error["msg"])
            return document.problem(path, f"`{name}`: {message[:1].lower()}{message[1:]}", _DOCS)


def _shown(value: Any) -> str:
    text = str(value)
    return text if len(text) <= 60 else f"{text[:60]}…"


def _part_at(base: tuple[str | int, ...]) -> type[BaseModel] | None:
    if not base:
        return PolicyFile
    if isinstance(base[0], int):
        return CasePart
    if base[0] in LISTS:
        return LISTS[base[0]]
    annotation = PolicyFile.model_fields[base[0]].annotation
    return annotation if isinstance(annotation, type) and issubclass(annotation, Part) else None


def _unknown(document: Document, path: tuple[str | int, ...], part: type[BaseModel] | None) -> Problem:
    known = [found.alias or key for key, found in part.model_fields.items()] if part else []
    close = difflib.get_close_matches(str(path[-1]), known, 1)
    mend = f"Did you mean `{close[0]}`?" if close else f"Known keys: {', '.join(known)}."
    return document.problem(path, f"unknown key `{path[-1]}`", mend)
