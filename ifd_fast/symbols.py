"""Raw symbols of CME futures and options, taken apart."""

from __future__ import annotations

import datetime as dt
import re
from collections.abc import Iterator
from typing import Final, NamedTuple

from ifd_fast.sources import Metadata

__all__ = [
    "FuturesSymbol",
    "OptionSymbol",
    "mappings_on",
    "parse_futures_symbol",
    "parse_option_symbol",
]

_MONTHS: Final = "FGHJKMNQUVXZ"
_FUTURE: Final = re.compile(rf"([A-Z0-9]{{1,4}})([{_MONTHS}])([0-9]{{1,2}})")
_OPTION: Final = re.compile(rf"([A-Z0-9]{{1,4}})([{_MONTHS}])([0-9]{{1,2}}) ([CP])(-?[0-9.]+)")


class FuturesSymbol(NamedTuple):
    """An outright future: `contract` is month letter and year digits as written, such as H4."""

    root: str
    month: int  # 1 to 12
    year: int  # one digit as it stands, unless a reference year is known
    contract: str


class OptionSymbol(NamedTuple):
    """An outright option; the strike as written, which is not always its price."""

    series: str
    letter: str  # C or P
    strike_text: str


def parse_futures_symbol(symbol: str, reference_year: int | None = None) -> FuturesSymbol | None:
    """Split a symbol such as ESH4 or NGN25; None if it isn't an outright future's.

    One digit of year is completed to the first such year from `reference_year` on.
    """
    match = _FUTURE.fullmatch(symbol)
    if match is None:
        return None
    root, letter, digits = match.groups()
    year = int(digits) + (2000 if len(digits) == 2 else 0)
    if len(digits) == 1 and reference_year is not None:
        year = reference_year + (year - reference_year) % 10
    return FuturesSymbol(root, _MONTHS.index(letter) + 1, year, letter + digits)


def parse_option_symbol(symbol: str) -> OptionSymbol | None:
    """Split `Q2AM6 P21500`, to check with: a row's strike comes from its definition alone."""
    match = _OPTION.fullmatch(symbol)
    return None if match is None else OptionSymbol(match[1], match[4], match[5])


def mappings_on(metadata: Metadata, day: dt.date) -> Iterator[tuple[int, str]]:
    """Yield (instrument id, raw symbol) that hold on `day`; -1 for an id that is no number.

    Asking by parent lists raw symbols as well; continuous contracts are names of another kind,
    so they yield nothing.
    """
    names = (metadata.stype_in, metadata.stype_out)
    by_symbol = names in {("raw_symbol", "instrument_id"), ("parent", "instrument_id")}
    if not by_symbol and names != ("instrument_id", "raw_symbol"):
        return
    date = day.isoformat()
    for name, intervals in metadata.mappings.items():
        for interval in intervals:
            if interval.start_date <= date < interval.end_date:
                number, symbol = (interval.symbol, name) if by_symbol else (name, interval.symbol)
                yield (int(number) if number.isdecimal() else -1), symbol
