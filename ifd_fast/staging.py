"""One simulated session through the real engine, in memory: bytes to signals and hand-overs.

No file lies between the simulator and the engine, but every byte does: header, definitions and
records are those a DBN file would have.
"""

from __future__ import annotations

import datetime as dt
import time
from typing import TYPE_CHECKING, Any, NamedTuple

from ifd_fast.accounts import count_engine, count_stream, sum_streams
from ifd_fast.calendar import load_sessions
from ifd_fast.collecting import Collector
from ifd_fast.desks import RecordDesk
from ifd_fast.engine import FlowEngine
from ifd_fast.errors import TruncatedError
from ifd_fast.framing import Framer
from ifd_fast.header import Header, HeaderReader
from ifd_fast.observing import observe
from ifd_fast.sources import decode_metadata

if TYPE_CHECKING:
    from collections.abc import Callable, Iterable

    from ifd_fast.baseline_estimates import Arrays
    from ifd_fast.collecting import ReplayResult
    from ifd_fast.config import Settings
    from ifd_fast.truth import Truth
    from ifd_fast.world import World

__all__ = [
    "FixedHistory",
    "Played",
    "Staged",
    "play_session",
    "read_header",
    "stage_session",
]


class Staged(NamedTuple):
    """A session ready to be played; `chunks` can be walked once."""

    header: bytes
    definitions: bytes
    chunks: Iterable[Any]
    end_ns: int


class Played(NamedTuple):
    """What the engine found in one session."""

    result: ReplayResult
    seconds: float
    records: int


class FixedHistory:
    """The same baselines for whatever session asks: all sessions played are "the 21st"."""

    def __init__(self, arrays: Arrays | None) -> None:
        """Answer with `arrays`; None: no history."""
        self.arrays = arrays
        self.digests: dict[str, str] = {}
        self.rankings: dict[str, dict[str, Any]] = {}

    def arrays_for(self, trade_date: dt.date) -> Arrays | None:
        """Return the baselines."""
        if self.arrays is not None:
            self.digests[trade_date.isoformat()] = self.arrays.digest
        return self.arrays


def play_session(staged: Staged, settings: Settings, history: Any, folder: Any = None) -> Played:
    """Play one session and return what came of it; frames go to `folder` if it is given."""
    began = time.perf_counter()
    profile = settings.profile
    engine = FlowEngine(profile, load_sessions(profile.calendar), history=history)
    collector = Collector(engine, folder)
    header, _ = read_header(staged.header)
    desk = RecordDesk(header.version)
    engine.on_records = lambda records: desk.take(engine, records)
    observe(engine, decode_metadata(header, "simulated"))
    framer = Framer(
        engine.state.ring, header.version, ts_out=header.ts_out, offset=len(header.data)
    )
    engine.feed(framer, staged.definitions)
    for chunk in staged.chunks:
        engine.feed(framer, memoryview(chunk).cast("B"))
        collector.drain_when_full()
    framer.finish()
    engine.flush()
    collector.drain(staged.end_ns)
    engine.release()
    streams = [count_stream("simulated", framer)]
    counts = {
        **sum_streams(streams),
        "handed_by_type": dict(desk.counts),
        **count_engine(engine),
    }
    result = collector.finish(settings, streams, counts, staged.end_ns)
    return Played(result, time.perf_counter() - began, counts["records"])


def stage_session(
    world: World,
    seed: int,
    trade_date: dt.date,
    plants: int,
    negatives: int,
    *,
    mirror: str | None = None,
) -> tuple[Staged, Callable[[], Truth]]:
    """Return a simulated session, and what gives its truth once all chunks are taken."""
    from ifd_fast.simulated_sessions import SimulatedSession

    session = SimulatedSession(
        world, seed, trade_date, plants=plants, negatives=negatives, mirror=mirror
    )
    chunks = session.mbo_chunks()
    definitions = session.definition_bytes()
    _, taken = read_header(definitions)
    staged = Staged(next(chunks), definitions[taken:], chunks, session.end_ns)
    return staged, session.truth


def read_header(data: bytes) -> tuple[Header, int]:
    """Return the header that `data` begins with, and its length.

    Raises
    ------
    TruncatedError
        If it is not whole.
    """
    reader = HeaderReader("simulated")
    header, taken = reader.feed(data)
    if header is None:
        reader.finish()
        raise TruncatedError("simulated: the header is not whole.")
    return header, taken
