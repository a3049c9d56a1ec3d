"""What a re-scoring takes of its sources: by header, records as such, the rest named."""

from __future__ import annotations

import datetime as dt
from pathlib import Path

import pytest

from ifd_fast.errors import DataError
from ifd_fast.record_files import JOURNAL
from ifd_fast.rescore_files import RescoreFolder
from ifd_fast.rescore_sources import Chosen, choose_sources
from tests.strategies_batch import day_file, write_batch

pytestmark = pytest.mark.border

DAYS = [dt.date(2025, 6, 9), dt.date(2025, 6, 10)]


@pytest.fixture
def history(tmp_path: Path) -> Path:
    """Return a folder with two batch jobs, a live record, a re-scoring, and other files."""
    folder = tmp_path / "history"
    write_batch(folder / "JOB-1", "mbo", DAYS, "degraded")
    write_batch(folder / "JOB-2", "statistics", DAYS)
    for name, file in (("record", JOURNAL), ("run", "rescore.json")):
        (folder / name).mkdir()
        (folder / name / file).write_text("{}")
        (folder / name / "0001.mbo.dbn.zst").write_bytes(day_file("mbo", DAYS[0]))
    (folder / "notes.txt").write_text("mine")
    return folder


def choose(*sources: object, out: Path | None = None) -> Chosen:
    """Return what is taken of sources."""
    folder = out or Path("out")
    return choose_sources([str(one) for one in sources], RescoreFolder(folder), folder / "sources")


def test_a_folder_gives_files_records_and_notes(history: Path) -> None:
    """Market data by header; a record as one; results below, other schemas and files are left."""
    chosen = choose(history)
    assert [one.name for one in chosen.paths] == [
        "record",
        "glbx-mdp3-20250609.mbo.dbn.zst",
        "glbx-mdp3-20250610.mbo.dbn.zst",
    ]
    assert not chosen.refused
    schemas, others, *days = chosen.notes
    assert schemas.startswith("2 files of other schemas, unused: ")
    assert others == f"1 other files, not looked at: {history / 'notes.txt'}"
    assert days == ["2025-06-09 is degraded", "2025-06-10 is degraded"]


def test_what_is_whole_is_taken_as_it_is(history: Path) -> None:
    """A record and a re-scoring that are sources themselves are not looked into."""
    assert choose(history / "run").paths == (history / "run",)
    chosen = choose(history / "record", history / "JOB-1" / "*0609*")
    assert [one.name for one in chosen.paths] == ["record", "glbx-mdp3-20250609.mbo.dbn.zst"]
    (history / "alone").mkdir()
    (history / "record").rename(history / "alone" / "record")
    assert choose(history / "alone").paths == (history / "alone" / "record",)


def test_a_wrong_file_is_set_aside(history: Path) -> None:
    """What doesn't fit its manifest is refused by name, the rest is taken; alone it fails."""
    (history / "JOB-1" / "glbx-mdp3-20250609.mbo.dbn.zst").write_bytes(b"cut")
    chosen = choose(history / "JOB-1")
    assert [one.name for one in chosen.paths] == ["glbx-mdp3-20250610.mbo.dbn.zst"]
    ((name, reason),) = chosen.refused
    assert name.endswith("20250609.mbo.dbn.zst")
    assert "its manifest says" in reason
    with pytest.raises(DataError, match=r"1 sources can't be used:\n  .*0609"):
        choose(history / "JOB-1" / "glbx-mdp3-20250609.mbo.dbn.zst")


def test_the_run_itself_is_no_source(history: Path) -> None:
    """What a run has copied into its own folder below a source is not found again."""
    out = history / "mine"
    (out / "sources").mkdir(parents=True)
    (out / "sources" / "a.mbo.dbn.zst").write_bytes(day_file("mbo", DAYS[0]))
    assert not any("mine" in str(one) for one in choose(history, out=out).paths)


def test_a_digest_that_is_known_is_not_computed(history: Path, tmp_path: Path) -> None:
    """A file that stands as the run's inputs have it is not read for its checksum."""
    folder = RescoreFolder(tmp_path / "out")
    folder.path.mkdir()
    first = history / "JOB-1" / "glbx-mdp3-20250609.mbo.dbn.zst"
    folder.digest_inputs([first])
    known = folder.digest_of(first)
    size = first.stat()
    assert choose(first, out=folder.path).paths == (first,)
    folder.write("inputs.json", {str(first.resolve()): [size.st_size, size.st_mtime_ns, "0" * 64]})
    with pytest.raises(DataError, match="SHA-256 000000000000"):
        choose(first, out=folder.path)
    assert known != "0" * 64
