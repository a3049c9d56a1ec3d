"""Ranks from past sessions: the same in any order and in the mirror, kept in the array file.

Method: small quiet markets stand for past sessions; a store gets one of them as a replay writes it.
"""

from __future__ import annotations

import dataclasses
import datetime as dt
from functools import cache
from pathlib import Path
from typing import Any

import numpy as np
import polars as pl
import pytest

from bench.scoring_feed import OPEN_NS, quiet_market
from ifd_fast.baseline_estimates import digest_inputs, estimate
from ifd_fast.baseline_file import load_arrays, publish_arrays
from ifd_fast.baseline_ranks import PastSession, list_identities, rank_sessions
from ifd_fast.baseline_store import open_store
from ifd_fast.baselines import add_folders
from ifd_fast.handovers import HANDOVERS_SCHEMA
from ifd_kernels.layout import KIND_CALL, KIND_FUTURE, KIND_PUT, SECOND_NS
from ifd_kernels.rescoring import HANDOVER
from tests.strategies_baselines import FIRST_DAY, make_session, write_folder

SLOTS, SECONDS = 12, 7_200
SEASON = np.linspace(0.0, 1.0, 277)


@cache
def past(seed: int) -> PastSession:
    """Return two hours of a quiet market as a past session."""
    market = quiet_market(SLOTS, SECONDS, 1.0, seed)
    rows = np.zeros(len(market.flow), HANDOVER)
    rows["instant_ns"] = (market.flow["second"] + 1) * SECOND_NS
    for name, source in (("second", "second"), ("slot", "slot"), ("bid_volume", "bid")):
        rows[name] = market.flow[source]
    rows["ask_volume"] = market.flow["ask"]
    end_ns = OPEN_NS + SECONDS * SECOND_NS
    share = SECONDS / 82_800
    expected = market.score.expected.copy()
    return PastSession(OPEN_NS, OPEN_NS, end_ns, share, market.identities, expected, rows)


def mirrored(session: PastSession) -> PastSession:
    """Return the session with buyers and sellers swapped."""
    rows = session.rows.copy()
    rows["bid_volume"], rows["ask_volume"] = session.rows["ask_volume"], session.rows["bid_volume"]
    return dataclasses.replace(session, rows=rows)


def turned(session: PastSession) -> PastSession:
    """Return the session with its slots in the other order."""
    identities, expected = session.identities[::-1].copy(), session.expected[::-1].copy()
    identities["twin_slot"] = SLOTS - 1 - identities["twin_slot"]
    rows = session.rows.copy()
    rows["slot"] = SLOTS - 1 - rows["slot"]
    return dataclasses.replace(session, identities=identities, expected=expected, rows=rows)


def sessions() -> list[PastSession]:
    """Return five past sessions."""
    return [past(seed) for seed in range(5)]


@pytest.mark.jit
def test_five_sessions_make_ranks_that_are_ready() -> None:
    """Tables and line come out, the same each time; episodes a session fall with the rank."""
    found = rank_sessions(sessions(), SEASON)
    assert found.ready
    assert found.limits[0]["beta"] > 0.1
    assert found.limits[0]["sessions"] == pytest.approx(5 * SECONDS / 82_800)
    again = rank_sessions(sessions(), SEASON)
    assert again.ranks.tobytes() == found.ranks.tobytes()
    assert again.limits.tobytes() == found.limits.tobytes()


def test_a_single_session_can_not_rank_itself() -> None:
    """With fewer than two nothing is ready, and it says so."""
    assert not rank_sessions(sessions()[:1], SEASON).ready
    silent = dataclasses.replace(past(0), rows=past(0).rows[:0])
    assert not rank_sessions([silent, silent], SEASON).ready


@pytest.mark.jit
@pytest.mark.parametrize("change", [mirrored, turned])
def test_ranks_do_not_depend_on_side_or_order(change: Any) -> None:
    """Buying and selling swapped, or slots numbered otherwise, give the same to the last bit."""
    expected = rank_sessions(sessions(), SEASON)
    actual = rank_sessions([change(one) for one in sessions()], SEASON)
    assert actual.ranks.tobytes() == expected.ranks.tobytes()
    assert actual.limits.tobytes() == expected.limits.tobytes()


