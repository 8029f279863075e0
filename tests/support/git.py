"""git as agents run it: repositories of a test's own, and what a push sends."""

from __future__ import annotations

import os
import subprocess
from dataclasses import dataclass
from pathlib import Path

from support.tools import need

ADA = {
    "GIT_AUTHOR_NAME": "Ada",
    "GIT_AUTHOR_EMAIL": "ada@example.com",
    "GIT_COMMITTER_NAME": "Ada",
    "GIT_COMMITTER_EMAIL": "ada@example.com",
    "GIT_CONFIG_NOSYSTEM": "1",
    "GIT_CONFIG_GLOBAL": os.devnull,
    "GIT_TERMINAL_PROMPT": "0",
}


@dataclass(frozen=True, slots=True)
class Repository:
    """One folder that git works in."""

    folder: Path

    @classmethod
    def create(cls, folder: Path, *options: str) -> Repository:
        """`git init`."""
        folder.mkdir(parents=True)
        found = cls(folder)
        found.git("init", "-q", "-b", "main", *options)
        return found

    def git(self, *words: str, check: bool = True, **variables: str) -> str:
        """What a command prints."""
        environment = {"PATH": os.environ["PATH"], "HOME": str(self.folder), **ADA, **variables}
        done = subprocess.run(
            [need("git"), "-C", str(self.folder), *words],
            env=environment, stdin=subprocess.DEVNULL, capture_output=True, check=False,
        )  # fmt: skip
        assert done.returncode == 0 or not check, f"git {words}: {done.stderr.decode()}"
        return done.stdout.decode("utf-8", "replace").strip()

    def commit(self, message: str = "more", *, size: int = 20) -> str:
        """A commit of a file that nobody can compress; its id."""
        (self.folder / f"file-{os.urandom(4).hex()}").write_bytes(os.urandom(size))
        self.git("add", ".")
        self.git("commit", "-q", "-m", message)
        return self.git("rev-parse", "HEAD")

    def refs(self) -> dict[str, str]:
        """All refs with their ids."""
        lines = self.git("for-each-ref", "--format=%(refname) %(objectname)").splitlines()
        return dict(line.split(" ") for line in lines)

    def push(self, to: Repository, *words: str, **variables: str) -> bytes:
        """Push, and the bytes that git sent: the same as in the body of a request."""
        sent = self.folder.parent / f"sent-{os.urandom(4).hex()}"
        tee = self.folder.parent / "receive-pack"
        tee.write_text(f'#!/bin/sh\ntee "$SENT" | {need("git")} receive-pack "$@"\n')
        tee.chmod(0o755)
        self.git("push", "-q", f"--receive-pack={tee}", str(to.folder), *words, SENT=str(sent), **variables)
        return sent.read_bytes()
