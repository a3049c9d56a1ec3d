"""A live session's record, replayed: the very rows the session had, from its bytes and journal."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING

from ifd_fast.collecting import Collector, ReplayResult
from ifd_fast.config import load_settings
from ifd_fast.errors import DataError
from ifd_fast.histories import StoreHistory
from ifd_fast.live_feed import LiveFeed, stream_name
from ifd_fast.outputs import RunFolder
from ifd_fast.record_files import connection_file
from ifd_fast.record_reader import RecordReader
from ifd_fast.recordings import digest_file
from ifd_fast.repair_files import RepairFiles
from ifd_fast.replaying import make_engine
from ifd_fast.session_record import EntryKind

if TYPE_CHECKING:
    import os
    from collections.abc import Callable, Iterator
    from typing import Any

    import numpy as np
    import polars as pl
    from numpy.typing import NDArray

    from ifd_fast.config import Settings
    from ifd_fast.draining import Drain
    from ifd_fast.engine import FlowEngine
    from ifd_fast.replaying import Progress
    from ifd_fast.session_record import Entry
    from ifd_fast.taking import Taker

__all__ = ["RecordPlayer", "play_record", "player_of", "replay_record"]


def replay_record(
    record: Path,
    *,
    profile: str | os.PathLike[str] | None = None,
    baselines: str | Path | None = None,
    out: str | Path | None = None,
    progress: Progress | None = None,
    on_signals: Callable[[pl.DataFrame], object] | None = None,
) -> ReplayResult:
    """Replay the record in a folder; arguments and result are those of `replaying.replay`.

    History that repairs brought is played in the gaps' places.

    Raises
    ------
    DataError
        The record, or a repair of it, is not as it was written.
    """
    reader = RecordReader(record)
    reader.verify()
    settings = load_settings(profile)
    history = None if baselines is None else StoreHistory(baselines, settings.profile)
    engine = make_engine(settings, history)
    if out is None:
        return _collect(reader, settings, engine, Collector(engine), progress, on_signals)
    digests = {
        "ifd.config_digest": settings.digest,
        "ifd.rules_digest": settings.profile.rules_digest,
    }
    with RunFolder(out, digests) as folder:
        drain = Collector(engine, folder)
        return _collect(reader, settings, engine, drain, progress, on_signals)


class RecordPlayer:
    """Plays a record into an engine, its journal's entries at their offsets."""

    def __init__(
        self,
        reader: RecordReader,
        engine: FlowEngine,
        drain: Taker,
        feed: LiveFeed | None = None,
    ) -> None:
        """Begin before the first connection; `feed`: of a session that goes on afterwards."""
        self.reader = reader
        self.engine = engine
        self.drain = drain
        self.feed = LiveFeed(engine, drain, reader.chunks) if feed is None else feed
        self.repairs: list[dict[str, Any]] = []  # gaps that were filled, and by what
        self._acted = 0  # entries of the journal
        self._connection = 0
        self._offset = 0
        self._chunks: Iterator[NDArray[np.uint8]] = iter(())
        self._rest: NDArray[np.uint8] | None = None
        self._broken = False  # what a connection sends after it can't be framed is nobody's

    @property
    def left_bytes(self) -> int:
        """Bytes of the record that are not played yet."""
        ends = self.reader.ends
        played = sum(end for number, end in ends.items() if number < self._connection)
        return sum(ends.values()) - played - self._offset

    def play(self) -> Iterator[int]:
        """Play all of it; yield after each step how many bytes were taken."""
        yield from self.follow()
        self.feed.end()

    def follow(self) -> Iterator[int]:
        """Play what the record has by now, and leave everything open for what comes next."""
        while self._acted < len(self.reader.entries):
            entry = self.reader.entries[self._acted]
            if entry.kind is EntryKind.CONNECTION_BEGIN:
                yield from self._play_rest()  # nobody could write the end of one: power was lost
            else:
                yield from self._play_up_to(entry.offset)
            self._act(entry)
            self._acted += 1
        yield from self._play_rest()

    def _act(self, entry: Entry) -> None:
        payload = entry.payload
        if entry.kind is EntryKind.CONNECTION_BEGIN:
            self._connection, self._offset, self._broken = entry.connection, 0, False
            self._chunks, self._rest = iter(()), None
            skip_from_ns = payload["skip_from_ns"]
            self.feed.begin(
                entry.connection,
                snapshot=bool(payload["snapshot"]),
                skip_from_ns=None if skip_from_ns is None else int(str(skip_from_ns)),
            )
        elif entry.kind is EntryKind.TICK:
            self.engine.tick(int(str(payload["ts_ns"])))
        elif entry.kind is EntryKind.GAP:
            self.feed.close_gap(int(str(payload["end_ns"])))

    def _play_rest(self) -> Iterator[int]:
        yield from self._play_up_to(self.reader.ends.get(self._connection, 0))

    def _play_up_to(self, offset: int) -> Iterator[int]:
        while self._offset < offset:
            if self._rest is None or not len(self._rest):
                self._rest = next(self._chunks, None)
            if self._rest is None:  # it has grown since, or nothing of it was read yet
                self._chunks = self.reader.chunks(self._connection, self._offset)
                self._rest = next(self._chunks, None)
            if self._rest is None:
                raise DataError(
                    f"{connection_file(self.reader.folder, self._connection)}: ends at byte "
                    f"{self._offset:,}, but the journal has an entry at {offset:,}."
                )
            step = min(len(self._rest), offset - self._offset)
            self._take(self._rest[:step])
            self._rest = self._rest[step:]
            self._offset += step
            yield step

    def _take(self, data: NDArray[np.uint8]) -> None:
        if self._broken:
            return
        try:
            self.feed.feed(data)
        except DataError:  # live lost the connection there, too
            self._broken = True


def _collect(
    reader: RecordReader,
    settings: Settings,
    engine: FlowEngine,
    drain: Collector,
    progress: Progress | None,
    on_signals: Callable[[pl.DataFrame], object] | None,
) -> ReplayResult:
    drain.on_signals = on_signals
    player, observed_to_ns = play_record(reader, engine, drain, progress)
    drain.record, drain.repairs = str(reader.folder), player.repairs
    streams = player.feed.streams
    paths = {stream_name(one): connection_file(reader.folder, one) for one in reader.ends}
    for stream in streams:
        path = paths.get(stream["name"], Path(stream["name"]))
        stream["name"], stream["sha256"] = str(path), digest_file(path)
    return drain.finish(settings, streams, player.feed.account(), observed_to_ns)


def play_record(
    reader: RecordReader, engine: FlowEngine, drain: Drain, progress: Progress | None = None
) -> tuple[RecordPlayer, int]:
    """Play a whole record and close what is open; return its player, and up to where it was seen.

    Raises DataError if the record, or a repair of it, is not as it was written.
    """
    player, done, total = player_of(reader, engine, drain), 0, sum(reader.ends.values())
    for step in player.play():
        done += step
        drain.drain_when_full()
        if progress is not None:
            progress(done, total, int(engine.state.actions.sum()))
    observed_to_ns = engine.watermark_ns
    engine.flush()
    drain.drain(observed_to_ns)
    engine.release()
    return player, observed_to_ns


def player_of(reader: RecordReader, engine: FlowEngine, drain: Drain) -> RecordPlayer:
    """Return what plays a record, with its repairs if it has any."""
    from ifd_fast.repaired_replay import RepairedPlayer  # which is a player of this module

    files = RepairFiles(reader.folder)
    files.verify()
    if not files.repairs:
        return RecordPlayer(reader, engine, drain)
    return RepairedPlayer(reader, engine, drain, files)
