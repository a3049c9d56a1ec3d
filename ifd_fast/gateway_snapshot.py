"""The resting orders at a place on the tape, as the records of a market-by-order snapshot.

Worked out for all orders at once, from the records before the place: an order's last add or
modification, less what was cancelled since, if its instrument was not cleared after that. A
modification that takes no more and leaves the price keeps its place in the queue; any other goes
to the end.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any, Final, NamedTuple

import numpy as np
from numpy.typing import NDArray

from ifd_fast.gateway_tape import Cursors, Tape
from ifd_kernels.layout import (
    ACTION_ADD,
    ACTION_CANCEL,
    ACTION_CLEAR,
    ACTION_MODIFY,
    MBO_BYTES,
    UNDEF_PRICE,
)

__all__ = ["MBO_DTYPE", "Resting", "snapshot_records"]

SNAPSHOT_FLAGS: Final = 32 | 8  # F_SNAPSHOT, F_BAD_TS_RECV
LAST: Final = 128
MBO_DTYPE: Final[np.dtype[Any]] = np.dtype(
    {
        "names": [
            "length", "rtype", "publisher_id", "instrument_id", "ts_event", "order_id", "price",
            "size", "flags", "channel_id", "action", "side", "ts_recv", "ts_in_delta", "sequence",
        ],
        "formats": [
            "u1", "u1", "<u2", "<u4", "<u8", "<u8", "<i8", "<u4", "u1", "u1", "u1", "u1", "<u8",
            "<i4", "<u4",
        ],
        "offsets": [0, 1, 2, 4, 8, 16, 24, 32, 36, 37, 38, 39, 40, 48, 52],
        "itemsize": MBO_BYTES,
    }
)  # fmt: skip
Events: Any = NDArray[np.void]


class Resting(NamedTuple):
    """Orders that rest (n,): the record that last changed each, and the size that is left."""

    records: NDArray[np.void]
    size: NDArray[np.int64]
    queue: NDArray[np.int64]  # place of the record that gave the order its place in the queue


def snapshot_records(
    tape: Tape, cursors: Cursors, instrument_ids: Sequence[int], now_ns: int
) -> NDArray[np.void]:
    """Return the snapshot (n,) of MBO_DTYPE: for each instrument a clear, then its orders.

    Parameters
    ----------
    tape, cursors
        The market, and the place; records behind it count.
    instrument_ids
        Whose books are wanted; one without orders has its clear alone.
    now_ns
        When the snapshot is made: ts_recv of all its records.
    """
    wanted = np.unique(np.array(instrument_ids, np.uint32))
    resting = _find_resting(_events_before(tape, cursors, wanted))
    clears = np.zeros(len(wanted), MBO_DTYPE)
    clears["instrument_id"], clears["ts_event"] = wanted, now_ns
    clears["price"], clears["action"] = UNDEF_PRICE, ACTION_CLEAR
    clears["publisher_id"], clears["side"] = 1, ord("N")
    adds = resting.records.copy()
    adds["action"], adds["size"], adds["ts_in_delta"] = ACTION_ADD, resting.size, 0
    found: NDArray[np.void] = np.concatenate([clears, adds])
    found["length"], found["rtype"] = MBO_BYTES // 4, 0xA0
    found["flags"], found["ts_recv"] = SNAPSHOT_FLAGS, now_ns
    queue = np.concatenate([np.full(len(clears), -1), resting.queue])
    found = found[np.lexsort((queue, found["instrument_id"]))]
    ends = np.append(
        found["instrument_id"][1:] != found["instrument_id"][:-1], [True] * bool(len(found))
    )
    found["flags"] |= np.where(ends, LAST, 0).astype(np.uint8)
    return found


def _events_before(tape: Tape, cursors: Cursors, wanted: NDArray[np.uint32]) -> NDArray[np.void]:
    """Return the records of these instruments behind the place, in the order of the tape."""
    parts = [
        (part, cursor)
        for part, cursor in zip(tape.parts, cursors, strict=True)
        if part.schema == "mbo"
    ]
    events = [part.rows[:cursor].reshape(-1).view(MBO_DTYPE) for part, cursor in parts]
    events = [some[np.isin(some["instrument_id"], wanted)] for some in events]
    together = np.concatenate(events) if events else np.zeros(0, MBO_DTYPE)
    if len(events) > 1:
        together = together[np.argsort(together["ts_recv"], kind="stable")]
    return together


def _find_resting(events: NDArray[np.void]) -> Resting:
    """Return the orders that rest after `events` (n,), by instrument and order."""
    place = np.arange(len(events))
    cleared = _last_clear(events)
    changes = np.isin(events["action"], (ACTION_ADD, ACTION_CANCEL, ACTION_MODIFY))
    kept = changes & (place > cleared)
    events, place = events[kept], place[kept]
    order = np.lexsort((place, events["order_id"], events["instrument_id"]))
    events, place = events[order], place[order]
    if not len(events):
        return Resting(events, np.zeros(0, np.int64), np.zeros(0, np.int64))
    new = np.ones(len(events), np.bool_)
    new[1:] = (events["instrument_id"][1:] != events["instrument_id"][:-1]) | (
        events["order_id"][1:] != events["order_id"][:-1]
    )
    cancel = events["action"] == ACTION_CANCEL
    size = events["size"].astype(np.int64)
    # What a record finds: the order's last add or modification before it, and cancels since then.
    stated = _last_stated(new, cancel)
    removed = np.cumsum(np.where(cancel, size, 0))
    rest = np.where(stated >= 0, size[stated] - (removed - removed[stated]), 0)
    ends = np.append(new[1:], True)
    before = np.append(0, np.where(ends, 0, rest)[:-1])
    held = np.where(new, -1, np.append(-1, stated[:-1]))
    keeps = (events["action"] == ACTION_MODIFY) & (held >= 0) & (before > 0)
    keeps &= (events["price"] == events["price"][held]) & (size <= before)
    joined = np.maximum.accumulate(np.where(cancel | keeps, -1, np.arange(len(events))))
    alive = ends & (stated >= 0) & (rest > 0)
    return Resting(events[stated[alive]], rest[alive], place[joined[alive]])


def _last_stated(new: NDArray[np.bool_], cancel: NDArray[np.bool_]) -> NDArray[np.int64]:
    """Return for each record (n,) the place of its order's last add or modification, or -1."""
    places = np.arange(len(new))
    last = np.maximum.accumulate(np.where(cancel, -1, places))
    first = np.maximum.accumulate(np.where(new, places, -1))
    return np.where(last >= first, last, -1)


def _last_clear(events: NDArray[np.void]) -> NDArray[np.int64]:
    """Return for each record (n,) the place of its instrument's last clear of all, or -1."""
    clears = np.flatnonzero(events["action"] == ACTION_CLEAR)
    ids, which = np.unique(events["instrument_id"], return_inverse=True)
    last = np.full(len(ids), -1, np.int64)
    np.maximum.at(last, which[clears], clears)
    return last[which]
