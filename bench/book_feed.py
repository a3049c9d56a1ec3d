"""Feeds for the book's benchmark: W1 and W2 of the design, drawn by a compiled generator.

Half of the events are modifies, nearly all by a tick or two, and nine in ten cancels and modifies
hit one of the instrument's most recent orders. Order ids have 13 digits.
"""

from __future__ import annotations

from typing import Final, NamedTuple

import numpy as np
from numpy.typing import NDArray

from ifd_kernels._jit import kernel
from ifd_kernels.layout import Integer, Ring

__all__ = ["W1", "W2", "Feed", "Workload", "make_ring"]

TICK: Final = 50_000_000


class Workload(NamedTuple):
    """Instruments, live orders, and the exponent of the activity's Zipf law."""

    instruments: int
    live_orders: int
    zipf: float


W1: Final = Workload(600, 200_000, 0.8)
W2: Final = Workload(10_000, 1_000_000, 1.1)


class State(NamedTuple):
    """The generator's own book: per instrument a list of live orders, the newest last."""

    first: NDArray[np.int64]  # (k,) where the instrument's list begins
    length: NDArray[np.int64]
    target: NDArray[np.int64]
    middle: NDArray[np.int64]  # in ticks
    cumulated: NDArray[np.float64]  # activity, for the draw of an instrument
    order_id: NDArray[np.uint64]  # (orders,)
    price: NDArray[np.int64]  # in ticks
    size: NDArray[np.int64]
    side: NDArray[np.int64]  # 0 bid, 1 ask
    word: NDArray[np.uint64]  # random state, next order id


@kernel
def draw(state: State) -> float:
    """Return a uniform number in [0, 1) (xorshift64*)."""
    x = state.word[0]
    x ^= x >> np.uint64(12)
    x ^= x << np.uint64(25)
    x ^= x >> np.uint64(27)
    state.word[0] = x
    return np.float64((x * np.uint64(0x2545F4914F6CDD1D)) >> np.uint64(11)) / 9007199254740992.0


@kernel
def steps(state: State, mean: float) -> Integer:
    """Return a geometric number with about this mean."""
    return np.int64(-np.log(1.0 - draw(state)) * mean)


@kernel
def write(
    ring: Ring,
    i: Integer,
    slot: Integer,
    action: Integer,
    side: Integer,
    order_id: Integer,
    price: Integer,
    size: Integer,
    flags: Integer,
) -> None:
    """Write one event."""
    ring.ts_event_ns[i] = i
    ring.ts_recv_ns[i] = i
    ring.order_id[i] = order_id
    ring.price_1e9[i] = price * TICK
    ring.size[i] = size
    ring.instrument_id[i] = slot
    ring.slot[i] = slot
    ring.flags[i] = flags
    ring.action[i] = action
    ring.side[i] = 66 - side


@kernel
def add(state: State, ring: Ring, i: Integer, slot: Integer, depth: float) -> None:
    """Write the A of a new order."""
    k = state.first[slot] + state.length[slot]
    state.length[slot] += 1
    side = np.int64(draw(state) < 0.5)
    away = 1 + min(steps(state, depth), 48)
    state.order_id[k] = state.word[1]
    state.word[1] += np.uint64(1 + steps(state, 3.0))
    state.side[k] = side
    state.price[k] = state.middle[slot] + (away if side == 1 else -away)
    state.size[k] = 1 + steps(state, 8.0)
    write(ring, i, slot, 65, side, state.order_id[k], state.price[k], state.size[k], 128)


@kernel
def pick(state: State, slot: Integer) -> Integer:
    """Return one of the instrument's live orders, nine times in ten a recent one."""
    length = state.length[slot]
    back: Integer = np.int64(draw(state) * length)
    if draw(state) < 0.9:
        back = min(steps(state, 10.0), length - 1)
    chosen: Integer = state.first[slot] + length - 1 - back
    return chosen


@kernel
def change(state: State, ring: Ring, i: Integer, slot: Integer) -> None:
    """Write an M: most by a tick or two, some of the size only."""
    k = pick(state, slot)
    side = state.side[k]
    if draw(state) < 0.85:
        move = 1 + np.int64(draw(state) < 0.3)
        away = abs(state.price[k] - state.middle[slot])
        if draw(state) < (0.5 if away < 4 else 0.7):
            move = -move
        away = max(away + move, 1)
        state.price[k] = state.middle[slot] + (away if side == 1 else -away)
    else:
        state.size[k] = 1 + steps(state, 8.0)
    flags = 128 if draw(state) < 0.97 else 0
    write(ring, i, slot, 77, side, state.order_id[k], state.price[k], state.size[k], flags)


