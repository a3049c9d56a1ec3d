"""The ring equals its oracle under any sequence of pushes, reads and consumption."""

from __future__ import annotations

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from ifd_fast.errors import UsageError
from ifd_fast.framing import allocate_ring
from ifd_kernels import layout
from ifd_kernels.layout import CONSUMED, PUBLISHED, Ring
from ifd_kernels.ring import push_batch, read_batch
from tests.oracle import ring as oracle

STATUS = {layout.DONE: "DONE", layout.RING_FULL: "RING_FULL", layout.REFUSED: "REFUSED"}
COLUMNS = Ring._fields[:-1]


def columns_of(events: list[tuple[int, ...]]) -> Ring:
    """Return `events` as columns of their own length, in the form of a ring."""
    ring = allocate_ring(1)
    columns = {
        name: np.array([event[place] for event in events], getattr(ring, name).dtype)
        for place, name in enumerate(COLUMNS)
    }
    return ring._replace(**columns)


def rows_of(ring: Ring, count: int) -> list[tuple[int, ...]]:
    """Return the first `count` rows of all columns."""
    return [tuple(int(getattr(ring, name)[row]) for name in COLUMNS) for row in range(count)]


def numbered(count: int, first: int) -> list[tuple[int, ...]]:
    """Return events whose every column tells which event it is."""
    return [tuple((first + row + place) % 128 for place in range(11)) for row in range(count)]


operations = st.lists(
    st.tuples(st.just("push"), st.integers(0, 9))
    | st.tuples(st.just("consume"), st.integers(0, 9))
    | st.tuples(st.just("read"), st.integers(-12, 3)),
    max_size=40,
)


@given(st.sampled_from([1, 2, 8]), operations)
def test_any_sequence_of_operations_equals_the_oracle(
    capacity: int, steps: list[tuple[str, int]]
) -> None:
    """Statuses, stops and contents agree after each of many pushes, reads and consumptions."""
    ring = allocate_ring(capacity)
    model = oracle.Ring(capacity)
    out = columns_of(numbered(5, 0))
    for what, amount in steps:
        if what == "push":
            events = numbered(amount, len(model.pushed))
            expected = model.push_batch(events, 0, amount)
            status, stop = push_batch(ring, columns_of(events), 0, amount)
            assert (STATUS[status], int(stop)) == expected
        elif what == "consume":
            model.consumed = min(model.consumed + amount, len(model.pushed))
            ring.cursor[CONSUMED] = model.consumed
        else:
            first = len(model.pushed) + amount
            if first < 0:
                continue
            expected_status, expected_rows = model.read_batch(first, 5)
            status, after = read_batch(ring, first, out)
            assert STATUS[status] == expected_status
            assert rows_of(out, int(after) - first) == expected_rows
        assert int(ring.cursor[PUBLISHED]) == len(model.pushed)


def test_an_event_stays_readable_until_its_place_is_taken() -> None:
    """Consumed events can be read back; an overwritten one is refused, not replaced."""
    ring = allocate_ring(4)
    events = numbered(6, 0)
    out = columns_of(numbered(4, 0))
    push_batch(ring, columns_of(events), 0, 4)
    ring.cursor[CONSUMED] = 4
    push_batch(ring, columns_of(events), 4, 6)
    assert read_batch(ring, 1, out) == (layout.REFUSED, 1)
    assert read_batch(ring, 2, out) == (layout.DONE, 6)
    assert rows_of(out, 4) == events[2:]


@pytest.mark.parametrize("capacity", [0, -4, 3, 1000])
def test_capacity_must_be_a_power_of_two(capacity: int) -> None:
    """The message gives the value and the next power of two."""
    with pytest.raises(UsageError, match=rf"power of two, was {capacity}\. Use \d+\."):
        allocate_ring(capacity)


def test_proposed_capacity_is_the_next_power_of_two() -> None:
    """For 1000 the message proposes 1024."""
    with pytest.raises(UsageError, match="Use 1024"):
        allocate_ring(1000)
