"""Who is a spread with known legs, and who a leg: what `ifd_kernels.packages` reads, by slot.

Only definitions say so (their records of DBN 3 carry the legs): without one nothing is guessed
from trades that happen to look alike.
"""

from __future__ import annotations

from collections import Counter
from typing import TYPE_CHECKING, Any, Final, TypeAlias

import numpy as np
from numpy.typing import NDArray

from ifd_kernels.layout import KIND_CALL, KIND_FUTURE, KIND_PUT, KIND_SPREAD
from ifd_kernels.packages import COUNTERS, GROUP, LEG, ROLE_LEG, Packages

if TYPE_CHECKING:
    from collections.abc import Callable, Sequence

    from ifd_fast.definitions import Leg
    from ifd_fast.instrument_links import Known
    from ifd_kernels.engine import Engine as EngineState

__all__ = [
    "GROUPS_MAX",
    "LegTable",
    "allocate_packages",
    "count_packages",
    "is_volatility",
    "show_legs",
]

Records: TypeAlias = NDArray[Any]

GROUPS_MAX: Final = 1_024  # open at once, in two or three seconds
_FIRST_LEGS: Final = 64
_SIGNS: Final = {"B": 1, "A": -1}
_DELTAS: Final = {KIND_CALL: 1, KIND_PUT: -1, KIND_FUTURE: 1}
_COUNTED: Final = (
    *("groups", "spread_trades", "leg_prints", "contracts", "volatility_contracts"),
    *("withheld_contracts", "unclaimed_contracts", "unprinted_contracts"),
    *("claims_uneven", "trades_untracked"),
)


def is_volatility(legs: Sequence[Leg]) -> bool:
    """Return whether an option is among the legs and the signs of their deltas differ.

    is_volatility(call bought, future sold)     True: covered
    is_volatility(call bought, put bought)      True: straddle
    is_volatility(later bought, earlier sold)   True: calendar
    is_volatility(call bought, put sold)        False: both gain when the future rises
    """
    signs = {_DELTAS.get(leg.kind, 0) * _SIGNS.get(leg.side, 0) for leg in legs}
    has_option = any(leg.kind in {KIND_CALL, KIND_PUT} for leg in legs)
    return has_option and signs == {1, -1}


def allocate_packages(table: LegTable) -> Packages:
    """Return the kernels' state: no groups, the roles and legs of `table`."""
    groups, counters = np.zeros(GROUPS_MAX, GROUP), np.zeros(COUNTERS, np.int64)
    return Packages(table.roles, table.legs, groups, counters)


def show_legs(state: EngineState, table: LegTable) -> EngineState:
    """Return `state` with the arrays of `table`; `state` itself if it has them."""
    packages = state.packages
    if table.roles is packages.roles and table.legs is packages.legs:
        return state
    packages = packages._replace(roles=table.roles, legs=table.legs)
    return state._replace(packages=packages)


def count_packages(packages: Packages) -> dict[str, int]:
    """Return what became of trades of spreads and prints of legs, for the session's report."""
    counts = dict(zip(_COUNTED, packages.counters.tolist(), strict=False))
    del counts["groups"]
    return counts


class LegTable:
    """Keeps `roles` (k slots) and `legs` right while instruments come and go.

    Both are other arrays after a growth. A slot that was a leg's stays one until another
    instrument uses it: what is withheld of it now must not change its meaning.
    """

    def __init__(self, known: list[Known], slot_of: Callable[[int], int]) -> None:
        self.roles: NDArray[np.int32] = np.zeros(0, np.int32)
        self.legs: Records = np.zeros(_FIRST_LEGS, LEG)
        self._known = known
        self._slot_of = slot_of
        self._spreads: dict[int, tuple[Leg, ...]] = {}
        self._ids: Counter[int] = Counter()
        self._names: Counter[tuple[int, str]] = Counter()
        self._used = 0
        self._free: dict[int, list[int]] = {}

    def resize(self, slots: int) -> None:
        """Make room for `slots`."""
        roles = np.zeros(slots, np.int32)
        roles[: len(self.roles)] = self.roles
        self.roles = roles

    def note_slot(self, slot: int) -> None:
        """Note that `slot` was named, changed or retired."""
        known = self._known[slot]
        legs: tuple[Leg, ...] = ()
        if known.kind == KIND_SPREAD and not known.retired:
            legs = tuple(filter(_has_ratio, known.legs))
        if legs == self._spreads.get(slot, ()):
            self.note_id(known.instrument_id)
            return
        self._remove(slot)
        if legs:
            self._put(slot, legs)

    def note_id(self, instrument_id: int) -> None:
        """Note that the id means another slot, or that its slot has a name now."""
        if instrument_id not in self._ids:
            return
        slot = self._slot_of(instrument_id)
        if slot < 0 or self.roles[slot] != 0 or self._known[slot].retired:
            return
        symbol = self._known[slot].symbol
        named = ((instrument_id, symbol or ""), (instrument_id, ""))
        if symbol is None or any(name in self._names for name in named):
            self.roles[slot] = ROLE_LEG

    def forget(self, slot: int) -> None:
        """Drop what is held of a retired slot: another instrument will use it."""
        self._remove(slot)
        self.roles[slot] = 0

    def _put(self, slot: int, legs: tuple[Leg, ...]) -> None:
        place = self._place_for(len(legs))
        volatility = is_volatility(legs)
        for index, leg in enumerate(legs):
            row = self.legs[place + index]
            row["instrument_id"] = leg.instrument_id
            row["numerator"], row["denominator"] = leg.ratio_numerator, leg.ratio_denominator
            row["sign"] = _SIGNS.get(leg.side, 0)
            row["last"] = index == len(legs) - 1
            row["volatility"] = volatility
            self._ids[leg.instrument_id] += 1
            self._names[leg.instrument_id, leg.symbol] += 1
        self._spreads[slot] = legs
        self.roles[slot] = 1 + place
        for leg in legs:
            self.note_id(leg.instrument_id)

    def _remove(self, slot: int) -> None:
        legs = self._spreads.pop(slot, ())
        if not legs:
            return
        self._free.setdefault(len(legs), []).append(int(self.roles[slot]) - 1)
        self.roles[slot] = 0
        for leg in legs:
            _take(self._ids, leg.instrument_id)
            _take(self._names, (leg.instrument_id, leg.symbol))

    def _place_for(self, count: int) -> int:
        if self._free.get(count):
            return self._free[count].pop()
        place, self._used = self._used, self._used + count
        if self._used > len(self.legs):
            legs = np.zeros(max(2 * len(self.legs), self._used), LEG)
            legs[: len(self.legs)] = self.legs
            self.legs = legs
        return place


def _has_ratio(leg: Leg) -> bool:
    return leg.ratio_numerator > 0 and leg.ratio_denominator > 0


def _take(counter: Counter[Any], key: Any) -> None:
    counter[key] -= 1
    if not counter[key]:
        del counter[key]
