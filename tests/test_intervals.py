"""Intervals that cover what they promise, and known cases to the digit."""

from __future__ import annotations

import math

import numpy as np
import pytest

from ifd_fast.intervals import bootstrap_mean, bootstrap_ratio, poisson_interval, poisson_tail


@pytest.mark.parametrize(
    ("count", "low", "high"),
    [(0, 0.0, 3.6889), (1, 0.0253, 5.5716), (10, 4.7954, 18.3904), (100, 81.3640, 121.6268)],
)
def test_garwood(count: int, low: float, high: float) -> None:
    """The exact interval is the published one, and scales with the exposure."""
    assert poisson_interval(count, 1.0) == pytest.approx((low, high), abs=2e-4)
    assert poisson_interval(count, 4.0) == pytest.approx((low / 4, high / 4), abs=1e-4)


def test_poisson_tail_sums_to_one() -> None:
    """The tail is a distribution: 0 below, 1 far beyond the mean."""
    assert poisson_tail(0, 2.0) == pytest.approx(math.exp(-2.0))
    assert poisson_tail(60, 2.0) == pytest.approx(1.0)
    assert poisson_tail(3, 0.0) == 1.0


@pytest.mark.parametrize("bad", [(-1, 1.0), (1, 0.0), (1, math.nan)])
def test_refusals(bad: tuple[int, float]) -> None:
    """A negative count and an empty span are refused by value."""
    with pytest.raises(ValueError, match="`count`"):
        poisson_interval(*bad)


def test_garwood_covers() -> None:
    """Of 2,000 counts of a known rate at least 95 % of the intervals hold it: it is exact."""
    generator = np.random.default_rng(3)
    known = {count: poisson_interval(count, 1.0) for count in range(40)}
    counts = generator.poisson(4.0, 2_000)
    held = [known[int(count)][0] <= 4.0 <= known[int(count)][1] for count in counts]
    assert np.mean(held) >= 0.945


def test_bootstrap_covers() -> None:
    """Of 300 samples of 60 sessions about 95 % of the intervals hold the true mean."""
    generator = np.random.default_rng(5)
    held = 0
    for _ in range(300):
        found = bootstrap_mean(generator.poisson(3.0, 60).astype(np.float64), draws=400)
        held += found.low <= 3.0 <= found.high
    assert 0.90 <= held / 300 <= 0.985


def test_bootstrap_keeps_sessions_together() -> None:
    """Ten equal events in each session are as uncertain as one, not a third of it."""
    generator = np.random.default_rng(7)
    hits = generator.integers(0, 2, 50).astype(np.float64)
    one = bootstrap_ratio(hits, np.ones(50))
    ten = bootstrap_ratio(10.0 * hits, np.full(50, 10.0))
    assert (ten.value, ten.low, ten.high) == (one.value, one.low, one.high)


def test_nothing_is_no_number() -> None:
    """A share of nothing is NaN, not zero."""
    empty = np.zeros(0)
    assert math.isnan(bootstrap_ratio(empty, empty).value)
    assert math.isnan(bootstrap_ratio(np.zeros(3), np.zeros(3)).value)


def test_same_numbers_give_the_same_interval() -> None:
    """The bootstrap's seed is fixed."""
    values = np.arange(30, dtype=np.float64)
    assert bootstrap_mean(values) == bootstrap_mean(values)
