"""What a reviewer reads of a held call: plain text in which nothing that an agent wrote can forge a line."""

from __future__ import annotations

import hashlib
import json
from typing import Any

from douane.core.mask import printable
from douane.core.money import format_usd

MOST_VALUE = 4_000


def card_text(review: dict[str, Any]) -> str:
    """The Governance view of a review."""
    state = str(review["state"])
    lines = [
        one_line(review["summary"]) or one_line(review["tool"]),
        "",
        f"state      {state}{_by(review)}",
        *([f"answer     {review['result_status']}, from the provider"] if review.get("result_status") else []),
        f"tool       {one_line(review['tool'])}",
        f"tier       {one_line(review['tier'])}   ({one_line(review['nature'])})",
        f"agent      {one_line(review['agent'])}",
        f"request    {one_line(review['method'])} {one_line(review['host'])}   ({review['body_bytes']} bytes of body)",
        f"held       {one_line(review['reason'])}",
        f"rule       {one_line(review['rule'])}",
        f"evidence   {one_line(review['evidence'])}",
        f"costs      {'up to ' + format_usd(review['cost_nano']) if review['cost_nano'] else 'nothing metered'}",
        f"since      {review['created_at']}",
        f"expires    {review['expires_at']}",
        f"client     {_client(review)}",
    ]
    if review["state"] in _CAN_GO:
        lines.append(f"approval   {_on_approval(review)}")
    if review.get("operations"):
        lines += ["", "operations in this request"] + [f"    {one_line(name)}" for name in review["operations"]]
    lines += ["", "arguments"]
    lines += _members(review["arguments"], "    ") or ["    none"]
    if look_alikes(review):
        lines += ["", "CAREFUL: there are letters of other alphabets that look like Latin ones in the text above."]
    return "\n".join(lines)


SHOWN = (
    *("review_id", "summary", "tool", "tier", "nature", "agent", "host", "method", "body_bytes", "arguments"),
    *("operations", "reason", "rule", "evidence", "cost_nano"),
)
"""All that a card says, but for what changes while it waits."""


def card_digest(review: dict[str, Any]) -> str:
    """What was shown, in hexadecimal: an approval is for exactly this."""
    shown = {name: review[name] for name in SHOWN}
    return hashlib.sha256(json.dumps(shown, sort_keys=True).encode()).hexdigest()


def one_line(value: Any) -> str:
    """A value on one line, control and invisible characters escaped."""
    text = value if isinstance(value, str) else json.dumps(value, ensure_ascii=False)
    shown = printable(text)
    return shown if len(shown) <= MOST_VALUE else f"{shown[:MOST_VALUE]}… ({len(shown)} characters)"


def _members(value: Any, indent: str) -> list[str]:
    if isinstance(value, dict):
        lines = []
        for name, item in value.items():
            if isinstance(item, dict | list) and item:
                lines += [f"{indent}{one_line(name)}:", *_members(item, indent + "    ")]
            else:
                lines.append(f"{indent}{one_line(name)}: {one_line(item)}")
        return lines
    if isinstance(value, list):
        lines = []
        for item in value:
            nested = isinstance(item, dict | list) and item
            lines += _members(item, indent + "    ") if nested else [f"{indent}- {one_line(item)}"]
        return lines
    return [f"{indent}{one_line(value)}"]


_CAN_GO = ("pending", "approved")


def _by(review: dict[str, Any]) -> str:
    if not review.get("reviewer"):
        return ""
    note = f": {one_line(review['note'])}" if review.get("note") else ""
    return f"   by {one_line(review['reviewer'])} at {review['decided_at']}{note}"


def _client(review: dict[str, Any]) -> str:
    if review["state"] not in _CAN_GO:
        return "-"
    return "waits now" if review["waiting"] else "does not wait; it has to call again after an approval"


def _on_approval(review: dict[str, Any]) -> str:
    if review["waiting"]:
        return "the waiting call is sent at once, exactly as shown, once"
    return "the agent's next identical call is sent, once, until the review expires"


def look_alikes(review: dict[str, Any]) -> bool:
    """Whether words mix Latin letters with Cyrillic or Greek ones."""
    text = json.dumps([review["summary"], review["arguments"]], ensure_ascii=False)
    for word in text.split():
        latin = any("a" <= ch.lower() <= "z" for ch in word)
        other = any("\u0370" <= ch <= "\u03ff" or "\u0400" <= ch <= "\u052f" for ch in word)
        if latin and other:
            return True
    return False
