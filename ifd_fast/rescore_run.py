"""Re-scoring: recordings of any length to signals, in two stages that can be repeated apart.

Stage (a), heavy: units of files are played once and their sessions sealed. Stage (b), light: every
sealed session is scored against the sessions before it. Both are tasks for any executor; what was
finished is never done again while its inputs, the code and the settings that change it are the
same, and what is not finished never looks so.
"""

from __future__ import annotations

import datetime as dt
from collections.abc import Iterable, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import TYPE_CHECKING, Any

import polars as pl

from ifd_fast import __version__
from ifd_fast.digests import RunDigests
from ifd_fast.errors import UsageError
from ifd_fast.executing import Workers
from ifd_fast.rescore_days import ScoreTask, score_session
from ifd_fast.rescore_files import RescoreFolder
from ifd_fast.rescore_sealing import Progress, Request, SealStage, sessions_of
from ifd_fast.sealed_files import partition_of, read_done
from ifd_fast.signals import code_digest
from ifd_fast.universe import load_universe

if TYPE_CHECKING:
    pass

__all__ = ["Request", "Result", "rescore"]


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
        stage = SealStage(self.request, self.folder, self.root, self.workers, self.progress)
        units = stage.run()
        self.notes += stage.notes
        self.failed += stage.failed
        sessions = sessions_of(units)
        gone = self.folder.remove_others({date.isoformat() for date in sessions})
        if gone:
            self.notes.append(f"no longer among the sources, removed: {', '.join(gone)}")
        scored = self._score(sessions)
        report = self._report(units, sessions, scored)
        self.folder.finish(report)
        return Result(report, self.notes)

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
        if set(folded) - set(wanted) or not self.folder.store.is_file():
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
