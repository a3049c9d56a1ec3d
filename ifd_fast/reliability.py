"""Whether a confidence is a probability, and what a threshold on it buys.

The calibration error is the debiased root mean square over bins of equal mass: the plain error of
a perfect forecaster with few outcomes is not zero, so each bin's own sampling variance is taken
off (Kumar, Liang and Ma, Verified Uncertainty Calibration, 2019, estimator of section 4).
"""

from __future__ import annotations

import math
from typing import TYPE_CHECKING, Final, NamedTuple

import numpy as np

if TYPE_CHECKING:
    from numpy.typing import NDArray

__all__ = ["Bin", "Curve", "average_precision", "bin_outcomes", "calibration_error", "pr_curve"]

BINS: Final = 15


class Bin(NamedTuple):
    """Forecasts of one bin and what became of them."""

    size: int
    forecast: float  # mean
    outcome: float  # share that came true


class Curve(NamedTuple):
    """Precision and recall as the threshold falls from candidate to candidate, (n,) each."""

    threshold: NDArray[np.float64]
    precision: NDArray[np.float64]
    recall: NDArray[np.float64]


def bin_outcomes(
    forecasts: NDArray[np.float64], outcomes: NDArray[np.bool_], bins: int = BINS
) -> list[Bin]:
    """Return up to `bins` bins of equal mass, in order of the forecast; (n,) each.

    Equal forecasts share a bin.
    """
    if len(forecasts) == 0:
        return []
    order = np.argsort(forecasts, kind="stable")
    ranked, came = forecasts[order], outcomes[order].astype(np.float64)
    edges = np.round(np.linspace(0, len(ranked), min(bins, len(ranked)) + 1)).astype(np.int64)
    edges = np.unique(np.searchsorted(ranked, ranked[edges[:-1]], side="left"))
    stops = np.append(edges[1:], len(ranked))
    return [
        Bin(int(stop - start), float(ranked[start:stop].mean()), float(came[start:stop].mean()))
        for start, stop in zip(edges, stops, strict=True)
    ]


def calibration_error(found: list[Bin]) -> float:
    """Return the debiased root mean square of forecast - outcome; NaN without two in a bin.

    A bin of one forecast has no variance of its own and is left out.
    """
    counted = [one for one in found if one.size > 1]
    total = sum(one.size for one in counted)
    if total == 0:
        return math.nan
    square = 0.0
    for one in counted:
        noise = one.outcome * (1.0 - one.outcome) / (one.size - 1)
        square += one.size / total * ((one.forecast - one.outcome) ** 2 - noise)
    return math.sqrt(max(square, 0.0))


def pr_curve(scores: NDArray[np.float64], units: NDArray[np.int64], wanted: int) -> Curve:
    """Return precision and recall over `wanted` planted units as the threshold falls.

    `units` (n,): the unit each candidate matches, -1 for none. Further candidates of a unit that
    is already found count neither for nor against.
    """
    order = np.argsort(-scores, kind="stable")
    matched = units[order]
    first = np.zeros(len(matched), np.bool_)
    _, places = np.unique(matched, return_index=True)
    first[places] = True
    true = np.cumsum((matched >= 0) & first)
    false = np.cumsum(matched < 0)
    ranked = scores[order]
    last = np.append(ranked[1:] != ranked[:-1], True)[: len(ranked)]  # all of a threshold at once
    precision = true / np.maximum(true + false, 1)
    recall = true / max(wanted, 1)
    return Curve(ranked[last], precision[last], recall[last])


def average_precision(curve: Curve) -> float:
    """Return the area under precision over recall, as steps; 0 without candidates."""
    steps = np.diff(curve.recall, prepend=0.0)
    return float((steps * curve.precision).sum())
