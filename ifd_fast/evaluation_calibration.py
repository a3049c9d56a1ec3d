"""`ifd evaluate --calibrate`: the confidence's weights, fitted on sessions played for it.

Several histories, because sessions that share one share its chance: weights fitted to a single
one came out too sure on every other. Each session is scored again from its hand-overs with weights
that hide little, so that makers and weak flow are among the rows too, and the rows are matched with
truth. Weights come from all of them; a scale then makes the claims come true. The prior is the
plan's.
"""

from __future__ import annotations

from concurrent.futures import ThreadPoolExecutor
from dataclasses import replace
from typing import TYPE_CHECKING, Final, NamedTuple

import msgspec
import numpy as np
import polars as pl

from ifd_fast import evaluating
from ifd_fast.baselines import load_arrays
from ifd_fast.calibration import (
    Calibration,
    Prior,
    features_of,
    write_calibration,
)
from ifd_fast.claims import Track, alerts_made, claims_made, fit_claims
from ifd_fast.config import load_settings
from ifd_fast.errors import DataError
from ifd_fast.evaluating import STEM, Plan, Task
from ifd_fast.evaluation import number_of
from ifd_fast.matching import match_alerts
from ifd_fast.reliability import bin_outcomes, calibration_error
from ifd_fast.scoring_again import score_again, with_weights
from ifd_fast.truth import read_truth
from ifd_kernels.verdict import FAILED_CONFIDENCE

if TYPE_CHECKING:
    from collections.abc import Sequence
    from pathlib import Path

    from numpy.typing import NDArray

    from ifd_fast.evaluating import Workers
    from ifd_fast.profiles import Profile

__all__ = ["Group", "Rows", "calibrate", "plan_groups", "play_groups", "wide_rows"]

MADE_BY: Final = "ifd evaluate --calibrate"
# Seeds of groups lie so far from the plan's and from each other's that no session is shared: a
# group plays seed + 1, seed + 2, ...; the blocks of other kinds begin a million later.
SEEDS_APART: Final = 10_000
LEAST_HISTORIES: Final = 2
# Flat, so that whatever any fitted weights make of a row, it is among the rows.
WIDE: Final = Calibration(0.3, 0.35, 0.0, 0.5, 0.4, 0.0, 1.0, Prior())
SILENCE_US: Final = 1_800_000_000  # the longest window: after it no evidence is left
_KEPT: Final = (
    "instant_ns", "instrument_id", "side", "false_alerts", "persistence", "zscore", "coordination",
    "usual_votes", "maker_probability", "failed",
)  # fmt: skip
_BY_RUN: Final = ("session", "instrument_id", "side")


class Group(NamedTuple):
    """A history of its own, and the planted sessions that are scored against it."""

    plan: Plan
    tasks: list[Task]


def plan_groups(plan: Plan, histories: int) -> list[Plan]:
    """Return a plan for each history; together they play as many planted sessions as `plan`.

    Raises
    ------
    DataError
        If there is one history, none to leave out; if there are fewer sessions than histories,
        or so many that seeds would meet.
    """
    if histories < LEAST_HISTORIES:
        raise DataError(f"A calibration takes {LEAST_HISTORIES} histories or more: --histories.")
    if not histories <= plan.sessions < SEEDS_APART:
        raise DataError(
            f"A calibration over {histories} histories takes {histories} to {SEEDS_APART - 1} "
            f"planted sessions, not {plan.sessions}: --sessions."
        )
    none = dict.fromkeys(("null_sessions", "power_sessions", "fine_sessions", "mirrors"), 0)
    return [
        msgspec.structs.replace(
            plan,
            seed=plan.seed + SEEDS_APART * (number + 1),
            sessions=plan.sessions // histories + (number < plan.sessions % histories),
            columns=False,
            histories=1,
            **none,
        )
        for number in range(histories)
    ]


def play_groups(plan: Plan, histories: int, out: Path, workers: Workers) -> list[Group]:
    """Play every group's history and sessions into `out`; what it has is not played again."""
    plans = plan_groups(plan, histories)
    folders = evaluating.make_histories(plans, out, workers)
    groups = [
        Group(one, evaluating.session_tasks(one, out, [folder]))
        for one, folder in zip(plans, folders, strict=True)
    ]
    evaluating.play_all([task for group in groups for task in group.tasks], workers)
    return groups


class Rows(NamedTuple):
    """Rows (n,) of all groups, and which of them are of which."""

    track: Track
    features: NDArray[np.float64]  # (n, 6)
    labels: NDArray[np.bool_]
    units: NDArray[np.int64]  # what was found, -1 for nothing; distinct over all sessions
    group: NDArray[np.int64]

    def of(self, chosen: NDArray[np.bool_]) -> Rows:
        """Return the chosen ones; runs are never cut."""
        track = self.track._replace(
            run=self.track.run[chosen],
            instant_us=self.track.instant_us[chosen],
            rare=self.track.rare[chosen],
            passes=self.track.passes[chosen],
        )
        return Rows(
            track,
            self.features[chosen],
            self.labels[chosen],
            self.units[chosen],
            self.group[chosen],
        )


