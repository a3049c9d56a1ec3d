"""Compile every kernel before the first record, so that none compiles in the middle of a session.

Each part registers one small piece of work that calls its kernels through the same border, with
the same types, as real work does; a kernel compiled for other types would compile again. The
compiled code stays in the cache folder of `ifd_kernels._jit`, and the next start only loads it.
"""

from __future__ import annotations

import multiprocessing
import time
from collections.abc import Callable, Collection, Sequence
from concurrent.futures import ProcessPoolExecutor
from pathlib import Path
from typing import Any, Final, NamedTuple, TypeAlias

import numpy as np

__all__ = ["Warmed", "compile_time", "count_compiled", "warm_live", "warm_up", "warms"]

Work: TypeAlias = Callable[[], object]

_WORKS: Final[dict[str, Work]] = {}
# What a second process compiles, while a third one compiles the half of the engine's loop that runs
# once a second (`linking`) and, because that shares most of its kernels, what scores history again:
# 26 s of CPU for both together, 35 s in two processes.
_APART: Final[tuple[str, ...]] = ("simulator", "planner")
_BESIDE: Final[tuple[str, ...]] = ("rescoring",)
_RECORDS_SIMULATED: Final = 4_096
_RECORDS_PLANNED: Final = 40_000  # beyond the snapshot of the evaluation world


class Warmed(NamedTuple):
    """What a warm-up did."""

    folder: Path | None  # of the compiled code; None: it can't be written, nothing is kept
    seconds: float
    kernels: int  # called from Python, and now ready; leaves are compiled into their callers
    compiled: int  # of these, not found in the cache


def warms(name: str) -> Callable[[Work], Work]:
    """Register a function that calls the kernels of part `name` once."""
    if name in _WORKS:
        raise ValueError(f"the warm-up of {name} is registered twice")

    def register(work: Work) -> Work:
        _WORKS[name] = work
        return work

    return register


def warm_up(*, apart: bool = False, but: Collection[str] = ()) -> Warmed:
    """Run all registered work, except the parts `but`, and return what it took.

    `apart` has two more processes compile parts of it into the same cache meanwhile. Numba
    writes to files of their own and renames them, so that neither sees half of the other's.
    """
    from ifd_fast.linking import also_beside
    from ifd_kernels import _jit

    started = time.perf_counter()
    elsewhere: set[str] = set()
    names = [name for name in _WORKS if name not in but]
    if apart and _jit.cache_folder() is not None:
        other = [name for name in _APART if name in names]
        beside = [name for name in _BESIDE if name in names]
        here = [name for name in names if name not in (*other, *beside)]
        with also_beside(beside):
            elsewhere = _share(here, other)
    _run(names)
    seconds = time.perf_counter() - started
    dispatchers: list[Any] = list(_jit.kernels().values())
    ready = sum(bool(getattr(one, "signatures", ())) for one in dispatchers)
    return Warmed(_jit.cache_folder(), seconds, ready, len(elsewhere | _compiled()))


def _share(names: list[str], apart: list[str]) -> set[str]:
    """Run the works `names` here and `apart` in a new process; return what that one compiled."""
    with ProcessPoolExecutor(1, multiprocessing.get_context("spawn")) as pool:
        other = pool.submit(_run, apart)
        _run(names)
        return other.result()


def _run(names: Sequence[str]) -> set[str]:
    """Run the works `names`; return the kernels this process has compiled so far."""
    for name in names:
        _WORKS[name]()
    return _compiled()


def count_compiled() -> int:
    """Return how many of the kernels called from Python were not found in the cache."""
    return len(_compiled())


def _compiled() -> set[str]:
    from ifd_fast.linking import compiled_beside
    from ifd_kernels import _jit

    kernels: dict[str, Any] = dict(_jit.kernels())
    timed = {name: one.stats for name, one in kernels.items() if hasattr(one, "stats")}
    return {name for name, stats in timed.items() if stats.cache_misses} | compiled_beside()


def warm_live() -> None:
    """Load what a live session needs at its first reconnect only: there is no time then."""
    _run(["live"])


def compile_time(names: Sequence[str] = ()) -> set[str]:
    """Compile into the cache what an engine's loop calls by its address, then do works by name.

    Returns the names of the kernels that were compiled.
    """
    from ifd_fast.calendar import load_sessions
    from ifd_fast.config import load_settings
    from ifd_fast.engine import FlowEngine
    from ifd_fast.linking import link_time

    profile = load_settings(environ={}).profile
    link_time(FlowEngine(profile, load_sessions(profile.calendar)).state)
    return _run(names)


@warms("wire")
def _frame() -> None:
    """Frame two MBO records of the wire's own layout, the second one of an unknown action."""
    from ifd_fast.framing import allocate_ring, record_bytes
    from ifd_kernels import wire
    from ifd_kernels.layout import MBO_BYTES, RTYPE_MBO

    buffer = np.zeros(2 * MBO_BYTES, np.uint8)
    buffer[0] = buffer[MBO_BYTES] = MBO_BYTES // 4
    buffer[1] = buffer[MBO_BYTES + 1] = RTYPE_MBO
    buffer[38], buffer[39] = ord("A"), ord("B")
    handed, refused = np.zeros((8, 2), np.int64), np.zeros((8, 2), np.int64)
    counters = np.zeros(wire.COUNTERS, np.int64)
    wire.frame_batch(
        buffer, 0, buffer.size, record_bytes(3), 4, allocate_ring(4), handed, refused, counters
    )


