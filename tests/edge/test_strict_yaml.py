"""Strict YAML: what two readers could take differently is a mistake, told with its line."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from douane.edge.yaml import MOST_BYTES, load_yaml


@pytest.mark.parametrize(
    ("text", "value"),
    [
        ("", None),
        ("# nothing\n", None),
        ("a: 1", {"a": 1}),
        ("a: -5", {"a": -5}),
        ("a: 1.08", {"a": 1.08}),
        ("a: true\nb: false\nc: null\nd:\ne: ~", {"a": True, "b": False, "c": None, "d": None, "e": None}),
        (
            "a: 12s\nb: $50\nc: 50 USD\nd: 1.2.3\ne: 127.0.0.1:80",
            {"a": "12s", "b": "$50", "c": "50 USD", "d": "1.2.3", "e": "127.0.0.1:80"},
        ),
        ("a: 'yes'\nb: \"1e5\"\n'on': 1", {"a": "yes", "b": "1e5", "on": 1}),
        ("a: 2026-11-23", {"a": "2026-11-23"}),
        ("a: |\n  yes\n", {"a": "yes\n"}),
        ("- {a: [1, x]}", [{"a": [1, "x"]}]),
        ('{"a": {"b": [true, null, 1.5, "é"]}}', {"a": {"b": [True, None, 1.5, "é"]}}),
    ],
)
def test_read(text: str, value: Any) -> None:
    document = load_yaml(text, "f")
    assert document.problems == []
    assert document.value == value


@pytest.mark.parametrize(
    ("text", "line", "said"),
    [
        ("a: 1\nb: 2\na: 3", 3, "stands twice"),
        ("x:\n  - {a: 1, a: 1}", 2, "stands twice"),
        ("a: yes", 1, "truth value"),
        ("a: 1\nb: No", 2, "truth value"),
        ("a: on", 1, "truth value"),
        ("a: True", 1, "truth value"),
        ("no: 1", 1, "truth value"),
        ("a: .inf", 1, "odd way"),
        ("a: -.INF", 1, "odd way"),
        ("a: .nan", 1, "odd way"),
        ("a: 1e5", 1, "odd way"),
        ("a: 0x1F", 1, "odd way"),
        ("a: 0o17", 1, "odd way"),
        ("a: 017", 1, "odd way"),
        ("a: 1_000", 1, "odd way"),
        ("a: 1,000", 1, "odd way"),
        ("a: 12:30:00", 1, "odd way"),
        ("a: 1.", 1, "odd way"),
        ("a: .5", 1, "odd way"),
        ("a: 9999999999999999999", 1, "odd way"),
        ("a: &x 1", 1, "anchors"),
        ("a: 1\nb: *x", 2, "anchors"),
        ("a: &x {b: 1}\nc:\n  <<: *x", 1, "anchors"),
        ("a:\n  <<: {b: 1}", 2, "merging"),
        ("a: !!str 1", 1, "tag"),
        ("a: !!python/object/apply:os.system [id]", 1, "tag"),
        ("a: 1\n---\nb: 2", 2, "another document"),
        ("? [a, b]\n: 1", 1, "plain word"),
        ("a: b: c", 1, "not YAML"),
        ("a: [1\nb: 2", 2, "not YAML"),
        ("\ta: 1", 1, "not YAML"),
        ("a: \x00", 1, "not YAML"),
        ("[" * 25 + "]" * 25, 1, "too deep"),
        ("[" * 100_000, 1, "too deep"),
        ("\n".join(["a:"] + ["- 1"] * 50_001), 49_999, "too large"),
        ("x" * (MOST_BYTES + 1), 1, "over 512 KiB"),
    ],
)
def test_mistakes(text: str, line: int, said: str) -> None:
    problems = load_yaml(text, "f.yaml").problems
    assert problems, "it was taken"
    first = problems[0]
    assert (first.file, first.line) == ("f.yaml", line)
    assert said in first.message
    assert first.mend


def test_all_mistakes_of_a_file_at_once() -> None:
    assert [problem.line for problem in load_yaml("a: yes\nb: 1e5\na: 1\nc: .nan", "f").problems] == [1, 2, 3, 4]


def test_every_part_knows_its_line() -> None:
    document = load_yaml("# c\nrules:\n  - name: a\n    when: >\n      x\n  - {name: b}\n", "f")
    lines = [
        document.line(("rules", 0, "when")),
        document.line(("rules", 1, "name")),
        document.line(("rules", 1, "none")),
    ]
    assert lines == [4, 6, 6]


def test_files_that_cannot_be_read(tmp_path: Path) -> None:
    (tmp_path / "latin.yaml").write_bytes(b"a: \xe9")
    (tmp_path / "large.yaml").write_bytes(b"#" * (MOST_BYTES + 1))
    (tmp_path / "folder.yaml").mkdir()
    for name in ("latin", "large", "folder", "missing"):
        document = load_yaml(tmp_path / f"{name}.yaml")
        assert document.value is None
        assert [problem.file for problem in document.problems] == [str(tmp_path / f"{name}.yaml")]


words = st.text(st.characters(min_codepoint=32, max_codepoint=126), max_size=8)
plain = st.recursive(
    st.none() | st.booleans() | st.integers(-(10**17), 10**17) | words,
    lambda inner: st.lists(inner, max_size=3) | st.dictionaries(words, inner, max_size=3),
    max_leaves=10,
)


@given(plain)
def test_json_is_read_as_json(value: Any) -> None:
    document = load_yaml(json.dumps(value), "f")
    assert (document.problems, document.value) == ([], value)


@given(st.text(max_size=60) | st.text(":-[]{}&*!?|> \n\t#'\"a1", max_size=60))
def test_whatever_stands_in_a_file_is_read_or_told(text: str) -> None:
    document = load_yaml(text, "f")
    lines = len(text.splitlines()) + 1
    assert all(1 <= problem.line <= lines for problem in document.problems)
    assert all(1 <= line <= lines for line in document.lines.values())
