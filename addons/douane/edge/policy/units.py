"""Durations and amounts as operators write them."""

from __future__ import annotations

import re
from decimal import Decimal
from typing import Any

from douane.core.money import nano_from_usd_ceiling

DURATION_PATTERN = r"^[0-9]{1,6} ?(ms|s|m|h|d)$"
MONEY_PATTERN = r"^(\$ ?{0}|{0} ?USD)$".replace("{0}", r"([0-9]{1,3}(,[0-9]{3})+|[0-9]{1,9})(\.[0-9]{1,9})?")

SECOND_US = 1_000_000
MINUTE_US = 60 * SECOND_US
HOUR_US = 60 * MINUTE_US
DAY_US = 24 * HOUR_US

_UNITS = {"ms": 1_000, "s": SECOND_US, "m": MINUTE_US, "h": HOUR_US, "d": DAY_US}


def duration_us(value: Any) -> int:
    """`12s`, `1m`, `24h` or `7d` in µs; raises `ValueError`."""
    if not isinstance(value, str) or not re.fullmatch(DURATION_PATTERN[1:-1], value):
        raise ValueError("not a duration; write 12s, 1m, 24h or 7d")
    number, unit = re.split(r" ?(?=[a-z])", value, maxsplit=1)
    return int(number) * _UNITS[unit]


def money_nano(value: Any) -> int:
    """`$50`, `$0.05` or `50 USD` in nano-dollars, rounded up; raises `ValueError`."""
    if not isinstance(value, str) or not re.fullmatch(MONEY_PATTERN[1:-1], value):
        raise ValueError("not an amount of dollars; write $50, $0.05 or 50 USD")
    return nano_from_usd_ceiling(value.strip("$ USD").replace(",", ""))


def rate(value: Any) -> Decimal:
    """Dollars for one unit of another currency: `1.08` or `$1.08`; raises `ValueError`."""
    if isinstance(value, str) and re.fullmatch(MONEY_PATTERN[1:-1], value):
        found = Decimal(value.strip("$ USD").replace(",", ""))
    elif isinstance(value, int | float) and not isinstance(value, bool):
        found = Decimal(str(value))
    else:
        raise ValueError("not a rate; write the dollars for one, as in 1.08")
    if not 0 < found < 1_000_000:
        raise ValueError("not a rate; it must be above 0 and below a million")
    return found


def duration_text(us: int) -> str:
    """A duration in its largest whole unit."""
    for unit in ("d", "h", "m", "s", "ms"):
        if us % _UNITS[unit] == 0 and us >= _UNITS[unit]:
            return f"{us // _UNITS[unit]}{unit}"
    return f"{us} µs" if us else "0s"
