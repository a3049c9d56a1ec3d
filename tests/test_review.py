"""`ifd review`: figures are those of the run's signals; proposals name the gate that stopped."""

from __future__ import annotations

import json
from pathlib import Path

import polars as pl
import pytest

from ifd_fast.errors import UsageError
from ifd_fast.reviewing import parse_period, review_run
from ifd_fast.runs import open_run
from tests.strategies_rescore import clean, report
from tests.strategies_runs import invoke

pytestmark = [pytest.mark.jit, pytest.mark.slow]


def test_figures_are_those_of_the_signals() -> None:
    """Sums agree with rescore.json in every breakdown; the promise is one a ready session."""
    found = review_run(open_run(clean()), "2026-Q1")
    counts = report(clean())["counts"]
    assert (found["candidates"], found["alerts"]) == (counts["candidates"], counts["alerts"])
    for rows in found["by"].values():
        assert sum(row["candidates"] for row in rows) == counts["candidates"]
        assert sum(row["alerts"] for row in rows) == counts["alerts"]
    ready = [one for one in report(clean())["sessions"] if (one["ranking"] or {}).get("ready")]
    assert ready
    assert found["promised_false_alerts"] == pytest.approx(len(ready))
    signals = open_run(clean()).frame("signals").filter("candidate").collect()
    alone = signals.filter((pl.col("failed_gates") == 1) & (pl.col("final_confidence") >= 0.8))
    assert found["gates"][0]["strong_alone"] == alone.height
    proposed = any(text.startswith("min_pressure_ratio") for text in found["proposals"])
    assert proposed == (alone.height > 0)


def test_the_command(tmp_path: Path) -> None:
    """A page without resources, JSON beside it; a period without sessions is refused."""
    out = tmp_path / "page.html"
    options = ("review", "--run", clean(), "--out", out)
    assert invoke(*options, "--month", "2026-01").code == 0
    page = out.read_text()
    assert "<h2>Gates</h2>" in page
    assert "<script" not in page
    assert "http:" not in page
    assert json.loads(out.with_suffix(".json").read_text())["sessions"] == 4
    assert invoke(*options, "--month", "2025-01").code == 2
    assert invoke(*options, "--month", "2026-01", "--quarter", "2026-Q1").code == 2


def test_periods() -> None:
    """A month, a quarter, and what is neither."""
    assert parse_period("2025-06") == ("2025-06", "2025-06")
    assert parse_period("2025-Q2") == ("2025-04", "2025-06")
    for text in ("2025-13", "2025-Q5", "June"):
        with pytest.raises(UsageError, match="no period"):
            parse_period(text)
