"""`douane prices`: what models cost and where that is from; models that were asked for and have no price."""

from __future__ import annotations

import datetime
import json
import sys
from collections.abc import Iterator, Mapping
from decimal import Decimal
from pathlib import Path
from typing import TYPE_CHECKING, Any
from urllib.parse import urlencode

import click
from rich.console import Console
from rich.markup import escape

from douane.cli.backend import Backend
from douane.cli.options import home_option, json_option, policy_option
from douane.cli.rows import counted, plain, print_rows

if TYPE_CHECKING:
    from douane.core.pricing import PriceBook
    from douane.core.pricing.listing import Listed, Seen

COLUMNS = ("input", "output", "cache_read", "cache_write")
PAGE = 20_000
"""Records that are asked for at a time."""


@click.command()
@click.argument("model", required=False)
@click.option("--provider", help="Only models of this provider: openai, anthropic, google, aws, azure, …")
@click.option(
    "--on", "day", type=click.DateTime(["%Y-%m-%d"]), metavar="DATE", help="The prices of this day.  [default: today]"
)
@click.option("--check", is_flag=True, help="List the models in the register that have no price, each with its mend.")
@policy_option
@home_option
@json_option
def prices(
    model: str | None,
    provider: str | None,
    day: datetime.datetime | None,
    check: bool,
    policy_dir: Path | None,
    home: Path,
    as_json: bool,
) -> None:
    """List what models cost, in dollars per million tokens, and where that is from.

    MODEL is a name, a part of one, or a pattern with `*`. Where it is one model, all that is known of it is shown. Your
    own prices are read from the policy's folder as it is; they take force with `douane policy apply`.

    With `--check` it ends with 1 where a model has no price, else with 0.

    \b
    Examples:
      douane prices gpt-5.5 --provider openai
      douane prices "*claude-sonnet-4*" --provider aws --on 2026-06-01
      douane prices --check
    """
    if check and (model or provider or day):
        raise click.UsageError("--check asks of all models, as of today")
    today = datetime.datetime.now(datetime.UTC).date()
    book = _loaded(policy_dir, home)
    if check:
        _check(book, home, today, as_json=as_json)
        return
    from douane.core.pricing.listing import search

    found = search(book, model, provider, day.date() if day else today)
    if as_json:
        for one in found:
            click.echo(json.dumps(_told(one)))
    elif len(found) == 1 and model is not None:
        _print_one(found[0])
    elif found:
        _print_table(found)
    if not found:
        named = f"No price of {plain(model)}" if model else "No prices"
        click.echo(f"{named}{f' at {plain(provider)}' if provider else ''}.", err=True)
        sys.exit(1)


def _print_table(found: list[Listed]) -> None:
    print_rows(
        ("provider", "model", "input", "output", "cache read", "cache write", "context", "answer", "source", "and"),
        [
            (
                one.provider,
                plain(one.model),
                *("free" if one.free and key in COLUMNS[:2] else _usd(one.prices.get(key)) for key in COLUMNS),
                _tokens(one.context_tokens),
                _tokens(one.max_output_tokens),
                _source(one),
                ", ".join(_and(one)),
            )
            for one in found
        ],
        below=2,
    )


def _and(one: Listed) -> Iterator[str]:
    """What a row of the table has no column for."""
    for start, tier in one.tiers:
        yield f"above {_tokens(start)}: " + " ".join(f"{key} {_usd(usd)}" for key, usd in tier.items())
    if one.variants:
        yield "/".join(one.variants)
    for key, usd in one.prices.items():
        if key not in COLUMNS:
            yield f"{key} {_usd(usd)}"


def _print_one(one: Listed) -> None:
    console = Console(highlight=False)
    console.print(f"[bold]{escape(plain(one.model))}[/bold]  {one.provider}", soft_wrap=True)
    rows: list[tuple[str, str]] = []
    if one.free:
        rows.append(("tokens", "free"))
    rows += [(key, _each(key, usd)) for key, usd in one.prices.items()]
    for start, tier in one.tiers:
        rows += [(f"above {start:,} tokens", f"{key} {_each(key, usd)}") for key, usd in tier.items()]
    for name, variant in one.variants.items():
        rows += [(name, f"{key} {_each(key, usd)}") for key, usd in variant.items() if usd != one.prices.get(key)]
    rows += [
        ("context window", f"{one.context_tokens:,} tokens"),
        ("longest answer", f"{one.max_output_tokens:,} tokens"),
    ]
    rows.append(("source", _source(one)))
    width = max(len(name) for name, _ in rows)
    for name, value in rows:
        console.print(f"  {name:<{width}}  {escape(plain(value))}", soft_wrap=True)


