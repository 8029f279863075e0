"""A child process for work that would stall the loop: takes questions and answers them, one after the other."""

from __future__ import annotations

import contextlib
import io
import os
import pickle
import resource
import subprocess
import sys
import threading
from collections.abc import Callable
from typing import IO, Any

MEMORY_BYTES = 4 * 1024**3


class Worker:
    """The parent's end. The child ends with its parent, at the end of its standard input."""

    def __init__(self, module: str, setting: object) -> None:
        """Start `module`'s function `serve` in a child and tell it what it needs for all questions."""
        command = [sys.executable, "-I", "-c", f"from {module} import serve; serve()"]
        self._process = subprocess.Popen(command, stdin=subprocess.PIPE, stdout=subprocess.PIPE)
        self._lock = threading.Lock()
        with contextlib.suppress(OSError):  # the first question tells
            self._send(setting)

    @property
    def alive(self) -> bool:
        """Whether it can be asked."""
        return self._process.poll() is None

    def ask(self, question: object, shared: bytes) -> Any:
        """The child's answer; blocks. Bytes that are in question and answer alike travel once.

        Raises `EOFError`, `OSError` or `pickle.UnpicklingError` where the child has ended.
        """
        with self._lock:
            assert self._process.stdout is not None
            self._send(question)
            return _Reader(self._process.stdout, shared).load()

    def kill(self) -> None:
        """End it, whatever it does; the memory of gigabytes takes a while to go, which nobody waits for."""
        self._process.kill()
        threading.Thread(target=self._reap, name="reap worker", daemon=True).start()

    def _reap(self) -> None:
        self._process.wait()
        for pipe in (self._process.stdin, self._process.stdout):
            with contextlib.suppress(OSError):
                assert pipe is not None
                pipe.close()

    def _send(self, value: object) -> None:
        assert self._process.stdin is not None
        pickle.dump(value, self._process.stdin, pickle.HIGHEST_PROTOCOL)
        self._process.stdin.flush()


def serve(answer: Callable[[Any, Any], object], shared: Callable[[Any], bytes]) -> None:
    """The child's end: `answer(question, setting)` for each question until there are no more."""
    source, sink = sys.stdin.buffer, sys.stdout.buffer
    os.nice(5)
    _, most = resource.getrlimit(resource.RLIMIT_AS)
    resource.setrlimit(resource.RLIMIT_AS, (MEMORY_BYTES, most))
    setting = pickle.load(source)  # noqa: S301 - from the parent
    while True:
        try:
            question = pickle.load(source)  # noqa: S301 - from the parent
        except EOFError:
            return
        written = io.BytesIO()
        _Writer(written, shared(question)).dump(answer(question, setting))
        sink.write(written.getbuffer())
        sink.flush()


class _Writer(pickle.Pickler):
    """Leaves out the bytes that the parent has."""

    def __init__(self, file: IO[bytes], shared: bytes) -> None:
        super().__init__(file, pickle.HIGHEST_PROTOCOL)
        self._shared = shared

    def persistent_id(self, value: object) -> str | None:
        return "shared" if value is self._shared else None


class _Reader(pickle.Unpickler):
    """Puts them back in their places."""

    def __init__(self, file: IO[bytes], shared: bytes) -> None:
        super().__init__(file)
        self._shared = shared

    def persistent_load(self, name: str) -> bytes:  # noqa: ARG002 - there is but one
        return self._shared
