"""`ifd rescore`: what it finds, what it does again, and what it refuses.

Method: four sessions of a small world are scored again once; other ways to the same sessions have
to leave the same bytes, and a replay of each has its digests.
"""

from __future__ import annotations

import fcntl
import shutil
from pathlib import Path
from typing import Any

import fsspec
import polars as pl
import pytest

from ifd_fast.errors import AlreadyRunningError, DataError, UsageError
from ifd_fast.replaying import replay
from tests.strategies_rescore import (
    SESSIONS,
    clean,
    files_of,
    market,
    report,
    run,
    run_here,
    tree,
)
from tests.strategies_runs import invoke
from tests.test_end_to_end import split_header

pytestmark = [pytest.mark.jit, pytest.mark.slow]

DAY_NS = 86_400_000_000_000
RECORD = 56


@pytest.fixture(autouse=True)
def here(monkeypatch: pytest.MonkeyPatch) -> None:
    """Run tasks in this process; tests/test_rescore_processes.py runs them in others."""
    run_here(monkeypatch)


def without_paths(out: Path) -> dict[str, str]:
    """Return `tree` without the units, which name their inputs by path."""
    return {name: digest for name, digest in tree(out).items() if not name.startswith("units")}


def test_each_session_is_its_replay() -> None:
    """Rows and signals of a session, scored against those before it."""
    found = report(clean())
    assert [one["trade_date"] for one in found["sessions"]] == sorted(
        one["trade_date"] for one in found["sessions"]
    )
    assert len(found["sessions"]) == SESSIONS
    for one in (found["sessions"][1], found["sessions"][-1]):
        day = one["trade_date"].replace("-", "")
        files = [path for path in files_of(market()) if day in path.name]
        assert len(files) == 2
        again = replay(files, profile="ifd_v3_testing", baselines=clean() / "baselines.duckdb")
        assert again.rows_digest == one["rows_digest"]
        assert again.signals_digest == one["signals_digest"]
        assert again.document["baselines"].get(one["trade_date"]) == one["baselines"]
    assert found["counts"]["signals"] >= 10
    assert not found["failed"]


def test_the_whole_run_has_the_digest_of_all_rows() -> None:
    """Sessions one after the other, as one stream would have them."""
    from ifd_fast.digests import RunDigests

    digests = RunDigests()
    for name, stage in (("windows", "sealed"), ("signals", "scored")):
        for path in sorted((clean() / stage).rglob(f"{name}.parquet")):
            digests.update(name, pl.read_parquet(path))
    assert digests.found == report(clean())["digests"]


