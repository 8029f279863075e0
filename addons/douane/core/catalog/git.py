"""git over HTTPS: what a fetch or push asks for, from the pkt-lines before its pack (gitprotocol-pack, -http).

That a push is forced is not told on the wire. An update whose old commit is not proven to be an ancestor of the new one
counts as forced.
"""

from __future__ import annotations

import re
from collections.abc import Container
from dataclasses import dataclass
from typing import NamedTuple

from douane.core.catalog.pack import proven
from douane.core.refusal import RequestAmbiguous

MOST_LINES = 10_000
PUSH_MEDIA_TYPE = "application/x-git-receive-pack-request"
PROBE = b"0000"
"""What git sends before a large push, to learn whether it may: no command at all."""

_COMMAND = re.compile(
    rb"([0-9a-f]{40}|[0-9a-f]{64}) ([0-9a-f]{40}|[0-9a-f]{64}) ([^\0\n]+)(?:\0([^\n]*))?\n?", re.DOTALL
)
_NO_NAME = re.compile(rb"[\x00-\x20\x7f~^:?*\[\\]|\.\.|@\{|//|/\.|\.lock(?:/|$)|[/.]$")
"""What no name of a ref contains (git-check-ref-format)."""


@dataclass(frozen=True, slots=True)
class RefChange:
    """One ref that a push changes."""

    ref: str
    action: str
    """`create`, `update`, `force_or_unproven` (branches only), `delete`."""

    @property
    def tool(self) -> str:
        """The operation's catalog name."""
        return f"git.{_kind(self.ref)}.{self.action}"


@dataclass(frozen=True, slots=True)
class Push:
    """What one request of a push does."""

    changes: tuple[RefChange, ...]
    options: tuple[str, ...] = ()
    """`git push -o`: what they make of the push is the server's."""
    is_probe: bool = False


class _Command(NamedTuple):
    old: bytes
    new: bytes
    ref: str

    @property
    def step(self) -> tuple[bytes, bytes]:
        return self.old, self.new

    @property
    def moves_branch(self) -> bool:
        return bool(self.old.strip(b"0") and self.new.strip(b"0")) and _kind(self.ref) == "branch"

    def action(self, forward: Container[tuple[bytes, bytes]]) -> str:
        if not self.new.strip(b"0"):
            return "delete"
        if not self.old.strip(b"0"):
            return "create"
        return "force_or_unproven" if self.moves_branch and self.step not in forward else "update"


def _kind(ref: str) -> str:
    return "tag" if ref.startswith("refs/tags/") else "branch" if ref.startswith("refs/heads/") else "ref"


def _section(body: bytes, at: int = 0) -> tuple[list[bytes], int]:
    """The pkt-lines up to the next flush, and what is behind it; raises `RequestAmbiguous` for what is none."""
    lines: list[bytes] = []
    for _ in range(MOST_LINES):
        digits = body[at : at + 4]
        if digits == b"0000":
            return lines, at + 4
        try:
            length = int(digits, 16) if len(digits) == 4 and digits.isalnum() else 0
        except ValueError:
            length = 0
        if length == 1:  # a delimiter of protocol version 2
            at += 4
            continue
        if length < 4 or at + length > len(body):
            raise RequestAmbiguous("a git request that is not made of pkt-lines")
        lines.append(body[at + 4 : at + length])
        at += length
    raise RequestAmbiguous("a git request of too many lines")


def read_fetch(body: bytes) -> str:
    """`git.clone` for a request that wants without having, else `git.fetch`; both only read."""
    try:
        lines, _ = _section(body)
    except RequestAmbiguous:
        return "git.fetch"
    wants = any(line.startswith(b"want ") for line in lines)
    has = any(line.startswith(b"have ") for line in lines)
    return "git.clone" if wants and not has else "git.fetch"


def read_push(body: bytes) -> Push:
    """The refs that a push changes, and how; raises `RequestAmbiguous`."""
    if body == PROBE:
        return Push((), is_probe=True)
    lines, at = _section(body)
    commands: list[_Command] = []
    has_options = False
    for line in lines:
        if line.startswith(b"push-cert"):
            raise RequestAmbiguous("a signed push, whose commands are not read")
        if line.startswith(b"shallow "):
            continue
        match = _COMMAND.fullmatch(line)
        if match is None or _NO_NAME.search(match[3]):
            raise RequestAmbiguous("a push with a command that is none")
        commands.append(_Command(match[1], match[2], match[3].decode("utf-8", "backslashreplace")))
        has_options = has_options or b"push-options" in (match[4] or b"").split()
    if len({len(name) for command in commands for name in (command.old, command.new)}) > 1:
        raise RequestAmbiguous("a push with object names of two kinds")
    options: list[bytes] = []
    if has_options:
        options, at = _section(body, at)
    forward = proven(memoryview(body)[at:], (command.step for command in commands if command.moves_branch))
    return Push(
        tuple(RefChange(command.ref, command.action(forward)) for command in commands),
        tuple(option.decode("utf-8", "backslashreplace").strip() for option in options),
    )
