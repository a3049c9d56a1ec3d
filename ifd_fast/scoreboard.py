"""What the sessions' folders add up to: false alerts, precision, recall, delay, calibration.

`score_board` reads files and returns one plain document, ready for JSON; tables, page and
BENCHMARKS.md are views of it. Units are planted episodes, a cluster being one.
"""

from __future__ import annotations

import math
from itertools import pairwise
from typing import TYPE_CHECKING, Any, Final, NamedTuple

import numpy as np
import polars as pl

from ifd_fast import intervals
from ifd_fast.matching import ALERT_SCHEMA, Matched, match_alerts
from ifd_fast.reliability import average_precision, bin_outcomes, calibration_error, pr_curve
from ifd_fast.truth import TIERS

if TYPE_CHECKING:
    from collections.abc import Iterator

    from numpy.typing import NDArray

__all__ = [
    "Board",
    "Group",
    "count_by_session",
    "delays",
    "error_of",
    "false_alerts",
    "groups_of",
    "match_columns",
    "nearest_k",
    "plain",
    "precision",
    "quantiles",
    "ratio_of",
    "recall_table",
    "reliability",
]

K_VALUES: Final = (2.0, 5.0, 10.0, 25.0, 50.0)
CHILD_EDGES: Final = (0, 8, 20, 40, 80, 10**9)
CLASSES: Final = (("MODERATE", 0.6, 0.7), ("HIGH", 0.7, 0.8), ("VERY_HIGH", 0.8, 0.9),
                  ("EXTREME", 0.9, 1.01))  # fmt: skip
OURS: Final = "ifd_fast"


class Board(NamedTuple):
    """What everything is computed from.

    `alerts`: by column, episodes of ALERT_SCHEMA of all sessions; `truth` with `session`;
    `planted`, `null`: numbers of the sessions with and without truth; `precise`: of the planted,
    those with hard negatives.
    """

    alerts: dict[str, pl.DataFrame]
    candidates: pl.DataFrame
    truth: pl.DataFrame
    planted: list[int]
    null: list[int]
    precise: list[int]


class Group(NamedTuple):
    """One row of a recall table: a dimension, its value, and the units in it."""

    dimension: str
    value: str
    rows: NDArray[np.bool_]


def nearest_k(values: NDArray[np.float64]) -> NDArray[np.float64]:
    """Return the nominal k nearest to each planned one, in logarithms."""
    known = np.log(np.array(K_VALUES))
    place = np.abs(np.log(np.maximum(values, 1e-9))[:, None] - known[None, :]).argmin(axis=1)
    found: NDArray[np.float64] = np.array(K_VALUES)[place]
    return found


def groups_of(units: pl.DataFrame) -> Iterator[Group]:
    """Yield all groups of units that recall is told apart by, the largest first."""
    everything = np.ones(len(units), np.bool_)
    k = nearest_k(units["k"].fill_null(1.0).to_numpy())
    tier = units["tier"].to_numpy()
    yield Group("all", "all", everything)
    for name in TIERS:
        yield Group("tier at k = 10", name, (tier == name) & (k == 10.0))
    for name in TIERS:
        for value in K_VALUES:
            yield Group(f"k, {name}", f"{value:g}", (tier == name) & (k == value))
    for value in K_VALUES:
        yield Group("k", f"{value:g}", k == value)
    for seconds in units["duration_s"].unique().sort().to_list():
        chosen = units["duration_s"].to_numpy() == seconds
        yield Group("duration", f"{seconds / 60:g} min", chosen)
    for side, name in ((1, "buy"), (-1, "sell")):
        yield Group("side", name, units["side"].to_numpy() == side)
    for letter, name in (("C", "call"), ("P", "put")):
        yield Group("type", name, units["option_type"].to_numpy() == letter)
    for style in units["style"].unique().drop_nulls().sort().to_list():
        yield Group("style", style, units["style"].to_numpy() == style)
    members = units["members"].to_numpy()
    yield Group("kind", "one strike", members == 1)
    yield Group("kind", "cluster", members > 1)
    yield from _child_groups(units, tier)


