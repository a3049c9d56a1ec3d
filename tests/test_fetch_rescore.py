"""What was fetched is scored again as the recordings themselves are."""

from __future__ import annotations

import datetime as dt
from pathlib import Path

import pytest
import zstandard

from tests.historical_server import HistoricalServer
from tests.strategies_fetch import make_place
from tests.strategies_rescore import clean, market, report, run_here
from tests.strategies_runs import invoke

pytestmark = [pytest.mark.jit, pytest.mark.slow, pytest.mark.usefixtures("logging_put_back")]


def recorded(schema: str, day: dt.date) -> bytes | None:
    """Return the market's file of a day, as history would have it; None of a day without one."""
    for path in market().glob(f"*{day:%Y%m%d}.{schema}.dbn*"):
        data = path.read_bytes()
        return data if path.suffix == ".zst" else zstandard.compress(data)
    return None


def test_a_fetched_folder_gives_what_the_recordings_give(
    historical: HistoricalServer, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Bought by day and schema, named as one folder: the digests of the undisturbed run."""
    run_here(monkeypatch)
    place = make_place(historical, tmp_path, monkeypatch)
    historical.batch.content = recorded
    dates = [one["trade_date"] for one in report(clean())["sessions"]]
    days = ("--from", dates[0], "--to", dates[-1], "--schemas", "definition,mbo")
    assert place.fetch(*days, "--parents", "NQ.FUT,NQ.OPT", "--yes").code == 0
    run = tmp_path / "run"
    done = invoke("rescore", place.out, "--out", run, "--profile", "ifd_v3_testing")
    assert done.code == 0, done.output
    assert "not looked at" not in done.output
    assert report(run)["digests"] == report(clean())["digests"]
