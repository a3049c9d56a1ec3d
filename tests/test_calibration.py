"""The calibration: weights found again, signs kept, priors moved, and a file that comes back."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest

from ifd_fast.calibration import (
    Calibration,
    Prior,
    features_of,
    fit_calibration,
    load_calibration,
    reweigh_prior,
    write_calibration,
)
from ifd_fast.detection import IFDv3Engine
from ifd_fast.errors import DataError
from tests.strategies_interface import SMALL, record, store

TRUE = Calibration(0.5, 2.0, 0.5, 0.3, 0.2, 0.7, 6.0, Prior())
# What a fit keeps where candidates say nothing: the package's own may be made anew any day.
STANDING = Calibration(1.37, 2.15, 0.5, 0.15, 0.1, 0.5, 10.0, Prior())


def candidates(count: int, seed: int = 1) -> tuple[np.ndarray, np.ndarray]:
    """Return features and labels drawn from TRUE."""
    rng = np.random.default_rng(seed)
    features = np.column_stack(
        [
            rng.uniform(-1, 2, count),
            rng.uniform(0, 1, count),
            rng.uniform(0, 3, count),
            rng.uniform(0, 3, count),
            rng.uniform(-2, 1, count),
            0.4 * rng.uniform(0, 0.8, count),
        ]
    )
    return features, rng.random(count) < TRUE.confidences(features)


def test_weights_are_found_again() -> None:
    """Twenty thousand candidates give the weights they were drawn from."""
    found = fit_calibration(*candidates(20_000), Prior())
    assert found.per_decade == pytest.approx(TRUE.per_decade, rel=0.1)
    assert found.maker_loss == pytest.approx(TRUE.maker_loss, rel=0.2)
    assert found.intercept == pytest.approx(TRUE.intercept, abs=0.2)
    assert found.candidates == 20_000


def test_held_out_confidences_are_frequencies() -> None:
    """In each tenth of other candidates the mean confidence is the share that was planted."""
    found = fit_calibration(*candidates(20_000), Prior())
    features, labels = candidates(20_000, seed=2)
    confidences = found.confidences(features)
    for part in np.array_split(np.argsort(confidences), 10):
        assert confidences[part].mean() == pytest.approx(labels[part].mean(), abs=0.04)


def test_no_weight_gets_the_wrong_sign() -> None:
    """Features that point the other way are left out, not turned against monotony."""
    features, labels = candidates(2_000)
    features[:, 1:] = features[:, 1:].max(axis=0) - features[:, 1:]
    found = fit_calibration(features, labels, Prior(), standing=STANDING)
    assert found.per_deviate == found.per_coordination == found.maker_loss == 0
    assert found.per_persistence == found.per_activity == 0
    assert fit_calibration(-features, labels, Prior()).per_decade >= 0.1


def test_weights_count_candidates() -> None:
    """A candidate of weight two is two candidates."""
    features, labels = candidates(500)
    once = fit_calibration(features, labels, Prior(), weights=np.full(500, 2.0))
    twice = fit_calibration(np.tile(features, (2, 1)), np.tile(labels, 2), Prior())
    assert once.intercept == pytest.approx(twice.intercept, rel=1e-6)
    assert once.per_decade == pytest.approx(twice.per_decade, rel=1e-6)


def test_what_can_not_be_fitted_is_refused() -> None:
    """Labels of one kind, other shapes and NaN are named."""
    features, labels = candidates(50)
    with pytest.raises(DataError, match="both kinds"):
        fit_calibration(features, np.ones(50, bool), Prior())
    with pytest.raises(DataError, match="must be"):
        fit_calibration(features[:, :2], labels, Prior())
    features[0, 0] = np.nan
    with pytest.raises(DataError, match="finite"):
        fit_calibration(features, labels, Prior())


def test_another_prior_multiplies_the_odds() -> None:
    """Twice as many planted episodes double every odds."""
    moved = reweigh_prior(TRUE, Prior(planted=12.0))
    features, _ = candidates(20)
    odds = [one / (1 - one) for one in (TRUE.confidences(features), moved.confidences(features))]
    assert odds[1] == pytest.approx(2 * odds[0])


def test_the_file_comes_back(tmp_path: Path) -> None:
    """Written and read again it is the same; a damaged one is refused by name."""
    path = tmp_path / "calibration.toml"
    write_calibration(
        path, TRUE, made_by='ifd "x"', world_digest="ab", history_seeds=[7], seeds=[1, 2]
    )
    read = load_calibration(path)
    assert read.digest == TRUE.digest
    assert (read.history_seeds, read.seeds, read.world_digest) == ((7,), (1, 2), "ab")
    bad = tmp_path / "bad.toml"
    bad.write_text(path.read_text().replace("per_decade = 2.0", "per_decade = -2.0"))
    with pytest.raises(DataError, match="wrong sign"):
        load_calibration(bad)
    assert load_calibration().prior == Prior(6.0, 20.0)


def test_features_are_cut_as_the_kernels_cut_them() -> None:
    """Decades from -12 to 2, anomalies up to 2, agreement up to 3, activity; a maker's square."""
    wild = np.array([1e-30, 1e30, 1.0])
    share, makers = np.array([0.0, 0.5, 7.0]), np.array([0.0, 0.5, 1.0])
    features = features_of(
        wild, share, np.array([-1.0, 9.0, 1.5]), np.array([-3.0, 8.0, 1.0]),
        np.array([0.0, 1e20, 0.1]), 0.4, makers,
    )  # fmt: skip
    assert features[:, 0].tolist() == [2, -12, 0]
    assert features[:, 1].tolist() == [0, 0.5, 1]
    assert features[:, 2].tolist() == [0, 2, 1.5]
    assert features[:, 3].tolist() == [0, 3, 1]
    assert features[:, 4].tolist() == [-2, 1, -1]
    assert features[:, 5] == pytest.approx([0, 0.1, 0.4])


def test_the_packages_own_weights_alert(tmp_path: Path) -> None:
    """With twenty sessions of history the loudest window is an alert, with none it is no claim."""
    profile = tmp_path / "small.toml"
    profile.write_text(SMALL, "utf-8")
    loud = record()
    actual = IFDv3Engine(profile, store()).analyze_pressure_event(loud)
    assert actual is not None
    assert (actual.alert, actual.dominant_side) == (True, "BUY")
    assert IFDv3Engine(profile).analyze_pressure_event(loud) is None
