"""Policies written in a test, and facts to decide on."""

from __future__ import annotations

import json
from collections.abc import Mapping
from typing import Any

from douane.core.decision import Facts
from douane.core.policy import Policy
from douane.core.tool import Nature, Tier
from douane.edge.policy import policy_from_text


def policy_of(content: Mapping[str, Any] | str, **others: str) -> Policy:
    """The policy of a mapping or text, with further files by name."""
    text = content if isinstance(content, str) else json.dumps({"version": 1, **content}, indent=1)
    files = {f"{name}.yaml": other for name, other in others.items()}
    return policy_from_text(json.dumps({"policy.yaml": text, **files})).policy


def rules_of(*rules: Mapping[str, Any]) -> Policy:
    """A policy of rules alone."""
    return policy_of({"rules": list(rules)})


def facts(**members: Any) -> Facts:
    """A harmless read, but for what a test says."""
    plain: dict[str, Any] = {
        "tool": "github.repos.get",
        "tier": Tier.REVERSIBLE,
        "nature": Nature.READ,
        "mapped": True,
        "agent": "coder",
        "labels": {},
        "args": {},
        "host": "api.github.com",
        "method": "GET",
        "cost_nano": 0,
    }
    members = {**members}
    if "tier" in members:
        members["tier"] = Tier(members["tier"])
    if "nature" in members:
        members["nature"] = Nature(members["nature"])
    return Facts(**{**plain, **members})
