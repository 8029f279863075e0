"""Strict YAML: every node knows its line, and what two readers could take differently is a mistake.

Refused are duplicate keys, anchors, aliases, tags, `yes/no/on/off` words, `.inf` and `.nan`, sexagesimals and other odd
numbers, documents that are too large or too deep. Only strings, integers, decimals, true/false/null, lists and mappings
remain. All mistakes of a file are collected.
"""

from __future__ import annotations

import re
from collections.abc import Iterator
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import yaml

MOST_BYTES = 1024 * 1024
MOST_DEPTH = 20
MOST_NODES = 50_000

_AMBIGUOUS_WORD = re.compile(r"(y|n|yes|no|on|off)", re.IGNORECASE)
_INTEGER = re.compile(r"[-+]?(0|[1-9][0-9]*)")
_DECIMAL = re.compile(r"[-+]?(0|[1-9][0-9]*)\.[0-9]+")
_ODD_NUMBER = re.compile(r"[-+]?(\.inf|\.nan|0x[0-9a-f_]+|0o?[0-7_]+|[0-9][0-9_]*(:[0-5]?[0-9])+|[0-9][0-9_,]*)", re.IGNORECASE)


@dataclass(frozen=True, slots=True, order=True)
class Problem:
    """One mistake in a file, and how to mend it."""

    file: str
    line: int
    message: str
    mend: str = ""

    def __str__(self) -> str:
        return f"{self.file}:{self.line}: {self.message}" + (f"\n    {self.mend}" if self.mend else "")


@dataclass(slots=True)
class Document:
    """A file's plain value, and the line of every part of it."""

    file: str
    value: Any
    lines: dict[tuple[str | int, ...], int] = field(default_factory=dict)
    problems: list[Problem] = field(default_factory=list)

    def line(self, path: tuple[str | int, ...]) -> int:
        """The line of a part, or of the nearest part around it."""
        while path and path not in self.lines:
            path = path[:-1]
        return self.lines.get(path, 1)

    def problem(self, path: tuple[str | int, ...], message: str, mend: str = "") -> Problem:
        """A mistake at a part of the document."""
        return Problem(self.file, self.line(path), message, mend)


def load_yaml(source: Path | str, file: str | None = None) -> Document:
    """Read a YAML file or text; the document's `problems` has every mistake, its `value` what could be read."""
    name = file or (str(source) if isinstance(source, Path) else "<text>")
    document = Document(name, None)
    try:
        text = source.read_bytes().decode("utf-8") if isinstance(source, Path) else source
    except (OSError, UnicodeDecodeError) as error:
        reason = error.strerror if isinstance(error, OSError) else "it is not UTF-8"
        document.problems.append(Problem(name, 1, f"the file cannot be read: {reason}"))
        return document
    if len(text) > MOST_BYTES:
        document.problems.append(Problem(name, 1, "the file is over 1 MiB", "Split it."))
        return document
    try:
        for event in yaml.parse(text, Loader=yaml.SafeLoader):
            _check_event(event, document)
        if document.problems:
            return document
        node = yaml.compose(text, Loader=yaml.SafeLoader)
    except yaml.MarkedYAMLError as error:
        mark = error.problem_mark
        document.problems.append(Problem(name, mark.line + 1 if mark else 1, f"not YAML: {error.problem or error.context}"))
        return document
    except (yaml.YAMLError, RecursionError) as error:
        document.problems.append(Problem(name, 1, f"not YAML: {str(error).splitlines()[0]}"))
        return document
    budget = iter(range(MOST_NODES))
    document.value = _construct(node, (), document, budget) if node is not None else None
    return document


def _check_event(event: Any, document: Document) -> None:
    line = event.start_mark.line + 1
    if isinstance(event, yaml.AliasEvent) or getattr(event, "anchor", None):
        document.problems.append(Problem(document.file, line, "anchors and aliases are not allowed", "Write it out."))
    elif getattr(event, "tag", None):
        document.problems.append(Problem(document.file, line, f"the tag {event.tag} is not allowed", "Leave it out."))


def _construct(node: Any, path: tuple[str | int, ...], document: Document, budget: Iterator[int]) -> Any:
    line = node.start_mark.line + 1
    document.lines.setdefault(path, line)
    if len(path) > MOST_DEPTH or next(budget, None) is None:
        document.problems.append(Problem(document.file, line, "the document is too deep or too large"))
        return None
    if isinstance(node, yaml.SequenceNode):
        return [_construct(item, (*path, index), document, budget) for index, item in enumerate(node.value)]
    if isinstance(node, yaml.MappingNode):
        found: dict[str, Any] = {}
        for key_node, value_node in node.value:
            key = key_node.value if isinstance(key_node, yaml.ScalarNode) else None
            at = key_node.start_mark.line + 1
            if key is None:
                document.problems.append(Problem(document.file, at, "a key that is not a plain word"))
                continue
            if key in found:
                document.problems.append(
                    Problem(document.file, at, f"the key `{key}` stands twice", f"It stands first in line {document.line((*path, key))}.")
                )
                continue
            document.lines[(*path, key)] = at
            found[key] = _construct(value_node, (*path, key), document, budget)
        return found
    return _scalar(node, path, document)


def _scalar(node: Any, path: tuple[str | int, ...], document: Document) -> Any:
    text = node.value
    if node.style is not None:  # quoted, or a block
        return text
    if text in ("true", "false"):
        return text == "true"
    if text in ("null", "~", ""):
        return None
    if _INTEGER.fullmatch(text) and len(text) <= 18:
        return int(text)
    if _DECIMAL.fullmatch(text):
        return float(text)
    if _AMBIGUOUS_WORD.fullmatch(text) or text.lower() in ("true", "false", "null"):
        document.problems.append(
            document.problem(path, f"`{text}` may be read as a truth value", "Write true, false, null or quote it.")
        )
    elif _ODD_NUMBER.fullmatch(text):
        document.problems.append(document.problem(path, f"`{text}` is an odd way to write a number", "Write it plainly or quote it."))
    return text
