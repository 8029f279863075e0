"""Who is logged in. The file survives a restart, but without the browser's cookie nobody can use what is in it."""

from __future__ import annotations

import asyncio
import base64
import hashlib
import json
import os
import secrets
import time
from collections.abc import Iterable
from dataclasses import dataclass, field
from pathlib import Path

from cryptography.exceptions import InvalidTag
from cryptography.hazmat.primitives.ciphers.aead import AESGCM

LASTS_S = 12 * 3600
MOST_SESSIONS = 1_000
MOST_FAILURES = 10_000
CHECKED_AT_ONCE = 2
MOST_WAITING = 20


@dataclass(slots=True)
class Session:
    """A reviewer's browser."""

    reviewer: str
    token: str
    """The API's; it never leaves this process in clear."""
    ends: float
    opened: dict[str, tuple[str, float]] = field(default_factory=dict)
    """Reviews whose whole view was served: id → (what was shown, as a digest, and when, monotonic)."""


class Sessions:
    """All sessions by the digest of their cookie; tokens on disk are sealed with the cookie itself (AES-256-GCM)."""

    def __init__(self, path: Path) -> None:
        self._path = path
        self._live: dict[str, Session] = {}
        self._sealed: dict[str, dict[str, str | float]] = {}
        try:
            self._sealed = json.loads(path.read_text())
        except (OSError, ValueError):
            self._sealed = {}

    def begin(self, reviewer: str, token: str) -> str:
        """Start a session; returns the cookie."""
        cookie = secrets.token_urlsafe(32)
        ends = time.time() + LASTS_S
        nonce = secrets.token_bytes(12)
        sealed = nonce + AESGCM(_key(cookie)).encrypt(nonce, token.encode(), reviewer.encode())
        digest = _digest(cookie)
        self._live[digest] = Session(reviewer, token, ends)
        self._sealed[digest] = {"reviewer": reviewer, "ends": ends, "token": base64.b64encode(sealed).decode()}
        self._save()
        return cookie

    def get(self, cookie: str | None) -> Session | None:
        """The session of a cookie, if it is still valid."""
        if not cookie or len(cookie) > 200:
            return None
        digest = _digest(cookie)
        session = self._live.get(digest) or self._unseal(digest, cookie)
        if session is None or session.ends <= time.time():
            return None
        return session

    def end(self, cookie: str | None) -> Session | None:
        """Log out; returns what the session was."""
        session = self.get(cookie)
        if cookie:
            digest = _digest(cookie)
            self._live.pop(digest, None)
            if self._sealed.pop(digest, None) is not None:
                self._save()
        return session

    def reviewers(self) -> set[str]:
        """Who has sessions."""
        return {str(entry["reviewer"]) for entry in self._sealed.values()}

    def keep(self, names: Iterable[str]) -> None:
        """End the sessions of all others: whoever is no reviewer any more sees nothing any more."""
        if gone := self.reviewers() - set(names):
            self._live = {digest: session for digest, session in self._live.items() if session.reviewer not in gone}
            self._sealed = {digest: entry for digest, entry in self._sealed.items() if entry["reviewer"] not in gone}
            self._save()

    def _unseal(self, digest: str, cookie: str) -> Session | None:
        entry = self._sealed.get(digest)
        if entry is None:
            return None
        try:
            sealed = base64.b64decode(str(entry["token"]))
            reviewer = str(entry["reviewer"])
            token = AESGCM(_key(cookie)).decrypt(sealed[:12], sealed[12:], reviewer.encode()).decode()
            session = Session(reviewer, token, float(entry["ends"]))
        except (InvalidTag, ValueError, KeyError):
            return None
        self._live[digest] = session
        return session

    def _save(self) -> None:
        now = time.time()
        kept = {digest: entry for digest, entry in self._sealed.items() if float(entry["ends"]) > now}
        self._sealed = dict(sorted(kept.items(), key=lambda item: float(item[1]["ends"]))[-MOST_SESSIONS:])
        temporary = self._path.with_suffix(".new")
        handle = os.open(temporary, os.O_WRONLY | os.O_CREAT | os.O_TRUNC, 0o600)
        with os.fdopen(handle, "w") as file:
            json.dump(self._sealed, file)
        temporary.rename(self._path)


class Attempts:
    """Slows failed logins: each doubles the wait for the next of its kind, up to 8 s. Secrets are beyond guessing."""

    def __init__(self) -> None:
        self._failures: dict[str, tuple[int, float]] = {}

    def wait_s(self, key: str) -> float:
        """How long the next try has to wait."""
        return max(0.0, self._failures.get(key, (0, 0.0))[1] - time.monotonic())

    def begins(self, key: str) -> None:
        """A try counts until it is right: tries made at the same time cannot all be the first."""
        count = self._failures.pop(key, (0, 0.0))[0]
        if len(self._failures) >= MOST_FAILURES:
            del self._failures[next(iter(self._failures))]  # the oldest: each is put at the end again
        self._wait(key, count + 1)

    def failed(self, key: str) -> None:
        """The wait starts when the answer is given, however long the check took."""
        if key in self._failures:
            self._wait(key, self._failures[key][0])

    def _wait(self, key: str, count: int) -> None:
        wait = 0.0 if count < 4 else 2.0 ** min(count - 4, 3)  # the power of a count without end would overflow
        self._failures[key] = count, time.monotonic() + wait

    def succeeded(self, key: str) -> None:
        """A try was right."""
        self._failures.pop(key, None)


class Turns:
    """All logins of a kind together: few are checked at once, so that threads stay for verdicts; not many may wait."""

    def __init__(self) -> None:
        self._free = asyncio.Semaphore(CHECKED_AT_ONCE)
        self._here = 0

    def wait_s(self) -> float:
        """How long to stay away while too many wait."""
        return 1.0 if self._here >= MOST_WAITING else 0.0

    async def __aenter__(self) -> None:
        self._here += 1
        try:
            await self._free.acquire()
        except BaseException:
            self._here -= 1
            raise

    async def __aexit__(self, *raised: object) -> None:
        self._here -= 1
        self._free.release()


def _digest(cookie: str) -> str:
    return hashlib.sha256(b"session " + cookie.encode()).hexdigest()


def _key(cookie: str) -> bytes:
    return hashlib.sha256(b"seal " + cookie.encode()).digest()
