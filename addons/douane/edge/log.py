"""Log lines: one canonical line a call, without control characters."""

from __future__ import annotations

import logging
import re
import sys

calls = logging.getLogger("douane.calls.log")

_PLAIN = re.compile(r"[A-Za-z0-9._:/@+$-]+")


def log_call(**fields: object) -> None:
    """Log one call as `key=value …`; what is None is left out, what is not plain is quoted and escaped."""
    if calls.isEnabledFor(logging.INFO):
        calls.info(" ".join(f"{name}={_value(value)}" for name, value in fields.items() if value is not None))


def _value(value: object) -> str:
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
