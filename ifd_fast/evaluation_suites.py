"""The same evaluation on other markets: worlds drawn from ranges, stresses, mirror images.

How many null sessions each gets: a stress is judged by itself, so 40, at which a market that keeps
its promise of 1 passes all but never fails "within twice" by chance; a drawn world is one of 20
that are judged together, so 12 each, the mean's interval being over worlds.
"""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING, Any, Final, NamedTuple

import msgspec
import numpy as np
import polars as pl

from ifd_fast import evaluating, intervals
from ifd_fast.evaluation import describe, number_of
from ifd_fast.matching import normalize_signals
from ifd_fast.truth import TIERS
from ifd_fast.worlds import STRESSES, draw_world, stress_world

if TYPE_CHECKING:
    from collections.abc import Callable, Sequence

    from ifd_fast.evaluating import Plan, Task, Workers

__all__ = [
    "Suite",
    "drawn_suites",
    "judge",
    "mirror_differences",
    "pool_worlds",
    "power_to_pass",
    "run_suites",
    "stress_suites",
    "summarize_run",
]

STRESS_FACTOR: Final = 2.0  # false alerts of the promise, at most
WORLD_FACTOR: Final = 1.5
HISTORY_SHORT: Final = 5
INTERVALS_S: Final = (0.1, 1.0, 60.0)
MIRRORS: Final = ("sides", "types")
# planted, null and power sessions at most
WORLD_COUNTS: Final = (3, 12, 3)
STRESS_COUNTS: Final = (4, 40, 4)
# Of five times the strikes a session costs as much more: half as many.
FEWER: Final = {"strikes_3000": (2, 20, 2)}
GROUP: Final = 4  # suites that are played together, so that no worker waits for one history


class Suite(NamedTuple):
    """One market to evaluate: its name in the table, its plan, and the promise's factor."""

    name: str
    plan: Plan
    factor: float


def _smaller(plan: Plan, counts: tuple[int, int, int], **changes: Any) -> Plan:
    """Return the plan without what only the main run needs, and at most so many sessions."""
    kept = {
        "sessions": min(plan.sessions, counts[0]),
        "null_sessions": min(plan.null_sessions, counts[1]),
        "power_sessions": min(plan.power_sessions, counts[2]),
    }
    one = {"columns": False, "fine_sessions": 0, "mirrors": 0, "histories": 1}
    changes = {**one, **kept, **changes}
    return msgspec.structs.replace(plan, **changes)


def drawn_suites(plan: Plan, count: int) -> list[Suite]:
    """Return `count` worlds drawn from the plan's world, each with a history of its own."""
    worlds = [draw_world(plan.world, plan.seed + number) for number in range(count)]
    return [
        Suite(world.name, _smaller(plan, WORLD_COUNTS, world=world), WORLD_FACTOR)
        for world in worlds
    ]


def stress_suites(plan: Plan) -> list[Suite]:
    """Return every stress; those of scoring alone share the plan's own history."""
    plans = {
        name: _smaller(plan, FEWER.get(name, STRESS_COUNTS), world=stress_world(plan.world, name))
        for name in STRESSES
    }
    short = _smaller(plan, STRESS_COUNTS, history_sessions=HISTORY_SHORT)
    plans[f"history_{HISTORY_SHORT}"] = short
    for seconds in INTERVALS_S:
        changed = {**plan.overrides, "scoring_interval_s": seconds}
        plans[f"scored_each_{seconds:g}_s"] = _smaller(plan, STRESS_COUNTS, overrides=changed)
    return [Suite(name, one, STRESS_FACTOR) for name, one in plans.items()]


def run_suites(
    suites: Sequence[Suite],
    out: Path,
    workers: Workers,
    tell: Callable[[list[dict[str, Any]]], object] | None = None,
) -> list[dict[str, Any]]:
    """Return the row of every suite; `tell` gets all rows so far whenever there are more.

    All folders lie in `out`, beside those of the main run: what is the same is played once.
    """
    rows: list[dict[str, Any]] = []
    for first in range(0, len(suites), GROUP):
        group = suites[first : first + GROUP]
        histories = evaluating.make_histories([one.plan for one in group], out, workers)
        tasks = [
            evaluating.session_tasks(one.plan, out, [history])
            for one, history in zip(group, histories, strict=True)
        ]
        evaluating.play_all([task for each in tasks for task in each], workers)
        rows += workers.map(_summarize, list(zip(group, tasks, strict=True)), "tables")
        if tell is not None:
            tell(rows)
    return rows


