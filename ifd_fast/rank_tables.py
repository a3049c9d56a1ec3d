"""Tables of ranks from counted residuals, and the line of false episodes a session.

A table is an empirical survival function, conservative where residuals are discrete (P of a
residual at least as large), continued by an exponential tail through its last samples
(Balkema and de Haan 1974, Pickands 1975, with shape 0). It counts runs of all strikes, so that
equal ranks of any channel and window stand for equally many false episodes: the largest rank of
all is then no longer mostly that of the shortest window.
"""

from __future__ import annotations

from math import ceil, log, log10
from typing import TYPE_CHECKING, Final

import numpy as np

from ifd_kernels.ranks import FIRST_LEVEL, LEVEL_STEP, LEVELS, STEPS_A_UNIT
from ifd_kernels.signals import BINS, CHANNELS, NODE_STEP, NODES, WINDOWS

if TYPE_CHECKING:
    from numpy.typing import NDArray

__all__ = ["fill_tables", "fit_line"]

# Minutes a run stands in, by window: votes stay for the window's length, and on the average half
# of it is left when they are enough. Counted by minutes, a residual of 60 s opened ten times as
# many episodes as one of 1800 s of the same rank.
RUN_MINUTES: Final = (1.0, 2.5, 7.5, 15.0)
TAIL_RUNS: Final = 60  # behind a tail: of those fitted to 30 minutes of 1800 s any slope came out
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

    `residuals` and `samples` as `ranks.Tally` counts them. A bin with too few residuals is joined
    by its nearest, as many as it takes; a channel and window without enough ranks all 0.
    """
    ranks = np.zeros((CHANNELS, WINDOWS, BINS, NODES))
    filled = 0
    for channel in range(CHANNELS):
        for window in range(WINDOWS):
            counts, minutes = residuals[channel, window], samples[channel, window]
            least = ceil(TAIL_RUNS * RUN_MINUTES[window])
            own = counts.sum(axis=1) >= least
            filled += int(own.sum())
            if int(counts.sum()) < least:
                continue
            runs = log10(RUN_MINUTES[window]) + _rarity(samples, channel)
            for number in range(BINS):
                near = _joined(counts.sum(axis=1), number, least)
                table = _survival(counts[near].sum(axis=0), int(minutes[near].sum()), least)
                ranks[channel, window, number, 1:] = table[1:] + runs
    return ranks, filled


def _rarity(samples: NDArray[np.int64], channel: int) -> float:
    """Return how few strikes use a channel, decades: that many fewer can open an episode."""
    everywhere, here = int(samples[0, -1].sum()), int(samples[channel, -1].sum())
    return log10(everywhere / here) if 0 < here < everywhere else 0.0


def _joined(counted: NDArray[np.int64], number: int, least: int) -> slice:
    """Return the bins around `number` that together have `least` residuals, of all enough."""
    reach = 0
    while True:
        near = slice(max(number - reach, 0), number + reach + 1)
        if int(counted[near].sum()) >= least:
            return near
        reach += 1


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
