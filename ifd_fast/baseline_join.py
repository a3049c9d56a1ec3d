"""Join the estimates to the engine's slots: what history expects of each listed option.

The narrowest cell that has history answers: the strike's, else its moneyness class's (at the
underlying's mid, or its last known price), else its DTE class's, else its type's. A slot that
is anonymous, or no option, expects nothing (CELL_NONE).
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from functools import lru_cache
from typing import Any, Final, NamedTuple

import numpy as np
from numpy.typing import NDArray

from ifd_fast.baseline_cells import (
    DAY_NS,
    DTE_CLASSES,
    MONEYNESS_CLASSES,
    TYPE_CALL,
    TYPE_PUT,
    classify_days,
    classify_strikes,
)
from ifd_fast.baseline_estimates import Arrays
from ifd_kernels.layout import KIND_CALL, KIND_PUT, UNDEF_PRICE
from ifd_kernels.signals import (
    CELL_DTE,
    CELL_MONEYNESS,
    CELL_NONE,
    CELL_STRIKE,
    CELL_TYPE,
    EXPECTED,
)

__all__ = ["join_slot", "join_slots"]

_HALF_DAY_NS: Final = DAY_NS // 2
_VALUES: Final = (
    "votes_1", "votes_10", "log_ratio_mean", "log_ratio_sd", "log_ratio_quantiles", "sessions",
)  # fmt: skip


class _Index(NamedTuple):
    """Where each key's cell lies in `cells`; -1 where there is none."""

    strikes_1e9: NDArray[np.int64]  # sorted, distinct
    strike_keys: NDArray[np.int64]  # sorted: (group, strike's place); rows in cells' own order
    first_strike: int  # row of the first strike cell
    moneyness: NDArray[np.int64]  # (underlyings, 2, DTE_CLASSES, MONEYNESS_CLASSES)
    dte: NDArray[np.int64]  # (underlyings, 2, DTE_CLASSES)
    types: NDArray[np.int64]  # (2,)


def join_slots(
    arrays: Arrays,
    identities: NDArray[Any],
    n_slots: int,
    session_open_ns: int,
    underlying_mid_by_slot: NDArray[np.float64] | None = None,
    *,
    symbols: Mapping[int, str] | Sequence[str] | None = None,
) -> NDArray[Any]:
    """Return EXPECTED (n_slots,) for the session that opens at `session_open_ns`.

    Parameters
    ----------
    identities : layout.IDENTITY, at least n_slots long.
    underlying_mid_by_slot : points by the future's slot, nan where unknown. None: the last
        price in the history stands for all.
    symbols : text by slot, needed for the futures' slots only. None: futures are known by
        their instrument_id, which holds only while the exchange keeps it.
    """
    return _join(
        arrays,
        identities[:n_slots],
        identities,
        session_open_ns,
        underlying_mid_by_slot,
        symbols,
    )


def join_slot(
    arrays: Arrays,
    identities: NDArray[Any],
    slot: int,
    session_open_ns: int,
    underlying_mid_by_slot: NDArray[np.float64] | None = None,
    *,
    symbols: Mapping[int, str] | Sequence[str] | None = None,
) -> NDArray[Any]:
    """Return EXPECTED (1,) of one slot, as `join_slots` would: for slots opened intraday."""
    return _join(
        arrays,
        identities[slot : slot + 1],
        identities,
        session_open_ns,
        underlying_mid_by_slot,
        symbols,
    )


def _join(
    arrays: Arrays,
    wanted: NDArray[Any],
    identities: NDArray[Any],
    session_open_ns: int,
    mids: NDArray[np.float64] | None,
    symbols: Mapping[int, str] | Sequence[str] | None,
) -> NDArray[Any]:
    kind = wanted["kind"]
    option = (kind == KIND_CALL) | (kind == KIND_PUT)
    option &= (wanted["mapped"] == 1) & (wanted["strike_1e9"] != UNDEF_PRICE)
    rows = np.full(len(wanted), -1, np.int64)
    chosen = np.flatnonzero(option)
    if len(chosen) and len(arrays.cells):
        part = wanted[chosen]
        underlying, price = _underlyings_of(arrays, part, identities, mids, symbols)
        day = (session_open_ns + _HALF_DAY_NS) // DAY_NS  # 17:00 Chicago opens the next date
        rows[chosen] = _find(arrays, part, underlying, price, day)
    expected = np.zeros(len(wanted), EXPECTED)
    expected["cell"] = CELL_NONE
    found = rows >= 0
    cells = arrays.cells[rows[found]]
    for name in _VALUES:
        expected[name][found] = cells[name]
    expected["cell"][found] = cells["level"]
    return expected


