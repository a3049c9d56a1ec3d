"""Residuals against history: which share of 20 sessions' residuals was as large.

A table holds, by channel, window and half decade of the expected votes, the decades
-log10 P(residual >= R) at nodes a quarter apart; between two nodes they are interpolated. How the
tables are filled is the border's; here they are looked up, and the samples for them are taken.
"""

from __future__ import annotations

from math import floor, log10
from typing import Final, NamedTuple

import numpy as np
from numpy.typing import NDArray

from ifd_kernels._jit import kernel
from ifd_kernels.score_state import Score
from ifd_kernels.signals import BINS, NODE_STEP, NODES

__all__ = ["Tally", "bin_of", "count_levels", "count_residual", "rank_of"]

LEAST_VOTES: Final = 0.001
STEPS: Final = 384  # of the samples' histogram
STEPS_A_UNIT: Final = 16
LEVELS: Final = 140  # ranks at which false episodes are counted
FIRST_LEVEL: Final = 0.5
LEVEL_STEP: Final = 0.1


class Tally(NamedTuple):
    """What past sessions are counted into; n slots."""

    residuals: NDArray[np.int64]  # (5, 4, BINS, STEPS) of a minute's positive residuals
    samples: NDArray[np.int64]  # (5, 4, BINS) minutes and strikes, without flow too
    episodes: NDArray[np.int64]  # (LEVELS,) episodes that reach a rank
    due_ns: NDArray[np.int64]  # (n, 2, LEVELS) when a side last opened one
    alike: NDArray[np.int32]  # (n,) of slots from which the same is expected, the same number
    silent: NDArray[np.int64]  # (k, 2) of those without flow at a minute: how many, and one


@kernel
def bin_of(votes: float) -> int:
    """Return the half decade of expected votes, both sides."""
    if not votes > LEAST_VOTES:
        return 0
    number = floor(2.0 * log10(votes) + 6.0)
    return number if number < BINS else BINS - 1


@kernel
def rank_of(
    ranks: NDArray[np.float64], channel: int, window: int, votes: float, residual: float
) -> float:
    """Return -log10 of the share of history's residuals as large, at `votes` expected."""
    if not residual > 0.0:
        return 0.0
    at = residual / NODE_STEP
    nodes = ranks[channel, window, bin_of(votes)]
    if at >= NODES - 1:
        return nodes[NODES - 1]
    node = int(at)
    return nodes[node] + (at - node) * (nodes[node + 1] - nodes[node])


@kernel
def count_residual(tally: Tally, channel: int, window: int, votes: float, residual: float) -> None:
    """Count one positive residual."""
    step = int(residual * STEPS_A_UNIT)
    step = step if step < STEPS else STEPS - 1
    tally.residuals[channel, window, bin_of(votes), step] += 1


@kernel
def count_levels(
    score: Score, tally: Tally, slot: int, side: int, now_ns: int, cooldown_ns: int
) -> None:
    """Count an episode at each level the side's rank reaches, as alerts are counted."""
    above = (score.best[slot, side, 0] - FIRST_LEVEL) / LEVEL_STEP
    if above < 0.0:
        return
    reached = int(above)
    reached = reached if reached < LEVELS else LEVELS - 1
    for level in range(reached + 1):
        if now_ns - tally.due_ns[slot, side, level] >= cooldown_ns:
            tally.due_ns[slot, side, level] = now_ns
            tally.episodes[level] += 1
