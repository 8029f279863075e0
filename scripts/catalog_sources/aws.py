"""AWS: every service of botocore, several releases together, with IAM's access levels."""

from __future__ import annotations

import json
import re
from collections import defaultdict
from typing import Any

from catalog_sources.described import Api, Described
from catalog_sources.packages import Files
from catalog_sources.tiers import guess
from douane.core.catalog.trie import Selector

_DATA = re.compile(r"botocore/data/([^/]+)/(\d{4}-\d\d-\d\d)/service-2\.json(\.gz)?$")
_READS = {"json": "json", "rest-json": "json", "query": "form", "ec2": "form"}
_SUFFIXES = {
    "{PartitionResult#dnsSuffix}": ("amazonaws.com", "amazonaws.com.cn"),
    "{PartitionResult#dualStackDnsSuffix}": ("api.aws", "api.amazonwebservices.com.cn"),
}
_ENDS = (
    "amazonaws.com",
    "amazonaws.com.cn",
    "api.aws",
    "api.amazonwebservices.com.cn",
    "amazonaws.eu",
    "on.aws",
    "aws.amazon.com",
    "signin.aws",
)
_FIRST = {"rds": "0", "elbv2": "0", "sesv2": "0", "s3": "0"}
"""Services named first where several share a host and an operation's name."""
_MODELS = {"bedrock-runtime", "bedrock-agent-runtime", "sagemaker-runtime"}
"""Services that serve models: whatever is posted there is charged."""
_VERSIONED = {"elb", "elbv2"}
"""Services whose operations only the API's version tells apart."""


_QUERIED = {"sqs": "/{AccountId}/{QueueName}"}
"""Services that still answer the query protocol, which newer models leave out, and where their resources stand."""


def read(releases: list[Files], access: Files) -> list[Api]:
    """One API a service, named as boto3's client."""
    levels = _Levels(access)
    found: dict[str, dict[str, Any]] = {}
    for files in releases:  # the newest first: what vanished since is added
        for service, versions in _services(files).items():
            for model in versions:
                known = found.setdefault(service, model)
                for name, operation in model["operations"].items():
                    known["operations"].setdefault(name, operation | {"shapes": model["shapes"]})
    hosts = _hosts(releases)
    source = ", ".join([*(files.source for files in releases), access.source])
    apis = [_api(service, model, levels, hosts.get(service, []), source) for service, model in sorted(found.items())]
    return [*apis, _bucket(next(api for api in apis if api.name == "aws/s3"))]


def _services(files: Files) -> dict[str, list[dict[str, Any]]]:
    """The models of each service, the newest first."""
    found: dict[str, list[tuple[str, str]]] = defaultdict(list)
    for name in files.names("botocore/data/"):
        if match := _DATA.match(name):
            found[match[1]].append((match[2], name))
    return {
        service: [json.loads(files.read(name)) for _, name in sorted(versions, reverse=True)]
        for service, versions in found.items()
    }


def _api(service: str, model: dict[str, Any], levels: _Levels, hosts: list[str], source: str) -> Api:
    meta = model["metadata"]
    protocols = meta.get("protocols") or [meta["protocol"]]
    protocols = list(dict.fromkeys([*protocols, *(["query"] if service in _QUERIED else [])]))
    signing = meta.get("signingName") or meta["endpointPrefix"]
    services = (signing, meta["endpointPrefix"], meta.get("serviceId", "").lower().replace(" ", ""), service)
    operations: list[Described] = []
    more: set[str] = set()
    for name, described in sorted(model["operations"].items()):
        shapes = described.get("shapes") or model["shapes"]
        tool = f"aws.{service}.{name}"
        method = described["http"]["method"]
        level = levels.of(services, name)
        members = _judged(tool, method, level, reads_by_verb=protocols[0].startswith("rest"))
        prefix = (described.get("endpoint") or {}).get("hostPrefix")
        if prefix:
            more |= {_patterns(prefix, host) for host in hosts}
        for protocol in protocols:
            operations += _routes(tool, protocol, meta, described, shapes, dict(members))
    profile = {"signing": signing, "encoded_slash": "part", "reads": _READS.get(protocols[0], "any")}
    for found in operations:
        if found.members.get("reads") == profile["reads"]:
            del found.members["reads"]
        if service in _MODELS and found.method == "POST":
            found.members["billable"] = True
    return Api(f"aws/{service}", f"aws.{service}.", _parted(operations), sorted({*hosts, *more}), profile, source)


