"""Claims: which rows are written, the first of an episode in each class, weights that come true."""

from __future__ import annotations

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from numpy.typing import NDArray

from ifd_fast.calibration import Calibration, Prior
from ifd_fast.claims import Track, alerts_made, claims_made, fit_claims, scale_to_claims

FITTED = Calibration(0.0, 1.0, 0.0, 0.0, 0.0, 0.0, 0.0, Prior())
SECOND_US = 1_000_000


def track_of(
    seconds: list[int],
    run: list[int] | None = None,
    rare: list[bool] | None = None,
    passes: list[bool] | None = None,
    cooldown_s: int = 300,
) -> Track:
    """Return rows of one run, all gates passed, no evidence rare, unless told otherwise."""
    count = len(seconds)
    return Track(
        np.array(run or [0] * count, np.int64),
        np.array(seconds, np.int64) * SECOND_US,
        np.array(rare or [False] * count, bool),
        np.array(passes or [True] * count, bool),
        cooldown_s * SECOND_US,
        0.7,
    )


def lone(count: int) -> Track:
    """Return rows that each are a run."""
    return track_of([0] * count, run=list(range(count)))


def test_rows_are_written_where_a_class_is_reached_and_a_cooldown_apart() -> None:
    """Each class where it is crossed, whatever the gates; one leapt over, 300 s later at most."""
    seconds = [0, 10, 20, 300, 310, 700]
    confidences = np.array([0.55, 0.75, 0.65, 0.66, 0.95, 0.67])
    track = track_of(seconds)
    assert claims_made(track, confidences).tolist() == [0, 1, 3, 4]  # 2: not due; 5: class known
    assert alerts_made(track, confidences).tolist() == [1]
    gated = track._replace(passes=np.zeros(6, bool))
    assert claims_made(gated, confidences).tolist() == [0, 1, 3, 4]
    assert alerts_made(gated, confidences).tolist() == []


def test_an_episode_outlasts_a_break_while_evidence_is_rare() -> None:
    """Else a candidate a cooldown after the end begins a new one, and claims its class anew."""
    confidences = np.array([0.55, 0.4, 0.56, 0.57])
    seconds = [0, 10, 400, 800]
    assert claims_made(track_of(seconds), confidences).tolist() == [0, 2]
    kept = track_of(seconds, rare=[False, True, False, False])
    assert claims_made(kept, confidences).tolist() == [0]
    soon = track_of([0, 200, 400, 800])
    assert claims_made(soon, confidences).tolist() == [0]


def test_no_row_no_claim() -> None:
    """An empty session claims nothing."""
    assert claims_made(track_of([]), np.zeros(0)).size == 0
    assert claims_made(lone(3), np.full(3, 0.49)).size == 0


def written_by_rule(track: Track, confidences: NDArray[np.float64]) -> list[int]:
    """Return the claims as the scorer's rules say them, row by row."""
    claims: list[int] = []
    seen: set[tuple[int, int]] = set()
    before, active, episode, ended, due = -1, False, 0, -(10**15), [-(10**15)] * 2
    reached = 0
    for place, confidence in enumerate(confidences):
        now = int(track.instant_us[place])
        if track.run[place] != before:
            before, active, ended, due = track.run[place], False, -(10**15), [-(10**15)] * 2
            reached = 0
        candidate = confidence >= 0.5
        alert = candidate and bool(track.passes[place]) and confidence >= track.least_confidence
        if not active and candidate:
            active = True
            if now - ended >= track.cooldown_us:
                episode, reached = episode + 1, 0
        elif active and not (candidate or track.rare[place]):
            active, ended = False, now
        written = False
        for what, holds in enumerate((candidate, alert)):
            if holds and now - due[what] >= track.cooldown_us:
                due[what], written = now, True
        level = int(np.digitize(confidence, (0.5, 0.6, 0.7, 0.8, 0.9)))
        if level > reached:
            reached, written = level, True
        key = (episode, level)
        if written and key not in seen:
            seen.add(key)
            claims.append(place)
    return claims


@given(
    st.lists(
        st.tuples(
            st.integers(0, 2),
            st.integers(1, 200),
            st.sampled_from([0.3, 0.55, 0.65, 0.75, 0.95]),
            st.booleans(),
            st.booleans(),
        ),
        max_size=40,
    )
)
def test_claims_are_those_of_the_rules(steps: list[tuple[int, int, float, bool, bool]]) -> None:
    """All at once they are what the scorer's rules give row by row, over runs of any kind."""
    steps.sort(key=lambda step: step[0])
    seconds = np.cumsum([step[1] for step in steps]).tolist()
    track = track_of(
        seconds,
        [step[0] for step in steps],
        [step[3] for step in steps],
        [step[4] for step in steps],
    )
    confidences = np.array([step[2] for step in steps])
    assert claims_made(track, confidences).tolist() == written_by_rule(track, confidences)


def test_scaled_claims_come_true() -> None:
    """Log-odds that are twice too sure, and off by one, are brought back; order is kept."""
    rng = np.random.default_rng(3)
    features = np.zeros((15_000, 6))
    features[:, 0] = rng.uniform(-1, 5, 15_000)  # claims must spread for their slope to be told
    labels = rng.random(15_000) < 1 / (1 + np.exp(0.3 - 0.5 * features[:, 0]))
    track = lone(15_000)
    found = scale_to_claims(FITTED, track, features, labels)
    assert found.per_decade == pytest.approx(0.5, abs=0.1)
    assert found.intercept == pytest.approx(-0.3, abs=0.1)
    confidences = found.confidences(features)
    claimed = claims_made(track, confidences)
    assert confidences[claimed].mean() == pytest.approx(labels[claimed].mean(), abs=0.02)


def test_fitted_claims_come_true_and_find_the_weights() -> None:
    """Weights that made the labels are found again from claims alone."""
    rng = np.random.default_rng(5)
    features = np.zeros((20_000, 6))
    features[:, 0] = rng.uniform(-4, 2, 20_000)
    features[:, 2] = rng.uniform(0, 2, 20_000)
    truth = Calibration(-1.0, 1.2, 0.0, 0.9, 0.0, 0.0, 0.0, Prior())
    labels = rng.random(20_000) < truth.confidences(features)
    track = lone(20_000)
    found = fit_claims(track, features, labels, Prior(), FITTED)
    assert found.per_decade == pytest.approx(1.2, abs=0.25)
    assert found.per_deviate == pytest.approx(0.9, abs=0.25)
    confidences = found.confidences(features)
    claimed = claims_made(track, confidences)
    assert confidences[claimed].mean() == pytest.approx(labels[claimed].mean(), abs=0.02)
