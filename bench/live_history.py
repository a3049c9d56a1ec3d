"""A history of steady, two-sided flow: against it, what trades on one side only is a signal."""

from __future__ import annotations

import datetime as dt
from typing import Final

import numpy as np

from ifd_fast.baseline_cells import CELL, SEASON_BINS, UNDERLYING, epoch_day
from ifd_fast.baseline_estimates import Arrays
from ifd_fast.ranking import (
    UNKNOWN_ALPHA,
    UNKNOWN_BETA,
    Ranking,
    make_limits,
    normal_ranks,
)
from ifd_kernels.signals import CELL_TYPE

__all__ = ["QuietHistory"]

SESSIONS: Final = 20
VOTES: Final = 3_000.0  # of a session and side
TYPES: Final = (0, 1)  # calls, puts


class QuietHistory:
    """Twenty sessions of steady, two-sided flow in every option, the same for every trade date."""

    def __init__(self) -> None:
        """Nobody has asked yet."""
        self.digests: dict[str, str] = {}

    def arrays_for(self, trade_date: dt.date) -> Arrays:
        """Return estimates of two cells, calls and puts, and ranks of a normal tail."""
        cells = np.zeros(len(TYPES), CELL)
        cells["level"], cells["option_type"] = CELL_TYPE, TYPES
        cells["underlying"] = cells["dte_class"] = cells["moneyness"] = -1
        cells["votes_1"], cells["votes_10"], cells["sessions"] = VOTES, VOTES, SESSIONS
        cells["log_ratio_sd"] = 1.0
        cells["log_ratio_quantiles"] = np.linspace(-2.0, 2.0, cells["log_ratio_quantiles"].shape[1])
        limits = make_limits(
            ready=True, sessions=float(SESSIONS), line=(UNKNOWN_ALPHA, UNKNOWN_BETA)
        )
        self.digests[trade_date.isoformat()] = "quiet"
        return Arrays(
            as_of_day=epoch_day(trade_date),
            lookback_sessions=SESSIONS,
            sessions=SESSIONS,
            digest="quiet",
            cells=cells,
            underlyings=np.zeros(0, UNDERLYING),
            season=np.linspace(0.0, 1.0, SEASON_BINS + 1),
            ranking=Ranking(normal_ranks(), limits),
        )
