"""Kubernetes: names of the grammar for every resource of its Python client."""

from __future__ import annotations

import re

from catalog_sources.described import Described
from catalog_sources.packages import Files
from douane.core.catalog.kubernetes import read_path

HOSTS = [
    "kubernetes", "kubernetes.default", "kubernetes.default.svc", "kubernetes.default.svc.cluster.local",
    "kubernetes.docker.internal", "**.eks.amazonaws.com", "**.azmk8s.io", "**.k8s.ondigitalocean.com", "**.gke.goog",
    "**.linodelke.net", "**.k8s.civo.com",
]  # fmt: skip
_META = {"tier": "reversible", "nature": "meta", "evidence": "HTTP GET", "reads": "any"}


def read(files: Files) -> list[Described]:
    """The routes of the grammar, and the names that it gives to the resources of a cluster."""
    grammar = {"tier": "irreversible", "nature": "write", "evidence": "the path decides", "reader": "kubernetes"}
    found = []
    for method in ("GET", "POST", "PUT", "PATCH", "DELETE"):
        for template in ("/api/{version}/{*path}", "/apis/{group}/{version}/{*path}"):
            found.append(Described("k8s.resource", method, template, members=grammar))
    for template in ("/api", "/apis", "/api/{version}", "/apis/{group}", "/apis/{group}/{version}", "/version",
                     "/healthz", "/livez", "/readyz", "/openapi/{*path}", "/openid/v1/jwks"):  # fmt: skip
        found.append(Described("k8s.meta.get", "GET", template, members=_META))
    seen = set()
    pattern = re.compile(r"method='([A-Z]+)',\s*resource_path='([^']+)'|call_api\(\s*'(/[^']+)', '([A-Z]+)'", re.S)
    for name in files.names("kubernetes/client/api/", "_api.py"):
        for match in pattern.finditer(files.text(name)):
            method, path = match[1] or match[4], match[2] or match[3]
            resource = read_path(method, path.strip("/").split("/"))
            if resource is None or "{" in resource.tool or resource.tool in seen:
                continue
            seen.add(resource.tool)
            members = {"tier": resource.tier.value, "nature": resource.nature.value, "evidence": resource.why}
            found.append(Described(resource.tool, parameters="", members=members))
    return found