@kernel
def cancel(state: State, ring: Ring, i: Integer, slot: Integer) -> None:
    """Write a C, one in twelve a partial one."""
    k = pick(state, slot)
    cut = state.size[k]
    if cut > 1 and draw(state) < 0.08:
        cut = 1
    write(ring, i, slot, 67, state.side[k], state.order_id[k], state.price[k], cut, 128)
    state.size[k] -= cut
    if state.size[k] == 0:
        state.length[slot] -= 1
        last = state.first[slot] + state.length[slot]
        for column in (state.price, state.size, state.side):
            column[k] = column[last]
        state.order_id[k] = state.order_id[last]


@kernel
def fill_events(state: State, ring: Ring, start: Integer, stop: Integer) -> None:
    """Draw the events `start` to `stop` of the session."""
    for i in range(start, stop):
        slot = np.int64(np.searchsorted(state.cumulated, draw(state)))
        kind = draw(state)
        if kind < 0.03:
            side = np.int64(draw(state) < 0.5)
            action = 84 if kind < 0.015 else 70
            write(ring, i, slot, action, side, state.word[1], state.middle[slot], 1, 0)
        elif kind < 0.53:
            change(state, ring, i, slot)
        elif draw(state) * 2 * state.target[slot] >= state.length[slot]:
            add(state, ring, i, slot, 3.0)
        else:
            cancel(state, ring, i, slot)


@kernel
def fill_stock(state: State, ring: Ring) -> None:
    """Draw the orders that the books open with, interleaved over the instruments."""
    i = np.int64(0)
    more = True
    while more:
        more = False
        for slot in range(state.target.shape[0]):
            if state.length[slot] < state.target[slot]:
                add(state, ring, i, slot, 12.0)
                i += 1
                more = True


def make_ring(capacity: int) -> Ring:
    """Return an empty ring."""
    long, word = np.zeros(capacity, np.int64), np.zeros(capacity, np.uint32)
    byte = np.zeros(capacity, np.uint8)
    return Ring(
        long,
        long.copy(),
        np.zeros(capacity, np.uint64),
        long.copy(),
        word,
        word.copy(),
        word.copy(),
        np.zeros(capacity, np.int32),
        byte,
        byte.copy(),
        byte.copy(),
        np.zeros(2, np.int64),
    )


class Feed:
    """A workload as rings: `stock` opens the books, `next_events` goes on as long as wished."""

    def __init__(self, workload: Workload, seed: int = 1) -> None:
        ranks = np.arange(1, workload.instruments + 1, dtype=np.float64)
        shares = ranks**-0.5
        target = np.maximum(shares / shares.sum() * workload.live_orders, 2).astype(np.int64)
        room = 2 * target + 64
        activity = ranks**-workload.zipf
        shuffle = np.random.default_rng(seed).permutation(workload.instruments)
        target, room, activity = target[shuffle], room[shuffle], activity[shuffle]
        total = int(room.sum())
        zeros = np.zeros(total, np.int64)
        cumulated = np.cumsum(activity) / activity.sum()
        cumulated[-1] = 1.0
        self.state = State(
            np.cumsum(room) - room,
            np.zeros(workload.instruments, np.int64),
            target,
            np.full(workload.instruments, 2000),
            cumulated,
            zeros.astype(np.uint64),
            zeros.copy(),
            zeros.copy(),
            zeros.copy(),
            np.array([seed * 0x9E3779B97F4A7C15 % 2**64, 6_412_345_678_901], np.uint64),
        )
        self.stock_events = int(target.sum())

    def stock(self) -> Ring:
        """Return a ring with the opening orders, `stock_events` of them."""
        ring = make_ring(1 << (self.stock_events - 1).bit_length())
        fill_stock(self.state, ring)
        return ring

    def fill(self, ring: Ring) -> None:
        """Fill a ring with the session's next events."""
        fill_events(self.state, ring, 0, len(ring.action))