def calibrate(groups: Sequence[Group], path: Path) -> tuple[Calibration, list[str]]:
    """Fit the calibration to all groups and write it to `path`.

    Return it, and lines that say how claims came true on each history when it was left out.
    """
    plan, tasks = groups[0].plan, [task for group in groups for task in group.tasks]
    prior = Prior(float(plan.plants), float(plan.negatives))
    rows = wide_rows(groups)
    fitted = replace(_fit(rows, prior), sessions=len(tasks))
    lines = _leave_out(groups, rows, prior)
    write_calibration(
        path,
        fitted,
        made_by=f"{MADE_BY} --sessions {len(tasks)} --histories {len(groups)} "
        f"--seed {plan.seed - SEEDS_APART}",
        world_digest=plan.world.digest(),
        history_seeds=[group.plan.seed for group in groups],
        seeds=[task.seed for task in tasks],
    )
    return fitted, lines


def _fit(rows: Rows, prior: Prior) -> Calibration:
    return fit_claims(rows.track, rows.features, rows.labels, prior, WIDE)


def _leave_out(groups: Sequence[Group], rows: Rows, prior: Prior) -> list[str]:
    """Return a line a history, scored with weights fitted to the others; and one for all."""
    confidences = np.zeros(len(rows.labels))
    for number in range(len(groups)):
        out = rows.group == number
        known = _fit(rows.of(~out), prior)
        confidences[out] = known.confidences(rows.features[out])
    lines = [
        f"history of seed {group.plan.seed} left out: "
        + _describe(rows.of(rows.group == number), confidences[rows.group == number])
        for number, group in enumerate(groups)
    ]
    return [*lines, f"all of them: {_describe(rows, confidences)}"]


def _describe(rows: Rows, confidences: NDArray[np.float64]) -> str:
    """Return how true claims came, and alerts, as text."""
    claims = claims_made(rows.track, confidences)
    said, came = confidences[claims], rows.labels[claims]
    if not len(claims):
        return "no claims"
    alerts = alerts_made(rows.track, confidences)
    found = len(np.unique(rows.units[alerts[rows.labels[alerts]]]))
    false = int((~rows.labels[alerts]).sum())
    return (
        f"{len(claims)} claims of {said.mean():.3f} came true {came.mean():.3f}, error "
        f"{calibration_error(bin_outcomes(said, came)):.3f}; alerts found {found}, {false} false"
    )


def wide_rows(groups: Sequence[Group]) -> Rows:
    """Return the rows of every instant of all groups' sessions, matched with their truth.

    Raises
    ------
    DataError
        If sessions were played without history, or there is no row.
    """
    frames = [_score_group(group, number) for number, group in enumerate(groups)]
    frame = pl.concat(frames).sort(*_BY_RUN, "instant_ns")
    if not len(frame):
        raise DataError("These sessions have no rows: nothing to calibrate by.")
    profile = _profile_of(groups[0].plan)
    instant_us = frame["instant_ns"].to_numpy() // 1000
    instant_us -= instant_us.min()
    same = frame.select(pl.struct(_BY_RUN).rle_id()).to_series().to_numpy().astype(np.int64)
    begins = (np.diff(same) != 0) | (np.diff(instant_us) > SILENCE_US)
    track = Track(
        run=np.concatenate([[0], np.cumsum(begins)]).astype(np.int64),
        instant_us=instant_us,
        rare=frame["false_alerts"].to_numpy() <= 1.0,
        passes=(frame["failed"].to_numpy() & ~FAILED_CONFIDENCE) == 0,
        cooldown_us=profile.cooldown_ns // 1000,
        least_confidence=profile.min_overall_confidence,
    )
    features = features_of(
        frame["false_alerts"].to_numpy(),
        frame["persistence"].to_numpy(),
        (frame["zscore"] * frame["side"]).to_numpy(),
        frame["coordination"].to_numpy(),
        frame["usual_votes"].to_numpy(),
        profile.market_making_penalty,
        frame["maker_probability"].to_numpy(),
    )
    units = frame["unit"].to_numpy()
    return Rows(track, features, units >= 0, units, frame["group"].to_numpy().astype(np.int64))


def _profile_of(plan: Plan, **changes: float) -> Profile:
    return load_settings(plan.profile, {**plan.overrides, **changes}).profile


def _score_group(group: Group, number: int) -> pl.DataFrame:
    """Return the rows of a group's sessions with `group`, `session` and `unit` (-1: none)."""
    plan, tasks = group
    if not tasks or tasks[0].arrays is None:
        raise DataError("Planted sessions with history are needed to calibrate.")
    arrays = with_weights(load_arrays(tasks[0].arrays), WIDE)
    profile = _profile_of(plan, cooldown_s=0.0)  # a row each instant

    def read(task: Task) -> pl.DataFrame:
        found: NDArray[np.void] = score_again(task.folder, arrays, profile)
        columns = {name: np.ascontiguousarray(found[name]) for name in _KEPT}
        session = number * SEEDS_APART + number_of(task)
        rows = pl.DataFrame(columns).with_columns(
            pl.lit(session, pl.Int32).alias("session"),
            pl.lit(number, pl.Int32).alias("group"),
            pl.col("instrument_id").cast(pl.UInt32),
            pl.col("side").cast(pl.Int8),
            pl.lit(0.0).alias("score"),
        )
        truth = read_truth(task.folder, STEM).episodes
        told = match_alerts(rows, truth.with_columns(pl.lit(session, pl.Int32).alias("session")))
        unit = pl.lit(session, pl.Int64) * 100_000 + pl.col("unit")
        return told.alerts.select(*_KEPT, "session", "group", unit.fill_null(-1).alias("unit"))

    with ThreadPoolExecutor(2) as pool:  # the kernel holds no interpreter lock
        return pl.concat(pool.map(read, tasks))
