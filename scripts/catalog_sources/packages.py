"""Pinned packages of the public registries, fetched as files and read, never installed or run."""

from __future__ import annotations

import gzip
import subprocess
import sys
import tarfile
import zipfile
from collections.abc import Iterator
from pathlib import Path


class Packages:
    """A folder that keeps what was fetched."""

    def __init__(self, folder: Path) -> None:
        self._folder = folder
        self._open: dict[str, Files] = {}
        folder.mkdir(parents=True, exist_ok=True)

    def pypi(self, name: str, version: str) -> Files:
        """A wheel of a Python package, or its source where it has none."""
        stem = f"{name.replace('-', '_')}-{version}"
        if not (found := self._kept(stem)):
            for only in (["--only-binary", ":all:"], []):
                command = [sys.executable, "-m", "pip", "download", "--quiet", "--no-deps", *only]
                command += ["--dest", str(self._folder), f"{name}=={version}"]
                if subprocess.run(command, check=False, capture_output=True).returncode == 0:
                    break
            found = self._kept(stem)
        return self._files(found[0], f"{name}=={version}")

    def npm(self, name: str, version: str) -> Files:
        """A package of npm."""
        stem = f"{name.replace('@', '').replace('/', '-')}-{version}"
        if not self._kept(stem):
            subprocess.run(["npm", "pack", "--silent", f"{name}@{version}"], cwd=self._folder, check=True)
        return self._files(self._kept(stem)[0], f"{name}@{version}")

    def _files(self, archive: Path, source: str) -> Files:
        if source not in self._open:
            self._open[source] = Files(archive, source)
        return self._open[source]

    def _kept(self, stem: str) -> list[Path]:
        ends = (".tgz", ".tar.gz", ".whl")
        kept = [path for path in self._folder.iterdir() if path.name.endswith(ends)]
        return sorted(
            path
            for path in kept
            if path.name.lower().startswith(stem.lower()) and path.name[len(stem) : len(stem) + 1] in ("-", ".")
        )


class Files:
    """The files of one package, by path, sorted."""

    def __init__(self, archive: Path, source: str) -> None:
        self.source = source
        self._zip = zipfile.ZipFile(archive) if archive.suffix == ".whl" else None
        if self._zip is not None:
            self._names = sorted(self._zip.namelist())
        else:
            self._folder = archive.parent / "unpacked" / archive.name
            if not self._folder.exists():
                with tarfile.open(archive) as tar:
                    tar.extractall(self._folder, filter="data")
            files = (path for path in self._folder.rglob("*") if path.is_file())
            self._names = sorted(str(path.relative_to(self._folder)) for path in files)
        self._known = frozenset(self._names)

    def names(self, start: str = "", end: str = "") -> Iterator[str]:
        """Paths that begin and end so."""
        return (name for name in self._names if name.startswith(start) and name.endswith(end))

    def read(self, name: str) -> bytes:
        """A file's bytes, unpacked."""
        content = self._zip.read(name) if self._zip is not None else (self._folder / name).read_bytes()
        return gzip.decompress(content) if name.endswith(".gz") else content

    def text(self, name: str) -> str:
        """A file's text."""
        return self.read(name).decode("utf-8")

    def __contains__(self, name: str) -> bool:
        return name in self._known
