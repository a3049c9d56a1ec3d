"""The calibration: which log-odds make `final_confidence` a probability, for a stated prior.

Weights live in `calibration.toml`, beside the seeds and the world they were fitted on. A fit takes
candidates at the instants they were emitted, whether each was planted, and the prior; it is a
logistic regression whose weights can't have the wrong sign, so that confidence stays monotone.
"""

from __future__ import annotations

import hashlib
import math
import textwrap
import tomllib
from dataclasses import dataclass, replace
from functools import cache
from importlib import resources
from pathlib import Path
from typing import TYPE_CHECKING, Any, Final

import numpy as np

from ifd_fast.errors import DataError
from ifd_kernels.signals import (
    LOG_ODDS_LIMIT,
    MAX_ACTIVITY,
    MAX_ANOMALY,
    MAX_COORDINATION,
    MAX_DECADES,
    MAX_RAW_DECADES,
    MIN_ACTIVITY,
)

if TYPE_CHECKING:
    from collections.abc import Sequence

    from numpy.typing import NDArray

__all__ = [
    "FEATURES",
    "Calibration",
    "Prior",
    "features_of",
    "fit_calibration",
    "load_calibration",
    "reweigh_prior",
    "write_calibration",
]

VERSION: Final = 4
# Columns of the features, and the weight each one gets; the maker's counts against.
FEATURES: Final = (
    "per_decade",
    "per_persistence",
    "per_deviate",
    "per_coordination",
    "per_activity",
    "maker_loss",
)
_SIGNS: Final = np.array([1.0, 1.0, 1.0, 1.0, 1.0, -1.0])
# Weights are pulled to those that stand with the weight of so many candidates: a feature that the
# sessions say nothing about keeps its place.
_RIDGE: Final = 1.0
_LEAST_PER_DECADE: Final = 0.1
_ROUNDS: Final = 100
_TOLERANCE: Final = 1e-10


@dataclass(frozen=True)
class Prior:
    """Episodes a session that the confidences are meant for."""

    planted: float = 6.0
    hard_negatives: float = 20.0


@dataclass(frozen=True)
class Calibration:
    """Weights of the log-odds, and where they come from."""

    intercept: float
    per_decade: float
    per_persistence: float
    per_deviate: float
    per_coordination: float
    per_activity: float
    maker_loss: float
    prior: Prior
    made_by: str = ""
    world_digest: str = ""
    history_seeds: tuple[int, ...] = ()
    seeds: tuple[int, ...] = ()
    sessions: int = 0
    candidates: int = 0

    @property
    def digest(self) -> str:
        """SHA-256 of weights and prior."""
        numbers = [self.intercept, *(getattr(self, name) for name in FEATURES)]
        numbers += [self.prior.planted, self.prior.hard_negatives]
        return hashlib.sha256(repr([float(number) for number in numbers]).encode()).hexdigest()

    def confidences(self, features: NDArray[np.float64]) -> NDArray[np.float64]:
        """Return the confidence of each row of features (n, 6), as the kernels give it."""
        weights = np.array([getattr(self, name) for name in FEATURES]) * _SIGNS
        log_odds = np.clip(self.intercept + features @ weights, -LOG_ODDS_LIMIT, LOG_ODDS_LIMIT)
        result: NDArray[np.float64] = 1.0 / (1.0 + np.exp(-log_odds))
        return result


def features_of(
    false_alerts: NDArray[np.float64],
    persistence: NDArray[np.float64],
    zscore_towards: NDArray[np.float64],
    coordination: NDArray[np.float64],
    usual_votes: NDArray[np.float64],
    penalty: float,
    maker: NDArray[np.float64],
) -> NDArray[np.float64]:
    """Return the features (n, 6) of signals, cut as the kernels cut them.

    `penalty`: the key market_making_penalty; `maker`: P(maker), whose square counts.
    """
    decades = np.clip(-np.log10(false_alerts), -MAX_DECADES, MAX_RAW_DECADES)
    return np.stack(
        [
            decades,
            np.clip(persistence, 0.0, 1.0),
            np.clip(zscore_towards, 0.0, MAX_ANOMALY),
            np.clip(coordination, 0.0, MAX_COORDINATION),
            np.clip(np.log10(np.clip(usual_votes, 1e-9, 1e9)), MIN_ACTIVITY, MAX_ACTIVITY),
            penalty * maker * maker,
        ],
        axis=1,
    )


