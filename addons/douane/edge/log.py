"""Log lines: one canonical line a call, without control characters."""

from __future__ import annotations

import asyncio
import atexit
import contextlib
import logging
import re
import sys
import time

calls = logging.getLogger("douane.calls.log")

_PLAIN = re.compile(r"[A-Za-z0-9._:/@+$-]+")


FLUSH_S = 0.2


class CallLines:
    """Collects the lines of calls and writes them together: one system call for many calls, on the node's loop."""

    def __init__(self) -> None:
        self._lines: list[str] = []
        self._second = 0
        self._stamp = ""

    def add(self, text: str) -> None:
        """Take a line; it is written within `FLUSH_S`, or at once where no loop runs."""
        now = int(time.time())
        if now != self._second:
            self._second, self._stamp = now, time.strftime("%Y-%m-%dT%H:%M:%S", time.gmtime(now))
        self._lines.append(f"{self._stamp}Z {text}\n")
        if len(self._lines) == 1:
            try:
                asyncio.get_running_loop().call_later(FLUSH_S, self.flush)
            except RuntimeError:
                self.flush()

    def flush(self) -> None:
        """Write what was collected; a closed or full pipe loses lines, never calls."""
        lines, self._lines = self._lines, []
        with contextlib.suppress(OSError, ValueError):
            sys.stderr.write("".join(lines))
            sys.stderr.flush()


_call_lines = CallLines()
atexit.register(_call_lines.flush)


def log_call(**fields: object) -> None:
    """Log one call as one line, `key=value …`; what is None is left out, what is not plain is quoted and escaped."""
    if calls.isEnabledFor(logging.INFO):
        _call_lines.add(" ".join([f"{name}={_value(value)}" for name, value in fields.items() if value is not None]))


def _value(value: object) -> str:
    if isinstance(value, int):
        return str(value)
    text = str(value)
    return text if _PLAIN.fullmatch(text) else '"' + ascii(text)[1:-1].replace('"', r"\"") + '"'


class PlainFormatter(logging.Formatter):
    """Time, level and message, one line; control characters escaped."""

    def format(self, record: logging.LogRecord) -> str:
        """Format a record; a traceback stays on lines of its own."""
        return "".join(ch if ch.isprintable() or ch in "\n\t" else ascii(ch)[1:-1] for ch in super().format(record))


def set_up(*, verbose: bool = False) -> None:
    """Log to standard error: our own lines at INFO, the libraries' at WARNING."""
    handler = logging.StreamHandler(sys.stderr)
    handler.setFormatter(PlainFormatter("%(asctime)s %(levelname)-7s %(message)s", "%Y-%m-%dT%H:%M:%S"))
    root = logging.getLogger()
    root.handlers = [handler]
    root.setLevel(logging.WARNING)
    logging.getLogger("douane").setLevel(logging.DEBUG if verbose else logging.INFO)
