"""`ifd evaluate --calibrate`: several histories, seeds of their own, a file that says so.

Goal: the fit's own arithmetic is in test_claims.py; here it is what the fit is made of.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
from numpy.typing import NDArray

from ifd_fast import evaluation_calibration
from ifd_fast.calibration import load_calibration
from ifd_fast.claims import Track
from ifd_fast.errors import DataError
from ifd_fast.evaluating import Workers, claim_tasks, history_plans, session_tasks
from ifd_fast.evaluation_calibration import (
    Group,
    Rows,
    calibrate,
    plan_groups,
    play_groups,
    wide_rows,
)
from ifd_fast.evaluation_run import CLAIM_BATCH, MOST_BATCHES
from tests.strategies_evaluation import little_plan

pytestmark = [pytest.mark.jit, pytest.mark.slow]


def test_rows_of_a_calibration_come_from_every_history(tmp_path: Path) -> None:
    """Each has its own seed and sessions; nothing is played twice; rows know their history."""
    plan = little_plan(sessions=2)
    with Workers(1) as workers:
        groups = play_groups(plan, 2, tmp_path, workers)
        written = [(task.folder / "played.json").stat().st_mtime_ns for task in groups[1].tasks]
        assert play_groups(plan, 2, tmp_path, workers) == groups
    assert written == [(task.folder / "played.json").stat().st_mtime_ns for task in groups[1].tasks]
    rows = wide_rows(groups)
    assert set(rows.group.tolist()) == {0, 1}
    assert rows.features.shape == (len(rows.labels), 6)
    assert np.array_equal(rows.labels, rows.units >= 0)
    assert (np.diff(rows.track.run) >= 0).all()
    ours = rows.of(rows.group == 1)
    assert len(ours.labels) == int((rows.group == 1).sum())


def rows_that_come_true(chance: Callable[[NDArray[np.float64]], NDArray[np.float64]]) -> Rows:
    """Return rows of two histories, each a run of its own, labelled by a chance of features."""
    rng = np.random.default_rng(8)
    features = np.zeros((6000, 6))
    features[:, 0], features[:, 2] = rng.uniform(-4, 2, 6000), rng.uniform(0, 2, 6000)
    labels = rng.random(6000) < chance(features)
    none = np.zeros(6000, np.bool_)
    track = Track(np.arange(6000), np.zeros(6000, np.int64), none, ~none, 300 * 10**6, 0.7)
    units = np.where(labels, np.arange(6000), -1)
    return Rows(track, features, labels, units, np.arange(6000) % 2)


def test_a_calibration_is_fitted_to_several_histories(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """The file has the weights that made the labels, and names all seeds; a line a history."""
    truth = replace(load_calibration(), intercept=-1.0, per_decade=1.2, per_deviate=0.9)
    rows = rows_that_come_true(truth.confidences)
    monkeypatch.setattr(evaluation_calibration, "wide_rows", lambda _: rows)
    plans = plan_groups(little_plan(sessions=2), 2)
    groups = [Group(plan, session_tasks(plan, tmp_path, [tmp_path])) for plan in plans]
    path = tmp_path / "calibration.toml"
    fitted, lines = calibrate(groups, path)
    read = load_calibration(path)
    assert (read.per_decade, read.per_deviate) == pytest.approx((1.2, 0.9), abs=0.25)
    assert (read.prior.planted, read.prior.hard_negatives) == (3.0, 0.0)
    assert read.world_digest == plans[0].world.digest()
    assert read.history_seeds == tuple(group.plan.seed for group in groups)
    assert read.seeds == tuple(task.seed for group in groups for task in group.tasks)
    assert read.digest == fitted.digest
    assert len(lines) == 3


def test_no_session_of_a_calibration_is_an_evaluations(tmp_path: Path) -> None:
    """Seeds of its histories and sessions are none that plans of seeds 1 to 20 play."""
    plans = plan_groups(little_plan(seed=1, sessions=160), 8)
    assert sum(plan.sessions for plan in plans) == 160
    ours = {plan.seed for plan in plans}
    ours |= {task.seed for plan in plans for task in session_tasks(plan, tmp_path, [tmp_path])}
    assert len(ours) == 8 + 160
    for seed in range(1, 21):
        plan = little_plan(seed=seed, sessions=200, null_sessions=200, power_sessions=60)
        tasks = session_tasks(plan, tmp_path, [tmp_path])
        tasks += claim_tasks(plan, tmp_path, [tmp_path], range(CLAIM_BATCH * MOST_BATCHES))
        # whatever history a session has, its own seed is the same
        histories = {one.seed for one in history_plans(little_plan(seed=seed, histories=99))}
        assert not ours & {*histories, *(task.seed for task in tasks)}
    with pytest.raises(DataError, match="planted sessions"):
        plan_groups(little_plan(sessions=3), 4)
    with pytest.raises(DataError, match="2 histories"):
        plan_groups(little_plan(sessions=3), 1)
