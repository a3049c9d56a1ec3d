"""All parts of `ifd evaluate`, the most wanted first, each kept as soon as there is one.

The document says which parts are still missing, so a run that is cut gives what it has; the same
call afterwards goes on, for what a folder holds is not played again.
"""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING, Any, Final, NamedTuple

import polars as pl

from ifd_fast import evaluating, scoreboard
from ifd_fast.evaluation import claims_of, evaluate, number_of, write_document
from ifd_fast.evaluation_numbers import number_rows
from ifd_fast.evaluation_page import write_page
from ifd_fast.evaluation_suites import (
    drawn_suites,
    mirror_differences,
    pool_worlds,
    run_suites,
    stress_suites,
)
from ifd_fast.matching import Matched, match_alerts
from ifd_fast.truth import read_truth

if TYPE_CHECKING:
    from collections.abc import Sequence

    from ifd_fast.evaluating import Plan, Task, Workers

__all__ = ["PARTS", "Wanted", "gather_claims", "run_parts"]

PARTS: Final = ("mirrors", "claims", "stress", "worlds")
CLAIM_BATCH: Final = 40  # sessions: whole batches, so that their number depends on claims alone
MOST_BATCHES: Final = 40


class Wanted(NamedTuple):
    """What is run besides the main table."""

    claims: int = 0  # held-out claims behind the calibration error, at least
    worlds: int = 0
    stress: bool = False
    skip: tuple[str, ...] = ()
    command: str = ""

    def parts(self, plan: Plan) -> list[str]:
        """Return the parts asked for, in the order in which they are run."""
        asked = (plan.mirrors > 0, self.claims > 0, self.stress, self.worlds > 0)
        return [
            part
            for part, wanted in zip(PARTS, asked, strict=True)
            if wanted and part not in self.skip
        ]


def run_parts(plan: Plan, wanted: Wanted, out: Path, workers: Workers) -> dict[str, Any]:
    """Run the main table and every part wanted; return the document, written after each."""
    parts = wanted.parts(plan)
    document = evaluate(plan, out, workers)
    document["command"] = wanted.command

    def keep(unfinished: Sequence[str]) -> None:
        document.pop("unfinished", None)
        if unfinished:
            document["unfinished"] = list(unfinished)
        document["numbers"] = number_rows(document)
        write_document(document, out)
        write_page(document, out)

    for place, part in enumerate(parts):
        left = parts[place:]
        keep(left)

        def tell(rows: list[dict[str, Any]], part: str = part, left: list[str] = left) -> None:
            document[part] = list(rows)
            if part == "worlds":
                document["pooled"] = pool_worlds(rows)
            keep(left)

        if part == "mirrors":
            document["mirrors"] = mirror_differences(plan, out, workers)
        elif part == "claims":
            document["reliability"] = gather_claims(plan, wanted.claims, out, workers)
        else:
            suites = stress_suites(plan) if part == "stress" else []
            run_suites(suites or drawn_suites(plan, wanted.worlds), out, workers, tell)
    keep([])
    return document


def gather_claims(plan: Plan, least: int, out: Path, workers: Workers) -> dict[str, Any]:
    """Return the reliability over `least` claims or more, further sessions played as needed.

    They are played in whole batches, without rivals, and dealt out over the plan's histories like
    all sessions: what a past of 20 sessions leaves open moves all claims that rest on it together,
    so that those of one history say little about the next. Ends short of `least` only after
    MOST_BATCHES, which the count of claims then shows.
    """
    plans = evaluating.history_plans(plan)
    histories = evaluating.make_histories(plans, out, workers)
    main = evaluating.session_tasks(plan, out, histories)
    tasks = [task for task in main if task.name.startswith("planted")]
    matched = _match(tasks)
    for batch in range(MOST_BATCHES):
        if matched.alerts.height >= least:
            break
        numbers = range(batch * CLAIM_BATCH, (batch + 1) * CLAIM_BATCH)
        more = evaluating.claim_tasks(plan, out, histories, numbers)
        evaluating.play_all(more, workers, "claims")
        tasks += more
        matched = Matched(*map(pl.concat, zip(matched, _match(more), strict=True)))
    rows = []
    for one in plans:
        sessions = [number_of(task) for task in tasks if task.plan.seed == one.seed]
        rows.append(
            _history_row(one.seed, matched.alerts.filter(pl.col("session").is_in(sessions)))
        )
    numbers_of = [number_of(task) for task in tasks]
    found = scoreboard.reliability(matched, numbers_of)
    return {**found, "sessions": len(numbers_of), "histories": rows}


def _history_row(seed: int, claims: pl.DataFrame) -> dict[str, Any]:
    """Return what the claims of one history said, and how many of them came true."""
    outcomes = claims["unit"].is_not_null()
    return {
        "seed": seed,
        "claims": claims.height,
        "forecast": claims["score"].mean(),
        "outcome": outcomes.mean(),
        "error": scoreboard.error_of(claims["score"].to_numpy(), outcomes.to_numpy()),
    }


def _match(tasks: Sequence[Task]) -> Matched:
    """Return the claims of planted sessions, matched with their truth."""
    claims, truths = [], []
    for task in tasks:
        number = number_of(task)
        claims.append(claims_of(pl.read_parquet(task.folder / "signals.parquet"), number))
        episodes = read_truth(task.folder, evaluating.STEM).episodes
        truths.append(episodes.with_columns(pl.lit(number, pl.Int32).alias("session")))
    return match_alerts(pl.concat(claims), pl.concat(truths))
