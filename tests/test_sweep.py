"""`ifd sweep`: a set finds what a re-scoring by that profile finds; truth is held against it."""

from __future__ import annotations

import datetime as dt
import json
from pathlib import Path
from typing import Any

import polars as pl
import pytest

from ifd_fast.errors import ConfigError, UsageError
from ifd_fast.executing import Workers
from ifd_fast.sweeping import parse_sets, sweep
from ifd_fast.truth import (
    CHILDREN_SCHEMA,
    RATES_SCHEMA,
    SEASON_SCHEMA,
    TRUTH_SCHEMA,
    Truth,
    write_truth,
)
from tests.strategies_rescore import clean, files_of, market, report, run, run_here
from tests.strategies_runs import invoke

pytestmark = [pytest.mark.jit, pytest.mark.slow]
LOOSE = 'base = "ifd_v3_testing"\n[scoring]\nfalse_alerts_per_session = 20.0\n'


@pytest.fixture(autouse=True)
def here(monkeypatch: pytest.MonkeyPatch) -> None:
    """Run tasks in this process."""
    run_here(monkeypatch)


def test_a_set_is_what_a_run_finds(tmp_path: Path) -> None:
    """Each combination once, in order, with the counts of a re-scoring by that profile."""
    (tmp_path / "loose.toml").write_text(LOOSE)
    sets = parse_sets(["false_alerts_per_session=0.01,20", "scoring.min_data_quality=0, 1"])
    found = sweep(clean(), sets, Workers())
    assert found.sets.select(*sets).rows() == [(0.01, 0.0), (0.01, 1.0), (20.0, 0.0), (20.0, 1.0)]
    assert found.sessions.height == 4 * len(report(clean())["sessions"])
    expected = run((clean(),), tmp_path / "again", profile=tmp_path / "loose.toml").report
    base = report(clean())["settings"]["scoring"]["min_data_quality"]
    same = sweep(
        clean(), {"false_alerts_per_session": [20.0], "min_data_quality": [base]}, Workers()
    )
    counts = same.sets.select("candidates", "alerts").row(0)
    assert counts == (expected["counts"]["candidates"], expected["counts"]["alerts"])
    by_session = same.sessions.sort("trade_date")["candidates"].to_list()
    assert by_session == [one["candidates"] for one in expected["sessions"]]
    alerts = found.sets["alerts"].to_list()
    assert alerts[0] <= alerts[2]
    assert alerts[1] <= alerts[0]
    assert expected["counts"]["alerts"] > 0


def plant(folder: Path, alert: dict[str, Any], side: int) -> None:
    """Write a truth in which one metaorder ran for an hour from an alert on."""
    row = dict.fromkeys(TRUTH_SCHEMA.names()) | {
        "label_id": 1, "kind": "metaorder", "positive": True, "side": side,
        "instrument_id": alert["instrument_id"], "start": alert["timestamp"],
        "end": alert["timestamp"] + dt.timedelta(hours=1),
    }  # fmt: skip
    empty = (pl.DataFrame(schema=one) for one in (CHILDREN_SCHEMA, RATES_SCHEMA, SEASON_SCHEMA))
    truth = Truth(pl.DataFrame([row], schema=TRUTH_SCHEMA), *empty)
    write_truth(folder, f"glbx-mdp3-{alert['trade_date']:%Y%m%d}", truth)


def test_alerts_are_held_against_the_truth(tmp_path: Path) -> None:
    """What an alert matches is found, other alerts of that session are false."""
    sets = {"false_alerts_per_session": [20.0]}
    again = run((clean(),), tmp_path / "again", profile=write(tmp_path, LOOSE))
    signals = pl.read_parquet(tmp_path / "again" / "scored" / "**" / "signals.parquet")
    alerts = signals.filter("alert").sort("timestamp")
    first = alerts.row(0, named=True)
    side = 1 if first["dominant_side"] == "BUY" else -1
    plant(tmp_path, first, side)
    found = sweep(tmp_path / "again", sets, Workers(), truth=tmp_path)
    row = found.sets.row(0, named=True)
    assert (row["planted"], row["found"], row["judged"], row["recall"]) == (1, 1, 1, 1.0)
    that_day = alerts.filter(pl.col("trade_date") == first["trade_date"])["signal_id"].n_unique()
    assert 0 <= row["false"] < that_day
    plant(tmp_path, first, -side)
    missed = sweep(tmp_path / "again", sets, Workers(), truth=tmp_path).sets.row(0, named=True)
    assert (missed["found"], missed["false"]) == (0, that_day)
    assert again.report["counts"]["alerts"] > 0


def write(folder: Path, text: str) -> Path:
    """Return a profile's file."""
    (folder / "profile.toml").write_text(text)
    return folder / "profile.toml"


def test_the_command_prints_and_writes(tmp_path: Path) -> None:
    """A table, JSON, and a file of a row a set and session."""
    out = tmp_path / "sets.parquet"
    done = invoke("sweep", clean(), "--set", "min_pressure_ratio=1.5,40", "--out", out)
    assert done.code == 0
    assert "40" in done.output
    assert pl.read_parquet(out).height == 2 * len(report(clean())["sessions"])
    done = invoke("sweep", clean(), "--set", "min_pressure_ratio=1.5", "--json")
    (row,) = json.loads(done.output.splitlines()[-1])
    assert row["min_pressure_ratio"] == 1.5
    assert invoke("sweep", clean(), "--set", "cooldown_s=1", "--out", "sets.xls").code == 2


@pytest.mark.parametrize(
    ("text", "error", "says"),
    [
        ("min_pressure=1", ConfigError, "min_pressure_ratio"),
        ("min_pressure_ratio=", UsageError, "with its values"),
        ("min_pressure_ratio=0.5", ConfigError, "within 1.0 to 100.0"),
        ("lookback_days=5", UsageError, "changes more than a verdict"),
        ("window_s=60", UsageError, "changes more than a verdict"),
    ],
)
def test_what_cannot_be_swept_is_refused(text: str, error: type[Exception], says: str) -> None:
    """Unknown keys, no values, values out of bounds, and what is no threshold."""
    with pytest.raises(error, match=says):
        parse_sets([text])


def test_runs_that_cannot_be_swept_are_refused(tmp_path: Path) -> None:
    """A folder of something else, a key twice, and far too many sets."""
    with pytest.raises(UsageError, match="no finished re-scoring"):
        sweep(market(), {"cooldown_s": [1.0]}, Workers())
    with pytest.raises(UsageError, match="once"):
        parse_sets(["cooldown_s=1", "cooldown_s=2"])
    many = {"cooldown_s": [float(one) for one in range(2_000)]}
    with pytest.raises(UsageError, match="too many"):
        sweep(clean(), many, Workers())
    assert files_of(market())
