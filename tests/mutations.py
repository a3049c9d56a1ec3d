"""A million damaged streams: no crash, no hang, and every byte accounted for.

Run as `python -m tests.mutations --count 1000000`. Each stream is a small one with one change: to a
field of a record's header or body, to the structure of the stream, or to a field of the file's
header; each has its share of any count. The changes of a seed and count are always the same. A
sample also goes through the oracle.
"""

from __future__ import annotations

import argparse
import time
from collections import Counter
from collections.abc import Iterator
from dataclasses import dataclass, field
from typing import Any, Final

import numpy as np
from numpy.typing import NDArray

from ifd_fast.errors import DataError
from ifd_fast.framing import allocate_ring, record_bytes
from ifd_fast.header import HeaderReader
from ifd_fast.sources import decode_metadata
from ifd_kernels import wire
from ifd_kernels.layout import CONSUMED, DONE, HANDED_OUT, PUBLISHED, REFUSED, RING_FULL
from tests.oracle import wire as oracle
from tests.strategies_wire import MBO_FIELDS, control, header, mbo

__all__ = ["Report", "run"]

Bytes = NDArray[np.uint8]

STRUCTURE: Final = ("truncate", "delete", "insert", "duplicate", "swap", "noise")
HEADER_FIELDS: Final = {  # version 3: name: (offset, bytes)
    "magic": (0, 3),
    "version": (3, 1),
    "metadata_length": (4, 4),
    "dataset": (8, 16),
    "schema": (24, 2),
    "start": (26, 8),
    "end": (34, 8),
    "limit": (42, 8),
    "stype_in": (50, 1),
    "stype_out": (51, 1),
    "ts_out": (52, 1),
    "symbol_cstr_len": (53, 2),
    "reserved": (55, 53),
    "schema_definition_length": (108, 4),
    "symbols": (112, 16),
}
KINDS: Final = (
    *MBO_FIELDS,
    *STRUCTURE,
    *(f"header.{name}" for name in HEADER_FIELDS),
)
SPARE_BYTES: Final = 64  # what an insertion or a duplication may add
ORACLE_EVERY: Final = 199
DECODE_EVERY: Final = 5
RING: Final = 8
CALLS_MAX: Final = 200  # a stream has ten records: more calls would be a hang
BATCH: Final = 4_096


@dataclass
class Report:
    """What a run did and what it found."""

    seed: int
    streams: Counter[str] = field(default_factory=Counter)
    outcomes: Counter[str] = field(default_factory=Counter)
    compared: int = 0
    seconds: float = 0.0

    def lines(self) -> Iterator[str]:
        """Yield the report as text."""
        heads = sum(self.streams[f"header.{name}"] for name in HEADER_FIELDS)
        total = sum(self.streams.values())
        least = min(self.streams[kind] for kind in KINDS if kind not in STRUCTURE)
        yield f"{total - heads:,} mutations of records and {heads:,} of file headers"
        yield f"each of {len(KINDS) - len(STRUCTURE)} fields at least {least:,} times"
        yield f"seed {self.seed}, {self.seconds:.1f} s"
        yield f"{self.compared:,} compared with the oracle: all equal"
        for name, count in self.outcomes.most_common():
            yield f"{name:>24} {count:>12,}"


def small_stream() -> bytes:
    """Return the stream that is damaged: ten records of three kinds, 1,144 bytes."""
    return (
        control(0x16)
        + b"".join(mbo(order_id=number, action=letter) for number, letter in enumerate("RAACMTF"))
        + control(0x12)
        + mbo(action="N", side="N")
        + control(0x17)
        + mbo(action="T", side="A", ts_event=2**64 - 1)
    )


