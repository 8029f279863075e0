"""Build the catalog's shards from the vendors' own machine-readable descriptions.

Sources, pinned by the lock file or here: npm `@octokit/openapi` and `@octokit/graphql-schema`, the Python packages
`stripe`, `openai` and `anthropic` as installed. Carried over are methods, paths, hosts and operation ids, no prose. On
top comes `policy/catalog/reviewed.yaml`, where people have judged tools one by one.

    python scripts/build_catalog.py [--octokit api.github.com.json --schema schema.graphql]
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
OCTOKIT, OCTOKIT_GRAPHQL = "@octokit/openapi@23.0.2", "@octokit/graphql-schema@15.26.1"

READ_METHODS = {"GET", "HEAD"}
_RAISING = re.compile(
    r"(^|[-_./])(delete|destroy|remove|purge|erase|merge|publish|deploy\w*|release\w*|transfer|revoke|rotate|reset"
    r"|terminate|cancel|archive|disable|permission\w*|collaborator\w*|membership\w*|member|members|invit\w+|role\w*"
    r"|hook\w*|webhook\w*|keys?|secret\w*|token\w*|credential\w*|dispatch|rerun\w*|re-run\w*|exec\w*|protection\w*"
    r"|ruleset\w*|visibility|access|accesses|budget\w*|grant\w*|authoriz\w+|rename|approve|installation\w*|send|import"
    r"|refund\w*|payout\w*|transfer\w*|topup\w*|top_up\w*|reversal\w*|reverse|outbound_\w+|inbound_\w+|capture|pay|void\w*"
    r"|close|reject|finalize\w*|accept|redact|uninstall|mark_uncollectible|submit|stop|run|add_lines|regenerate\w*|reveal\w*"
    r"|jitconfig|registr\w+-token|money_management|process_payment\w*|confirm_payment\w*|certificate\w*|tunnels?"
    r"|spend_limit\w*|federation|workload_identity\w*|service_accounts?|private-registr\w+|org-private\w*)([-_./]|$)"
    r"|^(openai\.admin|anthropic\.(beta\.)?organization)\."
)
_NATURES = (
    ("credential", re.compile(r"token|key|secret|credential|jitconfig|certificate|private-registr")),
    (
        "permissions",
        re.compile(r"permission|collaborator|member|invit|role|access|protection|ruleset|visibility|federation"),
    ),
    ("deploy", re.compile(r"merge|publish|deploy|release|dispatch|rerun|re-run")),
    (
        "money",
        re.compile(
            r"refund|payout|transfer|charge|capture|topup|payment|invoice|pay$|credit|billing|subscription|money"
        ),
    ),
    ("delete", re.compile(r"delete|remove|destroy|purge|cancel|revoke|terminate")),
)


def guess(name: str, method: str) -> tuple[str, str]:
    """Tier and nature by the heuristic's ladder, which only ever raises: no pattern makes a write or delete free."""
    if method in READ_METHODS:
        return "reversible", "read"
    if method == "DELETE":
        return "irreversible", "delete"
    nature = next((nature for nature, pattern in _NATURES if pattern.search(name)), "write")
    return ("irreversible", nature) if _RAISING.search(name) else ("visible", nature if nature != "delete" else "write")


_INFERS = re.compile(
    r"\.(completions|responses|embeddings|images|videos|speech|transcriptions|translations|runs|create_and_run|realtime"
    r"|live|decisions|invocations|automations|graders|sessions|dreams|deployments|environments|fine_tuning|containers)(\.|$)"
)
"""Resources of inference providers whose use is charged: those that no one can meter are refused for a capped agent."""

READS = {"stripe": "form", "openai": "multipart", "anthropic": "multipart", "git": "any"}
"""How a provider reads bodies; JSON, whatever the Content-Type says, where it is not named here."""


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
    """The names of a template's parameters, one for each segment at most (`{base}...{head}` is `base...head`)."""
    found = re.findall(r"(?:^|/)[^/{]*\{\+?([^/]*)\}", path)
    return [name.replace("{", "").replace("}", "") for name in found]


# GitHub


GITHUB_ALIASES = {
    "/repos/{owner}/{repo}": "/repositories/{repository_id}",
    "/orgs/{org}": "/organizations/{organization_id}",
}
"""Roots under which GitHub serves the same operations, and which its description lacks."""


def github(document: Path) -> tuple[list[dict[str, Any]], frozenset[tuple[str, str]]]:
    """GitHub's REST operations from its OpenAPI description."""
    data = json.loads(document.read_text())
    found: list[dict[str, Any]] = []
    multi: set[tuple[str, str]] = set()
    for template, methods in data["paths"].items():
        for method, described in methods.items():
            if method not in ("get", "post", "put", "patch", "delete"):
                continue
            parameters = [_resolved(data, parameter) for parameter in described.get("parameters", ())]
            group, _, verb = described["operationId"].partition("/")
            tier, nature = guess(described["operationId"], method.upper())
            for path in _paths(template, parameters):
                known = operation(f"github.{group}.{verb}", method.upper(), path, parameters_of(path))
                found.append(known | {"tier": tier, "nature": nature})
                if method == "patch":  # GitHub takes POST for PATCH
                    found.append(found[-1] | {"route": ("POST", path)})
                multi |= {(path, parameter["name"]) for parameter in parameters if parameter.get("x-multi-segment")}
    return found, frozenset(multi)


