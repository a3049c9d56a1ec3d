"""The columns beside ours: every rival and bound, from the hand-overs that sessions left.

Three passes over the sessions' folders, each kept in them: rivals' scores, null sessions' ranks,
then the two bounds. Thresholds come later, from the null sessions' files alone.
"""

from __future__ import annotations

import datetime as dt
from functools import lru_cache
from pathlib import Path
from typing import TYPE_CHECKING, Any, Final, NamedTuple

import numpy as np
import polars as pl

from ifd_fast import bounds, null_ranks, rivals
from ifd_fast.baseline_cells import classify_days
from ifd_fast.known_rates import Known, know
from ifd_fast.matching import units_of
from ifd_fast.original_rule import original, window_ratios
from ifd_fast.planner import session_of
from ifd_fast.tapes import Rows, Tape, cut_episodes, make_tape, top_rows
from ifd_fast.truth import read_truth

if TYPE_CHECKING:
    from collections.abc import Sequence

    from numpy.typing import NDArray

    from ifd_fast.truth import Truth

__all__ = [
    "RULES",
    "RankTask",
    "RivalTask",
    "load_tape",
    "make_past_file",
    "null_peaks",
    "rank_session",
    "score_rivals",
]

RULES: Final = {
    "original": original,
    "zscore": rivals.zscore,
    "mad": rivals.mad,
    "net_root": rivals.net_root,
    "volume_oi": rivals.volume_oi,
}
NULL_EPISODES: Final = 60  # kept of each rule and session: budgets up to 60 can be tuned
PLANTED_EPISODES: Final = 400
STEM: Final = "session"
DAY_NS: Final = 86_400_000_000_000
SECOND_NS: Final = 1_000_000_000

ROW_SCHEMA: Final = pl.Schema(
    {
        "rule": pl.String(),
        "instrument_id": pl.UInt32(),
        "side": pl.Int8(),
        "instant_ns": pl.Int64(),
        "score": pl.Float64(),
        "nominal": pl.Boolean(),  # an episode begins here at the rule's usual threshold
    }
)


class RivalTask(NamedTuple):
    """One session for the rivals."""

    folder: Path
    trade_date: dt.date
    past: Path
    planted: bool


class RankTask(NamedTuple):
    """One session for the bounds; `spans`: (start_ns, end_ns) to ask the clairvoyant about."""

    folder: Path
    trade_date: dt.date
    ranks: null_ranks.Ranks
    span_ranks: null_ranks.Ranks
    spans: tuple[tuple[int, int], ...]
    key: str = ""  # of the null sessions and spans behind the ranks: what is there is kept


