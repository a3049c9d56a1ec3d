"""DBN bytes in any chunking to events in a ring and other records in stream order."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from dataclasses import dataclass
from typing import Final, TypeAlias

import numpy as np
from numpy.typing import NDArray

from ifd_fast.alignment import place_zeros
from ifd_fast.errors import FormatError, TruncatedError, UsageError
from ifd_fast.header import VERSIONS, refuse_version
from ifd_kernels import wire
from ifd_kernels.feeding import Wire
from ifd_kernels.layout import (
    CONSUMED,
    DONE,
    MBO_BYTES,
    PUBLISHED,
    RECORD_HEADER_BYTES,
    REFUSED,
    RTYPE_DEFINITION,
    RTYPE_ERROR,
    RTYPE_MBO,
    RTYPE_STATISTICS,
    RTYPE_STATUS,
    RTYPE_SYMBOL_MAPPING,
    RTYPE_SYSTEM,
    Ring,
)

__all__ = [
    "Framer",
    "Handed",
    "allocate_ring",
    "record_bytes",
]

Bytes: TypeAlias = NDArray[np.uint8]
Buffer: TypeAlias = bytes | bytearray | memoryview | Bytes
Apply: TypeAlias = Callable[[Bytes, int, int, Wire], tuple[int, int]]

# All record types of DBN 1 to 3.
_KNOWN_RTYPES: Final = (
    *(0x00, 0x01, 0x0A, 0x11),  # trades and market by price; the first OHLCV
    *range(0x12, 0x19),  # status, definition, imbalance, error, mapping, system, statistics
    *range(0x20, 0x25),  # OHLCV
    *(RTYPE_MBO, 0xB1, *range(0xC0, 0xC5)),  # consolidated and sampled quotes
)
# Least bytes of the records this project reads, by version 1, 2, 3; others: a header.
_RECORD_BYTES: Final = {
    RTYPE_STATUS: (40, 40, 40),
    RTYPE_DEFINITION: (360, 400, 520),
    RTYPE_ERROR: (80, 320, 320),
    RTYPE_SYMBOL_MAPPING: (80, 176, 176),
    RTYPE_SYSTEM: (80, 320, 320),
    RTYPE_STATISTICS: (64, 64, 80),
    RTYPE_MBO: (MBO_BYTES, MBO_BYTES, MBO_BYTES),
}
_TS_OUT_BYTES: Final = 8

_RECORD_BYTES_MAX: Final = 255 * 4  # a length byte counts 32-bit words
_HANDED_MAX: Final = 256  # records handed out in one go; a definition file has nothing else
_REFUSALS_KEPT: Final = 64
# 8,192 events of a ring are 0.4 MB: they stay in the second cache until the book reads them.
_EVENTS_MAX: Final = 8_192

_REASONS: Final = {
    wire.COUNT_UNKNOWN_RTYPE: "unknown_rtype",
    wire.COUNT_BAD_LENGTH: "bad_length",
    wire.COUNT_BAD_ACTION: "bad_action",
    wire.COUNT_BAD_SIDE: "bad_side",
    wire.COUNT_UNWALKABLE: "unwalkable",
}


def allocate_ring(capacity_events: int) -> Ring:
    """Return an empty ring of `capacity_events`, a power of two; 51 bytes an event."""
    if capacity_events < 1 or capacity_events & (capacity_events - 1):
        proposal = 1 << max(capacity_events, 1).bit_length()
        raise UsageError(
            f"`capacity_events` must be a power of two, was {capacity_events}. Use {proposal}."
        )
    events = capacity_events
    slot = place_zeros(events, np.int32, 35)
    slot[:] = -1
    return Ring(  # each column five lines further into its page than the one before
        ts_event_ns=place_zeros(events, np.int64),
        ts_recv_ns=place_zeros(events, np.int64, 5),
        order_id=place_zeros(events, np.uint64, 10),
        price_1e9=place_zeros(events, np.int64, 15),
        size=place_zeros(events, np.uint32, 20),
        instrument_id=place_zeros(events, np.uint32, 25),
        sequence=place_zeros(events, np.uint32, 30),
        slot=slot,
        flags=place_zeros(events, np.uint8, 40),
        action=place_zeros(events, np.uint8, 45),
        side=place_zeros(events, np.uint8, 50),
        cursor=np.zeros(2, np.int64),
    )


def record_bytes(version: int, *, ts_out: bool = False) -> NDArray[np.int64]:
    """Return what `wire.frame_batch` asks of lengths, (256,): 0 is an unknown record type."""
    if version not in VERSIONS:
        raise FormatError(refuse_version("stream", version))
    extra = _TS_OUT_BYTES if ts_out else 0
    table = np.zeros(256, np.int64)
    table[list(_KNOWN_RTYPES)] = RECORD_HEADER_BYTES + extra
    for rtype, sizes in _RECORD_BYTES.items():
        table[rtype] = sizes[version - 1] + extra
    return table


@dataclass(frozen=True, slots=True)
class Handed:
    """A record that is not MBO: its bytes, whole, and where it began in the stream."""

    rtype: int
    data: bytes
    offset: int


class Framer:
    """Frames one DBN stream into `ring`, whatever the chunks it comes in.

    Parameters
    ----------
    ring
        Where events go. After each list that `frames` yields, the caller consumes the ring
        first, then handles the list: that is stream order.
    version, ts_out
        As the header says; a raw feed without header needs them all the same.
    offset
        Bytes of the stream before its first record, so that messages name the right byte.
    name
        What messages call the stream.
    max_events
        Most events between two yields.
    """

    def __init__(
        self,
        ring: Ring,
        version: int,
        *,
        ts_out: bool = False,
        offset: int = 0,
        name: str = "stream",
        max_events: int = _EVENTS_MAX,
    ) -> None:
        if max_events < 1:
            raise UsageError(f"`max_events` must be at least 1, was {max_events}.")
        self.ring = ring
        self._name = name
        self._max_events = max_events
        self._handed = np.zeros((_HANDED_MAX, 2), np.int64)
        self._refused = np.zeros((_REFUSALS_KEPT, 2), np.int64)
        self._counters = np.zeros(wire.COUNTERS, np.int64)
        lengths = record_bytes(version, ts_out=ts_out)
        self._wire = Wire(lengths, self._handed, self._refused, self._counters)
        self._counters[wire.COUNT_BYTES] = offset
        self._carry: Bytes = np.zeros(_RECORD_BYTES_MAX, np.uint8)
        self._carried = 0
        self._dead_end = ""
        self._unfinished = False

    def frames(self, chunk: Buffer, apply: Apply | None = None) -> Iterator[list[Handed]]:
        """Take the next bytes of the stream; exhaust what this returns before the next call.

        `apply(data, start, stop, wire)` frames like `wire.frame_batch` and consumes the events
        too, all of them; then only lists that hold something are yielded.

        Raises
        ------
        FormatError
            A length byte that can't be walked; all before it has been yielded.
        UsageError
            The ring is full and was not consumed after a yield, or what an earlier call
            returned was not exhausted.
        """
        if self._dead_end:
            raise FormatError(self._dead_end)
        self._refuse_unfinished()
        self._unfinished = True
        return self._frames(_as_bytes(chunk), apply)

    def _frames(self, data: Bytes, apply: Apply | None) -> Iterator[list[Handed]]:
        start = 0
        if self._carried:
            start = self._mend_carry(data)
            if self._carried < int(self._carry[0]) * 4:
                self._unfinished = False
                return
            # A mended record waits in the ring for the rest of its chunk: one yield, not two.
            yield from self._walk(self._carry, 0, self._carried, None, hold=True)
        yield from self._walk(data, start, len(data), apply, hold=False)
        self._unfinished = False

    def finish(self) -> None:
        """Raise TruncatedError if the stream ended inside a record."""
        self._refuse_unfinished()
        if self._carried:
            raise TruncatedError(
                f"{self._name}: ends inside the record at byte "
                f"{self._counters[wire.COUNT_BYTES]}: {self._carried} of its "
                f"{int(self._carry[0]) * 4} bytes are there. Fetch it again."
            )

    @property
    def offset(self) -> int:
        """Bytes of the stream up to the end of the last whole record."""
        return int(self._counters[wire.COUNT_BYTES])

    def counts(self) -> dict[str, int]:
        """Return exact sums: records = events + handed + each reason but `unwalkable`."""
        counters = self._counters
        return {
            "bytes": int(counters[wire.COUNT_BYTES]),
            "records": int(counters[wire.COUNT_RECORDS]),
            "events": int(counters[wire.COUNT_EVENTS]),
            "handed": int(counters[wire.COUNT_HANDED]),
            "skipped_bytes": int(counters[wire.COUNT_SKIPPED_BYTES]),
            **{name: int(counters[index]) for index, name in _REASONS.items()},
        }

    def refusals(self) -> list[tuple[str, int]]:
        """Return (reason, byte offset in the stream) of the first refused records."""
        logged = self._counters[wire.COUNT_LOGGED]
        return [(_REASONS[int(row[0])], int(row[1])) for row in self._refused[:logged]]

    def _refuse_unfinished(self) -> None:
        if self._unfinished:
            raise UsageError(
                f"{self._name}: what `frames` returned last was not exhausted; its chunk would "
                "be lost. Iterate it to its end."
            )

    def _mend_carry(self, data: Bytes) -> int:
        wanted = int(self._carry[0]) * 4 - self._carried
        taken = min(wanted, len(data))
        self._carry[self._carried : self._carried + taken] = data[:taken]
        self._carried += taken
        return taken

    def _frame(self, data: Bytes, start: int, stop: int, into: Wire) -> tuple[int, int]:
        return wire.frame_batch(
            data,
            start,
            stop,
            into.record_bytes,
            self._max_events,
            self.ring,
            into.handed,
            into.refused,
            into.counters,
        )

    def _walk(
        self, data: Bytes, start: int, stop: int, apply: Apply | None, *, hold: bool
    ) -> Iterator[list[Handed]]:
        """Frame `data[start:stop]` and carry what is left; `hold`: more bytes follow at once."""
        cursor = self.ring.cursor
        step = apply or self._frame
        while True:
            before = start
            handed_before = self._counters.item(wire.COUNT_HANDED)
            status, start = step(data, start, stop, self._wire)
            count = self._counters.item(wire.COUNT_HANDED) - handed_before
            handed = self._copy_handed(data, start, count) if count else []
            unconsumed = cursor.item(PUBLISHED) > cursor.item(CONSUMED)
            if handed or (unconsumed and not (hold and status == DONE)):
                yield handed
            if status == DONE:
                break
            if status == REFUSED:
                self._raise_unwalkable(data, start)
            if start == before and cursor[PUBLISHED] - cursor[CONSUMED] >= len(self.ring.action):
                raise UsageError(
                    f"{self._name}: the ring of {len(self.ring.action)} events is full; "
                    "consume it after each list that `frames` yields."
                )
        self._carried = stop - start
        if self._carried:
            self._carry[: self._carried] = data[start:stop]

    def _copy_handed(self, data: Bytes, start: int, count: int) -> list[Handed]:
        base = int(self._counters[wire.COUNT_BYTES]) - start
        return [
            Handed(int(data[offset + 1]), data[offset : offset + length].tobytes(), base + offset)
            for offset, length in self._handed[:count].tolist()
        ]

    def _raise_unwalkable(self, data: Bytes, start: int) -> None:
        self._dead_end = (
            f"{self._name}: the record at byte {self._counters[wire.COUNT_BYTES]} says it has "
            f"{int(data[start]) * 4} bytes, a header alone has {RECORD_HEADER_BYTES}. "
            "Nothing after it can be read."
        )
        raise FormatError(self._dead_end)


def _as_bytes(chunk: Buffer) -> Bytes:
    """Return `chunk` as a writable byte array: a read-only one would compile all kernels twice."""
    data = np.frombuffer(chunk, np.uint8)
    return data if data.flags.writeable else data.copy()
