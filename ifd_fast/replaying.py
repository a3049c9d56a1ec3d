"""Replay: DBN files to window rows and signals, by the very code that runs live.

`replay` drives one engine over one stream of files. Frames leave it as they are found, to files
or to memory; at the end `ReplayResult` says what was read, applied and skipped, exactly.
"""

from __future__ import annotations

from functools import partial
from typing import TYPE_CHECKING, Any, Final, Generic, Protocol, TypeVar

from ifd_fast.accounts import count_engine, count_stream, sum_streams
from ifd_fast.calendar import load_sessions
from ifd_fast.collecting import Collector, ReplayResult
from ifd_fast.config import Settings, load_settings
from ifd_fast.definitions import check_definitions_day, decode_definitions
from ifd_fast.desks import RecordDesk, count_types
from ifd_fast.draining import Drain
from ifd_fast.engine import FlowEngine
from ifd_fast.framing import Framer, allocate_ring
from ifd_fast.histories import StoreHistory
from ifd_fast.observing import observe
from ifd_fast.outputs import RunFolder
from ifd_fast.recordings import FileHasher
from ifd_fast.statuses import schedule_statuses
from ifd_fast.streams import MARKET_SCHEMAS, open_stream
from ifd_kernels.layout import RTYPE_DEFINITION, RTYPE_STATUS

if TYPE_CHECKING:
    import os
    from collections.abc import Callable, Iterator, Sequence
    from pathlib import Path

    import polars as pl

    from ifd_fast.framing import Handed
    from ifd_fast.histories import History
    from ifd_fast.sources import Source

__all__ = ["Player", "Progress", "make_engine", "replay"]

# How far beyond its last record a file's header is believed about its end: a file that was cut
# between two records looks whole otherwise.
_SILENCE_NS: Final = 60_000_000_000


class Progress(Protocol):
    """Who shows how far a replay is."""

    def __call__(self, bytes_read: int, bytes_total: int, records: int) -> None:
        """Take the bytes of all files read so far, of how many, and the events applied."""


def replay(
    source: object | Sequence[object],
    *,
    definitions: Sequence[object] = (),
    profile: str | os.PathLike[str] | None = None,
    baselines: str | Path | None = None,
    window_s: int | None = None,
    window_step_s: int | None = None,
    out: str | Path | None = None,
    progress: Progress | None = None,
    on_signals: Callable[[pl.DataFrame], object] | None = None,
) -> ReplayResult:
    """Replay DBN files, given together as one stream, to window rows and signals.

    Parameters
    ----------
    source
        A path, a `databento.DBNStore`, or a sequence of them, in any order: of schema mbo or a
        live mix, with those of schema definition or status for the same days among them.
    definitions
        Files of schema definition for the same days.
    profile
        A packaged profile's name or a file; None: `IFD_PROFILE`, else `ifd_v3_production`.
    baselines
        A baseline store; each session is scored against the sessions before it. None: no
        history, so that only windows and ungraded candidates come out.
    window_s, window_step_s
        Length and step of the reported windows; None: the profile's. Baselines always use
        tumbling windows of 300 s.
    out
        A folder for windows.parquet, signals.parquet, facts.parquet, handovers.parquet,
        instruments.parquet, session.json and summary.txt. None: frames stay in memory.
    progress
        Called after each chunk.
    on_signals
        Called with the new signals of a chunk, a frame of `signals.SIGNAL_SCHEMA`, as they come.

    Raises
    ------
    DataError, UsageError, ConfigError
        A file, an argument or a setting can't be used; no output is written.
    """
    files = list(source) if isinstance(source, (list, tuple)) else [source]
    settings = load_settings(profile, {"window_s": window_s, "window_step_s": window_step_s})
    history = None if baselines is None else StoreHistory(baselines, settings.profile)
    engine = make_engine(settings, history)
    sources = open_stream(files, definitions)
    try:
        if out is None:
            player = Player(engine, Collector(engine))
            player.drain.on_signals = on_signals
            return player.run(sources, settings, progress)
        digests = {
            "ifd.config_digest": settings.digest,
            "ifd.rules_digest": settings.profile.rules_digest,
        }
        with RunFolder(out, digests) as folder, FileHasher(one.name for one in sources) as hasher:
            player = Player(engine, Collector(engine, folder))
            player.drain.on_signals = on_signals
            return player.run(sources, settings, progress, hasher)
    finally:
        for one in sources:
            one.close()


def make_engine(settings: Settings, history: History | None) -> FlowEngine:
    """Return an engine with the settings' sessions."""
    sessions = load_sessions(settings.profile.calendar)
    return FlowEngine(settings.profile, sessions, history=history)


Taker = TypeVar("Taker", bound=Drain)