def _child_groups(units: pl.DataFrame, tier: NDArray[Any]) -> Iterator[Group]:
    """Yield groups by children that were filled, alone and by tier."""
    children = units["children_filled"].to_numpy()
    for low, high in pairwise(CHILD_EDGES):
        name = f"{low}–{high - 1}" if high < 10**9 else f"{low}+"
        chosen = (children >= low) & (children < high)
        yield Group("children", name, chosen)
        for one in TIERS:
            yield Group(f"children, {one}", name, chosen & (tier == one))
    for one, least in (("thin", 20), ("low", 40), ("mid", 40), ("busy", 80)):
        chosen = (tier == one) & (children >= least)
        yield Group("enough children", f"{one} {least}+", chosen)


def ratio_of(
    above: NDArray[np.bool_], below: NDArray[np.bool_], sessions: NDArray[np.int64]
) -> intervals.Estimate:
    """Return the share of `below` that is in `above`, with its interval over sessions."""
    numbers, place = np.unique(sessions, return_inverse=True)
    hit = np.bincount(place, (above & below).astype(np.float64), len(numbers))
    base = np.bincount(place, below.astype(np.float64), len(numbers))
    kept = base > 0
    above_each, below_each = hit[kept].astype(np.float64), base[kept].astype(np.float64)
    return intervals.bootstrap_ratio(above_each, below_each)


def recall_table(matched: dict[str, Matched]) -> list[dict[str, Any]]:
    """Return one row a group with each column's recall."""
    first = next(iter(matched.values())).units
    sessions = first["session"].to_numpy().astype(np.int64)
    rows = []
    for group in groups_of(first):
        row: dict[str, Any] = {
            "dimension": group.dimension,
            "value": group.value,
            "count": int(group.rows.sum()),
            "columns": {},
        }
        for name, one in matched.items():
            found = one.units["found"].to_numpy()
            row["columns"][name] = plain(ratio_of(found, group.rows, sessions))
        rows.append(row)
    return rows


def plain(estimate: intervals.Estimate) -> dict[str, float | int | None]:
    """Return an estimate for JSON; NaN as null."""
    return {
        name: None if isinstance(value, float) and math.isnan(value) else value
        for name, value in estimate._asdict().items()
    }


def false_alerts(alerts: pl.DataFrame, null: list[int], promised: float) -> dict[str, Any]:
    """Return the false alerts a null session, promised and realised, with two intervals."""
    counts = count_by_session(alerts, null)
    total = int(counts.sum())
    low, high = intervals.poisson_interval(total, max(len(null), 1))
    spread = float(counts.std(ddof=1)) if len(null) > 1 else None
    return {
        "promised": promised,
        "sessions": len(null),
        "count": total,
        "realised": plain(intervals.bootstrap_mean(counts)),
        "exact": {"low": low, "high": high},
        "sd": spread,
        "worst": float(counts.max()) if len(null) else None,
        "by_session": counts.astype(int).tolist(),
    }


def count_by_session(alerts: pl.DataFrame, sessions: list[int]) -> NDArray[np.float64]:
    """Return how many alerts each session has, (n,)."""
    seen = alerts.group_by("session").len()
    known = dict(zip(seen["session"].to_list(), seen["len"].to_list(), strict=True))
    return np.array([known.get(one, 0) for one in sessions], np.float64)


def precision(matched: Matched, sessions: list[int]) -> dict[str, Any]:
    """Return the share of alerts that found a planted unit, and what the others were.

    Further alerts of a unit that is already found count neither for nor against.
    """
    told = matched.alerts.filter(pl.col("session").is_in(sessions), ~pl.col("repeated"))
    true = told["unit"].is_not_null().to_numpy()
    found = ratio_of(true, np.ones(len(told), np.bool_), told["session"].to_numpy().astype(int))
    causes = told.filter(pl.col("unit").is_null()).group_by("cause").len().sort("cause")
    return {
        **plain(found),
        "sessions": len(sessions),
        "repeated": int(matched.alerts["repeated"].sum()),
        "causes": dict(zip(causes["cause"].to_list(), causes["len"].to_list(), strict=True)),
    }


def delays(matched: Matched, evidence: pl.DataFrame | None = None) -> dict[str, Any]:
    """Return quantiles of the delay from start and, by `session` and `unit`, from evidence."""
    units = matched.units.filter("found")
    document: dict[str, Any] = {"from_start_s": quantiles(units["delay_s"].to_numpy())}
    by_duration = units.group_by("duration_s").agg(pl.col("delay_s").median()).sort("duration_s")
    document["median_by_duration"] = [
        {"duration_s": row[0], "median_s": row[1]} for row in by_duration.rows()
    ]
    if evidence is not None:
        both = units.join(evidence, ["session", "unit"])
        late = (both["found_ns"] - both["evidence_ns"]).to_numpy() / 1e9
        document["from_evidence_s"] = quantiles(late)
    return document


