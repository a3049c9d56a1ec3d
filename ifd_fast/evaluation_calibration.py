"""`ifd evaluate --calibrate`: the confidence's weights, fitted on a run's planted sessions.

Each session is scored again from its hand-overs with weights that hide little, so that makers and
weak flow are among the rows too, and the rows are matched with truth. Weights come from all of
them; a scale then makes the claims come true. The prior is the plan's. Whoever measures the
calibration afterwards takes another seed.
"""

from __future__ import annotations

from concurrent.futures import ThreadPoolExecutor
from dataclasses import replace
from pathlib import Path
from typing import TYPE_CHECKING, Final

import numpy as np
import polars as pl

from ifd_fast.baselines import load_arrays
from ifd_fast.calibration import (
    Calibration,
    Prior,
    features_of,
    fit_calibration,
    write_calibration,
)
from ifd_fast.claims import scale_to_claims
from ifd_fast.config import load_settings
from ifd_fast.errors import DataError
from ifd_fast.evaluating import STEM
from ifd_fast.evaluation import number_of
from ifd_fast.matching import match_alerts
from ifd_fast.scoring_again import score_again, with_weights
from ifd_fast.truth import read_truth

if TYPE_CHECKING:
    from collections.abc import Sequence

    from numpy.typing import NDArray

    from ifd_fast.evaluating import Plan, Task

__all__ = ["calibrate", "wide_rows"]

MADE_BY: Final = "ifd evaluate --calibrate"
# Flat, so that an episode that grows passes its classes, and has rows, over a wide range.
WIDE: Final = Calibration(-0.5, 0.35, 0.0, 0.5, 0.4, 2.0, Prior())
_KEPT: Final = (
    "instant_ns", "episode_ns", "instrument_id", "side", "false_alerts", "persistence", "zscore",
    "coordination", "maker_probability", "final_confidence",
)  # fmt: skip


def calibrate(plan: Plan, tasks: Sequence[Task], path: Path) -> Calibration:
    """Fit the calibration to the planted sessions among `tasks`, and write it to `path`."""
    planted = [task for task in tasks if task.name.startswith("planted")]
    profile = load_settings(plan.profile, dict(plan.overrides)).profile
    rows = wide_rows(plan, planted)
    features = features_of(
        rows["false_alerts"].to_numpy(),
        rows["persistence"].to_numpy(),
        (rows["zscore"] * rows["side"]).to_numpy(),
        rows["coordination"].to_numpy(),
        profile.market_making_penalty,
        rows["maker_probability"].to_numpy(),
    )
    labels = rows["unit"].is_not_null().to_numpy()
    prior = Prior(float(plan.plants), float(plan.negatives))
    fitted = fit_calibration(features, labels, prior)
    fitted = scale_to_claims(fitted, features, labels, rows["episode"].to_numpy())
    fitted = replace(fitted, sessions=len(planted))
    write_calibration(
        path,
        fitted,
        made_by=f"{MADE_BY}, seed {plan.seed}",
        world_digest=plan.world.digest(),
        seeds=[task.seed for task in planted],
    )
    return fitted


def wide_rows(plan: Plan, tasks: Sequence[Task]) -> pl.DataFrame:
    """Return the rows of all sessions with `unit` (null: not planted) and `episode`, by time."""
    profile = load_settings(plan.profile, dict(plan.overrides)).profile
    if not tasks or tasks[0].arrays is None:
        raise DataError("Planted sessions with history are needed to calibrate: --sessions.")
    arrays = with_weights(load_arrays(tasks[0].arrays), WIDE)

    def read(task: Task) -> pl.DataFrame:
        found: NDArray[np.void] = score_again(task.folder, arrays, profile)
        columns = {name: np.ascontiguousarray(found[name]) for name in _KEPT}
        return pl.DataFrame(columns).with_columns(
            pl.lit(number_of(task), pl.Int32).alias("session")
        )

    with ThreadPoolExecutor(2) as pool:  # the kernel holds no interpreter lock
        frames = list(pool.map(read, tasks))
    rows = pl.concat(frames).with_columns(
        pl.col("instrument_id").cast(pl.UInt32),
        pl.col("side").cast(pl.Int8),
        pl.col("final_confidence").alias("score"),
    )
    rows = rows.sort("session", "instant_ns", "instrument_id", "side")
    truths = [
        read_truth(task.folder, STEM).episodes.with_columns(
            pl.lit(number_of(task), pl.Int32).alias("session")
        )
        for task in tasks
    ]
    by_row = ["session", "instrument_id", "side", "instant_ns"]
    told = match_alerts(rows.select(*by_row, "score"), pl.concat(truths)).alerts
    return rows.join(
        told.select(*by_row, "unit").unique(by_row), by_row, maintain_order="left"
    ).with_columns(
        pl.struct("session", "instrument_id", "side", "episode_ns")
        .rank("dense")
        .cast(pl.Int64)
        .alias("episode")
    )
