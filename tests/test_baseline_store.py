"""The store loses nothing that was committed, shows no half session, and waits for its lock."""

from __future__ import annotations

import datetime as dt
import json
import os
import signal
import subprocess
import sys
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any

import duckdb
import numpy as np
import polars as pl
import pytest

from ifd_fast.baseline_file import HEADER, load_arrays, publish_arrays
from ifd_fast.baseline_store import SESSION_TABLES, open_store, prune_sessions
from ifd_fast.baselines import add_folders, arrays_path, rebuild
from ifd_fast.errors import AlreadyRunningError, DataError, UsageError
from tests.strategies_baselines import FIRST_DAY, make_session, open_ns, write_folder

CALL: dict[str, Any] = {
    "underlying": "NQH6",
    "expiration": open_ns(FIRST_DAY) + 40 * 86_400 * 10**9,
    "strike": 20_000.0,
    "option_type": "C",
    "mapped": True,
}
TRADE: dict[str, Any] = {
    "option": 0, "bin": 3, "bid": 5, "ask": 2, "mid": 20_000.0, "quality": "A",
}  # fmt: skip

# Ingests folders one after the other, and says so after each commit.
INGEST = """
import sys
from pathlib import Path
from ifd_fast.baselines import add_folders
store, folders = Path(sys.argv[1]), [Path(name) for name in sys.argv[2:]]
print("ready", flush=True)
for folder in folders * 50:
    print(add_folders(store, [folder])[0].trade_date, flush=True)
"""
HOLD = """
import sys, time, duckdb
connection = duckdb.connect(sys.argv[1])
print("held", flush=True)
time.sleep(float(sys.argv[2]))
"""


def session_folder(folder: Path, day: int, trades: int, *, options: int = 40) -> Path:
    """Write one session of some options that all trade in the same bins."""
    rows = [{**TRADE, "option": o, "bin": b} for o in range(options) for b in range(trades)]
    listed = [{**CALL, "strike": 20_000.0 + 10 * number} for number in range(options)]
    session = make_session(FIRST_DAY + dt.timedelta(days=day), listed, rows)
    session["facts_digest"] = f"{day} {trades}"
    return write_folder(folder, [session])


def contents(store: Path) -> dict[str, tuple[int, int, int, int]]:
    """Return rows by table of each trade date in any table of the store."""
    with open_store(store) as connection:
        counts = {
            table: dict(
                connection.execute(
                    f"SELECT trade_date::VARCHAR, count(*) FROM {table} GROUP BY 1"  # noqa: S608
                ).fetchall()
            )
            for table in SESSION_TABLES
        }
    days = {day for rows in counts.values() for day in rows}
    picked = ("coverage", "windows", "listings", "facts")
    return {day: tuple(counts[table].get(day, 0) for table in picked) for day in sorted(days)}


@pytest.mark.parametrize("delay_ms", [0, 15, 60, 140, 333])
def test_a_kill_leaves_whole_sessions_only(tmp_path: Path, delay_ms: int) -> None:
    """After kill -9 all announced sessions are whole, and the one on its way is old or new."""
    store = tmp_path / "store.duckdb"
    folders = [
        session_folder(tmp_path / f"{day} {trades}", day, trades)
        for trades in (10, 30)
        for day in range(2)
    ]
    child = subprocess.Popen(
        [sys.executable, "-c", INGEST, str(store), *map(str, folders)],
        stdout=subprocess.PIPE,
        text=True,
    )
    assert child.stdout is not None
    said = [child.stdout.readline().strip() for _ in range(4)]
    time.sleep(delay_ms / 1000)
    os.kill(child.pid, signal.SIGKILL)
    child.wait()
    said += child.stdout.read().split()
    child.stdout.close()
    actual = contents(store)
    assert set(said[1:]) <= set(actual)
    for day, rows in actual.items():
        assert rows in {(1, 276, 40, 400), (1, 276, 40, 1200)}, day
    assert add_folders(store, folders[:1])[0].fact_rows == 400


def test_readers_and_writers_wait_for_the_lock(tmp_path: Path) -> None:
    """A short lock of another process is waited out, a long one is named with its holder."""
    store = tmp_path / "store.duckdb"
    folder = session_folder(tmp_path / "in", 0, 2)
    add_folders(store, [folder])
    child = subprocess.Popen(
        [sys.executable, "-c", HOLD, str(store), "1.5"], stdout=subprocess.PIPE, text=True
    )
    assert child.stdout is not None
    child.stdout.readline()
    with pytest.raises(AlreadyRunningError, match=rf"was locked for 0.1 s by process {child.pid}"):
        add_folders(store, [folder], wait_s=0.1)
    with pytest.raises(AlreadyRunningError), open_store(store, wait_s=0.1):
        pass
    assert add_folders(store, [folder], wait_s=20)[0].unchanged
    child.wait()
    child.stdout.close()


