"""`ifd query`: views over both kinds of run; what reads elsewhere, writes or sets is refused."""

from __future__ import annotations

import json
import shutil
from pathlib import Path

import polars as pl
import pytest

from ifd_fast.draining import SCHEMAS
from ifd_fast.errors import DataError, UsageError
from ifd_fast.querying import escape_formulas, query_run
from ifd_fast.runs import open_run
from tests.strategies_rescore import clean, report
from tests.strategies_runs import invoke

pytestmark = [pytest.mark.jit, pytest.mark.slow]


def test_views_hold_what_the_files_hold() -> None:
    """Every view has its schema's columns and all rows; sessions are those of the report."""
    run = open_run(clean())
    for name, schema in SCHEMAS.items():
        rows, _ = query_run(run, f"FROM {name}")
        assert rows.columns == list(schema)
        frame = run.frame(name).collect()
        assert rows.height == frame.height
        times = [one for one, kind in schema.items() if isinstance(kind, pl.Datetime)]
        for column in times:
            expected = ((frame[column].dt.timestamp("ns") + 500) // 1000).sort().to_list()
            assert rows[column].cast(pl.Int64).sort().to_list() == expected, (name, column)
    alerts, _ = query_run(run, "SELECT trade_date, sum(alert::INT) n FROM signals GROUP BY ALL")
    told, _ = query_run(run, "SELECT trade_date::DATE trade_date, alerts n FROM sessions")
    assert dict(alerts.rows()) == dict(told.rows())
    assert told["n"].sum() == report(clean())["counts"]["alerts"]


def test_a_replays_folder_and_an_empty_frame(tmp_path: Path) -> None:
    """One file a frame beside session.json is read the same; no rows keep columns and types."""
    run = open_run(clean())
    document = report(clean())
    document["baselines"] = {}
    (tmp_path / "session.json").write_text(json.dumps(document))
    for name in SCHEMAS:
        run.frame(name).collect().write_parquet(tmp_path / f"{name}.parquet")
    sql = "SELECT instrument_id, count(*) n, max(strike) k FROM windows GROUP BY 1 ORDER BY 1"
    one, two = (query_run(each, sql)[0] for each in (run, open_run(tmp_path)))
    assert one.equals(two)
    assert one.height > 0
    none, _ = query_run(run, "FROM windows WHERE false")
    assert none.schema["strike"] == pl.Float64()
    assert none.schema["window_end"] == pl.Datetime("us")


@pytest.mark.parametrize(
    ("sql", "says"),
    [
        ("SELEC 1", "syntax error"),
        ("SELECT nothing FROM windows", "nothing"),
        ("", "ask one SELECT"),
        ("SELECT 1; SELECT 2", "ask one SELECT"),
        ("COPY signals TO '{there}'", "COPY"),
        ("DROP VIEW signals", "DROP"),
        ("SET threads = 1", "SET"),
        ("SET enable_external_access = true", "SET"),
        ("ATTACH '{there}'", "ATTACH"),
        ("EXPLAIN ANALYZE COPY signals TO '{there}'", "EXPLAIN"),
        ("FROM read_csv('/etc/passwd')", "disabled by configuration"),
        ("FROM read_text('{run}/rescore.json')", "disabled by configuration"),
        ("FROM glob('/etc/*')", "disabled by configuration"),
        ("SELECT now()", "::TIMESTAMP"),
    ],
)
def test_what_is_no_question_to_the_run_is_refused(tmp_path: Path, sql: str, says: str) -> None:
    """Wrong SQL, and whatever could reach beyond the run or change it; nothing is written."""
    with pytest.raises(UsageError, match=says):
        query_run(open_run(clean()), sql.format(there=tmp_path / "there", run=clean()))
    assert list(tmp_path.iterdir()) == []


def test_a_damaged_run_is_bad_data(tmp_path: Path) -> None:
    """A file that is gone, or holds something else, is named."""
    shutil.copytree(clean(), tmp_path / "run")
    run = open_run(tmp_path / "run")
    run.files("facts")[0].write_bytes(b"no Parquet")
    with pytest.raises(DataError, match="can't be read"):
        query_run(run, "FROM signals")
    run.files("facts")[0].unlink()
    with pytest.raises(DataError, match="is missing"):
        query_run(run, "FROM signals")


def test_formulas_are_escaped() -> None:
    """Texts and names that a spreadsheet would run are not; numbers stay numbers."""
    frame = pl.DataFrame({"=a": ["=1+1", "@x", "-y", "plain", None], "n": [-1, 2, 3, 4, 5]})
    found = escape_formulas(frame)
    assert found.columns == ["'=a", "n"]
    assert found["'=a"].to_list() == ["'=1+1", "'@x", "'-y", "plain", None]
    assert found["n"].to_list() == [-1, 2, 3, 4, 5]


def test_the_command(tmp_path: Path) -> None:
    """Each format; rows that are cut are told; Parquet needs a file."""
    sql = "SELECT symbol, strike FROM windows ORDER BY ALL"
    done = invoke("query", sql, "--run", clean(), "--limit", 3)
    assert done.code == 0
    assert "cut at 3 rows" in done.output
    rows = json.loads(invoke("query", sql, "--run", clean(), "--format", "json").output[:-1]
                      .partition("\ncut")[0])  # fmt: skip
    assert len(rows) == 1000
    out = tmp_path / "rows.parquet"
    options = ("--run", clean(), "--format", "parquet", "--limit", 0)
    assert invoke("query", sql, *options, "--out", out).code == 0
    assert pl.read_parquet(out).height == open_run(clean()).frame("windows").collect().height
    assert invoke("query", sql, *options).code == 2
    text = invoke("query", "SELECT '=1' a", "--run", clean(), "--format", "csv").output
    assert text == "a\n'=1\n"
    assert invoke("query", "FROM nowhere", "--run", clean()).code == 2
