"""Between the end of one connection and the snapshot of another: which of history's records count.

History and a live session's connections hold each instrument's records in the same order, however
times of capture differ. So an instrument's records of history are, in this order: those that
connections before the gap delivered, which are counted and dropped; those of the gap; and from
the first on that the connection behind the gap delivered, that one's own, which are dropped here.
The snapshot it joined with is dropped there: the book is known by the tape.
"""

from __future__ import annotations

from collections import Counter
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
_NOTHING: Final = np.zeros(0, np.uint32), np.zeros(0, np.uint64)


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
        self._received = fields["ts_recv"].view(np.int64)
        # History has a snapshot of its own each midnight: the book is known without.
        self._wanted = fields["flags"] & F_SNAPSHOT == 0
        self._played = 0
        self._found = Counter(snapshot=int(len(self._wanted) - np.count_nonzero(self._wanted)))
        places = np.flatnonzero(self._wanted)
        listed = _list([np.frombuffer(header, np.uint8), *_pieces(self._records)])
        mine = _Listed(listed.prints, {one: places[at] for one, at in listed.places.items()})
        self._drop_behind(reader, gap, mine)
        first = reader.chunks(gap.before[0])
        joined_ns = delivered_since(first, _OPEN_END_NS, joined=True).joined_ns
        if joined_ns < from_ns:
            before = (reader.chunks(one) for one in gap.before)
            self._filter = DuplicateFilter.of_connections(before, from_ns, joined=True)
            # What the filter doesn't count is known if it was captured before the loss.
            older = fields["ts_event"].view(np.int64) < from_ns
            self._drop("early", np.flatnonzero(older & (self._received <= gap.start_ns)))
            return
        self._filter = DuplicateFilter(_NOTHING, from_ns)
        self._drop_before(reader, gap, mine, max(gap.start_ns, joined_ns))

    @property
    def counts(self) -> dict[str, int]:
        """What became of history's records: all of them, by what was done with them."""
        before = self._filter.counts
        found, names = self._found, ("early", "behind", "changed_behind", "snapshot")
        return {
            "records": len(self._records),
            "played": self._played,
            "counted_before": found["counted_before"] + before["duplicates"],
            "changed_before": found["changed_before"] + before["changed_duplicates"],
            "missing_before": (
                found["missing_before"] + before["missing_duplicates"] + self._filter.left
            ),
            **{name: found[name] for name in names},
        }

    def play(self) -> Iterator[Bytes]:
        """Yield what counts, whole records, in order."""
        for start in range(0, len(self._records), _STEP_RECORDS):
            step = slice(start, start + _STEP_RECORDS)
            kept = self._filter.keep(self._records[step][self._wanted[step]].reshape(-1))
            self._played += len(kept) // MBO_BYTES
            if len(kept):
                yield kept

    def _drop(self, name: str, places: NDArray[np.int64]) -> None:
        """Drop records of history that are still wanted, counted under `name`."""
        self._found[name] += int(np.count_nonzero(self._wanted[places]))
        self._wanted[places] = False

    def _drop_behind(self, reader: RecordReader, gap: Gap, mine: _Listed) -> None:
        """Drop what the connection behind the gap delivered.

        As long as it lived, records of an instrument that was silent were none of it: so they
        came before it joined. What history has beyond is another connection's.
        """
        live = _list(reader.chunks(gap.number), most=len(self._records) + 1)
        met, quiet, last = _meet(mine, live)
        for places, cut, _, differ in met:
            self._found["changed_behind"] += differ
            self._drop("behind", places[cut:])
        for places in quiet:
            late = self._received[places] > max(gap.joined_ns, gap.end_ns)
            self._drop("behind", places[late if last < 0 else places > last])

    def _drop_before(self, reader: RecordReader, gap: Gap, mine: _Listed, known_ns: int) -> None:
        """Drop what is known by a connection that lived for seconds only, and by its snapshot.

        All it delivered is in history, so it is found as it is behind a gap. Without that, what
        was captured by `known_ns` is known.
        """
        live = _list(reader.chunks(gap.before[0]))
        met, quiet, last = _meet(mine, live)
        for places, cut, stop, differ in met:
            self._found["changed_before"] += differ
            self._drop("early", places[:cut])
            self._drop("counted_before", places[cut:stop])
        for places in quiet:
            early = self._received[places] <= known_ns
            self._drop("early", places[early if last < 0 else places < last])
        delivered = sum(map(len, live.prints.values()))
        self._found["missing_before"] += max(delivered - self._found["counted_before"], 0)


class _Met(NamedTuple):
    """An instrument's records in history (n,), and which of them a connection has, too."""

    places: NDArray[np.int64]
    cut: int
    stop: int
    differ: int


def _meet(mine: _Listed, live: _Listed) -> tuple[list[_Met], list[NDArray[np.int64]], int]:
    """Return what a connection and history both have, and places of instruments silent there.

    Third comes the last place that both have, -1 if there is none.
    """
    met, quiet, last = [], [], -1
    for instrument, places in mine.places.items():
        cut, differ = align_prints(mine.prints[instrument], live.prints.get(instrument))
        if cut is None:
            quiet.append(places)
            continue
        stop = min(len(places), cut + len(live.prints[instrument]))
        last = max(last, int(places[stop - 1]))
        met.append(_Met(places, cut, stop, differ))
    return met, quiet, last


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
