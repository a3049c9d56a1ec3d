"""Coordination: equal to its oracle, mirrored exactly, blind to a burst of the whole chain."""

from __future__ import annotations

from itertools import permutations
from typing import Any

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from ifd_fast import scores
from ifd_fast.profiles import Profile
from ifd_kernels.layout import IDENTITY, KIND_CALL, KIND_PUT
from ifd_kernels.neighbours import coordination, lean_of, sides_as_strong
from ifd_kernels.score_state import BEST_RANK
from tests.oracle import neighbours as oracle

STRIKES = 7
SLOTS = 2 * STRIKES


def chain(votes: list[tuple[int, int]]) -> Any:
    """Return score and identities of a chain whose slots have these votes of 300 s."""
    identities = np.zeros(SLOTS, IDENTITY)
    number = np.arange(SLOTS)
    identities["mapped"], identities["strike_1e9"] = 1, 10**9 * (number // 2)
    identities["kind"] = np.where(number % 2 == 0, KIND_CALL, KIND_PUT)
    identities["twin_slot"] = number ^ 1
    score = scores.allocate_score(Profile(), SLOTS)
    scores.set_expected(score, scores.unknown_expected(SLOTS), identities)
    score.windows[:, 1, :2] = votes
    return score, identities


def near(slot: int) -> list[int]:
    """Return the slots within two strikes, calls and puts."""
    strikes = range(max(0, slot // 2 - 2), min(STRIKES, slot // 2 + 3))
    return [2 * strike + leg for strike in strikes for leg in range(2)]


sides = st.tuples(st.integers(0, 30), st.integers(0, 30))


@given(st.lists(sides, min_size=SLOTS, max_size=SLOTS), st.integers(0, SLOTS - 1))
def test_coordination_equals_its_oracle(votes: list[tuple[int, int]], slot: int) -> None:
    """For any votes; buying and selling swapped gives the same for the other side, exactly."""
    score, identities = chain(votes)
    known = {n: oracle.lean_of(list(one), 1 + n % 2) for n, one in enumerate(votes)}
    leans = {n: lean for n, lean in known.items() if lean is not None}
    for n in range(SLOTS):
        found = lean_of(score, identities, n)
        assert found == leans.get(n, 2 * oracle.UNIT)
    mirrored, _ = chain([(ask, bid) for bid, ask in votes])
    for side in range(2):
        towards = (1 if side else -1) * (1 if slot % 2 == 0 else -1)
        actual = coordination(score, identities, slot, side)
        assert actual == pytest.approx(oracle.coordination(leans, near(slot), slot, towards))
        assert coordination(mirrored, identities, slot, 1 - side) == actual
        assert abs(actual) <= 6


def test_mean_and_variance_are_those_of_all_permutations() -> None:
    """Nine leans of which two are near: every choice of two, counted by hand."""
    leans = {n: 12 * n * n - 200 for n in range(1, 10)}
    sums = [leans[a] + leans[b] for a, b in permutations(leans, 2)]
    expected = (leans[8] + leans[9] - np.mean(sums)) / np.std(sums)
    assert oracle.coordination(leans, [8, 9], 0, 1) == pytest.approx(expected)


def test_a_burst_of_the_whole_chain_is_no_coordination() -> None:
    """If every strike is bought alike, calls bought and puts sold, no neighbour stands out."""
    score, identities = chain([(1, 9) if n % 2 == 0 else (9, 1) for n in range(SLOTS)])
    assert coordination(score, identities, 6, 1) == 0
    lone = [(5, 5)] * SLOTS
    for n in near(6):
        lone[n] = (1, 9) if n % 2 == 0 else (9, 1)
    score, identities = chain(lone)
    assert coordination(score, identities, 6, 1) > 1


def test_neighbours_are_the_strikes_beside() -> None:
    """Two either way, of one type and expiry; -1 where the chain ends."""
    _, identities = chain([(0, 0)] * SLOTS)
    found = scores.find_neighbours(identities)
    assert found[6].tolist() == [2, 4, 8, 10]
    assert found[1].tolist() == [-1, -1, 3, 5]
    identities["expiration_ns"][8:] = 7
    assert scores.find_neighbours(identities)[6].tolist() == [2, 4, -1, -1]


def test_as_strong_counts_both_sides() -> None:
    """Ties count, so that the strongest is one of one."""
    score, _ = chain([(0, 0)] * SLOTS)
    score.best[3, 0, BEST_RANK], score.best[4, 1, BEST_RANK] = 5.0, 7.0
    ranks = score.best[:, :, BEST_RANK].tolist()
    for rank in (4.0, 5.0, 6.0, 7.0):
        assert sides_as_strong(score, rank) == oracle.sides_as_strong(ranks, rank)
