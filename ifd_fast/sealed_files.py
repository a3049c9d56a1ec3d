"""Folders of sealed sessions: one a trade date, written aside and renamed when it is whole.

`OUT/sealed/root=NQ/trade_date=2025-06-10/` holds a Parquet file for each of SEALED_SCHEMAS, a
`session.json` as a replay writes one, and `done.json`, which names what the folder was made from.
A folder without the latter, or under another name, is unfinished and looked at by nobody.
"""

from __future__ import annotations

import datetime as dt
import os
import shutil
import tempfile
from pathlib import Path
from typing import TYPE_CHECKING, Any, Final, Self

import msgspec
import polars as pl

from ifd_fast.errors import DataError, IfdError, UsageError
from ifd_fast.outputs import FrameFile
from ifd_fast.sealing import SEALED_SCHEMAS

if TYPE_CHECKING:
    from types import TracebackType

__all__ = [
    "DONE_FILE",
    "DayFolders",
    "make_aside",
    "no_space",
    "partition_of",
    "publish_folder",
    "read_done",
    "write_json",
]

DONE_FILE: Final = "done.json"
_ASIDE: Final = ".tmp-"
_OF_ALL: Final = "instruments"  # the listing of all that was played, in each of its sessions


def partition_of(folder: Path, root: str, trade_date: dt.date) -> Path:
    """Return where a session's files lie below `folder`."""
    return folder / f"root={root}" / f"trade_date={trade_date.isoformat()}"


def read_done(folder: Path) -> dict[str, Any] | None:
    """Return what a finished folder says of itself, None if there is none.

    Raises
    ------
    DataError
        `done.json` is damaged.
    """
    path = folder / DONE_FILE
    try:
        document: dict[str, Any] = msgspec.json.decode(path.read_bytes(), type=dict[str, Any])
    except FileNotFoundError:
        return None
    except (OSError, msgspec.DecodeError) as error:
        raise DataError(f"{path}: can't be read ({error}). Delete {folder} and go on.") from error
    return document


def write_json(path: Path, document: object) -> None:
    """Write `document` as indented JSON."""
    text = msgspec.json.format(msgspec.json.encode(document), indent=2)
    path.write_bytes(text + b"\n")


def publish_folder(aside: Path, to: Path) -> None:
    """Make all files of `aside` durable, and put it in the place of `to` at once."""
    for path in sorted(aside.iterdir()):
        with path.open("rb+") as written:
            os.fsync(written.fileno())
    _sync(aside)
    to.parent.mkdir(parents=True, exist_ok=True)
    if to.exists():
        old = Path(tempfile.mkdtemp(prefix=_ASIDE, dir=to.parent))
        to.replace(old / to.name)
        aside.replace(to)
        shutil.rmtree(old)
    else:
        aside.replace(to)
    _sync(to.parent)


def make_aside(parent: Path) -> Path:
    """Return a new folder for unfinished files, beside where they will be.

    Raises UsageError if none can be made.
    """
    try:
        parent.mkdir(parents=True, exist_ok=True)
        return Path(tempfile.mkdtemp(prefix=_ASIDE, dir=parent))
    except OSError as error:
        raise UsageError(
            f"`--out` must be a folder that can be written: {parent}: {error.strerror}."
        ) from None


def no_space(folder: Path, error: OSError) -> IfdError:
    """Return what to say of a disk that would not write."""
    return IfdError(
        f"Writing to {folder} failed: {error.strerror or error}. What was finished stays; free "
        "some space and go on with --resume."
    )


def _sync(folder: Path) -> None:
    handle = os.open(folder, os.O_RDONLY)
    try:
        os.fsync(handle)
    finally:
        os.close(handle)


class DayFolders:
    """Frames of sealed sessions on their way to folders; use it with `with`.

    `deliver` takes frames of SEALED_SCHEMAS; `finish` publishes the days that are named to it. Left
    with an error, nothing is published.
    """

    def __init__(self, folder: Path, root: str, metadata: dict[str, str]) -> None:
        """Write below `folder`/root=`root`; `metadata` goes into every file."""
        self._folder, self._root, self._metadata = folder, root, metadata
        self._aside = make_aside(folder / f"root={root}")
        self._files: dict[tuple[dt.date, str], FrameFile] = {}
        self._listed = [pl.DataFrame(schema=SEALED_SCHEMAS[_OF_ALL])]

    def deliver(self, name: str, frame: pl.DataFrame) -> None:
        """Add rows of one kind, of any trade dates."""
        if name == _OF_ALL:
            self._listed.append(frame)
            return
        for (date,), part in frame.group_by("trade_date", maintain_order=True):
            assert isinstance(date, dt.date)  # noqa: S101 - tells the type checker
            self._file(date, name).append(part)

    def finish(self, documents: dict[dt.date, dict[str, Any]], done: dict[str, Any]) -> None:
        """Publish the days of `documents` (their session.json); `done` goes into each done.json."""
        try:
            for date, document in documents.items():
                for name in SEALED_SCHEMAS:
                    file = self._file(date, name)
                    if name == _OF_ALL:
                        for frame in self._listed:
                            file.append(frame)
                    file.close()
                day = self._aside / date.isoformat()
                write_json(day / "session.json", document)
                write_json(day / DONE_FILE, {**done, "session": document["sessions"][0]})
                publish_folder(day, partition_of(self._folder, self._root, date))
        except OSError as error:
            raise no_space(self._folder, error) from error

    def __enter__(self) -> Self:
        return self

    def __exit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        traceback: TracebackType | None,
    ) -> None:
        shutil.rmtree(self._aside, ignore_errors=True)
        if isinstance(error, OSError):
            raise no_space(self._folder, error) from error

    def _file(self, date: dt.date, name: str) -> FrameFile:
        found = self._files.get((date, name))
        if found is None:
            day = self._aside / date.isoformat()
            day.mkdir(exist_ok=True)
            found = FrameFile(day / f"{name}.parquet", SEALED_SCHEMAS[name], self._metadata)
            self._files[(date, name)] = found
        return found
