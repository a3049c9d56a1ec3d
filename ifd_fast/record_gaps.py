"""What the tape of a recorded session lacks: between a loss and the snapshot it went on with."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING, Final

from ifd_fast.live_duplicates import delivered_since
from ifd_fast.session_record import EntryKind

if TYPE_CHECKING:
    from ifd_fast.record_reader import RecordReader
    from ifd_fast.session_record import Entry

__all__ = ["ALL_TIMES_NS", "Gap", "find_gaps", "symbols_of"]

ALL_TIMES_NS: Final = -(2**63)
_LOOKED_AT: Final = 1024  # records behind a snapshot: by then all of it has come


@dataclass(frozen=True, slots=True)
class Gap:
    """One gap, [start_ns, end_ns) by event time, ns UTC.

    Attributes
    ----------
    before
        Connections that brought the tape up to the gap, in order; the first one with a snapshot.
    joins
        Connections that began with a snapshot behind it: the tape goes on in the last, others
        were lost before they brought anything. The gap has the number of the last.
    joined_ns
        When the last one's snapshot was made, by ts_recv.
    """

    before: tuple[int, ...]
    joins: tuple[int, ...]
    start_ns: int
    end_ns: int
    joined_ns: int

    @property
    def number(self) -> int:
        """The connection in which the tape goes on."""
        return self.joins[-1]


def find_gaps(reader: RecordReader) -> list[Gap]:
    """Return the gaps of a record in their order; one that nothing came after is none yet."""
    ends = {one.connection: one for one in reader.entries if one.kind is EntryKind.GAP}
    before: list[int] = []
    joins: list[int] = []
    gaps = []
    for begin in reader.entries:
        number = begin.connection
        if begin.kind is not EntryKind.CONNECTION_BEGIN:
            continue
        if not begin.payload["snapshot"]:
            before.append(number)
        elif number in ends:
            gaps.append(_gap_of(reader, tuple(before), (*joins, number), ends[number]))
            before, joins = [number], []
        elif before:
            joins.append(number)  # lost before event time went on
        elif _has_tape(reader, number):
            before = [number]
    return gaps


def symbols_of(reader: RecordReader, connection: int) -> tuple[str, tuple[str, ...]] | None:
    """Return dataset and parents that a connection asked for; None: the record doesn't say."""
    for one in reader.entries:
        if one.connection == connection and one.kind is EntryKind.NOTE:
            dataset, symbols = one.payload.get("dataset"), one.payload.get("symbols")
            if isinstance(dataset, str) and isinstance(symbols, list):
                return dataset, tuple(str(symbol) for symbol in symbols)
    return None


def _gap_of(
    reader: RecordReader, before: tuple[int, ...], joins: tuple[int, ...], end: Entry
) -> Gap:
    start_ns, end_ns = (int(str(end.payload[name])) for name in ("start_ns", "end_ns"))
    return Gap(before, joins, start_ns, end_ns, _joined_ns(reader, joins[-1]))


def _has_tape(reader: RecordReader, connection: int) -> bool:
    """Say whether a connection brought any record that is not its snapshot's."""
    found = delivered_since(reader.chunks(connection), ALL_TIMES_NS, joined=True, most=1)
    return len(found[0]) > 0


def _joined_ns(reader: RecordReader, connection: int) -> int:
    pieces = reader.chunks(connection)
    return delivered_since(pieces, ALL_TIMES_NS, joined=True, most=_LOOKED_AT).joined_ns
