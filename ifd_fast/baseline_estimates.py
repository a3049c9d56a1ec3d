"""Estimates from counts: a cell's own history, pulled to the wider cell's where it is thin.

Votes are rates of a Poisson count with a gamma prior of `PRIOR_SESSIONS` sessions at the wider
cell's rate, so that the estimate is (votes + k * wider) / (exposure + k): linear credibility
(Bühlmann 1967; Gelman et al., Bayesian Data Analysis, §2.6). A strike's prior also holds
half a session of its neighbours (detection study, item 4). Log ratios are averaged with weight
n / (n + `PRIOR_WINDOWS`), the quantiles one by one ("Vincent averaging", Ratcliff 1979), which
keeps them in order and moves mean and spread alike. The widest cell leans on a standard normal.
"""

from __future__ import annotations

import datetime as dt
import hashlib
from dataclasses import dataclass, replace
from typing import TYPE_CHECKING, Any, Final

import numpy as np
from numpy.typing import NDArray

from ifd_fast.baseline_cells import (
    CELL,
    MONEYNESS_CLASSES,
    NEIGHBOUR_REACH,
    NEIGHBOUR_SD_STRIKES,
    NEIGHBOUR_SESSIONS,
    NO_CLASS,
    NO_STRIKE,
    NORMAL_QUANTILES,
    PRIOR_SESSIONS,
    PRIOR_WINDOWS,
    UNDERLYING,
    classify_strikes,
    epoch_day,
)
from ifd_fast.baseline_history import History, read_history
from ifd_fast.errors import UsageError
from ifd_fast.ranking import Ranking
from ifd_kernels.signals import CELL_DTE, CELL_MONEYNESS, CELL_STRIKE, CELL_TYPE

if TYPE_CHECKING:
    from duckdb import DuckDBPyConnection

__all__ = ["Arrays", "digest_inputs", "estimate"]

ESTIMATES_VERSION: Final = 4  # in the digest: raise it when the same facts give other numbers
_NOTHING: Final = 1e-9  # instrument-sessions; sums of shares cancel to about 1e-16


@dataclass(frozen=True)
class Arrays:
    """The estimates in force at the open of the session `as_of_day` (days since 1970-01-01).

    `cells` (n,) of CELL, sorted by level, underlying, option_type, dte_class, moneyness,
    strike_1e9; `underlyings` (k,) of UNDERLYING, sorted by symbol; `season` (277,) the share of
    a session's votes before each 300 s bin and at the end; `digest` of all that went in;
    `ranking` what residuals are worth, None if no session came with hand-overs.
    """

    as_of_day: int
    lookback_sessions: int
    sessions: int
    digest: str
    cells: NDArray[Any]
    underlyings: NDArray[Any]
    season: NDArray[np.float64]
    ranking: Ranking | None = None


def estimate(connection: DuckDBPyConnection, as_of: dt.date, lookback: int) -> Arrays:
    """Return the estimates from the newest `lookback` sessions before `as_of`.

    Raises
    ------
    UsageError
        If `lookback` is below 1.
    """
    if lookback < 1:
        raise UsageError(f"`lookback_days` must be at least 1 session, was {lookback}.")
    history = read_history(connection, as_of, lookback)
    arrays = Arrays(
        as_of_day=epoch_day(as_of),
        lookback_sessions=lookback,
        sessions=len(history.digest_of),
        digest=_digest(history.digest_of, as_of, lookback),
        cells=_shrink_all(history),
        underlyings=_pack_underlyings(history),
        season=history.season,
    )
    kept = "SELECT count(*) FROM coverage WHERE trade_date < ? AND handovers IS NOT NULL"
    if connection.execute(kept, [as_of]).fetchall()[0][0] == 0:
        return arrays
    # Only here: without hand-overs nothing is scored again, and the compiler costs 70 MB.
    from ifd_fast.baseline_ranks import build_ranking

    return replace(arrays, ranking=build_ranking(connection, as_of, lookback, arrays))


def digest_inputs(connection: DuckDBPyConnection, as_of: dt.date, lookback: int) -> str:
    """Return the digest that `estimate` would give, without estimating."""
    rows = connection.execute(
        """
        SELECT trade_date::VARCHAR, source_digest FROM (
            SELECT * FROM coverage WHERE trade_date < ? ORDER BY trade_date DESC LIMIT ?)
        ORDER BY trade_date
        """,
        [as_of, lookback],
    ).fetchall()
    return _digest(rows, as_of, lookback)


def _digest(digest_of: list[tuple[str, str]], as_of: dt.date, lookback: int) -> str:
    head = f"{ESTIMATES_VERSION}|{as_of.isoformat()}|{lookback}"
    lines = (head, *("|".join(pair) for pair in digest_of))
    return hashlib.sha256("\n".join(lines).encode()).hexdigest()


def _pack_underlyings(history: History) -> NDArray[Any]:
    underlyings = np.zeros(len(history.underlyings), UNDERLYING)
    for place, (symbol, instrument_id, price) in enumerate(history.underlyings):
        underlyings[place] = (symbol.encode(), instrument_id, 0, price)
    return underlyings


