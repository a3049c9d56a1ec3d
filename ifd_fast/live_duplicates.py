"""Exactly once over reconnects: what a connection brings again is dropped, and counted.

After a reconnect the gateway replays each instrument's MBO records from a time on, each
instrument's in their first order. How many of them were delivered before is reckoned from the
recorded bytes, then: the hot path keeps no account. Live and the replay of a record drop alike.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Final, NamedTuple, TypeAlias

import numpy as np
from numpy.typing import NDArray

from ifd_fast.header import HeaderReader
from ifd_kernels.duplicates import (
    CHANGED,
    DROPPED,
    JOINED_NS,
    LEFT,
    LISTED,
    TALLIES,
    Delivered,
    drop_delivered,
    list_delivered,
)
from ifd_kernels.layout import HANDED_OUT, REFUSED, RING_FULL

if TYPE_CHECKING:
    from collections.abc import Iterable

__all__ = ["DuplicateFilter", "Scanned", "delivered_since"]

Bytes: TypeAlias = NDArray[np.uint8]

_NO_BYTES: Final = np.zeros(0, np.uint8)
_START_RECORDS: Final = 1 << 14
_SYSTEM_TEXT: Final = slice(16, 319)
_SYSTEM_BYTES: Final = (320, 328)  # without and with ts_out


class DuplicateFilter:
    """Drops from one connection's records those that connections before delivered.

    Parameters
    ----------
    delivered
        Instrument and print of each delivered record since `from_ns`, in order: (n,) uint32 and
        (n,) uint64, as `delivered_since` returns them.
    from_ns
        From when on the connection was asked to replay, ns UTC.
    ends_with_replay
        What was not sent again by the message that MBO's replay is complete never will be.
    """

    def __init__(
        self,
        delivered: tuple[NDArray[np.uint32], NDArray[np.uint64]],
        from_ns: int,
        *,
        ends_with_replay: bool = True,
    ) -> None:
        """Begin with nothing sent again."""
        ids, prints = delivered
        order = np.argsort(ids, kind="stable")
        unique, counts = np.unique(ids, return_counts=True)
        first = np.concatenate([np.zeros(1, np.int64), np.cumsum(counts, dtype=np.int64)])
        self.from_ns = from_ns
        self._delivered = Delivered(
            unique.astype(np.uint32), first, np.zeros(len(unique), np.int64), prints[order]
        )
        self._tallies = np.zeros(TALLIES, np.int64)
        self._tallies[LEFT] = len(ids)
        self._ends_with_replay = ends_with_replay
        self._carry: Bytes = _NO_BYTES
        self._missing = 0

    @classmethod
    def of_connections(
        cls, connections: Iterable[Iterable[Bytes]], from_ns: int, *, joined: bool = False
    ) -> DuplicateFilter:
        """Reckon from the bytes of connections in a row what they delivered since `from_ns`.

        `joined`: the first of them began with a snapshot, which no replay holds.
        """
        found = (
            delivered_since(pieces, from_ns, joined=joined and number == 0)
            for number, pieces in enumerate(connections)
        )
        return cls.of_scans(found, from_ns)

    @classmethod
    def of_scans(cls, connections: Iterable[Scanned], from_ns: int) -> DuplicateFilter:
        """Return the filter for what connections in a row delivered since `from_ns`.

        Each replays an instrument's records from before `from_ns`, or began with them: so the one
        that came furthest in an instrument says what was delivered of it.
        """
        best = (np.zeros(0, np.uint32), np.zeros(0, np.uint64))
        for one in connections:
            best = _further(best, (one.ids, one.prints))
        return cls(best, from_ns)

    @property
    def is_done(self) -> bool:
        """Nothing is left to drop, and nothing is held back: bytes may go straight on."""
        return self._tallies[LEFT] == 0 and not len(self._carry)

    @property
    def left(self) -> int:
        """Delivered records that were not sent again yet."""
        return int(self._tallies[LEFT])

    @property
    def counts(self) -> dict[str, int]:
        """Records dropped, those of them that say something else now, those never sent again."""
        return {
            "duplicates": int(self._tallies[DROPPED]),
            "changed_duplicates": int(self._tallies[CHANGED]),
            "missing_duplicates": self._missing,
        }

    def keep(self, chunk: Bytes) -> Bytes:
        """Return what is new in the next bytes behind the header; a record's part may wait."""
        if self.is_done:
            return chunk
        data = np.concatenate([self._carry, chunk])
        kept = np.empty(len(data), np.uint8)
        start, to, status = 0, 0, HANDED_OUT
        while status == HANDED_OUT and self._tallies[LEFT]:
            with np.errstate(over="ignore"):  # prints wrap on purpose
                status, stop, count = drop_delivered(
                    data, start, len(data), self.from_ns, self._delivered, kept[to:], self._tallies
                )
            start, to = stop, to + count
            if status == HANDED_OUT and self._ends_with_replay and _is_of_mbo(data, stop):
                self._missing += int(self._tallies[LEFT])
                self._tallies[LEFT] = 0
        if self._tallies[LEFT] and status != REFUSED:
            self._carry = data[start:]
            return kept[:to]
        # What can't be walked is the framer's to refuse; it says where.
        self._tallies[LEFT] = 0
        self._carry = _NO_BYTES
        return np.concatenate([kept[:to], data[start:]])


