"""Ordinary flow of a simulated session, planned ahead: who trades when, on which side, how much.

Arrivals excite themselves, as a cascade: parents come at the pace of the day, each trade has a few
offspring in the same instrument, and those have theirs. A parent may be split into a few parts of
one side. All by integers, so that a seed gives the same flow on every platform.
"""

from __future__ import annotations

from typing import Any, Final, NamedTuple, TypeAlias

import numpy as np
from numpy.typing import NDArray

from ifd_kernels._jit import kernel, leaf
from ifd_kernels.layout import DONE, NEED_ROWS, SIDE_ASK, SIDE_BID
from ifd_kernels.market_state import MODE_ORDINARY, TABLE_LENGTH, TABLE_LOTS, Integer
from ifd_kernels.randomness import draw_alias, next_bits

__all__ = ["FlowPlan", "grow_flow"]

Records: TypeAlias = NDArray[Any]  # a structured array


class FlowPlan(NamedTuple):
    """Where a session's ordinary flow comes from: i instruments, p parts of equal length.

    `mass` (p,) is the expected parents of a part times 65,536; `lean` (p,) the chance, out of
    65,536, that a parent follows a directional burst, negative the other way; `tilt` (i,) which
    way that is: 1 bought, -1 sold, 0 untouched; `until_ns` (i,) the end of trading.
    """

    mass: NDArray[np.int64]
    lean: NDArray[np.int64]
    threshold: NDArray[np.int64]
    other: NDArray[np.int64]
    tilt: NDArray[np.int64]
    lots: NDArray[np.int64]  # (i,) which row of the sizes of trades
    until_ns: NDArray[np.int64]
    tables: NDArray[np.int64]  # those of the market
    laws: NDArray[np.int64]  # (LAWS, 4096) quantiles
    rule: NDArray[np.int64]  # F_*
    state: NDArray[np.int64]  # N_*
    seed: NDArray[np.uint64]
    out: Records  # (capacity,) of CHILD; in no order of time


# rows of `laws`
LAW_GAP: Final = 0  # exponential, mean 65,536
LAW_OFFSPRING: Final = 1  # Poisson
LAW_PARTS: Final = 2  # further parts of a parent that is split
LAWS: Final = 3

# entries of `rule`; chances are out of 65,536
F_START_NS: Final = 0
F_PART_NS: Final = 1
F_FAST_NS: Final = 2  # mean delay of offspring
F_SLOW_NS: Final = 3
F_SLOW: Final = 4  # chance that a delay is slow
F_SAME: Final = 5  # chance that offspring takes the side of its cause
F_SPLIT: Final = 6
F_SPLIT_NS: Final = 7  # mean gap between the parts of a parent
F_RULES: Final = 8

# entries of `state`
N_ROWS: Final = 0  # of `out`
N_PART: Final = 1  # where the parents are
N_AT: Final = 2  # mass of that part already used
N_CAUSE: Final = 3  # the next row whose offspring are to be drawn
N_STATES: Final = 4

FAMILY_MAX: Final = 64  # more than a parent has parts, or a trade offspring


@leaf
def draw_gap(flow: FlowPlan, bits: Integer, mean: Integer) -> Integer:
    """Return an exponential time by 28 low `bits`, between two quantiles."""
    place = min(bits & (TABLE_LENGTH - 1), np.int64(TABLE_LENGTH - 2))
    low = flow.laws[LAW_GAP, place]
    step = flow.laws[LAW_GAP, place + 1] - low
    return (low + (step * ((bits >> 12) & 0xFFFF) >> 16)) * mean >> 16


@leaf
def append(
    flow: FlowPlan, ts_event_ns: Integer, slot: Integer, is_buy: bool, bits: Integer
) -> None:
    """Append one trade, its size by 12 low `bits`, unless trading has ended."""
    if ts_event_ns >= flow.until_ns[slot]:
        return
    row = flow.state[N_ROWS]
    out = flow.out
    out[row]["ts_event_ns"] = ts_event_ns
    out[row]["slot"] = slot
    out[row]["side"] = SIDE_BID if is_buy else SIDE_ASK
    out[row]["asked"] = flow.tables[TABLE_LOTS + flow.lots[slot], bits & (TABLE_LENGTH - 1)]
    out[row]["plant"] = -1
    out[row]["mode"] = MODE_ORDINARY
    flow.state[N_ROWS] += 1


@kernel
def add_parent(flow: FlowPlan) -> None:
    """Append the next parent and the parts it is split into; past the last part: nothing."""
    state, rule = flow.state, flow.rule
    bits = next_bits(flow.seed)
    state[N_AT] += draw_gap(flow, bits, np.int64(65_536))
    while state[N_PART] < flow.mass.shape[0] and state[N_AT] >= flow.mass[state[N_PART]]:
        state[N_AT] -= flow.mass[state[N_PART]]
        state[N_PART] += 1
    part = state[N_PART]
    if part >= flow.mass.shape[0]:
        return
    within = state[N_AT] * rule[F_PART_NS] // flow.mass[part]
    ts_event_ns = rule[F_START_NS] + part * rule[F_PART_NS] + within
    picked = next_bits(flow.seed)
    slot = draw_alias(picked, flow.threshold, flow.other)
    lean = flow.lean[part] * flow.tilt[slot]
    chance = next_bits(flow.seed)
    is_buy = (chance & 0xFFFF) < 32_768 + (lean >> 1)
    append(flow, ts_event_ns, slot, is_buy, picked >> 48)
    if (chance >> 16) & 0xFFFF >= rule[F_SPLIT]:
        return
    for _ in range(flow.laws[LAW_PARTS, (chance >> 32) & (TABLE_LENGTH - 1)]):
        bits = next_bits(flow.seed)
        ts_event_ns += draw_gap(flow, bits, rule[F_SPLIT_NS])
        append(flow, ts_event_ns, slot, is_buy, bits >> 28)


@kernel
def add_offspring(flow: FlowPlan, cause: Integer) -> None:
    """Append what the trade in row `cause` excites: later trades of the same instrument."""
    rule = flow.rule
    count = flow.laws[LAW_OFFSPRING, next_bits(flow.seed) & (TABLE_LENGTH - 1)]
    slot = np.int64(flow.out[cause]["slot"])
    bought = flow.out[cause]["side"] == SIDE_BID
    for _ in range(count):
        bits = next_bits(flow.seed)
        more = next_bits(flow.seed)
        slow = (more & 0xFFFF) < rule[F_SLOW]
        mean = rule[F_SLOW_NS] if slow else rule[F_FAST_NS]
        same = (more >> 16) & 0xFFFF < rule[F_SAME]
        ts_event_ns = flow.out[cause]["ts_event_ns"] + draw_gap(flow, bits, mean)
        append(flow, ts_event_ns, slot, bought == same, bits >> 28)


@kernel
def grow_flow(flow: FlowPlan) -> Integer:
    """Append all trades of a session to `out`: DONE, or NEED_ROWS when it has to grow.

    Called again with the same rows in a longer `out`, it goes on where it was. O(trades).
    """
    state = flow.state
    capacity = flow.out.shape[0] - FAMILY_MAX
    while state[N_PART] < flow.mass.shape[0]:
        if state[N_ROWS] > capacity:
            return NEED_ROWS
        add_parent(flow)
    while state[N_CAUSE] < state[N_ROWS]:
        if state[N_ROWS] > capacity:
            return NEED_ROWS
        add_offspring(flow, state[N_CAUSE])
        state[N_CAUSE] += 1
    return DONE
