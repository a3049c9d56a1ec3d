"""`ifd verify`: what holds is said to hold, and what is broken on purpose is found.

Method: a run with over a thousand signals is checked as it is; then its report is edited, the
engine of the second run is made to see other trades, or the bound of what has converged is moved.
"""

from __future__ import annotations

import json
import shutil
from pathlib import Path
from typing import Any

import polars as pl
import pytest

from ifd_fast import verifying
from ifd_fast.recordings import Recording, open_recording
from ifd_fast.replaying import replay
from ifd_fast.rerunning import ring_places
from ifd_fast.verifying import Verdict, verify_lookahead, verify_replay, verify_warmup
from ifd_kernels.layout import CONSUMED
from tests.strategies_interface import (
    CALL,
    FUTURE,
    OPEN,
    SECOND,
    UNLISTED,
    definitions,
    event,
    head,
)
from tests.strategies_runs import bursts, copy_run, invoke, recorded_run

pytestmark = [pytest.mark.jit, pytest.mark.slow]


@pytest.fixture(scope="module")
def recording() -> Recording:
    """Return the recorded run's record."""
    return open_recording(recorded_run())


def held(verdicts: list[Verdict], part: str) -> list[bool]:
    """Return whether the verdicts on `part` held; there must be some."""
    found = [one.held for one in verdicts if part in one.what]
    assert found
    return found


def test_recorded_equals_replayed(tmp_path: Path) -> None:
    """Three digests of the replay and three of the files are those recorded; a table says so."""
    done = invoke("verify", "replay", recorded_run(), "--json")
    rows = json.loads(done.output)
    assert done.code == 0
    assert [row["what"] for row in rows] == [
        f"{name}, {how}"
        for name in ("rows_digest", "facts_digest", "signals_digest")
        for how in ("replayed", "of the file")
    ]
    assert all(row["held"] and row["expected"] == row["actual"] for row in rows)
    run, _ = copy_run(tmp_path / "run")
    assert invoke("verify", "replay", run).output.count("holds") == 5  # no file of signals


def test_an_edited_report_or_file_differs(tmp_path: Path) -> None:
    """A digest that was edited, and a file whose rows were, are found, each by itself."""
    shutil.copytree(recorded_run(), tmp_path / "run")
    windows = pl.read_parquet(tmp_path / "run" / "windows.parquet")
    windows.with_columns(pl.col("ofi") + 1).write_parquet(tmp_path / "run" / "windows.parquet")
    verdicts = list(verify_replay(tmp_path / "run", open_recording(tmp_path / "run")))
    assert [one.what for one in verdicts if not one.held] == [
        "rows_digest, of the file",
        "facts_digest, of the file",
    ]
    report = tmp_path / "run" / "session.json"
    document = json.loads(report.read_text())
    document["digests"]["signals_digest"] = "0" * 64
    report.write_text(json.dumps(document))
    done = invoke("verify", "replay", tmp_path / "run")
    assert done.code == 1
    assert "4 of 6 comparisons differ" in done.output


def test_another_record_is_refused(tmp_path: Path) -> None:
    """A record that is not the recorded one is bad input, not a comparison that differs."""
    run, _ = copy_run(tmp_path / "run")
    (tmp_path / "bursts.dbn").write_bytes(bursts()[:-56])
    document = json.loads((run / "session.json").read_text())
    document["files"][0]["name"] = str(tmp_path / "bursts.dbn")
    (run / "session.json").write_text(json.dumps(document))
    done = invoke("verify", "replay", run)
    assert done.code == 3
    assert "its SHA-256" in done.output


def test_cutting_the_record_changes_nothing_before(recording: Recording) -> None:
    """Windows and signals up to several T are the same, and there are some."""
    verdicts = list(verify_lookahead(recording, cuts=4, seed=5))
    assert len(verdicts) == 8
    assert all(one.held for one in verdicts)
    assert all(one.expected is not None for one in verdicts)
    done = invoke("verify", "lookahead", recorded_run(), "--cuts", 1, "--seed", 2)
    assert done.code == 0
    assert "holds" in done.output


