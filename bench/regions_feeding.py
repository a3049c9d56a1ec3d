"""Counted work of a whole chunk: framed, resolved and applied in slices, Python included."""

from __future__ import annotations

from bench.engine_feed import make_profile_engine
from bench.streams import mbo_stream
from bench.workloads import Thunk, region
from ifd_fast.framing import Framer

__all__ = ["feed_bytes"]

EVENTS = 131_072  # with fewer, the counts of two patch releases of Python differ by over 1 %


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
