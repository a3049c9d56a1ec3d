"""`ifd evaluate` from beginning to end: play, compare, add up, write.

The folder holds the sessions' files, `evaluation.json` (every number) and `evaluation.html`.
"""

from __future__ import annotations

import datetime as dt
import hashlib
import json
from pathlib import Path
from typing import Any, Final

import msgspec
import numpy as np
import polars as pl

from ifd_fast import comparing, evaluating, null_ranks, scoreboard
from ifd_fast.config import load_settings
from ifd_fast.errors import DataError
from ifd_fast.evaluating import Plan, Task, Workers
from ifd_fast.evaluation_delay import late_after_finer
from ifd_fast.evaluation_numbers import AT_OUR_RATE, check_clairvoyant, number_rows
from ifd_fast.matching import ALERT_SCHEMA, Matched, match_alerts, normalize_signals
from ifd_fast.scoreboard import OURS, Board
from ifd_fast.signals import code_digest
from ifd_fast.tapes import Rows, cut_episodes
from ifd_fast.truth import read_truth

__all__ = [
    "claims_of",
    "describe",
    "episodes_above",
    "evaluate",
    "load_board",
    "number_of",
    "promised_by",
    "tune_threshold",
    "write_document",
]

PROMISED: Final = 1.0  # false alerts a session, if the profile doesn't say
TABLE_SESSIONS: Final = 60  # null sessions behind the bounds' tables
PAST: Final = "past.npz"  # beside a history's arrays: what rivals know of it
CLAIM_COLUMNS: Final = (
    "signal_id", "false_alerts", "pressure_zscore", "coordination", "market_making_probability",
)  # fmt: skip
KINDS: Final = ("planted", "power", "null", "fine")
NUMBERS: Final = {"planted": 0, "power": 10_000, "null": 20_000, "fine": 30_000, "claims": 40_000}


def evaluate(plan: Plan, out: Path, workers: Workers) -> dict[str, Any]:
    """Run the plan into `out` and return the document of all numbers.

    What is there already is not run again: the same call after an interruption goes on, and after
    the end only reports.
    """
    histories = evaluating.make_histories(evaluating.history_plans(plan), out, workers)
    tasks = evaluating.session_tasks(plan, out, histories)
    evaluating.play_all(tasks, workers)
    if plan.columns:
        _compare(plan, histories, tasks, workers)
    document = describe(plan, tasks)
    write_document(document, out)
    return document


def write_document(document: dict[str, Any], out: Path) -> None:
    """Write `evaluation.json` into `out`."""
    out.mkdir(parents=True, exist_ok=True)
    text = msgspec.json.format(msgspec.json.encode(document), indent=1)
    (out / "evaluation.json").write_bytes(text + b"\n")


def _compare(plan: Plan, histories: list[Path], tasks: list[Task], workers: Workers) -> None:
    """Write every session's rows of rivals and bounds."""
    tasks = [task for task in tasks if not task.name.startswith("fine")]
    past, today = evaluating.days_of(plan)
    for history in histories:
        if not (history / PAST).is_file():
            folders = [(history / one.trade_date.isoformat(), one.trade_date) for one in past]
            comparing.make_past_file(folders, tasks[0].folder, today.trade_date, history / PAST)
    rivals = [
        comparing.RivalTask(task.folder, task.trade_date, _history_of(task) / PAST, task.plants > 0)
        for task in tasks
    ]
    workers.map(comparing.score_rivals, rivals, "rivals")
    null = [task for task in tasks if task.plants == 0][:TABLE_SESSIONS]
    spans = _spans(tasks)
    key = json.dumps([[task.name for task in null], spans])
    key = hashlib.sha256(key.encode()).hexdigest()
    made_by = [task.folder / "bounds.key" for task in tasks]
    if all(one.is_file() and one.read_text() == key for one in made_by):
        return
    empty = null_ranks.Ranks({}, np.zeros(0))
    asked = [
        comparing.RankTask(task.folder, task.trade_date, empty, empty, spans[number % len(spans)])
        for number, task in enumerate(null)
    ]
    peaks = workers.map(comparing.null_peaks, asked, "tables")
    ranks = null_ranks.pool_peaks([one[0] for one in peaks])
    span_ranks = null_ranks.pool_peaks([one[1] for one in peaks])
    ranked = []
    number = 0
    for task in tasks:
        mine = spans[number % len(spans)] if task.plants == 0 else ()
        number += task.plants == 0
        ranked.append(
            comparing.RankTask(task.folder, task.trade_date, ranks, span_ranks, mine, key)
        )
    workers.map(comparing.rank_session, ranked, "bounds")


