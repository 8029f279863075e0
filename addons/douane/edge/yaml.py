"""Strict YAML: every part knows its line, and what two readers could take differently is a mistake.

    document = load_yaml(path)              # or load_yaml(text, "policy.yaml"); never raises for what is in the file
    document.value                          # str, int, float, bool, None, list, dict with str keys
    document.line(("rules", 0, "when"))     # 17
    document.problems                       # every mistake found, each with file, line and mend

Refused are duplicate keys, anchors, aliases, merges, tags, a second document, `yes/no/on/off` words, `.inf` and `.nan`,
exponents, sexagesimals and other odd numbers, and documents that are too large or too deep.
"""

from __future__ import annotations

import re
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import yaml

MOST_BYTES = 512 * 1024
"""The reader is plain Python: this much takes some seconds, and nobody reviews more."""
MOST_DEPTH = 20
MOST_NODES = 50_000

_AMBIGUOUS_WORD = re.compile(r"y|n|yes|no|on|off|true|false|null", re.IGNORECASE)
_INTEGER = re.compile(r"[-+]?(0|[1-9][0-9]{0,17})")
_DECIMAL = re.compile(r"[-+]?(0|[1-9][0-9]{0,11})\.[0-9]{1,12}")
_ODD_NUMBER = re.compile(
    r"[-+]?(\.inf|\.nan|0x[0-9a-f_]+|0b[01_]+|0o?[0-7_]+|[0-9][0-9_]*(:[0-5]?[0-9])+|[0-9][0-9_,]*(\.[0-9_]*)?(e[-+]?[0-9]+)?|\.[0-9_]+)",
    re.IGNORECASE,
)


@dataclass(frozen=True, slots=True, order=True)
class Problem:
    """One mistake in a file, and how to mend it."""

    file: str
    line: int
    message: str
    mend: str = ""

    def __str__(self) -> str:
        return f"{self.file}:{self.line}: {self.message}" + (f" → {self.mend}" if self.mend else "")


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
    document = Document(file or (str(source) if isinstance(source, Path) else "<text>"), None)
    text = _text(source, document)
    if text is None:
        return document
    try:
        _check_events(text, document)
        if document.problems:  # what composing would choke on: depth, aliases
            return document
        node = yaml.compose(text, Loader=yaml.SafeLoader)
    except yaml.MarkedYAMLError as error:
        mark = error.problem_mark or error.context_mark
        why = error.problem or error.context or "it cannot be parsed"
        _add(document, mark.line + 1 if mark else 1, f"not YAML: {why}", "Mend the syntax.")
        return document
    except (yaml.YAMLError, ValueError) as error:
        _add(document, 1, f"not YAML: {str(error).splitlines()[0]}", "Mend the syntax.")
        return document
    document.value = _construct(node, (), document) if node is not None else None
    return document


def _add(document: Document, line: int, message: str, mend: str) -> None:
    document.problems.append(Problem(document.file, line, message, mend))


def _text(source: Path | str, document: Document) -> str | None:
    if isinstance(source, str):
        if len(source) > MOST_BYTES:
            _add(document, 1, f"the file is over {MOST_BYTES // 1024} KiB", "Split it.")
            return None
        return source
    try:
        with source.open("rb") as stream:
            content = stream.read(MOST_BYTES + 1)
        if len(content) > MOST_BYTES:
            _add(document, 1, f"the file is over {MOST_BYTES // 1024} KiB", "Split it.")
            return None
        return content.decode("utf-8")
    except OSError as error:
        _add(document, 1, f"the file cannot be read: {error.strerror}", "Check that it is there and readable.")
    except UnicodeDecodeError:
        _add(document, 1, "the file is not UTF-8", "Save it as UTF-8.")
    return None


def _check_events(text: str, document: Document) -> None:
    """Depth, size, anchors and tags, before anything recursive touches the text."""
    depth = nodes = 0
    for event in yaml.parse(text, Loader=yaml.SafeLoader):
        line = event.start_mark.line + 1 if event.start_mark else 1
        if isinstance(event, yaml.NodeEvent):
            nodes += 1
            if isinstance(event, yaml.AliasEvent) or event.anchor is not None:
                _add(document, line, "anchors and aliases are not allowed", "Write it out.")
            elif isinstance(event, yaml.ScalarEvent | yaml.CollectionStartEvent) and event.tag is not None:
                _add(document, line, f"the tag {event.tag} is not allowed", "Leave it out.")
        if isinstance(event, yaml.CollectionStartEvent):
            depth += 1
        elif isinstance(event, yaml.CollectionEndEvent):
            depth -= 1
        if depth > MOST_DEPTH or nodes > MOST_NODES:
            _add(document, line, "the document is too deep or too large", f"At most {MOST_DEPTH} levels.")
            return


def _construct(node: yaml.Node, path: tuple[str | int, ...], document: Document) -> Any:
    document.lines.setdefault(path, node.start_mark.line + 1)
    if isinstance(node, yaml.SequenceNode):
        return [_construct(item, (*path, index), document) for index, item in enumerate(node.value)]
    if isinstance(node, yaml.MappingNode):
        found: dict[str, Any] = {}
        for key_node, value_node in node.value:
            line = key_node.start_mark.line + 1
            key = _key(key_node, line, document)
            if key is None:
                continue
            if key in found:
                first = document.line((*path, key))
                _add(document, line, f"the key `{key}` stands twice", f"It stands first in line {first}; leave one.")
                continue
            document.lines[*path, key] = line
            found[key] = _construct(value_node, (*path, key), document)
        return found
    assert isinstance(node, yaml.ScalarNode)
    return _scalar(node, path, document)


def _key(node: yaml.Node, line: int, document: Document) -> str | None:
    if not isinstance(node, yaml.ScalarNode):
        _add(document, line, "a key that is not a plain word", "Write `word: value`.")
        return None
    if node.style is None and node.value == "<<":
        _add(document, line, "merging is not allowed", "Write it out.")
        return None
    if node.style is None and _AMBIGUOUS_WORD.fullmatch(node.value):
        _add(document, line, f"the key `{node.value}` may be read as a truth value", "Quote it.")
    return str(node.value)


def _scalar(node: yaml.ScalarNode, path: tuple[str | int, ...], document: Document) -> Any:
    text: str = node.value
    if node.style is not None:  # quoted, or a block
        return text
    if text in ("true", "false"):
        return text == "true"
    if text in ("null", "~", ""):
        return None
    if _INTEGER.fullmatch(text):
        return int(text)
    if _DECIMAL.fullmatch(text):
        return float(text)
    if _AMBIGUOUS_WORD.fullmatch(text):
        mend = "Write true, false or null, or quote it."
        document.problems.append(document.problem(path, f"`{text}` may be read as a truth value", mend))
    elif _ODD_NUMBER.fullmatch(text):
        mend = "Write it plainly, or quote it."
        document.problems.append(document.problem(path, f"`{text}` is an odd way to write a number", mend))
    return text
