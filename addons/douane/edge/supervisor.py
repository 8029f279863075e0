"""Keeps the proxy node and the console running under one parent, and ends both with it."""

from __future__ import annotations

import ctypes
import os
import select
import signal
import subprocess
import sys
import time
from collections.abc import Callable, Sequence
from dataclasses import dataclass, field

SILENT_S = 10.0
"""A node whose loop gives no sign for this long is replaced."""

START_S = 60.0
DRAIN_S = 20.0
_PR_SET_PDEATHSIG = 1


def _die_with_parent() -> None:
    """In the child, before exec: a parent that is killed takes its children along (Linux)."""
    ctypes.CDLL(None).prctl(_PR_SET_PDEATHSIG, signal.SIGTERM)


@dataclass(slots=True)
class Child:
    """One supervised process."""

    name: str
    command: Sequence[str]
    heartbeat: bool
    process: subprocess.Popen[bytes] | None = None
    ready_fd: int = -1
    heartbeat_fd: int = -1
    last_sign: float = 0.0
    is_ready: bool = False
    restarts: list[float] = field(default_factory=list)

    def start(self) -> None:
        """Start the process with a pipe for `ready` and, for a node, one for its heartbeat."""
        ready_read, ready_write = os.pipe()
        passed = [ready_write]
        command = [*self.command, "--ready-fd", str(ready_write)]
        beat_read = beat_write = -1
        if self.heartbeat:
            beat_read, beat_write = os.pipe()
            os.set_blocking(beat_write, False)
            passed.append(beat_write)
            command += ["--heartbeat-fd", str(beat_write)]
        self.process = subprocess.Popen(
            command,
            pass_fds=passed,
            stdin=subprocess.DEVNULL,
            preexec_fn=_die_with_parent,  # noqa: PLW1509 - no thread runs in the supervisor
            start_new_session=True,  # Ctrl-C reaches the supervisor alone, which ends the children in order
        )
        for fd in passed:
            os.close(fd)
        self.close_pipes()
        self.ready_fd, self.heartbeat_fd = ready_read, beat_read
        self.last_sign = time.monotonic()
        self.is_ready = False

    def close_pipes(self) -> None:
        """Close what is left of the pipes of an ended process."""
        for fd in (self.ready_fd, self.heartbeat_fd):
            if fd >= 0:
                os.close(fd)
        self.ready_fd = self.heartbeat_fd = -1

    def exit_code(self) -> int | None:
        """The exit code, or None while it runs."""
        return self.process.poll() if self.process is not None else None


class Supervisor:
    """Runs children until it is told to stop; `stopping` may be set by a signal handler."""

    def __init__(self, children: Sequence[Child], say: Callable[[str], None]) -> None:
        self._children = list(children)
        self._say = say
        self.stopping = False

    def run(self, all_ready: Callable[[], None]) -> int:
        """Start the children, call `all_ready` once all are, replace what dies; returns the exit code."""
        told = False
        for child in self._children:
            child.start()
        try:
            while not self.stopping:
                self._listen(0.2)
                for child in self._children:
                    code = child.exit_code()
                    if code is not None:
                        if not told:  # it could not even start: its own message says why
                            return code if code > 0 else 1
                        self._replace(child, f"ended with {code}")
                    elif self._is_silent(child):
                        self._replace(child, f"gave no sign for {SILENT_S:.0f} s")
                if not told and all(child.is_ready for child in self._children):
                    told = True
                    all_ready()
            return 0
        finally:
            self._stop()

    def _listen(self, wait_s: float) -> None:
        fds = {child.ready_fd: child for child in self._children if child.ready_fd >= 0}
        fds |= {child.heartbeat_fd: child for child in self._children if child.heartbeat_fd >= 0}
        for fd in select.select(list(fds), [], [], wait_s)[0]:
            child = fds[fd]
            data = os.read(fd, 4096)
            if data and fd == child.heartbeat_fd:
                child.last_sign = time.monotonic()
            elif data:
                child.is_ready = True
                child.last_sign = time.monotonic()
            if not data:  # closed: the process ended, or has said all it says on this pipe
                os.close(fd)
                if fd == child.ready_fd:
                    child.ready_fd = -1
                else:
                    child.heartbeat_fd = -1

    def _is_silent(self, child: Child) -> bool:
        allowed = SILENT_S if child.is_ready else START_S
        return child.heartbeat and time.monotonic() - child.last_sign > allowed

    def _replace(self, child: Child, why: str) -> None:
        now = time.monotonic()
        child.restarts = [at for at in child.restarts if now - at < 60] + [now]
        self._say(f"the {child.name} {why}; it is replaced")
        if child.process is not None and child.exit_code() is None:
            child.process.kill()
            child.process.wait()
        time.sleep(min(5.0, 0.1 * 2 ** (len(child.restarts) - 1)))
        if not self.stopping:
            child.start()

    def _stop(self) -> None:
        """The console first, so that nobody decides on what is being drained; then the node, which drains."""
        for child in reversed(self._children):
            if child.process is not None and child.exit_code() is None:
                child.process.send_signal(signal.SIGTERM)
                try:
                    child.process.wait(DRAIN_S)
                except subprocess.TimeoutExpired:
                    self._say(f"the {child.name} did not end in {DRAIN_S:.0f} s and is killed")
                    child.process.kill()
                    child.process.wait()
            child.close_pipes()


def douane_command(*arguments: str) -> list[str]:
    """The command line of a child that runs this same program."""
    return [sys.executable, "-m", "douane.cli.main", *arguments]
