"""The estimates equal the oracle's, and obey the laws of design §6."""

from __future__ import annotations

import copy
import datetime as dt
import tempfile
from pathlib import Path
from typing import Any

import duckdb
import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from ifd_fast.baseline_estimates import Arrays, estimate
from ifd_fast.baseline_ingest import ingest_session, read_sources
from ifd_fast.baseline_store import _SCHEMA, SESSION_TABLES
from ifd_fast.baselines import add_folders, arrays_path, load_arrays, rebuild
from ifd_fast.errors import UsageError
from tests.oracle import baselines as oracle
from tests.strategies_baselines import (
    FIRST_DAY,
    histories,
    make_session,
    open_ns,
    write_folder,
)

AS_OF = FIRST_DAY + dt.timedelta(days=10)
LEVELS = ("strike", "moneyness", "dte", "type")
VALUES = ("votes_1", "votes_10", "log_ratio_mean", "log_ratio_sd", "sessions", "windows")
EXPIRATION = open_ns(FIRST_DAY) + 40 * 86_400 * 10**9
CALL: dict[str, Any] = {
    "underlying": "NQH6",
    "expiration": EXPIRATION,
    "strike": 20_000.0,
    "option_type": "C",
    "mapped": True,
}


def build(
    folder: Path, sessions: list[dict[str, Any]], as_of: dt.date = AS_OF, lookback: int = 20
) -> Arrays:
    """Ingest sessions in the order given, one folder each, into memory, and estimate."""
    connection = duckdb.connect(config={"threads": "1"})
    connection.execute(_SCHEMA)
    for number, session in enumerate(sessions):
        source = read_sources(write_folder(folder / f"in{number}", [session]))[0]
        ingest_session(connection, source)
    arrays = estimate(connection, as_of, lookback)
    connection.close()
    return arrays


def by_key(arrays: Arrays) -> dict[Any, Any]:
    """Return the cells of `arrays` under the oracle's keys."""
    names = [bytes(symbol).decode() for symbol in arrays.underlyings["symbol"]]
    result: dict[Any, Any] = {}
    for cell in arrays.cells:
        level = LEVELS[cell["level"]]
        kind = "CP"[cell["option_type"]]
        if level == "type":
            result["type", kind] = cell
            continue
        group = (level, names[cell["underlying"]], kind, int(cell["dte_class"]))
        rest = {"strike": cell["strike_1e9"] / 1e9, "moneyness": int(cell["moneyness"])}
        result[(*group, rest[level]) if level in rest else group] = cell
    return result


def assert_same(actual: Arrays, expected: Arrays) -> None:
    """Demand equal keys and equal estimates, but for the order of float sums."""
    assert np.array_equal(actual.underlyings["symbol"], expected.underlyings["symbol"])
    for name in ("level", "underlying", "option_type", "dte_class", "moneyness", "strike_1e9"):
        assert np.array_equal(actual.cells[name], expected.cells[name])
    for name in (*VALUES, "log_ratio_quantiles"):
        np.testing.assert_allclose(actual.cells[name], expected.cells[name], rtol=1e-12, atol=1e-12)
    np.testing.assert_allclose(actual.season, expected.season, rtol=1e-13)


@given(histories(), st.integers(1, 4))
@settings(max_examples=40)
def test_estimates_are_the_oracles(sessions: list[dict[str, Any]], lookback: int) -> None:
    """Every cell, estimate and share of the season is what the plain-Python rules give."""
    expected = oracle.estimate(sessions, AS_OF, lookback)
    with tempfile.TemporaryDirectory() as folder:
        arrays = build(Path(folder), sessions, AS_OF, lookback)
    actual = by_key(arrays)
    curve = oracle.season(oracle.lookback(sessions, AS_OF, lookback))
    np.testing.assert_allclose(arrays.season, curve, rtol=1e-12, atol=1e-15)
    wanted = {key: cell for key, cell in expected.items() if key[0] == "strike"}
    assert {key for key in actual if key[0] == "strike"} >= set(wanted)
    for key, cell in expected.items():
        assert key in actual, key
        mine = actual[key]
        for name in ("votes_1", "votes_10", "sessions"):
            assert mine[name] == pytest.approx(cell[name], rel=1e-9, abs=1e-9), (key, name)
        assert mine["windows"] == cell["windows"], key
        assert mine["log_ratio_mean"] == pytest.approx(cell["mean"], abs=2e-6), key
        assert mine["log_ratio_sd"] == pytest.approx(cell["sd"], abs=2e-6), key
        assert mine["log_ratio_quantiles"].tolist() == pytest.approx(cell["quantiles"], abs=2e-6)