def _resolved(data: dict[str, Any], parameter: dict[str, Any]) -> dict[str, Any]:
    if "$ref" not in parameter:
        return parameter
    found: dict[str, Any] = data["components"]["parameters"][parameter["$ref"].rpartition("/")[2]]
    return found


def _paths(template: str, parameters: list[dict[str, Any]]) -> list[str]:
    """A template's paths: its aliases too, and one for each value of a parameter that has but two."""
    paths = [template]
    for parameter in parameters:
        values = parameter["schema"].get("enum", ()) if parameter["in"] == "path" else ()
        if 0 < len(values) <= 2:
            paths = [path.replace(f"{{{parameter['name']}}}", value) for path in paths for value in values]
    for root, alias in GITHUB_ALIASES.items():
        paths += [alias + path.removeprefix(root) for path in paths if path == root or path.startswith(f"{root}/")]
    return paths


def graphql_mutations(schema: Path) -> list[dict[str, Any]]:
    """GitHub's GraphQL mutations by name: no routes, but names that a policy can speak of."""
    (mutations,) = re.findall(r"^type Mutation \{\n(.*?)^\}", schema.read_text(), re.MULTILINE | re.DOTALL)
    names = re.findall(r"^  ([A-Za-z0-9]+)\(", mutations, re.MULTILINE)
    found = []
    for name in ["mutation", *names]:
        _, nature = guess(re.sub(r"(?<=[a-z])(?=[A-Z])", "_", name).lower(), "POST")
        nature = "delete" if name.startswith(("delete", "remove")) else nature
        found.append(
            {"tool": f"github.graphql.{name}", "tier": "irreversible", "nature": nature, "evidence": "GraphQL mutation"}
        )
    return found


def npm(package: str, wanted: str, folder: Path) -> Path:
    """Fetch a file of a pinned npm package."""
    packed = subprocess.run(["npm", "pack", package], cwd=folder, check=True, capture_output=True, text=True)
    with tarfile.open(folder / packed.stdout.split()[-1]) as tar:
        tar.extract(f"package/{wanted}", folder, filter="data")
    return folder / "package" / wanted


# Stripe: the service classes


def stripe() -> list[dict[str, Any]]:
    """Stripe's operations from the service classes of its Python package, named by their accessor path."""
    folder = _package("stripe")
    classes: dict[str, tuple[ast.ClassDef, ast.Module]] = {}
    for file in sorted(folder.rglob("*_service.py")) + sorted(folder.rglob("_v?_services.py")):
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
                    if route.startswith("/v2/"):
                        found[-1]["reads"] = "json"
        for name, child in children(tree).items():
            if child in classes:
                walk(child, (*path, name))

    for root in sorted(key for key in classes if key.endswith((".V1Services", ".V2Services"))):
        walk(root, ("stripe",))
    return found


def _stripe_requests(function: ast.FunctionDef) -> list[tuple[str, str]]:
    found = []
    for call in ast.walk(function):
        if isinstance(call, ast.Call) and getattr(call.func, "attr", "") in ("_request", "_request_stream"):
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
    verbs = {
        "_get": "GET",
        "_get_api_list": "GET",
        "_post": "POST",
        "_put": "PUT",
        "_patch": "PATCH",
        "_delete": "DELETE",
    }
    for call in ast.walk(function):
        if isinstance(call, ast.Call) and getattr(call.func, "attr", "") in verbs and call.args:
            path = call.args[0]
            if isinstance(path, ast.Call) and getattr(path.func, "id", "") == "path_template":
                path = path.args[0]
            if isinstance(path, ast.Constant):
                verb = verbs[call.func.attr]  # type: ignore[attr-defined]
                said = [k.value.value for k in call.keywords if k.arg == "method" and isinstance(k.value, ast.Constant)]
                found.append((str(said[0]).upper() if said else verb, str(path.value)))
    return found


def _without_twins(operations: list[dict[str, Any]]) -> list[dict[str, Any]]:
    """One operation a route: the generally available name before a beta's, the plain method before its helpers."""
    best: dict[tuple[str, str], dict[str, Any]] = {}
    for found in operations:
        known = best.get(found["route"])
        rank = (
            ".beta." in found["tool"],
            found["tool"].endswith((".stream", ".parse", "_and_poll")),
            len(found["tool"]),
        )
        if known is None or rank < known["rank"]:
            best[found["route"]] = found | {"rank": rank}
    return [{k: v for k, v in found.items() if k != "rank"} for found in best.values()]


def _package(name: str) -> Path:
    spec = importlib.util.find_spec(name)
    assert spec is not None
    assert spec.origin is not None
    return Path(spec.origin).parent


# what people have judged


