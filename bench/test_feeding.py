"""What bytes cost on their way into the books, framed, resolved and applied in slices.

What was tried for `feeding.feed_bytes`, one core of a loaded machine, each beside the loop that
framed, resolved and applied 8,192 events in three calls (its ns an event are 1.00), segments of
1 MiB taken at their quickest over eight rounds:

    one call a chunk, slices of 1,024; no carry line at a BBO change    W1 0.95  W2 0.80 to 0.87
    the same, ring of 16,384 events rather than 65,536                  W1 0.93  W2 0.87
    the same, ring of 2,048                                             W1 0.98
    chunks of 256 KiB rather than 1 MiB, ring of 2,048                  W1 1.04
    columns of the ring at different places of their pages, 65,536      W1 0.93
    columns apart, ring of 16,384 / 4,096                               W1 0.95 / 0.98
    chunks of 2 MiB rather than 1 MiB                                   W1 0.96, W2 0.89

New slots are gathered over 8,192 events: shown to the border after each slice of 1,024, the 10,000
of W2 made 829 breaks in its first million events; without definitions those cost twice as much.

A live read holds few records, and then the calls cost most. One of ten records, us, each added to
the one before, on one core of a quiet machine:

    arrays passed one by one, 110 of them                               28.8
    arrays packed, one argument (`ifd_kernels._packed`)                 16.2
    slots shown to the kernels only when there are new ones, no empty
    carry copied, counters read as Python's numbers                     11.2, of which kernel 2.2
"""

from __future__ import annotations

from typing import Any

import pytest

from bench.engine_feed import make_profile_engine
from bench.streams import mbo_stream
from ifd_fast.framing import Framer

EVENTS = 1 << 17
CHUNK_BYTES = 1 << 20


@pytest.mark.benchmark(group="feeding.feed_bytes, 131,072 records in chunks of 1 MiB")
def test_feed_bytes(benchmark: Any) -> None:
    """Feed a stream of 600 instruments to a fresh engine, chunk by chunk."""
    data = mbo_stream(EVENTS).tobytes()
    chunks = [
        bytearray(data[start : start + CHUNK_BYTES]) for start in range(0, len(data), CHUNK_BYTES)
    ]

    def setup() -> tuple[tuple[Any, Framer], dict[str, Any]]:
        engine = make_profile_engine()
        return (engine, Framer(engine.state.ring, 3)), {}

    def feed(engine: Any, framer: Framer) -> None:
        for chunk in chunks:
            engine.feed(framer, chunk)
        assert framer.counts()["events"] == EVENTS

    benchmark.pedantic(feed, setup=setup, rounds=8, warmup_rounds=2)
    benchmark.extra_info["ns_per_event"] = benchmark.stats.stats.min / EVENTS * 1e9
