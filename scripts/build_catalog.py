"""Build the catalog's shards from the vendors' own machine-readable descriptions.

Sources, pinned by the lock file or here: npm `@octokit/openapi` (GitHub REST), the Python packages `stripe`, `openai` and
`anthropic` as installed. Carried over are methods, paths, hosts and operation ids, no prose. On top comes
`policy/catalog/reviewed.yaml`, where people have judged tools one by one.

    python scripts/build_catalog.py [--octokit api.github.com.json]
"""

from __future__ import annotations

import argparse
import ast
import hashlib
import importlib.metadata
import importlib.util
import json
import re
import subprocess
import sys
import tarfile
import tempfile
from pathlib import Path
from typing import Any

import yaml

from douane.core.catalog.shard import trie_of

ROOT = Path(__file__).resolve().parent.parent
CATALOG = ROOT / "policy" / "catalog"
OCTOKIT = "@octokit/openapi@23.0.2"

READ_METHODS = {"GET", "HEAD"}
_RAISING = re.compile(
    r"(^|[-_./])(delete|destroy|remove|purge|erase|merge|publish|deploy\w*|release\w*|transfer|revoke|rotate|reset"
    r"|terminate|cancel|archive|disable|permission\w*|collaborator\w*|membership\w*|member|invit\w+|role\w*|hook\w*"
    r"|webhook\w*|keys?|secret\w*|token\w*|credential\w*|dispatch|rerun\w*|re-run\w*|exec\w*|protection\w*|ruleset\w*"
    r"|visibility|access|budget\w*|grant\w*|authoriz\w+|rename|approve|installation\w*|send|import|refund\w*|payout\w*"
    r"|transfer\w*|topup\w*|top_up\w*|reversal\w*|reverse|outbound_\w+|inbound_\w+|capture|pay|void\w*|close|reject"
    r"|finalize\w*|accept|redact|uninstall|mark_uncollectible|submit|stop|run|add_lines|regenerate\w*|reveal\w*)"
    r"([-_./]|$)"
)
_UNLINKS = re.compile(
    r"(unstar|unfollow|unblock|remove-label|remove-all-labels|remove-assignees|unpin|mark-thread-as-done|delete-for-"
    r"(issue|commit-comment|issue-comment|pull-request-comment|release)$|remove-requested-reviewers|thread-subscription"
    r"|repo-subscription|unlock$|remove-sub-issue|remove-dependency|decline-invitation|delete-issue-field-value)"
)
_NATURES = (
    ("credential", re.compile(r"token|key|secret|credential")),
    ("permissions", re.compile(r"permission|collaborator|member|invit|role|access|protection|ruleset|visibility")),
    ("deploy", re.compile(r"merge|publish|deploy|release|dispatch|rerun|re-run")),
    ("money", re.compile(r"refund|payout|transfer|charge|capture|topup|payment|invoice|pay$|credit|billing")),
    ("delete", re.compile(r"delete|remove|destroy|purge|cancel|revoke|terminate")),
)


def guess(name: str, method: str) -> tuple[str, str]:
    """Tier and nature by the heuristic's ladder, which only ever raises."""
    if method in READ_METHODS:
        return "reversible", "read"
    if method == "DELETE" and _UNLINKS.search(name):
        return "visible", "unlink"
    nature = next((nature for nature, pattern in _NATURES if pattern.search(name)), "write")
    if method == "DELETE":
        return "irreversible", "delete"
    return ("irreversible", nature) if _RAISING.search(name) else ("visible", nature if nature != "delete" else "write")


_INFERS = re.compile(
    r"\.(completions|responses|embeddings|images|videos|speech|transcriptions|translations|runs|create_and_run|realtime"
    r"|live|decisions|invocations|automations|graders|sessions|dreams|deployments|environments|fine_tuning)(\.|$)"
)
"""Resources of inference providers whose use is charged: those that no one can meter are refused for a capped agent."""


