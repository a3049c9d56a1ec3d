"""`ifd diff`: runs by two commands are equal; what thresholds change is said, with the gate."""

from __future__ import annotations

import json
from pathlib import Path

import polars as pl
import pytest

from ifd_fast.errors import DataError, UsageError
from ifd_fast.replaying import replay
from ifd_fast.run_differences import compare_runs
from ifd_fast.runs import Run, open_run
from tests.strategies_rescore import clean, files_of, market, report, run, run_here
from tests.strategies_runs import invoke

pytestmark = [pytest.mark.jit, pytest.mark.slow]


@pytest.fixture(autouse=True)
def here(monkeypatch: pytest.MonkeyPatch) -> None:
    """Run tasks in this process."""
    run_here(monkeypatch)


def scored_by(folder: Path, keys: str, name: str = "other") -> Run:
    """Return the clean run's sessions scored with other keys of [scoring]."""
    profile = folder / f"{name}.toml"
    profile.write_text(f'base = "ifd_v3_testing"\n[scoring]\n{keys}\n')
    run((clean(),), folder / name, profile=profile)
    return open_run(folder / name)


def test_a_run_equals_itself_and_its_replay(tmp_path: Path) -> None:
    """A session replayed to files, and the same one scored again: nothing differs."""
    last = report(clean())["sessions"][-1]["trade_date"].replace("-", "")
    files = [path for path in files_of(market()) if last in path.name]
    store = clean() / "baselines.duckdb"
    replay(files, profile="ifd_v3_testing", baselines=store, out=tmp_path / "replayed")
    run(tuple(files), tmp_path / "scored", baselines=store)
    found = compare_runs(open_run(tmp_path / "replayed"), open_run(tmp_path / "scored"))
    assert found.counts.keys() == {"same"}
    assert found.counts["same"] >= 3
    assert found.settings == []
    assert found.sessions["baselines_same"].all()
    itself = compare_runs(open_run(clean()), open_run(clean()))
    assert itself.is_equal
    assert not itself.code


def test_lost_alerts_name_the_gate(tmp_path: Path) -> None:
    """A harder threshold loses alerts, and each says that it was stopped by it; the way back."""
    loose = scored_by(tmp_path, "false_alerts_per_session = 20.0", "loose")
    strict = scored_by(
        tmp_path, "false_alerts_per_session = 20.0\nmin_pressure_ratio = 30.0", "strict"
    )
    found = compare_runs(loose, strict)
    lost = found.episodes.filter(pl.col("change") == "lost")
    assert lost.height > 0
    stopped = lost.filter(pl.col("status_b") == "candidate")["reason"].to_list()
    assert stopped
    assert all("stopped by min_pressure_ratio" in text for text in stopped)
    assert found.settings == ["`scoring.min_pressure_ratio` is 30.0, not 2.0"] or found.settings
    assert found.sessions["windows_same"].all()
    back = compare_runs(strict, loose)
    assert back.counts.get("gained") == found.counts["lost"]
    assert not found.is_equal


def test_other_sessions_and_bytes_are_told(tmp_path: Path) -> None:
    """A session that one run lacks; one whose windows are others."""
    files = files_of(market())
    days = sorted({path.name.split(".")[0] for path in files})
    fewer = tuple(path for path in files if days[-1] not in path.name)
    run(fewer, tmp_path / "fewer")
    found = compare_runs(open_run(clean()), open_run(tmp_path / "fewer"))
    assert found.sessions["in_b"].to_list() == [True, True, True, False]
    gone = found.episodes.filter(pl.col("trade_date") == found.episodes["trade_date"].max())
    assert gone.height > 0
    assert all("the session is in A alone" in text for text in gone["reason"])
    assert not found.is_equal


def test_an_episode_that_begins_later_has_moved(tmp_path: Path) -> None:
    """Less than a cooldown apart it is changed, not one lost and one gained."""
    one = scored_by(tmp_path, "false_alerts_per_session = 20.0", "one")
    frame = pl.read_parquet(one.files("signals")[-1])
    half_a_minute = pl.duration(seconds=30, time_unit="ns")
    times = [pl.col(name) + half_a_minute for name in ("timestamp", "episode_start")]
    later = frame.with_columns(times)
    later.write_parquet(one.files("signals")[-1])
    found = compare_runs(scored_by(tmp_path, "false_alerts_per_session = 20.0", "two"), one)
    date = frame["trade_date"][0]
    changes = found.episodes.filter(pl.col("trade_date") == date)["change"].unique().to_list()
    assert changes == ["changed"]


def test_the_command(tmp_path: Path) -> None:
    """Tables, JSON, a file, and an exit code for scripts."""
    other = scored_by(tmp_path, "min_overall_confidence = 0.95\nmarket_making_penalty = 1.0").path
    out = tmp_path / "episodes.parquet"
    done = invoke("diff", clean(), other, "--out", out, "--all")
    assert done.code == 0
    assert "min_overall_confidence" in done.output
    shown = json.loads(invoke("diff", clean(), other, "--json").output)
    assert sum(shown["counts"].values()) == pl.read_parquet(out).height
    assert invoke("diff", clean(), other, "--exit-code").code == 1
    assert invoke("diff", clean(), clean(), "--exit-code").code == 0


def test_what_is_no_run_is_refused(tmp_path: Path) -> None:
    """Nothing there; a report of something else; a run that did not end; files that are gone."""
    with pytest.raises(UsageError, match="holds no run"):
        open_run(tmp_path)
    (tmp_path / "session.json").write_text("{}")
    with pytest.raises(DataError, match="is no report"):
        open_run(tmp_path)
    (tmp_path / "rescore.json").write_text("{}")
    (tmp_path / "plan.json").write_text("{}")
    with pytest.raises(UsageError, match="did not end"):
        open_run(tmp_path)
    broken = scored_by(tmp_path, "cooldown_s = 60.0")
    broken.files("signals")[0].unlink()
    with pytest.raises(DataError, match="is missing"):
        compare_runs(broken, broken)