class Scanned(NamedTuple):
    """What was found in a connection's bytes."""

    ids: NDArray[np.uint32]  # (n,) of each record since a time, in order
    prints: NDArray[np.uint64]  # (n,)
    joined_ns: int  # the latest ts_recv in a snapshot, ns UTC; -1: there is none
    end: int  # the byte behind the last whole record


def delivered_since(
    pieces: Iterable[Bytes],
    from_ns: int,
    *,
    joined: bool,
    first: int = 0,
    most: int | None = None,
) -> Scanned:
    """Return instruments and prints of a connection's records since `from_ns`, in order.

    With `joined`, records of a snapshot are left out. `pieces` are all of its bytes, header first,
    or those from `first` on, where a record begins; after the one with which there are `most`
    records no other is looked at.
    """
    header, carry = HeaderReader("record"), _NO_BYTES
    ids, prints = np.zeros(_START_RECORDS, np.uint32), np.zeros(_START_RECORDS, np.uint64)
    tallies = np.zeros(TALLIES, np.int64)
    tallies[JOINED_NS] = -1
    inside, end = first > 0, first
    for piece in pieces:
        data = piece
        if not inside:
            found, taken = header.feed(piece)
            inside = found is not None
            data = piece[taken:]
            end += taken
        if not inside or not len(data):
            continue
        data = np.concatenate([carry, data])
        start, status = 0, RING_FULL
        while status == RING_FULL:
            with np.errstate(over="ignore"):  # prints wrap on purpose
                status, start = list_delivered(
                    data, start, len(data), from_ns, int(not joined), ids, prints, tallies
                )
            if status == RING_FULL:
                ids, prints = (np.concatenate([one, np.zeros_like(one)]) for one in (ids, prints))
        end += int(start)
        if status == REFUSED or (most is not None and tallies[LISTED] >= most):
            break
        carry = data[start:]
    count = int(tallies[LISTED])
    return Scanned(ids[:count], prints[:count], int(tallies[JOINED_NS]), end if inside else 0)


def _further(
    one: tuple[NDArray[np.uint32], NDArray[np.uint64]],
    other: tuple[NDArray[np.uint32], NDArray[np.uint64]],
) -> tuple[NDArray[np.uint32], NDArray[np.uint64]]:
    """Return of each instrument the longer of two lists; they are parts of the same tape."""
    if not len(one[0]) or not len(other[0]):
        return one if len(one[0]) else other
    lists = _by_instrument(*one)
    for instrument, prints in _by_instrument(*other).items():
        if len(prints) > len(lists.get(instrument, ())):
            lists[instrument] = prints
    ids = np.array(list(lists), np.uint32)
    counts = [len(prints) for prints in lists.values()]
    return np.repeat(ids, counts), np.concatenate(list(lists.values()))


def _by_instrument(
    ids: NDArray[np.uint32], prints: NDArray[np.uint64]
) -> dict[int, NDArray[np.uint64]]:
    order = np.argsort(ids, kind="stable")
    unique, first = np.unique(ids[order], return_index=True)
    return dict(zip(unique.tolist(), np.split(prints[order], first[1:]), strict=True))


def _is_of_mbo(data: Bytes, stop: int) -> bool:
    """Say whether the system message that ends at `stop` speaks of MBO's replay."""
    sizes = (size for size in _SYSTEM_BYTES if int(data[stop - size]) * 4 == size)
    start = stop - next(sizes, 0)
    return b"mbo" in data[start:stop][_SYSTEM_TEXT].tobytes().lower()