def run(count: int, seed: int = 1) -> Report:
    """Make `count` mutations of records and check each, then of file headers on top.

    A twentieth goes to each field of a record, what is left to the structure; each field of the
    file header gets a twentieth besides. Raises AssertionError at the first that fails.
    """
    report = Report(seed)
    began = time.perf_counter()
    each = -(-count // 20)
    shares = dict.fromkeys(KINDS, each)
    for kind in STRUCTURE:
        shares[kind] = -(-(count - each * len(MBO_FIELDS)) // len(STRUCTURE))
    for place, (kind, share) in enumerate(shares.items()):
        random = np.random.default_rng([seed, place])
        check = _check_headers if kind.startswith("header.") else _check_streams
        for start in range(0, share, BATCH):
            check(kind, min(BATCH, share - start), random, report)
        report.streams[kind] += share
    report.seconds = time.perf_counter() - began
    return report


def values(count: int, size: int, random: np.random.Generator) -> Bytes:
    """Return new bytes of a field, (count, size): noise, extremes, or a few odd ones."""
    noise = random.integers(0, 256, (count, size), np.uint8)
    choice = random.integers(0, 8, count)
    noise[choice == 0] = 0
    noise[choice == 1] = 0xFF
    noise[choice == 2, -1] = 0x80
    if size > 1:
        noise[choice == 3, 1:] = 0
    return noise


def mutate_streams(
    kind: str, count: int, random: np.random.Generator
) -> tuple[Bytes, NDArray[np.int64]]:
    """Return damaged streams (count, bytes) and how long each is."""
    base = np.frombuffer(small_stream(), np.uint8)
    total = len(base)
    streams: Bytes = np.zeros((count, total + SPARE_BYTES), np.uint8)
    streams[:, :total] = base
    sizes = np.full(count, total, np.int64)
    if kind in MBO_FIELDS:
        offset, size = MBO_FIELDS[kind]
        starts = np.array([s for s, _ in record_starts(base.tobytes(), size + offset)])
        place = random.choice(starts, count)[:, None] + offset + np.arange(size)
        streams[np.arange(count)[:, None], place] = values(count, size, random)
    elif kind == "truncate":
        sizes = random.integers(0, total, count)
    elif kind == "noise":
        place = random.integers(0, total, (count, 4))
        streams[np.arange(count)[:, None], place] = random.integers(0, 256, (count, 4), np.uint8)
    else:
        _shift(kind, streams, sizes, base, random)
    return streams, sizes


def record_starts(data: bytes, least: int) -> Iterator[tuple[int, int]]:
    """Yield (offset, length) of each record of at least `least` bytes."""
    offset = 0
    while offset < len(data):
        length = data[offset] * 4
        if length >= least:
            yield offset, length
        offset += length


def _shift(
    kind: str,
    streams: Bytes,
    sizes: NDArray[np.int64],
    base: Bytes,
    random: np.random.Generator,
) -> None:
    """Delete, insert, duplicate or swap up to 64 bytes of each row of `streams` in place."""
    parts: tuple[Bytes, ...]
    for row in range(len(streams)):
        at = int(random.integers(0, len(base) - SPARE_BYTES))
        width = int(random.integers(1, SPARE_BYTES + 1))
        if kind == "delete":
            parts = (base[:at], base[at + width :])
        elif kind == "insert":
            parts = (base[:at], random.integers(0, 256, width, np.uint8), base[at:])
        elif kind == "duplicate":
            parts = (base[: at + width], base[at:])
        else:
            other = int(random.integers(0, len(base) - SPARE_BYTES))
            parts = (base[:at], base[other : other + width], base[at + width :])
        joined = np.concatenate(parts)
        streams[row, : len(joined)] = joined
        sizes[row] = len(joined)


class Framing:
    """The kernel with small buffers, so that every way to stop occurs."""

    def __init__(self) -> None:
        self.ring = allocate_ring(RING)
        self.handed = np.zeros((2, 2), np.int64)
        self.table = record_bytes(3)
        self.lengths = {rtype: int(size) for rtype, size in enumerate(self.table) if size}

    def drain(
        self, stream: Bytes, size: int, counters: NDArray[np.int64], refused: NDArray[np.int64]
    ) -> tuple[int, int, int]:
        """Frame `stream[:size]` whole; return the last status, next offset, bytes handed."""
        cursor, handed = self.ring.cursor, self.handed
        cursor[:] = 0
        offset = handed_bytes = 0
        for _ in range(CALLS_MAX):
            before = counters[wire.COUNT_HANDED]
            status, offset = wire.frame_batch(
                stream, offset, size, self.table, 5, self.ring, handed, refused, counters
            )
            handed_bytes += int(handed[: counters[wire.COUNT_HANDED] - before, 1].sum())
            assert 0 <= cursor[PUBLISHED] - cursor[CONSUMED] <= RING
            cursor[CONSUMED] = cursor[PUBLISHED]
            if status in {DONE, REFUSED}:
                return status, offset, handed_bytes
            assert status in {RING_FULL, HANDED_OUT}
        raise AssertionError("a hang: the walk doesn't end")


def _check_streams(kind: str, count: int, random: np.random.Generator, report: Report) -> None:
    framing = Framing()
    streams, sizes = mutate_streams(kind, count, random)
    counters = np.zeros((count, wire.COUNTERS), np.int64)
    ends = np.zeros((count, 3), np.int64)  # status, next offset, bytes handed
    refused = np.zeros((4, 2), np.int64)
    for row in range(count):
        ends[row] = framing.drain(streams[row], int(sizes[row]), counters[row], refused)
    _check_sums(streams, sizes, counters, ends)
    for row in range(0, count, ORACLE_EVERY):
        _compare(framing, streams[row, : sizes[row]], counters[row], ends[row])
        report.compared += 1
    for index, name in _OUTCOMES.items():
        report.outcomes[name] += int(counters[:, index].sum())
    report.outcomes["ends inside a record"] += int(
        ((ends[:, 0] == DONE) & (ends[:, 1] < sizes)).sum()
    )


_OUTCOMES: Final = {
    wire.COUNT_EVENTS: "events",
    wire.COUNT_HANDED: "handed",
    wire.COUNT_UNKNOWN_RTYPE: "unknown_rtype",
    wire.COUNT_BAD_LENGTH: "bad_length",
    wire.COUNT_BAD_ACTION: "bad_action",
    wire.COUNT_BAD_SIDE: "bad_side",
    wire.COUNT_UNWALKABLE: "unwalkable",
}


def _check_sums(
    streams: Bytes,
    sizes: NDArray[np.int64],
    counters: NDArray[np.int64],
    ends: NDArray[np.int64],
) -> None:
    """Every byte is in an event, a handed record, a skip, or the tail that is not walked."""
    events, handed = counters[:, wire.COUNT_EVENTS], counters[:, wire.COUNT_HANDED]
    skipped = counters[:, wire.COUNT_UNKNOWN_RTYPE : wire.COUNT_UNWALKABLE].sum(axis=1)
    walked = 56 * events + ends[:, 2] + counters[:, wire.COUNT_SKIPPED_BYTES]
    assert (walked == ends[:, 1]).all()
    assert (counters[:, wire.COUNT_BYTES] == ends[:, 1]).all()
    assert (counters[:, wire.COUNT_RECORDS] == events + handed + skipped).all()
    assert (ends[:, 1] <= sizes).all()
    # What is left is refused by its length byte, or longer than what is there.
    left = ends[:, 1] < sizes
    length = streams[np.arange(len(sizes)), np.minimum(ends[:, 1], sizes - 1)].astype(np.int64) * 4
    was_refused = ends[:, 0] == REFUSED
    assert (counters[:, wire.COUNT_UNWALKABLE] == was_refused).all()
    assert (was_refused[left] == (length[left] < 16)).all()
    assert not was_refused[~left].any()
    assert (length > sizes - ends[:, 1])[left & ~was_refused].all()


def _compare(
    framing: Framing, stream: Bytes, counters: NDArray[np.int64], ends: NDArray[np.int64]
) -> None:
    """Compare one stream with the oracle, its events field by field."""
    expected = oracle.frame_stream(stream.tobytes(), framing.lengths)
    assert expected.next_offset == ends[1]
    assert (expected.status == "REFUSED") == (ends[0] == REFUSED)
    assert len(expected.events) == counters[wire.COUNT_EVENTS]
    assert len(expected.handed) == counters[wire.COUNT_HANDED]
    reasons = Counter(reason for reason, _, _ in expected.skipped)
    for index, name in _OUTCOMES.items():
        if wire.COUNT_HANDED < index < wire.COUNT_UNWALKABLE:
            assert counters[index] == reasons[name]
    ring = allocate_ring(64)
    scratch: dict[str, Any] = {
        "handed": np.zeros((64, 2), np.int64),
        "refused": np.zeros((4, 2), np.int64),
        "counters": np.zeros(wire.COUNTERS, np.int64),
    }
    offset, status = 0, HANDED_OUT
    while status == HANDED_OUT:
        status, offset = wire.frame_batch(
            stream, offset, len(stream), framing.table, 64, ring, *scratch.values()
        )
    actual = [
        tuple(int(getattr(ring, name)[row]) for name in oracle.Event._fields)
        for row in range(int(ring.cursor[PUBLISHED]))
    ]
    assert actual == [tuple(event) for event in expected.events]


def _check_headers(kind: str, count: int, random: np.random.Generator, report: Report) -> None:
    """Damage the file header: it is read, refused as DataError, or waits for more bytes."""
    name = kind.removeprefix("header.")
    offset, size = HEADER_FIELDS[name]
    base = np.frombuffer(header(3) + bytes(SPARE_BYTES), np.uint8)
    heads = np.tile(base, (count, 1))
    heads[:, offset : offset + size] = values(count, size, random)
    for row, data in enumerate(heads):
        reader = HeaderReader("mutant")
        try:
            head, taken = reader.feed(data)
            if head is None:
                assert taken == len(data)
                report.outcomes["header waits"] += 1
                continue
            assert len(head.data) == taken
            if row % DECODE_EVERY == 0:
                decode_metadata(head, "mutant")
            report.outcomes["header read"] += 1
        except DataError:
            report.outcomes["header refused"] += 1


def main() -> None:
    """Run from the command line and print the report."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--count", type=int, default=1_000_000, help="number of mutations")
    parser.add_argument("--seed", type=int, default=1, help="seed of the changes")
    options = parser.parse_args()
    for line in run(options.count, options.seed).lines():
        print(line)  # noqa: T201  # its whole purpose


if __name__ == "__main__":
    main()
