"""Mean, spread and quantiles of the log ratios of every cell, by one integer sort a level.

A log ratio is held as an integer in units of 2**-20 (1e-6): cell and ratio then sort together
as one int64, which numpy does with vector instructions, and mirrored sides stay exact negatives.
"""

from __future__ import annotations

from typing import Any, Final

import numpy as np
from numpy.typing import NDArray

from ifd_fast.baseline_cells import QUANTILE_SHARES

__all__ = ["COUNT", "fill_ratios"]

RATIO_UNIT: Final = 2**20
NO_RATIO: Final = -(2**31)
_BITS: Final = 26
_ZERO: Final = 2 ** (_BITS - 1)  # |ratio| < 32: more contracts than there are
_MASK: Final = 2**_BITS - 1

# One cell as counted, before any shrinking.
COUNT: Final = np.dtype(
    [
        ("group", "<i8"),  # index into groups; of the type's cell: TYPE_*
        ("moneyness", "<i8"),
        ("strike", "<f8"),
        ("votes_1", "<f8"),
        ("votes_10", "<f8"),
        ("exposure", "<f8"),  # weighted instrument-sessions
        ("sessions", "<f8"),  # past sessions in which the cell held an instrument, observed shares
        ("windows", "<i8"),
        ("mean", "<f8"),
        ("sd", "<f8"),
        ("quantiles", "<f8", (len(QUANTILE_SHARES),)),
    ]
)


def fill_ratios(cells: NDArray[Any], cell: NDArray[np.int32], ratio: NDArray[np.int32]) -> None:
    """Fill windows, mean, sd and quantiles of `cells` (k,) from rows (n,). O(n log n)."""
    keys = cell.astype(np.int64)
    keys <<= _BITS
    keys += ratio
    keys += _ZERO
    keys.sort()
    starts = np.searchsorted(keys, np.arange(len(cells) + 1, dtype=np.int64) << _BITS)
    windows = np.diff(starts)
    cells["windows"] = windows
    traded = np.flatnonzero(windows)
    if not len(traded):
        return
    first, last = starts[:-1][traded], starts[1:][traded] - 1
    keys &= _MASK
    keys -= _ZERO  # now the ratios, in order within their cell
    for place, share in enumerate(QUANTILE_SHARES):
        at = share * (last - first)
        low = np.floor(at).astype(np.int64)
        below = keys[first + low]
        above = keys[np.minimum(first + low + 1, last)]
        cells["quantiles"][traded, place] = (below + (above - below) * (at - low)) / RATIO_UNIT
    mean = np.add.reduceat(keys, first) / windows[traded]  # sums of integers: exact
    cells["mean"][traded] = mean / RATIO_UNIT
    squares = np.repeat(mean, windows[traded])
    squares -= keys
    squares *= squares
    variance = np.add.reduceat(squares, first) / windows[traded]
    cells["sd"][traded] = np.sqrt(variance) / RATIO_UNIT
