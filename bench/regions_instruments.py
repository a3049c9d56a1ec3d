"""Counted work of the instruments: ids of events to slots."""

from __future__ import annotations

from bench.instrument_feed import make_feed
from bench.workloads import Thunk, region
from ifd_fast.instruments import Instruments
from ifd_kernels.instruments import resolve_batch

__all__ = ["resolve"]

EVENTS = 131_072  # with fewer, Python's own first misses are a fifth of those counted


@region("instruments.resolve_batch", events=EVENTS)
def resolve() -> Thunk:
    """Resolve events of 600 instruments that are all known."""
    feed = make_feed(600, EVENTS)
    instruments = Instruments(1024)
    instruments.resolve(feed.ring, 0, EVENTS)
    arrays = (instruments.id_map, instruments.identities, instruments.seen, instruments.counts)
    return lambda: resolve_batch(feed.ring, 0, EVENTS, *arrays)
