"""Latency histograms: what they say of waits, beside the waits themselves."""

from __future__ import annotations

import numpy as np
from hypothesis import given
from hypothesis import strategies as st

from ifd_fast.latencies import Latency
from ifd_kernels.latency import BUCKETS, LONGEST_NS, SUB_BITS, TALLIES, count_waits
from tests.oracle import latency as oracle

_times = st.integers(-5, 200) | st.integers(0, 2**44) | st.integers(0, 62).map(lambda n: 2**n)
waits = st.lists(st.tuples(_times, st.integers(1, 4)), max_size=60)
ERROR = 1 + 2**-SUB_BITS


def counted(rows: list[tuple[int, int]]) -> tuple[np.ndarray, np.ndarray]:
    """Return counts and tallies of waits."""
    counts, tallies = np.zeros(BUCKETS, np.int64), np.zeros(TALLIES, np.int64)
    table = np.array(rows, np.int64).reshape(-1, 2)
    assert count_waits(table, len(rows), counts, tallies) == sum(weight for _, weight in rows)
    return counts, tallies


@given(waits, waits)
def test_counts_add_up_in_any_order(one: list[tuple[int, int]], two: list[tuple[int, int]]) -> None:
    """Two histograms' sum is that of both streams, however they are mixed."""
    both, tallies = counted([*one, *two])
    again, _ = counted(sorted([*two, *one]))
    assert (both == counted(one)[0] + counted(two)[0]).all()
    assert (both == again).all()
    kept, longest, negative = oracle.count_waits([*one, *two])
    assert (int(both.sum()), *tallies.tolist()) == (len(kept), longest, negative)


@given(waits.filter(bool), st.sampled_from([0.5, 0.9, 0.99, 0.999]))
def test_percentiles_are_close_from_above(rows: list[tuple[int, int]], share: float) -> None:
    """At least the true one, at most a 32nd more: to the ns below 64."""
    latency = Latency()
    for wait_ns, weight in rows:
        latency.add(wait_ns, weight)
    kept, longest, negative = oracle.count_waits(rows)
    found = latency.describe()
    true_ns = oracle.percentile(kept, share)
    said_ns = found[f"p{str(share)[2:].ljust(2, '0')}_us"] * 1_000
    assert true_ns <= said_ns + 1e-6
    assert said_ns <= max(true_ns * ERROR, true_ns) + 1e-6 or true_ns >= LONGEST_NS
    assert (found["count"], found["max_us"]) == (len(kept), longest / 1_000)
    assert found["negative"] == negative


def test_every_bucket_is_used_once() -> None:
    """Ends and beginnings of the powers of two lie in buckets that follow each other."""
    edges = sorted({0, *(2**bits + step for bits in range(43) for step in (-1, 0))})
    places = [int(np.argmax(counted([(edge, 1)])[0])) for edge in edges]
    assert places == sorted(places)
    assert (places[0], places[-1]) == (0, BUCKETS - 32)
    assert int(np.argmax(counted([(LONGEST_NS, 1)])[0])) == BUCKETS - 1


def test_recent_forgets_what_it_told() -> None:
    """Each answer is of what came since the last; of nothing there is none."""
    latency = Latency()
    assert latency.recent_us(0.99) is None
    for _ in range(2_000):
        latency.add(1_000_000)
    assert 1_000 <= (latency.recent_us(0.99) or 0) <= 1_000 * ERROR
    latency.add(5_000)
    assert 5 <= (latency.recent_us(0.99) or 0) <= 5 * ERROR
    assert latency.recent_us(0.99) is None
    assert latency.describe()["count"] == 2_001
