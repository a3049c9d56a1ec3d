"""Framing and transposing: the kernel beside its oracle and beside numpy.

What was tried for `wire.frame_batch`, 24,000 real ESH4 records, ring of 16,384, ns/event:

- walk, judge, scatter as written down                                     7.7
- compare length and type as one word, step by a constant                  6.8
- unsigned column index (no test for counting from the end)                5.4
- one load for size, flags, action and side                                4.9
- action and side judged in two short tests that stop early, as it stands  5.2
- without writing `slot`, or without the clamp of times: 0.3 less each; both are the contract
- batches of 4,096, 8,192 or unbounded events, ring of 4,096 to 65,536: within 5 %
"""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import numpy as np
import pytest

from bench.streams import MBO, mbo_stream
from bench.timing import best_together_ns
from ifd_fast.framing import Framer, allocate_ring, record_bytes
from ifd_kernels import wire
from ifd_kernels.layout import CONSUMED, DONE, PUBLISHED
from tests.oracle import wire as oracle

EVENTS = 65_536
ORACLE_EVENTS = 2_000
BATCH = 8_192
FIELDS = {
    "ts_event": "ts_event_ns",
    "ts_recv": "ts_recv_ns",
    "order_id": "order_id",
    "price": "price_1e9",
    "size": "size",
    "instrument_id": "instrument_id",
    "sequence": "sequence",
    "flags": "flags",
    "action": "action",
    "side": "side",
}
# The fastest of many rounds, quiet: the kernel takes 5.0 ns, the oracle 1,970 on the quickest build
# of CPython 3.11 tried (Debian's) and 2,630 on the slowest (built from source): 395 and
# 525 times as long. Above that lies noise alone (3 rounds of the oracle once made it 930), so the
# floor stands a quarter below the quickest. numpy, which checks nothing: 1.3.
FLOOR_ORACLE = 300
FLOOR_NUMPY = 0.6

DATA = b"\0" + mbo_stream(EVENTS).tobytes()  # at an odd address, as DBN v1 files have them


def kernel_thunk() -> Callable[[], int]:
    """Return a call that frames all events through a ring of one batch."""
    buffer = np.frombuffer(bytearray(DATA), np.uint8)
    ring, table = allocate_ring(BATCH), record_bytes(3)
    handed, refused = np.zeros((8, 2), np.int64), np.zeros((8, 2), np.int64)
    counters = np.zeros(wire.COUNTERS, np.int64)

    def frame() -> int:
        ring.cursor[:] = 0
        status, offset = -1, 1
        while status != DONE:
            status, offset = wire.frame_batch(
                buffer, offset, len(buffer), table, BATCH, ring, handed, refused, counters
            )
            ring.cursor[CONSUMED] = ring.cursor[PUBLISHED]
        return int(ring.cursor[PUBLISHED])

    return frame


def framer_thunk() -> Callable[[], int]:
    """Return a call that does the same through the border, in chunks of 256 KiB."""
    buffer = np.frombuffer(bytearray(DATA), np.uint8)[1:]
    ring = allocate_ring(BATCH)

    def frame() -> int:
        ring.cursor[:] = 0
        framer = Framer(ring, 3)
        for start in range(0, len(buffer), 1 << 18):
            for _ in framer.frames(buffer[start : start + (1 << 18)]):
                ring.cursor[CONSUMED] = ring.cursor[PUBLISHED]
        framer.finish()
        return int(ring.cursor[PUBLISHED])

    return frame


def numpy_thunk() -> Callable[[], int]:
    """Return a call that copies the same columns, batch by batch, from a numpy record view."""
    ring = allocate_ring(BATCH)

    def transpose() -> int:
        records = np.frombuffer(DATA, MBO, offset=1)
        for start in range(0, EVENTS, BATCH):
            part = records[start : start + BATCH]
            for source, target in FIELDS.items():
                getattr(ring, target)[: len(part)] = part[source]
            ring.slot[: len(part)] = -1
        return len(records)

    return transpose


def oracle_thunk() -> Callable[[], int]:
    """Return a call of the oracle on a share of the events."""
    lengths = {rtype: int(size) for rtype, size in enumerate(record_bytes(3)) if size}
    data = DATA[1 : 1 + ORACLE_EVENTS * 56]
    return lambda: len(oracle.frame_stream(data, lengths).events)


THUNKS: dict[str, tuple[Callable[[], Callable[[], int]], int]] = {
    "kernel": (kernel_thunk, EVENTS),
    "framer": (framer_thunk, EVENTS),
    "numpy": (numpy_thunk, EVENTS),
    "oracle": (oracle_thunk, ORACLE_EVENTS),
}


@pytest.mark.benchmark(group="wire.frame_batch")
@pytest.mark.parametrize("name", THUNKS)
def test_frame_batch(name: str, benchmark: Any) -> None:
    """All events are framed; `ns_per_event` (of the fastest round) is kept with the result."""
    make, events = THUNKS[name]
    thunk = make()
    assert thunk() == events
    benchmark.pedantic(thunk, rounds=3 if name == "oracle" else 100, warmup_rounds=1)
    if benchmark.stats is not None:
        benchmark.extra_info["ns_per_event"] = benchmark.stats.stats.min / events * 1e9


def test_the_kernel_beats_oracle_and_numpy() -> None:
    """A floor under both ratios of one run, timed in turn, in at most three attempts."""
    calls = {"kernel": 10, "oracle": 2, "numpy": 5}
    contenders = {
        name: (make(), events, calls[name])
        for name, (make, events) in THUNKS.items()
        if name in calls
    }
    for attempt in range(3):
        best = best_together_ns(contenders, 10)
        ratios = best["oracle"] / best["kernel"], best["numpy"] / best["kernel"]
        if ratios[0] >= FLOOR_ORACLE and ratios[1] >= FLOOR_NUMPY:
            return
        if attempt == 2:
            pytest.fail(f"{best} ns an event: oracle and numpy take {ratios} times the kernel's")
