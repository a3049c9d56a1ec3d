"""Who belongs to whom: an option's future, the other half of its straddle, a spread's legs.

Links follow from what is known now, not from the order it came in: whichever arrives later, the
future or its options, both orders end in the same links.
"""

from __future__ import annotations

from collections.abc import Callable
from sys import intern
from typing import Any, Final, NamedTuple, TypeAlias

import msgspec
import numpy as np
from numpy.typing import NDArray

from ifd_fast.definitions import Definition, Leg
from ifd_fast.identities import Identity
from ifd_fast.packages import LegTable
from ifd_fast.symbols import parse_futures_symbol
from ifd_kernels.layout import (
    KIND_CALL,
    KIND_FUTURE,
    KIND_PUT,
    KIND_SPREAD,
    KIND_UNKNOWN,
    UNDEF_PRICE,
)

__all__ = ["OPTION_TYPES", "Known", "Links", "describe", "identify"]

OPTION_TYPES: Final = {KIND_CALL: "C", KIND_PUT: "P", KIND_FUTURE: "F", KIND_SPREAD: "S"}

Records: TypeAlias = NDArray[Any]

_OPTIONS: Final = frozenset({KIND_CALL, KIND_PUT})


class Known(msgspec.Struct):
    """What is known of a slot, as plain Python; the identities array holds the numbers too."""

    instrument_id: int
    opened: int  # instruments that were opened before it: slots are used again
    symbol: str | None = None
    root: str | None = None
    contract: str | None = None  # of a future: month letter and year digits
    underlying: str | None = None
    underlying_id: int = 0
    kind: int = KIND_UNKNOWN
    strike_1e9: int = UNDEF_PRICE
    expiration_ns: int = -1
    mapped: bool = False
    retired: bool = False
    legs: tuple[Leg, ...] = ()


def describe(old: Known, definition: Definition) -> Known:
    """Return what is known of a slot once its definition has come (again)."""
    is_option = definition.kind in _OPTIONS
    strike_1e9 = definition.strike_1e9 if is_option else UNDEF_PRICE
    whole = strike_1e9 != UNDEF_PRICE and definition.expiration_ns != -1
    is_future = definition.kind == KIND_FUTURE
    future = parse_futures_symbol(definition.raw_symbol) if is_future else None
    return Known(
        instrument_id=old.instrument_id,
        opened=old.opened,
        symbol=definition.raw_symbol,
        root=intern(definition.asset) or None,  # one text for all that share it
        contract=None if future is None else future.contract,
        underlying=intern(definition.underlying) or None,
        underlying_id=definition.underlying_id,
        kind=definition.kind,
        strike_1e9=strike_1e9,
        expiration_ns=definition.expiration_ns,
        mapped=whole or not is_option,
        legs=_merge(old.legs, definition.legs),
    )


def _merge(old: tuple[Leg, ...], new: tuple[Leg, ...]) -> tuple[Leg, ...]:
    if not old or not new:
        return old or new
    legs = {leg.index: leg for leg in (*old, *new)}
    return tuple(legs[index] for index in sorted(legs))


def identify(known: Known) -> Identity:
    """Return what a row says of an instrument."""
    return Identity(
        instrument_id=known.instrument_id,
        symbol=known.symbol,
        root=known.root,
        underlying=known.underlying,
        expiration_ns=known.expiration_ns,
        strike=None if known.strike_1e9 == UNDEF_PRICE else known.strike_1e9 / 1e9,
        option_type=OPTION_TYPES.get(known.kind),
        mapped=known.mapped,
        contract=known.contract,
        opened=known.opened,
    )


class _Entry(NamedTuple):
    """What the indexes below hold of one slot."""

    future: str | None = None  # its symbol, if it is a live future
    underlying: str | None = None  # if it is an option, retired or not
    underlying_id: int = 0
    series: tuple[Any, ...] | None = None  # if it is a live, mapped option
    is_put: bool = False


_NOTHING: Final = _Entry()


