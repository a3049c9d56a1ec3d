"""Counted work after a reconnect: what was delivered, and what is sent again."""

from __future__ import annotations

import numpy as np

from bench.streams import mbo_stream
from bench.workloads import Thunk, region
from ifd_kernels.duplicates import LEFT, LISTED, TALLIES, Delivered, drop_delivered, list_delivered

__all__ = ["drop_again", "list_again"]

EVENTS = 16_384


def make_lists() -> tuple[np.ndarray, np.ndarray, np.ndarray, np.ndarray]:
    """Return a stream's bytes, and arrays for instruments, prints and tallies."""
    data = np.frombuffer(bytearray(mbo_stream(EVENTS).tobytes()), np.uint8)
    return data, np.zeros(EVENTS, np.uint32), np.zeros(EVENTS, np.uint64), np.zeros(TALLIES, int)


@region("duplicates.list_delivered", events=EVENTS)
def list_again() -> Thunk:
    """List every record of a stream."""
    data, ids, prints, tallies = make_lists()

    def run() -> object:
        tallies[LISTED] = 0
        return list_delivered(data, 0, len(data), 0, 1, ids, prints, tallies)

    return run


@region("duplicates.drop_delivered", events=EVENTS)
def drop_again() -> Thunk:
    """Drop every record of a stream but one, which was not delivered."""
    data, ids, prints, tallies = make_lists()
    list_delivered(data, 0, len(data), 0, 1, ids, prints, tallies)
    order = np.argsort(ids, kind="stable")
    unique, counts = np.unique(ids, return_counts=True)
    first = np.concatenate([[0], np.cumsum(counts)])
    before = Delivered(unique, first, np.zeros(len(unique), np.int64), prints[order])
    kept = np.empty(len(data), np.uint8)

    def run() -> object:
        before.used[:] = 0
        tallies[LEFT] = EVENTS + 1
        return drop_delivered(data, 0, len(data), 0, before, kept, tallies)

    return run
