"""`alloy models`: whom one can ask, whether there is a key, and what the models are known to cost."""

from __future__ import annotations

import argparse
import json
import sys
from collections.abc import Iterable, Iterator, Mapping
from decimal import Decimal
from typing import Any, TextIO

import attrs

from alloy.llm.models import ModelCard, Price
from alloy.llm.price_list import CARDS, READ_ON
from alloy.providers.vendors import VENDORS, Vendor, has_key, variables

MODEL_HEADINGS = ("model", "window", "most output", "input", "output", "cache read", "cache write", "long requests")
NOTE = f"USD per million tokens, standard tier, as of {READ_ON}; other prices: alloy.model(…, price=alloy.Price(…))"


def command(options: argparse.Namespace) -> int:
    """Print the tables, and return the exit code."""
    show(sys.stdout, as_json=options.json)
    return 0


def show(out: TextIO, *, as_json: bool = False) -> None:
    """Print the tables."""
    if as_json:
        print(json.dumps([_as_json(vendor) for vendor in VENDORS.values()], ensure_ascii=False, indent=2), file=out)
    elif not (out.isatty() and _print_rich(out)):
        _print_plain(out)


def _print_plain(out: TextIO) -> None:
    for vendor in VENDORS.values():
        print(f"{vendor.name}  {_key(vendor)}", file=out)
        if rows := [_row(name, card) for name, card in _cards(vendor).items()]:
            for line in _aligned([MODEL_HEADINGS, *rows]):
                print(f"  {line}", file=out)
        print(file=out)
    print(NOTE, file=out)


def _print_rich(out: TextIO) -> bool:
    """Print with colours and lines, if the extra `cli` is installed."""
    try:
        from rich.console import Console
        from rich.table import Column, Table
    except ImportError:
        return False
    console = Console(file=out)
    for vendor in VENDORS.values():
        console.print(f"[bold]{vendor.name}[/bold]  {_key(vendor)}", highlight=False)
        if cards := _cards(vendor):
            table = Table(Column(MODEL_HEADINGS[0], no_wrap=True), *MODEL_HEADINGS[1:])
            for name, card in cards.items():
                table.add_row(*_row(name, card))
            console.print(table)
    console.print(NOTE, style="dim", highlight=False)
    return True


def _cards(vendor: Vendor) -> Mapping[str, ModelCard]:
    return CARDS.get(vendor.name, {})


def _key(vendor: Vendor) -> str:
    names = " or ".join(variables(vendor))
    if has_key(vendor):
        return f"{names} is set"
    return f"{names} is not set" if vendor.needs_key else f"{names} is not set, and not needed"


def _row(name: str, card: ModelCard) -> tuple[str, ...]:
    price = card.price
    amounts: Iterable[str] = ("",) * 5
    if price is not None:
        rates = (price.input, price.output, price.cache_read, price.cache_write)
        amounts = (*map(_amount, rates), _steps(price))
    return (name, _tokens(card.window), _tokens(card.max_output), *amounts)


def _amount(value: Decimal | None) -> str:
    return "" if value is None else f"{value.normalize():f}"


def _tokens(count: int | None) -> str:
    return "" if count is None else f"{count:,}"


def _steps(price: Price) -> str:
    """What makes a request dearer than the row says."""
    if price.long is not None:
        return f"{_amount(price.long.input)} / {_amount(price.long.output)} above {_tokens(price.long_above)}"
    if price.peak_hours:
        hours = ", ".join(f"{first:02}–{last:02}" for first, last in price.peak_hours)
        return f"times {_amount(price.peak_factor)} at {hours} UTC"
    return ""


def _aligned(rows: Iterable[tuple[str, ...]]) -> Iterator[str]:
    rows = list(rows)
    widths = [max(map(len, column)) for column in zip(*rows, strict=True)]
    for row in rows:
        yield "  ".join(cell.ljust(width) for cell, width in zip(row, widths, strict=True)).rstrip()


def _as_json(vendor: Vendor) -> dict[str, Any]:
    models = {name: _card_as_json(card) for name, card in _cards(vendor).items()}
    return {
        "vendor": vendor.name,
        "variables": list(variables(vendor)),
        "key_is_set": has_key(vendor),
        "needs_key": vendor.needs_key,
        "prices_as_of": READ_ON,
        "models": models,
    }


def _card_as_json(card: ModelCard) -> dict[str, Any]:
    """Amounts are texts, so that they stay exact."""
    price = None if card.price is None else attrs.asdict(card.price, value_serializer=_plain)
    return {"window": card.window, "max_output": card.max_output, "price": price}


def _plain(_instance: object, _field: object, value: Any) -> Any:
    if isinstance(value, Decimal):
        return _amount(value)
    return {name: _amount(amount) for name, amount in value.items()} if isinstance(value, dict) else value
