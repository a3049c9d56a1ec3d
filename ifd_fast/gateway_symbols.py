"""Which instruments a subscription's symbols bring, by parent, raw symbol or id."""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Sequence
from typing import Final

from ifd_fast.definitions import Definition
from ifd_fast.gateway_records import Listed
from ifd_fast.sources import Metadata
from ifd_fast.symbols import parse_futures_symbol, parse_option_symbol

__all__ = ["ALL_SYMBOLS", "Symbology", "listed_by_definitions", "listed_by_metadata"]

ALL_SYMBOLS: Final = "ALL_SYMBOLS"
_FUTURES: Final = frozenset("FS")  # instrument classes of which the parent is ROOT.FUT


class Symbology:
    """What symbols mean on one tape."""

    def __init__(self, listed: Sequence[Listed]) -> None:
        self._all = list(listed)
        self._by: dict[str, dict[str, list[Listed]]] = {
            "parent": {},
            "raw_symbol": {},
            "instrument_id": {},
        }
        for one in listed:
            names = {
                "parent": one.parent,
                "raw_symbol": one.symbol,
                "instrument_id": str(one.instrument_id),
            }
            for stype, name in names.items():
                self._by[stype].setdefault(name, []).append(one)

    def resolve(self, stype_in: str, symbol: str) -> list[Listed]:
        """Return the instruments that `symbol` brings, by id; none if it is unknown."""
        if symbol == ALL_SYMBOLS:
            return self._all
        return self._by[stype_in].get(symbol, []) if symbol else []


def listed_by_definitions(definitions: Iterable[Definition]) -> Iterator[Listed]:
    """Yield the instruments of definitions; their parent is the venue's product and its kind."""
    for one in definitions:
        kind = "FUT" if one.instrument_class in _FUTURES else "OPT"
        yield Listed(one.instrument_id, one.raw_symbol, f"{one.asset}.{kind}" if one.asset else "")


def listed_by_metadata(metadata: Metadata) -> Iterator[Listed]:
    """Yield the instruments that a file's header maps, whatever the day; the first meaning holds.

    Raw symbols of outright futures and options name their parent; other names have none.
    """
    names = (metadata.stype_in, metadata.stype_out)
    by_symbol = names in {("raw_symbol", "instrument_id"), ("parent", "instrument_id")}
    if not by_symbol and names != ("instrument_id", "raw_symbol"):
        return
    for name, intervals in metadata.mappings.items():
        for interval in intervals:
            number, symbol = (interval.symbol, name) if by_symbol else (name, interval.symbol)
            if number.isdecimal():
                yield Listed(int(number), symbol, _parent(symbol))


def _parent(symbol: str) -> str:
    future, option = parse_futures_symbol(symbol), parse_option_symbol(symbol)
    if future is not None:
        return f"{future.root}.FUT"
    return "" if option is None else f"{option.series}.OPT"
