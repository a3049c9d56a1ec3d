"""The folder of a run: whole files under their final names, or nothing."""

from __future__ import annotations

import errno
import json
import os
import subprocess
import sys
from pathlib import Path

import polars as pl
import pytest

from ifd_fast.errors import IfdError, UsageError
from ifd_fast.outputs import RunFolder

SCHEMA = pl.Schema({"number": pl.Int64(), "text": pl.String()})
FRAME = pl.DataFrame({"number": [1, 2, None], "text": ["a", None, "c"]}, schema=SCHEMA)


def names(folder: Path) -> list[str]:
    """Return all that lies in a folder, hidden files too."""
    return sorted(path.name for path in folder.iterdir())


def test_files_appear_at_the_end(tmp_path: Path) -> None:
    """Within the run its files are hidden; then they are whole, and nothing else is left."""
    with RunFolder(tmp_path / "deep" / "run", {"ifd.key": "value"}) as folder:
        folder.frame_file("rows.parquet", SCHEMA).append(FRAME)
        folder.frame_file("rows.parquet", SCHEMA).append(FRAME)
        folder.write_json("session.json", {"rows": 6})
        folder.write_text("summary.txt", "six rows, é")
        assert all(name.startswith(".") for name in names(folder.path))
    assert names(folder.path) == ["rows.parquet", "session.json", "summary.txt"]
    assert pl.read_parquet(folder.path / "rows.parquet").equals(pl.concat([FRAME, FRAME]))
    assert json.loads((folder.path / "session.json").read_text()) == {"rows": 6}
    assert (folder.path / "summary.txt").read_text(encoding="utf-8") == "six rows, é"


def test_a_run_that_fails_leaves_what_was_there(tmp_path: Path) -> None:
    """An error inside the run goes on to the caller; the files of the run before stay."""
    (tmp_path / "rows.parquet").write_bytes(b"before")

    def fail() -> None:
        with RunFolder(tmp_path, {}) as folder:
            folder.frame_file("rows.parquet", SCHEMA).append(FRAME)
            raise ZeroDivisionError

    with pytest.raises(ZeroDivisionError):
        fail()
    assert names(tmp_path) == ["rows.parquet"]
    assert (tmp_path / "rows.parquet").read_bytes() == b"before"


def test_no_rows_are_an_empty_file(tmp_path: Path) -> None:
    """A file without rows has its columns all the same."""
    with RunFolder(tmp_path, {}) as folder:
        folder.frame_file("rows.parquet", SCHEMA)
    assert pl.read_parquet(tmp_path / "rows.parquet").schema == SCHEMA


def test_a_folder_that_cannot_be_made_is_named(tmp_path: Path) -> None:
    """A file in the way is wrong usage, by the option's name."""
    (tmp_path / "file").touch()
    with pytest.raises(UsageError, match="--out"):
        RunFolder(tmp_path / "file" / "run", {})


def test_a_full_disk_at_the_end_leaves_nothing(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """If the disk is full when files are made durable, the error says so and none appears."""

    def full(_descriptor: int) -> None:
        raise OSError(errno.ENOSPC, os.strerror(errno.ENOSPC))

    def write() -> None:
        with RunFolder(tmp_path, {}) as folder:
            folder.frame_file("rows.parquet", SCHEMA).append(FRAME)
            monkeypatch.setattr(os, "fsync", full)

    with pytest.raises(IfdError, match="No space left"):
        write()
    assert names(tmp_path) == []


LIMITED = """
import resource, signal, sys
import polars as pl, pyarrow.parquet
from ifd_fast.errors import IfdError
from ifd_fast.outputs import RunFolder
signal.signal(signal.SIGXFSZ, signal.SIG_IGN)
frame = pl.DataFrame({"number": pl.int_range(200_000, eager=True).shuffle(1)})
resource.setrlimit(resource.RLIMIT_FSIZE, (20_000, 20_000))
try:
    with RunFolder(sys.argv[1], {}) as folder:
        folder.frame_file("rows.parquet", frame.schema).append(frame)
except IfdError as error:
    print(error)
    sys.exit(error.exit_code)
"""


def test_a_file_that_cannot_grow_leaves_nothing(tmp_path: Path) -> None:
    """A real write error, here a limit on a file's size, ends in one clear error and no file."""
    done = subprocess.run(
        [sys.executable, "-c", LIMITED, str(tmp_path)], capture_output=True, text=True, check=False
    )
    assert done.returncode == 1, done.stderr
    assert done.stdout.startswith(f"Writing to {tmp_path} failed: ")
    assert "File too large. Nothing was written" in done.stdout
    assert names(tmp_path) == []
