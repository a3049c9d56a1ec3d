"""The replaced system's confidence, from its formula and constants, over five-minute windows.

    significance = .5 min(ratio / 10, 1) + .3 min(volume / 1000, 1) + .2 confidence
    raw   = .4 significance + .3 trend + .2 concentration + .1 persistence
    base  = .5, or, for an anomaly, (.5 min(|z| / 4, 1) + .5 rank / 100) x data quality
    final = clip((.4 raw + .3 base) (1 - .2 maker) + .012, 0, 1)

ratio = ask / bid; trend and persistence look at the last three windows; the maker's score at the
last ten of the strike; z and rank compare with the last window of each of up to 20 past sessions
and the window itself. Where it breaks down, it is mended in its favour: a ratio without sellers
divides by one contract instead of giving infinity (which made its confidence NaN and silenced
the strike), expirations are kept apart, and its baseline is not frozen for an hour.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Final

import numpy as np

from ifd_fast.rivals import Past, window_nets
from ifd_fast.tapes import Rows, Tape

if TYPE_CHECKING:
    from numpy.typing import NDArray

__all__ = ["original", "window_ratios"]

SECOND_NS: Final = 1_000_000_000
WINDOW_NS: Final = 300 * SECOND_NS
RANKS: Final = np.array([10.0, 25.0, 50.0, 75.0, 90.0, 95.0, 99.0])
MIN_ROWS: Final = 5  # below, its default baseline stands in
DEFAULT_MEAN: Final = 1.5
DEFAULT_SD: Final = 0.5
DEFAULT_QUANTILES: Final = np.array([-np.inf, -np.inf, 1.5, 2.0, 3.0, 4.0, 6.0])
CLUSTER_TERM: Final = 0.012  # its constant coordination of .6, times .2, times .1
CRUSH_TERM: Final = 0.03  # .3 of its constant volatility crush of .1
MAKER_WINDOWS: Final = 10
BINS: Final = 276


def window_ratios(bid: NDArray[np.int64], ask: NDArray[np.int64]) -> NDArray[np.float64]:
    """Return ask / bid, 1 where both are 0; without sellers ask / 1."""
    empty = (bid == 0) & (ask == 0)
    return np.where(empty, 1.0, ask / np.maximum(bid, 1))


def original(tape: Tape, past: Past) -> Rows:
    """Score every traded window at its end, for the side that holds over 60 % of it."""
    bid, ask = window_nets(tape)
    trades = _window_trades(tape)
    twin = np.where(tape.twin >= 0, tape.twin, np.arange(len(tape.ids)))
    makers = _maker_scores(bid + ask, twin)
    option, window = np.nonzero(bid + ask)
    final = np.zeros(len(option))
    first = np.append(True, option[1:] != option[:-1])[: len(option)]
    ratios = window_ratios(bid, ask)[option, window]
    share = (ask / np.maximum(bid + ask, 1))[option, window]
    volume = (bid + ask)[option, window]
    trend, persistence = _last_three(ratios, first)
    certain = np.minimum(trades[option, window] / 20.0, 1.0) * 2.0 * np.abs(0.5 - share)
    significance = (
        0.5 * np.minimum(ratios / 10.0, 1.0) + 0.3 * np.minimum(volume / 1000.0, 1.0)
        + 0.2 * certain
    )  # fmt: skip
    lead = np.maximum(share, 1.0 - share)
    concentration = np.where(lead > 0.6, 2.0 * (lead - 0.5), 0.0)
    raw = 0.4 * significance + 0.3 * trend + 0.2 * concentration + 0.1 * persistence
    day = int(np.datetime64(tape.close_ns, "ns").astype("datetime64[D]").astype(object).day)
    base = _baseline(ratios, past.last_ratio[:, option], day)
    final = (0.4 * raw + 0.3 * base) * (1.0 - 0.2 * makers[option, window]) + CLUSTER_TERM
    side = np.where(share > 0.6, 1, np.where(share < 0.4, -1, 0)).astype(np.int8)
    kept = side != 0
    ends = tape.open_ns + (window + 1) * WINDOW_NS
    return Rows(option[kept], side[kept], ends[kept], np.clip(final, 0.0, 1.0)[kept])


def _window_trades(tape: Tape) -> NDArray[np.int64]:
    """Return the trades of each window (k, 276): seconds and sides with flow stand for them."""
    window = np.clip((tape.second * SECOND_NS - tape.open_ns) // WINDOW_NS, 0, BINS - 1)
    place = tape.option * BINS + window
    count = (tape.bid > 0).astype(np.int64) + (tape.ask > 0)
    sums = np.bincount(place, weights=count, minlength=len(tape.ids) * BINS)
    return sums.astype(np.int64).reshape(-1, BINS)


def _last_three(
    ratios: NDArray[np.float64], first: NDArray[np.bool_]
) -> tuple[NDArray[np.float64], NDArray[np.float64]]:
    """Return trend and persistence over each option's last three traded windows, (n,) each."""
    index = np.arange(len(ratios))
    depth = index - np.maximum.accumulate(np.where(first, index, 0))
    one = ratios[np.maximum(index - 1, 0)]
    two = ratios[np.maximum(index - 2, 0)]
    pair = np.minimum(np.abs(ratios - one) / np.maximum(one, 1.0), 1.0)
    slope = np.minimum(np.abs(ratios - two) / 2.0, 1.0)  # least squares over three points
    trend = np.select([depth == 0, depth == 1], [0.5, pair], slope)
    high, high_one, high_two = (values >= 2.0 for values in (ratios, one, two))
    persistence = np.select(
        [depth == 0, depth == 1],
        [0.5, (high.astype(np.float64) + high_one) / 2.0],
        (high.astype(np.float64) + high_one + high_two) / 3.0,
    )
    return trend, persistence


