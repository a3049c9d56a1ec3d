"""Records that a gateway sends again after a reconnect: which were delivered, which are new.

A replay from `from_ns` holds each instrument's MBO records whose ts_event is then or later, in
their first order: as many as were delivered before are dropped, from the first on. A record's
print is a number made of what it says of the market; ts_recv, ts_in_delta, ts_out and the length
belong to a capture.
"""

from __future__ import annotations

from typing import Final, NamedTuple

import numpy as np
from numpy.typing import NDArray

from ifd_kernels._jit import kernel, leaf, load_i64, load_u32, load_u64
from ifd_kernels.layout import (
    DONE,
    HANDED_OUT,
    MBO_BYTES,
    RECORD_HEADER_BYTES,
    REFUSED,
    RING_FULL,
    RTYPE_MBO,
    RTYPE_SYSTEM,
    Integer,
)

__all__ = ["Delivered", "drop_delivered", "list_delivered"]

# Indexes of `tallies`.
LEFT: Final = 0  # delivered records that were not sent again yet
DROPPED: Final = 1
CHANGED: Final = 2  # dropped ones that say something else now
LISTED: Final = 3
JOINED_NS: Final = 4  # the latest ts_recv in a snapshot, ns UTC
TALLIES: Final = 5

_SNAPSHOT: Final = 32
_REPLAY_COMPLETED: Final = 3
_CODE: Final = 319  # of a system message of DBN 2 and 3
_MIX: Final = np.uint64(0x9E3779B97F4A7C15)
_SHIFT: Final = np.uint64(29)
_LENGTH_BYTE: Final = np.uint64(0xFF)


class Delivered(NamedTuple):
    """What connections before delivered since `from_ns`, by instrument (k of them, n records)."""

    ids: NDArray[np.uint32]  # (k,) ascending
    first: NDArray[np.int64]  # (k + 1,) where an instrument's prints begin
    used: NDArray[np.int64]  # (k,) how many were sent again
    prints: NDArray[np.uint64]  # (n,) in the order of delivery


@leaf
def fingerprint(buffer: NDArray[np.uint8], offset: int) -> np.uint64:
    """Return the print of the MBO record at `offset`, uint64. O(1)."""
    mixed = (load_u64(buffer, offset) & ~_LENGTH_BYTE) * _MIX
    mixed = ((mixed ^ (mixed >> _SHIFT)) + load_u64(buffer, offset + 8)) * _MIX
    mixed = ((mixed ^ (mixed >> _SHIFT)) + load_u64(buffer, offset + 16)) * _MIX
    mixed = ((mixed ^ (mixed >> _SHIFT)) + load_u64(buffer, offset + 24)) * _MIX
    mixed = ((mixed ^ (mixed >> _SHIFT)) + load_u64(buffer, offset + 32)) * _MIX
    mixed = ((mixed ^ (mixed >> _SHIFT)) + np.uint64(load_u32(buffer, offset + 52))) * _MIX
    return mixed ^ (mixed >> _SHIFT)


@leaf
def place_of(ids: NDArray[np.uint32], wanted: int) -> int:
    """Return the index of `wanted` in ascending `ids` (k,), or -1. O(log k)."""
    low, high = 0, ids.shape[0]
    while low < high:
        middle = (low + high) >> 1
        if ids[middle] < wanted:
            low = middle + 1
        else:
            high = middle
    if low < ids.shape[0] and ids[low] == wanted:
        return low
    return -1


@kernel
def list_delivered(
    buffer: NDArray[np.uint8],
    start: int,
    stop: int,
    from_ns: Integer,
    snapshots: int,
    ids: NDArray[np.uint32],
    prints: NDArray[np.uint64],
    tallies: NDArray[np.int64],
) -> tuple[int, int]:
    """List instrument and print of each MBO record in `buffer[start:stop]` since `from_ns`.

    `snapshots` 0 leaves records of snapshots out; the latest `ts_recv_ns` of any is kept.
    Returns (status, next offset): DONE before a record that is not whole, RING_FULL if `ids` and
    `prints` (n,) are full, REFUSED at a length that can't be walked. O(records).
    """
    offset = start
    while offset < stop:
        length = np.int64(buffer[offset]) * 4
        if length < RECORD_HEADER_BYTES:
            return REFUSED, offset
        if offset + length > stop:
            break
        if buffer[offset + 1] == RTYPE_MBO and length >= MBO_BYTES:
            is_snapshot = buffer[offset + 36] & _SNAPSHOT != 0
            if is_snapshot:
                tallies[JOINED_NS] = max(tallies[JOINED_NS], load_i64(buffer, offset + 40))
            wanted = snapshots != 0 or not is_snapshot
            if wanted and load_i64(buffer, offset + 8) >= from_ns:
                at = tallies[LISTED]
                if at == ids.shape[0]:
                    return RING_FULL, offset
                ids[at] = load_u32(buffer, offset + 4)
                prints[at] = fingerprint(buffer, offset)
                tallies[LISTED] = at + 1
        offset = int(offset + length)
    return DONE, offset


@kernel
def drop_delivered(
    buffer: NDArray[np.uint8],
    start: int,
    stop: int,
    from_ns: Integer,
    delivered: Delivered,
    kept: NDArray[np.uint8],
    tallies: NDArray[np.int64],
) -> tuple[int, int, int]:
    """Copy what is new in `buffer[start:stop]` to `kept`, which has room for all of it.

    Returns (status, next offset, bytes kept): DONE if nothing is LEFT to drop, or before a record
    that is not whole; HANDED_OUT after a system message that says a replay is complete; REFUSED
    at a length that can't be walked. O(records · log instruments).
    """
    offset = start
    to = 0
    while offset < stop and tallies[LEFT] > 0:
        length = np.int64(buffer[offset]) * 4
        if length < RECORD_HEADER_BYTES:
            return REFUSED, offset, to
        if offset + length > stop:
            break
        rtype = buffer[offset + 1]
        is_new = True
        if rtype == RTYPE_MBO and length >= MBO_BYTES and load_i64(buffer, offset + 8) >= from_ns:
            at = place_of(delivered.ids, load_u32(buffer, offset + 4))
            if at >= 0:
                before = delivered.first[at] + delivered.used[at]
                if before < delivered.first[at + 1]:
                    is_new = False
                    delivered.used[at] += 1
                    tallies[LEFT] -= 1
                    tallies[DROPPED] += 1
                    tallies[CHANGED] += delivered.prints[before] != fingerprint(buffer, offset)
        if is_new:
            for byte in range(length):
                kept[to + byte] = buffer[offset + byte]
            to = int(to + length)
        offset = int(offset + length)
        if rtype == RTYPE_SYSTEM and length > _CODE:
            if buffer[offset - length + _CODE] == _REPLAY_COMPLETED:
                return HANDED_OUT, offset, to
    return DONE, offset, to
