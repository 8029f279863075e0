"""Policy folders for tests: the shipped policy, with what a test needs otherwise."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path
from typing import Any

import yaml

SHIPPED = Path(__file__).parents[2] / "policy" / "policy.yaml"


def policy_folder(
    folder: Path,
    *,
    wait: str | None = None,
    expires: str | None = None,
    cap_usd: str | None = None,
    window: str | None = None,
    reservation: str | None = None,
    deny: Sequence[str] = (),
    **limits: int,
) -> Path:
    """A folder with `policy.yaml`: other holds, another cap for all, tools denied, other limits."""
    policy: dict[str, Any] = yaml.safe_load(SHIPPED.read_text())
    if wait is not None:
        policy["hold"]["wait"] = wait
    if expires is not None:
        policy["hold"]["expiry"] = expires
    (budget,) = policy["budgets"]
    if cap_usd is not None:
        budget["cap"] = f"${cap_usd}"
    if window is not None:
        budget["window"] = window
    if reservation is not None:
        budget["reservation"] = reservation
    if deny:
        policy["rules"].append(
            {"name": "denied-by-the-test", "effect": "deny", "tools": list(deny), "reason": "the test says so"}
        )
    if limits:
        policy["limits"] = [dict(limits)]
    folder.mkdir(parents=True, exist_ok=True)
    (folder / "policy.yaml").write_text(yaml.safe_dump(policy, sort_keys=False))
    return folder