def _history_of(task: Task) -> Path:
    """Return the folder of the history a session is scored against."""
    if task.arrays is None:
        raise DataError(f"Session {task.name} is one of a history: it was scored against none.")
    return task.arrays.parent


def _spans(tasks: list[Task]) -> list[tuple[tuple[int, int], ...]]:
    """Return the spans of each planted session's episodes: what null sessions are asked about."""
    found = []
    for task in tasks:
        if task.name.startswith("planted"):
            planted = read_truth(task.folder, evaluating.STEM).episodes.filter("positive")
            times = planted.select(pl.col("start").cast(int), pl.col("end").cast(int))
            found.append(tuple(sorted(set(times.rows()))))
    return found or [()]


def number_of(task: Task) -> int:
    """Return the number that stands for a session in frames."""
    kind, _, digits = task.name.partition("-")
    return NUMBERS[kind] + int(digits)


def load_board(plan: Plan, tasks: list[Task]) -> tuple[Board, dict[str, float]]:
    """Return all alerts and truth of the sessions, and each rule's tuned threshold."""
    signals, truths, rules = [], [], []
    for task in tasks:
        if task.name.startswith("fine"):  # for delays only
            continue
        number = number_of(task)
        frame = pl.read_parquet(task.folder / "signals.parquet")
        signals.append((number, frame))
        if task.plants:
            episodes = read_truth(task.folder, evaluating.STEM).episodes
            truths.append(episodes.with_columns(pl.lit(number, pl.Int32).alias("session")))
        if plan.columns:
            rules += [
                pl.read_parquet(task.folder / name).with_columns(
                    pl.lit(number, pl.Int32).alias("session")
                )
                for name in ("rivals.parquet", "bounds.parquet")
            ]
    numbers = [number for number, _ in signals]
    null = [one for one in numbers if NUMBERS["null"] <= one]
    planted = [one for one in numbers if one < NUMBERS["null"]]
    alerts = {OURS: pl.concat([normalize_signals(f.filter("alert"), n) for n, f in signals])}
    candidates = pl.concat([claims_of(frame, number) for number, frame in signals])
    thresholds: dict[str, float] = {}
    if rules:
        realised = alerts[OURS].filter(pl.col("session").is_in(null)).height / max(len(null), 1)
        budget = max(promised_by(plan), realised)
        ours = max(realised, 1.0 / max(len(null), 1))
        rows = pl.concat(rules).partition_by("rule", as_dict=True)
        for (name,), frame in sorted(rows.items()):
            rule = str(name)
            free = frame.filter(~pl.col("nominal"))
            thresholds[rule] = tune_threshold(free, null, budget)
            alerts[rule] = episodes_above(free, thresholds[rule])
            same = rule + AT_OUR_RATE
            thresholds[same] = tune_threshold(free, null, ours)
            alerts[same] = episodes_above(free, thresholds[same])
            usual = frame.filter("nominal")
            if len(usual):
                alerts[f"{rule}, as used"] = usual.select(ALERT_SCHEMA.names())
    truth = pl.concat(truths)
    precise = [one for one in planted if one < NUMBERS["power"]]
    return Board(alerts, candidates, truth, planted, null, precise), thresholds


def claims_of(signals: pl.DataFrame, session: int) -> pl.DataFrame:
    """Return what a session's candidates claimed: the first row of each episode and class."""
    return normalize_signals(
        signals.filter("candidate"),
        session,
        keep=CLAIM_COLUMNS,
        each=("signal_id", "signal_strength"),
    )


def promised_by(plan: Plan) -> float:
    """Return the false alerts a session that the profile promises."""
    profile = load_settings(plan.profile, dict(plan.overrides)).profile
    return float(getattr(profile, "false_alerts_per_session", PROMISED))


def _rows_of(frame: pl.DataFrame) -> Rows:
    """Return rows whose option is the session's and the instrument's number together."""
    option = frame["session"].to_numpy().astype(np.int64) << 33
    return Rows(
        option + frame["instrument_id"].to_numpy().astype(np.int64),
        frame["side"].to_numpy(),
        frame["instant_ns"].to_numpy(),
        frame["score"].to_numpy(),
    )


def episodes_above(frame: pl.DataFrame, threshold: float) -> pl.DataFrame:
    """Return the first rows of all episodes at a threshold, as ALERT_SCHEMA has them."""
    return frame[cut_episodes(_rows_of(frame), threshold)].select(ALERT_SCHEMA.names())


