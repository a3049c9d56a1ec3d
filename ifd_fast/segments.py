"""Rows and signals of a live session as Parquet segments in its record's folder.

A segment is written aside, synced and renamed, so that each is whole; its footer says which run
wrote it, and up to which position of that run's ring. A run is one engine's: where a session was
started again, **what a run finds takes the place of everything that runs before it had stored
from its first window's end, or first signal's instant, on**. So windows that were cut short by a
stop are replaced once they are whole, and nothing is there twice.
"""

from __future__ import annotations

import os
from collections.abc import Iterator
from pathlib import Path
from typing import Final, NamedTuple

import polars as pl

from ifd_fast.outputs import FrameFile
from ifd_fast.rows import WINDOW_SCHEMA
from ifd_fast.signals import SIGNAL_SCHEMA

__all__ = ["SEGMENT_SCHEMAS", "Segments", "iterate_segments", "read_segments"]

FOLDER: Final = "rows"
# `alert` is what was found, as a replay finds it; `withheld`: nobody was told of it as an alert.
SEGMENT_SCHEMAS: Final = {
    "windows": WINDOW_SCHEMA,
    "signals": pl.Schema({**SIGNAL_SCHEMA, "withheld": pl.Boolean()}),
}
_TIMES: Final = {"windows": "window_end", "signals": "timestamp"}
_NO_LIMIT: Final = 2**63 - 1


class _Segment(NamedTuple):
    """One file, by what its footer says."""

    path: Path
    run: int
    position: int
    first_ns: int


class Segments:
    """Writes the segments of one run, numbered on from what is there.

    Attributes
    ----------
    positions
        Up to where this run's blocks are stored, by name: a keeper may die before it says so.
    """

    def __init__(self, record: Path, run: int) -> None:
        """Begin in the folder of `record`; what was not finished is removed."""
        self.run = run
        self._record = record
        (record / FOLDER).mkdir(parents=True, exist_ok=True)
        for path in (record / FOLDER).glob("*.unfinished"):
            path.unlink()
        self._count = dict.fromkeys(SEGMENT_SCHEMAS, 0)
        self.positions = dict.fromkeys(SEGMENT_SCHEMAS, 0)
        for name in SEGMENT_SCHEMAS:
            for one in _list_segments(record, name):
                self._count[name] = _number(one.path)
                if one.run == run:
                    self.positions[name] = one.position

    def write(self, name: str, frame: pl.DataFrame, position: int) -> None:
        """Store rows in order, not none, of blocks up to `position`; raises OSError."""
        first_ns = frame[_TIMES[name]].cast(pl.Int64)[0]
        footer = {
            "ifd.run": str(self.run),
            "ifd.position": str(position),
            "ifd.first_ns": str(first_ns),
        }
        path = self._record / FOLDER / f"{name}-{self._count[name] + 1:06d}.parquet"
        aside = path.with_name(f"{path.name}.unfinished")
        file = FrameFile(aside, SEGMENT_SCHEMAS[name], footer)
        file.append(frame)
        file.close()
        _sync(aside, os.O_RDWR)
        aside.replace(path)
        _sync(path.parent, os.O_RDONLY)
        self._count[name] += 1
        self.positions[name] = position


def iterate_segments(
    record: Path, name: str, *, before_ns: int | None = None, not_of: int | None = None
) -> Iterator[pl.DataFrame]:
    """Yield the rows a record's segments stand for, in order; frames of SEGMENT_SCHEMAS[name].

    `before_ns`: only rows before that time; `not_of`: segments of that run are left out.
    """
    segments = [one for one in _list_segments(record, name) if one.run != not_of]
    began: dict[int, int] = {}
    for one in segments:
        began.setdefault(one.run, one.first_ns)
    runs = list(began)
    for one in segments:
        later = [began[run] for run in runs[runs.index(one.run) + 1 :]]
        limit_ns = min([*later, _NO_LIMIT if before_ns is None else before_ns])
        time = pl.col(_TIMES[name]).cast(pl.Int64)
        frame = pl.read_parquet(one.path).cast(SEGMENT_SCHEMAS[name])
        yield frame.filter(time < limit_ns)


def read_segments(record: Path, name: str) -> pl.DataFrame:
    """Return all rows of `windows` or `signals` a record's segments stand for, in order."""
    empty = pl.DataFrame(schema=SEGMENT_SCHEMAS[name])
    return pl.concat([empty, *iterate_segments(record, name)])


def _list_segments(record: Path, name: str) -> list[_Segment]:
    import pyarrow.parquet as pq

    found = []
    for path in sorted((record / FOLDER).glob(f"{name}-*.parquet"), key=_number):
        footer = pq.read_metadata(path).metadata
        numbers = (int(footer[f"ifd.{key}".encode()]) for key in ("run", "position", "first_ns"))
        found.append(_Segment(path, *numbers))
    return found


def _number(path: Path) -> int:
    return int(path.stem.rpartition("-")[2])


def _sync(path: Path, flags: int) -> None:
    descriptor = os.open(path, flags | os.O_CLOEXEC)
    try:
        os.fsync(descriptor)
    finally:
        os.close(descriptor)
