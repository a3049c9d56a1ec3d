"""Residuals against history in plain Python: look-ups, and what past sessions are counted into."""

from __future__ import annotations

import math
from typing import Any

NODE_STEP = 0.25
NODES = 97
BINS = 14
STEPS_A_UNIT = 16
STEPS = 384
LEVELS = [0.5 + 0.1 * n for n in range(140)]


def bin_of(votes: float) -> int:
    """Return the half decade of expected votes: 0 below .001, then two a decade."""
    if not votes > 0.001:
        return 0
    return min(BINS - 1, math.floor(2 * math.log10(votes) + 6))


def rank_of(tables: Any, channel: int, window: int, votes: float, residual: float) -> float:
    """Return the table's decades at a residual, interpolated between its nodes."""
    if not residual > 0:
        return 0.0
    nodes = tables[channel][window][bin_of(votes)]
    node, rest = divmod(min(residual / NODE_STEP, NODES - 1.0), 1.0)
    low = float(nodes[int(node)])
    high = float(nodes[min(int(node) + 1, NODES - 1)])
    return low + rest * (high - low)


def count_residual(counts: Any, channel: int, window: int, votes: float, residual: float) -> None:
    """Add one residual to a dict of (channel, window, bin, sixteenth)."""
    step = min(int(residual * STEPS_A_UNIT), STEPS - 1)
    key = (channel, window, bin_of(votes), step)
    counts[key] = counts.get(key, 0) + 1


def count_levels(
    rank: float, due: dict[int, int], counts: dict[int, int], now_ns: int, cooldown_ns: int
) -> None:
    """Count one episode at each level up to the rank whose last one is a cooldown ago."""
    for level in range(int((rank - LEVELS[0]) / 0.1) + 1 if rank >= LEVELS[0] else 0):
        number = min(level, len(LEVELS) - 1)
        if now_ns - due.get(number, -(2**62)) >= cooldown_ns:
            due[number] = now_ns
            counts[number] = counts.get(number, 0) + 1
