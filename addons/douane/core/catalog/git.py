"""git over HTTPS: what a fetch or push asks for, from the pkt-lines before its pack (gitprotocol-pack, -http)."""

from __future__ import annotations

import re
from collections.abc import Iterator
from dataclasses import dataclass

from douane.core.refusal import RequestAmbiguous

MOST_LINES = 10_000
PUSH_MEDIA_TYPE = "application/x-git-receive-pack-request"

_COMMAND = re.compile(rb"([0-9a-f]{40}|[0-9a-f]{64}) ([0-9a-f]{40}|[0-9a-f]{64}) ([^\0\n]+)(?:\0[^\n]*)?\n?")


@dataclass(frozen=True, slots=True)
class RefChange:
    """One ref that a push changes."""

    ref: str
    action: str
    """`create`, `update` (forced or not: the wire does not tell), `delete`."""

    @property
    def tool(self) -> str:
        """The operation's catalog name."""
        kind = "tag" if self.ref.startswith("refs/tags/") else "branch" if self.ref.startswith("refs/heads/") else "ref"
        return f"git.{kind}.{self.action}"


def _lines(body: bytes) -> Iterator[bytes]:
    """The pkt-lines up to the first flush; raises `RequestAmbiguous` for what is none."""
    at = 0
    for _ in range(MOST_LINES):
        digits = body[at : at + 4]
        if digits == b"0000":
            return
        try:
            length = int(digits, 16) if len(digits) == 4 and digits.isalnum() else 0
        except ValueError:
            length = 0
        if length == 1:  # a delimiter of protocol version 2
            at += 4
            continue
        if length < 4 or at + length > len(body):
            raise RequestAmbiguous("a git request that is not made of pkt-lines")
        yield body[at + 4 : at + length]
        at += length
    raise RequestAmbiguous("a git request of too many lines")


def read_fetch(body: bytes) -> str:
    """`git.clone` for a request that wants without having, else `git.fetch`; both only read."""
    wants = has = False
    try:
        for line in _lines(body):
            wants = wants or line.startswith(b"want ")
            has = has or line.startswith(b"have ")
    except RequestAmbiguous:
        return "git.fetch"
    return "git.clone" if wants and not has else "git.fetch"


def read_push(body: bytes) -> tuple[RefChange, ...]:
    """The refs that a push changes, none for the probe before a large one; raises `RequestAmbiguous`."""
    found = []
    for line in _lines(body):
        if line.startswith((b"shallow ", b"push-cert")):
            if line.startswith(b"push-cert"):
                raise RequestAmbiguous("a signed push, whose commands are not read")
            continue
        command = _COMMAND.fullmatch(line)
        if command is None:
            raise RequestAmbiguous("a push with a command that is none")
        old, new = command[1].strip(b"0"), command[2].strip(b"0")
        action = "delete" if not new else "update" if old else "create"
        found.append(RefChange(command[3].decode("utf-8", "backslashreplace"), action))
    return tuple(found)
