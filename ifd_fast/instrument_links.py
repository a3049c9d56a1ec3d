"""Who belongs to whom: an option's future, and the other half of its straddle.

Links follow from what is known now, not from the order it came in: whichever arrives later, the
future or its options, both orders end in the same links.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import Any, Final, NamedTuple, TypeAlias

import msgspec
from numpy.typing import NDArray

from ifd_fast.definitions import Leg
from ifd_kernels.layout import KIND_CALL, KIND_FUTURE, KIND_PUT

__all__ = ["InstrumentTexts", "Links"]

Records: TypeAlias = NDArray[Any]

_OPTIONS: Final = frozenset({KIND_CALL, KIND_PUT})


class InstrumentTexts(msgspec.Struct):
    """What a slot's identity says beyond numbers; None where nobody has said it."""

    symbol: str | None = None
    root: str | None = None
    contract: str | None = None  # of a future: month letter and year digits
    underlying: str | None = None
    underlying_id: int = 0
    legs: tuple[Leg, ...] = ()


class _Series(NamedTuple):
    root: str | None
    underlying: str | None
    expiration_ns: int
    strike_1e9: int


class _Entry(NamedTuple):
    """What the indexes below hold of one slot."""

    future: str | None = None  # its symbol, if it is a live future
    underlying: str | None = None  # if it is an option, retired or not
    underlying_id: int = 0
    series: _Series | None = None  # if it is a live, mapped option
    kind: int = 0


class Links:
    """Keeps `underlying_slot` and `twin_slot` of the identities right.

    An option's underlying is the newest live future that bears the name its definition gives,
    else the still nameless slot of the id it gives. Twins are the newest live call and the
    newest live put of one root, underlying, expiration and strike.
    """

    def __init__(self, slot_of: Callable[[int], int]) -> None:
        self._slot_of = slot_of
        self._entries: dict[int, _Entry] = {}
        self._futures: dict[str, set[int]] = {}
        self._by_underlying: dict[str, set[int]] = {}
        self._by_underlying_id: dict[int, set[int]] = {}
        self._series: dict[_Series, tuple[set[int], set[int]]] = {}

    def update(self, slot: int, identities: Records, texts: list[InstrumentTexts]) -> None:
        """Note that `slot` was opened, named, changed or retired."""
        old = self._entries.get(slot, _Entry())
        new = _entry(identities[slot], texts[slot])
        if old != new:
            self._take_out(slot, old)
            self._put_in(slot, new)
            self._entries[slot] = new
        options = set(self._by_underlying_id.get(int(identities[slot]["instrument_id"]), ()))
        for symbol in {old.future, new.future} - {None} if old.future != new.future else ():
            options |= self._by_underlying.get(symbol or "", set())
        if new.kind in _OPTIONS:
            options.add(slot)
        for option in options:
            identities[option]["underlying_slot"] = self._underlying(
                texts[option], texts, identities
            )
        identities[slot]["twin_slot"] = -1
        for series in {old.series, new.series}:
            if series is not None:
                self._link_twins(series, identities)

    def _underlying(
        self, option: InstrumentTexts, texts: list[InstrumentTexts], identities: Records
    ) -> int:
        named = self._futures.get(option.underlying or "")
        if named:
            return max(named)
        slot = self._slot_of(option.underlying_id) if option.underlying_id else -1
        if slot < 0 or texts[slot].symbol is None:
            return slot
        is_future = int(identities[slot]["kind"]) == KIND_FUTURE
        return slot if is_future and not option.underlying else -1

    def _link_twins(self, series: _Series, identities: Records) -> None:
        calls, puts = self._series.get(series, (set(), set()))
        for slot in calls | puts:
            identities[slot]["twin_slot"] = -1
        if calls and puts:
            call, put = max(calls), max(puts)
            identities[call]["twin_slot"] = put
            identities[put]["twin_slot"] = call

    def _take_out(self, slot: int, entry: _Entry) -> None:
        _discard(self._futures, entry.future, slot)
        _discard(self._by_underlying, entry.underlying, slot)
        _discard(self._by_underlying_id, entry.underlying_id, slot)
        if entry.series is not None:
            both = self._series[entry.series]
            both[entry.kind == KIND_PUT].discard(slot)
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
            both[entry.kind == KIND_PUT].add(slot)


def _entry(identity: Any, texts: InstrumentTexts) -> _Entry:
    kind, retired = int(identity["kind"]), bool(identity["retired"])
    if kind == KIND_FUTURE:
        return _Entry(future=None if retired else texts.symbol, kind=kind)
    if kind not in _OPTIONS:
        return _Entry(kind=kind)
    series = _Series(
        texts.root,
        texts.underlying,
        int(identity["expiration_ns"]),
        int(identity["strike_1e9"]),
    )
    live = bool(identity["mapped"]) and not retired
    return _Entry(
        underlying=texts.underlying,
        underlying_id=texts.underlying_id,
        series=series if live else None,
        kind=kind,
    )


def _discard(index: dict[Any, set[int]], key: Any, slot: int) -> None:
    slots = index.get(key)
    if slots is not None:
        slots.discard(slot)
        if not slots:
            del index[key]
