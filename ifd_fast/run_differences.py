"""Two runs held against each other: episodes that one found and the other did not, and why.

An episode is one side of one contract from its first signal on. Those of two runs are the same if
they begin at one instant; those that are left are the same if they begin within the longer of the
two cooldowns. What is compared is whether an episode alerted, was a candidate, or is absent.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING, Any, Final

import polars as pl

from ifd_fast.recordings import differing_keys
from ifd_kernels import verdict

if TYPE_CHECKING:
    from ifd_fast.runs import Run

__all__ = ["Differences", "compare_runs"]

GATES: Final = {
    verdict.FAILED_RATIO: "min_pressure_ratio",
    verdict.FAILED_PERSISTENCE: "min_time_persistence",
    verdict.FAILED_ANOMALY: "min_baseline_anomaly",
    verdict.FAILED_CONFIDENCE: "min_overall_confidence",
    verdict.FAILED_QUALITY: "min_data_quality",
    verdict.FAILED_GRADE: "grade C or better",
    verdict.FAILED_BUDGET: "false_alerts_per_session",
}
_KEY: Final = ("trade_date", "instrument_id", "dominant_side")
_SHOWN: Final = ("symbol", "start", "status", "confidence", "failed", "signals")
ABSENT, CANDIDATE, ALERT = "absent", "candidate", "alert"


@dataclass(frozen=True)
class Differences:
    """What differs between runs A and B.

    Attributes
    ----------
    episodes
        A row an episode of either run: `change` (gained, lost, candidate gained, candidate lost,
        changed, same), status, start, confidence in A and B, and `reason`.
    settings
        A sentence a setting that differs.
    code
        Whether other code made them.
    sessions
        A row a trade date: which run has it, whether windows and baselines are the same.
    """

    episodes: pl.DataFrame
    settings: list[str]
    code: bool
    sessions: pl.DataFrame

    @property
    def counts(self) -> dict[str, int]:
        """Episodes by kind of change."""
        counted = self.episodes.group_by("change").len().sort("change").rows()
        return {str(change): int(count) for change, count in counted}

    @property
    def is_equal(self) -> bool:
        """Whether both found the same."""
        return set(self.counts) <= {"same"} and bool(self.sessions["windows_same"].all())


def compare_runs(one: Run, other: Run) -> Differences:
    """Return what `other` (B) found that `one` (A) did not, and the reverse.

    Raises
    ------
    DataError
        A file of a run is missing, or its settings are of another version.
    """
    sessions = _compare_sessions(one, other)
    a, b = _episodes_of(one), _episodes_of(other)
    profiles = one.settings.profile, other.settings.profile
    cooldown_ns = max(profile.cooldown_ns for profile in profiles)
    matched = _match(a, b, cooldown_ns)
    reasons = _session_reasons(sessions)
    rows = [row | _judge(row, reasons) for row in matched.iter_rows(named=True)]
    schema = pl.Schema({**matched.schema, "change": pl.String(), "reason": pl.String()})
    episodes = pl.DataFrame(rows, schema=schema).sort(*_KEY, "start_a", "start_b")
    codes = {run.document.get("code_digest", run.document["version"]) for run in (one, other)}
    settings = differing_keys(profiles[1], profiles[0])
    return Differences(episodes, settings, len(codes) > 1, sessions)


def _episodes_of(run: Run) -> pl.DataFrame:
    """Return one row an episode: when it began, how far it came, what its best row failed."""
    best = pl.col("alert").cast(pl.Int8) * 10 + pl.col("final_confidence")
    return (
        run.frame("signals")
        .with_columns(best.alias("best"))
        .sort("timestamp")
        .group_by(*_KEY, "episode_start", maintain_order=True)
        .agg(
            pl.col("symbol").first(),
            pl.col("episode_start").first().cast(pl.Int64).alias("start"),
            pl.when(pl.col("alert").any())
            .then(pl.lit(ALERT))
            .otherwise(pl.lit(CANDIDATE))
            .alias("status"),
            pl.col("final_confidence").max().alias("confidence"),
            pl.col("failed_gates").sort_by("best").last().alias("failed"),
            pl.len().cast(pl.Int64).alias("signals"),
        )
        .drop("episode_start")
        .collect()
    )


def _match(a: pl.DataFrame, b: pl.DataFrame, cooldown_ns: int) -> pl.DataFrame:
    """Return A's and B's episodes side by side; of one run alone, the other's columns are null."""
    a = a.rename({name: f"{name}_a" for name in _SHOWN}).with_row_index("at_a")
    b = b.rename({name: f"{name}_b" for name in _SHOWN}).with_row_index("at_b")
    pairs = a.join(b, _KEY).with_columns(
        (pl.col("start_a") - pl.col("start_b")).abs().alias("apart")
    )
    # The nearest first, each episode once: of those left over, those that began together have
    # been taken, whatever else lies within the cooldown.
    near = pairs.filter(pl.col("apart") <= cooldown_ns).sort("apart", "start_a", "start_b")
    taken_a: set[int] = set()
    taken_b: set[int] = set()
    kept = []
    for at_a, at_b in near.select("at_a", "at_b").iter_rows():
        if at_a not in taken_a and at_b not in taken_b:
            taken_a.add(at_a)
            taken_b.add(at_b)
            kept.append((at_a, at_b))
    links = pl.DataFrame(kept, {"at_a": pl.UInt32, "at_b": pl.UInt32}, orient="row")
    both = pairs.join(links, ["at_a", "at_b"]).drop("apart")
    alone_a = a.filter(~pl.col("at_a").is_in(list(taken_a)))
    alone_b = b.filter(~pl.col("at_b").is_in(list(taken_b)))
    return pl.concat([both, alone_a, alone_b], how="diagonal").drop("at_a", "at_b")


