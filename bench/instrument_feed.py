"""Events of many instruments with Zipf activity, for the benchmarks of resolving."""

from __future__ import annotations

from typing import NamedTuple

import numpy as np
from numpy.typing import NDArray

from ifd_fast.framing import allocate_ring
from ifd_kernels.layout import Ring

__all__ = ["Feed", "make_feed"]


class Feed(NamedTuple):
    """A ring full of events, and the ids in it by rank of activity."""

    ring: Ring
    ids: NDArray[np.uint32]


def make_feed(instruments: int, events: int, exponent: float = 1.1) -> Feed:
    """Fill a ring of `events` (a power of two) with ids as sparse as a venue's."""
    random = np.random.default_rng(7)
    ids = np.arange(instruments, dtype=np.uint32) * 7 + 42_000_000
    random.shuffle(ids)
    shares = 1 / np.arange(1, instruments + 1) ** exponent
    ring = allocate_ring(events)
    ring.instrument_id[:] = ids[random.choice(instruments, events, p=shares / shares.sum())]
    ring.ts_recv_ns[:] = np.arange(events)
    return Feed(ring, ids)