def operation(tool: str, method: str, path: str, parameters: list[str]) -> dict[str, Any]:
    """An operation as the heuristic sees it."""
    tier, nature = guess(tool, method)
    return {
        "tool": tool,
        "tier": tier,
        "nature": nature,
        "parameters": parameters,
        "route": (method, path),
        "evidence": "heuristic",
        "billable": method == "POST" and tool.startswith(("openai.", "anthropic.")) and bool(_INFERS.search(tool)),
    }


def parameters_of(path: str) -> list[str]:
    """The names of a template's parameters."""
    return re.findall(r"\{\+?([A-Za-z0-9_-]+)\}", path)


# GitHub


def github(document: Path) -> tuple[list[dict[str, Any]], frozenset[tuple[str, str]]]:
    """GitHub's REST operations from its OpenAPI description."""
    data = json.loads(document.read_text())
    found, multi = [], set()
    for path, methods in data["paths"].items():
        for method, described in methods.items():
            if method not in ("get", "post", "put", "patch", "delete"):
                continue
            group, _, verb = described["operationId"].partition("/")
            name = f"github.{group}.{verb}".replace("-", "_")
            found.append(operation(name, method.upper(), path, parameters_of(path)))
            found[-1] |= dict(zip(("tier", "nature"), guess(described["operationId"], method.upper()), strict=True))
            for parameter in described.get("parameters", ()):
                if "$ref" in parameter:
                    parameter = data["components"]["parameters"][parameter["$ref"].rpartition("/")[2]]  # noqa: PLW2901
                if parameter.get("x-multi-segment"):
                    multi.add((path, parameter["name"]))
    aliases = []
    for known in found:
        method, path = known["route"]
        if path.startswith("/repos/{owner}/{repo}"):
            alias = path.replace("/repos/{owner}/{repo}", "/repositories/{repository_id}", 1)
            aliases.append(known | {"route": (method, alias), "parameters": parameters_of(alias)})
            multi |= {(alias, name) for template, name in multi if template == path}
        if method == "PATCH":  # GitHub takes POST for PATCH
            aliases.append(known | {"route": ("POST", path)})
    return found + aliases, frozenset(multi)


def octokit(folder: Path) -> Path:
    """Fetch the pinned npm package; returns its OpenAPI description."""
    subprocess.run(["npm", "pack", OCTOKIT], cwd=folder, check=True, capture_output=True)
    (archive,) = folder.glob("*.tgz")
    with tarfile.open(archive) as tar:
        tar.extractall(folder, filter="data")
    return folder / "package" / "generated" / "api.github.com.json"


# Stripe: the service classes


def stripe() -> list[dict[str, Any]]:
    """Stripe's operations from the service classes of its Python package, named by their accessor path."""
    folder = _package("stripe")
    classes: dict[str, tuple[ast.ClassDef, ast.Module]] = {}
    for file in sorted(folder.rglob("*_service.py")) + sorted(folder.rglob("_v1_services.py")):
        tree = ast.parse(file.read_text())
        for node in tree.body:
            if isinstance(node, ast.ClassDef):
                module = "stripe." + ".".join(file.relative_to(folder).with_suffix("").parts)
                classes[f"{module}.{node.name}"] = node, tree
    found: list[dict[str, Any]] = []

    def children(tree: ast.Module) -> dict[str, str]:
        for node in tree.body:
            if isinstance(node, ast.Assign) and getattr(node.targets[0], "id", "") == "_subservices":
                listed = ast.literal_eval(node.value)
                return {name: f"{module}.{name_of}" for name, (module, name_of) in listed.items()}
        return {}

    def walk(key: str, path: tuple[str, ...]) -> None:
        node, tree = classes[key]
        for member in node.body:
            if isinstance(member, ast.FunctionDef):
                for method, route in _stripe_requests(member):
                    found.append(operation(".".join((*path, member.name)), method, route, parameters_of(route)))
        for name, child in children(tree).items():
            if child in classes:
                walk(child, (*path, name))

    (root,) = [key for key in classes if key.endswith(".V1Services")]
    walk(root, ("stripe",))
    return found


