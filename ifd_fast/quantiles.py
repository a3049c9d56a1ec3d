"""Distributions as tables of integers: 4,096 quantiles each, and weights as alias tables."""

from __future__ import annotations

import math
from collections.abc import Sequence
from functools import lru_cache
from statistics import NormalDist
from typing import Final

import numpy as np
from numpy.typing import NDArray

from ifd_fast.errors import ConfigError
from ifd_fast.world import World
from ifd_kernels.market_state import TABLE_LENGTH, VALUE_STEPS, VALUE_ZERO

__all__ = [
    "alias_table",
    "gap_table",
    "latency_table",
    "market_tables",
    "sending_table",
    "share_table",
    "value_table",
    "world_tables",
]

ALIAS_ONE: Final = 65_536
NORMAL: Final = NormalDist()

# Measured on 8 minutes of ESH4 after the opening of 2023-12-25, ns.
LATENCY_NS: Final = [
    (0.0, 85_245),
    (0.01, 90_835),
    (0.1, 99_016),
    (0.5, 130_041),
    (0.9, 829_482),
    (0.99, 3_479_425),
    (1.0, 9_000_000),
]
SENDING_NS: Final = [
    (0.0, 12_079),
    (0.01, 12_930),
    (0.1, 13_309),
    (0.5, 15_255),
    (0.9, 16_568),
    (0.99, 21_915),
    (1.0, 82_969),
]
# Displayed sizes of option quotes: ESM4 puts of 2024-05-09.
QUOTE_SIZES: Final = [
    (1, 0.29),
    (2, 0.03),
    (3, 0.02),
    (5, 0.10),
    (8, 0.03),
    (10, 0.06),
    (13, 0.12),
    (17, 0.12),
    (23, 0.05),
    (25, 0.03),
    (50, 0.05),
    (53, 0.10),
]
# No real option trade was at hand: small ones mostly, with blocks.
TRADE_SIZES: Final = [
    [(1, 0.62), (2, 0.16), (3, 0.06), (4, 0.03), (5, 0.08), (10, 0.04), (20, 0.01)],
    [(1, 0.55), (2, 0.15), (3, 0.08), (5, 0.11), (10, 0.07), (20, 0.025), (50, 0.015)],
    [(1, 0.50), (2, 0.15), (3, 0.08), (5, 0.12), (10, 0.09), (25, 0.04), (100, 0.02)],
    [(1, 0.60), (2, 0.16), (3, 0.07), (4, 0.05), (5, 0.05), (8, 0.04), (18, 0.03)],  # ESH4
]
FUTURE_SIZES: Final = [(1, 0.77), (2, 0.07), (3, 0.03), (5, 0.02), (8, 0.03), (13, 0.08)]


def _middles() -> list[float]:
    return [(place + 0.5) / TABLE_LENGTH for place in range(TABLE_LENGTH)]


def share_table(shares: Sequence[tuple[int, float]]) -> list[int]:
    """Return the quantiles of values with the given shares, which need not add up to 1."""
    total = math.fsum(share for _, share in shares)
    if total <= 0.0:
        raise ConfigError(f"Shares must add up to more than 0, were {list(shares)}.")
    table: list[int] = []
    reached = 0.0
    for value, share in shares:
        reached += share / total
        table.extend([value] * (round(reached * TABLE_LENGTH) - len(table)))
    return table


def _line_table(points: Sequence[tuple[float, int]], tail: float = 1.0) -> list[int]:
    """Return quantiles interpolated in the logarithm; `tail` shrinks what is above the median."""
    table: list[int] = []
    median = next(value for share, value in points if share == 0.5)
    for middle in _middles():
        low = max(index for index in range(len(points) - 1) if points[index][0] <= middle)
        (share, value), (share_after, after) = points[low], points[low + 1]
        part = (middle - share) / (share_after - share)
        found = value * (after / value) ** part
        if found > median:
            found = median + (found - median) * tail
        table.append(round(found))
    return table


def latency_table(tail: float) -> list[int]:
    """Return quantiles of ts_recv - ts_event, ns."""
    return _line_table(LATENCY_NS, tail)


def sending_table() -> list[int]:
    """Return quantiles of ts_in_delta, ns."""
    return _line_table(SENDING_NS)


def gap_table(sigma: float) -> list[int]:
    """Return quantiles of a log-normal gap with mean 65,536; `sigma` is in units of two."""
    raw = [math.exp(2.0 * sigma * NORMAL.inv_cdf(middle)) for middle in _middles()]
    mean = math.fsum(raw) / len(raw)
    return [round(value / mean * 65_536) for value in raw]


def value_table() -> list[int]:
    """Return a call's value by its moneyness, both in standard deviations, times 2**24."""
    table: list[int] = []
    for place in range(TABLE_LENGTH):
        money = (place - VALUE_ZERO) / VALUE_STEPS
        table.append(round((NORMAL.pdf(money) + money * NORMAL.cdf(money)) * 2**24))
    return table


def market_tables(
    sigma: float, tail: float, packet: Sequence[tuple[int, float]]
) -> NDArray[np.int64]:
    """Return all tables of a market, (TABLES, 4096)."""
    rows = [
        gap_table(sigma),
        latency_table(tail),
        sending_table(),
        share_table(QUOTE_SIZES),
        share_table(packet),
        value_table(),
        share_table(FUTURE_SIZES),
        *(share_table(sizes) for sizes in TRADE_SIZES),
    ]
    return np.array(rows, dtype=np.int64)


@lru_cache(maxsize=8)
def _cached_tables(
    sigma: float, tail: float, packet: tuple[tuple[int, float], ...]
) -> NDArray[np.int64]:
    return market_tables(sigma, tail, packet)


def world_tables(world: World) -> NDArray[np.int64]:
    """Return the tables of a market of `world`, a copy of its own."""
    clock = world.clock
    return _cached_tables(clock.gap_sigma, clock.tail, clock.packet).copy()


def alias_table(weights: Sequence[float]) -> tuple[NDArray[np.int64], NDArray[np.int64]]:
    """Return (threshold, other), each (n,), by Walker's method; drawn by `draw_alias`."""
    scale = len(weights) / math.fsum(weights)
    left = [weight * scale for weight in weights]
    threshold = [ALIAS_ONE] * len(left)
    other = list(range(len(left)))
    small = [index for index, weight in enumerate(left) if weight < 1.0]
    large = [index for index, weight in enumerate(left) if weight >= 1.0]
    while small and large:
        poor, rich = small.pop(), large[-1]
        threshold[poor] = round(left[poor] * ALIAS_ONE)
        other[poor] = rich
        left[rich] -= 1.0 - left[poor]
        if left[rich] < 1.0:
            small.append(large.pop())
    return np.array(threshold, dtype=np.int64), np.array(other, dtype=np.int64)
