"""Thresholds tried on sealed sessions: every combination of given values, over a whole run.

Nothing is sealed and no baseline is estimated again; a session is read once and scored by each
set. Where the truth of a session is known, its alerts are held against it.
"""

from __future__ import annotations

import datetime as dt
import itertools
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any, Final

import msgspec
import polars as pl

from ifd_fast.calendar import load_sessions
from ifd_fast.config import find_key, parse_text
from ifd_fast.errors import ConfigError, DataError, UsageError
from ifd_fast.recordings import recorded_settings
from ifd_fast.rescore_files import RescoreFolder
from ifd_fast.sealed_files import partition_of

if TYPE_CHECKING:
    from ifd_fast.executing import Workers
    from ifd_fast.profiles import Profile, Value

__all__ = ["Sweep", "SweepTask", "parse_sets", "score_sets", "sweep"]

MOST_SETS: Final = 1_000
# Keys of [scoring] that change what is sealed, or the baselines: not to be swept over one run.
_OTHERS: Final = frozenset({"scoring_interval_s", "lookback_days"})


@dataclass(frozen=True)
class SweepTask:
    """One session, and the profiles it is scored by."""

    trade_date: dt.date
    sealed: Path
    estimates: Path
    profiles: tuple[Profile, ...]
    truth: Path | None


@dataclass(frozen=True)
class Sweep:
    """What a sweep found: a row a set, in the order of the sets; and a row a set and session."""

    sets: pl.DataFrame
    sessions: pl.DataFrame


def parse_sets(wanted: Sequence[str]) -> dict[str, list[Value]]:
    """Return the values of each key, from texts such as `min_pressure_ratio=1.5,2,3`.

    Raises
    ------
    UsageError, ConfigError
        A text has no values, names no threshold, or one twice.
    """
    found: dict[str, list[Value]] = {}
    for text in wanted:
        name, _, values = text.partition("=")
        key = find_key(name.strip(), "--set")
        if key.section != "scoring" or key.name in _OTHERS:
            raise UsageError(
                f"`--set {key.name}` changes more than a verdict: sessions or baselines would be "
                "others. Run `ifd rescore` with a profile that has it."
            )
        if key.name in found or not values.strip():
            raise UsageError(f"`--set {text}`: name each key once, with its values: KEY=1.5,2,3.")
        parsed: Any = [parse_text(key, value.strip()) for value in values.split(",")]
        problems = [said for value in parsed if (said := key.problem_with(value)) is not None]
        if problems:
            raise ConfigError("\n".join(problems))
        found[key.name] = parsed
    return found


def sweep(
    run: Path,
    sets: Mapping[str, Sequence[Value]],
    workers: Workers,
    *,
    truth: Path | None = None,
    progress: Callable[[str, int, int], object] = lambda *_: None,
) -> Sweep:
    """Score the sessions of a re-scoring by every combination of `sets`.

    `truth`: the folder of the simulation that the sessions come from.

    Raises
    ------
    UsageError
        `run` is no finished re-scoring, or there are too many combinations.
    DataError
        A session's baselines are missing.
    """
    folder = RescoreFolder(run)
    if not folder.is_finished:
        raise UsageError(f"{run}: is no finished re-scoring. Make one with `ifd rescore`.")
    report = folder.read("rescore.json")
    combined = list(itertools.product(*sets.values()))
    if len(combined) > MOST_SETS:
        raise UsageError(f"{len(combined):,} sets are too many; {MOST_SETS:,} at most.")
    base = recorded_settings(report).profile
    values = [dict(zip(sets, one, strict=True)) for one in combined]
    profiles = tuple(msgspec.structs.replace(base, **one) for one in values)
    tasks = [
        _task_of(folder, report["root"], one["trade_date"], profiles, truth)
        for one in report["sessions"]
    ]
    rows: list[dict[str, Any]] = []
    progress("sweep", 0, len(tasks))
    for done, (_, found) in enumerate(workers.run(score_sets, tasks), start=1):
        rows += found
        progress("sweep", done, len(tasks))
    return _gather(rows, values)


