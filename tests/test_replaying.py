"""Replay through the command line: whole runs, and input that can't be used.

Method: small files are written byte by byte, then damaged; a run with one of them must end with
its exit code, one line that names file and byte, and nothing that looks like output.
"""

from __future__ import annotations

import datetime as dt
import io
import json
import subprocess
import sys
from collections.abc import Callable
from pathlib import Path
from types import SimpleNamespace
from typing import Any, cast

import databento_dbn
import numpy as np
import pytest
import zstandard

import ifd_fast
from ifd_fast import replaying, sources, streams
from ifd_fast.errors import DataError, IfdError
from tests.conftest import ROOT
from tests.strategies_wire import control, mbo

SECOND = 10**9
OPEN = 1_715_205_600 * SECOND  # 2024-05-08 17:00 Chicago
DAY = 86_400 * SECOND
START = (OPEN // DAY) * DAY


def header(schema: str = "mbo", start: int = START, end: int = START + 2 * DAY) -> bytes:
    """Return the header of a file of one future, ESM4 with id 7, on two days."""
    first, last = (np.datetime64(day // DAY, "D").astype(object) for day in (start, end + DAY))
    days = SimpleNamespace(start_date=first, end_date=last, symbol="7")
    metadata = databento_dbn.Metadata(
        dataset="GLBX.MDP3",
        start=start,
        end=end,
        schema=databento_dbn.Schema.from_str(schema),
        stype_in=databento_dbn.SType.from_str("raw_symbol"),
        stype_out=databento_dbn.SType.from_str("instrument_id"),
        symbols=["ESM4"],
        mappings=cast("Any", [SimpleNamespace(raw_symbol="ESM4", intervals=[days])]),
        ts_out=False,
        version=3,
    )
    return bytes(metadata)


def market(count: int = 3_000, *, first: int = 0, seed: int = 3) -> list[bytes]:
    """Return records of one future over two hours: quotes, and a trade in every third."""
    random = np.random.default_rng(seed)
    records = []
    for number in range(first, first + count):
        ts_event = OPEN + number * (7200 * SECOND // 3000) + int(random.integers(0, 10**6))
        side, order_id = "AB"[number % 2], number + 1
        price = 5_000_000_000_000 + (1 if side == "A" else -1) * int(random.integers(1, 9)) * 10**9
        action = "T" if number % 3 == 2 else "A"
        size = int(random.integers(1, 20))
        fields: dict[str, Any] = {"side": side, "order_id": order_id, "price": price, "size": size}
        times: dict[str, Any] = {"ts_event": ts_event, "ts_recv": ts_event + 100_000}
        records.append(mbo(action=action, instrument_id=7, **fields, **times))
    return records


def write(path: Path, records: list[bytes], **fields: Any) -> Path:
    """Write a file, compressed if its name says so."""
    data = header(**fields) + b"".join(records)
    if path.suffix == ".zst":
        data = zstandard.ZstdCompressor(write_checksum=True).compress(data)
    path.write_bytes(data)
    return path


MAIN = "from ifd_fast.cli import main; main()"


def ifd(*arguments: object) -> subprocess.CompletedProcess[str]:
    """Run the command line in a process of its own."""
    command = [sys.executable, "-c", MAIN, *map(str, arguments)]
    return subprocess.run(command, capture_output=True, text=True, check=False, cwd=ROOT)


def fails(path: Path, out: Path) -> IfdError:
    """Replay `path` to `out`; return the error, having seen that nothing was written."""
    with pytest.raises(IfdError) as caught:
        ifd_fast.replay(path, out=out)
    assert not out.exists() or not list(out.iterdir())
    assert str(path) in str(caught.value)
    return caught.value


# --- whole runs -----------------------------------------------------------------------------------
def test_every_record_has_an_account(tmp_path: Path) -> None:
    """Records read are applied, handed out or skipped, by reason and with the first offsets."""
    records = market(300)
    records[10:10] = [control(0x12), control(0x17), mbo()[:38] + b"?" + mbo()[39:]]
    path = write(tmp_path / "a.dbn", records)
    counts = ifd_fast.replay(path).counts
    assert (counts["records"], counts["events"], counts["handed_out"]) == (303, 300, 2)
    assert counts["skipped"] == {"bad_action": 1}
    assert counts["handed_by_type"] == {"status": 1, "system": 1}
    assert sum(counts["trades"].values()) == counts["applied"]["T"] == 100


def test_splitting_over_files_changes_nothing(tmp_path: Path) -> None:
    """One stream in one file, in two, or in two named the other way: one digest."""
    records, cut = market(), 1_500
    middle = OPEN + cut * (7200 * SECOND // 3000)
    whole = write(tmp_path / "whole.dbn.zst", records)
    one = write(tmp_path / "z.dbn", records[:cut], end=middle)
    two = write(tmp_path / "a.dbn.zst", records[cut:], start=middle)
    expected = ifd_fast.replay(whole)
    assert expected.windows.height == 24
    for files in ([one, two], [two, one]):
        actual = ifd_fast.replay(files)
        assert actual.windows.equals(expected.windows)
        assert actual.rows_digest == expected.rows_digest
        assert actual.facts_digest == expected.facts_digest


def test_memory_and_folder_agree(tmp_path: Path) -> None:
    """Frames kept in memory are those of the files; the report says what it counted."""
    path = write(tmp_path / "a.dbn", market(900))
    inside, outside = ifd_fast.replay(path), ifd_fast.replay(path, out=tmp_path / "run")
    for name in ("windows", "facts", "signals", "handovers", "instruments"):
        assert getattr(inside, name).equals(getattr(outside, name))
    document = json.loads((tmp_path / "run" / "session.json").read_text())
    assert document["counts"]["windows"] == inside.windows.height
    assert document["digests"]["rows_digest"] == inside.rows_digest
    assert sorted(path.name for path in (tmp_path / "run").iterdir()) == [
        *("facts.parquet", "handovers.parquet", "instruments.parquet", "session.json"),
        *("signals.parquet", "summary.txt", "windows.parquet"),
    ]


def test_window_flags_leave_facts_alone(tmp_path: Path) -> None:
    """Whatever windows are reported, facts are the tumbling ones of 300 s, to the last byte."""
    path = write(tmp_path / "a.dbn", market(900))
    plain = ifd_fast.replay(path)
    for window_s, step_s in [(60, 60), (300, 60), (3600, 300), (10, 5)]:
        other = ifd_fast.replay(path, window_s=window_s, window_step_s=step_s)
        assert other.facts.equals(plain.facts)
        assert other.windows["total_trades"].sum() >= plain.windows["total_trades"].sum()
        lengths = other.windows["window_end"] - other.windows["window_start"]
        assert (lengths <= dt.timedelta(seconds=window_s)).all()


def test_chunks_of_any_size_are_one_stream(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """Rows and signals don't depend on how many bytes are read at a time."""
    records = market(600)
    records[300:300] = [control(0x12)] * 3
    path = write(tmp_path / "a.dbn", records)
    expected = ifd_fast.replay(path)
    opened = streams.open_stream

    def open_small(chunk_bytes: int) -> Callable[..., Any]:
        def open_files(files: Any, definitions: Any = ()) -> Any:
            for source in opened(files, definitions):
                source.close()
            return [sources.open_source(file, chunk_bytes=chunk_bytes) for file in files]

        return open_files

    for chunk_bytes in (331, 1_000, 4_096):
        monkeypatch.setattr(replaying, "open_stream", open_small(chunk_bytes))
        actual = ifd_fast.replay(path)
        assert actual.rows_digest == expected.rows_digest
        assert actual.signals.equals(expected.signals)


# --- input that can't be used ---------------------------------------------------------------------
def test_a_truncated_file_names_the_byte(tmp_path: Path) -> None:
    """A file that ends inside a record: where the record began, what is there, exit code 3."""
    path = write(tmp_path / "a.dbn", market(100))
    data = path.read_bytes()
    path.write_bytes(data[:-20])
    error = fails(path, tmp_path / "run")
    assert error.exit_code == 3
    assert f"byte {len(data) - 56}: 36 of its 56 bytes" in str(error)


@pytest.mark.parametrize("lost", [1, 5, 100])
def test_a_truncated_frame_is_refused(tmp_path: Path, lost: int) -> None:
    """A compressed file whose frame has no end is truncated, however much is lost."""
    path = write(tmp_path / "a.dbn.zst", market(500))
    path.write_bytes(path.read_bytes()[:-lost])
    assert fails(path, tmp_path / "run").exit_code == 3


def test_flipped_bits_of_a_frame_are_refused(tmp_path: Path) -> None:
    """A compressed file with one bit flipped anywhere is refused by its checksum or sooner."""
    path = write(tmp_path / "a.dbn.zst", market(200))
    data = bytearray(path.read_bytes())
    for place in range(20, len(data), len(data) // 12):
        flipped = data.copy()
        flipped[place] ^= 16
        path.write_bytes(flipped)
        assert fails(path, tmp_path / "run").exit_code == 3


@pytest.mark.parametrize(
    ("content", "words"),
    [
        (b"", "is empty"),
        (b"PK\x03\x04" + bytes(200), "DBN"),
        (b"DBN\x04" + header()[4:], "version 4"),
        (b"DBZ\x01" + bytes(200), "DBZ"),
        (header()[:60], "header"),
        (header() + mbo() + b"\x00" * 56, "a header alone has 16"),
    ],
)
def test_foreign_bytes_are_refused(tmp_path: Path, content: bytes, words: str) -> None:
    """What is not DBN 1 to 3 is refused by what it is, with exit code 3."""
    path = tmp_path / "a.dbn"
    path.write_bytes(content)
    error = fails(path, tmp_path / "run")
    assert error.exit_code == 3
    assert words in str(error)


@pytest.mark.parametrize("schema", ["trades", "mbp-1", "ohlcv-1s", "definition"])
def test_other_schemas_are_refused(tmp_path: Path, schema: str) -> None:
    """A file of another schema is named with what it holds and what is needed."""
    error = fails(write(tmp_path / "a.dbn", [], schema=schema), tmp_path / "run")
    assert error.exit_code in {2, 3}
    assert schema in str(error)


def test_folders_and_missing_files_are_refused(tmp_path: Path) -> None:
    """A folder, or a file that isn't there, is bad input by name."""
    assert fails(tmp_path, tmp_path / "run").exit_code == 3
    assert fails(tmp_path / "none.dbn", tmp_path / "run").exit_code == 3


def test_a_file_without_permission_is_refused(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """No permission is bad input by name; the error is made up, as root may read everything."""
    path = write(tmp_path / "a.dbn", [])

    opened = Path.open

    def refuse(self: Path, *arguments: Any, **options: Any) -> Any:
        if self == path:
            raise PermissionError(13, "Permission denied")
        return opened(self, *arguments, **options)

    monkeypatch.setattr(Path, "open", refuse)
    with pytest.raises(DataError, match=r"a\.dbn: no permission"):
        ifd_fast.replay(path)


def test_a_run_that_fails_leaves_the_run_before(tmp_path: Path) -> None:
    """A second run into the same folder that can't finish keeps the first one's files."""
    good, bad = write(tmp_path / "a.dbn", market(300)), write(tmp_path / "b.dbn", market(300))
    bad.write_bytes(bad.read_bytes()[:-1])
    ifd_fast.replay(good, out=tmp_path / "run")
    before = {path.name: path.read_bytes() for path in (tmp_path / "run").iterdir()}
    with pytest.raises(DataError):
        ifd_fast.replay(bad, out=tmp_path / "run")
    assert {path.name: path.read_bytes() for path in (tmp_path / "run").iterdir()} == before


def test_the_command_line_says_it_in_one_line(tmp_path: Path) -> None:
    """Exit code 3, one line on stderr with file and byte, no traceback, no output."""
    path = write(tmp_path / "a.dbn", market(100))
    path.write_bytes(path.read_bytes()[:-20])
    done = ifd("replay", path, "--out", tmp_path / "run")
    assert done.returncode == 3, done.stderr
    assert done.stderr.startswith(f"error: {path}: ends inside the record at byte ")
    assert done.stderr.count("\n") == 1
    assert not list((tmp_path / "run").glob("*"))
    assert not list((tmp_path / "run").glob(".*"))


def test_wrong_usage_is_exit_code_2(tmp_path: Path) -> None:
    """No file, or windows that don't fit their step, is wrong usage."""
    path = write(tmp_path / "a.dbn", [])
    assert ifd("replay").returncode == 2
    done = ifd("replay", path, "--window", "300", "--window-step", "7")
    assert done.returncode == 2
    assert "window_step_s" in done.stderr


def test_a_replay_without_events_says_so(tmp_path: Path) -> None:
    """A day without a record is a run with empty files and no digest."""
    result = ifd_fast.replay(write(tmp_path / "a.dbn", []), out=tmp_path / "run")
    assert result.rows_digest is None
    assert result.windows.is_empty()


def test_a_store_that_cant_be_read_is_named(tmp_path: Path) -> None:
    """What goes wrong in the process that makes the baselines is raised here as it was there."""
    store = tmp_path / "store.duckdb"
    store.write_bytes(b"no database" * 1_000)
    data = header() + b"".join(market(30))
    with pytest.raises(DataError, match=r"store\.duckdb"):
        ifd_fast.replay(io.BytesIO(data), baselines=store)
