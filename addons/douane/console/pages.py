"""Plain pages: login, and `/governance` for keyboards, phones and people in a hurry."""

from __future__ import annotations

import datetime
import html
import re
from typing import Any

from douane.console.card import one_line
from douane.core.money import format_usd


def text(value: Any) -> str:
    """A value for HTML, escaped, invisible characters shown."""
    return html.escape(one_line(value), quote=True)


def _at(at_us: int, form: str = "%m-%d %H:%M") -> str:
    return datetime.datetime.fromtimestamp(at_us / 1e6, datetime.UTC).strftime(form)


def _page(title: str, body: str, *, script: str = "") -> str:
    scripts = f'<script src="/console/{script}" defer></script>' if script else ""
    return (
        f'<!doctype html><html lang="en"><head><meta charset="utf-8"><title>{title}</title>'
        '<meta name="viewport" content="width=device-width, initial-scale=1">'
        f'<link rel="stylesheet" href="/console/pages.css">{scripts}</head><body>{body}</body></html>'
    )


def login(xsrf: str, *, link: str = "", problem: str = "") -> str:
    """The login page."""
    shown = re.sub("`(.+?)`", r"<code>\1</code>", text(problem))
    told = f'<p class="problem" role="alert">{shown}</p>' if problem else ""
    if link:
        form = (
            f'<form method="post" action="/login" id="link">{xsrf}'
            f'<input type="hidden" name="link" value="{text(link)}"><button class="main">Log in</button></form>'
        )
        return _page("Log in · Douane", f'<main class="login"><h1>Douane</h1>{told}{form}</main>', script="link.js")
    form = (
        f'<form method="post" action="/login">{xsrf}'
        '<label>Name<input name="reviewer" autocomplete="username" required autofocus></label>'
        '<label>Secret<input name="secret" type="password" autocomplete="current-password" required></label>'
        '<button class="main">Log in</button></form>'
    )
    return _page("Log in · Douane", f'<main class="login"><h1>Douane</h1>{told}{form}</main>')


def _header(reviewer: Any, xsrf: str) -> str:
    out = f'<form method="post" action="/logout">{xsrf}<button>Log out {text(reviewer)}</button></form>'
    return f'<header><a href="/governance">Governance</a> <a href="/">All reviews</a>{out}</header>'


def governance(found: dict[str, Any], reviewer: Any, xsrf: str) -> str:
    """The whole page."""
    return _page(
        f"({len(found['pending'])}) Governance",
        f'{_header(reviewer, xsrf)}<main id="main">{governance_main(found)}</main>',
        script="governance.js",
    )


def governance_main(found: dict[str, Any]) -> str:
    """What changes on the page."""
    parts = []
    if found["health"] is None:
        parts.append('<p class="problem" role="alert">The node does not answer: nothing can be decided now.</p>')
    elif found["health"]["state"] != "ready":
        parts.append(f'<p class="problem" role="alert">The node is {text(found["health"]["state"])}.</p>')
    rows = "".join(
        f'<li><a href="/governance/{text(r["review_id"])}"><b>{text(r["summary"] or r["tool"])}</b>'
        f"<span>{text(r['agent'])} · {text(r['tool'])} · {text(r['tier'])} · "
        f"held {_at(r['created_us'])}, until {_at(r['expires_at_us'])} UTC"
        f"{' · a client waits' if r['waiting'] else ''}</span></a></li>"
        for r in found["pending"]
    )
    parts.append(
        f"<h2>Waiting for a person: {len(found['pending'])}</h2><ul class='reviews'>{rows or '<li>Nothing.</li>'}</ul>"
    )
    if found["spend"] is not None:
        parts.append("<h2>Spend</h2><table><tr><th>agent<th>spent<th>cap<th></tr>")
        for row in found["spend"]:
            cap = row["cap_usd"]
            bar = f'<meter min="0" max="{cap}" value="{min(row["settled_usd"], cap)}"></meter>' if cap else ""
            shown = "none" if cap is None else f"${cap:,.2f} in {row['window_seconds'] / 3600:g} h"
            parts.append(f"<tr><td>{text(row['agent'])}<td>{format_usd(row['settled_nano'])}<td>{shown}<td>{bar}</tr>")
        parts.append("</table>")
    if found["log"] is not None:
        parts.append("<h2>Latest</h2><table><tr><th>time (UTC)<th>kind<th>agent<th>tool<th>outcome</tr>")
        for entry in reversed(found["log"]):
            record = entry["record"]
            cells = [
                _at(record["at_us"], "%m-%d %H:%M:%S"),
                *(record.get(name, "") for name in ("kind", "agent", "tool")),
            ]
            cells.append(record.get("outcome") or record.get("event") or record.get("action") or "")
            parts.append("<tr>" + "".join(f"<td>{text(cell)}" for cell in cells) + "</tr>")
        parts.append("</table>")
        if found["log"]:
            last = found["log"][-1]
            parts.append(f"<p class='head'>The register's last record: {last['seq']}, {text(last['hash'][:16])}…</p>")
    return "".join(parts)


def review(found: dict[str, Any], card: str, digest: str, reviewer: Any, xsrf: str) -> str:
    """One review with its form, which is for the card of that digest."""
    form = ""
    if found["state"] == "pending":
        base = f"/governance/{text(found['review_id'])}"
        sentence = text(found["summary"] or found["tool"])
        form = (
            f'<form method="post" action="{base}/approve">{xsrf}<input type="hidden" name="card" value="{digest}">'
            '<label>Note for the register (may be empty)<input name="note" maxlength="2000"></label>'
            '<label class="sure"><input type="checkbox" name="sure" value="yes" required> '
            f"I have read all of the above and approve {text(found['tool'])} "
            f"by {text(found['agent'])}: {sentence}</label>"
            '<p class="verdict"><button class="approve">Approve</button>'
            f'<button class="reject" formaction="{base}/reject" formnovalidate>Reject</button></p></form>'
        )
    lines = "".join(f"<div>{html.escape(line)}</div>" for line in card.split("\n"))
    return _page("Review · Douane", f'{_header(reviewer, xsrf)}<main><div class="card">{lines}</div>{form}</main>')


def told(message: str, reviewer: Any, xsrf: str) -> str:
    """What came of a verdict."""
    return _page("Douane", f'{_header(reviewer, xsrf)}<main><p role="status">{text(message)}</p></main>')
