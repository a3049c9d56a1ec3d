"""Between the end of one connection and the snapshot of another: which of history's records count.

History and a live session's connections hold each instrument's records in the same order, however
times of capture differ. So an instrument's records of history are, in this order: those that
connections before the gap delivered, which are counted and dropped; those of the gap; and from
the first on that the connection behind the gap delivered, that one's own, which are dropped here.
The snapshot it joined with is dropped there: the book is known by the tape.
"""

from __future__ import annotations

from itertools import islice
from typing import TYPE_CHECKING, Final, NamedTuple, TypeAlias

import numpy as np
from numpy.typing import NDArray

from ifd_fast.gateway_snapshot import MBO_DTYPE
from ifd_fast.live_duplicates import DuplicateFilter, delivered_since
from ifd_fast.record_gaps import ALL_TIMES_NS
from ifd_kernels.layout import F_SNAPSHOT, MBO_BYTES

if TYPE_CHECKING:
    from collections.abc import Iterable, Iterator

    from ifd_fast.record_gaps import Gap
    from ifd_fast.record_reader import RecordReader

__all__ = ["Bridge", "align_prints", "snapshot_filter"]

Bytes: TypeAlias = NDArray[np.uint8]
Prints: TypeAlias = dict[int, NDArray[np.uint64]]

_STEP_RECORDS: Final = 1 << 15
_LOOKED_AT: Final = 1 << 20  # records of a connection: by then all of its snapshot has come
_OPEN_END_NS: Final = 2**62


class _Listed(NamedTuple):
    """Records of a stream that are of no snapshot, by instrument: their prints, in order."""

    prints: Prints
    places: dict[int, NDArray[np.int64]]  # of each among all of them


class Bridge:
    """Plays history's records of a gap, without those that connections around it delivered.

    Parameters
    ----------
    reader, gap
        The record, and what it lacks.
    history
        A DBN stream of MBO alone: its header, and its records (n, 56) uint8.
    from_ns
        From when on history holds every record, by ts_event, ns UTC.
    """

    def __init__(
        self, reader: RecordReader, gap: Gap, history: tuple[bytes, Bytes], from_ns: int
    ) -> None:
        """Find out what counts; nothing is played yet."""
        header, self._records = history
        fields = self._records.reshape(-1).view(MBO_DTYPE)
        # History has a snapshot of its own each midnight: the book is known without.
        self._wanted = fields["flags"] & F_SNAPSHOT == 0
        snapshots = int(len(self._wanted) - np.count_nonzero(self._wanted))
        listed = _list([np.frombuffer(header, np.uint8), *_pieces(self._records)])
        behind, changed = self._drop_behind(reader, gap, listed)
        self._filter = _delivered_before(reader, gap, from_ns)
        # What the filter doesn't count came before the loss if it was captured before it.
        early = fields["ts_event"].view(np.int64) < self._filter.from_ns
        early &= fields["ts_recv"].view(np.int64) <= gap.start_ns
        early &= self._wanted
        self._wanted &= ~early
        self._early = int(np.count_nonzero(early))
        self._played = 0
        self._found = {"snapshot": snapshots, "behind": behind, "changed_behind": changed}

    @property
    def counts(self) -> dict[str, int]:
        """What became of history's records: all of them, by what was done with them."""
        before = self._filter.counts
        return {
            "records": len(self._records),
            "played": self._played,
            "early": self._early,
            "counted_before": before["duplicates"],
            "changed_before": before["changed_duplicates"],
            "missing_before": before["missing_duplicates"] + self._filter.left,
            **self._found,
        }

    def play(self) -> Iterator[Bytes]:
        """Yield what counts, whole records, in order."""
        for start in range(0, len(self._records), _STEP_RECORDS):
            step = slice(start, start + _STEP_RECORDS)
            kept = self._filter.keep(self._records[step][self._wanted[step]].reshape(-1))
            self._played += len(kept) // MBO_BYTES
            if len(kept):
                yield kept

    def _drop_behind(self, reader: RecordReader, gap: Gap, listed: _Listed) -> tuple[int, int]:
        """Drop what the connection behind the gap delivered; return how many, how many differ."""
        live = _list(reader.chunks(gap.number), most=len(self._records) + 1)
        places = np.flatnonzero(self._wanted)
        quiet, last, dropped, changed = [], -1, 0, 0
        for instrument, prints in listed.prints.items():
            cut, differ = align_prints(prints, live.prints.get(instrument))
            mine = places[listed.places[instrument]]
            if cut is None:
                quiet.append(mine)
                continue
            self._wanted[mine[cut:]] = False
            shared = min(len(mine) - cut, len(live.prints[instrument]))
            last = max(last, int(mine[cut + shared - 1]))
            dropped, changed = dropped + len(mine) - cut, changed + differ
        return dropped + self._drop_quiet(quiet, last, gap), changed

    def _drop_quiet(self, quiet: list[NDArray[np.int64]], last: int, gap: Gap) -> int:
        """Drop of instruments that were silent behind the gap what came after it; return how many.

        As long as that connection lived, their records were none of it: so they came before it
        joined. What history has beyond is another connection's.
        """
        if not quiet:
            return 0
        mine = np.concatenate(quiet)
        if last >= 0:
            late = mine > last
        else:
            received = self._records.reshape(-1).view(MBO_DTYPE)["ts_recv"].view(np.int64)[mine]
            late = received > max(gap.joined_ns, gap.end_ns)
        self._wanted[mine[late]] = False
        return int(np.count_nonzero(late))


