"""Batches in and out of the event ring; nothing that is not consumed is ever overwritten."""

from __future__ import annotations

import numpy as np

from ifd_kernels._jit import kernel
from ifd_kernels.layout import CONSUMED, DONE, PUBLISHED, REFUSED, RING_FULL, Ring

__all__ = ["push_batch", "read_batch"]


@kernel
def copy_event(source: Ring, source_index: int, target: Ring, target_index: int) -> None:
    """Copy all columns of one event; indexes >= 0 into the columns. O(1)."""
    # Unsigned, or each access first asks whether it counts from the end.
    at, to = np.uint64(source_index), np.uint64(target_index)
    target.ts_event_ns[to] = source.ts_event_ns[at]
    target.ts_recv_ns[to] = source.ts_recv_ns[at]
    target.order_id[to] = source.order_id[at]
    target.price_1e9[to] = source.price_1e9[at]
    target.size[to] = source.size[at]
    target.instrument_id[to] = source.instrument_id[at]
    target.sequence[to] = source.sequence[at]
    target.slot[to] = source.slot[at]
    target.flags[to] = source.flags[at]
    target.action[to] = source.action[at]
    target.side[to] = source.side[at]


@kernel
def push_batch(ring: Ring, events: Ring, start: int, stop: int) -> tuple[int, int]:
    """Publish rows [start, stop) of the columns `events` (any length, cursor unused) to `ring`.

    Returns (DONE, stop), or (RING_FULL, first row not published). O(rows).
    """
    capacity = ring.action.shape[0]
    mask = capacity - 1
    published = ring.cursor[PUBLISHED]
    room = ring.cursor[CONSUMED] + capacity - published
    end = min(stop, start + room)
    for row in range(start, end):
        copy_event(events, row, ring, (published + row - start) & mask)
    if end > start:
        ring.cursor[PUBLISHED] = published + end - start
    return (DONE if end >= stop else RING_FULL), max(end, start)


@kernel
def read_batch(ring: Ring, first: int, out: Ring) -> tuple[int, int]:
    """Copy published events from sequence number `first` to rows 0.. of the columns `out`.

    Consumes nothing; consumed events can be read until newer ones take their place. Returns
    (DONE, next sequence number), or (REFUSED, first) if `first` is gone or yet to come. O(rows).
    """
    capacity = ring.action.shape[0]
    mask = capacity - 1
    published = ring.cursor[PUBLISHED]
    if first > published or first < max(published - capacity, 0):
        return REFUSED, first
    end = min(published, first + out.action.shape[0])
    for sequence in range(first, end):
        copy_event(ring, sequence & mask, out, sequence - first)
    return DONE, end