def _each(key: str, usd: Decimal) -> str:
    from douane.core.pricing.stated import per_words

    return f"${_usd(usd)} {per_words(key)}"


def _usd(usd: Decimal | None) -> str:
    """Dollars, with two decimals or as many as there are."""
    if usd is None:
        return ""
    text = f"{usd:f}"
    whole, _, part = text.partition(".")
    return f"{whole}.{part.rstrip('0'):0<2}"


def _tokens(number: int) -> str:
    return f"{number // 1000}k" if number % 1000 == 0 else str(number)


def _source(one: Listed) -> str:
    return plain(f"{one.source} from {one.from_day}" if one.from_day else one.source)


def _told(one: Listed) -> dict[str, Any]:
    return {
        "provider": one.provider,
        "model": one.model,
        "free": one.free,
        "prices": _figures(one.prices),
        "tiers": [{"above_input_tokens": start, "prices": _figures(tier)} for start, tier in one.tiers],
        "variants": {name: _figures(variant) for name, variant in one.variants.items()},
        "context_tokens": one.context_tokens,
        "max_output_tokens": one.max_output_tokens,
        "source": one.source,
        "from": one.from_day.isoformat() if one.from_day else None,
    }


def _figures(told: Mapping[str, Decimal]) -> dict[str, float]:
    return {key: float(usd) for key, usd in told.items()}


def _check(book: PriceBook, home: Path, today: datetime.date, *, as_json: bool) -> None:
    from douane.core.pricing.listing import seen_unpriced

    found = seen_unpriced(book, _records(Backend(home)), today)
    if as_json:
        for one in found:
            click.echo(json.dumps({**_seen(one), "line": one.line}))
    elif not found:
        click.echo("Every model in the register has a price.")
    else:
        print_rows(
            ("provider", "model", "seen", "last"),
            [
                (one.provider, plain(one.model), _times(one), str(_seen(one)["last"])[:16].replace("T", " "))
                for one in found
            ],
        )
        click.echo(
            "\nTo prices/*.yaml of the policy folder, with dollars per million tokens, then `douane policy apply`:\n"
        )
        for one in found:
            click.echo(plain(one.line))
    if found:
        sys.exit(1)


def _seen(one: Seen) -> dict[str, Any]:
    last = datetime.datetime.fromtimestamp(one.last_us / 1e6, datetime.UTC).isoformat(timespec="seconds")
    return {
        "provider": one.provider,
        "model": one.model,
        "refused": one.refused,
        "charged_otherwise": one.charged,
        "last": last.replace("+00:00", "Z"),
    }


def _times(one: Seen) -> str:
    told = [f"refused {counted(one.refused, 'time')}"] if one.refused else []
    return ", ".join([*told, f"charged {counted(one.charged, 'time')} otherwise"] if one.charged else told)


def _records(backend: Backend) -> Iterator[Mapping[str, Any]]:
    """All refusals for want of a price, intents and results of the register, each kind oldest first."""
    for kind in ("refusal", "intent", "result"):
        pages: list[list[dict[str, Any]]] = []
        before: int | None = None
        while before is None or before > 0:
            query = {"kind": kind, "limit": PAGE} | ({"before": before} if before is not None else {})
            page = backend.request("GET", f"/v1/log?{urlencode(query)}")["log"]
            kept = ("kind", "call_id", "host", "model", "provider", "estimated", "count", "at_us")
            pages.append([{name: entry["record"].get(name) for name in kept} for entry in page])
            before = page[0]["seq"] if len(page) == PAGE else 0
        for page in reversed(pages):
            yield from ({name: value for name, value in record.items() if value is not None} for record in page)


def _loaded(policy_dir: Path | None, home: Path) -> PriceBook:
    """The prices under the overlay of a policy folder; prints every mistake of it and exits."""
    from douane.edge.prices import PricesInvalid, load_prices  # the price book takes a quarter of a second

    try:
        return load_prices(policy_dir if policy_dir is not None else home.expanduser() / "policy")
    except PricesInvalid as invalid:
        for problem in invalid.problems:
            click.echo(plain(str(problem)), err=True)
        sys.exit(2)
