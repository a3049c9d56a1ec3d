"""Counted work of the engine: events through book and flow, and event time that passes."""

from __future__ import annotations

from bench.engine_feed import RunningEngine
from bench.workloads import Thunk, region
from ifd_kernels.engine import advance
from ifd_kernels.layout import SECOND_NS

__all__ = ["advance_events", "pass_windows", "seal_seconds"]

EVENTS = 16_384
SECONDS = 600


def prepared(spacing_ns: int) -> RunningEngine:
    """Return an engine that has applied one ring of the session, and has the next one before it."""
    running = RunningEngine(EVENTS, spacing_ns)
    running.fill()
    running.engine.apply_published()
    running.fill()
    return running


@region("engine.advance", events=EVENTS)
def advance_events() -> Thunk:
    """Apply a ring of W1's mix at 200,000 events a second, slots resolved, all room made."""
    engine = prepared(5_000).engine
    engine.instruments.resolve(engine.state.ring, 0, EVENTS)
    engine.use_slots()
    state = engine.state
    return lambda: advance(state, EVENTS, EVENTS)


@region("engine.advance_seconds", events=EVENTS, covers=("passing", "pressure", "windows"))
def seal_seconds() -> Thunk:
    """Apply the same ring over eight seconds: a second sealed and 600 slots scored in each."""
    return prepared(500_000).engine.apply_published


@region("engine.pass_time", events=SECONDS, covers=("passing", "pressure", "windows"))
def pass_windows() -> Thunk:
    """Let ten minutes pass without an event: seconds sealed, instants scored, windows emitted."""
    running = prepared(500_000)
    running.engine.apply_published()
    target_ns = running.now_ns + SECONDS * SECOND_NS
    return lambda: running.engine.tick(target_ns)
