"""How rare a surprise is: its rank among those of null sessions, in decades.

Surprises are told apart by channel, window and the votes that were expected. Beyond the largest
30 a straight line goes on.
"""

from __future__ import annotations

import math
from typing import TYPE_CHECKING, Final, NamedTuple

import numpy as np

if TYPE_CHECKING:
    from numpy.typing import NDArray

__all__ = [
    "MAX_BIN",
    "MIN_BIN",
    "Peaks",
    "Ranks",
    "combine",
    "join_peaks",
    "pool_peaks",
    "rank_values",
]

MIN_BIN: Final = -8  # half decades of expected votes
MAX_BIN: Final = 8
TAIL: Final = 30  # samples that the straight line beyond the table is fitted to
MIN_TAIL: Final = 10
MAX_RANK: Final = 30.0  # decades


class Peaks(NamedTuple):
    """Strongest surprises by option, side and block of one null session, and the exposure."""

    channel: NDArray[np.int8]  # (n,)
    window: NDArray[np.int8]
    bin: NDArray[np.int8]
    surprise: NDArray[np.float64]
    exposure: NDArray[np.float64]  # (channels, windows, bins) blocks and sides looked at


class Ranks(NamedTuple):
    """Null sessions' surprises by channel, window and bin, ready to rank others."""

    tables: dict[tuple[int, int, int], NDArray[np.float64]]  # falling
    exposure: NDArray[np.float64]


def join_peaks(parts: list[Peaks]) -> Peaks:
    """Return several as one."""
    columns = [np.concatenate([getattr(one, name) for one in parts]) for name in Peaks._fields[:4]]
    exposure = np.sum([one.exposure for one in parts], axis=0)
    return Peaks(columns[0], columns[1], columns[2], columns[3], exposure)


def pool_peaks(peaks: list[Peaks]) -> Ranks:
    """Return the tables of all null sessions together."""
    exposure = np.sum([one.exposure for one in peaks], axis=0)
    tables = {}
    key = [(one.channel.astype(np.int64) * 8 + one.window) * 32 + one.bin for one in peaks]
    keys, values = np.concatenate(key), np.concatenate([one.surprise for one in peaks])
    order = np.lexsort((np.negative(values), keys))
    keys, values = keys[order], values[order]
    for number in np.unique(keys):
        start, stop = np.searchsorted(keys, [number, number + 1])
        place = (int(number) // 256, int(number) // 32 % 8, int(number) % 32)
        tables[place] = values[start:stop]
    return _pool_thin(Ranks(tables, exposure))


def _pool_thin(ranks: Ranks) -> Ranks:
    """Return the tables with those of too few samples joined by their nearest bins'."""
    tables = {}
    exposure = np.zeros_like(ranks.exposure)
    none = np.zeros(0)
    for channel, window, bins in np.ndindex(*ranks.exposure.shape):
        reach, joined = -1, none
        while len(joined) < TAIL and reach <= MAX_BIN - MIN_BIN:
            reach += 1
            near = [one for one in range(bins - reach, bins + reach + 1)
                    if 0 <= one <= MAX_BIN - MIN_BIN]  # fmt: skip
            joined = np.concatenate([ranks.tables.get((channel, window, n), none) for n in near])
        if len(joined):
            tables[channel, window, bins] = np.sort(joined)[::-1]
            exposure[channel, window, bins] = ranks.exposure[channel, window, near].sum()
    return Ranks(tables, exposure)


def _tail(
    table: NDArray[np.float64], values: NDArray[np.float64], exposure: float
) -> NDArray[np.float64]:
    """Return -log10 of the share of `exposure` with a surprise of at least each value."""
    count = np.searchsorted(np.negative(table), np.negative(values), side="right")
    count = count.astype(np.float64)
    size = min(TAIL, len(table) - 1)
    count = np.maximum(count, 0.5)  # beyond all samples, half of one
    if size >= MIN_TAIL:
        base = table[size]
        excess = max(float((table[:size] - base).mean()), 1e-3)
        beyond = np.maximum(values - base, 0.0) / excess
        count = np.where(values > base, size * np.exp(-beyond), count)
    exposed = max(exposure, len(table), 1.0)
    return np.minimum(-np.log10(np.maximum(count, 1e-30) / exposed), MAX_RANK)


def rank_values(
    ranks: Ranks, place: tuple[int, int, int], values: NDArray[np.float64]
) -> NDArray[np.float64]:
    """Return the ranks of `values` at a place (channel, window, bin); 0 where nothing is known."""
    table = ranks.tables.get(place)
    if table is None:
        return np.zeros(len(values))
    return _tail(table, values, float(ranks.exposure[place]))


def combine(decades: list[float]) -> float:
    """Return the rank of several independent ones together, after Fisher, in decades.

    -2 sum ln p has a chi-square distribution of 2 n degrees, whose tail is a Poisson sum.
    """
    half = math.log(10.0) * sum(decades)
    total = sum(
        math.exp(number * math.log(max(half, 1e-300)) - half - math.lgamma(number + 1))
        for number in range(len(decades))
    )
    if total > 0.0:
        return -math.log10(min(total, 1.0))
    return (half - (len(decades) - 1) * math.log(half)) / math.log(10.0)