def fit_calibration(
    features: NDArray[np.float64],
    labels: NDArray[np.bool_],
    prior: Prior,
    *,
    weights: NDArray[np.float64] | None = None,
    standing: Calibration | None = None,
) -> Calibration:
    """Fit the weights to candidates at the instants they were emitted.

    Parameters
    ----------
    features
        (n, 6), of `features_of`.
    labels
        (n,) whether planted flow stood behind it.
    prior
        What the confidences are for; kept in the result.
    weights
        (n,) how much each candidate counts: sessions that hold other numbers of planted and hard
        negative episodes than the prior are brought to it so. None: all alike.
    standing
        What is kept where the candidates say nothing; None: the package's.

    Raises
    ------
    DataError
        If all labels are alike, or a feature is no number.
    """
    wanted = np.asarray(labels, float)
    if features.ndim != 2 or features.shape != (len(wanted), len(FEATURES)):
        raise DataError(f"`features` must be (n, {len(FEATURES)}), was {features.shape}.")
    if not np.isfinite(features).all():
        raise DataError("`features` must be finite numbers.")
    if wanted.size == 0 or wanted.min() == wanted.max():
        raise DataError("Candidates of both kinds are needed, planted and not, to calibrate.")
    counts = np.ones(len(wanted)) if weights is None else np.asarray(weights, float)
    known = standing or load_calibration()
    start = np.array([known.intercept, *(getattr(known, name) for name in FEATURES)])
    design = np.column_stack([np.ones(len(wanted)), features * _SIGNS])
    found = _descend(design, wanted, counts, start)
    names = ("intercept", *FEATURES)
    fitted = dict(zip(names, found.tolist(), strict=True))
    return replace(known, **fitted, prior=prior, candidates=len(wanted))


def _descend(
    design: NDArray[np.float64],
    wanted: NDArray[np.float64],
    counts: NDArray[np.float64],
    start: NDArray[np.float64],
) -> NDArray[np.float64]:
    """Minimise the ridged logistic loss over weights within their bounds, by Newton's steps.

    A weight at its bound that wants to go beyond it stands still for the step.
    """
    low = np.array([-np.inf, _LEAST_PER_DECADE, *[0.0] * (len(FEATURES) - 1)])
    ridge = np.array([1e-9, *[_RIDGE] * len(FEATURES)])

    def loss_of(weights: NDArray[np.float64]) -> float:
        log_odds = design @ weights
        fit = float(counts @ (np.logaddexp(0.0, log_odds) - wanted * log_odds))
        return fit + 0.5 * float(ridge @ (weights - start) ** 2)

    weights: NDArray[np.float64] = np.maximum(start, low)
    loss = loss_of(weights)
    for _ in range(_ROUNDS):
        log_odds = np.clip(design @ weights, -40.0, 40.0)
        chance = 1.0 / (1.0 + np.exp(-log_odds))
        slope = design.T @ (counts * (chance - wanted)) + ridge * (weights - start)
        free = ~((weights <= low) & (slope > 0))
        part = design[:, free]
        curve = (part.T * (counts * chance * (1.0 - chance))) @ part + np.diag(ridge[free])
        step = np.zeros(len(weights))
        step[free] = np.linalg.solve(curve, slope[free])
        scale, better = 1.0, weights
        while scale > 1e-6:
            better = np.maximum(weights - scale * step, low)
            if loss_of(better) <= loss:
                break
            scale /= 2.0
        gained = loss - loss_of(better)
        weights, loss = better, loss - gained
        if gained < _TOLERANCE * max(1.0, abs(loss)):
            break
    return weights


