"""Stage (a) of a re-scoring: which units there are, and sealing those that aren't sealed.

A unit stands as it was sealed while its files, the code and the settings that change it are the
same; else it is sealed again, and the notes say why.
"""

from __future__ import annotations

import datetime as dt
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any, Final, TypeAlias

from ifd_fast import __version__
from ifd_fast.calendar import load_sessions
from ifd_fast.errors import DataError, UsageError
from ifd_fast.rescore_days import SealTask, seal_unit
from ifd_fast.rescore_files import RescoreFolder
from ifd_fast.sealed_files import partition_of, read_done
from ifd_fast.sealed_replay import sealing_digest
from ifd_fast.signals import code_digest
from ifd_fast.units import Unit, plan_units

if TYPE_CHECKING:
    from ifd_fast.config import Settings
    from ifd_fast.executing import Workers

__all__ = ["Progress", "Request", "SealStage", "sessions_of"]

_FORM: Final = 1  # of the files: raise it when they hold other things

Progress: TypeAlias = Callable[[str, int, int], object]  # stage, tasks done, tasks


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


class SealStage:
    """Stage (a) of one run.

    Attributes
    ----------
    notes
        What was done, and why, for people.
    failed
        Units that were set aside, with the error.
    """

    def __init__(
        self,
        request: Request,
        folder: RescoreFolder,
        root: str,
        workers: Workers,
        progress: Progress,
    ) -> None:
        """Do nothing yet."""
        self.request, self.folder, self.root = request, folder, root
        self.workers, self.progress = workers, progress
        self.profile = request.settings.profile
        self.notes: list[str] = []
        self.failed: list[dict[str, str]] = []

    def run(self) -> list[dict[str, Any]]:
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

    def _rules(self) -> list[str]:
        """Return what a sealed session depends on besides its files."""
        return [f"form {_FORM}", code_digest(), sealing_digest(self.request.settings)]

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


def sessions_of(units: Sequence[dict[str, Any]]) -> dict[dt.date, dict[str, Any]]:
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
