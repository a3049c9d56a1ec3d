"""`ifd evaluate --calibrate`: the confidence's weights, fitted on a run's planted sessions.

Claims are taken as they were made, at the instants of their rows, and matched with truth; the
prior is the plan's. Whoever measures the calibration afterwards takes another seed.
"""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path
from typing import TYPE_CHECKING, Final

import polars as pl

from ifd_fast.calibration import Prior, features_of, fit_calibration, write_calibration
from ifd_fast.config import load_settings
from ifd_fast.evaluating import STEM
from ifd_fast.evaluation import claims_of, number_of
from ifd_fast.matching import match_alerts
from ifd_fast.truth import read_truth

if TYPE_CHECKING:
    from collections.abc import Sequence

    from ifd_fast.calibration import Calibration
    from ifd_fast.evaluating import Plan, Task

__all__ = ["calibrate"]

MADE_BY: Final = "ifd evaluate --calibrate"


def calibrate(plan: Plan, tasks: Sequence[Task], path: Path) -> Calibration:
    """Fit the calibration to the planted sessions among `tasks`, and write it to `path`."""
    planted = [task for task in tasks if task.name.startswith("planted")]
    claims, truths = [], []
    for task in planted:
        number = number_of(task)
        signals = pl.read_parquet(task.folder / "signals.parquet")
        claims.append(claims_of(signals, number))
        episodes = read_truth(task.folder, STEM).episodes
        truths.append(episodes.with_columns(pl.lit(number, pl.Int32).alias("session")))
    told = match_alerts(pl.concat(claims), pl.concat(truths)).alerts
    profile = load_settings(plan.profile, dict(plan.overrides)).profile
    features = features_of(
        told["false_alerts"].to_numpy(),
        (told["pressure_zscore"] * told["side"]).to_numpy(),
        told["coordination"].to_numpy(),
        profile.market_making_penalty * told["market_making_probability"].to_numpy(),
    )
    labels = told["unit"].is_not_null().to_numpy()
    prior = Prior(float(plan.plants), float(plan.negatives))
    fitted = replace(fit_calibration(features, labels, prior), sessions=len(planted))
    write_calibration(
        path,
        fitted,
        made_by=f"{MADE_BY}, seed {plan.seed}",
        world_digest=plan.world.digest(),
        seeds=[task.seed for task in planted],
    )
    return fitted
