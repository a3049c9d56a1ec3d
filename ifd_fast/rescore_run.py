"""Re-scoring: recordings of any length to signals, in two stages that can be repeated apart.

Stage (a), heavy: units of files are played once and their sessions sealed. Stage (b), light: every
sealed session is scored against the sessions before it. Both are tasks for any executor; what was
finished is never done again while its inputs, the code and the settings that change it are the
same, and what is not finished never looks so.
"""

from __future__ import annotations

import datetime as dt
from collections.abc import Callable, Iterable, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import TYPE_CHECKING, Any, Final

import polars as pl

from ifd_fast import __version__
from ifd_fast.calendar import load_sessions
from ifd_fast.digests import RunDigests
from ifd_fast.errors import DataError, UsageError
from ifd_fast.executing import Workers
from ifd_fast.rescore_days import ScoreTask, SealTask, score_session, seal_unit
from ifd_fast.rescore_files import RescoreFolder
from ifd_fast.sealed_files import partition_of, read_done
from ifd_fast.sealed_replay import sealing_digest
from ifd_fast.signals import code_digest
from ifd_fast.units import Unit, plan_units
from ifd_fast.universe import load_universe

if TYPE_CHECKING:
    from ifd_fast.config import Settings

__all__ = ["Request", "Result", "rescore"]

_FORM: Final = 1  # of the files: raise it when they hold other things


@dataclass(frozen=True)
class Request:
    """What is to be scored again, and where.

    Attributes
    ----------
    sources
        DBN files and folders of live records; or the one folder of an earlier re-scoring, of which
        what was sealed is scored again.
    baselines
        A store of history; None: the sessions of this run are each other's.
    cluster
        Address of a Dask scheduler whose workers see the same files; None: processes here.
    refused
        Names of sources that can't be used, each with the reason: reported as set aside.
    notes
        What else is to be said of the sources.
    """

    sources: tuple[Path, ...]
    out: Path
    settings: Settings
    baselines: Path | None = None
    workers: int = 1
    cluster: str | None = None
    resume: bool = False
    refused: tuple[tuple[str, str], ...] = ()
    notes: tuple[str, ...] = ()


@dataclass
class Result:
    """What a run did: its report (rescore.json), and notes on what was done or left."""

    report: dict[str, Any]
    notes: list[str] = field(default_factory=list)

    @property
    def failed(self) -> list[dict[str, str]]:
        """Units that were set aside, with the reason."""
        failed: list[dict[str, str]] = self.report["failed"]
        return failed


Progress = Callable[[str, int, int], object]  # stage, tasks done, tasks


def rescore(request: Request, progress: Progress = lambda *_: None) -> Result:
    """Seal what isn't sealed, score what isn't scored, and report.

    Raises
    ------
    UsageError
        The sources or the folder can't be used together.
    DataError
        Two units hold the same session.
    AlreadyRunningError
        Another process works in the folder.
    """
    folder = RescoreFolder(request.out)
    with folder.held():
        return _Run(request, folder, progress).run()