def _judge(row: dict[str, Any], reasons: dict[str, str]) -> dict[str, str]:
    """Return what became of an episode from A to B, and why."""
    was, became = row["status_a"] or ABSENT, row["status_b"] or ABSENT
    why = reasons.get(str(row["trade_date"]), "")
    if was == became:
        same = row["start_a"] == row["start_b"] and row["confidence_a"] == row["confidence_b"]
        same = same and row["failed_a"] == row["failed_b"] and row["signals_a"] == row["signals_b"]
        return {"change": "same" if same else "changed", "reason": "" if same else why}
    lacks = row["failed_b"] if became != ALERT else row["failed_a"]
    absent = ABSENT in {was, became}
    said = "no candidate there: its confidence stays below 0.5" if absent else _gates(lacks)
    reason = "; ".join(one for one in (said, why) if one)
    if became == ALERT:
        return {"change": "gained", "reason": reason}
    if was == ALERT:
        return {"change": "lost", "reason": reason}
    return {"change": f"candidate {'gained' if was == ABSENT else 'lost'}", "reason": reason}


def _gates(failed: int | None) -> str:
    names = [name for bit, name in GATES.items() if failed is not None and failed & bit]
    return f"stopped by {', '.join(names)}" if names else ""


def _compare_sessions(one: Run, other: Run) -> pl.DataFrame:
    rows = []
    for date in sorted({*one.sessions, *other.sessions}):
        held = [run for run in (one, other) if date in run.sessions]
        facts = {str(run.sessions[date]["facts_digest"]) for run in held}
        baselines = {run.baselines_of(date) for run in held}
        rows.append(
            {
                "trade_date": date,
                "in_a": one in held,
                "in_b": other in held,
                "windows_same": len(held) == 2 and len(facts) == 1,
                "baselines_same": len(held) == 2 and len(baselines) == 1,
            }
        )
    flags = ("in_a", "in_b", "windows_same", "baselines_same")
    return pl.DataFrame(rows, schema={"trade_date": pl.String, **dict.fromkeys(flags, pl.Boolean)})


def _session_reasons(sessions: pl.DataFrame) -> dict[str, str]:
    """Return what is other about a session itself, by trade date."""
    reasons = {}
    for row in sessions.iter_rows(named=True):
        why = []
        if not (row["in_a"] and row["in_b"]):
            why.append(f"the session is in {'A' if row['in_a'] else 'B'} alone")
        elif not row["windows_same"]:
            why.append("its windows differ")
        if row["in_a"] and row["in_b"] and not row["baselines_same"]:
            why.append("its baselines differ")
        reasons[str(row["trade_date"])] = "; ".join(why)
    return reasons
