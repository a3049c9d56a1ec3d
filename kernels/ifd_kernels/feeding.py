"""From bytes to applied events, a slice at a time.

A slice is framed, resolved and applied while it still lies in the cache, and what Python does
between kernels is paid once a chunk, not once a slice. A few events stay behind in the ring until
the next slice is framed: the book asks for its cache lines eight events ahead.
"""

from __future__ import annotations

from typing import Final, NamedTuple

import numpy as np
from numpy.typing import NDArray

from ifd_kernels._jit import kernel
from ifd_kernels._packed import Packed, unpack
from ifd_kernels.book import LOOK_AHEAD
from ifd_kernels.engine import Engine, advance
from ifd_kernels.instruments import SLOTS, resolve_batch
from ifd_kernels.layout import (
    CONSUMED,
    DONE,
    NEED_NAMES,
    NEED_SLOTS,
    PUBLISHED,
    RING_FULL,
    Integer,
    Records,
    Ring,
)
from ifd_kernels.wire import frame_batch

__all__ = ["Feed", "Names", "Wire", "feed_bytes"]

SLICE: Final = 1_024
NOTHING_DUE_NS: Final = -2  # an event without ts_recv has -1
GATHERED: Final = 8_192  # events framed before new slots are shown to the border, all at once


class Wire(NamedTuple):
    """What framing one stream needs beside its bytes."""

    record_bytes: NDArray[np.int64]  # (256,)
    handed: NDArray[np.int64]  # (h, 2)
    refused: NDArray[np.int64]  # (n, 2)
    counters: NDArray[np.int64]  # (wire.COUNTERS,)


class Names(NamedTuple):
    """What resolving needs beside the engine's identities (k slots)."""

    id_map: Records  # (at least 2 k,) IDMAP
    seen: Records  # (k,) SEEN
    counts: NDArray[np.int64]  # (COUNTS,)


@kernel
def first_unresolved(ring: Ring) -> Integer:
    """Return the sequence number of the first event that has no slot yet, or PUBLISHED."""
    mask = ring.slot.shape[0] - 1
    for sequence in range(ring.cursor[CONSUMED], ring.cursor[PUBLISHED]):
        if ring.slot[sequence & mask] < 0:
            return sequence
    return np.int64(ring.cursor[PUBLISHED])


@kernel
def first_due(ring: Ring, start: Integer, stop: Integer, due_ns: Integer) -> Integer:
    """Return the first event from `start` on received at `due_ns` or later, or `stop`."""
    mask = ring.slot.shape[0] - 1
    for sequence in range(start, stop):
        if ring.ts_recv_ns[sequence & mask] >= due_ns:
            return sequence
    return stop


@kernel
def resolve_some(
    engine: Engine, names: Names, start: Integer, stop: Integer, due_ns: Integer
) -> tuple[Integer, Integer]:
    """Resolve events from `start` to `stop` - 1, up to the first one that is due.

    Returns (DONE, first unresolved), (NEED_NAMES, first due) or (NEED_SLOTS, first unresolved).
    """
    ring = engine.ring
    due = stop if due_ns == NOTHING_DUE_NS else first_due(ring, start, stop, due_ns)
    status, known = resolve_batch(
        ring, start, due, names.id_map, engine.identities, names.seen, names.counts
    )
    if status != DONE:
        return np.int64(status), np.int64(known)
    return np.int64(DONE if due == stop else NEED_NAMES), np.int64(due)


class Feed(NamedTuple):
    """All that feeding needs beside the bytes."""

    engine: Engine
    names: Names
    wire: Wire


@kernel
def feed_bytes(
    feed: Packed[Feed],
    buffer: NDArray[np.uint8],
    start: int,
    stop: int,
    due_ns: Integer,
    framed: int,
    until: Integer,
) -> tuple[Integer, int, int]:
    """Frame, resolve and apply `buffer[start:stop]` and what is in the ring; O(records).

    `framed` is RING_FULL while `buffer` may hold more to frame, else what framing said last:
    give it back after a mend. `until` is the first event to leave in the ring, -1: none. An event
    received at `due_ns` or later waits.
    Returns (status, next offset, framed): DONE, the ring is consumed and `framed` says why
    framing stopped; NEED_SLOTS, slots were opened or there is no room for one, before any of
    their events is applied; NEED_NAMES, the next event is due; or what `advance` needs.
    """
    engine, names, wire = unpack(feed)
    ring = engine.ring
    cursor = ring.cursor
    offset = start
    known = first_unresolved(ring)
    opened = names.counts[SLOTS]
    need: Integer = DONE
    while True:
        waiting = cursor[PUBLISHED] - cursor[CONSUMED]
        # what was gathered for new slots is applied before more is framed
        if framed == RING_FULL and (waiting <= LOOK_AHEAD or names.counts[SLOTS] != opened):
            framed, offset = frame_batch(
                buffer, offset, stop, wire.record_bytes, SLICE, ring,
                wire.handed, wire.refused, wire.counters,
            )  # fmt: skip
        end = np.int64(cursor[PUBLISHED]) if until < 0 else np.int64(until)
        need, known = resolve_some(engine, names, min(known, end), end, due_ns)
        waiting = cursor[PUBLISHED] - cursor[CONSUMED]
        if names.counts[SLOTS] != opened or need == NEED_SLOTS:
            room = min(GATHERED, ring.slot.shape[0]) - SLICE
            if need == DONE and framed == RING_FULL and waiting <= room:
                continue
            return np.int64(NEED_SLOTS), offset, framed
        last = known
        if need == DONE and framed == RING_FULL and waiting > LOOK_AHEAD:
            last = known - LOOK_AHEAD
        status = advance(engine, last, known)
        if status != DONE:
            return status, offset, framed
        if need != DONE:
            return need, offset, framed
        if framed != RING_FULL:
            return np.int64(DONE), offset, framed