def _task_of(
    folder: RescoreFolder, root: str, day: str, profiles: tuple[Profile, ...], truth: Path | None
) -> SweepTask:
    date = dt.date.fromisoformat(day)
    return SweepTask(
        date,
        partition_of(folder.sealed, root, date),
        partition_of(folder.history, root, date) / "arrays",
        profiles,
        truth,
    )


def score_sets(task: SweepTask) -> list[dict[str, Any]]:
    """Score one session by every profile; return a row for each."""
    from ifd_fast.baseline_file import load_arrays
    from ifd_fast.rescoring import read_sealed
    from ifd_fast.thresholds import score_many

    sessions = load_sessions(task.profiles[0].calendar)
    sealed = read_sealed(task.sealed, task.trade_date, sessions)
    arrays = load_arrays(task.estimates)
    known = arrays if arrays.sessions else None
    truth = _truth_of(task)
    rows = []
    for number, signals in enumerate(score_many(sealed, known, task.profiles, sessions)):
        row = {"set": number, "trade_date": task.trade_date, **_count(signals)}
        rows.append(row | ({} if truth is None else _judge(signals, truth)))
    return rows


def _count(signals: pl.DataFrame) -> dict[str, int]:
    return {
        "candidates": int(signals["candidate"].sum()),
        "alerts": int(signals["alert"].sum()),
        "episodes": signals.filter("alert")["signal_id"].n_unique(),
    }


def _truth_of(task: SweepTask) -> pl.DataFrame | None:
    """Return what was planted in the session, None if nobody knows."""
    from ifd_fast.truth import read_truth

    if task.truth is None:
        return None
    stem = f"glbx-mdp3-{task.trade_date:%Y%m%d}"
    if not (task.truth / f"{stem}.truth.parquet").is_file():
        return None
    planted = read_truth(task.truth, stem).episodes
    return planted.with_columns(pl.lit(0, pl.Int32).alias("session"))


def _judge(signals: pl.DataFrame, truth: pl.DataFrame) -> dict[str, int]:
    """Return how many of what was planted was found, and how many alerts were false."""
    from ifd_fast.matching import match_alerts, normalize_signals

    matched = match_alerts(normalize_signals(signals.filter("alert"), 0), truth)
    return {
        "planted": matched.units.height,
        "found": int(matched.units["found"].sum()),
        "false": int(matched.alerts["unit"].is_null().sum()),
    }


def _gather(rows: list[dict[str, Any]], values: list[dict[str, Value]]) -> Sweep:
    """Return the rows by set and session, and their sums by set with the set's values."""
    if not rows:
        raise DataError("The run holds no session.")
    names = ("candidates", "alerts", "episodes", "planted", "found", "false")
    sessions = pl.DataFrame(rows, infer_schema_length=None).sort("set", "trade_date")
    counted = [name for name in names if name in sessions.columns]
    sums = sessions.group_by("set").agg(
        pl.len().cast(pl.Int64).alias("sessions"), *(pl.col(name).sum() for name in counted)
    )
    given = pl.DataFrame(values).with_row_index("set").cast({"set": pl.Int64})
    table = given.join(sums, "set", how="left").sort("set")
    table = table.with_columns((pl.col("episodes") / pl.col("sessions")).alias("alerts_a_session"))
    if "planted" in counted:
        judged = sessions.filter(pl.col("planted").is_not_null()).group_by("set").len("judged")
        table = table.join(judged, "set", how="left").with_columns(
            (pl.col("found") / pl.col("planted")).alias("recall"),
            (1 - pl.col("false") / pl.col("episodes")).alias("precision"),
            (pl.col("false") / pl.col("judged")).alias("false_a_session"),
        ).sort("set")  # fmt: skip
    return Sweep(table, sessions)
