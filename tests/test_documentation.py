"""What the documents say is so: commands, options, codes, variables, links."""

from __future__ import annotations

import os
import re
from pathlib import Path

import pytest

from douane.core.refusal import ReasonCode
from support.reference import commands_page, options, walk

ROOT = Path(__file__).parents[1]
PAGES = sorted([*ROOT.glob("*.md"), *ROOT.glob("docs/**/*.md"), *ROOT.glob("certs/*.md")])
COMMANDS_PAGE = ROOT / "docs" / "commands.md"
LINK = re.compile(r"\[[^\]]+\]\(([^)\s]+)\)")
ANCHORLESS = re.compile(r"^[a-z]+:")


def text_of(pages: list[Path]) -> str:
    return "\n".join(page.read_text() for page in pages)


def test_the_reference_of_commands_is_what_the_commands_say() -> None:
    if os.environ.get("DOUANE_WRITE_DOCS"):
        COMMANDS_PAGE.write_text(commands_page())
    assert COMMANDS_PAGE.read_text() == commands_page(), (
        "run this test with DOUANE_WRITE_DOCS=1 and read the difference"
    )


@pytest.mark.parametrize("name", [name for name, _ in walk()])
def test_every_command_and_option_has_its_line_of_help(name: str) -> None:
    command = dict(walk())[name]
    assert command.help
    assert [option.opts for option in options(command) if not option.help] == []


def test_the_readme_names_every_command_and_flag_of_up() -> None:
    readme = (ROOT / "README.md").read_text()
    named = {name.split()[1] for name, _ in walk()}
    assert {name for name in named if f"douane {name}" not in readme} == set()
    assert [option.opts[0] for option in options(dict(walk())["douane up"]) if option.opts[0] not in readme] == []


def test_every_command_in_the_documents_exists() -> None:
    known = {name for name, _ in walk()} | {"douane"}
    wrong = []
    for page in PAGES:
        for line in re.findall(r"^\$ (?:\.venv/bin/)?(douane .+)$", page.read_text(), re.M):
            words = line.split()
            if not any(" ".join(words[:length]) in known for length in (1, 2, 3) if length > 1):
                wrong.append(f"{page.name}: {line}")
    assert wrong == []


@pytest.mark.parametrize("code", ReasonCode)
def test_every_reason_code_is_documented(code: ReasonCode) -> None:
    assert f"`{code}`" in text_of(PAGES)


def test_every_variable_that_is_read_is_documented() -> None:
    source = "\n".join(path.read_text() for path in (ROOT / "addons").rglob("*.py"))
    read = set(re.findall(r"""["'](DOUANE_[A-Z_]+)["']""", source))
    assert read
    assert {name for name in read if name not in text_of(PAGES)} == set()


@pytest.mark.parametrize("page", PAGES, ids=lambda page: str(page.relative_to(ROOT)))
def test_links_lead_somewhere(page: Path) -> None:
    paths = [link.partition("#")[0] for link in LINK.findall(page.read_text()) if not ANCHORLESS.match(link)]
    assert [path for path in paths if path and not (page.parent / path).exists()] == []


def test_the_placement_rule_is_told_alike_wherever_it_is_told() -> None:
    rule = ["SQL → `store/`", "files, sockets, secrets → `edge/`", "terminal → `cli/`", "no I/O → `core/`"]
    for page in ("README.md", "CONTRIBUTING.md"):
        told = " ".join((ROOT / page).read_text().split())
        assert [part for part in rule if part not in told] == [], page
