"""The same evaluation on other markets: worlds drawn from ranges, stresses, mirror images."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING, Any, Final

import msgspec
import polars as pl

from ifd_fast import evaluating
from ifd_fast.evaluation import evaluate, number_of
from ifd_fast.matching import normalize_signals
from ifd_fast.truth import TIERS
from ifd_fast.worlds import STRESSES, draw_world, stress_world

if TYPE_CHECKING:
    from ifd_fast.evaluating import Plan, Workers

__all__ = [
    "grades_of",
    "mirror_differences",
    "run_stress",
    "run_worlds",
    "summarize_run",
]

STRESS_FACTOR: Final = 2.0  # false alerts of the promise, at most
HISTORY_SHORT: Final = 5
INTERVALS_S: Final = (0.1, 1.0, 60.0)
MIRRORS: Final = ("sides", "types")


def _smaller(plan: Plan, **changes: Any) -> Plan:
    """Return the plan without what only the main run needs."""
    counts = {
        "sessions": min(plan.sessions, 10),
        "null_sessions": min(plan.null_sessions, 60),
        "power_sessions": min(plan.power_sessions, 10),
    }
    changes = {"columns": False, "fine_sessions": 0, "mirrors": 0, **counts, **changes}
    return msgspec.structs.replace(plan, **changes)


def run_worlds(plan: Plan, out: Path, count: int, workers: Workers) -> list[dict[str, Any]]:
    """Return the summary of `count` worlds drawn from the plan's world, each with its history."""
    return [
        summarize_run(
            _smaller(plan, world=draw_world(plan.world, plan.seed + number)), out, workers, 1.5
        )
        for number in range(count)
    ]


def run_stress(plan: Plan, out: Path, workers: Workers) -> list[dict[str, Any]]:
    """Return the summary of every stress: false alerts within twice the promise, and grades."""
    plans = [_smaller(plan, world=stress_world(plan.world, name)) for name in STRESSES]
    plans.append(_smaller(plan, history_sessions=HISTORY_SHORT))
    plans += [
        _smaller(plan, overrides={**plan.overrides, "scoring_interval_s": seconds})
        for seconds in INTERVALS_S
    ]
    names = [
        *STRESSES,
        f"history_{HISTORY_SHORT}",
        *(f"scored_each_{seconds:g}_s" for seconds in INTERVALS_S),
    ]
    found = []
    for name, one in zip(names, plans, strict=True):
        row = summarize_run(one, out, workers, STRESS_FACTOR)
        found.append({**row, "name": name})
    return found


def summarize_run(plan: Plan, out: Path, workers: Workers, factor: float) -> dict[str, Any]:
    """Run the plan in a folder of its own; return its row of the summary table."""
    folder = out / f"suite-{plan.world.digest()[:12]}-{plan.key()}"
    document = evaluate(plan, folder, workers)
    false = document["false_alerts"]
    recall = {
        row["value"]: row["columns"]["ifd_fast"]["value"]
        for row in document["recall"]
        if row["dimension"] == "tier at k = 10"
    }
    value = false["realised"]["value"]
    return {
        "name": plan.world.name,
        "world_digest": plan.world.digest(),
        "promised": false["promised"],
        "false_alerts": value,
        "interval": [false["exact"]["low"], false["exact"]["high"]],
        "recall": {tier: recall.get(tier) for tier in TIERS},
        "grades": grades_of(plan, folder),
        "met": value <= factor * false["promised"],
    }


def grades_of(plan: Plan, folder: Path) -> str:
    """Return how many candidates have each grade, as text."""
    history = folder / f"history-{plan.history_key()}"
    frames = [
        pl.read_parquet(task.folder / "signals.parquet", columns=["quality"])
        for task in evaluating.session_tasks(plan, folder, history)
    ]
    counts = pl.concat(frames).group_by("quality").len().sort("quality")
    return ", ".join(f"{grade} {count}" for grade, count in counts.rows()) or "none"


def mirror_differences(plan: Plan, out: Path, workers: Workers) -> dict[str, Any]:
    """Return how many alerts of mirrored sessions differ from the mirrored alerts.

    History and sessions are mirrored, both ways: buyers for sellers, calls for puts.
    """
    plain = _smaller(plan, sessions=plan.mirrors, null_sessions=0, power_sessions=0)
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
    history = evaluating.make_history(plan, out, workers)
    tasks = evaluating.session_tasks(plan, out, history)
    evaluating.play_all(tasks, workers)
    frames = [
        normalize_signals(
            pl.read_parquet(task.folder / "signals.parquet").filter("alert"), number_of(task)
        )
        for task in tasks
    ]
    return set(pl.concat(frames).drop("score").rows())
