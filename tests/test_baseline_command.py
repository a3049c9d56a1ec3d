"""`ifd baseline build | show | prune`, through files and exit codes."""

from __future__ import annotations

import json
from pathlib import Path

import pytest
from click.testing import CliRunner, Result

from ifd_fast.baselines import load_arrays
from ifd_fast.commands.baseline import baseline
from ifd_fast.errors import DataError, IfdError, UsageError
from tests.test_baseline_store import session_folder


def run(*arguments: object) -> Result:
    """Run the command; an error of ours comes through."""
    result = CliRunner().invoke(baseline, [str(argument) for argument in arguments])
    if isinstance(result.exception, IfdError):
        raise result.exception
    return result


def test_build_show_prune(tmp_path: Path) -> None:
    """Three sessions are built, shown as a table and as JSON, and pruned to two."""
    store = tmp_path / "store.duckdb"
    folders = [session_folder(tmp_path / str(day), day, 3 + day) for day in range(3)]
    built = run("build", *folders, "--db", store, "--lookback-days", 2)
    assert built.exit_code == 0, built.output
    assert "as of 2026-01-08 from 2 of 2 sessions" in built.output
    assert load_arrays(tmp_path / "store.arrays").sessions == 2

    table = run("show", "--db", store).output
    assert "3 sessions, estimates as of 2026-01-08" in table
    for word in ("2026-01-07", "276/276", "100.0 %", "A:5", "40", "200"):
        assert word in table

    report = json.loads(run("show", "--db", store, "--json").output)
    assert report["derived"]["cells"] > 40
    first = report["sessions"][0]
    assert (first["completeness"], first["grades"], first["fact_rows"]) == (1.0, {"A": 3}, 120)
    assert 0 <= first["anomaly_rate"] <= 1

    strike = json.loads(run("show", "--db", store, "--json", "--strike", 20_010).output)
    assert [(row["underlying"], row["option_type"]) for row in strike] == [("NQH6", "C")]

    assert (
        "1 sessions dropped: 2026-01-05" in run("prune", "--db", store, "--keep-sessions", 2).output
    )
    assert "0 sessions dropped" in run("prune", "--db", store, "--keep-sessions", 2).output


def test_build_again_says_unchanged_and_as_of_is_kept(tmp_path: Path) -> None:
    """The same folder twice is unchanged; --as-of chooses what is before it."""
    store = tmp_path / "store.duckdb"
    folders = [session_folder(tmp_path / str(day), day, 3) for day in range(2)]
    run("build", *folders, "--db", store)
    again = run("build", folders[0], "--db", store, "--as-of", "2026-01-06")
    assert "unchanged" in again.stderr
    assert "as of 2026-01-06 from 1 of 20 sessions" in again.output


def test_errors_have_their_exit_codes(tmp_path: Path) -> None:
    """No store is wrong usage, a folder that is no replay's is bad data."""
    store = tmp_path / "store.duckdb"
    for arguments in (["show"], ["prune"], ["build"]):
        with pytest.raises(UsageError, match="No baseline store") as caught:
            run(*arguments, "--db", store)
        assert caught.value.exit_code == 2
    with pytest.raises(DataError, match=r"session\.json not found") as bad:
        run("build", tmp_path, "--db", store)
    assert bad.value.exit_code == 3
    assert not store.exists()