def _judged(tool: str, method: str, level: str, *, reads_by_verb: bool) -> dict[str, Any]:
    if level in ("Read", "List") and method != "DELETE":
        return guess(tool, method, declared=f"IAM: {level}")
    if level.startswith("Permissions"):
        return {"tier": "irreversible", "nature": "permissions", "evidence": f"IAM: {level}"}
    if level == "" and method in ("GET", "HEAD") and reads_by_verb:
        return guess(tool, method)
    found = guess(tool, "DELETE" if method == "DELETE" else "POST")
    return found | ({"evidence": f"IAM: {level}; {found['evidence']}"} if level else {})


def _routes(
    tool: str, protocol: str, meta: dict[str, Any], described: dict[str, Any], shapes: dict[str, Any], members: Any
) -> list[Described]:
    name = tool.rpartition(".")[2]
    members["reads"] = _READS.get(protocol, "any")
    shape = shapes.get((described.get("input") or {}).get("shape", ""), {})
    # Some operations of EC2 have no such parameter, and nobody says that they honour it.
    if protocol == "ec2" and "DryRun" in shape.get("members", {}) and members["tier"] != "reversible":
        members["lowers"] = [
            {"argument": "DryRun", "equals": ["true"], "tier": "reversible", "why": "DryRun only rehearses"}
        ]
    if protocol == "json":
        selector = Selector("header", "x-amz-target", f"{meta['targetPrefix']}.{name}")
        return [Described(tool, "POST", "/", selector=selector, members=members)]
    if protocol in ("query", "ec2"):
        versioned = tool.split(".")[1] in _VERSIONED
        key, value = ("Action&Version", f"{name}&{meta['apiVersion']}") if versioned else ("Action", name)
        return [
            Described(tool, method, path, selector=Selector("form", key, value), members=members)
            for path in filter(None, ("/", _QUERIED.get(tool.split(".")[1])))
            for method in ("POST", "GET")
        ]
    if protocol == "smithy-rpc-v2-cbor":
        target = meta.get("targetPrefix") or meta["serviceId"].replace(" ", "")
        return [Described(tool, "POST", f"/service/{target}/operation/{name}", members=members)]
    path, _, query = described["http"]["requestUri"].partition("?")
    template = re.sub(r"\{([^{}]+)\+\}", r"{*\1}", path).rstrip("/") or "/"
    payload = shapes.get((shape.get("members", {}).get(shape.get("payload", "")) or {}).get("shape", ""), {})
    if payload.get("type") in ("blob", "string"):
        members["reads"] = "any"
    selector = _selector(query, shape)
    if (selector is not None and selector.where != "query") or (selector and not query):
        selector = selector._replace(name=f"?{selector.name}")  # only where it is needed, see _parted
    return [Described(tool, described["http"]["method"], template, selector=selector, members=members)]


def _selector(query: str, shape: dict[str, Any]) -> Selector | None:
    """What tells an operation from others of its route: a fixed query key, or a member that it cannot do without."""
    for part in query.split("&"):
        key, _, value = part.partition("=")
        if key and key != "x-id":
            return Selector("query", key, value or "*")
    members = shape.get("members", {})
    for where in ("header", "querystring"):
        for name in shape.get("required", ()):
            if members[name].get("location") == where:
                return Selector("header" if where == "header" else "query", members[name]["locationName"])
    return None


def _parted(operations: list[Described]) -> list[Described]:
    """Selectors by a member stay only where operations share a route."""
    routes: dict[tuple[str, str], int] = defaultdict(int)
    for found in operations:
        routes[found.method, re.sub(r"\{[^}]*\}", "{}", found.template)] += 1
    for found in operations:
        if found.selector is not None and found.selector.name.startswith("?"):
            shared = routes[found.method, re.sub(r"\{[^}]*\}", "{}", found.template)] > 1
            found.selector = found.selector._replace(name=found.selector.name[1:]) if shared else None
    return operations