def _stripe_requests(function: ast.FunctionDef) -> list[tuple[str, str]]:
    found = []
    for call in ast.walk(function):
        if isinstance(call, ast.Call) and getattr(call.func, "attr", "") == "_request":
            method, path = call.args[0], call.args[1]
            if isinstance(path, ast.Call) and isinstance(path.func, ast.Attribute):
                path = path.func.value  # "…".format(…)
            if isinstance(method, ast.Constant) and isinstance(path, ast.Constant):
                found.append((str(method.value).upper(), str(path.value)))
    return found


# OpenAI and Anthropic: Stainless SDKs


def stainless(package: str, root_class: str, prefix: str) -> list[dict[str, Any]]:
    """Operations of a Stainless SDK: resource path and method, beta twins under their own path."""
    folder = _package(package)
    found: list[dict[str, Any]] = []

    def walk(file: Path, name: str, path: tuple[str, ...]) -> None:
        tree = ast.parse(file.read_text())
        node = next((n for n in tree.body if isinstance(n, ast.ClassDef) and n.name == name), None)
        if node is None:
            source = _imported(tree, file, name)
            if source is not None:
                walk(source, name, path)
            return
        for member in node.body:
            if not isinstance(member, ast.FunctionDef):
                continue
            cached = any(getattr(d, "id", "") == "cached_property" for d in member.decorator_list)
            if cached and isinstance(member.returns, ast.Name) and not member.name.startswith("with_"):
                source = _imported(tree, file, member.returns.id)
                if source is not None:
                    walk(source, member.returns.id, (*path, member.name))
            elif not cached:
                for method, route in _stainless_requests(member):
                    full = (route if route.startswith("/v1") else prefix + route).partition("?")[0]
                    found.append(operation(".".join((*path, member.name)), method, full, parameters_of(full)))

    walk(folder / "_client.py", root_class, (package,))
    return _without_twins(found)


def _imported(tree: ast.Module, file: Path, name: str) -> Path | None:
    """The file that a relative import takes a name from."""
    for node in ast.walk(tree):
        if isinstance(node, ast.ImportFrom) and node.level and any((a.asname or a.name) == name for a in node.names):
            base = file.parent
            for _ in range(node.level - 1):
                base = base.parent
            target = base.joinpath(*(node.module or "").split("."))
            return target.with_suffix(".py") if target.with_suffix(".py").exists() else target / "__init__.py"
    return None


def _stainless_requests(function: ast.FunctionDef) -> list[tuple[str, str]]:
    found = []
    verbs = {"_get": "GET", "_get_api_list": "GET", "_post": "POST", "_put": "PUT", "_patch": "PATCH", "_delete": "DELETE"}
    for call in ast.walk(function):
        if isinstance(call, ast.Call) and getattr(call.func, "attr", "") in verbs and call.args:
            path = call.args[0]
            if isinstance(path, ast.Call) and getattr(path.func, "id", "") == "path_template":
                path = path.args[0]
            if isinstance(path, ast.Constant):
                found.append((verbs[call.func.attr], str(path.value)))  # type: ignore[attr-defined]
    return found


def _without_twins(operations: list[dict[str, Any]]) -> list[dict[str, Any]]:
    """One operation a route: the generally available name before a beta's, the plain method before its helpers."""
    best: dict[tuple[str, str], dict[str, Any]] = {}
    for found in operations:
        known = best.get(found["route"])
        rank = (".beta." in found["tool"], found["tool"].endswith((".stream", ".parse", "_and_poll")), len(found["tool"]))
        if known is None or rank < known["rank"]:
            best[found["route"]] = found | {"rank": rank}
    return [{k: v for k, v in found.items() if k != "rank"} for found in best.values()]