class Player(Generic[Taker]):
    """Plays files, one stream, into an engine; what it finds goes to a drain, such as a collector.

    Definitions from files of definitions that were received at `ignore_from_ns` or later are not
    looked at; None: all are.
    """

    def __init__(self, engine: FlowEngine, drain: Taker, ignore_from_ns: int | None = None) -> None:
        """Begin with nothing played."""
        self.engine = engine
        self.drain = drain
        self.ignore_from_ns = ignore_from_ns
        self.streams: list[dict[str, Any]] = []
        self.handed: dict[str, int] = {}
        self.observed_to_ns = -1  # the stream is whole up to here
        self._ends_ns = -1  # what the file at hand says of its own end, unless it was cut short

    def run(
        self: Player[Collector],
        sources: Sequence[Source],
        settings: Settings,
        progress: Progress | None = None,
        hasher: FileHasher | None = None,
    ) -> ReplayResult:
        """Play all sources in order, close what is open, and report."""
        total = sum(source.bytes_total for source in sources)
        for done in self.play(sources):
            if progress is not None:
                progress(done, total, int(self.engine.state.actions.sum()))
        self.close()
        digests = {} if hasher is None else hasher.digests()
        for stream in self.streams:
            stream["sha256"] = digests.get(stream["name"])
        counts = {
            **sum_streams(self.streams),
            "handed_by_type": self.handed,
            **count_engine(self.engine),
        }
        return self.drain.finish(settings, self.streams, counts, self.observed_to_ns)

    def play(self, sources: Sequence[Source]) -> Iterator[int]:
        """Play all sources in order; yield after each chunk the bytes read so far, as stored."""
        done = 0
        for source in sources:
            is_market = source.metadata.schema in MARKET_SCHEMAS
            for _ in self._play(source) if is_market else self._read_beside(source, sources):
                yield done + source.bytes_read
            done += source.bytes_total

    def close(self) -> None:
        """Close what is open, and let go of the engine's callers."""
        self.engine.flush()
        self.drain.drain(self.observed_to_ns)
        self.engine.release()

    def _play(self, source: Source) -> Any:
        """Feed one file of market data; yield after each chunk."""
        engine, desk = self.engine, RecordDesk(source.header.version)
        framer = self._framer(source, engine.state.ring)
        self._observe(source)
        engine.on_records = lambda records: desk.take(engine, records)
        for chunk in source.chunks():
            engine.feed(framer, chunk)
            self.drain.drain_when_full()
            yield
        framer.finish()
        ends_ns = min(self._ends_ns, engine.watermark_ns + _SILENCE_NS)
        self.observed_to_ns = max(self.observed_to_ns, ends_ns, engine.watermark_ns)
        self.streams.append(count_stream(source.name, framer))
        self._add_handed(desk.counts)

    def _read_beside(self, source: Source, sources: Sequence[Source]) -> Any:
        """Take a file of definitions or trading states whole, before the market data of its day."""
        ring = allocate_ring(1024)
        framer = self._framer(source, ring)
        records: list[Handed] = []
        for chunk in source.chunks():
            for handed in framer.frames(chunk):
                ring.cursor[:] = ring.cursor.max()  # market data in here is nobody's
                records.extend(handed)
            yield
        framer.finish()
        wanted = [one.data for one in records if one.rtype == RTYPE_DEFINITION]
        states = [one for one in records if one.rtype == RTYPE_STATUS]
        market = [one.metadata for one in sources if one.metadata.schema in MARKET_SCHEMAS]
        start_ns = min(one.start_ns for one in market)
        end_ns = max(one.start_ns if one.end_ns is None else one.end_ns for one in market)
        decoded = decode_definitions(wanted, source.header.version)
        found = check_definitions_day(decoded, start_ns, end_ns, source.name)
        if self.ignore_from_ns is not None:
            found = [one for one in found if one.ts_recv_ns < self.ignore_from_ns]
        instruments = self.engine.instruments
        for waiting in instruments.add_definitions(found, start_ns):
            take = partial(instruments.add_definition, waiting, waiting.ts_recv_ns)
            self.engine.schedule(waiting.ts_recv_ns, take)
        self.engine.use_slots()
        desk, days_ns = RecordDesk(source.header.version), (start_ns, end_ns)
        schedule_statuses(self.engine, desk, states, days_ns, source.name)
        self.streams.append(count_stream(source.name, framer))
        self._add_handed(count_types(records))

    def _observe(self, source: Source) -> None:
        """Take from the header what the stream covers, and what its ids mean."""
        metadata, engine = source.metadata, self.engine
        if metadata.schema is None:
            return
        if 0 <= self.observed_to_ns < metadata.start_ns:
            self.drain.gaps_ns.append((self.observed_to_ns, metadata.start_ns))
        self._ends_ns = -1 if metadata.limit is not None else metadata.end_ns or -1
        observe(engine, metadata)

    def _framer(self, source: Source, ring: Any) -> Framer:
        header = source.header
        return Framer(
            ring,
            header.version,
            ts_out=header.ts_out,
            offset=len(header.data),
            name=source.name,
        )

    def _add_handed(self, counts: dict[str, int]) -> None:
        for name, count in counts.items():
            self.handed[name] = self.handed.get(name, 0) + count