def test_files_of_definitions_are_reference_data(tmp_path: Path) -> None:
    """An id's first definition holds from the start of its day; cut as well, that shows."""
    ids = (CALL, UNLISTED.instrument_id, FUTURE)
    trades = [event(4_000.0 + 2 * n, ids[n % 3]) for n in range(900)]
    (tmp_path / "market.dbn").write_bytes(head() + b"".join(trades))
    listed = definitions() + definitions([UNLISTED], OPEN + 5_500 * SECOND)
    (tmp_path / "listed.dbn").write_bytes(head("definition") + listed)
    replay(tmp_path / "market.dbn", definitions=[tmp_path / "listed.dbn"], out=tmp_path / "run")
    recording = open_recording(tmp_path / "run")
    assert all(held(list(verify_lookahead(recording, cuts=6)), "windows"))
    assert False in held(list(verify_lookahead(recording, cuts=6, definitions=True)), "windows")


def test_an_engine_that_sees_other_trades_is_found(
    recording: Recording, monkeypatch: pytest.MonkeyPatch
) -> None:
    """If the second run is given trades of double size, windows and signals differ."""
    whole = verifying._EndingEngine._advance

    def double(self: Any, stop: int) -> None:
        ring = self.state.ring
        places = ring_places(ring, int(ring.cursor[CONSUMED]), stop)
        ring.size[places] *= 2
        whole(self, stop)

    monkeypatch.setattr(verifying._EndingEngine, "_advance", double)
    verdicts = list(verify_lookahead(recording, cuts=6))
    told = [one for one in verdicts if one.expected is not None]  # a cut may come before all rows
    assert len(told) > 6
    assert not any(one.held for one in told)
    done = invoke("verify", "lookahead", recorded_run(), "--cuts", 6)
    assert done.code == 1
    assert "of 12 comparisons differ" in done.output


def test_a_longer_warm_up_changes_nothing_converged(recording: Recording) -> None:
    """Streams begun later and stores with only the lookback give the same to the bit."""
    verdicts = list(verify_warmup(recording, starts=2, seed=3))
    assert all(held(verdicts, "windows"))
    assert all(held(verdicts, "signals"))
    assert len(held(verdicts, "baselines of 2026-02-02")) == 2
    assert all(one.held for one in verdicts)
    assert all(one.expected is not None for one in verdicts)


def test_what_has_not_converged_differs(
    recording: Recording, monkeypatch: pytest.MonkeyPatch
) -> None:
    """The bound is needed: signals that begin before all is remembered are others."""
    monkeypatch.setattr(verifying, "FLOW_AGE_NS", -recording.settings.profile.cooldown_ns)
    assert False in held(list(verify_warmup(recording, starts=4, seed=3)), "signals")


def test_estimates_of_other_sessions_are_found(
    recording: Recording, monkeypatch: pytest.MonkeyPatch
) -> None:
    """If the session before the lookback counted, its absence would show."""
    estimate = verifying._estimate

    def more(store: Any, date: Any, lookback: int, *, alone: bool = False) -> Any:
        return estimate(store, date, lookback - 1 if alone else lookback, alone=alone)

    monkeypatch.setattr(verifying, "_estimate", more)
    verdicts = list(verify_warmup(recording, starts=1))
    assert not any(held(verdicts, "baselines"))


def test_a_store_that_moved(tmp_path: Path) -> None:
    """With --baselines the store may lie elsewhere; without, its absence is told."""
    run, _ = copy_run(tmp_path / "run")
    document = json.loads((run / "session.json").read_text())
    store = document["baselines_store"]
    document["baselines_store"] = "moved.duckdb"
    (run / "session.json").write_text(json.dumps(document))
    assert "moved.duckdb" in invoke("verify", "replay", run).output
    assert invoke("verify", "replay", run, "--baselines", store).code == 0
