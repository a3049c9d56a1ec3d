"""Any chunking of a stream gives the same events and records, and ends are told exactly."""

from __future__ import annotations

from collections.abc import Callable, Iterable
from itertools import pairwise
from pathlib import Path

import numpy as np
import pytest
import zstandard
from hypothesis import given
from hypothesis import strategies as st

from ifd_fast.errors import FormatError, TruncatedError, UsageError
from ifd_fast.framing import Buffer, Framer, Handed, allocate_ring, record_bytes
from ifd_fast.header import HeaderReader
from ifd_kernels.layout import CONSUMED, PUBLISHED
from tests.oracle import wire as oracle
from tests.strategies_wire import control, header, mbo, streams
from tests.test_wire import events_of, lengths

SAMPLES = [
    "versions/mbo.v1.dbn.zst",
    "versions/mbo.v2.dbn.zst",
    "versions/mbo.v3.dbn.zst",
    "versions/definition.v1.dbn.zst",
    "versions/definition.v2.dbn.zst",
    "versions/definition.v3.dbn.zst",
    "versions/ifeu.mbo.dbn.zst",
    "glbx/live/mixed.live.dbn.zst",
]
Item = oracle.Event | Handed


def take(framer: Framer, chunks: Iterable[Buffer]) -> list[Item]:
    """Return all that the framer finds in `chunks`, in stream order."""
    items: list[Item] = []
    ring = framer.ring
    for chunk in chunks:
        for handed in framer.frames(chunk):
            items += events_of(ring, int(ring.cursor[CONSUMED]))
            ring.cursor[CONSUMED] = ring.cursor[PUBLISHED]
            items += handed
    return items


def expected_items(data: bytes, version: int, base: int = 0) -> list[Item]:
    """Return the same from the oracle."""
    items: list[Item] = []
    offset = 0
    while offset < len(data):
        one = oracle.frame_batch(data, offset, len(data), lengths(version), 1, 1)
        if one.next_offset == offset:
            break
        items += one.events
        items += [
            Handed(data[start + 1], data[start : start + size], base + start)
            for start, size in one.handed
        ]
        offset = one.next_offset
    return items


def read_sample(path: Path) -> tuple[int, bytes, int]:
    """Return version, records and the offset of the first record."""
    data = zstandard.ZstdDecompressor().decompressobj().decompress(path.read_bytes())
    head, taken = HeaderReader(path.name).feed(data)
    assert head is not None
    return head.version, data[taken:], taken


@pytest.mark.parametrize("name", SAMPLES)
def test_real_samples_split_at_every_byte(name: str, real_data: Callable[[str], Path]) -> None:
    """Two chunks, cut anywhere, give what the oracle finds in one, in the same order."""
    version, data, base = read_sample(real_data(name))
    expected = expected_items(data, version, base)
    assert expected
    ring = allocate_ring(64)
    for cut in range(len(data) + 1):
        framer = Framer(ring, version, offset=base)
        actual = take(framer, (data[:cut], data[cut:]))
        framer.finish()
        assert actual == expected, cut


@pytest.mark.parametrize("version", [1, 2, 3])
@pytest.mark.parametrize("ts_out", [False, True])
def test_byte_by_byte(version: int, ts_out: bool) -> None:
    """One byte a chunk finds the same records, with and without ts_out."""
    data = (
        control(0x16, version, ts_out=ts_out, fill=5)
        + mbo(ts_out=ts_out)
        + control(0x13, version, ts_out=ts_out)
        + mbo(action="?", ts_out=ts_out)
        + mbo(order_id=2, ts_out=ts_out)
    )
    whole = take(Framer(allocate_ring(4), version, ts_out=ts_out), [data])
    framer = Framer(allocate_ring(4), version, ts_out=ts_out)
    actual = take(framer, (data[index : index + 1] for index in range(len(data))))
    framer.finish()
    assert actual == whole
    assert [type(item) for item in actual] == [Handed, oracle.Event, Handed, oracle.Event]
    assert framer.counts()["bad_action"] == 1


@given(
    streams,
    st.lists(st.integers(0, 700), max_size=8),
    st.sampled_from([1, 8, 64]),
    st.integers(1, 9),
)
def test_any_chunking_and_any_ring(
    data: bytes, cuts: list[int], capacity: int, max_events: int
) -> None:
    """Chunks, ring capacity and batch limit change nothing of what is found."""
    edges = sorted({0, len(data), *(cut for cut in cuts if cut < len(data))})
    chunks = [data[start:stop] for start, stop in pairwise(edges)]
    framer = Framer(allocate_ring(capacity), 3, max_events=max_events)
    actual = take(framer, chunks)
    framer.finish()
    assert actual == expected_items(data, 3)
    counts = framer.counts()
    assert counts["bytes"] == len(data)
    assert counts["records"] == counts["events"] + counts["handed"] == len(actual)


