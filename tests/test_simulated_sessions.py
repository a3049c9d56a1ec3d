"""A simulated session in memory: the plan is honoured, and the truth says what became of it.

Goal: labels that detection can be measured against. Method: whole sessions of the evaluation world
read back record by record, by numpy and by databento, beside their truth.
"""

from __future__ import annotations

import datetime as dt
import functools
from pathlib import Path

import numpy as np
import polars as pl
import pytest
from databento import DBNStore

from ifd_fast.errors import DataError
from ifd_fast.simreport import MBO
from ifd_fast.simulated_sessions import SimulatedSession
from ifd_fast.truth import (
    CHILDREN_SCHEMA,
    RATES_SCHEMA,
    SEASON_SCHEMA,
    TIERS,
    TRUTH_SCHEMA,
    Truth,
    read_truth,
    tier_of,
    write_truth,
)
from ifd_fast.world import load_world

DAY = dt.date(2026, 3, 10)


@functools.cache
def simulated() -> tuple[SimulatedSession, bytes, Truth]:
    """Return a session with plants, its bytes and its truth."""
    session = SimulatedSession(load_world("evaluation"), 3, DAY, plants=12)
    data = b"".join(session.mbo_chunks())
    return session, data, session.truth()


def events(data: bytes) -> np.ndarray[tuple[int], np.dtype[np.void]]:
    """Return the records of an MBO file's bytes."""
    start = 8 + int.from_bytes(data[4:8], "little")
    return np.frombuffer(data[start:], dtype=MBO)


@pytest.mark.jit
def test_frames_have_their_schemas() -> None:
    """Each frame of the truth has its columns and types, and its rows."""
    truth = simulated()[2]
    assert truth.episodes.schema == TRUTH_SCHEMA
    assert truth.children.schema == CHILDREN_SCHEMA
    assert truth.rates.schema == RATES_SCHEMA
    assert truth.season.schema == SEASON_SCHEMA
    assert truth.rates.height == 600
    assert truth.season.height == 276
    assert truth.episodes.height >= 12


@pytest.mark.jit
def test_children_are_in_the_stream() -> None:
    """Each child has T records of its order id, side, time and contracts in its instrument."""
    _, data, truth = simulated()
    trades = events(data)
    trades = trades[trades["action"] == b"T"]
    tape = pl.DataFrame(
        {
            "order_id": trades["order_id"],
            "instrument_id": trades["instrument_id"],
            "side": np.where(trades["side"] == b"B", 1, -1).astype(np.int8),
            "ts_event": trades["ts_event"].astype(np.int64),
            "size": trades["size"].astype(np.int64),
        }
    ).with_columns(pl.col("ts_event").cast(pl.Datetime("ns", "UTC")))
    found = tape.group_by("order_id", "instrument_id", "side").agg(
        pl.col("size").sum(), pl.col("ts_event").max()
    )
    filled = truth.children.filter(pl.col("filled") > 0)
    joined = filled.join(found, on=["order_id", "instrument_id", "side"])
    assert joined.height == filled.height > 100
    assert (joined["size"] == joined["filled"]).all()
    late_s = (joined["ts_event_right"] - joined["ts_event"]).dt.total_seconds()
    assert late_s.min() == 0
    assert joined.filter(pl.col("ts_event") == pl.col("ts_event_right")).height == joined.height


@pytest.mark.jit
def test_episodes_add_up_their_children() -> None:
    """Contracts and children of an episode are those of its children; k is what was asked for."""
    truth = simulated()[2]
    sums = truth.children.group_by("label_id").agg(
        pl.col("asked").sum(),
        pl.col("filled").sum(),
        pl.len().cast(pl.Int64).alias("count"),
        pl.col("ts_event").min().alias("first"),
        pl.col("ts_event").max().alias("last"),
    )
    joined = truth.episodes.filter(pl.col("positive")).join(sums, on="label_id")
    assert (joined["contracts_planned"] == joined["asked"]).all()
    assert (joined["contracts_filled"] == joined["filled"]).all()
    assert (joined["contracts_filled"] == joined["contracts_planned"]).all()
    assert (joined["children_planned"] == joined["count"]).all()
    assert (joined["first"] >= joined["start"]).all()
    for one in joined.iter_rows(named=True):
        asked = {2.0, 5.0, 10.0, 25.0, 50.0}
        contracts = {max(1, round(k * one["mean_abs_net"])) for k in asked}
        assert one["contracts_planned"] in contracts
        assert one["tier"] == tier_of(one["usual_trades_hour"])


@pytest.mark.jit
@pytest.mark.filterwarnings("ignore:The inplace keyword")  # databento's own call of pandas
def test_databento_reads_a_session() -> None:
    """Its store takes the bytes, maps every record, and counts as many as we do."""
    _, data, _ = simulated()
    frame = DBNStore.from_bytes(data).to_df()
    assert len(frame) == len(events(data))
    assert frame["symbol"].notna().all()


@pytest.mark.jit
def test_a_null_session_has_no_labels() -> None:
    """Without plants and negatives nothing is labelled, and ordinary flow is the same."""
    session = SimulatedSession(load_world("evaluation"), 3, DAY, plants=0, negatives=0)
    assert session.truth().episodes.height == 0
    assert session.truth().children.height == 0
    planned = simulated()[0].simulation.flow
    assert planned is not None
    assert session.simulation.flow is not None
    assert (session.simulation.flow.trades == planned.trades).all()


def test_tiers_have_the_studys_edges() -> None:
    """An edge belongs to the busier tier."""
    rates = (5.9, 6.0, 29.9, 30.0, 119.9, 120.0)
    expected = [TIERS[place] for place in (0, 1, 1, 2, 2, 3)]
    assert [tier_of(rate) for rate in rates] == expected


@pytest.mark.jit
def test_truth_survives_its_files(tmp_path: Path) -> None:
    """What is written is read back, and what is missing is named."""
    truth = simulated()[2]
    assert len(write_truth(tmp_path, "day", truth)) == 4
    for actual, expected in zip(read_truth(tmp_path, "day"), truth, strict=True):
        assert actual.equals(expected)
    with pytest.raises(DataError, match="other"):
        read_truth(tmp_path, "other")
