"""Counted work of bytes on their way into the books, Python included."""

from __future__ import annotations

import numpy as np

from bench.engine_feed import make_profile_engine
from bench.streams import mbo_stream
from bench.workloads import Thunk, region
from ifd_fast.framing import Framer
from ifd_kernels.layout import MBO_BYTES

__all__ = ["feed_bytes", "feed_reads"]

EVENTS = 131_072  # with fewer, the counts of two patch releases of Python differ by over 1 %
READS = 2_048
READ_BYTES = 10 * MBO_BYTES


@region("feeding.feed_bytes", events=EVENTS)
def feed_bytes() -> Thunk:
    """Feed one chunk of bytes to an engine that has had the chunk before it."""
    engine = make_profile_engine()
    data = mbo_stream(2 * EVENTS).tobytes()
    framer = Framer(engine.state.ring, 3)
    half = len(data) // 2
    engine.feed(framer, bytearray(data[:half]))
    chunk = bytearray(data[half:])
    return lambda: engine.feed(framer, chunk)


@region("feeding.feed_reads", events=READS)
def feed_reads() -> Thunk:
    """Feed reads of ten records, as a live session takes them; the figure is one of a read."""
    engine = make_profile_engine()
    data = mbo_stream(EVENTS).tobytes()
    framer = Framer(engine.state.ring, 3)
    begun = len(data) - READS * READ_BYTES
    engine.feed(framer, bytearray(data[:begun]))
    reads = [
        np.frombuffer(bytearray(data[start : start + READ_BYTES]), np.uint8)
        for start in range(begun, len(data), READ_BYTES)
    ]

    def work() -> object:
        for one in reads:
            engine.feed(framer, one)
        return framer.counts()["events"]

    return work
