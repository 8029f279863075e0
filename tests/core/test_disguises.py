"""Every irreversible route of the catalog under every disguise: never mapped to a lower tier than its plain form."""

from __future__ import annotations

import random
from collections.abc import Callable, Iterator
from urllib.parse import quote

import pytest

from douane.core.catalog import Shard
from douane.core.refusal import RequestAmbiguous
from douane.core.tool import Tier
from support.requests import classified, shipped_catalog

type Plain = tuple[str, str, str, list[str]]
"""Method, address, body and headers."""


def first_letter(path: str) -> str:
    """Every other segment with its first letter encoded."""
    parts = path.split("/")
    return "/".join(f"%{ord(part[0]):02X}{part[1:]}" if part and at % 2 else part for at, part in enumerate(parts))


PATHS: dict[str, Callable[[str], str]] = {
    "as it is": lambda path: path,
    "encoded letters": first_letter,
    "all encoded": lambda path: "/".join("".join(f"%{byte:02x}" for byte in part.encode()) for part in path.split("/")),
    "encoded twice": lambda path: path.replace("/", "/%2561", 1),
    "a trailing slash": lambda path: path.rstrip("/") + "/",
    "a double slash": lambda path: path.replace("/", "//", 1),
    "a dot segment": lambda path: "/." + path,
    "a way up": lambda path: "/x/.." + path,
    "an encoded way up": lambda path: "/x/%2e%2e" + path,
    "a backslash": lambda path: "/" + quote("\\") + path,
    "a path parameter": lambda path: path + ";x=1",
    "a null": lambda path: path + "%00",
    "a suffix": lambda path: path + (".json" if path != "/" else ""),
    "a query": lambda path: path + "?x=1",
    "an empty query": lambda path: path + "?",
    "upper case": lambda path: path.upper(),
}
METHODS: dict[str, Callable[[Plain], Plain]] = {
    "plain": lambda plain: plain,
    "by header": lambda plain: ("POST", plain[1], plain[2], [*plain[3], f"X-HTTP-Method-Override: {plain[0]}"]),
    "by a header's twin": lambda plain: ("POST", plain[1], "", [*plain[3], f"x_method_override: {plain[0].lower()}"]),
    "by query": lambda plain: ("POST", f"{plain[1]}{'&' if '?' in plain[1] else '?'}_method={plain[0]}", *plain[2:]),
    "by query, Microsoft's": lambda plain: (
        "POST", f"{plain[1]}{'&' if '?' in plain[1] else '?'}%24httpMethod={plain[0]}", *plain[2:],
    ),
    "as a GET": lambda plain: ("GET", plain[1], plain[2], [*plain[3], f"X-HTTP-Method-Override: {plain[0]}"]),
}  # fmt: skip


def irreversible(shard: Shard) -> Iterator[tuple[str, str, list[str]]]:
    """Method, path and headers of each irreversible route."""
    for operation, method, template, selector in shard.routes():
        if operation.tier is not Tier.IRREVERSIBLE or operation.reader is not None or method == "GET":
            continue
        path = "/" + "/".join(template).replace("{*}", "a/b").replace("{}", "x1")
        headers = []
        if selector is not None:
            where, name, value = selector
            value = "x1" if value == "*" else value
            if where == "header":
                headers = [f"{name}: {value}"]
            elif where in ("query", "form") and "&" not in name:
                path += f"?{name}={value}"
            else:
                continue
        yield method, path, headers


SHARDS = sorted(shard.name for shard in shipped_catalog().shards() if any(True for _ in irreversible(shard)))
PLACES = {name: host for host, site in reversed(shipped_catalog().sites.all().items()) for name in site.shards}


def host_of(name: str, shard: Shard) -> str:
    host = PLACES[name].replace("**", "a").replace("*", "us-east-1")
    return f"https://{host}" + (f"/{min(shard.roots)}" if shard.roots else "")


@pytest.mark.parametrize("provider", sorted({name.partition("/")[0] for name in SHARDS} - {"mcp"}))
def test_no_disguise_of_an_irreversible_route_lowers_its_tier(provider: str) -> None:
    chance = random.Random(11)
    shards = [shard for shard in shipped_catalog().shards() if shard.name.partition("/")[0] == provider]
    routes = [(shard, route) for shard in shards if shard.name in PLACES for route in irreversible(shard)]
    for shard, (method, path, headers) in chance.sample(routes, min(len(routes), 150)):
        start = host_of(shard.name, shard)
        for shown, disguise in PATHS.items():
            bare, _, query = path.partition("?")
            target = disguise(bare)
            target += ("&" if "?" in target else "?") + query if query else ""
            for override, dressed in METHODS.items():
                sent = dressed((method, start + target, "", headers))
                if override == "as a GET" or (shown == "upper case" and not shard.folds_case):
                    continue  # refused, or another resource: see below
                try:
                    found = classified(sent[0], sent[1], sent[2], *sent[3])
                except RequestAmbiguous:
                    continue
                assert found.tier is Tier.IRREVERSIBLE, (sent, shown, override, found.tool, found.evidence)


def test_a_get_that_asks_for_another_method_is_refused() -> None:
    for url in (
        "https://api.github.com/repos/a/b",
        "https://graph.microsoft.com/v1.0/users/u",
        "https://example.com/x",
    ):
        with pytest.raises(RequestAmbiguous):
            classified("GET", url, "", "X-HTTP-Method-Override: DELETE")


def test_another_case_is_another_resource_and_held_as_unknown() -> None:
    found = classified("DELETE", "https://api.github.com/REPOS/a/b")
    assert (found.tool, found.tier) == ("github.unmatched.delete", Tier.IRREVERSIBLE)
    found = classified("DELETE", "https://management.azure.com/SUBSCRIPTIONS/s/RESOURCEGROUPS/g")
    assert (found.tool, found.tier) == ("azure.ResourceGroups.Delete", Tier.IRREVERSIBLE)
