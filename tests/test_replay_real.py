"""Real recordings, replayed through every door, give the answers that are known of them."""

from __future__ import annotations

import datetime as dt
import hashlib
from collections.abc import Callable
from itertools import pairwise
from pathlib import Path
from random import Random

import databento
import duckdb
import polars as pl
import pytest
from click.testing import CliRunner

import ifd_fast
from ifd_fast.calendar import load_sessions
from ifd_fast.cli import group
from ifd_fast.engine import FlowEngine
from ifd_fast.errors import SchemaError
from ifd_fast.framing import Framer
from ifd_fast.profiles import Profile
from tests.real_records import read_bytes

pytestmark = pytest.mark.jit  # 24,000 real records, 200 times over

ESH4 = "glbx/futures/esh4-20231225-first24000.mbo.dbn.zst"
ESH4_SNAPSHOT = "glbx/futures/esh4-20231224-snapshot.mbo.dbn.zst"
ESM4 = "glbx/futures/esm4-20240508.mbo.dbn.zst"
ESM4_DEFINITION = "glbx/futures/esm4.definition.dbn.zst"
OTHER_DAY = "glbx/options/es-opt-20230801.definition.dbn.zst"
COLUMNS = (  # the contract's, in its order
    *("window_start", "window_end", "trade_date", "instrument_id", "symbol", "root"),
    *("underlying", "expiration", "strike", "option_type", "bid_volume", "ask_volume"),
    *("unknown_volume", "pressure_ratio", "total_trades", "avg_trade_size", "dominant_side"),
    *("confidence", "bid_price", "ask_price", "ofi", "underlying_price", "quality"),
)
FILES = ("windows.parquet", "signals.parquet", "facts.parquet", "instruments.parquet")

Find = Callable[[str], Path]


def run(*arguments: object) -> str:
    """Run `ifd replay`; return what it prints."""
    result = CliRunner().invoke(group, ["replay", *map(str, arguments)], catch_exceptions=False)
    assert result.exit_code == 0, result.output
    return result.output


def utc(*parts: int) -> dt.datetime:
    """Return a time in UTC."""
    return dt.datetime(*parts, tzinfo=dt.UTC)  # type: ignore[misc,arg-type]  # never a tzinfo


def test_known_windows_of_the_opening_auction(real_data: Find, tmp_path: Path) -> None:
    """ESH4's first windows hold the volumes, trades and unknown lots that are known of them."""
    printed = run(real_data(ESH4), "--out", tmp_path / "run")
    assert "24,000" in printed
    windows = pl.read_parquet(tmp_path / "run" / "windows.parquet")
    assert windows.columns == list(COLUMNS)
    known = windows.select(
        "window_start", "bid_volume", "ask_volume", "unknown_volume", "total_trades"
    ).rows()
    assert known == [
        (utc(2023, 12, 25, 23, 0), 573, 777, 44, 582),
        (utc(2023, 12, 25, 23, 5), 261, 193, 0, 166),
    ]
    first = windows.row(0, named=True)
    assert (first["symbol"], first["root"], first["option_type"]) == ("ESH4", "ES", "F")
    assert first["trade_date"] == dt.date(2023, 12, 26)
    assert first["strike"] is None
    assert first["underlying_price"] is None
    assert first["pressure_ratio"] == 777 / 573
    assert first["avg_trade_size"] == (573 + 777 + 44) / 582
    assert first["dominant_side"] == "NEUTRAL"
    last = windows.row(1, named=True)
    assert (last["bid_price"], last["ask_price"]) == (4806.5, 4806.75)


def test_duckdb_and_polars_read_the_same_files(real_data: Find, tmp_path: Path) -> None:
    """Each file of a run is whole Parquet to both, with the contract's columns and types."""
    run(real_data(ESH4), "--out", tmp_path, "--quiet")
    for name in FILES:
        expected = pl.read_parquet(tmp_path / name)
        with duckdb.connect() as database:
            described = database.execute(f"describe from '{tmp_path / name}'").fetchall()
            assert [column[0] for column in described] == expected.columns
            counted = database.execute(f"select count(*) from '{tmp_path / name}'")  # noqa: S608
            assert counted.fetchall() == [(expected.height,)]
    with duckdb.connect() as database:
        columns = "typeof(window_end), epoch_ns(window_end), ask_volume"
        query = f"select {columns} from '{tmp_path / 'windows.parquet'}'"  # noqa: S608
        rows = database.execute(query).fetchall()
        assert rows[0] == ("TIMESTAMPTZ_NS", 1_703_545_500_000_000_000, 777)
    assert (tmp_path / "session.json").is_file()
    assert (tmp_path / "summary.txt").is_file()


def test_known_records_of_esh4(real_data: Find) -> None:
    """Every record has its account: 24,000 by action, 748 trades, 9,970 orders left."""
    counts = ifd_fast.replay(real_data(ESH4)).counts
    assert counts["records"] == 24_000
    applied = {"A": 14_115, "C": 4_145, "M": 3_657, "T": 748, "F": 1_335, "R": 0, "N": 0}
    assert counts["applied"] == applied
    assert counts["trades"]["counted"] == 748
    assert counts["live_orders"] == 9_970
    assert counts["windows"] == 2


