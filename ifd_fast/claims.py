"""What confidences claim, and weights under which these claims come true.

Whoever reads a signal reads it at the instant it was written, so that the first rows of an episode
in each class, not all rows, must come true as often as they say. Which rows are written depends on
the confidences themselves, at their first peaks: weights fitted to rows that others let through are
too sure of them. So rows of every instant are kept, and what is written is worked out anew for
each calibration tried, by the scorer's own rules.
"""

from __future__ import annotations

from dataclasses import replace
from typing import TYPE_CHECKING, Final, NamedTuple

import numpy as np

from ifd_fast.calibration import FEATURES, Calibration, fit_calibration
from ifd_kernels.signals import CLASSES

if TYPE_CHECKING:
    from numpy.typing import NDArray

    from ifd_fast.calibration import Prior

__all__ = ["Track", "alerts_made", "claims_made", "fit_claims", "scale_to_claims"]

# Weights are fitted to claims that a confidence as much looser would make: their numbers below and
# above each class are more alike, and what is nearly claimed is told from what is.
_LOOSER: Final = 1.0
_FIT_ROUNDS: Final = 20
_FIT_STEP: Final = 0.5
_SCALE_ROUNDS: Final = 40
_SCALE_STEP: Final = 0.4  # of the way to what the present claims ask for, which then change
_LEAST_CLAIMS: Final = 50
_LEAST_SCALE: Final = 0.2
_NEWTON: Final = 30
_APART_US: Final = 10**11  # more than a session lasts


class Track(NamedTuple):
    """Rows (n,) of every instant, by run and, within it, by time; and the profile's rules.

    A run is one side of one instrument in one session; a silence longer than all windows ends it.
    """

    run: NDArray[np.int64]  # from 0, not falling
    instant_us: NDArray[np.int64]  # since the session's open
    rare: NDArray[np.bool_]  # chance gives such evidence less than once a session
    passes: NDArray[np.bool_]  # every gate but the confidence's
    cooldown_us: int
    least_confidence: float  # of an alert


def claims_made(track: Track, confidences: NDArray[np.float64]) -> NDArray[np.int64]:
    """Return the places of the first rows written of each episode in each class."""
    candidates = confidences >= CLASSES[0]
    alerts = candidates & track.passes & (confidences >= track.least_confidence)
    episodes = _episodes(track, candidates)
    classes = np.digitize(confidences, CLASSES)
    places = np.union1d(_spaced(track, candidates), _spaced(track, alerts))
    places = np.union1d(places, _crossings(episodes, classes))
    first = np.unique(episodes[places] * (len(CLASSES) + 1) + classes[places], return_index=True)[1]
    claimed: NDArray[np.int64] = places[np.sort(first)]
    return claimed


def alerts_made(track: Track, confidences: NDArray[np.float64]) -> NDArray[np.int64]:
    """Return the places of each episode's first alert."""
    candidates = confidences >= CLASSES[0]
    alerts = candidates & track.passes & (confidences >= track.least_confidence)
    places = _spaced(track, alerts)
    first = np.unique(_episodes(track, candidates)[places], return_index=True)[1]
    found: NDArray[np.int64] = places[first]
    return found


def _spaced(track: Track, holds: NDArray[np.bool_]) -> NDArray[np.int64]:
    """Return the places that are due: the first of each run, then the next a cooldown later."""
    places = np.flatnonzero(holds)
    key = track.run[places] * _APART_US + track.instant_us[places]
    after = np.searchsorted(key, key + max(track.cooldown_us, 1)).tolist()
    due, place = [], 0
    while place < len(after):
        due.append(place)
        place = after[place]
    return places[np.array(due, np.int64)]


def _crossings(episodes: NDArray[np.int64], classes: NDArray[np.int64]) -> NDArray[np.int64]:
    """Return the places at which an episode first reaches a class; `episodes` don't fall."""
    places = np.flatnonzero(classes > 0)
    key = episodes[places] * (len(CLASSES) + 1) + classes[places]
    highest = np.maximum.accumulate(key)  # a later episode's keys are above all of an earlier one
    crossing: NDArray[np.int64] = places[key > np.append(-1, highest[:-1])]
    return crossing


def _episodes(track: Track, candidates: NDArray[np.bool_]) -> NDArray[np.int64]:
    """Return each row's episode, (n,): true of rows that are candidates.

    It begins with a candidate and lasts while there is one or evidence is rare, over breaks
    shorter than the cooldown too.
    """
    over = ~(candidates | track.rare)
    part = np.cumsum(over) + track.run
    places = np.flatnonzero(candidates)
    first = places[np.unique(part[places], return_index=True)[1]]
    ends = np.append(np.flatnonzero(over), len(over) - 1)
    ended = ends[np.minimum(np.searchsorted(ends, first), len(ends) - 1)]
    begins = np.ones(len(first), np.bool_)
    late = track.instant_us[first[1:]] - track.instant_us[ended[:-1]] >= track.cooldown_us
    begins[1:] = late | (track.run[first[1:]] != track.run[first[:-1]])
    marks = np.zeros(len(over), np.int64)
    marks[first[begins]] = 1
    episodes: NDArray[np.int64] = np.cumsum(marks)
    return episodes


def fit_claims(
    track: Track, features: NDArray[np.float64], labels: NDArray[np.bool_], prior: Prior,
    start: Calibration,
) -> Calibration:  # fmt: skip
    """Return weights fitted to the claims they lead to, each round to those of the last.

    `features` (n, 6) and `labels` (n,) of the track's rows; `start` says which claims come first.
    """
    known = fit_calibration(features[::10], labels[::10], prior, standing=start)
    for _ in range(_FIT_ROUNDS):
        looser = replace(known, intercept=known.intercept + _LOOSER)
        rows = claims_made(track, looser.confidences(features))
        found = fit_calibration(features[rows], labels[rows], prior, standing=known)
        moved = {
            name: getattr(known, name) + _FIT_STEP * (getattr(found, name) - getattr(known, name))
            for name in ("intercept", *FEATURES)
        }
        known = replace(found, **moved)
    return scale_to_claims(known, track, features, labels)


def scale_to_claims(
    fitted: Calibration,
    track: Track,
    features: NDArray[np.float64],
    labels: NDArray[np.bool_],
) -> Calibration:
    """Return `fitted` with its log-odds stretched and moved until its claims come true.

    Two numbers, found by Platt's method on the claims they lead to (Platt 1999). `features`
    (n, 6) and `labels` (n,) of the track's rows.
    """
    plain = np.clip(fitted.confidences(features), 1e-9, 1.0 - 1e-9)
    log_odds = np.log(plain / (1.0 - plain))
    moved, scale = 0.0, 1.0
    for _ in range(_SCALE_ROUNDS):
        claimed = claims_made(track, 1.0 / (1.0 + np.exp(-(moved + scale * log_odds))))
        if len(claimed) < _LEAST_CLAIMS:
            moved += 0.5
            continue
        wanted = _fit_line(log_odds[claimed], labels[claimed], moved, scale)
        moved += _SCALE_STEP * (wanted[0] - moved)
        scale += _SCALE_STEP * (max(wanted[1], _LEAST_SCALE) - scale)
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
