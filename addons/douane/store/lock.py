"""One process to a database: a lock that ends with the process that holds it, however it ends."""

from __future__ import annotations

import fcntl
import os
from pathlib import Path

from douane.store.interface import StoreBusy, StoreError


class StoreLock:
    """An exclusive lock on `NAME.lock` beside the database; the file names its holder."""

    def __init__(self, database: Path) -> None:
        path = database.with_name(f"{database.name}.lock")
        try:
            self._file = os.open(path, os.O_RDWR | os.O_CREAT | os.O_CLOEXEC, 0o600)
        except OSError as error:
            raise StoreError(f"{path}: {error.strerror}") from error
        try:
            fcntl.flock(self._file, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except OSError as error:
            holder = os.pread(self._file, 32, 0).decode(errors="replace").strip() or "unknown"
            os.close(self._file)
            raise StoreBusy(f"{database} is in use by process {holder}") from error
        try:
            os.ftruncate(self._file, 0)
            os.pwrite(self._file, f"{os.getpid()}\n".encode(), 0)
        except OSError as error:
            self.release()
            raise StoreError(f"{path}: {error.strerror}") from error

    def release(self) -> None:
        """Let go; once is enough, twice does nothing."""
        file, self._file = self._file, -1
        if file >= 0:
            os.close(file)
