"""Calibration error and precision over recall: synthetic cases with known answers, an oracle."""

from __future__ import annotations

import math

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from ifd_fast.reliability import average_precision, bin_outcomes, calibration_error, pr_curve
from tests.oracle import evaluation as oracle


def forecasts_of(size: int, seed: int) -> tuple[np.ndarray, np.ndarray]:
    """Return forecasts and outcomes of a perfect forecaster."""
    generator = np.random.default_rng(seed)
    forecasts = generator.uniform(0.5, 1.0, size)
    return forecasts, generator.random(size) < forecasts


@pytest.mark.parametrize("shift", [0.0, 0.05, 0.1, 0.2])
def test_known_error_is_found(shift: float) -> None:
    """Forecasts that are too high by a constant have that error, on the average of 40 samples."""
    found = []
    for seed in range(40):
        forecasts, outcomes = forecasts_of(2_000, seed)
        found.append(calibration_error(bin_outcomes(forecasts + shift, outcomes)))
    assert np.mean(found) == pytest.approx(shift, abs=0.012)


def test_a_perfect_forecaster_of_few_candidates_is_not_blamed() -> None:
    """With 100 candidates the plain error is ten times the debiased one's mean square."""
    plain, debiased = [], []
    for seed in range(200):
        bins = bin_outcomes(*forecasts_of(100, seed))
        plain.append(sum(b.size / 100 * (b.forecast - b.outcome) ** 2 for b in bins))
        square = sum(
            b.size
            / 100
            * ((b.forecast - b.outcome) ** 2 - b.outcome * (1 - b.outcome) / (b.size - 1))
            for b in bins
        )
        debiased.append(square)
    assert abs(np.mean(debiased)) < 0.1 * np.mean(plain)


def test_bins_have_equal_mass_and_ties_stay_together() -> None:
    """150 candidates make 15 bins of 10; equal forecasts are never told apart."""
    forecasts = np.linspace(0.5, 0.9, 150)
    assert [one.size for one in bin_outcomes(forecasts, forecasts > 0.7)] == [10] * 15
    tied = bin_outcomes(np.array([0.6] * 20 + [0.9] * 20), np.arange(40) % 2 == 0)
    assert [one.size for one in tied] == [20, 20]
    assert [one.forecast for one in tied] == pytest.approx([0.6, 0.9])


def test_nothing_is_no_error() -> None:
    """Without candidates there are no bins, and the error is unknown."""
    assert bin_outcomes(np.zeros(0), np.zeros(0, np.bool_)) == []
    assert math.isnan(calibration_error([]))


@given(st.lists(st.tuples(st.integers(0, 8), st.booleans()), min_size=1, max_size=60))
def test_error_is_the_oracles(pairs: list[tuple[int, bool]]) -> None:
    """The debiased error over the same bins is that of the plain formula."""
    forecasts = np.array([0.5 + place / 16 for place, _ in pairs])
    outcomes = np.array([came for _, came in pairs])
    bins = bin_outcomes(forecasts, outcomes, bins=4)
    order = np.argsort(forecasts, kind="stable")
    grouped, start = [], 0
    for one in bins:
        chosen = order[start : start + one.size]
        grouped.append([(float(forecasts[n]), bool(outcomes[n])) for n in chosen])
        start += one.size
    assert start == len(pairs)
    if any(len(one) > 1 for one in grouped):
        assert calibration_error(bins) == pytest.approx(oracle.calibration(grouped))


@given(
    st.lists(st.tuples(st.integers(0, 5), st.integers(-1, 4)), max_size=30),
    st.integers(5, 8),
)
def test_area_is_the_oracles(pairs: list[tuple[int, int]], wanted: int) -> None:
    """Area, precision and recall at every threshold are those of counting afresh."""
    scores = np.array([score / 5 for score, _ in pairs], np.float64)
    units = np.array([unit for _, unit in pairs], np.int64)
    curve = pr_curve(scores, units, wanted)
    expected = oracle.average_precision(list(zip(scores.tolist(), units.tolist(), strict=True)),
                                        wanted)  # fmt: skip
    assert average_precision(curve) == pytest.approx(expected)
    assert (np.diff(curve.recall) >= 0).all()