def align_prints(
    history: NDArray[np.uint64], live: NDArray[np.uint64] | None
) -> tuple[int | None, int]:
    """Return where an instrument's records of history begin to be those of a connection.

    Parameters
    ----------
    history, live
        Prints (n,) and (m,) in order; `live` begins somewhere in `history`, and may go on beyond.

    Returns
    -------
    cut, differ
        Records of history from `cut` on are the connection's, None: it has none of them; and how
        many of those that both have are not alike, because one was corrected.
    """
    if live is None:
        return None, 0
    known = np.isin(live[: len(history)], history)
    if not known.any():
        return None, 0
    first = int(known.argmax())  # those before it are in history, too, but say something else
    best, fewest = 0, len(history) + 1
    for place in np.flatnonzero(history == live[first]).tolist():
        cut = max(place - first, 0)
        shared = min(len(history) - cut, len(live))
        differ = int(np.count_nonzero(history[cut : cut + shared] != live[:shared]))
        if differ < fewest:
            best, fewest = cut, differ
    return best, fewest


def snapshot_filter(reader: RecordReader, connection: int, *, whole: bool) -> DuplicateFilter:
    """Return what drops from a connection the snapshot it began with.

    `whole`: all of its MBO records, as of a connection that was lost before anything else came.
    """
    taken = 0

    def counted() -> Iterator[Bytes]:
        nonlocal taken
        for taken, piece in enumerate(reader.chunks(connection), 1):  # noqa: B007
            yield piece

    live = _list(counted(), most=None if whole else _LOOKED_AT)
    pieces = islice(reader.chunks(connection), taken)
    ids, prints, *_ = delivered_since(pieces, ALL_TIMES_NS, joined=False)
    leads = np.ones(len(ids), np.bool_)
    if not whole:
        for instrument, mine in _by_instrument(ids).items():
            others = live.prints.get(instrument)
            if others is not None:
                leads[mine[int((prints[mine] == others[0]).argmax()) :]] = False
    return DuplicateFilter((ids[leads], prints[leads]), ALL_TIMES_NS, ends_with_replay=False)


def _delivered_before(reader: RecordReader, gap: Gap, from_ns: int) -> DuplicateFilter:
    """Return what drops the records that connections before the gap delivered.

    What came before the first of them joined was in its snapshot, and is counted from there on.
    """
    first = reader.chunks(gap.before[0])
    joined_ns = delivered_since(first, _OPEN_END_NS, joined=True).joined_ns
    before = (reader.chunks(one) for one in gap.before)
    return DuplicateFilter.of_connections(before, max(from_ns, joined_ns + 1), joined=True)


def _list(pieces: Iterable[Bytes], most: int | None = None) -> _Listed:
    ids, prints, *_ = delivered_since(pieces, ALL_TIMES_NS, joined=True, most=most)
    places = _by_instrument(ids)
    return _Listed({one: prints[mine] for one, mine in places.items()}, places)


def _by_instrument(ids: NDArray[np.uint32]) -> dict[int, NDArray[np.int64]]:
    """Return the places of each instrument's records, in order."""
    if not len(ids):
        return {}
    order = np.argsort(ids, kind="stable")
    unique, first = np.unique(ids[order], return_index=True)
    return dict(zip(unique.tolist(), np.split(order, first[1:]), strict=True))


def _pieces(records: Bytes) -> Iterator[Bytes]:
    for start in range(0, len(records), _STEP_RECORDS):
        yield np.ascontiguousarray(records[start : start + _STEP_RECORDS]).reshape(-1)