def cut_by_day(path: Path, folder: Path) -> list[Path]:
    """Cut a session's file at midnight UTC, as Databento's files are."""
    header, records = split_header(path)
    begun, ended = (int.from_bytes(header[at : at + 8], "little") for at in (26, 34))
    midnight = (begun // DAY_NS + 1) * DAY_NS
    times = (int.from_bytes(records[at + 40 : at + 48], "little")
             for at in range(0, len(records), RECORD))  # fmt: skip
    at = RECORD * next(number for number, time_ns in enumerate(times) if time_ns >= midnight)
    parts = []
    for name, start_ns, end_ns, data in (
        ("first", begun, midnight, records[:at]),
        ("second", midnight, ended, records[at:]),
    ):
        edges = start_ns.to_bytes(8, "little") + end_ns.to_bytes(8, "little")
        parts.append(folder / f"{name}.mbo.dbn")
        parts[-1].write_bytes(header[:26] + edges + header[42:] + bytes(data))
    return parts


def test_files_by_utc_day_are_one_session(tmp_path: Path) -> None:
    """What a session has of the first file is there for the second: the same digests."""
    last = max(market().glob("*.mbo.dbn"))
    definitions = max(market().glob("*.definition.dbn*"))
    parts = cut_by_day(last, tmp_path)
    given: dict[str, Any] = {"baselines": clean() / "baselines.duckdb"}
    cut = run((*parts[::-1], definitions), tmp_path / "cut", **given).report
    (session,) = cut["sessions"]
    expected = report(clean())["sessions"][-1]
    same = ("trade_date", "rows_digest", "signals_digest", "baselines", "windows", "alerts")
    assert {name: session[name] for name in same} == {name: expected[name] for name in same}
    replayed = replay(
        [*parts, definitions], profile="ifd_v3_testing", baselines=clean() / "baselines.duckdb"
    )
    assert replayed.document["digests"] == cut["digests"]


def damaged(folder: Path) -> tuple[Path, ...]:
    """Return copies of the recordings, that of the second session cut inside a record."""
    shutil.copytree(market(), folder)
    second = sorted(folder.glob("*.mbo.dbn"))[1]
    second.write_bytes(second.read_bytes()[:-20])
    return files_of(folder)


def test_a_damaged_day_is_set_aside(tmp_path: Path) -> None:
    """It is named with its error, the others are found, and what was there of it is gone."""
    shutil.copytree(clean(), tmp_path / "out")
    files = damaged(tmp_path / "market")
    found = run(files, tmp_path / "out")
    (failed,) = found.failed
    assert "ends inside a record" in failed["error"] or "byte" in failed["error"]
    dates = [one["trade_date"] for one in found.report["sessions"]]
    whole = [one["trade_date"] for one in report(clean())["sessions"]]
    assert dates == [whole[0], *whole[2:]]
    assert any(f"removed: {whole[1]}" in note for note in found.notes)
    assert not list((tmp_path / "out").rglob(f"trade_date={whole[1]}"))
    done = invoke("rescore", *files, "--out", tmp_path / "other", "--profile", "ifd_v3_testing")
    assert done.code == 3
    assert failed["unit"] in done.output


def test_a_store_gives_what_files_give(tmp_path: Path) -> None:
    """From a URL, through copies, a session is the same; a file that can't be used is set aside."""
    store = fsspec.filesystem("memory")
    first = min(market().glob("*.mbo.dbn")).name.partition(".")[0]
    try:
        for path in market().glob(f"{first}.*.dbn*"):
            store.pipe(f"/recorded/{path.name}", path.read_bytes())
        store.pipe("/recorded/other.mbo.dbn", b"nothing of the kind")
        out = tmp_path / "out"
        done = invoke("rescore", "memory://recorded", "--out", out, "--profile", "ifd_v3_testing")
    finally:
        store.rm("/recorded", recursive=True)
    assert done.code == 3
    assert "memory://recorded/other.mbo.dbn" in done.output
    (session,) = report(out)["sessions"]
    assert session["rows_digest"] == report(clean())["sessions"][0]["rows_digest"]
    assert report(out)["failed"][0]["unit"] == "memory://recorded/other.mbo.dbn"


def test_only_what_changed_is_done_again(tmp_path: Path) -> None:
    """Nothing; scoring alone for other thresholds; one unit, and who is scored against it."""
    out, folder = tmp_path / "out", tmp_path / "market"
    shutil.copytree(clean(), out)
    shutil.copytree(market(), folder)
    again = run(files_of(folder), out)
    assert again.notes[0].startswith(f"stage (a): 0 of {SESSIONS} units sealed, {SESSIONS} were")
    assert again.notes[1].startswith(f"stage (b): 0 of {SESSIONS} sessions scored, {SESSIONS} st")
    (out / "baselines.duckdb").unlink()  # what it held is folded in again
    other = run(files_of(folder), out, profile="ifd_v3_production")
    assert other.report["sessions"][-1]["baselines"] is not None
    assert (out / "baselines.duckdb").is_file()
    assert other.notes[0].startswith(f"stage (a): 0 of {SESSIONS}")
    assert other.notes[1].startswith(f"stage (b): {SESSIONS} of {SESSIONS}")
    third = sorted(folder.glob("*.mbo.dbn"))[2]
    shutil.copy2(sorted(folder.glob("*.mbo.dbn"))[2], tmp_path / "kept")
    third.write_bytes(third.read_bytes()[: -400 * RECORD])
    changed = run(files_of(folder), out, profile="ifd_v3_production")
    assert any("its content is not what it was" in note for note in changed.notes)
    assert any("1 of 4 units sealed" in note for note in changed.notes)
    assert any("2 of 4 sessions scored" in note for note in changed.notes)


def test_an_earlier_result_is_scored_again(tmp_path: Path) -> None:
    """Without its inputs, by another profile: what a run over the recordings would find."""
    given: dict[str, Any] = {"profile": "ifd_v3_production"}
    expected = run(files_of(market()), tmp_path / "whole", **given)
    found = run((clean(),), tmp_path / "again", **given)
    assert "kept" in found.notes[0]
    assert found.report["digests"] == expected.report["digests"]
    assert without_paths(tmp_path / "again") == without_paths(tmp_path / "whole")
    narrow = tmp_path / "narrow.toml"
    narrow.write_text('base = "ifd_v3_testing"\n[windows]\nwindow_s = 60\nwindow_step_s = 60\n')
    with pytest.raises(UsageError, match="other windows"):
        run((clean(),), tmp_path / "narrow", profile=narrow)


def test_a_folder_is_one_runs(tmp_path: Path) -> None:
    """A second process is told who has it; what did not end is gone on with only if asked."""
    out = tmp_path / "out"
    out.mkdir()
    with (out / ".lock").open("a+") as file:
        fcntl.flock(file, fcntl.LOCK_EX)
        file.write("4711")
        file.flush()
        with pytest.raises(AlreadyRunningError, match="process 4711"):
            run(files_of(market()), out)
    (out / "plan.json").write_text("{}")
    with pytest.raises(UsageError, match="--resume"):
        run(files_of(market()), out)


def test_sources_that_do_not_go_together_are_refused(tmp_path: Path) -> None:
    """No market data; one session twice; and what nobody needs is named."""
    files = files_of(market())
    definitions = [path for path in files if "definition" in path.name]
    with pytest.raises(UsageError, match="No file of market data"):
        run(tuple(definitions), tmp_path / "none")
    first = min(market().glob("*.mbo.dbn"))
    twice = tmp_path / "twice.mbo.dbn"
    shutil.copy2(first, twice)
    with pytest.raises(UsageError, match="cover the same time"):
        run((first, twice), tmp_path / "twice")
    found = run((first, *definitions), tmp_path / "one")
    assert any(note.startswith("3 files belong to no market data") for note in found.notes)


def test_a_session_in_two_units_is_refused(tmp_path: Path) -> None:
    """Two parts of a session with a gap between them that is longer than the file says."""
    first = min(market().glob("*.mbo.dbn"))
    header, records = split_header(first)
    begun = int.from_bytes(header[26:34], "little")
    edges = begun.to_bytes(8, "little") + (begun + 1).to_bytes(8, "little")
    half = len(records) // RECORD // 2 * RECORD
    early, late = tmp_path / "early.mbo.dbn", tmp_path / "late.mbo.dbn"
    early.write_bytes(header[:26] + edges + header[42:] + bytes(records[:half]))
    middle = int.from_bytes(records[half + 40 : half + 48], "little")
    late.write_bytes(
        header[:26] + middle.to_bytes(8, "little") + header[34:] + bytes(records[half:])
    )
    definitions = min(market().glob("*.definition.dbn*"))
    with pytest.raises(DataError, match="both hold the session"):
        run((early, late, definitions), tmp_path / "out")