def tune_threshold(frame: pl.DataFrame, null: list[int], budget: float) -> float:
    """Return the lowest threshold at which null sessions have at most `budget` episodes each.

    Infinite without null sessions; the lowest score there is where no score is too low.
    """
    rows = _rows_of(frame.filter(pl.col("session").is_in(null)))
    allowed = budget * len(null)
    ranked = np.unique(rows.score)
    if len(null) == 0:
        return float("inf")
    low, high = -1, len(ranked)
    while high - low > 1:
        middle = (low + high) // 2
        if len(cut_episodes(rows, float(ranked[middle]))) <= allowed:
            high = middle
        else:
            low = middle
    if high == len(ranked):
        return float(np.nextafter(ranked[-1], np.inf)) if len(ranked) else 0.0
    return float(ranked[high])


def describe(plan: Plan, tasks: list[Task]) -> dict[str, Any]:
    """Return the document: what was run, every table, the contract's rows, the run's own check."""
    board, thresholds = load_board(plan, tasks)
    settings = load_settings(plan.profile, dict(plan.overrides))
    promised = promised_by(plan)
    tuned = {n: a for n, a in board.alerts.items() if not n.endswith(", as used")}
    matched = scoreboard.match_columns(board._replace(alerts=tuned))
    planted = board.candidates.filter(pl.col("session").is_in(board.planted))
    candidates = match_alerts(planted, board.truth)
    document: dict[str, Any] = {
        "world": plan.world.name,
        "world_digest": plan.world.digest(),
        "seed": plan.seed,
        "profile": settings.name,
        "config_digest": settings.digest,
        "code_digest": code_digest(),
        "date": dt.datetime.now(dt.UTC).date().isoformat(),
        "sessions": {kind: sum(t.name.startswith(kind) for t in tasks) for kind in KINDS},
        "scoring_interval_s": settings.profile.scoring_interval_s,
        "false_alerts": scoreboard.false_alerts(board.alerts[OURS], board.null, promised),
        "precision": scoreboard.precision(matched[OURS], board.precise),
        "histories": _histories(plan, board, matched[OURS], tasks),
        "recall": scoreboard.recall_table(matched),
        "delay": scoreboard.delays(matched[OURS], _evidence(matched)),
        "reliability": scoreboard.reliability(candidates, board.precise),
        "columns": _columns(board, matched, thresholds),
    }
    finer = late_after_finer(
        board.alerts[OURS], _finer(tasks), round(settings.profile.scoring_interval_s * 1e9)
    )
    if finer is not None:
        document["delay"]["after_finer_s"] = finer
    document["numbers"] = number_rows(document)
    document["faults"] = check_clairvoyant(document["recall"])
    return document


def _histories(
    plan: Plan, board: Board, matched: Matched, tasks: list[Task]
) -> list[dict[str, Any]]:
    """Return false alerts and precision of the sessions of each history by themselves."""
    rows = []
    for one in evaluating.history_plans(plan):
        mine = {number_of(task) for task in tasks if task.plan.seed == one.seed}
        null = [session for session in board.null if session in mine]
        precise = [session for session in board.precise if session in mine]
        counts = scoreboard.count_by_session(board.alerts[OURS], null)
        rows.append(
            {
                "seed": one.seed,
                "null_sessions": len(null),
                "false_alerts": float(counts.mean()) if null else None,
                "planted_sessions": len(precise),
                "precision": scoreboard.precision(matched, precise)["value"] if precise else None,
            }
        )
    return rows


def _evidence(matched: dict[str, Any]) -> pl.DataFrame | None:
    """Return when the rule that knows the rates crossed, by session and unit."""
    if "knows_rates" not in matched:
        return None
    found: pl.DataFrame = matched["knows_rates"].units.filter("found")
    return found.select("session", "unit", pl.col("found_ns").alias("evidence_ns"))


def _finer(tasks: list[Task]) -> dict[int, pl.DataFrame]:
    """Return the signals of the finely scored sessions by the number of the planted one."""
    return {
        number_of(task) - NUMBERS["fine"]: pl.read_parquet(task.folder / "signals.parquet")
        for task in tasks
        if task.name.startswith("fine")
    }


def _columns(
    board: Board, matched: dict[str, Any], thresholds: dict[str, float]
) -> list[dict[str, Any]]:
    """Return each column's threshold and false alerts, as used and at equal false alerts."""
    rows = []
    for name, alerts in board.alerts.items():
        counts = scoreboard.count_by_session(alerts, board.null)
        usual = name.endswith(", as used")
        row: dict[str, Any] = {
            "name": name,
            "threshold": thresholds.get(name),
            "false_alerts": float(counts.mean()) if len(counts) else None,
            "recall": None,
        }
        if usual or name in matched:
            one = (
                scoreboard.match_columns(board._replace(alerts={name: alerts}))[name]
                if usual
                else matched[name]
            )
            found = one.units["found"].to_numpy()
            row["recall"] = float(found.mean()) if len(found) else None
        rows.append(row)
    return rows