def _underlyings_of(
    arrays: Arrays,
    part: NDArray[Any],
    identities: NDArray[Any],
    mids: NDArray[np.float64] | None,
    symbols: Mapping[int, str] | Sequence[str] | None,
) -> tuple[NDArray[np.int64], NDArray[np.float64]]:
    """Return each slot's underlying in `arrays` (-1: none) and its mid in points (nan: none)."""
    slots, place = np.unique(part["underlying_slot"], return_inverse=True)
    index = np.full(len(slots), -1, np.int64)
    price = np.full(len(slots), np.nan)
    by_symbol = {bytes(symbol): at for at, symbol in enumerate(arrays.underlyings["symbol"])}
    by_id = {int(number): at for at, number in enumerate(arrays.underlyings["instrument_id"])}
    by_id.pop(0, None)
    for at, slot in enumerate(slots.tolist()):
        if not 0 <= slot < len(identities):
            continue
        if symbols is None:
            index[at] = by_id.get(int(identities[slot]["instrument_id"]), -1)
        else:
            index[at] = by_symbol.get(_symbol_of(symbols, slot).encode(), -1)
        if mids is not None and slot < len(mids):
            price[at] = mids[slot]
        if not price[at] > 0 and index[at] >= 0:
            price[at] = arrays.underlyings["last_price"][index[at]]
    return index[place], price[place]


def _symbol_of(symbols: Mapping[int, str] | Sequence[str], slot: int) -> str:
    if isinstance(symbols, Mapping):
        return symbols.get(slot) or ""
    return symbols[slot] if slot < len(symbols) else ""


def _find(
    arrays: Arrays,
    part: NDArray[Any],
    underlying: NDArray[np.int64],
    price: NDArray[np.float64],
    day: int,
) -> NDArray[np.int64]:
    """Return the row of the narrowest cell of each option, -1 if there is none."""
    index = _index_of(arrays)
    kind = np.where(part["kind"] == KIND_CALL, TYPE_CALL, TYPE_PUT)
    rows = index.types[kind]
    dated = (underlying >= 0) & (part["expiration_ns"] >= 0)
    if not dated.any():
        return rows
    at, which = underlying[dated], kind[dated]
    classes = classify_days(part["expiration_ns"][dated] // DAY_NS - day)
    found = rows[dated]
    _prefer(found, index.dte[at, which, classes])
    strike = part["strike_1e9"][dated]
    near = classify_strikes(strike / 1e9, price[dated])
    _prefer(found, np.where(near >= 0, index.moneyness[at, which, classes, near], -1))
    _prefer(found, _strike_rows(index, _group(at, which, classes), strike))
    rows[dated] = found
    return rows


def _prefer(rows: NDArray[np.int64], narrower: NDArray[np.int64]) -> None:
    np.copyto(rows, narrower, where=narrower >= 0)


def _group(
    underlying: NDArray[np.int64], kind: NDArray[np.int64], classes: NDArray[np.int64]
) -> NDArray[np.int64]:
    group: NDArray[np.int64] = (underlying.astype(np.int64) * 2 + kind) * DTE_CLASSES + classes
    return group


def _strike_rows(
    index: _Index, group: NDArray[np.int64], strike_1e9: NDArray[np.int64]
) -> NDArray[np.int64]:
    if not len(index.strike_keys):
        return np.full(len(group), -1, np.int64)
    last = len(index.strikes_1e9) - 1
    place = np.minimum(np.searchsorted(index.strikes_1e9, strike_1e9), last)
    key = group * len(index.strikes_1e9) + place
    row = np.minimum(np.searchsorted(index.strike_keys, key), len(index.strike_keys) - 1)
    same = (index.strikes_1e9[place] == strike_1e9) & (index.strike_keys[row] == key)
    return np.where(same, row + index.first_strike, -1)


def _index_of(arrays: Arrays) -> _Index:
    return _build_index(_Once(arrays))


class _Once:
    """Arrays as a key of the cache: by identity, for `cells` itself can't be hashed."""

    def __init__(self, arrays: Arrays) -> None:
        self.arrays = arrays

    def __hash__(self) -> int:
        return id(self.arrays)

    def __eq__(self, other: object) -> bool:
        return isinstance(other, _Once) and other.arrays is self.arrays


@lru_cache(maxsize=2)  # the arrays in force, and those that take over at the next open
def _build_index(once: _Once) -> _Index:
    cells = once.arrays.cells
    shape = (len(once.arrays.underlyings), 2, DTE_CLASSES, MONEYNESS_CLASSES)
    moneyness = np.full(shape, -1, np.int64)
    dte = np.full(shape[:3], -1, np.int64)
    types = np.full(2, -1, np.int64)
    levels = {
        level: np.flatnonzero(cells["level"] == level)
        for level in (CELL_STRIKE, CELL_MONEYNESS, CELL_DTE, CELL_TYPE)
    }
    rows = levels[CELL_MONEYNESS]
    part = cells[rows]
    moneyness[part["underlying"], part["option_type"], part["dte_class"], part["moneyness"]] = rows
    rows = levels[CELL_DTE]
    part = cells[rows]
    dte[part["underlying"], part["option_type"], part["dte_class"]] = rows
    rows = levels[CELL_TYPE]
    types[cells[rows]["option_type"]] = rows
    rows = levels[CELL_STRIKE]
    part = cells[rows]
    strikes, place = np.unique(part["strike_1e9"], return_inverse=True)
    group = _group(part["underlying"], part["option_type"], part["dte_class"])
    keys = group * len(strikes) + place
    return _Index(strikes, keys, int(rows[0]) if len(rows) else 0, moneyness, dte, types)
