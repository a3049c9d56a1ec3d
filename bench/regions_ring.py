"""Counted work of the ring: a batch in, a batch out."""

from __future__ import annotations

from bench.workloads import Thunk, region
from ifd_fast.framing import allocate_ring
from ifd_kernels.layout import CONSUMED, PUBLISHED
from ifd_kernels.ring import push_batch, read_batch

__all__ = ["push", "read"]

EVENTS = 8_192


@region("ring.push_batch", events=EVENTS)
def push() -> Thunk:
    """Push one batch into a ring that is empty each time."""
    ring, events = allocate_ring(EVENTS), allocate_ring(EVENTS)

    def work() -> object:
        ring.cursor[CONSUMED] = ring.cursor[PUBLISHED]
        return push_batch(ring, events, 0, EVENTS)

    return work


@region("ring.read_batch", events=EVENTS)
def read() -> Thunk:
    """Read a full ring back."""
    ring, out = allocate_ring(EVENTS), allocate_ring(EVENTS)
    ring.cursor[PUBLISHED] = EVENTS
    return lambda: read_batch(ring, 0, out)
