"""The run behind `ifd evaluate`: histories, then sessions with planted truth and without.

Every session played is "the 21st": the same world and day, a seed of its own, scored against one
of a few histories of 20 sessions, which are dealt out in turn. Each leaves a folder of Parquet
files, and a folder that is complete is not played again, so an interrupted run goes on and a report
costs seconds. Results depend on world, seed and settings alone, not on how many workers there are
or who took which session.
"""

from __future__ import annotations

import datetime as dt
import hashlib
import json
import shutil
from concurrent.futures import ProcessPoolExecutor
from functools import lru_cache
from multiprocessing import get_context
from pathlib import Path
from typing import TYPE_CHECKING, Any, Final, NamedTuple, Protocol, Self

import msgspec

from ifd_fast.baselines import add_folders, rebuild
from ifd_fast.calibration import load_calibration
from ifd_fast.config import load_settings
from ifd_fast.signals import code_digest
from ifd_fast.simulated_files import pick_sessions
from ifd_fast.staging import FixedHistory, play_session, stage_session
from ifd_fast.truth import write_truth
from ifd_fast.world import World

if TYPE_CHECKING:
    from collections.abc import Callable, Iterable, Iterator, Sequence

    from ifd_fast.calendar import Session

__all__ = [
    "Plan",
    "Progress",
    "Task",
    "Workers",
    "claim_tasks",
    "days_of",
    "history_plans",
    "is_complete",
    "make_histories",
    "play_all",
    "play_task",
    "session_tasks",
]

FIRST_DAY: Final = dt.date(2026, 1, 5)
HISTORY_SESSIONS: Final = 20
# Seeds of the kinds of sessions lie apart, so that more of one never moves the other. The finely
# scored ones are the planted ones again.
SEEDS_APART: Final = 1_000_000
SEED_BLOCKS: Final = {
    "planted": 0, "fine": 0, "null": 1, "power": 2, "claims": 3, "histories": 4,
}  # fmt: skip
HISTORIES_APART: Final = 10_000  # seeds
STEM: Final = "session"


class Progress(Protocol):
    """Who shows how far a run is."""

    def __call__(self, what: str, done: int, total: int) -> object:
        """Take what is being done, how many of its tasks are, and of how many."""


class Plan(msgspec.Struct, frozen=True, kw_only=True):
    """What is run; the digest of all of it names the folder of results."""

    world: World
    seed: int = 1
    histories: int = 1  # sessions of each kind are dealt out over so many
    sessions: int = 40
    null_sessions: int = 60
    history_sessions: int = HISTORY_SESSIONS
    plants: int = 6
    negatives: int = 20
    profile: str = "ifd_v3_production"
    power_sessions: int = 20  # without hard negatives and with many plants: for recall alone
    power_plants: int = 24
    fine_sessions: int = 30  # planted ones again, scored ten times as often and without cooldown
    mirrors: int = 3  # planted ones again, with history and all, mirrored both ways
    mirror: str | None = None  # all of the plan is played as this mirror image
    columns: bool = True  # rivals and bounds too
    overrides: dict[str, float] = {}

    def history_key(self) -> str:
        """Return what the history, and the weights in its arrays, depend on, 16 hex digits."""
        parts = (
            self.world.digest(), self.seed, self.history_sessions, self.mirror, code_digest(),
            load_calibration().digest,
        )  # fmt: skip
        return hashlib.sha256(json.dumps(parts).encode()).hexdigest()[:16]

    def key(self) -> str:
        """Return what a session's results depend on, besides its own number, 16 hex digits."""
        settings = load_settings(self.profile, dict(self.overrides))
        parts = (self.history_key(), self.plants, self.negatives, settings.digest)
        return hashlib.sha256(json.dumps(parts).encode()).hexdigest()[:16]


class Task(NamedTuple):
    """One session to play, complete in itself: it travels to another process."""

    name: str
    plan: Plan
    seed: int
    trade_date: dt.date
    plants: int
    negatives: int
    folder: Path
    arrays: Path | None


def days_of(plan: Plan) -> tuple[list[Session], Session]:
    """Return the sessions of history and the session that is played."""
    days = pick_sessions(FIRST_DAY, plan.history_sessions + 1)
    return days[:-1], days[-1]


class Workers:
    """Runs functions of tasks, in order, on processes of their own; with one, in this one.

    Processes are started fresh: a copy of this one would copy the locks of its threads.
    """

    def __init__(self, count: int = 1, progress: Progress | None = None) -> None:
        """Use `count` processes; tell `progress` what is done."""
        self.count = count
        self.progress = progress
        self._pool: ProcessPoolExecutor | None = None

    def __enter__(self) -> Self:
        if self.count > 1:
            self._pool = ProcessPoolExecutor(self.count, mp_context=get_context("spawn"))
        return self

    def __exit__(self, *failure: object) -> None:
        if self._pool is not None:
            self._pool.shutdown(cancel_futures=True)
            self._pool = None

    def map(self, function: Callable[[Any], Any], tasks: Sequence[Any], what: str) -> list[Any]:
        """Return `function` of each task, in their order."""
        results: Iterator[Any] = map(function, tasks)
        if self._pool is not None and len(tasks) > 1:
            results = self._pool.map(function, tasks)
        found: list[Any] = []
        for result in results:
            found.append(result)
            if self.progress is not None:
                self.progress(what, len(found), len(tasks))
        return found