@pytest.mark.parametrize("missing", [1, 30, 54, 55])
def test_an_end_inside_a_record_is_told(missing: int) -> None:
    """The message gives the record's byte and how much of it is there."""
    framer = Framer(allocate_ring(4), 3, offset=108, name="x.dbn")
    take(framer, [(mbo() + mbo())[:-missing]])
    with pytest.raises(TruncatedError, match=rf"x\.dbn: .* byte 164: {56 - missing} of its 56"):
        framer.finish()


def test_an_unwalkable_length_is_refused_after_all_before_it() -> None:
    """The events before it are handed over, then FormatError; later chunks are refused too."""
    framer = Framer(allocate_ring(4), 3, offset=108, name="x.dbn")
    found: list[Item] = []
    frames = framer.frames(mbo() + bytes(20))
    found += next(frames)
    assert framer.counts()["events"] == 1
    framer.ring.cursor[CONSUMED] = 1
    with pytest.raises(FormatError, match=r"x\.dbn: the record at byte 164 says it has 0 bytes"):
        next(frames)
    with pytest.raises(FormatError, match="byte 164"):
        list(framer.frames(mbo()))
    assert framer.refusals() == [("unwalkable", 164)]


def test_refusals_are_counted_with_stream_offsets() -> None:
    """Offsets count from the start of the stream, over all chunks."""
    framer = Framer(allocate_ring(4), 3, offset=100)
    take(framer, [mbo(), mbo(side="?")[:9], mbo(side="?")[9:] + bytes([5, 0xEE]) + bytes(18)])
    assert framer.refusals() == [("bad_side", 156), ("unknown_rtype", 212)]
    counts = framer.counts()
    assert (counts["records"], counts["events"], counts["skipped_bytes"]) == (3, 1, 76)


def test_a_ring_nobody_consumes_is_an_error() -> None:
    """Nothing is overwritten and nothing hangs: the second step raises."""
    framer = Framer(allocate_ring(2), 3)
    with pytest.raises(UsageError, match="ring of 2 events is full"):
        list(framer.frames(mbo() * 5))
    assert framer.counts()["events"] == 2


def test_a_chunk_left_half_read_is_an_error() -> None:
    """Bytes that nobody iterated over are not lost in silence."""
    framer = Framer(allocate_ring(2), 3)
    left = framer.frames(mbo() * 3)
    with pytest.raises(UsageError, match="was not exhausted"):
        framer.frames(mbo())
    next(left)
    with pytest.raises(UsageError, match="was not exhausted"):
        framer.finish()


def test_read_only_and_writable_chunks_are_the_same() -> None:
    """Bytes, bytearray, memoryview and array are all chunks."""
    data = mbo() + control(0x17)
    for chunk in (data, bytearray(data), memoryview(data), np.frombuffer(data, np.uint8)):
        assert len(take(Framer(allocate_ring(4), 3), [chunk])) == 2


def test_lengths_differ_by_version() -> None:
    """Definitions grew twice; unknown types are 0; version 4 has no table."""
    assert [record_bytes(version)[0x13] for version in (1, 2, 3)] == [360, 400, 520]
    assert record_bytes(3, ts_out=True)[0xA0] == 64
    assert record_bytes(3)[0xC5] == 0
    with pytest.raises(FormatError, match="version 4"):
        record_bytes(4)


@pytest.mark.parametrize("version", [1, 2, 3])
@pytest.mark.parametrize("ts_out", [False, True])
def test_a_header_comes_in_any_chunking(version: int, ts_out: bool) -> None:
    """Byte by byte, the header is whole at its last byte, and takes no more than that."""
    data = header(version, ts_out=ts_out)
    reader = HeaderReader()
    for index in range(len(data) - 1):
        assert reader.feed(data[index : index + 1]) == (None, 1)
    head, taken = reader.feed(data[-1:] + mbo())
    assert head is not None
    assert (head.version, head.ts_out, head.data, taken) == (version, ts_out, data, 1)


@pytest.mark.parametrize(
    ("data", "message"),
    [
        (b"X", "must be 'DBN', were b'X'"),
        (b"DBN\x04", "DBN version 4; versions 1 to 3"),
        (b"DBN\x00", "DBN version 0"),
        (b"DBZ", "legacy DBZ.*dbn-cli"),
        (b"\x28\xb5\x2f\xfd", "zstd-compressed"),
        (header(3, size=103), "103 bytes of metadata"),
        (header(3, size=2**32 - 1), "4294967295 bytes of metadata"),
    ],
)
def test_a_wrong_header_is_refused_by_name(data: bytes, message: str) -> None:
    """What it is instead, and the way out, are in the message."""
    with pytest.raises(FormatError, match=message):
        HeaderReader("x").feed(data)


@pytest.mark.parametrize(("size", "wanted"), [(0, 8), (3, 8), (8, 128), (127, 128)])
def test_an_end_inside_the_header_is_told(size: int, wanted: int) -> None:
    """The message gives both numbers of bytes."""
    reader = HeaderReader("x")
    reader.feed(header(3)[:size])
    with pytest.raises(TruncatedError, match=f"byte {size} inside the DBN header of {wanted}"):
        reader.finish()