def summarize_run(suite: Suite, out: Path, workers: Workers) -> dict[str, Any]:
    """Run one suite; return its row of the summary table."""
    return run_suites([suite], out, workers)[0]


def _summarize(asked: tuple[Suite, list[Task]]) -> dict[str, Any]:
    (name, plan, factor), tasks = asked
    document = describe(plan, tasks)
    false = document["false_alerts"]
    recall = {
        row["value"]: row["columns"]["ifd_fast"]["value"]
        for row in document["recall"]
        if row["dimension"] == "tier at k = 10"
    }
    sessions, limit = false["sessions"], factor * false["promised"]
    low, high = false["exact"]["low"], false["exact"]["high"]
    return {
        "name": name,
        "world_digest": plan.world.digest(),
        "promised": false["promised"],
        "limit": limit,
        "sessions": {kind: document["sessions"][kind] for kind in ("planted", "power", "null")},
        "false_alerts": false["realised"]["value"],
        "interval": [low, high],
        "recall": {tier: recall.get(tier) for tier in TIERS},
        "grades": _grades_of(tasks),
        "power": power_to_pass(sessions, false["promised"], limit),
        "met": judge(false["realised"]["value"], high, limit),
    }


def judge(value: float, high: float, limit: float) -> bool | None:
    """Return whether the limit is kept: False above it, True if the interval is, else None."""
    if value > limit:
        return False
    return True if high <= limit else None


def power_to_pass(sessions: int, rate: float, limit: float) -> float:
    """Return how likely `judge` says True of `sessions` that have `rate` false alerts each."""
    if intervals.poisson_interval(0, sessions)[1] > limit:
        return 0.0
    count = 0
    while intervals.poisson_interval(count + 1, sessions)[1] <= limit:
        count += 1
    return intervals.poisson_tail(count, rate * sessions)


def pool_worlds(rows: Sequence[dict[str, Any]]) -> dict[str, Any]:
    """Return the mean of all worlds' false alerts, its interval over worlds, how many exceed."""
    values = np.array([row["false_alerts"] for row in rows], np.float64)
    found = intervals.bootstrap_mean(values)
    limit = float(rows[0]["limit"])
    return {
        "worlds": len(rows),
        "null_sessions": sum(row["sessions"]["null"] for row in rows),
        "false_alerts": found.value,
        "interval": [found.low, found.high],
        "exceed": int((values > limit).sum()),
        "exceed_surely": sum(row["interval"][0] > limit for row in rows),
        "limit": limit,
        "met": judge(found.value, found.high, limit),
    }


def _grades_of(tasks: Sequence[Task]) -> str:
    """Return how many candidates have each grade, as text."""
    frames = [
        pl.read_parquet(task.folder / "signals.parquet", columns=["quality"]) for task in tasks
    ]
    counts = pl.concat(frames).group_by("quality").len().sort("quality")
    return ", ".join(f"{grade} {count}" for grade, count in counts.rows()) or "none"


def mirror_differences(plan: Plan, out: Path, workers: Workers) -> dict[str, Any]:
    """Return how many alerts of mirrored sessions differ from the mirrored alerts.

    History and sessions are mirrored, both ways: buyers for sellers, calls for puts.
    """
    plain = _smaller(plan, (plan.mirrors, 0, 0))
    straight = _alerts(plain, out, workers)
    differing, total = 0, 0
    for mirror in MIRRORS:
        found = _alerts(msgspec.structs.replace(plain, mirror=mirror), out, workers)
        if mirror == "sides":
            found = {(one, instrument, -side, at) for one, instrument, side, at in found}
        differing += len(straight ^ found)
        total += len(straight | found)
    return {"sessions": plan.mirrors, "alerts": total, "differing": differing}


def _alerts(plan: Plan, out: Path, workers: Workers) -> set[tuple[int, int, int, int]]:
    """Play the plan's sessions; return (session, instrument, side, instant) of their alerts."""
    histories = evaluating.make_histories([plan], out, workers)
    tasks = evaluating.session_tasks(plan, out, histories)
    evaluating.play_all(tasks, workers)
    frames = [
        normalize_signals(
            pl.read_parquet(task.folder / "signals.parquet").filter("alert"), number_of(task)
        )
        for task in tasks
    ]
    return set(pl.concat(frames).drop("score").rows())