def _bucket(path_style: Api) -> Api:
    """S3 as bucket hosts serve it: without the bucket in the path."""
    operations = [
        Described(
            found.tool,
            found.method,
            found.template.removeprefix("/{Bucket}") or "/",
            None,
            found.selector,
            found.members,
        )
        for found in path_style.operations
        if found.template.startswith("/{Bucket}")
    ]
    hosts = [
        f"**.{service}.{end}"
        for end in ("amazonaws.com", "amazonaws.com.cn")
        for service in ("s3", "s3.*", "s3-fips.*", "s3.dualstack.*", "s3-fips.dualstack.*", "s3-accelerate",
                        "s3-accelerate.dualstack", "s3-accesspoint.*", "s3express-use1-az4.*")
    ]  # fmt: skip
    regions = ("us-east-1", "us-east-2", "us-west-1", "us-west-2", "eu-west-1", "eu-central-1", "ap-northeast-1",
               "ap-southeast-1", "ap-southeast-2", "sa-east-1")  # fmt: skip
    hosts += [f"**.s3-{region}.amazonaws.com" for region in regions]
    path_style.hosts = sorted(
        {*path_style.hosts, "s3.amazonaws.com", "s3.*.amazonaws.com", "s3-fips.*.amazonaws.com", "s3.*.amazonaws.com.cn",
         "s3.dualstack.*.amazonaws.com", "s3-fips.dualstack.*.amazonaws.com",
         *(f"s3-{region}.amazonaws.com" for region in regions)}
    )  # fmt: skip
    return Api("aws/s3-bucket", "aws.s3.", operations, hosts, path_style.profile, path_style.source)


class _Levels:
    """IAM's access level of each action."""

    def __init__(self, files: Files) -> None:
        self._levels: dict[str, dict[str, str]] = {}
        for name in files.names("package/data/actions/", ".json"):
            actions = json.loads(files.read(name))
            service = name.rpartition("/")[2].removesuffix(".json")
            self._levels[service] = {key: found["accessLevel"] for key, found in actions.items()}

    def of(self, services: tuple[str, ...], operation: str) -> str:
        """The access level under any of a service's names, or nothing."""
        for service in services:
            if level := self._levels.get(service, {}).get(operation.lower()):
                return level
        return ""


def _hosts(releases: list[Files]) -> dict[str, list[str]]:
    """Host patterns of each service, from the endpoint rules of all releases."""
    found: dict[str, set[str]] = defaultdict(set)
    for files in releases:
        for name in files.names("botocore/data/"):
            if "/endpoint-rule-set-1.json" not in name:
                continue
            service = name.split("/")[2]
            for url in re.findall(r'"url"\s*:\s*"https://([^"/]+)', files.text(name)):
                found[service] |= set(_expanded(url))
    ends = ("amazonaws.com", "amazonaws.com.cn")
    found["s3control"] = {
        f"{start}{name}.{way}*.{end}"
        for start in ("", "**.") for name in ("s3-control", "s3-control-fips") for way in ("", "dualstack.") for end in ends
    }  # fmt: skip
    return {service: sorted(hosts) for service, hosts in found.items() if service != "s3"} | {"s3": []}


def _expanded(url: str) -> list[str]:
    urls = [url]
    for mark, suffixes in _SUFFIXES.items():
        urls = [one.replace(mark, suffix) for one in urls for suffix in (suffixes if mark in one else ("",))]
    patterns = [re.sub(r"\{[^{}]*\}", "*", one).lower() for one in urls]
    labels = [pattern.split(".") for pattern in patterns]
    return [
        ".".join(label if label == "*" or "*" not in label else "*" for label in parts)
        for pattern, parts in zip(patterns, labels, strict=True)
        if pattern.endswith(_ENDS) and any(label.strip("*") for label in parts[: -2 if "api" not in parts else -3])
    ]


def _patterns(prefix: str, host: str) -> str:
    """A host under an operation's own prefix (`data-`, `{AccountId}.`)."""
    labels = re.sub(r"\{[^{}]*\}", "*", prefix).lower() + host
    return ".".join(label if "*" not in label else "*" for label in labels.split("."))
