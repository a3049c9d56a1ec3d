"""Companions: flow in step across types, equal to its oracle, mirrored, blind to direction."""

from __future__ import annotations

import random
from typing import Any

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from ifd_fast import scores
from ifd_fast.profiles import Profile
from ifd_kernels.companions import companion_decades, in_step_share
from ifd_kernels.layout import IDENTITY, KIND_CALL, KIND_PUT
from ifd_kernels.score_state import ANY_RANK, ANY_WINDOW, SAID_SECONDS, Score
from ifd_kernels.scoring import note_flow
from tests.oracle import companions as oracle
from tests.oracle.votes import SECOND_NS

SLOTS = 6  # call and put of three strikes
TWINS = {n: n ^ 1 for n in range(SLOTS)}
START_S = 1_700_000_000
LENGTH_S = 100

Flow = dict[str, Any]


def chain(slots: int = SLOTS) -> Any:
    """Return IDENTITY of strikes of one expiry, a call and a put each."""
    identities = np.zeros(slots, IDENTITY)
    number = np.arange(slots)
    identities["mapped"], identities["strike_1e9"] = 1, 10**9 * (number // 2)
    identities["kind"] = np.where(number % 2 == 0, KIND_CALL, KIND_PUT)
    identities["twin_slot"] = number ^ 1
    return identities


def flow_of(slot: int, second: int, side: int, late_s: int = 0) -> Flow:
    """Return two contracts on a side in a second, handed over at its end or later."""
    grown = {"bid": (0, 2 * (side == 0)), "ask": (0, 2 * (side == 1))}
    instant_ns = (START_S + second + 1 + late_s) * SECOND_NS
    return {"slot": slot, "second": START_S + second, "instant_ns": instant_ns, **grown}


def handed(flows: list[Flow], identities: Any) -> Score:
    """Return a score that was given the flows, all in its windows of 300 s and more."""
    score = scores.allocate_score(Profile(), len(identities))
    scores.set_expected(score, scores.unknown_expected(len(identities)), identities)
    score.best[:, :, ANY_WINDOW] = 1
    for flow in flows:
        where = (flow["slot"], flow["second"], flow["instant_ns"])
        assert note_flow(score, identities, *where, *flow["bid"], *flow["ask"]) == 0
    return score


def in_order(flows: list[Flow]) -> list[Flow]:
    """Return the flows in an order in which a scorer is handed them."""
    return sorted(flows, key=lambda flow: (flow["instant_ns"], flow["slot"]))


@st.composite
def drawn_flows(draw: st.DrawFn) -> list[Flow]:
    """Return flow of all slots in few seconds, one of a slot and second, some of it late."""
    where = draw(
        st.sets(st.tuples(st.integers(0, SLOTS - 1), st.integers(0, 9)), min_size=4, max_size=40)
    )
    return in_order(
        [
            flow_of(slot, second, draw(st.integers(0, 1)), draw(st.sampled_from([0, 0, 0, 1, 2])))
            for slot, second in sorted(where)
        ]
    )


@given(drawn_flows())
def test_in_step_share_equals_its_oracle(flows: list[Flow]) -> None:
    """For any flow, twice over; with buying and selling swapped for the other side, exactly."""
    identities = chain()
    score = handed(flows, identities)
    swapped = handed([flow | {"bid": flow["ask"], "ask": flow["bid"]} for flow in flows], chain())
    now_ns = max(flow["instant_ns"] for flow in flows)
    for slot in range(SLOTS):
        others = [n for n in range(SLOTS) if n % 2 != slot % 2]
        for side in range(2):
            expected = oracle.in_step_share(flows, slot, side, now_ns, 300, others, TWINS)
            for _ in range(2):
                actual = in_step_share(score, identities, slot, side)
                assert actual == pytest.approx(expected, rel=1e-12)
            assert in_step_share(swapped, identities, slot, 1 - side) == actual
            assert 0 <= actual <= 1


WIDE = 140  # slots: more than two words, the last of them not full
WIDE_TWINS = {n: n ^ 1 for n in range(WIDE)}


def wide_flows(seed: int) -> list[Flow]:
    """Return a hundred seconds of strikes that trade more and more often, some of it late."""
    drawn = random.Random(seed)
    return in_order(
        [
            flow_of(slot, second, int(drawn.random() < slot / WIDE), drawn.choice([0, 0, 1]))
            for slot in (0, 3, 62, 63, 64, 65, 127, 128, 139)
            for second in range(LENGTH_S)
            if drawn.random() < 0.3 + slot / 200
        ]
    )


@pytest.mark.parametrize("seed", range(3))
def test_many_strikes_over_many_seconds_equal_their_oracle(seed: int) -> None:
    """Every digit of a count and every word of slots: up to 64 steps, over a word's edges."""
    flows, identities = wide_flows(seed), chain(WIDE)
    score = handed(flows, identities)
    now_ns = max(flow["instant_ns"] for flow in flows)
    found = set()
    for slot in (0, 63, 64, 127, 139):
        others = [n for n in range(WIDE) if n % 2 != slot % 2]
        for side in range(2):
            expected = oracle.in_step_share(flows, slot, side, now_ns, 300, others, WIDE_TWINS)
            actual = in_step_share(score, identities, slot, side)
            assert actual == pytest.approx(expected, rel=1e-12)
            found.add(actual)
    assert len(found) > 5


def test_a_buried_strike_is_in_step_with_nobody() -> None:
    """Who takes its slot has traded in no second yet, at the end of a word and of the slots."""
    legs = ((4, 63), (64, 139))
    for own, other in legs:
        identities = chain(WIDE)
        score = handed(package((own, other), (1, 1)), identities)
        assert in_step_share(score, identities, own, 1) > 0
        scores.bury_slots(score, np.array([other]), grave=WIDE - 2)
        assert in_step_share(score, identities, own, 1) == 0


def test_a_second_begins_empty() -> None:
    """Seconds stand in a ring: what traded 2,048 before is no step now."""
    identities = chain()
    flows = [*package((1, 1), (1, 1)), *(flow_of(4, SAID_SECONDS + 8 * n, 1) for n in range(12))]
    assert in_step_share(handed(in_order(flows), identities), identities, 4, 1) == 0


def package(legs: tuple[int, int], sides: tuple[int, int], count: int = 12) -> list[Flow]:
    """Return legs that trade in the same seconds, eight seconds apart."""
    return in_order(
        [
            flow_of(leg, 8 * n, side)
            for n in range(count)
            for leg, side in zip(legs, sides, strict=True)
        ]
    )


def test_a_strangle_is_in_step_and_a_risk_reversal_is_not() -> None:
    """Call and put of two strikes both sold: 12 of 12, less chance. Put bought: nothing."""
    identities = chain()
    strangle = handed(package((4, 1), (0, 0)), identities)
    by_chance = 12 * 12 / 300
    for leg in (4, 1):
        assert in_step_share(strangle, identities, leg, 0) == pytest.approx((12 - by_chance) / 14)
    reversal = handed(package((4, 1), (0, 1)), identities)
    assert in_step_share(reversal, identities, 4, 0) == 0


def test_only_the_other_type_of_the_same_expiry_is_a_companion() -> None:
    """Two calls in step are a cluster; a put of another expiry is no leg of this strangle."""
    identities = chain()
    assert in_step_share(handed(package((4, 2), (0, 0)), identities), identities, 4, 0) == 0
    apart = chain()
    apart["expiration_ns"][1] = 7
    assert in_step_share(handed(package((4, 1), (0, 0)), apart), apart, 4, 0) == 0


def test_a_busy_companion_is_in_step_by_chance() -> None:
    """A put bought in 90 of 300 seconds meets most of a call's votes, yet says less of them."""
    identities = chain()
    seconds = [flow_of(1, second, 1) for second in range(90)]
    calls = [flow_of(4, 8 * n, 1) for n in range(11)]
    busy = in_step_share(handed(in_order(seconds + calls), identities), identities, 4, 1)
    alone = in_step_share(handed(package((4, 1), (1, 1), 11), identities), identities, 4, 1)
    assert 0 < busy < alone


def test_the_newest_votes_count() -> None:
    """Eighty votes alone, then seventy in step: the newest 64 are all that is looked at."""
    identities = chain()
    flows = [flow_of(4, n, 1) for n in range(150)] + [flow_of(1, n, 1) for n in range(80, 150)]
    score = handed(in_order(flows), identities)
    expected = oracle.in_step_share(
        in_order(flows), 4, 1, (START_S + 150) * SECOND_NS, 300, [1, 3, 5], TWINS
    )
    actual = in_step_share(score, identities, 4, 1)
    assert actual == pytest.approx(expected)
    assert actual == pytest.approx((64 - 64 * 70 / 300) / 66)


ranks = st.lists(
    st.tuples(st.floats(0, 40), st.floats(0, 40)), min_size=SLOTS, max_size=SLOTS
)  # fmt: skip


@given(ranks, st.integers(0, SLOTS - 1), st.floats(0, 9))
def test_companion_decades_equal_their_oracle(
    known: list[tuple[float, float]], slot: int, more: float
) -> None:
    """For any ranks; stronger companions never say less; both sides go by one rule."""
    identities = chain()
    score = handed([], identities)
    score.best[:, :, ANY_RANK] = known
    for side in range(2):
        others = [known[n][side] for n in range(SLOTS) if n % 2 != slot % 2]
        actual = companion_decades(score, identities, slot, side)
        assert actual == oracle.companion_decades(others, known[slot ^ 1][side])
    score.best[1 - slot % 2 :: 2, :, ANY_RANK] += more
    assert companion_decades(score, identities, slot, 1) >= actual


def test_one_strong_companion_that_is_no_twin_says_nothing() -> None:
    """Another metaorder may run in some put; two of them, or the twin's, are no accident."""
    identities = chain()
    score = handed([], identities)
    score.best[3, 0, ANY_RANK] = 9.0
    assert companion_decades(score, identities, 0, 0) == 0
    score.best[5, 0, ANY_RANK] = 7.0
    assert companion_decades(score, identities, 0, 0) == 5.5
    score.best[1, 0, ANY_RANK] = 8.0
    assert companion_decades(score, identities, 0, 0) == 8.0