def test_known_windows_of_esm4(real_data: Find, tmp_path: Path) -> None:
    """ESM4: two seconds live after a snapshot, six contracts bought in five trades."""
    run(real_data(ESM4), "--definitions", real_data(ESM4_DEFINITION), "--out", tmp_path)
    windows = pl.read_parquet(tmp_path / "windows.parquet")
    assert windows.columns == list(COLUMNS)
    row = windows.row(0, named=True)
    assert windows.height == 1
    assert (row["bid_volume"], row["ask_volume"], row["total_trades"]) == (0, 6, 5)
    assert row["pressure_ratio"] == float("inf")
    assert (row["symbol"], row["dominant_side"], row["quality"]) == ("ESM4", "BUY", "F")
    assert (row["bid_price"], row["ask_price"]) == (5214.0, 5214.25)


def from_file(path: Path) -> databento.DBNStore:
    """Return a store that reads `path`; it leaves its file open, which would fail another test."""
    store = databento.DBNStore.from_file(path)
    store.reader.close()
    return store


def test_a_store_is_as_good_as_its_file(real_data: Find) -> None:
    """A path, a DBNStore from a file and one from bytes give one digest."""
    path = real_data(ESH4)
    expected = ifd_fast.replay(path)
    assert expected.rows_digest is not None
    for store in (databento.DBNStore.from_bytes(path.read_bytes()), from_file(path)):
        actual = ifd_fast.replay(store)
        assert actual.rows_digest == expected.rows_digest
        assert actual.windows.equals(expected.windows)


def test_definitions_of_another_day_are_refused(real_data: Find, tmp_path: Path) -> None:
    """An id means something for a day only: the message names both days, nothing is written."""
    with pytest.raises(SchemaError, match="2023-08-01"):
        ifd_fast.replay(real_data(ESH4), definitions=[real_data(OTHER_DAY)], out=tmp_path / "run")
    assert not list((tmp_path / "run").glob("*"))


def test_files_of_one_stream_in_any_order(real_data: Find) -> None:
    """A snapshot file and the day after it are one stream, whatever the order of naming them."""
    files = [real_data(ESH4_SNAPSHOT), real_data(ESH4)]
    one, other = ifd_fast.replay(files), ifd_fast.replay(files[::-1])
    assert one.rows_digest == other.rows_digest
    assert one.counts["live_orders"] == 9_970  # the same ids open the second: nothing doubles
    assert one.windows["total_trades"].to_list() == [582, 166]


def test_the_digest_of_two_runs_is_one(real_data: Find, tmp_path: Path) -> None:
    """Two runs write the same bytes of rows, and the digest in session.json says so."""
    digests = set()
    for name in ("one", "two"):
        result = ifd_fast.replay(real_data(ESH4), out=tmp_path / name)
        rows = (tmp_path / name / "windows.parquet").read_bytes()
        digests.add((result.rows_digest, hashlib.sha256(rows).hexdigest()))
    assert len(digests) == 1


def test_raw_and_compressed_are_one(real_data: Find, tmp_path: Path) -> None:
    """The decompressed file gives the digest of the compressed one."""
    raw = tmp_path / "raw.dbn"
    raw.write_bytes(read_bytes(real_data(ESH4)))
    assert ifd_fast.replay(raw).rows_digest == ifd_fast.replay(real_data(ESH4)).rows_digest


def pieces(data: bytes, header_bytes: int, edges: list[int]) -> FlowEngine:
    """Return an engine that has been fed the records of a file, cut at `edges`."""
    engine = FlowEngine(Profile(), load_sessions())
    engine.instruments.add_mapping(17077, "ESH4")
    engine.use_slots()
    framer = Framer(engine.state.ring, 1)
    for start, stop in pairwise([header_bytes, *edges, len(data)]):
        engine.feed(framer, data[start:stop])
    framer.finish()
    engine.flush()
    return engine


def test_any_chunks_of_a_real_file_are_one_stream(real_data: Find) -> None:
    """Byte by byte once, and cut at random 200 times: the same rows, the same 4,576 BBO changes."""
    data = read_bytes(real_data(ESH4))
    head = 8 + int.from_bytes(data[4:8], "little")
    whole = pieces(data, head, [])
    expected = whole.take_rows()
    assert int(whole.state.book.touch["changes"].sum()) == 4_576
    assert expected["trades"].tolist() == [582, 166]
    random = Random(1)
    for cuts in [2, 3, 5, 10, 100] * 40:
        edges = sorted(random.sample(range(head + 1, len(data)), cuts))
        actual = pieces(data, head, edges).take_rows()
        assert actual.tobytes() == expected.tobytes()
    single = pieces(data[: head + 56 * 10_500], head, list(range(head + 1, head + 56 * 10_500)))
    begun = pieces(data[: head + 56 * 10_500], head, []).take_rows()
    assert len(begun) == 1
    assert single.take_rows().tobytes() == begun.tobytes()