class _Run:
    """One run under way."""

    def __init__(self, request: Request, folder: RescoreFolder, progress: Progress) -> None:
        self.request, self.folder, self.progress = request, folder, progress
        self.profile = request.settings.profile
        self.root = load_universe(self.profile.universe).root
        self.workers = Workers(request.workers, request.cluster)
        self.notes = list(request.notes)
        self.failed = [{"unit": name, "error": reason} for name, reason in request.refused]

    def run(self) -> Result:
        if self.folder.is_unfinished and not self.request.resume:
            raise UsageError(
                f"{self.folder.path}: holds a re-scoring that did not end. Go on with --resume, or "
                "name another folder with --out."
            )
        units = self._seal()
        sessions = self._sessions_of(units)
        gone = self.folder.remove_others({date.isoformat() for date in sessions})
        if gone:
            self.notes.append(f"no longer among the sources, removed: {', '.join(gone)}")
        scored = self._score(sessions)
        report = self._report(units, sessions, scored)
        self.folder.finish(report)
        return Result(report, self.notes)

    # --- stage (a) --------------------------------------------------------------------------------

    def _rules(self) -> list[str]:
        """Return what a sealed session depends on besides its files."""
        return [f"form {_FORM}", code_digest(), sealing_digest(self.request.settings)]

    def _seal(self) -> list[dict[str, Any]]:
        """Return what is known of each unit that could be sealed, sealing those that aren't."""
        adopted = self._adopt()
        if adopted is not None:
            return adopted
        sessions = load_sessions(self.profile.calendar)
        units, unused = plan_units(self.request.sources, sessions)
        if unused:
            names = ", ".join(path.name for path in unused[:3])
            self.notes.append(f"{len(unused)} files belong to no market data, unused: {names}")
        self._check_names(units)
        self.folder.begin(self._plan(units))
        paths = [path for unit in units for path in unit.contents()]
        digests = self.folder.digest_inputs(paths)
        tasks = {
            unit.name: SealTask(
                unit,
                self.request.settings,
                self.folder.sealed,
                self.root,
                unit.key(digests, self._rules()),
            )
            for unit in units
        }
        known = {name: self._kept(task) for name, task in tasks.items()}
        todo = [tasks[name] for name, kept in known.items() if kept is None]
        self._run_seals(todo, known)
        reused = len(tasks) - len(todo)
        self.notes.append(
            f"stage (a): {len(todo)} of {len(tasks)} units sealed"
            + (f", {reused} were sealed already and are kept" if reused else "")
        )
        return [one for unit in units if (one := known[unit.name]) is not None]

    def _run_seals(self, todo: list[SealTask], known: dict[str, dict[str, Any] | None]) -> None:
        self.progress("seal", 0, len(todo))
        for number, (task, sealed) in enumerate(self.workers.run(seal_unit, todo), start=1):
            unit = task.unit
            if sealed.error is not None:
                self.failed.append({"unit": unit.name, "error": sealed.error})
                (self.folder.path / "units" / f"{unit.name}.json").unlink(missing_ok=True)
            else:
                known[unit.name] = {
                    "unit": unit.name,
                    "key": task.key,
                    "rules": self._rules(),
                    "files": [str(path) for path in unit.files],
                    "sessions": sealed.sessions,
                    "counts": sealed.counts,
                }
                self.folder.write(f"units/{unit.name}.json", known[unit.name])
            self.progress("seal", number, len(todo))

    def _kept(self, task: SealTask) -> dict[str, Any] | None:
        """Return what is known of a unit if it was sealed as it would be now."""
        name = task.unit.name
        kept: dict[str, Any] | None = self.folder.read(f"units/{name}.json")
        if kept is None:
            return None
        if kept["key"] != task.key:
            why = "the code or a setting" if kept["rules"] != self._rules() else "its content"
            self.notes.append(f"{name}: {why} is not what it was, sealed again")
            return None
        whole = all(
            (done := read_done(self._sealed_at(session))) is not None and done["key"] == task.key
            for session in kept["sessions"]
        )
        return kept if whole else None

    def _adopt(self) -> list[dict[str, Any]] | None:
        """Return the units of an earlier re-scoring, if that is the source; else None."""
        if len(self.request.sources) != 1:
            return None
        other = RescoreFolder(self.request.sources[0])
        if not other.is_finished or other.path.resolve() == self.folder.path.resolve():
            return None
        names = sorted(path.name for path in (other.path / "units").glob("*.json"))
        units = [other.read(f"units/{name}") for name in names]
        for unit in units:
            if unit["rules"] != self._rules():
                raise UsageError(
                    f"{other.path}: was sealed by other code, or with other windows or another "
                    "scoring interval. Name the recordings themselves."
                )
        self.folder.begin({"sources": [str(other.path)]})
        self.folder.adopt(other)
        self.notes.append(f"stage (a): {len(units)} units were sealed in {other.path}, kept")
        return units

    def _check_names(self, units: Sequence[Unit]) -> None:
        names = [unit.name for unit in units]
        twice = {name for name in names if names.count(name) > 1}
        if twice:
            raise UsageError(f"Two sources are called {min(twice)}. Re-score them apart.")

    def _plan(self, units: Sequence[Unit]) -> dict[str, Any]:
        return {
            "version": __version__,
            "units": {unit.name: [str(path) for path in unit.files] for unit in units},
            "rules_digest": self.profile.rules_digest,
        }

    def _sealed_at(self, session: dict[str, Any]) -> Path:
        date = dt.date.fromisoformat(session["trade_date"])
        return partition_of(self.folder.sealed, self.root, date)

    def _sessions_of(self, units: Sequence[dict[str, Any]]) -> dict[dt.date, dict[str, Any]]:
        """Return the sessions of all units by trade date, each with its unit's key.

        Raises
        ------
        DataError
            One is in two of them.
        """
        found: dict[dt.date, dict[str, Any]] = {}
        for unit in units:
            for session in unit["sessions"]:
                date = dt.date.fromisoformat(session["trade_date"])
                if date in found:
                    raise DataError(
                        f"{unit['unit']} and {found[date]['unit']}: both hold the session of "
                        f"{date}. Re-score them apart, or fetch all symbols in one."
                    )
                found[date] = {**session, "unit": unit["unit"], "key": unit["key"]}
        return dict(sorted(found.items()))

    # --- stage (b) --------------------------------------------------------------------------------

    def _score(self, sessions: dict[dt.date, dict[str, Any]]) -> dict[dt.date, dict[str, Any]]:
        """Return what was found in each session, scoring those that aren't as they would be."""
        store = self.request.baselines
        if store is None:
            store = self._fold(sessions)
        digests = _digests_of(store, sessions, self.profile.lookback_days)
        tasks = {
            date: self._score_task(date, session, store, digests[date])
            for date, session in sessions.items()
        }
        found = {}
        for date, task in tasks.items():
            done = read_done(task.to)
            if done is not None and done["key"] == task.key:
                found[date] = done
        todo = [task for date, task in tasks.items() if date not in found]
        kept = len(found)
        self.progress("score", 0, len(todo))
        for number, (task, scored) in enumerate(self.workers.run(score_session, todo), start=1):
            found[task.trade_date] = scored.document
            self.progress("score", number, len(todo))
        self.notes.append(
            f"stage (b): {len(todo)} of {len(tasks)} sessions scored"
            + (f", {kept} stand as they were" if kept else "")
        )
        return dict(sorted(found.items()))

    def _score_task(
        self, date: dt.date, session: dict[str, Any], store: Path | None, baselines: str | None
    ) -> ScoreTask:
        parts = [session["key"], str(baselines), self.profile.rules_digest, code_digest()]
        return ScoreTask(
            date,
            partition_of(self.folder.sealed, self.root, date),
            self.request.settings,
            store,
            partition_of(self.folder.history, self.root, date) / "arrays",
            partition_of(self.folder.scored, self.root, date),
            "|".join(parts),
        )

    def _fold(self, sessions: dict[dt.date, dict[str, Any]]) -> Path | None:
        """Return the store of these sessions' facts, folding in those that aren't there."""
        from ifd_fast.baselines import add_folders

        wanted = {date.isoformat(): session["key"] for date, session in sessions.items()}
        folded = self.folder.read("baselines.json") or {}
        if set(folded) - set(wanted):
            self.folder.store.unlink(missing_ok=True)
            folded = {}
        todo = [date for date, key in wanted.items() if folded.get(date) != key]
        self.progress("fold", 0, len(todo))
        for number, date in enumerate(todo, start=1):
            day = partition_of(self.folder.sealed, self.root, dt.date.fromisoformat(date))
            add_folders(self.folder.store, [day])
            folded[date] = wanted[date]
            self.folder.write("baselines.json", folded)
            self.progress("fold", number, len(todo))
        return self.folder.store if wanted else None

    # --- the report -------------------------------------------------------------------------------

    def _report(
        self,
        units: Sequence[dict[str, Any]],
        sessions: dict[dt.date, dict[str, Any]],
        scored: dict[dt.date, dict[str, Any]],
    ) -> dict[str, Any]:
        found = [
            {**_without_key(session), **_without_key(scored[date])}
            for date, session in sessions.items()
        ]
        totals = ("windows", "signals", "candidates", "alerts")
        return {
            "version": __version__,
            "code_digest": code_digest(),
            "profile": self.request.settings.name,
            "config_digest": self.request.settings.digest,
            "rules_digest": self.profile.rules_digest,
            "settings": self.profile.tree(),
            "root": self.root,
            "baselines_store": str(self.request.baselines or self.folder.store),
            "inputs": [{"unit": one["unit"], "files": one["files"]} for one in units],
            "counts": {name: sum(one[name] for one in found) for name in totals},
            "sessions": found,
            "failed": self.failed,
            "digests": self._digests(sessions),
        }

    def _digests(self, sessions: Iterable[dt.date]) -> dict[str, str | None]:
        """Return the digests of all rows and signals, as a replay of all of it would have them."""
        digests = RunDigests()
        for date in sessions:
            for stage, name in ((self.folder.sealed, "windows"), (self.folder.scored, "signals")):
                day = partition_of(stage, self.root, date)
                digests.update(name, pl.read_parquet(day / f"{name}.parquet"))
        return digests.found


def _without_key(document: dict[str, Any]) -> dict[str, Any]:
    return {name: value for name, value in document.items() if name != "key"}


def _digests_of(
    store: Path | None, dates: Iterable[dt.date], lookback: int
) -> dict[dt.date, str | None]:
    """Return by session the digest of the history it is scored against."""
    if store is None:
        return dict.fromkeys(dates)
    from ifd_fast.baseline_estimates import digest_inputs
    from ifd_fast.baseline_store import open_store

    with open_store(store) as connection:
        return {date: digest_inputs(connection, date, lookback) for date in dates}