def test_listed_options_find_their_twins_and_future() -> None:
    """Call and put of one strike and expiry; what is unmapped has no kind."""
    listed = [
        (1, "C", "NQH6", 100.0, 7, True),
        (2, "P", "NQH6", 100.0, 7, True),
        (3, "P", "NQH6", 100.0, 8, True),
        (4, "C", "NQH6", 100.0, 8, False),
        (5, "F", None, None, -1, True),
    ]
    identities, symbols = list_identities(listed)
    assert identities["kind"].tolist() == [KIND_CALL, KIND_PUT, KIND_PUT, 0, 0, KIND_FUTURE]
    assert identities["twin_slot"].tolist() == [1, 0, -1, -1, -1, -1]
    assert symbols == {5: "NQH6"}
    assert identities["underlying_slot"].tolist() == [5, 5, 5, -1, -1, -1]


def write_handovers(folder: Path, trade_date: dt.date, open_ns: int, ids: list[int]) -> None:
    """Write the quiet market's flow as a replay would, its slots being `ids`."""
    rows = past(trade_date.day).rows
    frame = pl.DataFrame(
        {
            "trade_date": [trade_date] * len(rows),
            "instant": rows["instant_ns"] - OPEN_NS + open_ns,
            "instrument_id": np.array(ids, np.uint32)[rows["slot"] % len(ids)],
            "age_s": np.ones(len(rows), np.int32),
            "bid_volume": rows["bid_volume"],
            "ask_volume": rows["ask_volume"],
            "moved": rows["moved"],
            "twin_moved": rows["twin_moved"],
        }
    ).cast(dict(HANDOVERS_SCHEMA))  # type: ignore[arg-type]  # a Schema is a mapping of these
    frame.write_parquet(folder / "handovers.parquet")


OPTION = {
    "instrument_id": 11, "symbol": "NQH6 C20000", "root": "NQ", "underlying": "NQH6",
    "expiration": dt.datetime(2026, 12, 18, tzinfo=dt.UTC), "strike": 20_000.0,
    "option_type": "C",
}  # fmt: skip
TRADES = [
    {"option": 0, "bin": n, "bid": 1, "ask": 1, "mid": 20_000.0, "quality": "A"} for n in range(20)
]


@pytest.mark.slow
def test_a_session_of_a_million_hand_overs_fits_into_the_stores_memory(tmp_path: Path) -> None:
    """Four times the evaluation's activity: no text of all of them is ever made."""
    made = make_session(FIRST_DAY, [OPTION], TRADES)
    folder = write_folder(tmp_path / "busy", [made])
    write_handovers(folder, FIRST_DAY, int(made["open_ns"]), [11])
    few = pl.read_parquet(folder / "handovers.parquet")
    pl.concat([few] * (1_200_000 // few.height)).write_parquet(folder / "handovers.parquet")
    store = tmp_path / "store.duckdb"
    add_folders(store, [folder])
    with open_store(store) as connection:
        kept = connection.execute("SELECT handovers FROM coverage").fetchall()
    assert kept[0][0] > 1_000_000


@pytest.mark.jit
def test_the_store_gives_ranks_and_the_file_keeps_them(tmp_path: Path) -> None:
    """Sessions with hand-overs rank, those without count for nothing; a changed one is replaced."""
    store, folders = tmp_path / "store.duckdb", []
    for number in range(3):
        day = FIRST_DAY + dt.timedelta(days=number)
        made = make_session(day, [OPTION], TRADES)
        folder = write_folder(tmp_path / str(number), [made])
        if number:
            write_handovers(folder, day, int(made["open_ns"]), [11])
        folders.append(folder)
    as_of = FIRST_DAY + dt.timedelta(days=3)
    assert not any(one.unchanged for one in add_folders(store, folders))
    assert all(one.unchanged for one in add_folders(store, folders))
    with open_store(store) as connection:
        arrays = estimate(connection, as_of, 20)
        assert arrays.digest == digest_inputs(connection, as_of, 20)
        kept = connection.execute("SELECT handovers FROM coverage ORDER BY trade_date").fetchall()
    assert kept[0] == (None,)
    assert min(row[0] for row in kept[1:]) > 1000
    assert arrays.ranking is not None
    publish_arrays(tmp_path / "a.arrays", arrays)
    loaded = load_arrays(tmp_path / "a.arrays").ranking
    assert loaded is not None
    assert loaded.ranks.tobytes() == arrays.ranking.ranks.tobytes()
    assert loaded.limits.tobytes() == arrays.ranking.limits.tobytes()
    (folders[1] / "handovers.parquet").unlink()
    assert [one.unchanged for one in add_folders(store, folders)] == [True, False, True]
