"""What a reader finds in a vendor's description: operations with their routes, before anybody judged them."""

from __future__ import annotations

import re
from dataclasses import dataclass, field
from typing import Any

from douane.core.catalog.trie import Selector

_NAME = re.compile(r"[^A-Za-z0-9_.$()'=\-]+")


@dataclass(slots=True)
class Described:
    """One route of one operation."""

    tool: str
    method: str = ""
    """Without: a name that a reader of bodies gives, with no route of its own."""
    template: str = ""
    parameters: str | None = None
    """Where they stand, if not simply in the order of the template."""
    selector: Selector | None = None
    members: dict[str, Any] = field(default_factory=dict)
    """Tier, nature, evidence and the like."""

    def parameter_text(self) -> str:
        """The path parameters as a row has them."""
        return ",".join(parameters_of(self.template)) if self.parameters is None else self.parameters


@dataclass(slots=True)
class Api:
    """One shard to be: operations that share hosts."""

    name: str
    """`github`, `aws/ec2`."""
    prefix: str
    operations: list[Described]
    hosts: list[str] = field(default_factory=list)
    """Patterns."""
    profile: dict[str, Any] = field(default_factory=dict)
    source: str = ""
    """Package and version, for the report."""


def parameters_of(template: str) -> list[str]:
    """The names of a template's parameters, one for each segment at most (`{base}...{head}` is `base...head`)."""
    found = re.findall(r"(?:^|/)[^/{]*\{[+*]?([^/]*)\}", template)
    return [re.sub(r"[\s,@]", "_", name.replace("{", "").replace("}", "")) for name in found]


def words(name: str) -> str:
    """A name in lower case, its words parted by `_`: `ListUserTags` → `list_user_tags`."""
    name = re.sub(r"(?<=[a-z0-9])(?=[A-Z])|(?<=[A-Z])(?=[A-Z][a-z])", "_", name)
    return name.lower()


def tool_name(text: str) -> str:
    """A vendor's name without what a row cannot hold."""
    return _NAME.sub("_", text).strip("._")


def template_of(path: str) -> str | None:
    """A template whose segments each have one parameter at most; None for what is not a path."""
    parts = []
    for part in path.strip("/").split("/"):
        start, end = part.find("{"), part.rfind("}")
        if (start < 0) != (end < 0) or end < start:
            return None
        parts.append(part if start < 0 else part[: start + 1] + re.sub(r"[{}*+]", "", part[start:end]) + part[end:])
    return "/" + "/".join(parts)
