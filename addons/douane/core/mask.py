"""Secrets and hostile text, before anything is stored, logged or shown."""

from __future__ import annotations

import re
import unicodedata
from collections.abc import Mapping
from typing import Any

MASK = "••••"
MOST_TEXT = 2_000
MOST_MEMBERS = 100
MOST_DEPTH = 8
MOST_TOTAL = 16_000

_SECRET_NAME = re.compile(
    r"(^|[_\-.\[])(api[_-]?key|key|token|access[_-]?token|refresh[_-]?token|id[_-]?token|secret|client[_-]?secret"
    r"|password|passwd|passphrase|pwd|authorization|auth|credential|credentials|private[_-]?key|signature|sig|cookie"
    r"|session|sessionid|webhook[_-]?secret|bearer|jwt|pin|cvc|cvv|otp|code|assertion|number|account[_-]?number|iban"
    r"|encrypted[_-]?value|x[_-]amz[_-](signature|credential|security[_-]token)|x[_-]goog[_-](signature|credential))"
    r"([_\-.\]]|$)",
    re.IGNORECASE,
)
_NOT_SECRET_NAME = re.compile(
    r"(max|min|total|prompt|completion|input|output|num|count|budget|cached?)_?(completion_|output_|input_)?tokens?$"
    r"|^(key_id|token_type|issue_number|pull_number|code_of_conduct|milestone_number|alert_number|number_of.*)$"
    r"|_number$|^number$",
    re.IGNORECASE,
)

SECRET_LOOKS = re.compile(
    r"sk-[A-Za-z0-9_-]{12,}|(?:sk|rk|pk|whsec)_(?:live|test)?_?[A-Za-z0-9]{12,}"
    r"|gh[pousr]_[A-Za-z0-9]{16,}|github_pat_[A-Za-z0-9_]{20,}|glpat-[A-Za-z0-9_-]{16,}"
    r"|xox[abeoprs]-[A-Za-z0-9-]{10,}|xapp-[A-Za-z0-9-]{10,}|AIza[A-Za-z0-9_-]{30,}|ya29\.[A-Za-z0-9._-]{20,}"
    r"|(?:AKIA|ASIA)[A-Z0-9]{16}|gsk_[A-Za-z0-9]{20,}|xai-[A-Za-z0-9]{20,}|hf_[A-Za-z0-9]{20,}|npm_[A-Za-z0-9]{20,}"
    r"|pypi-[A-Za-z0-9_-]{20,}|eyJ[A-Za-z0-9_-]{8,}\.[A-Za-z0-9_-]{8,}\.[A-Za-z0-9_-]*|Bearer\s+[A-Za-z0-9._~+/=-]{8,}"
    r"|Basic\s+[A-Za-z0-9+/=]{8,}|-----BEGIN [A-Z ]*PRIVATE KEY-----[\s\S]*?(?:-----END [A-Z ]*PRIVATE KEY-----|$)"
    r"|(?<=://)[^/\s:@]+:[^/\s@]+(?=@)|bot[0-9]{6,}:[A-Za-z0-9_-]{20,}"
    r"|(?<=hooks\.slack\.com/)services/[A-Za-z0-9/]+|\b(?=[A-Za-z0-9+/_-]*[0-9])(?=[A-Za-z0-9+/_-]*[a-z])"
    r"(?=[A-Za-z0-9+/_-]*[A-Z])[A-Za-z0-9+/_-]{40,}={0,2}"
)
"""Texts that look like a credential wherever they stand: vendors' prefixes, JWTs, private keys, long random strings."""

_DIGITS = re.compile(r"\b(?:\d[ -]?){13,19}\b")


def is_secret_name(name: str) -> bool:
    """Whether a member of this name holds a secret."""
    return bool(_SECRET_NAME.search(name)) and not _NOT_SECRET_NAME.search(name)


def mask_text(text: str) -> str:
    """A text without what looks like a credential."""
    return SECRET_LOOKS.sub(MASK, text) if len(text) >= 12 else text


def mask_arguments(arguments: Mapping[str, Any], provider: str | None = None) -> dict[str, Any]:
    """Arguments fit to be stored and shown: secrets masked, long values cut with their length said, 16 KB in all."""
    budget = _Budget(MOST_TOTAL)
    return {str(k): _masked(str(k), v, budget, 0) for k, v in list(arguments.items())[:MOST_MEMBERS]}


class _Budget:
    __slots__ = ("left",)

    def __init__(self, left: int) -> None:
        self.left = left


def _masked(name: str, value: Any, budget: _Budget, depth: int) -> Any:
    if value is None or isinstance(value, bool):
        return value
    if isinstance(value, int | float):
        budget.left -= 8
        if is_secret_name(name):
            return MASK
        return value if isinstance(value, int) and abs(value) < 2**53 else str(value)[:40]
    if isinstance(value, str):
        if is_secret_name(name):
            return MASK
        most = max(0, min(MOST_TEXT, budget.left))
        text = mask_text(value if len(value) <= 4 * MOST_TEXT else value[: 4 * MOST_TEXT])
        budget.left -= min(len(text), most)
        return text if len(value) <= most else f"{text[:most]}… ({len(value)} characters)"
    if depth >= MOST_DEPTH or budget.left <= 0:
        return "…"
    if isinstance(value, Mapping):
        if is_secret_name(name) and not any(isinstance(v, Mapping | list) for v in value.values()):
            return MASK
        found = {str(k)[:200]: _masked(str(k), v, budget, depth + 1) for k, v in list(value.items())[:MOST_MEMBERS]}
        if len(value) > MOST_MEMBERS:
            found["…"] = f"{len(value) - MOST_MEMBERS} more"
        return found
    if isinstance(value, list | tuple):
        items = [_masked(name, item, budget, depth + 1) for item in value[:MOST_MEMBERS]]
        return items if len(value) <= MOST_MEMBERS else [*items, f"… {len(value) - MOST_MEMBERS} more"]
    return MASK


def mask_target(target: bytes) -> str:
    """A request target for people: values of secret-named parameters and what looks like a credential masked."""
    path, question, query = target.decode("latin-1").partition("?")
    if not question:
        return printable(mask_text(path))
    parts = []
    for part in query.split("&"):
        name, equals, _ = part.partition("=")
        parts.append(f"{name}={MASK}" if equals and is_secret_name(name) else mask_text(part))
    return printable(f"{mask_text(path)}?{'&'.join(parts)}")


_ODD_SPACES = {"Zl", "Zp", "Cc", "Cf", "Cs", "Co", "Cn"}


def printable(text: str) -> str:
    """A text in which control, bidirectional, invisible and odd space characters are escaped as `\\u{…}`."""
    if text.isascii() and text.isprintable():
        return text
    return "".join(
        f"\\u{{{ord(ch):x}}}" if unicodedata.category(ch) in _ODD_SPACES or (ch.isspace() and ch != " ") else ch
        for ch in text
    )
