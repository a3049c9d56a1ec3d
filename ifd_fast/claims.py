"""What confidences claim: the first row of each episode in each class, and a scale that is true.

Whoever reads a signal reads it at the instant when it was raised to a class, so that these rows,
not all, must come true as often as they say. They are chosen by the confidence itself, at its
first peaks: weights fitted to all rows are a little too sure of them.
"""

from __future__ import annotations

from dataclasses import replace
from typing import TYPE_CHECKING, Final

import numpy as np

from ifd_fast.calibration import FEATURES, Calibration

if TYPE_CHECKING:
    from numpy.typing import NDArray

__all__ = ["first_claims", "scale_to_claims"]

CLASSES: Final = (0.5, 0.6, 0.7, 0.8, 0.9)
_ROUNDS: Final = 60
_STEP: Final = 0.4  # of the way to what the present claims ask for, which then change
_LEAST_CLAIMS: Final = 50
_LEAST_SCALE: Final = 0.2
_NEWTON: Final = 30


def first_claims(
    confidences: NDArray[np.float64], episodes: NDArray[np.int64]
) -> NDArray[np.int64]:
    """Return the places of all claims among rows (n,) in order of time."""
    classes = np.digitize(confidences, CLASSES)
    places = np.flatnonzero(classes > 0)
    key = episodes[places] * (len(CLASSES) + 1) + classes[places]
    first = np.unique(key, return_index=True)[1]
    claimed: NDArray[np.int64] = places[np.sort(first)]
    return claimed


def scale_to_claims(
    fitted: Calibration,
    features: NDArray[np.float64],
    labels: NDArray[np.bool_],
    episodes: NDArray[np.int64],
) -> Calibration:
    """Return `fitted` with its log-odds stretched and moved until its claims come true.

    Two numbers, found by Platt's method on the claims they lead to (Platt 1999). `features`
    (n, 5), `labels` and `episodes` (n,) are rows in order of time.
    """
    plain = np.clip(fitted.confidences(features), 1e-9, 1.0 - 1e-9)
    log_odds = np.log(plain / (1.0 - plain))
    moved, scale = 0.0, 1.0
    for _ in range(_ROUNDS):
        claimed = first_claims(1.0 / (1.0 + np.exp(-(moved + scale * log_odds))), episodes)
        if len(claimed) < _LEAST_CLAIMS:
            moved += 0.5
            continue
        wanted = _fit_line(log_odds[claimed], labels[claimed], moved, scale)
        moved += _STEP * (wanted[0] - moved)
        scale += _STEP * (max(wanted[1], _LEAST_SCALE) - scale)
    weights = {name: scale * getattr(fitted, name) for name in FEATURES}
    return replace(fitted, intercept=moved + scale * fitted.intercept, **weights)


def _fit_line(
    log_odds: NDArray[np.float64], labels: NDArray[np.bool_], moved: float, scale: float
) -> tuple[float, float]:
    """Return the logistic regression of labels on log-odds, from a start, by Newton's steps."""
    design = np.column_stack([np.ones(len(log_odds)), log_odds])
    weights = np.array([moved, scale])
    for _ in range(_NEWTON):
        chance = 1.0 / (1.0 + np.exp(-np.clip(design @ weights, -30.0, 30.0)))
        curve = (design.T * (chance * (1.0 - chance))) @ design + 1e-3 * np.eye(2)
        weights -= np.clip(np.linalg.solve(curve, design.T @ (chance - labels)), -1.0, 1.0)
    return float(weights[0]), float(weights[1])
