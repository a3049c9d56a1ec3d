"""Counted work of packages: trades of a spread, and the prints of its two legs."""

from __future__ import annotations

from bench.workloads import Thunk, region
from ifd_fast.framing import Framer
from ifd_kernels.engine import advance
from ifd_kernels.layout import CONSUMED, PUBLISHED
from tests.strategies_engine import OPTION, as_bytes, event
from tests.test_packages import CALENDAR, MS, PUT, START, Event, make_engine, print_of

__all__ = ["EVENTS", "apply_packages", "make_stream"]

EVENTS = 12_000
SPACING_NS = 11 * MS


def make_stream() -> list[Event]:
    """Return a trade of a calendar spread and its legs' prints every 11 ms."""
    stream = []
    for number in range(EVENTS // 3):
        ts_ns = START + (number + 300) * SPACING_NS
        stream += [
            event(ts_ns, "T", "B", instrument_id=CALENDAR, size=3),
            print_of(ts_ns, OPTION, "B", 3),
            print_of(ts_ns, PUT, "A", 3),
        ]
    return stream


@region("packages.note_package", events=EVENTS)
def apply_packages() -> Thunk:
    """Apply them over 44 seconds, each sealed and scored; no other trades."""
    engine = make_engine(spreads=[CALENDAR], ring_capacity_events=16_384)
    framer = Framer(engine.state.ring, 3)
    engine.feed(framer, as_bytes([event(START, "A", "B"), event(START + 300 * SPACING_NS, "N")]))
    for _ in framer.frames(as_bytes(make_stream()), None):
        pass
    ring = engine.state.ring
    start, stop = int(ring.cursor[CONSUMED]), int(ring.cursor[PUBLISHED])
    engine.instruments.resolve(ring, start, stop)
    engine.use_slots()
    state = engine.state
    return lambda: advance(state, stop, stop)