def _maker_scores(volume: NDArray[np.int64], twin: NDArray[np.int64]) -> NDArray[np.float64]:
    """Return the maker's score of each window (k, 276): balance and timing of call and put.

    Of the strike's last ten traded windows, both legs together, the newest of each leg tell how
    far apart in time they are; only windows count, so within one they are 0 s apart.
    """
    both = volume + np.where((twin != np.arange(len(twin)))[:, None], volume[twin], 0)
    scores = np.zeros(volume.shape)
    active = (volume > 0).astype(np.int64)
    legs = active + np.where((twin != np.arange(len(twin)))[:, None], active[twin], 0)
    for option in np.flatnonzero(active.any(axis=1)):
        (windows,) = np.nonzero(both[option])
        reach = np.cumsum(legs[option][windows])
        start = np.searchsorted(reach, reach - MAKER_WINDOWS, side="right")
        mine = np.append(0, np.cumsum(volume[option][windows]))
        total = np.append(0, np.cumsum(both[option][windows]))
        stop = np.arange(len(windows)) + 1
        own, whole = mine[stop] - mine[start], total[stop] - total[start]
        balance = 2.0 * np.minimum(own, whole - own) / np.maximum(whole, 1)
        last_own = _newest(windows, active[option][windows] > 0)
        last_other = _newest(windows, both[option][windows] > volume[option][windows])
        apart_s = np.abs(last_own - last_other) * 300.0
        timing = np.where(whole > own, 1.0 - np.minimum(apart_s / 300.0, 1.0), 0.0)
        scores[option, windows] = 0.7 * (0.7 * balance + 0.3 * timing) + CRUSH_TERM
    return scores


def _newest(windows: NDArray[np.int64], active: NDArray[np.bool_]) -> NDArray[np.float64]:
    """Return the newest window so far in which `active` held, long ago where none was."""
    newest = np.maximum.accumulate(np.where(active, windows, -10_000))
    return newest.astype(np.float64)


def _baseline(
    ratios: NDArray[np.float64], past: NDArray[np.float64], day_of_month: int
) -> NDArray[np.float64]:
    """Return the baseline's confidence of each window: `past` (s, n), NaN where there is none."""
    rows = np.vstack([past, ratios[None, :]])
    count = (~np.isnan(rows)).sum(axis=0)
    mean = np.nansum(rows, axis=0) / count
    square = np.nansum((rows - mean) ** 2, axis=0) / np.maximum(count - 1, 1)
    known = count >= MIN_ROWS
    mean = np.where(known, mean, DEFAULT_MEAN)
    sd = np.where(known, np.sqrt(square), DEFAULT_SD)
    deviates = np.where(sd > 0.0, (ratios - mean) / np.where(sd > 0.0, sd, 1.0), 0.0)
    quantiles = np.where(known, _quantiles(rows, count), DEFAULT_QUANTILES[:, None])
    place = (ratios[None, :] > quantiles).sum(axis=0)
    rank = RANKS[np.minimum(place, len(RANKS) - 1)]
    quality = np.where(known, np.minimum(1.0, count / max(1, min(20, day_of_month - 1))), 0.0)
    anomaly = (np.abs(deviates) >= 2.0) | (rank >= 95.0)
    found = (0.5 * np.minimum(np.abs(deviates) / 4.0, 1.0) + 0.5 * rank / 100.0) * quality
    return np.where(anomaly, found, 0.5)


def _quantiles(rows: NDArray[np.float64], count: NDArray[np.int64]) -> NDArray[np.float64]:
    """Return the exclusive percentiles at RANKS of each column, (7, n); they extrapolate."""
    ranked = np.sort(rows, axis=0)
    found = np.empty((len(RANKS), rows.shape[1]))
    columns = np.arange(rows.shape[1])
    for number, rank in enumerate(RANKS):
        position = rank / 100.0 * (count + 1)
        low = np.clip(position.astype(np.int64), 1, np.maximum(count - 1, 1))
        part = position - low
        below = ranked[low - 1, columns]
        above = ranked[np.minimum(low, np.maximum(count - 1, 0)), columns]
        found[number] = below + part * (above - below)
    return found