@given(histories(), st.randoms(use_true_random=False))
@settings(max_examples=10)
def test_order_of_ingest_does_not_matter(sessions: list[dict[str, Any]], random: Any) -> None:
    """Sessions may come in any order: the arrays and their digest are the same."""
    shuffled = random.sample(sessions, len(sessions))
    with tempfile.TemporaryDirectory() as one, tempfile.TemporaryDirectory() as two:
        expected, actual = build(Path(one), sessions), build(Path(two), shuffled)
        assert actual.digest == expected.digest
        assert_same(actual, expected)


@given(histories(3), histories(3))
@settings(max_examples=10)
def test_replacing_is_never_having_had(
    first: list[dict[str, Any]], second: list[dict[str, Any]]
) -> None:
    """A session that replaces another leaves nothing of it behind."""
    second = second[: len(first)]
    rest = first[len(second) :]
    with tempfile.TemporaryDirectory() as one, tempfile.TemporaryDirectory() as two:
        expected = build(Path(one), [*second, *rest])
        actual = build(Path(two), [*first, *second])
        assert actual.digest == expected.digest
        assert_same(actual, expected)


@given(histories(4, min_sessions=4))
@settings(max_examples=10)
def test_sessions_outside_the_lookback_change_nothing(sessions: list[dict[str, Any]]) -> None:
    """Neither the session of the trade date itself, nor later or too old ones, are read."""
    day = sessions[2]["trade_date"]
    with tempfile.TemporaryDirectory() as one, tempfile.TemporaryDirectory() as two:
        expected = build(Path(one), sessions[1:2], day, 1)
        assert_same(build(Path(two), sessions, day, 1), expected)


@given(histories(3))
@settings(max_examples=10)
def test_mirrored_sides_mirror_the_log_ratios(sessions: list[dict[str, Any]]) -> None:
    """Buying and selling swapped negate each mean and median, and keep votes and spread."""
    mirrored = copy.deepcopy(sessions)
    for row in (row for session in mirrored for row in session["facts"]):
        for name in ("volume", "votes_1", "votes_10"):
            row[f"bid_{name}"], row[f"ask_{name}"] = row[f"ask_{name}"], row[f"bid_{name}"]
    with tempfile.TemporaryDirectory() as one, tempfile.TemporaryDirectory() as two:
        expected, actual = build(Path(one), sessions).cells, build(Path(two), mirrored).cells
    assert np.array_equal(actual["votes_1"], expected["votes_1"])
    assert np.array_equal(actual["votes_10"], expected["votes_10"])
    assert np.array_equal(actual["log_ratio_mean"], -expected["log_ratio_mean"])
    np.testing.assert_allclose(actual["log_ratio_sd"], expected["log_ratio_sd"], rtol=1e-12)
    for low, high in ((0, 4), (1, 3), (2, 2)):
        np.testing.assert_allclose(
            actual["log_ratio_quantiles"][:, low],
            -expected["log_ratio_quantiles"][:, high],
            atol=1e-12,
        )


@given(histories())
@settings(max_examples=10)
def test_no_estimate_is_infinite_or_falls(sessions: list[dict[str, Any]]) -> None:
    """Every number is finite, spreads are positive, quantiles and the season never fall."""
    with tempfile.TemporaryDirectory() as folder:
        arrays = build(Path(folder), sessions)
    for name in (*VALUES, "log_ratio_quantiles"):
        assert np.isfinite(arrays.cells[name]).all()
    assert (arrays.cells["log_ratio_sd"] > 0).all()
    assert (np.diff(arrays.cells["log_ratio_quantiles"], axis=1) >= -1e-12).all()
    assert (np.diff(arrays.season) > 0).all()
    assert (arrays.season[0], arrays.season[-1]) == (0.0, 1.0)


def test_a_quiet_session_halves_the_expected_votes(tmp_path: Path) -> None:
    """One session of 8 votes and one without any: zeros count, the newer a little more."""
    trades = [
        {"option": 0, "bin": number, "bid": 1, "ask": 1, "mid": 20_000.0, "quality": "A"}
        for number in range(4)
    ]
    busy = make_session(FIRST_DAY, [CALL], trades)
    quiet = make_session(FIRST_DAY + dt.timedelta(days=1), [CALL], [])
    arrays = build(tmp_path, [busy, quiet])
    older = 0.5 ** (1 / 8)
    expected = 8 * older / (1 + older)
    assert arrays.cells["votes_1"][-1] == pytest.approx(expected)  # the type's cell


