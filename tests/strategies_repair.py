"""A session on disk with a gap in it, and the history that fills it: what repair's tests share."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path
from typing import NamedTuple

import databento_dbn as dbn
import numpy as np
from numpy.typing import NDArray

from ifd_fast.draining import Drain
from ifd_fast.gateway_snapshot import snapshot_records
from ifd_fast.gateway_tape import Part, Tape
from ifd_fast.live_feed import LiveFeed
from ifd_fast.record_files import RecordFiles, encode_entry
from ifd_fast.replaying import make_engine
from ifd_fast.session_record import EntryKind, Json, MemoryRecord
from tests.gateway_client import START_NS, order_events
from tests.strategies_interface import (
    CALL,
    FUTURE,
    OPEN,
    PUT,
    SECOND,
    SMALL,
    definitions,
)
from tests.test_live_session import live_header, message, settings

__all__ = [
    "Begin",
    "Session",
    "history",
    "late_events",
    "session_events",
    "small_profile",
    "write_record",
]

IDS = np.array([FUTURE, CALL, PUT], np.uint32)
PIECE = 777  # bytes received at once


class Begin(NamedTuple):
    """One connection: events [start, stop) of the market, behind a snapshot or a replay."""

    start: int
    stop: int
    replay_from_ns: int | None = None  # None: it joins with a snapshot at `start`
    cut_bytes: int = 0  # of the record behind them, which came in part
    tick_ns: int = -1  # a heartbeat before the first of them moves event time there; -1: none


def session_events(
    count: int, seed: int = 1, tie_ns: int = 2 * SECOND, ids: NDArray[np.uint32] = IDS
) -> NDArray[np.void]:
    """Return events of a future and two options from an hour behind the open on, many at a time.

    Sequence numbers say little, so that some records are alike in all that is said of the market.
    """
    events = order_events(count, seed, len(ids), step_ns=5 * SECOND)
    times = events["ts_event"] - START_NS + OPEN + 3600 * SECOND
    events["ts_event"] = times // tie_ns * tie_ns
    events["ts_recv"] = events["ts_event"] + 1000
    events["instrument_id"] = ids[events["instrument_id"] - 1]
    events["sequence"] //= 8
    # A clear is a gap of its own to the windows: here it would hide the one that matters.
    cleared = events["action"] == ord("R")
    events["action"][cleared], events["price"][cleared] = ord("T"), 250_000_000
    asks = events["side"] == ord("A")  # of orders and prices of their own: no book is crossed
    events["price"][asks] += 1_000_000_000
    events["order_id"][asks] += 100
    return events


def small_profile(folder: Path) -> Path:
    """Return a profile with everything at its smallest."""
    path = folder / "small.toml"
    path.write_text(SMALL)
    return path


class Session:
    """A live session over connections of one market, recorded as `LiveSession` would.

    Attributes
    ----------
    events
        The market.
    record
        What was recorded.
    """

    def __init__(self, events: NDArray[np.void], connections: Sequence[Begin]) -> None:
        """Run it."""
        self.events = events
        self._ids = np.unique(events["instrument_id"]).tolist()
        rows = events.view(np.uint8).reshape(-1, 56)
        self._tape = Tape("GLBX.MDP3", [Part("mbo", rows)], [])
        self.record = MemoryRecord()
        self.engine = make_engine(settings(), None)
        self._drain = Drain(self.engine, lambda *_: None)
        self._feed = LiveFeed(self.engine, self._drain, self.record.recorded)
        for one in connections:
            self._connect(one)

    def write(self, folder: Path) -> Path:
        """Write the record to the disk; return its folder."""
        return write_record(self.record, folder)

    def snapshot(self, place: int) -> bytes:
        """Return the snapshot of all instruments before an event."""
        now_ns = int(self.events["ts_recv"][min(place, len(self.events) - 1)])
        return snapshot_records(self._tape, (place,), self._ids, now_ns).tobytes()

    def _connect(self, one: Begin) -> None:
        is_new = one.replay_from_ns is None
        self.record.begin_connection(
            start_ns=one.replay_from_ns, snapshot=is_new, skip_from_ns=one.replay_from_ns
        )
        asked: dict[str, Json] = {"dataset": "GLBX.MDP3", "symbols": ["NQ.FUT", "NQ.OPT"]}
        self.record.note(EntryKind.NOTE, asked)
        self._feed.begin(self.record.position[0], snapshot=is_new, skip_from_ns=one.replay_from_ns)
        data = live_header() + definitions()
        sent = self.events[one.start : one.stop]
        if is_new:
            data += self.snapshot(one.start)
        if one.tick_ns >= 0:
            self._receive(data)
            self.record.note(EntryKind.TICK, {"ts_ns": one.tick_ns})
            self.engine.tick(one.tick_ns)
            data = message(0x17, 0, "Heartbeat")
        if one.replay_from_ns is not None:
            sent = self.events[: one.stop]
            sent = sent[sent["ts_event"] >= one.replay_from_ns]
        data += sent.tobytes()
        if not is_new:
            data += message(0x17, 3, "Finished mbo replay")
        data += self.events[one.stop : one.stop + 1].tobytes()[: one.cut_bytes]
        for start in range(0, len(data), PIECE):
            self._receive(data[start : start + PIECE])
        self.record.end_connection("eof")

    def _receive(self, data: bytes) -> None:
        self.record.space()[: len(data)] = data
        self._feed.feed(self.record.received(len(data)))
        start_ns, watermark_ns = self._feed.gap_start_ns, self.engine.watermark_ns
        if 0 <= start_ns < watermark_ns:
            end_ns = max(watermark_ns, self._feed.joined_ns)
            self.record.note(EntryKind.GAP, {"start_ns": start_ns, "end_ns": end_ns})
            self._feed.close_gap(end_ns)


def write_record(record: MemoryRecord, folder: Path) -> Path:
    """Write a record to the disk; return its folder."""
    files = RecordFiles(folder)
    for entry in record.entries:
        files.append_entry(encode_entry(entry))
    for number in range(1, record.position[0] + 1):
        for piece in record.recorded(number):
            files.append(number, piece)
    files.sync()
    files.close()
    return folder


def late_events(events: NDArray[np.void], delay_ns: int) -> NDArray[np.void]:
    """Return the events as another capture has them: each received so much later."""
    other = events.copy()
    other["ts_recv"] += np.uint64(delay_ns)
    other["ts_in_delta"] = 77
    return other


def history(
    events: NDArray[np.void],
    start_ns: int,
    end_ns: int,
    schema: str = "mbo",
    beside: Sequence[bytes] = (),
    version: int = 3,
) -> bytes:
    """Return what history has of [start, end), by ts_recv; `beside` holds its other schemas."""
    metadata = dbn.Metadata(
        dataset="GLBX.MDP3",
        start=start_ns,
        end=end_ns,
        stype_in=dbn.SType.from_str("parent"),
        stype_out=dbn.SType.from_str("instrument_id"),
        schema=dbn.Schema.from_str(schema),
        version=version,
    )
    head = bytes(metadata)
    if schema == "mbo":
        mine = (events["ts_recv"] >= start_ns) & (events["ts_recv"] < end_ns)
        return head + events[mine].tobytes()
    wanted = 0x13 if schema == "definition" else 0x12
    times = [int.from_bytes(one[16:24], "little") for one in beside]
    found = [
        one
        for one, ts_ns in zip(beside, times, strict=True)
        if start_ns <= ts_ns < end_ns and one[1] == wanted
    ]
    return head + b"".join(found)
