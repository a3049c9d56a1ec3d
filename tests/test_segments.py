"""Segments of a record that several runs wrote: the last word on each time, and nothing twice."""

from __future__ import annotations

import datetime as dt
from typing import TYPE_CHECKING

import polars as pl
import pytest

from ifd_fast.segments import SEGMENT_SCHEMAS, Segments, iterate_segments, read_segments

if TYPE_CHECKING:
    from pathlib import Path

pytestmark = pytest.mark.border

OPEN = dt.datetime(2026, 3, 4, 14, 30, tzinfo=dt.UTC)


def windows(ends: range, trades: int) -> pl.DataFrame:
    """Return a row a window end, in units of 300 s; `trades` says who wrote it."""
    rows = [
        {"window_end": OPEN + dt.timedelta(seconds=300 * end), "total_trades": trades}
        for end in ends
    ]
    return pl.DataFrame(rows, schema_overrides=dict(SEGMENT_SCHEMAS["windows"])).select(
        pl.col(name) if name in {"window_end", "total_trades"} else pl.lit(None, kind).alias(name)
        for name, kind in SEGMENT_SCHEMAS["windows"].items()
    )


def found(record: Path) -> list[tuple[int, int]]:
    """Return (window end, who wrote it) of all rows."""
    frame = read_segments(record, "windows")
    ends = (frame["window_end"] - OPEN).dt.total_seconds() // 300
    return list(zip(ends.to_list(), frame["total_trades"].to_list(), strict=True))


def test_a_later_run_has_the_last_word(tmp_path: Path) -> None:
    """From its first row on; what runs before it stored before that stays."""
    first = Segments(tmp_path, run=1)
    first.write("windows", windows(range(1, 4), 1), position=100)
    first.write("windows", windows(range(4, 6), 1), position=200)
    second = Segments(tmp_path, run=2)
    second.write("windows", windows(range(4, 8), 2), position=50)
    expected = [(1, 1), (2, 1), (3, 1), (4, 2), (5, 2), (6, 2), (7, 2)]
    assert found(tmp_path) == expected
    third = Segments(tmp_path, run=3)
    third.write("windows", windows(range(2, 4), 3), position=10)
    third.write("windows", windows(range(4, 9), 3), position=20)
    assert found(tmp_path) == [(1, 1), *((end, 3) for end in range(2, 9))]
    mine = [one.height for one in iterate_segments(tmp_path, "windows", not_of=3)]
    assert sum(mine) == len(expected)


def test_a_keeper_goes_on_where_the_last_one_of_its_run_stored(tmp_path: Path) -> None:
    """Numbers and positions; what was not finished is gone, another run's places are its own."""
    Segments(tmp_path, run=1).write("windows", windows(range(1, 3), 1), position=100)
    (tmp_path / "rows" / "windows-000002.parquet.unfinished").write_bytes(b"half")
    again = Segments(tmp_path, run=1)
    assert again.positions == {"windows": 100, "signals": 0}
    assert not list((tmp_path / "rows").glob("*.unfinished"))
    again.write("windows", windows(range(3, 4), 1), position=150)
    assert Segments(tmp_path, run=2).positions == {"windows": 0, "signals": 0}
    names = sorted(path.name for path in (tmp_path / "rows").iterdir())
    assert names == ["windows-000001.parquet", "windows-000002.parquet"]
