"""Engines in the middle of a session, for benchmarks and counts: W1's mix, with event time."""

from __future__ import annotations

from typing import Final

import numpy as np

from bench.book_feed import Feed, Workload, make_ring
from ifd_fast.calendar import load_sessions
from ifd_fast.config import load_settings
from ifd_fast.engine import FlowEngine
from ifd_kernels.layout import KIND_CALL, PUBLISHED, SECOND_NS, Ring

__all__ = ["RunningEngine", "make_profile_engine"]

INSTRUMENTS: Final = 600
LIVE_ORDERS: Final = 20_000  # a tenth of W1's: the setup runs under valgrind too
ACTIVITY: Final = 0.8


def make_profile_engine() -> FlowEngine:
    """Return an empty engine with the packaged profile."""
    profile = load_settings(None, {}).profile
    return FlowEngine(profile, load_sessions(profile.calendar))


class RunningEngine:
    """An engine whose books are open, ten minutes into a session, and the ring it reads.

    `fill` puts the next events into the ring, `spacing_ns` of event time apart; `engine` then
    applies them with `apply_published`.
    """

    def __init__(self, events: int, spacing_ns: int, seed: int = 1) -> None:
        self.feed = Feed(Workload(INSTRUMENTS, LIVE_ORDERS, ACTIVITY), seed)
        self.engine = make_profile_engine()
        self.spacing_ns = spacing_ns
        self.now_ns = int(self.engine.sessions.open_ns[len(self.engine.sessions) // 2])
        self.now_ns += 600 * SECOND_NS
        self._publish(self.feed.stock(), self.feed.stock_events)
        self.engine.apply_published()
        identities = self.engine.instruments.identities
        identities["mapped"][: self.engine.instruments.slots] = 1
        identities["kind"][: self.engine.instruments.slots] = KIND_CALL
        self.ring = make_ring(events)
        self._publish(self.ring, 0)
        self.engine.apply_published()  # packs the arrays, which is not to be counted later

    def fill(self) -> None:
        """Fill the ring with the session's next events."""
        self.feed.fill(self.ring)
        self._publish(self.ring, len(self.ring.action))

    def _publish(self, ring: Ring, events: int) -> None:
        """Give the first `events` of a ring their times and make it the engine's."""
        ring.ts_event_ns[:events] = self.now_ns + self.spacing_ns * np.arange(events)
        ring.ts_recv_ns[:] = ring.ts_event_ns + 100_000
        ring.slot[:] = -1  # the engine resolves what has no slot yet
        ring.cursor[:] = 0
        ring.cursor[PUBLISHED] = events
        self.now_ns += self.spacing_ns * events
        if self.engine.state.ring is not ring:
            self.engine.state = self.engine.state._replace(ring=ring)