@warms("instruments")
def _resolve() -> None:
    """Resolve two events of ids nobody knows, growing in between, and name a third."""
    from ifd_fast.framing import allocate_ring
    from ifd_fast.instruments import Instruments

    ring = allocate_ring(4)
    ring.instrument_id[:2] = (1, 2)
    instruments = Instruments(1)
    instruments.resolve(ring, 0, 2)
    instruments.add_mapping(3, "ESH4")


@warms("engine")
def _advance() -> None:
    """Trade at the open of a session and a window later, over a status, a tick and the end."""
    import struct

    from ifd_fast.calendar import load_sessions
    from ifd_fast.config import load_settings
    from ifd_fast.engine import FlowEngine
    from ifd_fast.framing import Framer
    from ifd_kernels.layout import MBO_BYTES, RTYPE_MBO, SECOND_NS, UNDEF_PRICE
    from ifd_kernels.pressure import note_halt

    profile = load_settings(environ={}).profile
    engine = FlowEngine(profile, load_sessions(profile.calendar))
    framer = Framer(engine.state.ring, 3, ts_out=False, offset=0, name="warm-up")
    open_ns = int(engine.sessions.open_ns[0]) + SECOND_NS
    for ts_ns in (open_ns, open_ns + 400 * SECOND_NS):
        times_ns = ts_ns, ts_ns + 1
        head = (MBO_BYTES // 4, RTYPE_MBO, 1, 1, times_ns[0], 1, SECOND_NS, 1, 128, 0)
        trade = struct.pack("<BBHIQQqIBBBBQiI", *head, ord("T"), ord("B"), times_ns[1], 0, 1)
        engine.feed(framer, trade)
    note_halt(engine.state.flow, 0, open_ns, 0, UNDEF_PRICE, UNDEF_PRICE)
    engine.tick(open_ns + 401 * SECOND_NS)
    engine.flush()


@warms("score")
def _score() -> None:
    """Judge one window by itself."""
    from ifd_fast.config import load_settings
    from ifd_fast.scores import profile_row, score_one, unknown_expected
    from ifd_kernels.layout import KIND_CALL

    row = profile_row(load_settings(environ={}).profile)
    score_one(row, unknown_expected(1), bid_volume=1, ask_volume=9, trades=5, kind=KIND_CALL)


@warms("rescoring")
def _rescore() -> None:
    """Score a session of one hand-over again, for ranks, for the null line and for signals."""
    from ifd_fast.config import load_settings
    from ifd_fast.handovers import allocate_tally, rescore
    from ifd_fast.scores import allocate_score, set_expected, unknown_expected
    from ifd_kernels.layout import IDENTITY, SECOND_NS
    from ifd_kernels.rescoring import FOR_SIGNALS, HANDOVER

    score = allocate_score(load_settings(environ={}).profile, 1)
    identities, rows = np.zeros(1, IDENTITY), np.zeros(1, HANDOVER)
    identities["twin_slot"], rows["instant_ns"] = -1, SECOND_NS
    set_expected(score, unknown_expected(1), identities)
    rescore(
        score,
        identities,
        rows,
        first_ns=0,
        stop_ns=SECOND_NS,
        purpose=FOR_SIGNALS,
        tally=allocate_tally(1),
    )


@warms("live")
def _drop_again() -> None:
    """Drop the one record of a connection that the one before it delivered."""
    from ifd_fast.gateway_records import encode_live_header
    from ifd_fast.latencies import Latency
    from ifd_fast.live_duplicates import DuplicateFilter
    from ifd_kernels.layout import MBO_BYTES, RTYPE_MBO

    Latency().describe()
    head = encode_live_header("GLBX.MDP3", 0, ts_out=False)
    record = np.zeros(MBO_BYTES, np.uint8)
    record[:2] = MBO_BYTES // 4, RTYPE_MBO
    sent = np.frombuffer(bytearray(head + record.tobytes()), np.uint8)
    DuplicateFilter.of_connections([[sent]], 0).keep(record)


@warms("digest")
def _digest() -> None:
    """Digest a number and a text."""
    import polars as pl

    from ifd_fast.digests import RowDigest

    RowDigest().update(pl.DataFrame({"number": [1], "text": ["ESH4"]}))


@warms("simulator")
def _simulate() -> None:
    """Simulate the beginning of a session whose trades come as they come."""
    _simulate_records("session", _RECORDS_SIMULATED)


@warms("planner")
def _simulate_planned() -> None:
    """Simulate the beginning of a session whose trades are planned ahead."""
    _simulate_records("evaluation", _RECORDS_PLANNED)


def _simulate_records(world: str, records: int) -> None:
    from ifd_fast.calendar import load_sessions
    from ifd_fast.simulation import Simulation
    from ifd_fast.world import load_world

    for _ in Simulation(load_world(world), 1, load_sessions()[0], records=records):
        pass
