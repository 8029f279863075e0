"""Kubernetes: the grammar of its API's paths names the tool, custom resources included.

`/api/v1/namespaces/a/pods/b/exec` is `k8s.pods.exec.create`, `/apis/apps/v1/deployments` `k8s.apps.deployments.list`.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

from douane.core.catalog.operation import Predicate
from douane.core.tool import Nature, Tier

_VERBS = {"GET": "get", "POST": "create", "PUT": "update", "PATCH": "patch", "DELETE": "delete"}
_RUNS = frozenset({"exec", "attach", "portforward", "proxy"})
"""Subresources that reach into what runs, whatever the method."""
_PERMISSIONS = frozenset({"rbac.authorization.k8s.io", "admissionregistration.k8s.io", "apiregistration.k8s.io"})
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


def stops(body: object) -> bool:
    """Whether a body leaves no replica running, as an object or as a JSON patch."""
    if isinstance(body, dict):
        spec = body.get("spec")
        return isinstance(spec, dict) and spec.get("replicas", 1) in (0, "0", None)
    if isinstance(body, list):
        return any(
            isinstance(step, dict) and str(step.get("path", "")).endswith("replicas") and step.get("value") in (0, "0")
            for step in body
        )
    return False


@dataclass(frozen=True, slots=True)
class Resource:
    """What a path of the API is about, and what a method does to it."""

    tool: str
    tier: Tier
    nature: Nature
    parameters: dict[str, str]
    why: str


def read_path(method: str, segments: Sequence[str]) -> Resource | None:
    """The resource of a path, or None for one that is none of the grammar's; lists and watches are reads."""
    parts = list(segments)
    if parts[:1] == ["api"] and len(parts) > 2:
        group, rest = "", parts[2:]
    elif parts[:1] == ["apis"] and len(parts) > 3:
        group, rest = parts[1], parts[3:]
    else:
        return None
    watches = rest[0] == "watch" and len(rest) > 1
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
    return Resource(tool, *_judged(group, plural, subresource, verb), parameters, f"Kubernetes verb: {verb}")


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