def test_prune_keeps_the_newest(tmp_path: Path) -> None:
    """Pruning drops the oldest sessions from every table."""
    store = tmp_path / "store.duckdb"
    add_folders(store, [session_folder(tmp_path / str(day), day, 1) for day in range(4)])
    with open_store(store, write=True) as connection:
        dropped = prune_sessions(connection, 3)
    assert dropped == ["2026-01-05"]
    assert list(contents(store)) == ["2026-01-06", "2026-01-07", "2026-01-08"]
    with pytest.raises(UsageError, match="at least 1"), open_store(store, write=True) as connection:
        prune_sessions(connection, 0)


def _duplicate(folder: Path) -> None:
    frame = pl.read_parquet(folder / "facts.parquet")
    pl.concat([frame, frame]).write_parquet(folder / "facts.parquet")


def _drop_column(folder: Path) -> None:
    frame = pl.read_parquet(folder / "facts.parquet")
    frame.drop("bid_votes_1").write_parquet(folder / "facts.parquet")


def _shift(folder: Path) -> None:
    document = json.loads((folder / "session.json").read_text())
    document["sessions"][0]["open_ns"] += 1
    (folder / "session.json").write_text(json.dumps(document))


def _shorten(folder: Path) -> None:
    document = json.loads((folder / "session.json").read_text())
    document["sessions"][0]["close_ns"] -= 275 * 300 * 10**9
    (folder / "session.json").write_text(json.dumps(document))


@pytest.mark.parametrize(
    ("harm", "words"),
    [
        (_duplicate, "rows of 2026-01-05 twice"),
        (_drop_column, "no column bid_votes_1"),
        (_shift, "whole windows of 300 s"),
        (_shorten, "no 300 s windows of its session"),
        (lambda folder: (folder / "facts.parquet").unlink(), "facts.parquet not found"),
        (lambda folder: (folder / "facts.parquet").write_bytes(b"PAR1"), "can't be read"),
        (lambda folder: (folder / "session.json").write_text("{}"), "session.json can't be read"),
        (lambda folder: (folder / "session.json").write_text("{"), "session.json can't be read"),
    ],
)
def test_bad_folders_are_refused(
    tmp_path: Path, harm: Callable[[Path], object], words: str
) -> None:
    """A folder that is no replay's output is refused by name, and the store keeps its state."""
    store = tmp_path / "store.duckdb"
    add_folders(store, [session_folder(tmp_path / "good", 0, 2)])
    expected = contents(store)
    bad = session_folder(tmp_path / "bad", 0, 3)
    harm(bad)
    with pytest.raises(DataError, match=words):
        add_folders(store, [bad])
    assert contents(store) == expected


def test_files_that_are_no_store_are_refused(tmp_path: Path) -> None:
    """Another DuckDB file, another schema version, and no DuckDB file at all."""
    other = tmp_path / "other.duckdb"
    duckdb.connect(str(other)).execute("CREATE TABLE t (a INTEGER)").close()
    with pytest.raises(DataError, match="no baseline store"), open_store(other):
        pass
    junk = tmp_path / "junk.duckdb"
    junk.write_bytes(b"no database" * 2000)
    with pytest.raises(DataError, match="no DuckDB file"), open_store(junk):
        pass
    store = tmp_path / "store.duckdb"
    with open_store(store, write=True) as connection:
        connection.execute("UPDATE meta SET schema_version = 99")
    with pytest.raises(DataError, match="schema version 99"), open_store(store):
        pass
    with pytest.raises(UsageError, match="No baseline store"), open_store(tmp_path / "none"):
        pass


def test_damaged_arrays_are_refused(tmp_path: Path) -> None:
    """Any flipped byte, cut or other version of the array file is refused."""
    store = tmp_path / "store.duckdb"
    add_folders(store, [session_folder(tmp_path / "in", 0, 2, options=2)])
    rebuild(store)
    path = arrays_path(store)
    whole = path.read_bytes()
    for place in [*range(HEADER.itemsize), *range(HEADER.itemsize, len(whole), 97)]:
        damaged = bytearray(whole)
        damaged[place] ^= 0x40
        path.write_bytes(damaged)
        with pytest.raises(DataError):
            load_arrays(path)
    for size in (0, 10, HEADER.itemsize, len(whole) - 1):
        path.write_bytes(whole[:size])
        with pytest.raises(DataError):
            load_arrays(path)


def test_a_mapped_file_survives_its_replacement(tmp_path: Path) -> None:
    """Publishing by rename leaves the arrays an engine has mapped as they were."""
    store = tmp_path / "store.duckdb"
    add_folders(store, [session_folder(tmp_path / "in", 0, 2)])
    rebuild(store)
    mapped = load_arrays(arrays_path(store))
    expected = mapped.cells.tobytes()
    add_folders(store, [session_folder(tmp_path / "in2", 1, 5)])
    newer = rebuild(store)
    publish_arrays(arrays_path(store), newer)
    assert mapped.cells.tobytes() == expected
    assert not np.array_equal(
        load_arrays(arrays_path(store)).cells["votes_1"], mapped.cells["votes_1"]
    )
    assert sorted(path.name for path in tmp_path.glob("*.tmp")) == []
