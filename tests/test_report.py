"""BENCHMARKS.md and the chart come from result files alone."""

from __future__ import annotations

import json
from pathlib import Path

import pytest

from bench import report
from bench.evaluate import shorten
from tests.test_evaluation_page import whole_document

PEERS = {
    "date": "2026-01-02",
    "cpu": "a CPU",
    "cores": 2,
    "load": 0.5,
    "workload": "W1",
    "command": "./dev peers a.dbn",
    "versions": {"polars": "2.1"},
    "results": [
        {"path": "ifd_fast", "file": "a.dbn", "records_per_s": 20_000_000, "resident_mb": 100},
        {"path": "polars_expert", "file": "a.dbn", "records_per_s": 40_000_000},
        {"path": "pandas_to_df", "file": "a.dbn", "records_per_s": 500_000},
        {"path": "nautilus_batch", "file": "a.dbn", "error": "no wheel"},
    ],
}
CONTRACT = {
    "cpu": "a CPU",
    "rows": [
        {
            "what": "framing",
            "bound": "≤ 8 ns",
            "measured": "7 ns",
            "met": "yes",
            "workload": "W1",
            "command": "x",
            "date": "2026-01-02",
        }
    ],
}


@pytest.fixture
def results(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """Return a folder that the report reads instead of the real one."""
    monkeypatch.setattr(report, "RESULTS", tmp_path)
    monkeypatch.setattr(report, "CHART", tmp_path / "docs" / "chart.svg")
    return tmp_path


def test_report_without_results_is_its_head(results: Path) -> None:
    """Absent result files leave their sections out."""
    assert report.report_text() == report.HEAD


def test_report_shows_ratios_and_failures(results: Path) -> None:
    """Each path stands with its speed, our ratio to it, or why it failed."""
    (results / "peers.json").write_text(json.dumps(PEERS))
    (results / "contract.json").write_text(json.dumps(CONTRACT))
    actual = report.report_text()
    assert "| databento to_df + pandas | a.dbn | 0.50 | 40.0 × |" in actual
    assert "| databento in chunks, masked, + polars | a.dbn | 40.00 | 0.5 × |" in actual
    assert "failed | no wheel" in actual
    assert "| framing | ≤ 8 ns | 7 ns | yes | W1 | 2026-01-02 |" in actual


def test_chart_is_the_same_for_the_same_numbers(results: Path) -> None:
    """Two drawings of one result file are equal byte for byte, and name us."""
    report.draw_chart(PEERS)
    first = report.CHART.read_bytes()
    report.draw_chart(PEERS)
    assert report.CHART.read_bytes() == first
    assert b"ifd_fast" in first


def test_evaluation_is_shown_with_its_command(results: Path) -> None:
    """The evaluation's rows stand in BENCHMARKS.md with digest, seed and command."""
    document = shorten(whole_document())
    (results / "evaluation.json").write_text(json.dumps(document))
    actual = report.report_text()
    assert "## Signals against planted truth" in actual
    assert "Command: `ifd evaluate" in actual
    assert "| all | all | 4 | 50 % |" in actual
