"""Who belongs to whom: an option's future, and the other half of its straddle.

Links follow from what is known now, not from the order it came in: whichever arrives later, the
future or its options, both orders end in the same links.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import Any, Final, NamedTuple, TypeAlias

import msgspec
import numpy as np
from numpy.typing import NDArray

from ifd_fast.definitions import Leg
from ifd_kernels.layout import KIND_CALL, KIND_FUTURE, KIND_PUT, KIND_UNKNOWN, UNDEF_PRICE

__all__ = ["Known", "Links"]

Records: TypeAlias = NDArray[Any]

_OPTIONS: Final = frozenset({KIND_CALL, KIND_PUT})


class Known(msgspec.Struct):
    """What is known of a slot, as plain Python; the identities array holds the numbers too."""

    instrument_id: int
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
        self._known = known
        self._slot_of = slot_of
        self._entries: dict[int, _Entry] = {}
        self._futures: dict[str, set[int]] = {}
        self._by_underlying: dict[str, set[int]] = {}
        self._by_underlying_id: dict[int, set[int]] = {}
        self._series: dict[tuple[Any, ...], tuple[set[int], set[int]]] = {}
        self._underlying_slot: NDArray[np.int32] = np.zeros(0, np.int32)
        self._twin_slot: NDArray[np.int32] = np.zeros(0, np.int32)

    def write_to(self, identities: Records) -> None:
        """Write links into `identities` from now on."""
        self._underlying_slot = identities["underlying_slot"]
        self._twin_slot = identities["twin_slot"]

    def update(self, slot: int) -> None:
        """Note that `slot` was named, changed or retired."""
        known = self._known[slot]
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

    def futures(self) -> dict[int, str]:
        """Return by slot the symbol of every live future and of every nameless underlying."""
        symbols: dict[int, str] = {}
        for instrument_id, options in self._by_underlying_id.items():
            slot = self._slot_of(instrument_id)
            if slot >= 0 and self._known[slot].symbol is None:
                symbols[slot] = self._known[min(options)].underlying or ""
        for symbol, slots in self._futures.items():
            symbols.update(dict.fromkeys(slots, symbol))
        return symbols

    def note_id(self, instrument_id: int) -> None:
        """Note that the id means another slot, or that its slot has a name now."""
        self._link_options(self._by_underlying_id.get(instrument_id))

    def _link_options(self, options: set[int] | None) -> None:
        for slot in options or ():
            self._underlying_slot[slot] = self._underlying_of(self._known[slot])

    def _underlying_of(self, option: Known) -> int:
        named = self._futures.get(option.underlying or "")
        if named:
            return max(named)
        slot = self._slot_of(option.underlying_id) if option.underlying_id else -1
        if slot < 0 or self._known[slot].symbol is None:
            return slot
        is_future = self._known[slot].kind == KIND_FUTURE
        return slot if is_future and not option.underlying else -1

    def _link_twins(self, series: tuple[Any, ...]) -> None:
        calls, puts = self._series.get(series, (set(), set()))
        for slot in (*calls, *puts):
            self._twin_slot[slot] = -1
        if calls and puts:
            call, put = max(calls), max(puts)
            self._twin_slot[call] = put
            self._twin_slot[put] = call

    def _take_out(self, slot: int, entry: _Entry) -> None:
        _discard(self._futures, entry.future, slot)
        _discard(self._by_underlying, entry.underlying, slot)
        _discard(self._by_underlying_id, entry.underlying_id, slot)
        if entry.series is not None:
            both = self._series[entry.series]
            both[entry.is_put].discard(slot)
            if not both[0] and not both[1]:
                del self._series[entry.series]

    def _put_in(self, slot: int, entry: _Entry) -> None:
        if entry.future is not None:
            self._futures.setdefault(entry.future, set()).add(slot)
        if entry.underlying:
            self._by_underlying.setdefault(entry.underlying, set()).add(slot)
        if entry.underlying_id:
            self._by_underlying_id.setdefault(entry.underlying_id, set()).add(slot)
        if entry.series is not None:
            both = self._series.setdefault(entry.series, (set(), set()))
            both[entry.is_put].add(slot)


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
