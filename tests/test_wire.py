"""Framing equals its oracle, byte for byte accounted, wherever a batch is split."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path

import numpy as np
import pytest
import zstandard
from hypothesis import given
from hypothesis import strategies as st

from ifd_fast.framing import allocate_ring, record_bytes
from ifd_kernels import layout, wire
from ifd_kernels.layout import CONSUMED, PUBLISHED, Ring
from tests.oracle import wire as oracle
from tests.strategies_wire import control, damaged_streams, mbo, streams

STATUS = {
    layout.DONE: "DONE",
    layout.RING_FULL: "RING_FULL",
    layout.HANDED_OUT: "HANDED_OUT",
    layout.REFUSED: "REFUSED",
}
REASON = {
    wire.COUNT_UNKNOWN_RTYPE: "unknown_rtype",
    wire.COUNT_BAD_LENGTH: "bad_length",
    wire.COUNT_BAD_ACTION: "bad_action",
    wire.COUNT_BAD_SIDE: "bad_side",
    wire.COUNT_UNWALKABLE: "unwalkable",
}
BIG = 1 << 40


class Bench:
    """All that one call of the kernel needs, and what it found, in the oracle's words."""

    def __init__(
        self, *, capacity: int = 64, handed: int = 64, log: int = 64, version: int = 3
    ) -> None:
        self.ring = allocate_ring(capacity)
        self.handed = np.zeros((handed, 2), np.int64)
        self.refused = np.zeros((log, 2), np.int64)
        self.counters = np.zeros(wire.COUNTERS, np.int64)
        self.table = record_bytes(version)

    def frame(self, data: bytes, start: int, stop: int, max_events: int = BIG) -> oracle.Outcome:
        """Call the kernel once; what is in the ring stays there."""
        first = int(self.ring.cursor[PUBLISHED])
        logged = int(self.counters[wire.COUNT_LOGGED])
        handed = int(self.counters[wire.COUNT_HANDED])
        base = int(self.counters[wire.COUNT_BYTES]) - start
        buffer = np.frombuffer(bytearray(data), np.uint8)
        status, next_offset = wire.frame_batch(
            buffer,
            start,
            stop,
            self.table,
            max_events,
            self.ring,
            self.handed,
            self.refused,
            self.counters,
        )
        count = int(self.counters[wire.COUNT_HANDED]) - handed
        rows = self.refused[logged : self.counters[wire.COUNT_LOGGED]].tolist()
        skipped = [(REASON[reason], offset - base) for reason, offset in rows]
        return oracle.Outcome(
            STATUS[status],
            int(next_offset),
            events_of(self.ring, first),
            [(int(offset), int(length)) for offset, length in self.handed[:count]],
            [
                (reason, offset, data[offset] * 4)
                for reason, offset in skipped
                if reason != "unwalkable"
            ],
        )

    def consume(self) -> None:
        """Be done with all events in the ring."""
        self.ring.cursor[CONSUMED] = self.ring.cursor[PUBLISHED]


def events_of(ring: Ring, first: int) -> list[oracle.Event]:
    """Return the published events from sequence number `first`."""
    mask = len(ring.action) - 1
    return [
        oracle.Event(
            **{name: int(getattr(ring, name)[sequence & mask]) for name in oracle.Event._fields}
        )
        for sequence in range(first, int(ring.cursor[PUBLISHED]))
    ]


def lengths(version: int = 3) -> dict[int, int]:
    """Return the lengths the kernel is given, for the oracle."""
    return {rtype: int(size) for rtype, size in enumerate(record_bytes(version)) if size}


def drain(bench: Bench, data: bytes, max_events: int = BIG) -> oracle.Outcome:
    """Frame all of `data`, consuming whenever the kernel stops."""
    events: list[oracle.Event] = []
    handed: list[tuple[int, int]] = []
    skipped: list[tuple[str, int, int]] = []
    offset = 0
    while True:
        part = bench.frame(data, offset, len(data), max_events)
        bench.consume()
        events += part.events
        handed += part.handed
        skipped += part.skipped
        offset = part.next_offset
        if part.status in {"DONE", "REFUSED"}:
            return oracle.Outcome(part.status, offset, events, handed, skipped)


@given(damaged_streams, st.integers(0, 6), st.sampled_from([1, 2, 64]), st.integers(0, 20))
def test_one_call_equals_the_oracle(
    data: bytes, log_capacity: int, capacity: int, max_events: int
) -> None:
    """Status, next offset, events, handed records and refusals are the oracle's."""
    handed_room = log_capacity + 1
    expected = oracle.frame_batch(
        data, 0, len(data), lengths(), min(capacity, max_events), handed_room
    )
    bench = Bench(capacity=capacity, handed=handed_room)
    actual = bench.frame(data, 0, len(data), max_events)
    assert actual == expected


@given(damaged_streams, st.sampled_from([1, 4, 64]), st.integers(1, 9), st.integers(1, 5))
def test_every_byte_is_accounted_for(
    data: bytes, capacity: int, max_events: int, handed_room: int
) -> None:
    """Events, handed, skipped and what is left add up to the bytes; stops change nothing."""
    expected = oracle.frame_stream(data, lengths())
    bench = Bench(capacity=capacity, handed=handed_room)
    actual = drain(bench, data, max_events)
    assert actual == expected
    counters = bench.counters
    skipped_bytes = sum(length for _, _, length in expected.skipped)
    handed_bytes = sum(length for _, length in expected.handed)
    assert counters[wire.COUNT_SKIPPED_BYTES] == skipped_bytes
    assert counters[wire.COUNT_BYTES] == (56 * len(expected.events) + handed_bytes + skipped_bytes)
    assert counters[wire.COUNT_RECORDS] == (
        len(expected.events) + len(expected.handed) + len(expected.skipped)
    )
    for index, reason in REASON.items():
        wanted = sum(skip[0] == reason for skip in expected.skipped)
        assert counters[index] == wanted + (reason == "unwalkable" and expected.status == "REFUSED")