def judgements(reviewed: dict[str, Any], provider: str) -> dict[str, dict[str, Any]]:
    """Every judgement on a provider's tools by name, those made of several tools alike included."""
    found: dict[str, dict[str, Any]] = dict(reviewed["tools"].get(provider) or {})
    for group in reviewed["alike"].get(provider) or ():
        for name in group["tools"]:
            if name in found:
                sys.exit(f"reviewed.yaml: {name} is judged twice")
            found[name] = {key: value for key, value in group.items() if key != "tools"}
    for name, judged in found.items():
        if not {"tier", "nature", "reviewed", "reason"} <= judged.keys():
            sys.exit(f"reviewed.yaml: {name} lacks tier, nature, reviewed or reason")
    return found


def apply_reviewed(operations: list[dict[str, Any]], reviewed: dict[str, dict[str, Any]]) -> list[dict[str, Any]]:
    """Lay the reviewed judgements over the guesses; a name that no operation has is an error."""
    known = {found["tool"] for found in operations}
    out = list(operations)
    for name, judged in reviewed.items():
        if name not in known and "routes" not in judged:
            sys.exit(f"reviewed.yaml: {name} is no tool of the sources and has no routes")
        out += [operation(name, method, path, parameters_of(path)) for method, path in judged.get("routes", ())]
        if judged.get("routes") == []:  # named by what reads the body
            out.append({"tool": name})
    return [found | _members(reviewed[found["tool"]]) if found["tool"] in reviewed else found for found in out]


def _members(judged: dict[str, Any]) -> dict[str, Any]:
    members = {key: value for key, value in judged.items() if key not in ("reason", "routes")}
    return members | {"reviewed": str(judged["reviewed"]), "evidence": f"reviewed: {judged['reason']}"}


def write_shard(
    provider: str, operations: list[dict[str, Any]], multi: frozenset[tuple[str, str]] = frozenset()
) -> tuple[str, str]:
    """Write one shard; returns its file name and SHA-256."""
    operations = sorted(operations, key=lambda found: (found["tool"], *reversed(found.get("route", ()))))
    plain: list[str] = []
    routes = []
    for found in operations:
        members = {k: v for k, v in found.items() if k != "route" and v not in ([], "", None, False)}
        text = json.dumps(members, sort_keys=True, separators=(",", ":"))
        if not plain or plain[-1] != text:
            plain.append(text)
        if "route" in found:
            routes.append((*found["route"], len(plain) - 1))
    head = {"provider": provider, "reads": READS.get(provider, "json"), "encoded_slash": provider == "github"}
    trie = json.dumps(trie_of(routes, multi), sort_keys=True, separators=(",", ":"))
    text = json.dumps(head)[:-1] + ',"operations":[\n' + ",\n".join(plain) + '\n],"trie":' + trie + "}"
    (CATALOG / "built").mkdir(exist_ok=True)
    (CATALOG / "built" / f"{provider}.json").write_text(text + "\n")
    return f"{provider}.json", hashlib.sha256((text + "\n").encode()).hexdigest()


def main() -> None:
    """Build all shards and the index."""
    arguments = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    arguments.add_argument("--octokit", type=Path, help="an api.github.com.json at hand, instead of the npm package")
    arguments.add_argument("--schema", type=Path, help="GitHub's schema.graphql at hand, instead of the npm package")
    options = arguments.parse_args()
    reviewed = yaml.safe_load((CATALOG / "reviewed.yaml").read_text())
    with tempfile.TemporaryDirectory() as folder:
        rest, multi = github(options.octokit or npm(OCTOKIT, "generated/api.github.com.json", Path(folder)))
        mutations = graphql_mutations(options.schema or npm(OCTOKIT_GRAPHQL, "schema.graphql", Path(folder)))
    built: dict[str, tuple[list[dict[str, Any]], frozenset[tuple[str, str]]]] = {
        "github": (rest + mutations, multi),
        "git": ([], frozenset()),
        "stripe": (stripe(), frozenset()),
        "openai": (stainless("openai", "OpenAI", "/v1"), frozenset()),
        "anthropic": (stainless("anthropic", "Anthropic", ""), frozenset()),
    }
    sources = {"github": f"{OCTOKIT}, {OCTOKIT_GRAPHQL}"}
    sources |= {name: f"{name}=={importlib.metadata.version(name)}" for name in ("stripe", "openai", "anthropic")}
    index: dict[str, Any] = {
        "hosts": reviewed["hosts"],
        "suffixes": reviewed["suffixes"],
        "shards": {},
        "sources": sources,
    }
    for provider, (operations, multi_segment) in built.items():
        multi_segment |= {(route, name) for route, name in reviewed["multi"].get(provider, ())}
        laid = apply_reviewed(operations, judgements(reviewed, provider))
        file, digest = write_shard(provider, laid, multi_segment)
        index["shards"][provider] = {"file": file, "sha256": digest}
        print(f"{provider}: {len(laid)} routes, {len({found['tool'] for found in laid})} tools")
    (CATALOG / "built" / "index.json").write_text(json.dumps(index, indent=1, sort_keys=True) + "\n")


if __name__ == "__main__":
    main()