class Links:
    """Keeps `underlying_slot` and `twin_slot` of the identities right.

    An option's underlying is the newest live future that bears the name its definition gives,
    else the still nameless slot of the id it gives. Twins are the newest live call and the
    newest live put of one root, underlying, expiration and strike.
    """

    def __init__(self, known: list[Known], slot_of: Callable[[int], int]) -> None:
        self.legs = LegTable(known, slot_of)
        self._known = known
        self._slot_of = slot_of
        self._entries: dict[int, _Entry] = {}
        self._futures: dict[str, set[int]] = {}
        self._by_underlying: dict[str, set[int]] = {}
        self._by_underlying_id: dict[int, set[int]] = {}
        self._series: dict[tuple[Any, ...], tuple[int, ...]] = {}  # mostly a call and a put
        self._underlying_slot: NDArray[np.int32] = np.zeros(0, np.int32)
        self._twin_slot: NDArray[np.int32] = np.zeros(0, np.int32)

    def write_to(self, identities: Records) -> None:
        """Write links into `identities` from now on."""
        self.legs.resize(len(identities))
        self._underlying_slot = identities["underlying_slot"]
        self._twin_slot = identities["twin_slot"]

    def update(self, slot: int) -> None:
        """Note that `slot` was named, changed or retired."""
        known = self._known[slot]
        self.legs.note_slot(slot)
        old, new = self._entries.get(slot, _NOTHING), _entry(known)
        if old != new:
            self._take_out(slot, old)
            self._put_in(slot, new)
            self._entries[slot] = new
            if old.future != new.future:
                self._link_options(self._by_underlying.get(old.future or ""))
                self._link_options(self._by_underlying.get(new.future or ""))
            if old.series is not None:
                self._twin_slot[slot] = -1
                self._link_twins(old.series)
            if new.series is not None:
                self._link_twins(new.series)
        self.note_id(known.instrument_id)
        if known.kind in _OPTIONS:
            self._link_options({slot})
        else:
            self._underlying_slot[slot] = -1

    def forget(self, slot: int) -> None:
        """Drop what is held of a retired slot: another instrument will use it."""
        self.legs.forget(slot)
        self._take_out(slot, self._entries.pop(slot, _NOTHING))

    def futures(self) -> dict[int, str]:
        """Return by slot the symbol of every live future and of every nameless underlying."""
        symbols: dict[int, str] = {}
        for instrument_id, options in self._by_underlying_id.items():
            slot = self._slot_of(instrument_id)
            if slot >= 0 and self._known[slot].symbol is None:
                symbols[slot] = self._known[min(options, key=self._age)].underlying or ""
        for symbol, slots in self._futures.items():
            symbols.update(dict.fromkeys(slots, symbol))
        return symbols

    def note_id(self, instrument_id: int) -> None:
        """Note that the id means another slot, or that its slot has a name now."""
        self.legs.note_id(instrument_id)
        self._link_options(self._by_underlying_id.get(instrument_id))

    def _age(self, slot: int) -> int:
        return self._known[slot].opened

    def _link_options(self, options: set[int] | None) -> None:
        for slot in options or ():
            self._underlying_slot[slot] = self._underlying_of(self._known[slot])

    def _underlying_of(self, option: Known) -> int:
        named = self._futures.get(option.underlying or "")
        if named:
            return max(named, key=self._age)
        slot = self._slot_of(option.underlying_id) if option.underlying_id else -1
        if slot < 0 or self._known[slot].symbol is None:
            return slot
        is_future = self._known[slot].kind == KIND_FUTURE
        return slot if is_future and not option.underlying else -1

    def _link_twins(self, series: tuple[Any, ...]) -> None:
        slots = self._series.get(series, ())
        calls = [slot for slot in slots if not self._entries[slot].is_put]
        puts = [slot for slot in slots if self._entries[slot].is_put]
        for slot in slots:
            self._twin_slot[slot] = -1
        if calls and puts:
            call, put = max(calls, key=self._age), max(puts, key=self._age)
            self._twin_slot[call] = put
            self._twin_slot[put] = call

    def _take_out(self, slot: int, entry: _Entry) -> None:
        _discard(self._futures, entry.future, slot)
        _discard(self._by_underlying, entry.underlying, slot)
        _discard(self._by_underlying_id, entry.underlying_id, slot)
        if entry.series is not None:
            others = tuple(other for other in self._series.pop(entry.series) if other != slot)
            if others:
                self._series[entry.series] = others

    def _put_in(self, slot: int, entry: _Entry) -> None:
        if entry.future is not None:
            self._futures.setdefault(entry.future, set()).add(slot)
        if entry.underlying:
            self._by_underlying.setdefault(entry.underlying, set()).add(slot)
        if entry.underlying_id:
            self._by_underlying_id.setdefault(entry.underlying_id, set()).add(slot)
        if entry.series is not None:
            self._series[entry.series] = (*self._series.get(entry.series, ()), slot)


def _entry(known: Known) -> _Entry:
    if known.kind == KIND_FUTURE:
        return _NOTHING if known.retired else _Entry(future=known.symbol)
    if known.kind not in _OPTIONS:
        return _NOTHING
    live = known.mapped and not known.retired
    series = (known.root, known.underlying, known.expiration_ns, known.strike_1e9)
    return _Entry(
        underlying=known.underlying,
        underlying_id=known.underlying_id,
        series=series if live else None,
        is_put=known.kind == KIND_PUT,
    )


def _discard(index: dict[Any, set[int]], key: Any, slot: int) -> None:
    slots = index.get(key)
    if slots is not None:
        slots.discard(slot)
        if not slots:
            del index[key]
