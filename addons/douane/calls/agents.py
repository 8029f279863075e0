"""Who is calling: the registered agents in memory, so that every request is checked against what holds now."""

from __future__ import annotations

import time
from collections.abc import Iterable, Mapping
from dataclasses import dataclass

from douane.core.decision import Principal
from douane.core.refusal import ReasonCode, Refusal
from douane.edge.secrets import key_hash
from douane.store.interface import AgentRow

DEFAULT_AGENT = "default"
"""The name of unauthenticated loopback clients, while no agent was ever registered."""


AGENT_UNKNOWN = Refusal(
    ReasonCode.AGENT_UNKNOWN,
    "The agent's key is not valid: it was removed, rotated or suspended, or never was. Nothing was sent.",
)


@dataclass(frozen=True, slots=True)
class Credential:
    """What a client presented: checked again for every request of its connection."""

    name: str
    key_hash: str


class Agents:
    """All registered agents by key. A change replaces the tables whole, so a reader sees one state or the other."""

    def __init__(self, rows: Iterable[AgentRow], *, ever_registered: bool) -> None:
        self._rows: dict[str, AgentRow] = {}
        self._principals: dict[str, Principal] = {}
        self._keys: Mapping[str, tuple[str, int | None]] = {}
        self._ever_registered = ever_registered
        self.replace(rows)

    def replace(self, rows: Iterable[AgentRow]) -> None:
        """Take the registered agents as they are now."""
        table = {row.name: row for row in rows}
        self._ever_registered = self._ever_registered or bool(table)
        self._principals = {row.name: Principal(row.name, dict(row.labels), row.cap_nano) for row in table.values()}
        self._keys = {digest: (row.name, ends) for row in table.values() for digest, ends in row.key_hashes.items()}
        self._rows = table

    def credential(self, name: str, key: str) -> Credential | None:
        """The credential of a name and a key in clear, or None where they do not belong together now."""
        presented = Credential(name, key_hash(key))
        return presented if self.principal(presented) else None

    def principal(self, credential: Credential | None) -> Principal | None:
        """Who a credential stands for at this moment; None once removed, rotated, suspended or over."""
        if credential is None:
            return None if self._ever_registered else Principal(DEFAULT_AGENT, {})
        owner = self._keys.get(credential.key_hash)
        if owner is None or owner[0] != credential.name:
            return None
        if owner[1] is not None and time.time_ns() // 1000 >= owner[1]:
            return None
        if self._rows[credential.name].suspended:
            return None
        return self._principals[credential.name]

    @property
    def default_agent_allowed(self) -> bool:
        """Whether unauthenticated loopback clients are the `default` agent."""
        return not self._ever_registered

    def names(self) -> tuple[str, ...]:
        """All registered names, or the default agent's while there are none."""
        return tuple(self._rows) or ((DEFAULT_AGENT,) if not self._ever_registered else ())

    def row(self, name: str) -> AgentRow | None:
        """A registered agent as it stands."""
        return self._rows.get(name)
