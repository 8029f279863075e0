"""The register written out as a bundle that verifies without this program: exact bytes, and what is derived of them."""

from __future__ import annotations

import csv
import json
import sqlite3
from collections import Counter
from collections.abc import Callable
from contextlib import closing
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

import orjson

from douane.core.money import NANO_PER_USD
from douane.edge.keys import VerifyingKey
from douane.store.interface import StoreError

FORMAT = "douane register bundle 1"
_CSV_COLUMNS = (
    "seq",
    "time",
    "kind",
    "agent",
    "tool",
    "tier",
    "host",
    "method",
    "outcome",
    "rule",
    "code",
    "call_id",
    "review_id",
    "reviewer",
    "status",
    "charge_usd",
    "count",
)

type Progress = Callable[[int, int], None]


def write_bundle(
    database: Path, out: Path, key: VerifyingKey, *, version: str, values: bool = True, progress: Progress | None = None
) -> int:
    """Write everything up to the last signed head into the new folder `out`; returns the number of records.

    Reads beside a running node, in one snapshot. Raises `StoreError`.
    """
    try:
        out.mkdir(mode=0o700, parents=True)
        uri = f"{database.absolute().as_uri()}?mode=ro"
        with closing(sqlite3.connect(uri, uri=True, isolation_level=None, timeout=5)) as connection:
            connection.execute("BEGIN")
            return _Bundle(connection, out, key, version).write(values, progress or (lambda _done, _all: None))
    except FileExistsError as error:
        raise StoreError(f"{out} is there already") from error
    except (sqlite3.Error, OSError) as error:
        raise StoreError(f"cannot export {database} to {out}: {error}") from error


class _Bundle:
    def __init__(self, connection: sqlite3.Connection, out: Path, key: VerifyingKey, version: str) -> None:
        self._connection, self._out, self._key, self._version = connection, out, key, version
        self._kinds: Counter[str] = Counter()
        self._agents: Counter[str] = Counter()
        self._gaps: list[int] = []

    def write(self, values: bool, progress: Progress) -> int:
        heads = self._connection.execute("SELECT size, note, reason FROM head ORDER BY size").fetchall()
        (stored,) = self._connection.execute("SELECT coalesce(max(seq) + 1, 0) FROM register").fetchone()
        size: int = min(heads[-1][0], stored) if heads else stored
        (self._out / "keys").write_text(f"{self._key.text()}\n")
        (self._out / "checkpoints.txt").write_text("\n".join(note for _, note, _ in heads))
        first, last = self._records(size, progress)
        if values:
            self._values(size)
        self._policies()
        manifest = {
            "format": FORMAT,
            "origin": self._key.name,
            "size": size,
            "first": first,
            "last": last,
            "kinds": dict(sorted(self._kinds.items())),
            "agents": dict(sorted(self._agents.items())),
            "gaps": self._gaps,
            "heads": [{"size": head_size, "reason": reason} for head_size, _, reason in heads],
            "values": values,
            "douane": self._version,
            "derived": ["manifest.json", "records.csv"],
        }
        (self._out / "manifest.json").write_text(f"{json.dumps(manifest, indent=2)}\n")
        return size

    def _records(self, size: int, progress: Progress) -> tuple[str | None, str | None]:
        first = last = None
        with (
            (self._out / "records.jsonl").open("wb") as lines,
            (self._out / "records.csv").open("w", newline="") as file,
        ):
            table = csv.writer(file)
            table.writerow(_CSV_COLUMNS)
            rows = self._connection.execute("SELECT seq, bytes FROM register WHERE seq < ? ORDER BY seq", (size,))
            for seq, data in rows:
                lines.write(data)
                lines.write(b"\n")
                try:
                    record = orjson.loads(data)
                    last = self._note(record, table)
                except (ValueError, TypeError, KeyError, AttributeError):
                    continue  # a damaged record is exported as it is: to name it is the verifier's part
                finally:
                    if seq % 1000 == 0:
                        progress(seq, size)
                first = first or last
        progress(size, size)
        return first, last

    def _note(self, record: dict[str, Any], table: Any) -> str:
        time = datetime.fromtimestamp(record["at_us"] / 1e6, UTC).isoformat(timespec="microseconds")
        self._kinds[record["kind"]] += 1
        if "agent" in record:
            self._agents[record["agent"]] += 1
        if record["kind"] == "gap":
            self._gaps.append(record["seq"])
        shown = record | {"time": time}
        if "charge_nano" in record:
            whole, part = divmod(record["charge_nano"], NANO_PER_USD)
            shown["charge_usd"] = f"{whole}.{part:09d}"
        table.writerow([_cell(shown.get(column)) for column in _CSV_COLUMNS])
        return time

    def _values(self, size: int) -> None:
        with (self._out / "values.jsonl").open("wb") as lines:
            for seq, name, salt, data in self._connection.execute(
                "SELECT seq, name, salt, bytes FROM value WHERE seq < ? ORDER BY seq, name", (size,)
            ):
                line = {"name": name, "salt": salt.hex(), "seq": seq, "value": data.decode()}
                lines.write(orjson.dumps(line, option=orjson.OPT_APPEND_NEWLINE))

    def _policies(self) -> None:
        folder = self._out / "policies"
        folder.mkdir()
        for digest, text in self._connection.execute("SELECT text_blake3, text FROM policy"):
            (folder / f"{digest}.json").write_bytes(text.encode())


def _cell(value: Any) -> Any:
    """A cell that no spreadsheet takes for a formula."""
    if isinstance(value, str) and value[:1] in ("=", "+", "-", "@", "\t", "\r"):
        return f"'{value}"
    return value
