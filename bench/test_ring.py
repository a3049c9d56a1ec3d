"""Batches in and out of the ring: the kernels beside their oracle, in one group each."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import numpy as np
import pytest

from ifd_fast.framing import allocate_ring
from ifd_kernels.layout import CONSUMED, PUBLISHED
from ifd_kernels.ring import push_batch, read_batch
from tests.oracle import ring as oracle

EVENTS = 8_192
COLUMNS = 11


def push_kernel() -> Callable[[], int]:
    """Return a call that pushes a batch into an empty ring."""
    ring, events = allocate_ring(EVENTS), allocate_ring(EVENTS)

    def push() -> int:
        ring.cursor[CONSUMED] = ring.cursor[PUBLISHED]
        return int(push_batch(ring, events, 0, EVENTS)[1])

    return push


def push_oracle() -> Callable[[], int]:
    """Return the same of the oracle."""
    events = [(0,) * COLUMNS] * EVENTS
    return lambda: oracle.Ring(EVENTS).push_batch(events, 0, EVENTS)[1]


def read_kernel() -> Callable[[], int]:
    """Return a call that reads a full ring, across its end."""
    ring, out = allocate_ring(EVENTS), allocate_ring(EVENTS)
    ring.cursor[:] = np.array([EVENTS + EVENTS // 2, EVENTS // 2])
    return lambda: int(read_batch(ring, EVENTS // 2, out)[1]) - EVENTS // 2


def read_oracle() -> Callable[[], int]:
    """Return the same of the oracle."""
    ring = oracle.Ring(EVENTS)
    ring.pushed = [(0,) * COLUMNS] * EVENTS
    return lambda: len(ring.read_batch(0, EVENTS)[1])


@pytest.mark.benchmark(group="ring.push_batch")
@pytest.mark.parametrize("make", [push_kernel, push_oracle])
def test_push_batch(make: Callable[[], Callable[[], int]], benchmark: Any) -> None:
    """All events are pushed."""
    assert benchmark(make()) == EVENTS


@pytest.mark.benchmark(group="ring.read_batch")
@pytest.mark.parametrize("make", [read_kernel, read_oracle])
def test_read_batch(make: Callable[[], Callable[[], int]], benchmark: Any) -> None:
    """All events are read."""
    assert benchmark(make()) == EVENTS
