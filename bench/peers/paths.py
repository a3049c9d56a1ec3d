"""The ways users go from a DBN file to trades per instrument and five-minute window.

Each path is one function that does all of it and returns {(instrument, window): trades}; all must
agree. Each run is a process of its own, so that neither memory nor caches help the next. Imports
and, where a library needs them, the first call on a small slice are not timed.
"""

from __future__ import annotations

import argparse
import json
import resource
import time
from collections.abc import Callable
from pathlib import Path

import numpy as np

WINDOW_NS = 300_000_000_000
TRADE = ord("T")
CHUNK_RECORDS = 1 << 20

Table = dict[tuple[int, int], int]
Path_ = Callable[[Path], Table]
PATHS: dict[str, Path_] = {}


def path(function: Path_) -> Path_:
    """Register a way under its function's name."""
    PATHS[function.__name__] = function
    return function


def table(instruments: object, windows: object, counts: object) -> Table:
    """Return the table from three columns."""
    rows = zip(np.asarray(instruments), np.asarray(windows), np.asarray(counts), strict=True)
    return {(int(one), int(window)): int(count) for one, window, count in rows}


@path
def pandas_to_df(file: Path) -> Table:
    """`DBNStore.to_df()` as its documentation shows it, then groupby."""
    import databento

    frame = databento.DBNStore.from_file(file).to_df(map_symbols=False)
    trades = frame[frame["action"] == "T"]
    window = trades["ts_event"].astype("int64") // WINDOW_NS
    counts = trades.groupby([trades["instrument_id"], window]).size()
    return table(
        counts.index.get_level_values(0), counts.index.get_level_values(1), counts.to_numpy()
    )


@path
def pandas_to_df_load_alone(file: Path) -> Table:
    """`DBNStore.to_df()` alone, symbols mapped where the file has mappings; no table."""
    import databento

    databento.DBNStore.from_file(file).to_df()
    return {}


def polars_table(columns: dict[str, np.ndarray]) -> Table:
    """Return the table by polars from columns instrument_id, ts_event of trades."""
    import polars as pl

    frame = pl.DataFrame(columns).group_by(
        "instrument_id", (pl.col("ts_event") // WINDOW_NS).alias("window")
    )
    counted = frame.agg(pl.len().alias("count"))
    return table(counted["instrument_id"], counted["window"], counted["count"])


@path
def polars_to_ndarray(file: Path) -> Table:
    """`DBNStore.to_ndarray()` of the whole file, then polars filters and groups."""
    import databento
    import polars as pl

    records = databento.DBNStore.from_file(file).to_ndarray()
    frame = pl.DataFrame({name: records[name] for name in ("instrument_id", "ts_event", "action")})
    counted = (
        frame.filter(pl.col("action") == b"T")
        .group_by("instrument_id", (pl.col("ts_event") // WINDOW_NS).alias("window"))
        .agg(pl.len().alias("count"))
    )
    return table(counted["instrument_id"], counted["window"], counted["count"])


@path
def polars_expert(file: Path) -> Table:
    """`to_ndarray(count=...)` in chunks, NumPy masks the trades, polars groups what is left."""
    import databento

    instruments, times = [], []
    for chunk in databento.DBNStore.from_file(file).to_ndarray(count=CHUNK_RECORDS):
        traded = chunk["action"] == b"T"
        instruments.append(chunk["instrument_id"][traded])
        times.append(chunk["ts_event"][traded])
    return polars_table(
        {"instrument_id": np.concatenate(instruments), "ts_event": np.concatenate(times)}
    )


def parquet_of(file: Path) -> Path:
    """Return a Parquet file of four columns, made once and not timed."""
    import databento
    import polars as pl

    target = file.with_name(file.name + ".parquet")
    if not target.exists():
        records = databento.DBNStore.from_file(file).to_ndarray()
        names = ("instrument_id", "ts_event", "action", "size")
        pl.DataFrame({name: np.ascontiguousarray(records[name]) for name in names}).write_parquet(
            target
        )
    return target


@path
def duckdb_on_parquet(file: Path) -> Table:
    """DuckDB on a Parquet file of four columns; making that file is not timed."""
    import duckdb

    rows = duckdb.sql(
        f"select instrument_id, ts_event // {WINDOW_NS}, count(*) "  # noqa: S608  # our own path
        f"from '{parquet_of(file)}' where action = 'T'::blob group by all"
    ).fetchall()
    return {(one, window): count for one, window, count in rows}


@path
def zstd_alone(file: Path) -> Table:
    """Decompress the file, or read it if it is not compressed, and do nothing else: the floor."""
    import zstandard

    buffer = bytearray(1 << 20)
    with file.open("rb") as raw:
        plain = file.suffix != ".zst"
        source = raw if plain else zstandard.ZstdDecompressor().stream_reader(raw)
        while source.readinto(buffer):
            pass
    return {}


def header_bytes(file: Path) -> int:
    """Return how many bytes of a plain DBN file come before its first record."""
    with file.open("rb") as raw:
        return 8 + int.from_bytes(raw.read(8)[4:], "little")


def count_records(file: Path) -> int:
    """Return the MBO records of a file; the plain file must lie beside a compressed one."""
    plain = file.with_suffix("") if file.suffix == ".zst" else file
    return (plain.stat().st_size - header_bytes(plain)) // 56


def digest(counted: Table) -> str:
    """Return a number that equal tables share."""
    mixed = sum(
        (one * 1_000_003 + window) * 1_000_033 * count for (one, window), count in counted.items()
    )
    return f"{mixed % (1 << 61):x}"


def measure(name: str, file: Path, rounds: int) -> dict[str, object]:
    """Run one path `rounds` times and return the middle of the seconds."""
    if name == "duckdb_on_parquet":
        parquet_of(file)
    seconds = []
    for _ in range(rounds):
        started = time.perf_counter()
        counted = PATHS[name](file)
        seconds.append(time.perf_counter() - started)
    records = count_records(file)
    middle = sorted(seconds)[len(seconds) // 2]
    return {
        "path": name,
        "file": file.name,
        "records": records,
        "seconds": round(middle, 4),
        "records_per_s": round(records / middle),
        "trades": sum(counted.values()) or None,
        "digest": digest(counted) if counted else None,
        "resident_mb": resource.getrusage(resource.RUSAGE_SELF).ru_maxrss // 1024,
    }


def main() -> None:
    """Measure the path named on the command line and print one line of JSON."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("path", choices=sorted(PATHS))
    parser.add_argument("file", type=Path)
    parser.add_argument("--rounds", type=int, default=3)
    arguments = parser.parse_args()
    if arguments.path != "zstd_alone":
        import databento  # noqa: F401  # start-up is not what is compared
        import polars as pl  # noqa: F401
    print(json.dumps(measure(arguments.path, arguments.file, arguments.rounds)))


if __name__ == "__main__":
    main()