def reweigh_prior(calibration: Calibration, prior: Prior) -> Calibration:
    """Return the calibration for another number of planted episodes a session."""
    shift = math.log(prior.planted / calibration.prior.planted)
    return replace(calibration, prior=prior, intercept=calibration.intercept + shift)


@cache
def load_calibration(path: Path | None = None) -> Calibration:
    """Return the calibration at `path`; None: the package's.

    Raises
    ------
    DataError
        If it can't be read, or a weight is missing or has the wrong sign.
    """
    source = resources.files("ifd_fast") / "calibration.toml" if path is None else path
    try:
        tree = tomllib.loads(source.read_text("utf-8"))
        return _read(tree)
    except (OSError, tomllib.TOMLDecodeError, KeyError, TypeError, ValueError) as error:
        raise DataError(
            f"Calibration {source} can't be used ({type(error).__name__}: {error}). "
            "Make it anew with `ifd evaluate --calibrate`."
        ) from error


def _read(tree: dict[str, Any]) -> Calibration:
    if tree["version"] != VERSION:
        raise ValueError(f"its version is {tree['version']}, not {VERSION}")
    weights = {name: float(tree["weights"][name]) for name in ("intercept", *FEATURES)}
    if not all(math.isfinite(value) for value in weights.values()):
        raise ValueError("a weight is no number")
    if weights["per_decade"] <= 0 or min(weights[name] for name in FEATURES) < 0:
        raise ValueError("a weight has the wrong sign")
    return Calibration(
        **weights,
        prior=Prior(float(tree["prior"]["planted"]), float(tree["prior"]["hard_negatives"])),
        made_by=str(tree["made_by"]),
        world_digest=str(tree["world_digest"]),
        history_seeds=tuple(int(seed) for seed in tree["history_seeds"]),
        seeds=tuple(int(seed) for seed in tree["seeds"]),
        sessions=int(tree["sessions"]),
        candidates=int(tree["candidates"]),
    )


_TEMPLATE: Final = """\
# Weights of the log-odds of `final_confidence`, for a stated prior. Regenerable: see `made_by`.
version = {version}
made_by = "{made_by}"
world_digest = "{world_digest}"
history_seeds = [
{history_seeds},
]
seeds = [
{seeds},
]
sessions = {sessions}
candidates = {candidates}

[prior]  # episodes a session
planted = {planted!r}
hard_negatives = {hard_negatives!r}

[weights]
# log-odds = intercept + per_decade * -log10(false episodes a session, down to .01)
#   + per_persistence * (share of active minutes that lean to the side)
#   + per_deviate * (standard deviations of the ratio's history, 0 to 2)
#   + per_coordination * (standard deviations of the neighbours' agreement, 0 to 3)
#   + per_activity * (log10 of the votes of a side usual in 300 s there and then, -2 to 1)
#   - maker_loss * market_making_penalty * P(maker) squared
{weights}
"""


def write_calibration(
    path: Path,
    calibration: Calibration,
    *,
    made_by: str,
    world_digest: str,
    history_seeds: Sequence[int],
    seeds: Sequence[int],
) -> None:
    """Write the calibration as TOML, with where it comes from."""
    names = ("intercept", *FEATURES)
    text = _TEMPLATE.format(
        version=VERSION,
        made_by=made_by.replace("\\", "/").replace('"', "'"),
        world_digest=world_digest,
        history_seeds=_fill(history_seeds),
        seeds=_fill(seeds),
        sessions=calibration.sessions,
        candidates=calibration.candidates,
        planted=float(calibration.prior.planted),
        hard_negatives=float(calibration.prior.hard_negatives),
        weights="\n".join(f"{name} = {float(getattr(calibration, name))!r}" for name in names),
    )
    path.write_text(text, encoding="utf-8")


def _fill(seeds: Sequence[int]) -> str:
    """Return numbers as lines of TOML."""
    return textwrap.fill(", ".join(map(str, seeds)), 96, initial_indent=" ", subsequent_indent=" ")
