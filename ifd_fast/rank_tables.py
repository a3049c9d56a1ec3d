"""Tables of ranks from counted residuals, and the line of false episodes a session.

A table is an empirical survival function, conservative where residuals are discrete (P of a
residual at least as large), continued by an exponential tail through its last samples
(Balkema and de Haan 1974, Pickands 1975, with shape 0).
"""

from __future__ import annotations

from math import log, log10
from typing import TYPE_CHECKING, Final

import numpy as np

from ifd_kernels.ranks import FIRST_LEVEL, LEVEL_STEP, LEVELS, STEPS_A_UNIT
from ifd_kernels.signals import BINS, CHANNELS, NODE_STEP, NODES, WINDOWS

if TYPE_CHECKING:
    from numpy.typing import NDArray

__all__ = ["fill_tables", "fit_line"]

# Minutes behind a tail, by window. A run stands in as many minutes as its window is long, so
# that 30 minutes of 1800 s are but one run: tails fitted to those were of any slope.
TAIL_SAMPLES: Final = (30, 75, 225, 450)
LINE_LOW: Final = 0.2  # false episodes a session between which the line is fitted
LINE_HIGH: Final = 12.0
LINE_LEVELS: Final = 3  # with fewer ranks in between there is no line
FULL_WEIGHT: Final = 60  # episodes
LEAST_BETA: Final = 0.1
_STEPS_A_NODE: Final = round(NODE_STEP * STEPS_A_UNIT)


def fill_tables(
    residuals: NDArray[np.int64], samples: NDArray[np.int64]
) -> tuple[NDArray[np.float64], int]:
    """Return ranks (channels, windows, bins, nodes), and how many tables have a tail of their own.

    `residuals` and `samples` as `ranks.Tally` counts them. A bin with too few residuals
    takes the lower of the nearest bins' ranks; a channel and window without any bin ranks all 0.
    """
    ranks = np.zeros((CHANNELS, WINDOWS, BINS, NODES))
    filled = 0
    for channel in range(CHANNELS):
        for window in range(WINDOWS):
            counts = residuals[channel, window]
            least = TAIL_SAMPLES[window]
            own = np.flatnonzero(counts.sum(axis=1) >= least)
            filled += len(own)
            for number in own.tolist():
                total = int(samples[channel, window, number])
                ranks[channel, window, number] = _survival(counts[number], total, least)
            for number in np.setdiff1d(np.arange(BINS), own).tolist() if len(own) else []:
                far = np.abs(own - number)
                near = own[far == far.min()]
                ranks[channel, window, number] = ranks[channel, window, near].min(axis=0)
    return ranks, filled


def _survival(counts: NDArray[np.int64], total: int, least: int) -> NDArray[np.float64]:
    """Return the decades of P(residual >= node) at each node; `counts` by steps of a residual.

    The tail goes on from where `least` residuals are as large.
    """
    above = np.cumsum(counts[::-1])[::-1]
    total = max(total, int(above[0]))
    start = int(np.flatnonzero(above >= least)[-1])
    tail = counts[start:]
    beyond = float(tail @ (np.arange(len(tail)) + 0.5)) / float(above[start]) / STEPS_A_UNIT
    at = start / STEPS_A_UNIT
    beyond = max(beyond, 1.0 / (at + 1.0))  # no lighter than a normal tail goes on from there
    nodes = np.arange(NODES) * NODE_STEP
    known = above[np.minimum(np.arange(NODES) * _STEPS_A_NODE, len(above) - 1)]
    ranks = np.log10(total / np.maximum(known, 1))
    after = nodes > at
    ranks[after] = log10(total / above[start]) + (nodes[after] - at) / (beyond * log(10.0))
    ranks[0] = 0.0
    result: NDArray[np.float64] = np.maximum.accumulate(np.maximum(ranks, 0.0))
    return result


def fit_line(episodes: NDArray[np.int64], sessions: float) -> tuple[float, float] | None:
    """Return (alpha, beta) of log10(episodes a session) = alpha - beta * rank, None without a line.

    `episodes` (LEVELS,) of `sessions` sessions, which may be parts of one. A level's weight is its
    count, as that of a Poisson number's logarithm, up to a limit: the line is bent a little, and
    has to be true where promises are made.
    """
    if sessions <= 0:
        return None
    ranks = FIRST_LEVEL + LEVEL_STEP * np.arange(LEVELS)
    rates = episodes / sessions
    usable = (rates >= LINE_LOW) & (rates <= LINE_HIGH) & (episodes > 0)
    if int(usable.sum()) < LINE_LEVELS:
        return None
    weights = np.minimum(episodes[usable], FULL_WEIGHT).astype(float)
    x, y = ranks[usable], np.log10(rates[usable])
    mean_x, mean_y = np.average(x, weights=weights), np.average(y, weights=weights)
    spread = float(weights @ (x - mean_x) ** 2)
    beta = -float(weights @ ((x - mean_x) * (y - mean_y))) / spread
    if not beta >= LEAST_BETA:
        return None
    return float(mean_y + beta * mean_x), beta
