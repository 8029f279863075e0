"""Where code lives is decided by what it touches: the rule of README and CONTRIBUTING, read from the imports."""

from __future__ import annotations

import ast
import re
import sys
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path

import pytest

ROOT = Path(__file__).parents[1]
PACKAGE = ROOT / "addons" / "douane"

INWARDS = {
    "core": set(),
    "edge": {"core"},
    "store": {"core", "edge"},
    "calls": {"core", "edge", "store"},
    "api": {"core", "edge", "store", "calls"},
    "gateway": {"core", "edge", "store", "calls", "api"},
    "console": {"core", "edge", "api"},
    "cli": {"core", "edge", "store", "calls", "api", "gateway", "console"},
}
"""Which of our folders a folder may import: `core` none, `cli` all, nobody `cli`; the console no store and no node."""

PURE = {
    "__future__", "abc", "base64", "binascii", "bisect", "blake3", "brotli", "cel", "collections", "dataclasses",
    "datetime", "decimal", "enum", "functools", "genai_prices", "graphql", "hashlib", "heapq", "hmac", "ipaddress",
    "itertools", "json", "math", "operator", "orjson", "re", "string", "struct", "types", "typing", "unicodedata",
    "urllib", "zlib", "zstandard",
}  # fmt: skip
"""What `core` may import beside itself: libraries that only compute."""

ONLY_IN = {
    "mitmproxy": {"gateway", "console"},
    "mitmproxy_rs": {"gateway", "console"},
    "sqlite3": {"store"},
    "tornado": {"api", "console"},
    "click": {"cli"},
    "rich": {"cli"},
    "getpass": {"cli"},
    "yaml": {"edge"},
    "ssl": {"edge", "gateway"},
    "ctypes": {"edge"},
    "tempfile": {"edge", "store"},
    "shutil": {"edge", "store", "cli"},
    "subprocess": {"edge", "cli"},
    "socket": {"edge", "api"},
    "fcntl": {"edge", "store"},
    "requests": set[str](),
    "httpx": set[str](),
}
"""Libraries that say what a module does, and the folders where that is done."""

SQL = re.compile(
    r"\b(SELECT\s.+\sFROM|INSERT\s+(OR\s+\w+\s+)?INTO|UPDATE\s+\w+\s+SET|DELETE\s+FROM|CREATE\s+TABLE)\b", re.S
)
CLOCKS = {("datetime", "now"), ("datetime", "utcnow"), ("datetime", "today"), ("date", "today"), ("time", "time")}
OUTSIDE = {"open", "print", "input", "exec", "eval", "__import__"}


@dataclass(frozen=True)
class Module:
    """One file, and what it imports."""

    path: Path
    folder: str
    tree: ast.Module

    def __str__(self) -> str:
        return str(self.path.relative_to(PACKAGE))

    def imports(self) -> Iterator[str]:
        """The full names of what is imported, anywhere in the file."""
        for node in ast.walk(self.tree):
            if isinstance(node, ast.Import):
                yield from (alias.name for alias in node.names)
            elif isinstance(node, ast.ImportFrom):
                assert node.level == 0, f"{self}:{node.lineno}: imports are absolute, so that they say where they lead"
                yield from (f"{node.module}.{alias.name}" for alias in node.names)


def read(path: Path) -> Module:
    inside = path.relative_to(PACKAGE).parts
    return Module(path, inside[0] if len(inside) > 1 else "", ast.parse(path.read_text()))


MODULES = [read(path) for path in sorted(PACKAGE.rglob("*.py")) if "_policy" not in path.parts]


def in_folder(name: str) -> list[Module]:
    found = [module for module in MODULES if module.folder == name]
    assert found, f"no module in {name}/"
    return found


def test_every_folder_has_its_rule() -> None:
    assert {module.folder for module in MODULES} - {""} == INWARDS.keys()


@pytest.mark.parametrize("folder", INWARDS)
def test_imports_point_inwards(folder: str) -> None:
    wrong = [
        f"{module} imports {name}"
        for module in in_folder(folder)
        for name in module.imports()
        if name.startswith("douane.") and name.split(".")[1] not in INWARDS[folder] | {folder, "__version__"}
    ]
    assert wrong == []


def test_libraries_are_used_where_their_work_is_done() -> None:
    wrong = [
        f"{module} imports {name}"
        for module in MODULES
        for name in module.imports()
        if module.folder not in ONLY_IN.get(name.partition(".")[0], {module.folder})
    ]
    assert wrong == []


def test_sql_stands_in_the_store() -> None:
    def statements(module: Module) -> Iterator[int]:
        for node in ast.walk(module.tree):
            if isinstance(node, ast.Constant) and isinstance(node.value, str) and SQL.search(node.value):
                yield node.lineno

    assert any(True for module in in_folder("store") for _ in statements(module)), "the search finds no SQL at all"
    assert [f"{m}:{line}" for m in MODULES if m.folder != "store" for line in statements(m)] == []


def test_core_imports_only_what_computes() -> None:
    wrong = [
        f"{module} imports {name}"
        for module in in_folder("core")
        for name in module.imports()
        if name.partition(".")[0] not in PURE | {"douane"}
    ]
    assert wrong == []


def impurities(module: Module) -> Iterator[str]:
    for node in ast.walk(module.tree):
        match node:
            case ast.Await() | ast.AsyncFunctionDef() | ast.AsyncFor() | ast.AsyncWith():
                yield f"{module}:{node.lineno}: awaits"
            case ast.Attribute(value=ast.Name(id=left), attr=right) if (left, right) in CLOCKS:
                yield f"{module}:{node.lineno}: {left}.{right} reads a clock"
            case ast.Attribute(value=ast.Attribute(attr=left), attr=right) if (left, right) in CLOCKS:
                yield f"{module}:{node.lineno}: {left}.{right} reads a clock"
            case ast.Call(func=ast.Name(id=name)) if name in OUTSIDE:
                yield f"{module}:{node.lineno}: calls {name}()"
            case ast.Attribute(attr="urlopen"):
                yield f"{module}:{node.lineno}: opens a connection"
            case _:
                pass


def test_core_has_no_clock_no_input_and_no_await() -> None:
    assert [told for module in in_folder("core") for told in impurities(module)] == []


@pytest.mark.parametrize(
    "source",
    [
        "import datetime\nx = datetime.datetime.now()",
        "from datetime import date\nx = date.today()",
        "async def f(): ...",
        "x = open('f')",
        "import time\nx = time.time()",
    ],
)
def test_the_search_for_impurities_finds_them(source: str) -> None:
    assert list(impurities(Module(PACKAGE / "core" / "example.py", "core", ast.parse(source))))


def test_only_internals_reach_into_mitmproxys_private_names() -> None:
    private = re.compile(r"^mitmproxy(\..*)?\._")
    wrong = [
        f"{module} imports {name}"
        for module in MODULES
        for name in module.imports()
        if private.search(name) and "internals" not in module.path.parts
    ]
    assert wrong == []


def test_the_verifier_needs_nothing_but_python() -> None:
    tree = ast.parse((ROOT / "scripts" / "verify_audit.py").read_text())
    verifier = Module(PACKAGE / "verify_audit.py", "", tree)
    needed = {name.partition(".")[0] for name in verifier.imports()}
    assert needed - set(sys.stdlib_module_names) <= {"blake3"}


def test_no_module_lies_beside_the_folders() -> None:
    assert [str(module) for module in MODULES if module.folder == ""] == ["__init__.py"]
