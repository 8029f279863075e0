"""The home folder: what is private in `HOME/private`, and the CA certificate that anyone may read."""

from __future__ import annotations

import os
import shlex
import stat
import tempfile
from dataclasses import dataclass
from pathlib import Path


class HomeError(Exception):
    """The home folder cannot be used; the message is one clear line."""


class NoHome(HomeError):
    """No node was ever started on the folder."""


_LONGEST_SOCKET_PATH = 100
"""Systems take 104 to 108 bytes."""


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
    def at(cls, path: Path) -> Home:
        """The home at a path, untouched and unchecked: for what only speaks to its node."""
        return cls(path.expanduser().absolute())

    @classmethod
    def existing(cls, path: Path) -> Home:
        """The home of a node that was started before, checked; makes nothing; raises `NoHome`, `HomeError`."""
        home = cls.at(path)
        try:
            home.database.stat()
        except (FileNotFoundError, NotADirectoryError):
            missing = f"no node was started in {home.root} yet" if home.root.is_dir() else f"there is no {home.root}"
            mend = f"Name its home with --home DIR, or start one there: douane up --home {shlex.quote(str(home.root))}"
            raise NoHome(f"{missing}. {mend}") from None
        except OSError as error:
            raise HomeError(f"cannot use the home folder {home.root}: {error.strerror}") from error
        return cls.prepare(path)

    @classmethod
    def prepare(cls, path: Path) -> Home:
        """Make the folders or check whose they are and who may enter; raises `HomeError`."""
        home = cls.at(path)
        if len(os.fsencode(home.api_socket)) > _LONGEST_SOCKET_PATH:
            raise HomeError(f"the path {home.root} is too long for a socket in it. Choose a shorter one: --home DIR")
        try:
            if not home.root.is_dir():
                home.root.mkdir(parents=True)
                home.root.chmod(0o755)  # others pass through it to the CA certificate
            _check(home.root, 0o022, f"chmod go-w {home.root}")
            os.umask(0o077)  # what this process writes is its own; the CA certificate is opened up by name
            for folder in (home.private, home.ca_dir):
                folder.mkdir(exist_ok=True, mode=0o700)
            for found in (home.private, *home.private.rglob("*")):
                _check(found, 0o077, f"chmod -R go-rwx {home.private}")
        except OSError as error:
            reason = error.strerror or error
            raise HomeError(f"cannot use the home folder {home.root}: {reason}. Choose another: --home DIR") from error
        if not os.access(home.private, os.W_OK | os.X_OK):
            raise HomeError(f"cannot write to {home.private}. Make it yours (chown), or choose another: --home DIR")
        return home


def _check(path: Path, forbidden: int, mend: str) -> None:
    try:
        found = path.lstat()
    except FileNotFoundError:  # a running node replaced it meanwhile
        return
    if found.st_uid != os.geteuid():
        raise HomeError(f"{path} belongs to another user. A node uses only what is its own.")
    if stat.S_IMODE(found.st_mode) & forbidden and not stat.S_ISLNK(found.st_mode):
        touch = "changed" if forbidden == 0o022 else "read or changed"
        raise HomeError(f"{path} can be {touch} by other users. Run: {mend}")


def scratch_folder() -> tempfile.TemporaryDirectory[str]:
    """A private folder that ends with its `with`."""
    return tempfile.TemporaryDirectory(prefix="douane-")


def shipped_policy_dir() -> Path:
    """The policy, catalog and prices that come with the program: the checkout's `policy/`, or the wheel's copy."""
    package = Path(__file__).resolve().parent.parent
    in_wheel = package / "_policy"
    return in_wheel if in_wheel.is_dir() else package.parent.parent / "policy"