def load_tape(folder: Path, trade_date: dt.date) -> tuple[Tape, pl.DataFrame]:
    """Return a session's tape and its options, sorted by id."""
    listed = (
        pl.read_parquet(folder / "instruments.parquet")
        .filter(pl.col("option_type").is_in(["C", "P"]))
        .unique("instrument_id", keep="last", maintain_order=True)
        .sort("instrument_id")
    )
    session = session_of(trade_date)
    instant = pl.col("instant").cast(pl.Int64)
    handovers = (
        pl.read_parquet(folder / "handovers.parquet")
        .filter((pl.col("bid_volume") > 0) | (pl.col("ask_volume") > 0))  # else a mid has turned
        .with_columns(
            instant.alias("instant_ns"),
            (instant // SECOND_NS - pl.col("age_s")).alias("second"),
        )
    )
    return make_tape(handovers, listed, session.open_ns, session.close_ns), listed


def _keys(listed: pl.DataFrame, trade_date: dt.date) -> list[tuple[str, float, int, int]]:
    """Return (type, strike, class of days, days) of each option."""
    midnight = dt.datetime.combine(trade_date, dt.time(), dt.UTC)
    today = int(midnight.timestamp()) * 10**9 // DAY_NS
    days = (listed["expiration"].cast(pl.Int64) // DAY_NS - today).to_numpy()
    classes = classify_days(days)
    return [
        (kind, strike, int(group), int(left))
        for kind, strike, group, left in zip(
            listed["option_type"], listed["strike"], classes, days, strict=True
        )
    ]


def make_past_file(
    folders: Sequence[tuple[Path, dt.date]], sample: Path, trade_date: dt.date, path: Path
) -> None:
    """Write what the sessions of history in `folders` say of the options of `sample`."""
    wanted = _keys(load_tape(sample, trade_date)[1], trade_date)
    shape = (len(folders), len(wanted))
    nets = np.full((*shape, rivals.BINS), np.nan)
    volumes, ratios = np.full(shape, np.nan), np.full(shape, np.nan)
    for number, (folder, date) in enumerate(folders):
        tape, listed = load_tape(folder, date)
        bid, ask = rivals.window_nets(tape)
        places = _nearest(_keys(listed, date), wanted)
        found = np.flatnonzero(places >= 0)
        rows = places[found]
        nets[number, found] = ask[rows] - bid[rows]
        volumes[number, found] = (ask[rows] + bid[rows]).sum(axis=1)
        active = (ask + bid)[rows] > 0
        last = rivals.BINS - 1 - np.argmax(active[:, ::-1], axis=1)
        last_ratio = window_ratios(bid[rows, last], ask[rows, last])
        ratios[number, found] = np.where(active.any(axis=1), last_ratio, np.nan)
    past = rivals.make_past(nets, volumes, ratios)
    columns: dict[str, Any] = past._asdict()
    with path.open("wb") as file:
        np.savez_compressed(file, **columns)


def _nearest(
    have: list[tuple[str, float, int, int]], wanted: list[tuple[str, float, int, int]]
) -> NDArray[np.int64]:
    """Return for each wanted option the one of its type, strike and class, nearest in days."""
    places: dict[tuple[str, float, int], list[tuple[int, int]]] = {}
    for place, (kind, strike, group, days) in enumerate(have):
        places.setdefault((kind, strike, group), []).append((days, place))
    found = [
        min(places.get((kind, strike, group), [(0, -1)]), key=lambda one: abs(one[0] - days))[1]
        for kind, strike, group, days in wanted
    ]
    return np.array(found, np.int64)


@lru_cache(maxsize=2)
def _load_past(path: Path) -> rivals.Past:
    with np.load(path) as stored:
        return rivals.Past(**{name: stored[name] for name in rivals.Past._fields})


def _frame(rule: str, tape: Tape, rows: Rows, *, nominal: bool) -> pl.DataFrame:
    return pl.DataFrame(
        {
            "rule": [rule] * len(rows.option),
            "instrument_id": tape.ids[rows.option],
            "side": rows.side,
            "instant_ns": rows.instant_ns,
            "score": rows.score,
            "nominal": [nominal] * len(rows.option),
        },
        schema=ROW_SCHEMA,
    )


def _take(rows: Rows, kept: NDArray[np.int64]) -> Rows:
    return Rows(rows.option[kept], rows.side[kept], rows.instant_ns[kept], rows.score[kept])


def score_rivals(task: RivalTask) -> None:
    """Write `rivals.parquet`: each rule's highest rows, and its episodes at the usual threshold."""
    path = task.folder / "rivals.parquet"
    if path.is_file():
        return
    tape, _ = load_tape(task.folder, task.trade_date)
    past = _load_past(task.past)
    limit = PLANTED_EPISODES if task.planted else NULL_EPISODES
    frames = []
    for name, rule in RULES.items():
        rows = rule(tape, past)
        usual = _take(rows, cut_episodes(rows, rivals.NOMINAL[name]))
        frames.append(_frame(name, tape, top_rows(rows, limit), nominal=False))
        frames.append(_frame(name, tape, usual, nominal=True))
    pl.concat(frames).write_parquet(path, compression="zstd")


# --- the bounds -----------------------------------------------------------------------------------


def _known(folder: Path, tape: Tape) -> tuple[Known, Truth]:
    truth = read_truth(folder, STEM)
    return know(tape, truth.rates, truth.season), truth


def null_peaks(task: RankTask) -> tuple[null_ranks.Peaks, null_ranks.Peaks]:
    """Return a null session's strongest surprises: by block, and in the spans asked about."""
    tape, _ = load_tape(task.folder, task.trade_date)
    known, _ = _known(task.folder, tape)
    peaks = bounds.find_peaks(tape, known, bounds.surprises(tape, known))
    counted = bounds.count_votes(tape, known)
    asked = [bounds.span_peaks(tape, known, counted, *span) for span in task.spans]
    return peaks, null_ranks.join_peaks(asked)


def rank_session(task: RankTask) -> None:
    """Write `bounds.parquet`: ranks of the rule that knows the rates, and of the clairvoyant.

    The clairvoyant's rows stand at the start of the spans; in null sessions one for every option,
    side and span, in planted ones for the planted alone. What is there by the same key stays.
    """
    made_by = task.folder / "bounds.key"
    if task.key and made_by.is_file() and made_by.read_text() == task.key:
        return
    made_by.unlink(missing_ok=True)
    tape, _ = load_tape(task.folder, task.trade_date)
    known, truth = _known(task.folder, tape)
    found = bounds.rank_rows(bounds.surprises(tape, known), task.ranks)
    limit = PLANTED_EPISODES if len(truth.episodes) else NULL_EPISODES
    frames = [_frame("knows_rates", tape, top_rows(found, limit), nominal=False)]
    if len(truth.episodes):
        frames.append(_clairvoyant_planted(tape, known, truth, task.span_ranks))
    else:
        counted = bounds.count_votes(tape, known)
        for span in task.spans:
            values = bounds.rank_span(tape, known, counted, *span, task.span_ranks)
            option, side = np.nonzero(values > 1.0)
            rows = Rows(
                option, np.where(side == 1, 1, -1).astype(np.int8),
                np.full(len(option), span[0]), values[option, side],
            )  # fmt: skip
            frames.append(_frame("clairvoyant", tape, rows, nominal=False))
    pl.concat(frames).write_parquet(task.folder / "bounds.parquet", compression="zstd")
    made_by.write_text(task.key)


def _clairvoyant_planted(
    tape: Tape, known: Known, truth: Truth, ranks: null_ranks.Ranks
) -> pl.DataFrame:
    """Return one row a planted label: the rank of its unit, or its own if that is higher."""
    planted = units_of(truth.episodes.with_columns(pl.lit(0).alias("session")))
    place = {int(one): number for number, one in enumerate(tape.ids)}
    own: dict[int, list[float]] = {}
    counted = bounds.count_votes(tape, known)
    for row in planted.iter_rows(named=True):
        span = row["start_ns"], row["end_ns"]
        values = bounds.rank_span(tape, known, counted, *span, ranks)
        rank = float(values[place[row["instrument_id"]], (row["side"] + 1) // 2])
        own.setdefault(row["unit"], []).append(max(rank, 0.0))
    joint = {
        unit: max(*some, null_ranks.combine(some)) for unit, some in own.items() if len(some) > 1
    }
    score = [joint.get(unit, own[unit][0]) for unit in planted["unit"]]
    return planted.select(
        pl.lit("clairvoyant").alias("rule"),
        "instrument_id",
        "side",
        pl.col("start_ns").alias("instant_ns"),
        pl.Series("score", score, pl.Float64),
        pl.lit(value=False).alias("nominal"),
    ).cast(ROW_SCHEMA)