def _package(name: str) -> Path:
    spec = importlib.util.find_spec(name)
    assert spec is not None
    assert spec.origin is not None
    return Path(spec.origin).parent


# what people have judged


def apply_reviewed(operations: list[dict[str, Any]], reviewed: dict[str, Any]) -> list[dict[str, Any]]:
    """Lay the reviewed judgements over the guesses; a name that no operation has is an error."""
    left = dict(reviewed)
    out = []
    for found in operations:
        judged = reviewed.get(found["tool"])
        if judged is not None:
            left.pop(found["tool"], None)
            found = found | {k: str(v) if k == "reviewed" else v for k, v in judged.items() if k != "reason"}  # noqa: PLW2901
            if "tier" in judged:
                found["evidence"] = f"reviewed: {judged['reason']}"
        out.append(found)
    for name, judged in left.items():
        for method, path in judged.get("routes", ()):
            base = operation(name, method, path, parameters_of(path))
            out.append(base | {k: str(v) if k == "reviewed" else v for k, v in judged.items() if k not in ("reason", "routes")})
            out[-1]["evidence"] = f"reviewed: {judged['reason']}"
        if "routes" not in judged:
            sys.exit(f"reviewed.yaml: {name} is no tool of the sources and has no routes")
    return out


def write_shard(
    provider: str, operations: list[dict[str, Any]], multi: frozenset[tuple[str, str]] = frozenset()
) -> tuple[str, str]:
    """Write one shard; returns its file name and SHA-256."""
    operations = sorted(operations, key=lambda o: (o["tool"], o["route"][1], o["route"][0]))
    routes = [(method, path, index) for index, found in enumerate(operations) for method, path in [found["route"]]]
    plain = [{k: v for k, v in found.items() if k != "route" and v not in ([], "", None, False)} for found in operations]
    text = json.dumps(
        {"provider": provider, "operations": plain, "trie": trie_of(routes, multi)}, sort_keys=True, separators=(",", ":")
    ).replace('{"evidence"', '\n{"evidence"')
    (CATALOG / "built").mkdir(exist_ok=True)
    (CATALOG / "built" / f"{provider}.json").write_text(text + "\n")
    return f"{provider}.json", hashlib.sha256((text + "\n").encode()).hexdigest()


def main() -> None:
    """Build all shards and the index."""
    arguments = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    arguments.add_argument("--octokit", type=Path, help="an api.github.com.json at hand, instead of the npm package")
    options = arguments.parse_args()
    reviewed = yaml.safe_load((CATALOG / "reviewed.yaml").read_text())
    with tempfile.TemporaryDirectory() as folder:
        document = options.octokit or octokit(Path(folder))
        rest, multi = github(document)
    built = {
        "github": (rest, multi),
        "git": ([], frozenset({("/{repository}/info/refs", "repository")})),
        "stripe": (stripe(), frozenset()),
        "openai": (stainless("openai", "OpenAI", "/v1"), frozenset()),
        "anthropic": (stainless("anthropic", "Anthropic", ""), frozenset()),
    }
    index: dict[str, Any] = {"hosts": reviewed["hosts"], "shards": {}, "sources": {"github": OCTOKIT}}
    for provider, (operations, multi_segment) in built.items():
        multi_segment |= {(route, name) for route, name in reviewed.get("multi", {}).get(provider, ())}
        laid = apply_reviewed(operations, reviewed["tools"].get(provider) or {})
        file, digest = write_shard(provider, laid, multi_segment)
        index["shards"][provider] = {"file": file, "sha256": digest}
        if provider in ("stripe", "openai", "anthropic"):
            index["sources"][provider] = f"{provider}=={importlib.metadata.version(provider)}"
        print(f"{provider}: {len(laid)} routes, {len({o['tool'] for o in laid})} tools")
    (CATALOG / "built" / "index.json").write_text(json.dumps(index, indent=1, sort_keys=True) + "\n")


if __name__ == "__main__":
    main()
