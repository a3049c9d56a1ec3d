"""Marks in a session's record: from a mark on, all that was delivered is found, and nothing else.

Goal: a reconnect that reads a record's end finds what one that reads all of it finds. Method:
streams with records ahead of their receipt, of snapshots and refused ones, over connections that
replay, fed through the engine itself; then both ways of looking, for many seconds.
"""

from __future__ import annotations

from collections.abc import Iterator

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from numpy.typing import NDArray

from ifd_fast.calendar import load_sessions
from ifd_fast.config import load_settings
from ifd_fast.draining import Drain
from ifd_fast.engine import FlowEngine
from ifd_fast.live_duplicates import delivered_since
from ifd_fast.live_feed import LiveFeed
from ifd_kernels.layout import SECOND_NS
from tests.strategies_wire import header, mbo

pytestmark = pytest.mark.jit

PROFILE = load_settings(environ={}).profile
SESSIONS = load_sessions(PROFILE.calendar)
BASE_NS = int(SESSIONS.open_ns[0]) + 3_600 * SECOND_NS
MS = 1_000_000

# How far time moves (s), instrument, flags, by how much ts_event is before ts_recv (ms), action.
_records = st.tuples(
    st.sampled_from([0, 0, 1, 1, 2, 7, 20]),
    st.integers(1, 3),
    st.sampled_from([128] * 8 + [128 | 8, 128 | 32]),
    st.sampled_from([1] * 12 + [900, 2_500, -500, -20_000]),
    st.sampled_from(["A"] * 12 + ["?"]),
)
sessions = st.lists(st.lists(_records, max_size=14), min_size=1, max_size=3)


def encode(rows: list[tuple[int, int, int, int, str]], at_s: int) -> tuple[list[bytes], int]:
    """Return MBO records one after the other in time, and when the last of them is."""
    records = []
    for number, (step_s, instrument_id, flags, before_ms, action) in enumerate(rows):
        at_s += step_s
        recv_ns = BASE_NS + at_s * SECOND_NS + number
        records.append(
            mbo(instrument_id=instrument_id, ts_event=recv_ns - before_ms * MS, ts_recv=recv_ns,
                flags=flags, action=action, side="B", size=number + 1,
                order_id=at_s * 100 + number)
        )  # fmt: skip
    return records, at_s


class Kept:
    """What each connection received."""

    def __init__(self) -> None:
        self.streams: list[bytes] = []

    def recorded(self, connection: int, start: int = 0) -> Iterator[NDArray[np.uint8]]:
        """Yield a connection's bytes from `start` on."""
        yield np.frombuffer(bytearray(self.streams[connection - 1][start:]), np.uint8)


@given(sessions, st.booleans(), st.integers(40, 400))
def test_a_mark_leaves_nothing_out(
    connections: list[list[tuple[int, int, int, int, str]]], joined: bool, cut: int
) -> None:
    """After each connection and for each second the filter from a mark is that of all bytes."""
    engine, kept = FlowEngine(PROFILE, SESSIONS), Kept()
    feed = LiveFeed(engine, Drain(engine, lambda *_: None, ()), kept.recorded)
    at_s, before = 0, list[bytes]()
    for number, rows in enumerate(connections, start=1):
        from_s = at_s - 3  # no replay is asked for from earlier than the one before
        from_ns = BASE_NS + from_s * SECOND_NS
        records, at_s = encode(rows, at_s)
        again = [
            one
            for one in before
            if int.from_bytes(one[8:16], "little") >= from_ns and not (joined and one[36] & 32)
        ]  # what came in a snapshot is in no replay
        data = header() + b"".join([*again, *records])
        kept.streams.append(b"")
        feed.begin(number, snapshot=joined, skip_from_ns=None if number == 1 else from_ns)
        for start in range(0, len(data), cut):
            kept.streams[-1] = data[: start + cut]
            feed.feed(np.frombuffer(bytearray(data[start : start + cut]), np.uint8))
        before += records
        for second in range(from_s, at_s + 2, 1 + (at_s - from_s) // 5):
            compare(feed, kept, BASE_NS + second * SECOND_NS)


def compare(feed: LiveFeed, kept: Kept, from_ns: int) -> None:
    """Hold what each connection of the chain is found to have delivered beside all of it."""
    for number in range(feed._chain, len(kept.streams) + 1):
        joined = feed._joined and number == feed._chain
        found = feed.marks.delivered_since(number, from_ns, joined=joined)
        whole = delivered_since(kept.recorded(number), from_ns, joined=joined)
        np.testing.assert_array_equal(found.ids, whole.ids)
        np.testing.assert_array_equal(found.prints, whole.prints)
        assert found.end == whole.end


def test_a_long_session_is_not_read_from_its_beginning() -> None:
    """Of an hour, a reconnect reads the last seconds."""
    engine, kept = FlowEngine(PROFILE, SESSIONS), Kept()
    feed = LiveFeed(engine, Drain(engine, lambda *_: None, ()), kept.recorded)
    records, _ = encode([(1, 1, 128, 1, "A")] * 3_600, 0)
    data = header() + b"".join(records)
    kept.streams.append(data)
    feed.begin(1, snapshot=True, skip_from_ns=None)
    for start in range(0, len(data), 56 * 10):
        feed.feed(np.frombuffer(bytearray(data[start : start + 560]), np.uint8))
    (marks,) = feed.marks.places.values()
    assert 0.99 * len(data) < marks[-1][0] < len(data)
    assert 0.95 * len(data) < marks[0][0]
    assert all((place - len(header())) % 56 == 0 for place, _ in marks)