def history_plans(plan: Plan) -> list[Plan]:
    """Return a plan for each history: the plan itself, then the same market with other seeds."""
    first = plan.seed + SEEDS_APART * SEED_BLOCKS["histories"]
    others = [first + HISTORIES_APART * number for number in range(1, plan.histories)]
    return [msgspec.structs.replace(plan, seed=seed) for seed in (plan.seed, *others)]


def make_histories(plans: Sequence[Plan], out: Path, workers: Workers) -> list[Path]:
    """Play each plan's history once, all of them together; return their folders.

    Plans that differ in nothing a history depends on share one.
    """
    folders = [out / f"history-{plan.history_key()}" for plan in plans]
    missing = {
        folder: plan
        for folder, plan in zip(folders, plans, strict=True)
        if not (folder / "baselines.arrays").is_file()
    }
    tasks = [task for folder, plan in missing.items() for task in _past_tasks(plan, folder)]
    play_all(tasks, workers, "history")
    workers.map(_store_history, list(missing.items()), "baselines")
    return folders


def _past_tasks(plan: Plan, folder: Path) -> list[Task]:
    """Return the sessions of history to play into `folder`."""
    past, _ = days_of(plan)
    return [
        Task(
            f"{session.trade_date}", plan, plan.seed, session.trade_date, 0, 0,
            folder / session.trade_date.isoformat(), None,
        )
        for session in past
    ]  # fmt: skip


def _store_history(asked: tuple[Path, Plan]) -> None:
    """Make store and arrays of the sessions played into a folder; the arrays come last."""
    folder, plan = asked
    _, today = days_of(plan)
    store = folder / "baselines.duckdb"
    store.unlink(missing_ok=True)
    add_folders(store, [task.folder for task in _past_tasks(plan, folder)])
    arrays = folder / "baselines.arrays"
    rebuild(store, today.trade_date, plan.history_sessions, arrays_to=arrays)


def session_tasks(plan: Plan, out: Path, histories: Sequence[Path]) -> list[Task]:
    """Return the planted and the null sessions to play; `histories` are those of its plans."""
    interval_s = load_settings(plan.profile, dict(plan.overrides)).profile.scoring_interval_s
    finer = {**plan.overrides, "scoring_interval_s": interval_s / 10.0, "cooldown_s": 0.0}
    fine = msgspec.structs.replace(plan, overrides=finer)
    planted = plan.plants, plan.negatives
    return [
        *_deal("planted", plan, out, histories, range(plan.sessions), planted),
        *_deal("power", plan, out, histories, range(plan.power_sessions), (plan.power_plants, 0)),
        *_deal("null", plan, out, histories, range(plan.null_sessions), (0, 0)),
        *_deal("fine", fine, out, histories, range(plan.fine_sessions), planted),
    ]


def claim_tasks(plan: Plan, out: Path, histories: Sequence[Path], numbers: range) -> list[Task]:
    """Return further planted sessions: for what confidences claim, and for nothing else."""
    return _deal("claims", plan, out, histories, numbers, (plan.plants, plan.negatives))


def _deal(
    kind: str,
    plan: Plan,
    out: Path,
    histories: Sequence[Path],
    numbers: range,
    planted: tuple[int, int],
) -> list[Task]:
    """Return the sessions of a kind with these numbers, each with the next history in turn."""
    _, today = days_of(plan)
    first = plan.seed + 1 + SEEDS_APART * SEED_BLOCKS[kind]
    plans = history_plans(plan)
    folders = [out / f"sessions-{one.key()}" for one in plans]
    tasks = []
    for number in numbers:
        place, name = number % len(plans), f"{kind}-{number:04d}"
        tasks.append(
            Task(
                name, plans[place], first + number, today.trade_date, *planted,
                folders[place] / name, histories[place] / "baselines.arrays",
            )
        )  # fmt: skip
    return tasks


def play_all(tasks: Iterable[Task], workers: Workers, what: str = "sessions") -> None:
    """Play the sessions that have no complete folder yet."""
    workers.map(play_task, [task for task in tasks if not is_complete(task.folder)], what)


def is_complete(folder: Path) -> bool:
    """Say whether a session's folder was written to its end."""
    return (folder / "played.json").is_file()


@lru_cache(maxsize=4)
def _history(arrays: Path) -> FixedHistory:
    from ifd_fast.baselines import load_arrays

    return FixedHistory(load_arrays(arrays))


def play_task(task: Task) -> str:
    """Play one session into its folder; return its name. Complete ones are left alone."""
    from ifd_fast.outputs import RunFolder

    if is_complete(task.folder):
        return task.name
    shutil.rmtree(task.folder, ignore_errors=True)
    settings = load_settings(task.plan.profile, dict(task.plan.overrides))
    history = FixedHistory(None) if task.arrays is None else _history(task.arrays)
    staged, truth = stage_session(
        task.plan.world, task.seed, task.trade_date, task.plants, task.negatives,
        mirror=task.plan.mirror,
    )  # fmt: skip
    with RunFolder(task.folder, {}) as folder:
        played = play_session(staged, settings, history, folder)
    write_truth(task.folder, STEM, truth())
    (task.folder / "windows.parquet").unlink(missing_ok=True)
    if task.arrays is not None:
        (task.folder / "facts.parquet").unlink(missing_ok=True)
    document = {"name": task.name, "records": played.records, "seconds": played.seconds}
    (task.folder / "played.json").write_text(json.dumps(document))
    return task.name
