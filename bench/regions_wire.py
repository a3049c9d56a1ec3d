"""Counted work of the wire: framing bytes into the ring."""

from __future__ import annotations

import numpy as np

from bench.streams import mbo_stream
from bench.workloads import Thunk, region
from ifd_fast.framing import allocate_ring
from ifd_kernels import wire
from ifd_kernels.layout import MBO_BYTES, RTYPE_MBO

__all__ = ["frame_batch", "framing_with_more_work"]

EVENTS = 16_384


def framing(events: int) -> Thunk:
    """Return a call that frames `events` MBO records at an odd address."""
    buffer = np.frombuffer(b"\0" + mbo_stream(events).tobytes(), np.uint8)[1:]
    record_bytes = np.zeros(256, np.int64)
    record_bytes[RTYPE_MBO] = MBO_BYTES
    ring, counters = allocate_ring(EVENTS), np.zeros(wire.COUNTERS, np.int64)
    handed, refused = np.zeros((8, 2), np.int64), np.zeros((8, 2), np.int64)
    return lambda: wire.frame_batch(
        buffer, 0, buffer.size, record_bytes, EVENTS, ring, handed, refused, counters
    )


@region("wire.frame_batch", events=EVENTS)
def frame_batch() -> Thunk:
    """Frame one read of MBO records as DBN v1 files have them."""
    return framing(EVENTS)


def framing_with_more_work() -> Thunk:
    """Return the same work and a twentieth of it again: what `./dev count --prove` must catch."""
    whole, twentieth = framing(EVENTS), framing(EVENTS // 20)
    return lambda: (whole(), twentieth())
