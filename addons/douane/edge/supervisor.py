"""Keeps the proxy node and the console running under one parent, and ends both with it."""

from __future__ import annotations

import contextlib
import ctypes
import os
import select
import signal
import subprocess
import sys
import time
from collections.abc import Callable, Sequence
from dataclasses import dataclass, field

SILENT_S = float(os.environ.get("DOUANE_SILENT_S", "10"))
"""A node whose loop gives no sign for this long is replaced; the variable is for tests."""

START_S = 60.0
DRAIN_S = 20.0
MOST_PAUSE_S = 5.0
"""The longest pause before a child that ends again and again is started once more."""

_PR_SET_PDEATHSIG = 1


def _die_with(parent: int) -> None:
    """In the child, before exec: a parent that is killed takes its children along (Linux)."""
    if sys.platform == "linux":
        ctypes.CDLL(None).prctl(_PR_SET_PDEATHSIG, signal.SIGTERM)
        if os.getppid() != parent:  # it was killed before the line above
            os._exit(1)


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
    ends: list[float] = field(default_factory=list)
    """When it ended, in the last minute."""
    start_at: float = 0.0

    def start(self) -> None:
        """Start the process with a pipe for `ready` and, for a node, one for its heartbeat."""
        self.close_pipes()
        self.ready_fd, ready_write = os.pipe()
        passed = [ready_write]
        command = [*self.command, "--ready-fd", str(ready_write)]
        if self.heartbeat:
            self.heartbeat_fd, beat_write = os.pipe()
            os.set_blocking(beat_write, False)
            passed.append(beat_write)
            command += ["--heartbeat-fd", str(beat_write)]
        parent = os.getpid()
        self.process = subprocess.Popen(
            command,
            pass_fds=passed,
            stdin=subprocess.DEVNULL,
            preexec_fn=lambda: _die_with(parent),  # no thread runs in the supervisor
            start_new_session=True,  # Ctrl-C reaches the supervisor alone, which ends the children in order
        )
        for fd in passed:
            os.close(fd)
        self.last_sign = time.monotonic()
        self.is_ready = False

    def listen(self, fd: int) -> bool:
        """Take what came on a pipe; returns whether the child just became ready."""
        data = os.read(fd, 4096)
        if not data:  # closed: the process ended, or has said all it says on this pipe
            os.close(fd)
            if fd == self.ready_fd:
                self.ready_fd = -1
            else:
                self.heartbeat_fd = -1
            return False
        self.last_sign = time.monotonic()
        became_ready = fd == self.ready_fd and not self.is_ready
        self.is_ready = self.is_ready or became_ready
        return became_ready

    def is_silent(self) -> bool:
        """Whether its loop gave no sign for too long."""
        allowed = SILENT_S if self.is_ready else START_S
        return self.heartbeat and time.monotonic() - self.last_sign > allowed

    def ended(self) -> int | None:
        """The exit code, or None while it runs."""
        return self.process.poll() if self.process is not None else None

    def plan_restart(self) -> None:
        """Take the process away; start the next one at once, or after a pause that grows with each end in a minute."""
        if self.process is not None and self.process.poll() is None:
            self.process.kill()
            self.process.wait()
        self.process = None
        self.is_ready = False
        self.close_pipes()
        now = time.monotonic()
        self.ends = [at for at in self.ends if now - at < 60] + [now]
        self.start_at = now + min(MOST_PAUSE_S, 0.1 * 2 ** (len(self.ends) - 1))

    def stop(self) -> bool:
        """Ask it to end and wait; returns whether it did without being killed."""
        try:
            if self.process is None or self.process.poll() is not None:
                return True
            self.process.send_signal(signal.SIGTERM)
            with contextlib.suppress(subprocess.TimeoutExpired):
                self.process.wait(DRAIN_S)
                return True
            self.process.kill()
            self.process.wait()
            return False
        finally:
            self.close_pipes()

    def close_pipes(self) -> None:
        """Close what is left of the pipes of an ended process."""
        for fd in (self.ready_fd, self.heartbeat_fd):
            if fd >= 0:
                os.close(fd)
        self.ready_fd = self.heartbeat_fd = -1


class Supervisor:
    """Runs children until it is told to stop; `stopping` may be set by a signal handler."""

    def __init__(self, children: Sequence[Child], say: Callable[[str], None]) -> None:
        self._children = list(children)
        self._say = say
        self.stopping = False

    def run(self, all_ready: Callable[[], None], look: Callable[[], None]) -> int:
        """Start the children, call `all_ready` once and `look` at each turn, replace what dies; the exit code."""
        told = False
        try:
            for child in self._children:
                child.start()
            while not self.stopping:
                self._listen(0.2, told=told)
                for child in self._children:
                    code = child.ended()
                    if code is not None and not told:  # it could not even start: its own message says why
                        return self._could_not_start(child, code)
                    self._keep(child, code)
                if not told and all(child.is_ready for child in self._children):
                    told = True
                    all_ready()
                look()
        finally:
            clean = self._stop()
        return 0 if clean else 1

    def _could_not_start(self, child: Child, code: int) -> int:
        if code < 0:
            self._say(f"the {child.name} was ended by {signal.Signals(-code).name} before it was ready")
        return code if code > 0 else 1

    def _keep(self, child: Child, code: int | None) -> None:
        """Replace a child that ended or is silent."""
        if child.process is None:
            if time.monotonic() >= child.start_at:
                child.start()
        elif code is not None:
            how = signal.Signals(-code).name if code < 0 else f"exit code {code}"
            self._say(f"the {child.name} ended ({how}); it is replaced")
            child.plan_restart()
        elif child.is_silent():
            self._say(f"the {child.name} gave no sign for {SILENT_S:g} s; it is replaced")
            child.plan_restart()

    def _listen(self, wait_s: float, *, told: bool) -> None:
        fds = {fd: child for child in self._children for fd in (child.ready_fd, child.heartbeat_fd) if fd >= 0}
        for fd in select.select(list(fds), [], [], wait_s)[0]:
            if fds[fd].listen(fd) and told:
                self._say(f"the {fds[fd].name} serves again")

    def _stop(self) -> bool:
        """The console first, so that nobody decides on what is being drained; then the node, which drains."""
        clean = True
        for child in reversed(self._children):
            if not child.stop():
                self._say(f"the {child.name} did not end in {DRAIN_S:.0f} s and was killed")
                clean = False
        return clean


def douane_command(*arguments: str) -> list[str]:
    """The command line of a child that runs this same program."""
    return [sys.executable, "-m", "douane.cli.main", *arguments]
