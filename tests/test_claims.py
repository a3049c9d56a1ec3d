"""Claims: the first row of an episode in each class, and a scale that makes them come true."""

from __future__ import annotations

import numpy as np
import pytest

from ifd_fast.calibration import Calibration, Prior
from ifd_fast.claims import first_claims, scale_to_claims

FITTED = Calibration(0.0, 1.0, 0.0, 0.0, 0.0, 0.0, Prior())


def test_a_claim_is_the_first_row_of_an_episode_in_a_class() -> None:
    """Rows below .5 claim nothing; a class left and entered again is claimed once."""
    confidences = np.array([0.4, 0.55, 0.58, 0.95, 0.55, 0.65, 0.52])
    episodes = np.array([1, 1, 1, 1, 1, 1, 2])
    assert first_claims(confidences, episodes).tolist() == [1, 3, 5, 6]


def test_no_row_no_claim() -> None:
    """An empty session claims nothing."""
    assert first_claims(np.zeros(0), np.zeros(0, np.int64)).size == 0


def test_scaled_claims_come_true() -> None:
    """Log-odds that are twice too sure, and off by one, are brought back; order is kept."""
    rng = np.random.default_rng(3)
    features = np.zeros((30_000, 5))
    features[:, 0] = rng.uniform(-1, 5, 30_000)  # claims must spread for their slope to be told
    labels = rng.random(30_000) < 1 / (1 + np.exp(0.3 - 0.5 * features[:, 0]))
    episodes = np.arange(30_000)
    found = scale_to_claims(FITTED, features, labels, episodes)
    assert found.per_decade == pytest.approx(0.5, abs=0.1)
    assert found.intercept == pytest.approx(-0.3, abs=0.1)
    confidences = found.confidences(features)
    claimed = first_claims(confidences, episodes)
    assert confidences[claimed].mean() == pytest.approx(labels[claimed].mean(), abs=0.02)