def quantiles(values: NDArray[np.float64]) -> dict[str, float | int | None]:
    """Return how many values there are, and five of their quantiles."""
    names = ("p10", "p50", "p90", "p99", "max")
    if len(values) == 0:
        return {"count": 0, **dict.fromkeys(names)}
    found = np.quantile(values, [0.1, 0.5, 0.9, 0.99, 1.0])
    return {"count": len(values), **dict(zip(names, map(float, found), strict=True))}


def reliability(matched: Matched, sessions: list[int]) -> dict[str, Any]:
    """Return how well claims come true, and precision over recall as a threshold on them falls.

    Every claim counts for calibration; on the curve an episode stands at its highest one, because
    any threshold below that finds it.
    """
    told = matched.alerts.filter(pl.col("session").is_in(sessions))
    forecasts, outcomes = told["score"].to_numpy(), told["unit"].is_not_null().to_numpy()
    bins = bin_outcomes(forecasts, outcomes)
    units = matched.units.filter(pl.col("session").is_in(sessions))
    peaks = told.group_by("session", "signal_id", maintain_order=True).agg(
        pl.col("score").max(), pl.col("unit").min()
    )
    codes = peaks.select(
        pl.when(pl.col("unit").is_null())
        .then(-1)
        .otherwise(pl.col("session").cast(pl.Int64) * 100_000 + pl.col("unit"))
    ).to_series()
    curve = pr_curve(peaks["score"].to_numpy(), codes.to_numpy().astype(np.int64), len(units))
    step = max(len(curve.threshold) // 200, 1)
    return {
        "candidates": len(forecasts),
        "error": error_of(forecasts, outcomes),
        "interval": _error_interval(told),
        "plain_error": _number(_plain_error(bins)),
        "bins": [one._asdict() for one in bins],
        "classes": [_class(name, low, high, forecasts, outcomes) for name, low, high in CLASSES],
        "area": average_precision(curve),
        "curve": [
            {"threshold": float(c), "precision": float(p), "recall": float(r)}
            for c, p, r in zip(*(column[::step] for column in curve), strict=True)
        ],
    }


def error_of(forecasts: NDArray[np.float64], outcomes: NDArray[np.bool_]) -> float | None:
    """Return the debiased calibration error of claims (n,); None if it is not defined."""
    return _number(calibration_error(bin_outcomes(forecasts, outcomes)))


def _plain_error(bins: list[Any]) -> float:
    total = sum(one.size for one in bins)
    gaps = sum(one.size * abs(one.forecast - one.outcome) for one in bins)
    return gaps / total if total else math.nan


def _number(value: float) -> float | None:
    return None if math.isnan(value) else value


def _class(
    name: str, low: float, high: float, forecasts: NDArray[np.float64], outcomes: NDArray[np.bool_]
) -> dict[str, Any]:
    inside = (forecasts >= low) & (forecasts < high)
    count = int(inside.sum())
    return {
        "name": name,
        "count": count,
        "forecast": float(forecasts[inside].mean()) if count else None,
        "outcome": float(outcomes[inside].mean()) if count else None,
    }


def _error_interval(told: pl.DataFrame) -> list[float] | None:
    """Return the calibration error's interval over sessions drawn again."""
    sessions = told["session"].to_numpy()
    numbers = np.unique(sessions)
    if len(numbers) < 3:
        return None
    forecasts, outcomes = told["score"].to_numpy(), told["unit"].is_not_null().to_numpy()
    places = [np.flatnonzero(sessions == one) for one in numbers]
    generator = np.random.Generator(np.random.PCG64(intervals.SEED))
    errors = []
    for _ in range(200):
        chosen = generator.integers(0, len(numbers), len(numbers))
        drawn = np.concatenate([places[one] for one in chosen])
        errors.append(calibration_error(bin_outcomes(forecasts[drawn], outcomes[drawn])))
    return [float(edge) for edge in np.nanquantile(errors, [0.025, 0.975])]


def match_columns(board: Board) -> dict[str, Matched]:
    """Return every column's alerts matched with the truth of the planted sessions."""
    return {
        name: match_alerts(
            alerts.filter(pl.col("session").is_in(board.planted)).select(ALERT_SCHEMA.names()),
            board.truth,
        )
        for name, alerts in board.alerts.items()
    }
