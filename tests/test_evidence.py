"""The formulas of evidence: equal to their oracle, finite for anything, monotone where promised."""

from __future__ import annotations

import math

import numpy as np
import pytest
from hypothesis import example, given
from hypothesis import strategies as st

from ifd_fast.ranking import make_limits
from ifd_kernels import evidence as kernels
from ifd_kernels.signals import EXPECTED
from tests.oracle import evidence as oracle

TOLERANCE = 1e-9  # logarithms and erfc of two libraries, a few roundings each

votes = st.floats(0, 1e6)
means = st.floats(1e-7, 1e6)
anything = st.floats(allow_nan=True, allow_infinity=True)


@given(votes, votes, means, means, st.integers(0, 4))
def test_surprise_equals_its_oracle(
    x: float, y: float, mean_x: float, mean_y: float, channel: int
) -> None:
    """The surprise is that of the formula, in every channel."""
    expected = oracle.surprise(x, y, mean_x, mean_y, channel)
    actual = kernels.surprise(x, y, mean_x, mean_y, oracle.DISPERSION[channel])
    assert actual == pytest.approx(expected, rel=1e-6, abs=1e-3)  # the root of a difference


@given(votes, st.floats(0, 100), votes, means, means)
def test_surprise_rises_with_its_side_and_falls_with_the_other(
    x: float, more: float, y: float, mean_x: float, mean_y: float
) -> None:
    """A vote more on the larger side never lowers it, one on the other never raises it."""
    before = kernels.surprise(x, y, mean_x, mean_y, 1.5)
    assert kernels.surprise(x + more, y, mean_x, mean_y, 1.5) >= before - 1e-3
    assert kernels.surprise(x, y + more, mean_x, mean_y, 1.5) <= before + 1e-3


@given(anything, st.lists(anything, min_size=7, max_size=7), st.sampled_from([0.0, 20.0]))
def test_percentile_rank_equals_its_oracle(
    value: float, quantiles: list[float], sessions: float
) -> None:
    """Any quantiles, sorted or not, give the oracle's rank, from 0 to 100."""
    value = 0.0 if math.isnan(value) or math.isinf(value) else value
    expected = np.zeros(1, EXPECTED)
    expected["sessions"], expected["log_ratio_quantiles"] = sessions, quantiles
    actual = kernels.percentile_rank(value, expected, 0)
    assert actual == pytest.approx(oracle.percentile_rank(value, quantiles, sessions), abs=1e-6)
    assert 0 <= actual <= 100


@given(st.integers(-3, 3), st.lists(st.integers(-3, 3), min_size=5, max_size=5))
@example(0, [0, 0, 0, 0, 0])
@example(1, [0, 1, 1, 1, 2])
def test_percentile_rank_mirrors_exactly(value: int, quantiles: list[int]) -> None:
    """A negated value in a negated history has the rank from the other end, ties included."""
    lower_to_upper = sorted(quantiles)
    expected = np.zeros(2, EXPECTED)
    expected["sessions"] = 20.0
    expected["log_ratio_quantiles"][0, :5] = lower_to_upper
    expected["log_ratio_quantiles"][1, :5] = [-knot for knot in reversed(lower_to_upper)]
    one = kernels.percentile_rank(float(value), expected, 0)
    other = kernels.percentile_rank(float(-value), expected, 1)
    assert other == 100 - one or one == 100 - other  # one of them was subtracted
    if value == lower_to_upper[2]:
        assert one == 50


@given(st.integers(0, 2**53), st.integers(0, 2**53), anything, anything)
def test_log_ratio_and_zscore_mirror_exactly(bid: int, ask: int, mean: float, sd: float) -> None:
    """Swapped volumes and a negated mean negate both, to the last bit."""
    ratio, mirrored = kernels.log_ratio(bid, ask), kernels.log_ratio(ask, bid)
    assert mirrored == -ratio
    one = kernels.zscore(ratio, mean, sd, 20.0)
    assert kernels.zscore(mirrored, -mean, sd, 20.0) == -one
    assert one == pytest.approx(oracle.zscore(ratio, mean, sd, 20.0), rel=TOLERANCE)


maker_facts = st.tuples(st.integers(0, 100), st.booleans(), st.floats(0, 1), st.floats(0, 40))


@given(st.integers(0, 300), st.integers(0, 300), maker_facts, st.floats(0, 1), st.floats(0, 9))
def test_maker_probability_equals_its_oracle(
    against: int, towards: int, facts: tuple[int, bool, float, float], step: float, rank: float
) -> None:
    """It lies in [0, 1), rises with each fact, and falls with votes on the larger side."""
    total = against + towards
    actual = kernels.maker_probability(against, total, *facts)
    expected = oracle.maker_probability(against, total, *facts)
    assert actual == pytest.approx(expected, rel=TOLERANCE, abs=1e-12)
    assert 0 <= actual < 1
    if towards >= against:
        assert kernels.maker_probability(against, total + 1, *facts) <= actual + 1e-12
    paired, _, in_step, decades = facts
    more = (paired + 1, True, in_step + step, decades + rank)
    assert kernels.maker_probability(against, total, *more) >= actual - 1e-12


@given(votes, votes, votes, votes)
def test_factors_equal_their_oracles(one: float, two: float, three: float, four: float) -> None:
    """Today's and the market's factor stay within a tenth and thirty."""
    level = kernels.market_level(three, four)
    assert level == pytest.approx(oracle.market_level(three, four), rel=TOLERANCE)
    actual = kernels.market_factor(one, two, level)
    assert actual == pytest.approx(oracle.market_factor(one, two, level), rel=TOLERANCE)
    assert 0.1 <= actual <= 30
    for channel, prior in enumerate(oracle.TODAY_PRIOR):
        expected = oracle.today_factor(one, two, channel)
        assert kernels.today_factor(one, two, prior) == pytest.approx(expected, rel=TOLERANCE)