@given(streams, st.data())
def test_a_split_changes_nothing(data: bytes, draw: st.DataObject) -> None:
    """Two calls over adjoining ranges find what one call over both finds."""
    split = draw.draw(st.integers(0, len(data)))
    expected = drain(Bench(), data)
    bench = Bench()
    offset, events = 0, []
    for stop in (split, len(data)):
        while True:
            part = bench.frame(data, offset, stop)
            bench.consume()
            events += part.events
            offset = part.next_offset
            if part.status == "DONE":
                break
    assert events == expected.events
    assert offset == expected.next_offset


@given(st.binary(min_size=1, max_size=16), st.integers(0, 8))
def test_alignment_does_not_matter(prefix: bytes, shift: int) -> None:
    """The same records at any address give the same events."""
    data = mbo(action="T", side="A", order_id=2**64 - 1) + control(0x17) + mbo(price=-1)
    padded = prefix + bytes(shift) + data
    expected = Bench().frame(data, 0, len(data)).events
    actual = Bench().frame(padded, len(padded) - len(data), len(padded)).events
    assert actual == expected


def test_undef_times_become_minus_one() -> None:
    """A time that int64 can't hold is -1, in both columns; the slot is -1 as well."""
    bench = Bench()
    actual = bench.frame(mbo(ts_event=2**64 - 1, ts_recv=2**63), 0, 56)
    assert actual.events[0].ts_event_ns == -1
    assert actual.events[0].ts_recv_ns == -1
    assert bench.ring.slot[0] == -1


def test_nothing_is_overwritten_when_the_ring_is_full() -> None:
    """The fifth event waits for room, and takes the place of a consumed one only."""
    data = b"".join(mbo(order_id=number) for number in range(5))
    bench = Bench(capacity=4)
    full = bench.frame(data, 0, len(data))
    assert (full.status, full.next_offset) == ("RING_FULL", 4 * 56)
    again = bench.frame(data, full.next_offset, len(data))
    assert (again.status, again.next_offset, again.events) == ("RING_FULL", 4 * 56, [])
    bench.ring.cursor[CONSUMED] = 1
    last = bench.frame(data, full.next_offset, len(data))
    assert (last.status, last.next_offset) == ("DONE", len(data))
    assert [int(number) for number in bench.ring.order_id] == [4, 1, 2, 3]


def test_stream_order_is_kept() -> None:
    """An MBO record behind a handed one stops the call, so that the handed one comes first."""
    data = mbo() + control(0x13) + control(0x17) + mbo(order_id=9)
    bench = Bench()
    first = bench.frame(data, 0, len(data))
    assert first.status == "HANDED_OUT"
    assert first.handed == [(56, 520), (576, 320)]
    assert len(first.events) == 1
    second = bench.frame(data, first.next_offset, len(data))
    assert second.status == "DONE"
    assert second.events[0].order_id == 9


@pytest.mark.parametrize(
    ("record", "reason"),
    [
        (bytes([14, 0xA1]) + mbo()[2:], "unknown_rtype"),
        (bytes([13]) + mbo()[1:52], "bad_length"),
        (mbo(ts_out=True), "bad_length"),
        (control(0x13, version=2), "bad_length"),
        (mbo(action="a"), "bad_action"),
        (mbo(action="B", side="x"), "bad_action"),
        (mbo(side="\0"), "bad_side"),
    ],
)
def test_each_refusal_has_its_reason_and_offset(record: bytes, reason: str) -> None:
    """A damaged record between two good ones is skipped, counted and logged at its offset."""
    bench = Bench()
    actual = drain(bench, mbo() + record + mbo())
    assert actual.skipped == [(reason, 56, len(record))]
    assert len(actual.events) == 2


@pytest.mark.parametrize("length", range(4))
def test_a_length_under_a_header_ends_the_walk(length: int) -> None:
    """Nothing after it is read, and asking again says the same."""
    bench = Bench()
    data = mbo() + bytes([length]) + mbo()[1:] + mbo()
    for times in (1, 2):
        actual = bench.frame(data, 0 if times == 1 else 56, len(data))
        assert (actual.status, actual.next_offset) == ("REFUSED", 56)
        assert bench.counters[wire.COUNT_UNWALKABLE] == times
    assert bench.counters[wire.COUNT_EVENTS] == 1


def test_the_log_is_bounded_and_the_counters_are_not() -> None:
    """With room for two refusals in the log the counter still says five."""
    bench = Bench(log=2)
    bench.frame(mbo(action="?") * 5, 0, 5 * 56)
    assert bench.counters[wire.COUNT_BAD_ACTION] == 5
    assert bench.refused.tolist() == [[wire.COUNT_BAD_ACTION, 0], [wire.COUNT_BAD_ACTION, 56]]


def test_the_esh4_evening(real_data: Callable[[str], Path]) -> None:
    """24,000 real records have the known share of each action, and equal the oracle's."""
    path = real_data("glbx/futures/esh4-20231225-first24000.mbo.dbn.zst")
    data = zstandard.ZstdDecompressor().decompressobj().decompress(path.read_bytes())[206:]
    bench = Bench(capacity=32_768, version=1)
    actual = bench.frame(data, 0, len(data))
    counted = dict.fromkeys("ACMTF", 0)
    for event in actual.events:
        counted[chr(event.action)] += 1
    assert counted == {"A": 14_115, "C": 4_145, "M": 3_657, "T": 748, "F": 1_335}
    assert actual == oracle.frame_stream(data, lengths(1))
