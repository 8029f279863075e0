"""Money is an integer number of nano-dollars; a rounding says its direction in its name."""

from __future__ import annotations

from decimal import ROUND_CEILING, Decimal, InvalidOperation

NANO_PER_USD = 1_000_000_000
MOST_USD = 10**15


def nano_from_usd_ceiling(amount_usd: Decimal | str | int) -> int:
    """Nano-dollars of an amount in dollars, rounded up; `ValueError` unless from 0 to `MOST_USD`."""
    try:
        value = Decimal(amount_usd)
    except InvalidOperation as error:
        raise ValueError(f"not an amount of money: {amount_usd!r}") from error
    if not value.is_finite() or not 0 <= value <= MOST_USD:
        raise ValueError(f"not an amount of money: {amount_usd!r}")
    return int((value * NANO_PER_USD).to_integral_value(rounding=ROUND_CEILING))


def usd_from_nano(amount_nano: int) -> float:
    """Dollars as a JSON number, for the wire only; never calculate with it."""
    return amount_nano / NANO_PER_USD


def format_usd(amount_nano: int) -> str:
    """Dollars for people: cents always, more digits only where they matter (`$0.0312`, `$50.00`)."""
    sign = "-" if amount_nano < 0 else ""
    whole, fraction = divmod(abs(amount_nano), NANO_PER_USD)
    digits = f"{fraction:09d}"
    keep = 2 if whole >= 1 or fraction == 0 else max(2, min(9, len(digits) - len(digits.lstrip("0")) + 2))
    scale = 10 ** (9 - keep)
    rounded = (abs(amount_nano) + scale // 2) // scale
    whole, fraction = divmod(rounded, 10**keep)
    return f"{sign}${whole:,}.{fraction:0{keep}d}"
