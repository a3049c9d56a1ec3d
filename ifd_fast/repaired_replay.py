"""The replay of a repaired record: history of each repaired gap is played where the tape broke."""

from __future__ import annotations

from functools import partial
from typing import TYPE_CHECKING, Final

import numpy as np

from ifd_fast.accounts import count_stream
from ifd_fast.definitions import decode_definitions, decode_status
from ifd_fast.desks import RecordDesk, count_types
from ifd_fast.errors import TruncatedError
from ifd_fast.framing import Framer, allocate_ring
from ifd_fast.header import HeaderReader
from ifd_fast.history_bridge import Bridge, snapshot_filter
from ifd_fast.record_gaps import find_gaps
from ifd_fast.record_replay import RecordPlayer
from ifd_fast.session_record import EntryKind
from ifd_fast.sources import open_source
from ifd_fast.statuses import schedule_statuses
from ifd_kernels.layout import MBO_BYTES

if TYPE_CHECKING:
    from pathlib import Path

    from numpy.typing import NDArray

    from ifd_fast.draining import Drain
    from ifd_fast.engine import FlowEngine
    from ifd_fast.framing import Handed
    from ifd_fast.header import Header
    from ifd_fast.live_duplicates import DuplicateFilter
    from ifd_fast.record_gaps import Gap
    from ifd_fast.record_reader import RecordReader
    from ifd_fast.repair_files import Repair, RepairFiles
    from ifd_fast.session_record import Entry

__all__ = ["RepairedPlayer", "map_history"]

_RING_EVENTS: Final = 1024


class RepairedPlayer(RecordPlayer):
    """Plays a record as `RecordPlayer` does, and history of its repaired gaps in their places.

    A repaired gap is none of the drain's; its windows are marked by `drain.repaired_ns`.
    """

    def __init__(
        self, reader: RecordReader, engine: FlowEngine, drain: Drain, files: RepairFiles
    ) -> None:
        """Begin before the first connection; `files` were verified."""
        super().__init__(reader, engine, drain)
        self.files = files
        gaps = [gap for gap in find_gaps(reader) if gap.number in files.repairs]
        self._gaps = {gap.joins[0]: gap for gap in gaps}
        self._joins = {join: gap for gap in gaps for join in gap.joins}
        self._snapshot: DuplicateFilter | None = None
        self._header: HeaderReader | None = None

    def _act(self, entry: Entry) -> None:
        gap = self._joins.get(entry.connection)
        if gap is not None and entry.kind is EntryKind.GAP and entry.connection == gap.number:
            return
        begins = entry.kind is EntryKind.CONNECTION_BEGIN
        if begins and entry.connection in self._gaps:
            self._play_history(self._gaps[entry.connection])
        super()._act(entry)
        if not begins:
            return
        self._snapshot = self._header = None
        if gap is not None:
            self.feed.drop_gap()
            whole = entry.connection != gap.number
            self._snapshot = snapshot_filter(self.reader, entry.connection, whole=whole)
            self._header = HeaderReader("live stream")

    def _take(self, data: NDArray[np.uint8]) -> None:
        """Feed what a connection brings, without the snapshot it began with behind a gap."""
        if self._snapshot is None:
            super()._take(data)
            return
        if self._header is not None:
            header, taken = self._header.feed(data)
            super()._take(data[:taken])
            if header is None:
                return
            self._header, data = None, data[taken:]
        kept = self._snapshot.keep(data)
        if self._snapshot.is_done:
            self._snapshot = None
        if len(kept):
            super()._take(kept)

    def _play_history(self, gap: Gap) -> None:
        self.feed.end()  # of the connection before
        repair = self.files.repairs[gap.number]
        self.drain.repaired_ns.append((gap.start_ns, gap.end_ns))
        self._schedule(gap, repair)
        path = self.files.path(gap.number, "mbo")
        header, records = map_history(path)
        bridge = Bridge(self.reader, gap, (header.data, records), repair.from_ns)
        framer = Framer(
            self.engine.state.ring, header.version, offset=len(header.data), name=str(path)
        )
        self.engine.on_records = None
        for piece in bridge.play():
            self.engine.feed(framer, piece)
            self.drain.drain_when_full()
        self.feed.streams.append(count_stream(str(path), framer))
        self.repairs.append(
            {
                "connection": gap.number,
                "start_ns": gap.start_ns,
                "end_ns": gap.end_ns,
                **bridge.counts,
            }
        )

    def _schedule(self, gap: Gap, repair: Repair) -> None:
        """Have definitions and trading states of the gap act where they were received."""
        engine = self.engine
        for schema in ("definition", "status"):
            path = self.files.path(gap.number, schema)
            header, records = self._read(path)
            if schema == "definition":
                found = decode_definitions([one.data for one in records], header.version)
                for one in found:
                    if one.ts_recv_ns > gap.start_ns:
                        take = partial(engine.instruments.add_definition, one, one.ts_recv_ns)
                        engine.schedule(one.ts_recv_ns, take)
                continue
            states = [one for one in records if _is_between(one, gap)]
            desk = RecordDesk(header.version)
            schedule_statuses(engine, desk, states, (repair.from_ns, gap.end_ns), str(path))

    def _read(self, path: Path) -> tuple[Header, list[Handed]]:
        """Return the records of a file that holds no market data."""
        records: list[Handed] = []
        with open_source(path) as source:
            ring = allocate_ring(_RING_EVENTS)
            header = source.header
            framer = Framer(ring, header.version, offset=len(header.data), name=str(path))
            for chunk in source.chunks():
                for handed in framer.frames(chunk):
                    ring.cursor[:] = ring.cursor.max()  # market data in here is nobody's
                    records.extend(handed)
            framer.finish()
        self.feed.streams.append(count_stream(str(path), framer))
        self.feed.add_handed(count_types(records))
        return header, records


def map_history(path: Path) -> tuple[Header, NDArray[np.uint8]]:
    """Return the header of a DBN file of MBO, and its records (n, 56), which stay on the disk.

    Raises TruncatedError if the file ends inside one.
    """
    with open_source(path) as source:
        header = source.header
    size = path.stat().st_size - len(header.data)
    if size % MBO_BYTES:
        raise TruncatedError(f"{path}: ends inside a record, {size % MBO_BYTES} bytes of it.")
    if not size:
        return header, np.zeros((0, MBO_BYTES), np.uint8)
    mapped: NDArray[np.uint8] = np.memmap(path, np.uint8, "r", len(header.data), (size,))
    return header, mapped.reshape(-1, MBO_BYTES)


def _is_between(one: Handed, gap: Gap) -> bool:
    """Say whether a trading state is the gap's: what came behind it is the connection's own."""
    return gap.start_ns < decode_status(one.data).ts_recv_ns <= max(gap.end_ns, gap.joined_ns)
