"""Packages in a simulated session: planted spreads are no one-sided flow of their legs."""

from __future__ import annotations

import functools
from pathlib import Path
from tempfile import TemporaryDirectory

import polars as pl
import pytest

import ifd_fast
from ifd_fast.collecting import ReplayResult
from ifd_fast.simulated_sessions import SimulatedSession
from tests.test_negatives import DAY, light_world


@functools.cache
def replayed() -> tuple[ReplayResult, pl.DataFrame]:
    """Return the replay of a session with covered and calendar spreads, and what was planted."""
    session = SimulatedSession(light_world(), 4, DAY, plants=2, negatives=20)
    with TemporaryDirectory() as folder:
        mbo, definitions = Path(folder) / "a.mbo.dbn", Path(folder) / "a.definition.dbn"
        definitions.write_bytes(session.definition_bytes())
        with mbo.open("wb") as file:
            for chunk in session.mbo_chunks():
                file.write(chunk)
        result = ifd_fast.replay(mbo, definitions=[definitions])
        kept = (result.facts, result.handovers)
        assert all(frame.height for frame in kept)
    return result, session.truth().episodes


@pytest.mark.jit
def test_every_print_of_a_leg_is_claimed() -> None:
    """The simulator prints every leg of a spread's trade; all of them are found."""
    result, _ = replayed()
    counts = result.document["counts"]["packages"]
    assert counts["spread_trades"] > 100
    assert counts["contracts"] > 0
    odd = ("unprinted_contracts", "claims_uneven", "trades_untracked")
    assert {name: counts[name] for name in odd} == dict.fromkeys(odd, 0)
    assert counts["contracts"] == result.facts["package_volume"].sum()
    assert counts["volatility_contracts"] == result.facts["volatility_volume"].sum()


@pytest.mark.jit
@pytest.mark.parametrize("kind", ["covered", "calendar"])
def test_planted_spreads_hand_over_nothing_of_their_legs(kind: str) -> None:
    """What the scorer has of a leg is all its trades' sided volume but the planted spread's."""
    result, episodes = replayed()
    legs = episodes.filter((pl.col("kind") == kind) & (pl.col("option_type") != "S"))
    assert legs.height > 0
    assert (legs["contracts_filled"] > 0).any()
    sided = pl.col("bid_volume") + pl.col("ask_volume")
    total = sided + pl.col("unknown_volume")
    for leg in legs.iter_rows(named=True):
        mine = pl.col("instrument_id") == leg["instrument_id"]
        facts = result.facts.filter(mine).select(
            sided.sum().alias("sided"), total.sum().alias("all"), pl.col("package_volume").sum()
        )
        handed = result.handovers.filter(mine).select(sided.sum()).item()
        row = facts.row(0, named=True)
        assert row["package_volume"] >= leg["contracts_filled"] > 0
        assert row["sided"] - row["package_volume"] <= handed <= row["all"] - row["package_volume"]
