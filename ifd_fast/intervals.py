"""How far a measured mean or share can be trusted: exact Poisson intervals and the bootstrap.

Sessions are the units that are drawn again: what happens within one is not independent.
"""

from __future__ import annotations

import math
from typing import TYPE_CHECKING, Final, NamedTuple

import numpy as np

if TYPE_CHECKING:
    from collections.abc import Callable

    from numpy.typing import NDArray

__all__ = ["Estimate", "bootstrap_mean", "bootstrap_ratio", "poisson_interval", "poisson_tail"]

LEVEL: Final = 0.95
DRAWS: Final = 2_000
SEED: Final = 20_260_105  # of the bootstrap: the same numbers give the same interval


class Estimate(NamedTuple):
    """A value with the ends of its interval, and how many units stand behind it."""

    value: float
    low: float
    high: float
    units: int


def poisson_tail(count: int, mean: float) -> float:
    """Return P(X <= count) of a Poisson variable. O(count)."""
    if mean <= 0.0:
        return 1.0
    total = 0.0
    for number in range(count + 1):
        total += math.exp(number * math.log(mean) - mean - math.lgamma(number + 1))
    return min(total, 1.0)


def _solve(rises: Callable[[float], bool], high: float) -> float:
    """Return where `rises` turns true, between 0 and `high`, by halving."""
    low = 0.0
    for _ in range(80):
        middle = (low + high) / 2.0
        if rises(middle):
            high = middle
        else:
            low = middle
    return (low + high) / 2.0


def poisson_interval(count: int, exposure: float, level: float = LEVEL) -> tuple[float, float]:
    """Return Garwood's exact interval of a rate: `count` events in `exposure` units.

    Raises
    ------
    ValueError
        If the count is negative or the exposure is not above 0.
    """
    if count < 0 or not exposure > 0.0:
        raise ValueError(f"`count` must be 0 or more in a span above 0, was {count} in {exposure}.")
    beyond = (1.0 - level) / 2.0
    top = count + 10.0 * math.sqrt(count + 1.0) + 20.0
    low = 0.0
    if count > 0:
        low = _solve(lambda mean: 1.0 - poisson_tail(count - 1, mean) >= beyond, top)
    high = _solve(lambda mean: poisson_tail(count, mean) <= beyond, top)
    return low / exposure, high / exposure


def _weights(units: int, draws: int) -> NDArray[np.int64]:
    """Return how often each unit is drawn, (draws, units)."""
    generator = np.random.Generator(np.random.PCG64(SEED))
    return generator.multinomial(units, np.full(units, 1.0 / units), size=draws)


def bootstrap_ratio(
    above: NDArray[np.float64], below: NDArray[np.float64], draws: int = DRAWS
) -> Estimate:
    """Return sum(above) / sum(below) with its interval over sessions drawn again; (n,) each.

    NaN where nothing stands below. Draws without anything below are left out.
    """
    total = float(below.sum())
    if len(below) == 0 or total <= 0.0:
        return Estimate(math.nan, math.nan, math.nan, 0)
    weights = _weights(len(below), draws)
    under = weights @ below
    ratios = (weights @ above)[under > 0.0] / under[under > 0.0]
    edges = np.quantile(ratios, [(1.0 - LEVEL) / 2.0, (1.0 + LEVEL) / 2.0])
    return Estimate(float(above.sum()) / total, float(edges[0]), float(edges[1]), round(total))


def bootstrap_mean(values: NDArray[np.float64], draws: int = DRAWS) -> Estimate:
    """Return the mean over sessions (n,) with its interval over sessions drawn again."""
    return bootstrap_ratio(values, np.ones(len(values)), draws)
