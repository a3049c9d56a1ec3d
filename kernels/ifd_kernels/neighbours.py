"""Coordination: whether the strikes beside a slot lean its way more than the chain does.

A lean is a slot's net over its known votes of 300 s, signed by delta: buying a call and selling a
put lean up. Against all permutations of the chain's leans over its active slots, the sum over k
neighbours of N has an exact mean and variance (sampling without replacement); so a burst of the
whole chain is no coordination.
"""

from __future__ import annotations

from math import sqrt
from typing import Final

import numpy as np

from ifd_kernels._jit import kernel
from ifd_kernels.evidence import bounded
from ifd_kernels.layout import KIND_PUT, Integer, Records
from ifd_kernels.score_state import (
    BEST_RANK,
    LEANT,
    LEANT_SLOTS,
    LEANT_SQUARES,
    LEANT_SUM,
    NEIGHBOURS,
    SLOTS,
    Score,
)
from ifd_kernels.signals import MAX_AGREEMENT
from ifd_kernels.votes import can_score

__all__ = ["SILENT", "coordination", "lean_of", "sides_as_strong"]

UNIT: Final = 1024  # of a lean: integers, so that sums are exact
SILENT: Final = 2 * UNIT  # a lean that no slot has
MIN_CHAIN: Final = 8  # active slots
LEAST_VARIANCE: Final = 0.05 * UNIT * UNIT  # of one lean


@kernel
def lean_of(score: Score, identities: Records, slot: Integer) -> int:
    """Return the slot's lean in 1/UNIT, positive for delta bought; SILENT without votes."""
    if slot < 0 or not can_score(identities, slot):
        return SILENT
    bid = int(score.windows[slot, 1, 0])
    ask = int(score.windows[slot, 1, 1])
    if bid + ask == 0:
        return SILENT
    size = abs(ask - bid) * UNIT // (bid + ask + 2)
    up = (ask > bid) != (identities[slot]["kind"] == KIND_PUT)
    return size if up else -size


@kernel
def take_leans(score: Score, identities: Records) -> None:
    """Keep every slot's lean, and their sums, until anything is noted or time goes on. O(n)."""
    active, total, squares = 0, 0, 0
    for slot in range(score.cursor[SLOTS]):
        lean = lean_of(score, identities, slot)
        score.leans[slot] = lean
        if lean != SILENT:
            active += 1
            total += lean
            squares += lean * lean
    score.leant[LEANT_SLOTS] = active
    score.leant[LEANT_SUM] = total
    score.leant[LEANT_SQUARES] = squares
    score.cursor[LEANT] = 1


@kernel
def coordination(score: Score, identities: Records, slot: int, side: int) -> float:
    """Return how far the neighbours' leans lie towards the side, in standard deviations.

    O(n) for the first slot of an instant, O(1) for the others.
    """
    if score.cursor[LEANT] == 0:
        take_leans(score, identities)
    own = int(score.leans[slot])
    active, total = score.leant[LEANT_SLOTS], score.leant[LEANT_SUM]
    squares = score.leant[LEANT_SQUARES]
    if own != SILENT:
        active -= 1
        total -= own
        squares -= own * own
    count, found = 0, 0
    for place in range(2 * (NEIGHBOURS + 1)):
        strike = place // 2
        beside = slot if strike == NEIGHBOURS else np.int64(score.neighbours[slot, strike])
        if beside >= 0 and place % 2 == 1:
            beside = np.int64(identities[beside]["twin_slot"])
        if beside >= 0 and beside != slot and score.leans[beside] != SILENT:
            count += 1
            found += int(score.leans[beside])
    if count == 0 or active < MIN_CHAIN or count >= active:
        return 0.0
    mean = total / active
    variance = bounded(squares / active - mean * mean, LEAST_VARIANCE, float(UNIT * UNIT))
    spread = sqrt(count * variance * (active - count) / (active - 1))
    sign = 1.0 if (side == 1) != (identities[slot]["kind"] == KIND_PUT) else -1.0
    return bounded(sign * (found - count * mean) / spread, -MAX_AGREEMENT, MAX_AGREEMENT)


@kernel
def sides_as_strong(score: Score, rank: float) -> int:
    """Return how many sides of all slots are at least as strong as `rank`. O(n)."""
    count = 0
    for slot in range(score.cursor[SLOTS]):
        for side in range(2):
            if score.best[slot, side, BEST_RANK] >= rank:
                count += 1
    return count