def test_depth_is_counted_in_sessions_of_any_age(tmp_path: Path) -> None:
    """Twelve sessions, the oldest at an age weight of .39, are a history twelve sessions deep."""
    days = [FIRST_DAY + dt.timedelta(days=number) for number in range(12)]
    trade = {"option": 0, "bin": 3, "bid": 5, "ask": 2, "mid": 20_000.0, "quality": "A"}
    sessions = [make_session(day, [CALL], [trade]) for day in days]
    arrays = build(tmp_path, sessions, days[-1] + dt.timedelta(days=1))
    assert arrays.cells["sessions"][-1] == pytest.approx(12)  # the type's cell
    assert arrays.cells["sessions"].max() == pytest.approx(12)


def test_reingest_of_the_same_digest_is_a_no_op(tmp_path: Path) -> None:
    """The same session twice is said to be unchanged, and the file's content stays."""
    folder = write_folder(tmp_path / "in", [make_session(FIRST_DAY, [CALL], [])])
    store = tmp_path / "store.duckdb"
    first = add_folders(store, [folder])
    second = add_folders(store, [folder])
    assert [row.unchanged for row in first + second] == [False, True]


def test_a_folder_of_several_trade_dates_gives_each_its_session(tmp_path: Path) -> None:
    """Two trade dates in one folder are the same as two folders."""
    trade = {"option": 0, "bin": 3, "bid": 5, "ask": 2, "mid": 20_000.0, "quality": "A"}
    days = [FIRST_DAY, FIRST_DAY + dt.timedelta(days=1)]
    sessions = [make_session(day, [CALL], [trade]) for day in days]
    together = tmp_path / "together.duckdb"
    add_folders(together, [write_folder(tmp_path / "both", sessions)])
    assert_same(rebuild(together, AS_OF), build(tmp_path, sessions))


def test_published_arrays_are_what_was_built(tmp_path: Path) -> None:
    """The file beside the store maps to the very arrays that `rebuild` returned."""
    store = tmp_path / "store.duckdb"
    add_folders(store, [write_folder(tmp_path / "in", [make_session(FIRST_DAY, [CALL], [])])])
    expected = rebuild(store)
    actual = load_arrays(arrays_path(store))
    assert actual.digest == expected.digest
    assert actual.cells.tobytes() == expected.cells.tobytes()
    assert actual.underlyings.tobytes() == expected.underlyings.tobytes()
    assert np.array_equal(actual.season, expected.season)


def test_without_a_session_before_the_date_nothing_is_built(tmp_path: Path) -> None:
    """The session the arrays are for is never in them, even if it is all there is."""
    store = tmp_path / "store.duckdb"
    add_folders(store, [write_folder(tmp_path / "in", [make_session(FIRST_DAY, [CALL], [])])])
    with pytest.raises(UsageError, match="no session before 2026-01-05"):
        rebuild(store, FIRST_DAY)


def test_no_bit_depends_on_the_order_of_rows(tmp_path: Path) -> None:
    """The same rows in another order, and with two threads, give the same estimates to the bit.

    Sums of floats would not: the sessions' weights are no powers of two.
    """
    options = [CALL | {"strike": 20_000.0 + 25.0 * number} for number in range(6)]
    days = [FIRST_DAY + dt.timedelta(days=number) for number in range(7)]
    trades = [
        {"option": o, "bin": b, "bid": 1 + (o * b) % 7, "ask": 1 + b % 5, "mid": 20_000.0 + b / 4,
         "quality": "F" if (o + b) % 11 == 0 else "A"}
        for o in range(6) for b in range(o, 276, 2)
    ]  # fmt: skip
    connection = duckdb.connect(config={"threads": "2"})
    connection.execute(_SCHEMA)
    for number, day in enumerate(days):
        made = make_session(day, options, trades)
        ingest_session(connection, read_sources(write_folder(tmp_path / str(number), [made]))[0])
    expected = estimate(connection, AS_OF, 20)
    for salt in range(3):
        for table in SESSION_TABLES:
            shuffled = f"SELECT * FROM {table} ORDER BY hash(rowid + {1000 * salt})"  # noqa: S608
            connection.execute(f"CREATE OR REPLACE TABLE {table} AS {shuffled}")
        actual = estimate(connection, AS_OF, 20)
        assert actual.cells.tobytes() == expected.cells.tobytes()
        assert actual.season.tobytes() == expected.season.tobytes()
