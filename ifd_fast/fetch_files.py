"""What lies in the folder of a fetch: its plan and jobs, and each job's files as they came.

`fetch.json` says what was asked for and which job delivers each schema; a job's id is on the disk
before anything else is done with it. `JOB/` is a batch folder; its manifest comes first, so that
whoever looks at it knows what isn't there yet.
"""

from __future__ import annotations

import contextlib
import datetime as dt
import fcntl
import json
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Final

import msgspec

from ifd_fast.batch_folders import MANIFEST, ListedFile
from ifd_fast.errors import AlreadyRunningError, DataError, IfdError, UsageError
from ifd_fast.pricing import DataRequest
from ifd_fast.repair_files import write_safely

__all__ = [
    "FETCH",
    "LOCK",
    "FetchFolder",
    "FetchPlan",
    "JobNote",
    "open_fetch",
    "unfinished_schemas",
]

FETCH: Final = "fetch.json"
LOCK: Final = ".lock"
_VERSION: Final = 1
_EPOCH: Final = dt.date(1970, 1, 1)
_DAY_NS: Final = 86_400_000_000_000


class FetchPlan(msgspec.Struct, frozen=True, forbid_unknown_fields=True):
    """What is fetched: whole UTC days `first` to `last`, a job for each schema."""

    dataset: str
    parents: tuple[str, ...]
    schemas: tuple[str, ...]
    first: dt.date
    last: dt.date

    def request(self, schema: str) -> DataRequest:
        """Return what is asked for of a schema.

        Raises
        ------
        UsageError
            It couldn't be asked for.
        """
        start, end = ((day - _EPOCH).days * _DAY_NS for day in (self.first, self.last))
        return DataRequest(self.dataset, schema, self.parents, start, end + _DAY_NS)

    @property
    def days(self) -> list[dt.date]:
        """All days on which the exchange can be open: those but Saturdays."""
        count = (self.last - self.first).days + 1
        days = (self.first + dt.timedelta(days=number) for number in range(count))
        return [day for day in days if day.weekday() != 5]


class JobNote(msgspec.Struct, frozen=True, forbid_unknown_fields=True):
    """A schema's job: `usd_1e9` is its price; `done` once all of its files are here."""

    job_id: str
    usd_1e9: int
    done: bool = False


class _Notes(msgspec.Struct, forbid_unknown_fields=True):
    version: int
    plan: FetchPlan
    jobs: dict[str, JobNote]


@dataclass(frozen=True)
class FetchFolder:
    """The folder of a fetch; `plan` and `jobs` as `fetch.json` has them."""

    path: Path
    plan: FetchPlan
    jobs: dict[str, JobNote]

    def note(self, schema: str, note: JobNote) -> None:
        """Write down a schema's job; on the disk when it returns."""
        self.jobs[schema] = note
        self.write()

    def write(self) -> None:
        """Write `fetch.json`, whole or not at all.

        Raises
        ------
        IfdError
            The disk is full or can't be written.
        """
        notes = _Notes(_VERSION, self.plan, self.jobs)
        text = msgspec.json.format(msgspec.json.encode(notes), indent=2) + b"\n"
        _write(self.path / FETCH, text)

    def begin_job(self, job_id: str, files: list[ListedFile]) -> Path:
        """Make a job's folder and, unless the job has one itself, its manifest; return it."""
        folder = self.path / job_id
        folder.mkdir(exist_ok=True)
        listed = [
            {"filename": one.name, "size": one.size_bytes, "hash": f"sha256:{one.sha256}"}
            for one in files
        ]
        if not any(one.name == MANIFEST for one in files):
            text = json.dumps({"job_id": job_id, "files": listed}, indent=2) + "\n"
            _write(folder / MANIFEST, text.encode())
        return folder


def unfinished_schemas(folder: Path) -> list[str]:
    """Return the schemas of a folder's fetch that are not all here; none without a fetch.

    Raises
    ------
    DataError
        `fetch.json` can't be read.
    """
    if not (folder / FETCH).is_file():
        return []
    notes = _read(folder / FETCH)
    return [one for one in notes.plan.schemas if one not in notes.jobs or not notes.jobs[one].done]


@contextlib.contextmanager
def open_fetch(path: Path, plan: FetchPlan | None, *, resume: bool) -> Iterator[FetchFolder]:
    """Hold a fetch's folder; a new one has `plan`, one to go on with must have it too, if given.

    Raises
    ------
    UsageError
        The folder has a fetch and `resume` is not set, has none and it is, or has another.
    AlreadyRunningError
        Another process holds it.
    DataError
        `fetch.json` can't be read.
    """
    if resume and not (path / FETCH).is_file():
        raise UsageError(f"{path} has no fetch to go on with: leave --resume out.")
    if not resume and (path / FETCH).exists():
        raise UsageError(f"{path} has a fetch: go on with it by --resume, or name a new folder.")
    with _held(path):
        if not resume:
            if plan is None:
                raise AssertionError("a new fetch has a plan")
            yield FetchFolder(path, plan, {})
            return
        notes = _read(path / FETCH)
        if plan is not None and plan != notes.plan:
            raise UsageError(
                f"{path} has a fetch of {_shown(notes.plan)}, but {_shown(plan)} is asked for. "
                "Leave the options out, or name a new folder."
            )
        yield FetchFolder(path, notes.plan, notes.jobs)


@contextlib.contextmanager
def _held(path: Path) -> Iterator[None]:
    try:
        path.mkdir(parents=True, exist_ok=True)
        lock = (path / LOCK).open("w")
    except OSError as error:
        raise UsageError(
            f"`--out` must be a folder that can be written, was {str(path)!r}: {error.strerror}."
        ) from None
    with lock:
        try:
            fcntl.flock(lock, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except OSError:
            raise AlreadyRunningError(
                f"{path} is held by another `ifd fetch`. Wait until it is done."
            ) from None
        yield


def _read(path: Path) -> _Notes:
    try:
        notes = msgspec.json.decode(path.read_bytes(), type=_Notes)
    except (OSError, msgspec.DecodeError) as error:
        raise DataError(
            f"{path}: can't be read ({error}). Its jobs are in the download center of the "
            "Databento portal."
        ) from None
    if notes.version != _VERSION:
        raise DataError(f"{path}: is of version {notes.version}, this program reads {_VERSION}.")
    return notes


def _write(path: Path, text: bytes) -> None:
    try:
        write_safely(path, iter([text]))
    except OSError as error:
        raise IfdError(
            f"{path}: can't be written: {error.strerror}. Free some of the disk, then --resume."
        ) from None


def _shown(plan: FetchPlan) -> str:
    return f"{', '.join(plan.schemas)} of {len(plan.parents)} parents, {plan.first} to {plan.last}"
