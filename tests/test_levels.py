"""The slab of price levels against a dict, from one level to thousands, and its memory."""

from __future__ import annotations

import random

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from ifd_fast import books
from ifd_kernels import levels as kernel
from ifd_kernels.level_blocks import FIRST, FREE, NEXT, RESERVE, Levels
from tests.oracle import levels as oracle


def shown(levels: Levels, row: int) -> list[tuple[int, int, int]]:
    """Return a side's (key, contracts, orders), best first."""
    side = books.levels_of_side(levels, row)
    return [(key, level.contracts, level.orders) for key, level in side]


def expected_of(side: oracle.Side) -> list[tuple[int, int, int]]:
    """Return the same of the oracle."""
    return [(key, *side[key]) for key in sorted(side, reverse=True)]


def grown(levels: Levels) -> Levels:
    """Return the levels with room for one more event."""
    if levels.heap[NEXT] + levels.heap[RESERVE] <= len(levels.key):
        return levels
    return books.grow_levels(levels, 0)


def churn(seed: int, spread: int, steps: int, share: float) -> None:
    """Add, move and take orders at random keys on two sides; compare at times and at the end."""
    random_ = random.Random(seed)
    levels = books.allocate(1, levels=0).levels
    sides: list[oracle.Side] = [{}, {}]
    standing: list[list[tuple[int, int]]] = [[], []]
    for step in range(steps):
        row = random_.randrange(2)
        levels = grown(levels)
        adds = random_.random() < (share if step < steps / 2 else 1 - share)
        if adds or not standing[row]:
            key, size = int(random_.gauss(0, spread)), random_.randint(1, 9)
            standing[row].append((key, size))
            actual = kernel.lift_level(levels, row, key, size)
            assert (actual == 0) == oracle.lift_level(sides[row], key, size)
        elif random_.random() < 0.4:
            at = random_.randrange(len(standing[row]))
            (key, size), new_size = standing[row][at], random_.randint(1, 9)
            new_key = key + random_.choice((-2, -1, 0, 1, 2))
            standing[row][at] = (new_key, new_size)
            moved = int(new_key != key)
            actual = kernel.move_order(levels, row, key, size, new_key, new_size, moved)
            assert (actual == 1) == oracle.move_order(sides[row], key, size, new_key, new_size)
        else:
            at = random_.randrange(len(standing[row]))
            standing[row][at], standing[row][-1] = standing[row][-1], standing[row][at]
            key, size = standing[row].pop()
            actual = kernel.drop_level(levels, row, key, size, 1)
            assert (actual == 0) == oracle.drop_level(sides[row], key, size, 1)
        if step % (steps // 20) == 0:
            assert shown(levels, row) == expected_of(sides[row])
    for row in range(2):
        assert shown(levels, row) == expected_of(sides[row])
        for key, size in standing[row]:
            levels = grown(levels)
            kernel.drop_level(levels, row, key, size, 1)
        assert shown(levels, row) == []
        assert levels.sides[row]["deep_length"] == 0
    assert free_levels(levels) == levels.heap[NEXT] - FIRST - held(levels)


def held(levels: Levels) -> int:
    """Return the levels of the blocks that sides hold."""
    return sum(1 << int(room) for room in levels.sides["room"] if room)


def free_levels(levels: Levels) -> int:
    """Return the levels on all free lists."""
    total = 0
    for room in range(30):
        block = int(levels.heap[FREE + room])
        while block >= 0:
            total += 1 << room
            block = int(levels.key[block])
    return total


@given(st.integers(0, 2**32), st.sampled_from([2, 10, 60]))
def test_levels_are_oracle(seed: int, spread: int) -> None:
    """A few to some hundred levels: each step knows the best one, and all is given back."""
    churn(seed, spread, 300, 0.6)


@pytest.mark.slow
@pytest.mark.parametrize("seed", range(4))
def test_deep_sides_are_oracle(seed: int) -> None:
    """Thousands of levels, up and down again, by way of split and joined deep blocks."""
    churn(seed, 5_000, 6_000, 0.9)


@given(st.lists(st.integers(-50, 50), max_size=40, unique=True), st.integers(-60, 60))
def test_rank_is_oracle(keys: list[int], wanted: int) -> None:
    """The eight keys compared at once and the search behind them count alike."""
    slab = np.full(64, 99, np.int64)
    slab[8 : 8 + len(keys)] = sorted(keys)
    assert kernel.rank_level(slab, 8, len(keys), wanted) == oracle.rank_level(keys, wanted)


@given(st.sampled_from([2**63 - 2, -(2**63)]), st.integers(1, 2**32 - 1))
def test_extreme_keys(key: int, size: int) -> None:
    """The least and the greatest price are levels like others."""
    levels = books.allocate(1).levels
    assert kernel.lift_level(levels, 0, key, size) == 0
    assert kernel.lift_level(levels, 0, 0, 1) == (0 if key < 0 else 1)
    assert shown(levels, 0) == sorted([(key, size, 1), (0, 1, 1)], reverse=True)
    kernel.clear_side(levels, 0)
    assert shown(levels, 0) == []


@pytest.mark.slow
def test_deep_book_is_not_quadratic() -> None:
    """100,000 levels that arrive at the worst end take the space of at most twice as many."""
    book = books.allocate(1, levels=0)
    levels = book.levels
    for key in range(0, -100_000, -1):
        levels = grown(levels)
        kernel.lift_level(levels, 0, key, 1)
    assert len(shown(levels, 0)) == 100_000
    assert levels.heap[NEXT] < 250_000
