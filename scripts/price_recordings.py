"""Price recorded provider responses and hold each charge against what the provider says that the call cost.

    python scripts/price_recordings.py DIR [--policy DIR]

A recording is `NAME.json` with `url`, `request`, `response` (or beside it `NAME.sse.txt`, `NAME.eventstream.bin`),
`response_headers`, and what is known of its cost: `provider_stated_cost_usd`, else `cross_check_usd`. Prices are those
of the day of the response, or of today. Ends with 1 where a charge misses and `causes.json` in the folder
({case: cause}) says nothing of it.
"""

from __future__ import annotations

import argparse
import datetime
import json
import sys
from pathlib import Path

from rich.console import Console
from rich.table import Table

from douane.core.pricing.recorded import Recording, compare, read_recording
from douane.edge.prices import load_prices


def main() -> int:
    """Print the table."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("folder", type=Path)
    parser.add_argument("--policy", type=Path, help="a policy folder with own prices")
    options = parser.parse_args()
    noted = options.folder / "causes.json"
    causes = json.loads(noted.read_bytes()) if noted.is_file() else {}
    book = load_prices(options.policy).without_stated_costs()
    table = Table("case", "charged", "stated", "match or cause", box=None)
    unexplained = matched = 0
    today = datetime.datetime.now(datetime.UTC).date()
    for recording in recordings(options.folder):
        found = compare(book, recording, today)
        matched += found.matches is True
        told = "match" if found.matches else causes.get(recording.case, found.why)
        unexplained += found.matches is False and recording.case not in causes
        table.add_row(recording.case, _usd(found.charged_nano), _usd(found.known_nano), told)
    Console(width=200, highlight=False).print(table)
    print(f"{matched} match, {unexplained} do not and nobody says why")
    return 1 if unexplained else 0


def recordings(folder: Path) -> list[Recording]:
    """All recordings of a folder."""
    found = []
    for path in sorted(folder.glob("*.json")):
        told = json.loads(path.read_bytes())
        if not isinstance(told, dict) or "url" not in told:
            continue
        streams = [path.with_suffix(end) for end in (".sse.txt", ".eventstream.bin") if path.with_suffix(end).exists()]
        stream, end = (streams[0].read_bytes(), streams[0].suffix) if streams else (None, "")
        found.append(read_recording(path.stem, told, stream, end))
    return found


def _usd(nano: int | None) -> str:
    return "" if nano is None else f"{nano / 1e9:.9f}".rstrip("0")


if __name__ == "__main__":
    sys.exit(main())
