"""Kubernetes: the grammar of its API's paths names the tool, custom resources included.

`/api/v1/namespaces/a/pods/b/exec` is `k8s.pods.exec.create`, `/apis/apps/v1/deployments` `k8s.apps.deployments.list`.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass

from douane.core.catalog.operation import Predicate
from douane.core.tool import Nature, Tier

_VERBS = {"GET": "get", "POST": "create", "PUT": "update", "PATCH": "patch", "DELETE": "delete"}
_RUNS = frozenset({"exec", "attach", "portforward", "proxy"})
"""Subresources that reach into what runs, whatever the method."""
_PERMISSIONS = frozenset({"rbac.authorization.k8s.io", "admissionregistration.k8s.io", "apiregistration.k8s.io",
                          "authorization.openshift.io", "security.openshift.io", "user.openshift.io",
                          "oauth.openshift.io"})  # fmt: skip
_REVIEWS = frozenset({"selfsubjectaccessreviews", "selfsubjectrulesreviews", "localsubjectaccessreviews",
                      "subjectaccessreviews", "selfsubjectreviews", "tokenreviews"})  # fmt: skip
"""Created to ask a question; nothing is kept."""
_HEAVY = frozenset({"nodes", "namespaces", "persistentvolumes", "persistentvolumeclaims", "customresourcedefinitions"})
_SUBRESOURCES_THAT_ACT = {
    "eviction": Nature.DELETE,
    "binding": Nature.EXEC,
    "ephemeralcontainers": Nature.EXEC,
    "token": Nature.CREDENTIAL,
    "approval": Nature.PERMISSIONS,
}
REHEARSED = (Predicate("dryRun", ("All",), Tier.REVERSIBLE, "dryRun=All only rehearses"),)
_REHEARSABLE = frozenset({"", "status", "scale", "eviction", "binding", "ephemeralcontainers", "approval", "finalize"})
"""Subresources that honour `dryRun`: an exec or a proxy runs all the same, and a token is minted."""


def stops(body: object) -> str:
    """Why a body may leave no replica running, as an object or as a JSON patch; nothing for one that leaves some."""
    if isinstance(body, dict):
        spec = body.get("spec")
        stopped = isinstance(spec, dict) and spec.get("replicas", 1) in (0, "0", None)
    elif isinstance(body, list):
        stopped = any(isinstance(step, dict) and _step_stops(step) for step in body)
    else:  # YAML or protobuf
        return "it is not JSON, and what it says is not read"
    return "replicas=0 stops all of it" if stopped else ""


def _step_stops(step: Mapping[str, object]) -> bool:
    path, value = str(step.get("path", "")), step.get("value")
    if path.endswith("replicas"):  # what is copied there, the object has
        return value in (0, "0") or step.get("op") in ("copy", "move")
    return bool(stops({"spec": value} if path == "/spec" else value)) if isinstance(value, dict) else False


@dataclass(frozen=True, slots=True)
class Resource:
    """What a path of the API is about, and what a method does to it."""

    tool: str
    tier: Tier
    nature: Nature
    parameters: dict[str, str]
    why: str
    rehearsable: bool = True
    """Whether the API surely honours `dryRun` there, as it does for its own groups."""


def read_path(method: str, segments: Sequence[str]) -> Resource | None:
    """The resource of a path, or None for one that is none of the grammar's; lists and watches are reads."""
    parts = list(segments)
    if parts[:1] == ["api"] and len(parts) > 2:
        group, rest = "", parts[2:]
    elif parts[:1] == ["apis"] and len(parts) > 3:
        group, rest = parts[1], parts[3:]
    else:
        return None
    watches = rest[0] == "watch" and len(rest) > 1 and method == "GET"
    rest = rest[1:] if watches else rest
    parameters = {}
    if rest[0] == "namespaces" and len(rest) > 2 and rest[2] not in ("status", "finalize"):
        parameters["namespace"] = rest[1]
        rest = rest[2:]
    plural, name, subresource = rest[0], rest[1] if len(rest) > 1 else "", rest[2] if len(rest) > 2 else ""
    if name:
        parameters["name"] = name
    if len(rest) > 3:
        parameters["path"] = "/".join(rest[3:])
    verb = _VERBS.get(method)
    if verb is None or (len(rest) > 3 and subresource != "proxy"):
        return None
    if not name:
        verb = {"get": "list", "delete": "deletecollection"}.get(verb, verb)
    verb = "watch" if watches else verb
    tool = ".".join(word for word in ("k8s", group, plural, subresource, verb) if word)
    rehearsable = subresource in _REHEARSABLE and ("." not in group or group.endswith(".k8s.io"))
    return Resource(
        tool, *_judged(group, plural, subresource, verb), parameters, f"Kubernetes verb: {verb}", rehearsable
    )


def _judged(group: str, plural: str, subresource: str, verb: str) -> tuple[Tier, Nature]:
    if subresource in _RUNS:
        return Tier.IRREVERSIBLE, Nature.EXEC
    if verb in ("get", "list", "watch"):
        if plural == "secrets":
            return Tier.VISIBLE, Nature.SECRET_READ
        return Tier.REVERSIBLE, Nature.READ
    if verb in ("delete", "deletecollection"):
        return Tier.IRREVERSIBLE, Nature.DELETE
    if plural in _REVIEWS:
        return Tier.REVERSIBLE, Nature.READ
    if subresource in _SUBRESOURCES_THAT_ACT:
        return Tier.IRREVERSIBLE, _SUBRESOURCES_THAT_ACT[subresource]
    if group in _PERMISSIONS or plural == "certificatesigningrequests":
        return Tier.IRREVERSIBLE, Nature.PERMISSIONS
    if plural == "secrets":
        return Tier.IRREVERSIBLE, Nature.CREDENTIAL
    if plural in _HEAVY and verb != "create":
        return Tier.IRREVERSIBLE, Nature.WRITE
    return Tier.VISIBLE, Nature.WRITE
