"""The scoring instant: which strikes' flow is more one-sided than their history explains.

A slot's expectation is joined to it by `ifd_fast/baselines.py`; a signal leaves as one row.
"""

from __future__ import annotations

from typing import Final

import numpy as np

__all__ = ["EXPECTED"]

QUANTILES: Final = (10, 25, 50, 75, 90, 95, 99)  # per cent, of log_ratio_quantiles

CELL_STRIKE: Final = 0  # (type, strike, DTE class)
CELL_MONEYNESS: Final = 1  # (type, moneyness class, DTE class)
CELL_DTE: Final = 2  # (type, DTE class)
CELL_TYPE: Final = 3  # type
CELL_NONE: Final = 4  # no history at all: the other fields are zero

# What 20 sessions say about a slot, as of the session's open.
EXPECTED: Final = np.dtype(
    [
        ("votes_1", "<f8"),  # both sides' votes of a full session, at most 1 a second and side
        ("votes_10", "<f8"),  # the same, at most 10 a second and side
        # of ln((ask_volume + .5) / (bid_volume + .5)) over the traded 300 s windows
        ("log_ratio_mean", "<f8"),
        ("log_ratio_sd", "<f8"),
        ("log_ratio_quantiles", "<f8", (7,)),  # at QUANTILES, not falling
        ("sessions", "<f8"),  # sessions of history behind it, weighted; 0: none
        ("cell", "u1"),  # CELL_*
    ]
)
