"""The cells of history and the weights of their estimates: the constants of the baselines.

Cells, narrow to wide: (underlying, type, DTE class, strike) → (underlying, type, DTE class,
moneyness class) → (underlying, type, DTE class) → type, the last pooled over all underlyings.
"""

from __future__ import annotations

import datetime as dt
from typing import Final

import numpy as np
from numpy.typing import NDArray

__all__ = ["CELL", "UNDERLYING", "classify_days", "classify_strikes", "epoch_day"]

WINDOW_S: Final = 300
WINDOW_NS: Final = WINDOW_S * 1_000_000_000
DAY_NS: Final = 86_400 * 1_000_000_000
SEASON_BINS: Final = 276  # 23 h in windows of 300 s
LOOKBACK_SESSIONS: Final = 20

DTE_LAST: Final = (0, 1, 5, 20, 60)  # the last calendar day of each class but the open one
DTE_CLASSES: Final = len(DTE_LAST) + 1
# 0, ±0.25, 0.5, 1, 2, 4 % of the mid, as the doubles that both DuckDB and numpy multiply by
MONEYNESS_FACTORS: Final = (
    0.96, 0.98, 0.99, 0.995, 0.9975, 1.0, 1.0025, 1.005, 1.01, 1.02, 1.04,
)  # fmt: skip
MONEYNESS_CLASSES: Final = len(MONEYNESS_FACTORS) + 1

HALF_LIFE_SESSIONS: Final = 8  # detection study, item 4
# A wider cell's rate counts as half a session of the narrow one's own history, and so does the
# rate of the neighbouring strikes (detection study, item 4).
PRIOR_SESSIONS: Final = 0.5
NEIGHBOUR_SESSIONS: Final = 0.5
NEIGHBOUR_SD_STRIKES: Final = 4
NEIGHBOUR_REACH: Final = 12  # strikes either way: three standard deviations
# Traded windows of its own at which a cell's log ratio weighs as much as the wider cell's.
PRIOR_WINDOWS: Final = 20

QUANTILE_SHARES: Final = (0.10, 0.25, 0.50, 0.75, 0.90, 0.95, 0.99)
# What the widest cell shrinks to: a standard normal deviate, so that no spread is ever zero.
NORMAL_QUANTILES: Final = (
    -1.2815515655446004, -0.6744897501960817, 0.0, 0.6744897501960817,
    1.2815515655446004, 1.6448536269514722, 2.3263478740408408,
)  # fmt: skip

TYPE_CALL: Final = 0
TYPE_PUT: Final = 1
NO_CLASS: Final = -1  # a key that the cell's level does not use
NO_STRIKE: Final = 2**63 - 1

# One cell of history with its shrunk estimates; `level` is CELL_* of ifd_kernels.signals.
CELL: Final = np.dtype(
    [
        ("level", "u1"),
        ("option_type", "i1"),  # TYPE_*
        ("dte_class", "i1"),
        ("moneyness", "i1"),
        ("underlying", "<i4"),  # index into the file's underlyings
        ("strike_1e9", "<i8"),
        ("votes_1", "<f8"),
        ("votes_10", "<f8"),
        ("log_ratio_mean", "<f8"),
        ("log_ratio_sd", "<f8"),
        ("log_ratio_quantiles", "<f8", (len(QUANTILE_SHARES),)),
        ("sessions", "<f8"),  # in which it was listed, each by the share observed; not by age
        ("windows", "<i8"),  # traded windows behind the log ratio
    ]
)

UNDERLYING: Final = np.dtype(
    [
        ("symbol", "S32"),
        ("instrument_id", "<u4"),  # the future's newest id, 0 if it was never listed itself
        ("pad", "<u4"),
        ("last_price", "<f8"),  # newest known mid, points; nan if none is known
    ]
)


def epoch_day(date: dt.date) -> int:
    """Return the number of days since 1970-01-01."""
    return date.toordinal() - 719_163


def classify_days(days: NDArray[np.int64]) -> NDArray[np.int64]:
    """Return the DTE class of each number of calendar days; days past expiry count as 0."""
    classes: NDArray[np.int64] = np.searchsorted(np.asarray(DTE_LAST), days, side="left")
    return classes


def classify_strikes(strikes: NDArray[np.float64], mids: NDArray[np.float64]) -> NDArray[np.int64]:
    """Return the moneyness class of each strike at its mid (both in points); -1 without a mid.

    The class is the number of edges at or below the strike.
    """
    classes = np.zeros(len(strikes), np.int64)
    known = mids > 0  # False for nan as well
    for factor in MONEYNESS_FACTORS:
        classes += strikes >= mids * factor
    classes[~known] = NO_CLASS
    return classes