@given(st.integers(-10, 100_000), st.integers(0, 8000), st.sampled_from([1, 2, 276]))
def test_season_share_equals_its_oracle(end_s: int, length_s: int, bins: int) -> None:
    """Before the open and after the last bin included."""
    season = [(n / bins) ** 2 for n in range(bins + 1)]
    span = (7, (end_s - length_s) * 10**9 + 7, end_s * 10**9 + 7)
    actual = kernels.season_share(np.array(season), *span)
    assert actual == pytest.approx(oracle.season_share(season, *span), rel=TOLERANCE)


LIMITS = make_limits(ready=True, sessions=20.0, line=(6.89, 1.155))


@given(st.floats(0, 50), st.floats(0, 5))
def test_confidence_rises_with_the_rank(rank: float, more: float) -> None:
    """The tail falls and the log-odds rise; both equal the oracle's."""
    assert kernels.p_value(rank) == pytest.approx(oracle.p_value(rank), rel=TOLERANCE)
    assert kernels.p_value(rank + more) <= kernels.p_value(rank)
    decades = kernels.null_decades(LIMITS, rank)
    assert decades == pytest.approx(oracle.null_decades(LIMITS[0], rank), rel=TOLERANCE)
    actual = kernels.raw_log_odds(LIMITS, decades, 0.5)
    assert actual == pytest.approx(oracle.raw_log_odds(LIMITS[0], decades, 0.5), rel=TOLERANCE)
    higher = kernels.null_decades(LIMITS, rank + more)
    assert kernels.raw_log_odds(LIMITS, higher, 0.5) >= actual
    assert kernels.raw_log_odds(LIMITS, decades, min(0.5 + more, 1.0)) >= actual
    assert kernels.confidence(actual) == pytest.approx(oracle.confidence(actual), rel=TOLERANCE)


@given(anything, st.floats(0, 1), st.floats(0, 1))
def test_components_equal_their_oracles(value: float, penalty: float, maker: float) -> None:
    """An anomaly and agreeing neighbours never take away, a maker never adds; NaN is nothing."""
    history = kernels.anomaly_log_odds(LIMITS, value)
    assert history == oracle.anomaly_log_odds(LIMITS[0], value)
    bonus = kernels.coordination_log_odds(LIMITS, value)
    assert bonus == oracle.coordination_log_odds(LIMITS[0], value)
    loss = kernels.maker_log_odds(LIMITS, penalty, maker)
    assert loss == pytest.approx(oracle.maker_log_odds(LIMITS[0], penalty, maker))
    assert min(history, bonus, loss) >= 0


def test_all_four_classes_are_reachable() -> None:
    """Ranks from 4 to 9 pass through every class, and through none at all."""
    ranks = [n / 100 for n in range(400, 900)]
    decades = [kernels.null_decades(LIMITS, rank) for rank in ranks]
    helped = kernels.anomaly_log_odds(LIMITS, 2.0) + kernels.coordination_log_odds(LIMITS, 1.0)
    found = [kernels.confidence(kernels.raw_log_odds(LIMITS, one, 1.0) + helped) for one in decades]
    for low, high in ((0.0, 0.6), (0.6, 0.7), (0.7, 0.8), (0.8, 0.9), (0.9, 1.0)):
        assert any(low <= value < high for value in found)


def test_nothing_below_the_least_rank_can_be_a_candidate() -> None:
    """The shortcut loses nothing: there even the best history leaves a confidence below .5."""
    decades = kernels.null_decades(LIMITS, LIMITS[0]["least_rank"])
    best = kernels.raw_log_odds(LIMITS, decades, 1.0) + kernels.anomaly_log_odds(LIMITS, 30.0)
    assert kernels.confidence(best + kernels.coordination_log_odds(LIMITS, 30.0)) < 0.5


@given(st.floats(0, 1), st.integers(0, 4), st.integers(0, 2047))
def test_grades_equal_their_oracles(completeness: float, cell: int, marks: int) -> None:
    """The share of history, the cell's width and the feed's marks each lower the grade."""
    expected = oracle.history_grade(completeness, cell)
    assert kernels.history_grade(completeness, cell) == expected
    assert kernels.feed_grade(marks) == oracle.feed_grade(marks)
    grade = kernels.feed_grade(marks)
    assert kernels.feed_quality(grade) == oracle.feed_quality(grade)


def test_a_surprise_worked_by_hand() -> None:
    """Twelve votes to none where a third of one was expected: 6.8 standard deviations."""
    x, alpha, mean = 12 / 1.5, 2.0, (1 / 3 / 1.5) * 2 / (2 + 1 / 3 / 1.5)
    ratio = x * math.log(x / mean) - (x + alpha) * math.log((x + alpha) / (mean + alpha))
    actual = kernels.surprise(12, 0, 1 / 3, 1 / 3, 1.5)
    assert actual == pytest.approx(math.sqrt(2 * ratio))
    assert 5 < actual < 8


@given(anything)
def test_bounded_takes_anything(value: float) -> None:
    """NaN goes to the lower bound, infinities to theirs."""
    assert kernels.bounded(value, -1.0, 2.0) == oracle.bounded(value, -1.0, 2.0)
