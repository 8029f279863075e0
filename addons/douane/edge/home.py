"""The home folder: what is private in `HOME/private`, and the CA certificate that anyone may read."""

from __future__ import annotations

import os
import stat
from dataclasses import dataclass
from pathlib import Path


class HomeError(Exception):
    """The home folder cannot be used; the message is one clear line."""


@dataclass(frozen=True, slots=True)
class Home:
    """Where a node keeps its keys, its store and its socket."""

    root: Path

    @property
    def private(self) -> Path:
        """Owner only: keys, database, API socket."""
        return self.root / "private"

    @property
    def ca_cert(self) -> Path:
        """The CA certificate that agents trust."""
        return self.root / "ca-cert.pem"

    @property
    def ca_dir(self) -> Path:
        """The CA's key and certificate in mitmproxy's layout."""
        return self.private / "ca"

    @property
    def database(self) -> Path:
        """The store."""
        return self.private / "douane.db"

    @property
    def api_socket(self) -> Path:
        """The API's Unix socket."""
        return self.private / "api.sock"

    @classmethod
    def default(cls) -> Path:
        """`$DOUANE_HOME`, else `~/.douane`."""
        return Path(os.environ.get("DOUANE_HOME") or Path.home() / ".douane")

    @classmethod
    def prepare(cls, path: Path) -> Home:
        """Make the folders or check their modes; raises `HomeError`."""
        home = cls(path.expanduser().absolute())
        os.umask(0o077)  # what this process writes is its own; the CA certificate is opened up by name
        try:
            if not home.root.exists():
                home.root.mkdir(parents=True)
                home.root.chmod(0o755)
            for folder in (home.private, home.ca_dir):
                folder.mkdir(exist_ok=True, mode=0o700)
                _check(folder)
            for file in home.private.rglob("*"):
                if file.is_file() and not file.is_symlink():
                    _check(file)
        except OSError as error:
            raise HomeError(f"cannot use the home folder {home.root}: {error.strerror or error}") from error
        if not os.access(home.private, os.W_OK | os.X_OK):
            raise HomeError(f"cannot write to {home.private}: make it yours (chown) or choose another with --home DIR")
        return home


def _check(path: Path) -> None:
    found = path.stat()
    if found.st_uid != os.geteuid():
        raise HomeError(f"{path} belongs to another user; a node uses only what is its own")
    if stat.S_IMODE(found.st_mode) & 0o077:
        raise HomeError(f"{path} can be read or written by others; run: chmod -R go-rwx {path}")


def shipped_policy_dir() -> Path:
    """The policy, catalog and prices that come with the program: the checkout's `policy/`, or the wheel's copy."""
    package = Path(__file__).resolve().parent.parent
    in_wheel = package / "_policy"
    return in_wheel if in_wheel.is_dir() else package.parent.parent / "policy"
