"""Packed tuples: a kernel sees the very arrays that were packed.

Goal: a call by address is a call with the arrays. Method: kernels of this file that read and write
what they unpack, beside the same kernels given the tuple itself.
"""

from __future__ import annotations

import sys
from typing import Any, NamedTuple

import numpy as np
import pytest
from numpy.typing import NDArray

from ifd_kernels._jit import kernel
from ifd_kernels._packed import Packed, unpack

pytestmark = pytest.mark.jit

PAIR = np.dtype([("count", np.int32), ("share", np.float64)])


class Inner(NamedTuple):
    """Arrays of two dimensions and of records, and a number."""

    square: NDArray[np.float64]
    pairs: NDArray[Any]
    scale: float


class Outer(NamedTuple):
    """A tuple in a tuple."""

    bytes_: NDArray[np.uint8]
    inner: Inner
    limit: int


@kernel
def weigh(held: Outer, extra: int) -> float:
    """Read everything, and write to each array."""
    total = 0.0
    for index in range(held.bytes_.shape[0]):
        total += held.bytes_[index]
        held.bytes_[index] += 1
    rows, columns = held.inner.square.shape
    for row in range(rows):
        for column in range(columns):
            total += held.inner.square[row, column] * held.inner.scale
    for index in range(held.inner.pairs.shape[0]):
        held.inner.pairs[index].count += extra
        total += held.inner.pairs[index].count + held.inner.pairs[index].share
    return total + held.limit


@kernel
def weigh_packed(packed: Any, extra: int) -> float:
    """Do the same with what was packed."""
    return weigh(unpack(packed), extra)


def make(count: int = 5) -> Outer:
    """Return a tuple of every kind of member."""
    square = np.arange(6.0).reshape(2, 3)
    pairs = np.zeros(count, PAIR)
    pairs["share"] = np.linspace(0, 1, count)
    return Outer(np.arange(count, dtype=np.uint8), Inner(square, pairs, 0.5), 7)


def test_a_kernel_sees_the_arrays_that_were_packed() -> None:
    """Packed or not: the same result, and the same writes, call after call."""
    plain, held = make(), make()
    packed = Packed(held)
    for extra in (1, 2, 40):
        assert weigh_packed(packed, extra) == weigh(plain, extra)
        np.testing.assert_array_equal(held.bytes_, plain.bytes_)
        np.testing.assert_array_equal(held.inner.pairs, plain.inner.pairs)
    assert held.inner.pairs["count"].tolist() == [43] * 5


def test_another_tuple_is_packed_apart() -> None:
    """Two packed tuples of one type don't meet, and one of other shapes is another."""
    small, large = Packed(make(2)), Packed(make(9))
    assert weigh_packed(small, 0) == weigh(make(2), 0)
    assert weigh_packed(large, 0) == weigh(make(9), 0)


def test_no_reference_is_counted() -> None:
    """The holder keeps the arrays; neither packing nor calls take or drop a reference."""
    held = make()
    before = [sys.getrefcount(one) for one in (held.bytes_, held.inner.pairs)]
    packed = Packed(held)
    for _ in range(100):
        weigh_packed(packed, 0)
    assert [sys.getrefcount(one) for one in (held.bytes_, held.inner.pairs)] == before
    del packed
    assert [sys.getrefcount(one) for one in (held.bytes_, held.inner.pairs)] == before