def _shrink_all(history: History) -> NDArray[Any]:
    """Shrink level by level, widest first, and put the cells in one array, narrowest first."""
    groups = history.groups
    types = _cells(history.types, groups, CELL_TYPE)
    types["option_type"], types["underlying"], types["dte_class"] = (
        history.types["group"], NO_CLASS, NO_CLASS,
    )  # fmt: skip
    root = np.zeros(1, CELL)
    root["log_ratio_sd"], root["log_ratio_quantiles"] = 1.0, NORMAL_QUANTILES
    _shrink(types, history.types, root[np.zeros(len(types), np.int64)], prior=0.0)

    dte = _cells(history.dte, groups, CELL_DTE)
    _shrink(dte, history.dte, types[np.searchsorted(types["option_type"], dte["option_type"])])

    moneyness = _cells(history.moneyness, groups, CELL_MONEYNESS)
    _shrink(moneyness, history.moneyness, dte[history.moneyness["group"]])

    strikes = _cells(history.strikes, groups, CELL_STRIKE)
    wider = _wider_of_strikes(history, dte, moneyness)
    _shrink(strikes, history.strikes, wider, beside=True)
    return np.concatenate((strikes, moneyness, dte, types))


def _cells(counts: NDArray[Any], groups: NDArray[Any], level: int) -> NDArray[Any]:
    """Return cells with keys, sessions and windows filled in."""
    cells = np.zeros(len(counts), CELL)
    cells["level"], cells["moneyness"] = level, counts["moneyness"]
    cells["strike_1e9"] = NO_STRIKE
    if level != CELL_TYPE:
        for name in ("underlying", "option_type", "dte_class"):
            cells[name] = groups[name][counts["group"]]
    if level == CELL_STRIKE:
        cells["strike_1e9"] = np.rint(counts["strike"] * 1e9)
    cells["sessions"], cells["windows"] = counts["sessions"], counts["windows"]
    return cells


def _wider_of_strikes(history: History, dte: NDArray[Any], moneyness: NDArray[Any]) -> NDArray[Any]:
    """Return for each strike the cell of its moneyness at the newest mid, else of its DTE."""
    counts = history.strikes
    prices = np.array([price for _, _, price in history.underlyings], np.float64)
    mids = prices[history.groups["underlying"][counts["group"]]]
    near = classify_strikes(counts["strike"], mids)
    rows = np.full((len(history.groups), MONEYNESS_CLASSES), -1, np.int64)
    rows[history.moneyness["group"], history.moneyness["moneyness"]] = np.arange(len(moneyness))
    at = np.where(near >= 0, rows[counts["group"], near], -1)
    wider: NDArray[Any] = dte[counts["group"]]
    wider[at >= 0] = moneyness[at[at >= 0]]
    return wider


def _shrink(
    cells: NDArray[Any],
    counts: NDArray[Any],
    wider: NDArray[Any],
    *,
    prior: float = PRIOR_SESSIONS,
    beside: bool = False,
) -> None:
    """Fill the estimates of `cells` from `counts` and their `wider` cells, all (n,)."""
    for name in ("votes_1", "votes_10"):
        votes = counts[name] + prior * wider[name]
        exposure = np.maximum(counts["exposure"], 0) + prior
        if beside:
            around, amount = _neighbours(counts, name)
            known = amount > _NOTHING
            votes[known] += NEIGHBOUR_SESSIONS * around[known] / amount[known]
            exposure[known] += NEIGHBOUR_SESSIONS
        known = exposure > _NOTHING
        cells[name][known] = votes[known] / exposure[known]
    own = counts["windows"] / (counts["windows"] + PRIOR_WINDOWS)
    for name, mine in (("log_ratio_mean", "mean"), ("log_ratio_sd", "sd")):
        cells[name] = own * counts[mine] + (1 - own) * wider[name]
    cells["log_ratio_quantiles"] = (
        own[:, None] * counts["quantiles"] + (1 - own)[:, None] * wider["log_ratio_quantiles"]
    )


def _neighbours(counts: NDArray[Any], name: str) -> tuple[NDArray[np.float64], NDArray[np.float64]]:
    """Return Gaussian-weighted votes and exposure of the strikes up to 12 places away, (n,) each.

    `counts` is sorted by group and strike. O(n x reach).
    """
    votes, exposure = np.zeros(len(counts)), np.zeros(len(counts))
    for reach in range(1, min(NEIGHBOUR_REACH, len(counts) - 1) + 1):
        weight = np.exp(-0.5 * (reach / NEIGHBOUR_SD_STRIKES) ** 2)
        together = weight * (counts["group"][reach:] == counts["group"][:-reach])
        for total, source in ((votes, counts[name]), (exposure, counts["exposure"])):
            total[reach:] += together * source[:-reach]
            total[:-reach] += together * source[reach:]
    return votes, exposure
