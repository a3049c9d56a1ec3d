"""Worlds made of one: drawn from its ranges, stressed, and mirrored."""

from __future__ import annotations

import datetime as dt
from typing import Any

import msgspec
import numpy as np
import polars as pl
import pytest

from ifd_fast.errors import ConfigError, UsageError
from ifd_fast.mirrors import SUM_1E9
from ifd_fast.optionchain import list_world
from ifd_fast.simreport import MBO
from ifd_fast.simulated_sessions import SimulatedSession
from ifd_fast.truth import CHILDREN_SCHEMA, RATES_SCHEMA, SEASON_SCHEMA, TRUTH_SCHEMA
from ifd_fast.world import World, load_world
from ifd_fast.worlds import STRESSES, draw_world, stress_world
from ifd_kernels.layout import UNDEF_PRICE
from tests.conftest import ROOT

DAY = dt.date(2026, 3, 11)


def number(world: World, name: str) -> float:
    """Return the parameter of a dotted name."""
    found = msgspec.to_builtins(world)
    for part in name.split("."):
        found = found[part]
    return float(found)


def test_drawn_worlds_stay_in_their_ranges() -> None:
    """Every parameter lies in its range, all move, and a seed gives one world."""
    world = load_world("evaluation")
    assert world.ranges is not None
    drawn = [draw_world(world, seed) for seed in range(8)]
    for name, (low, high) in world.ranges.items():
        if name == "activity":
            values = [one.flow.tiers[0].trades_hour_low for one in drawn]
        else:
            values = [number(one, name) for one in drawn]
        assert all(low <= value <= high for value in values), name
        assert len(set(values)) == len(values), name
    assert draw_world(world, 3) == drawn[3]
    assert len({one.digest() for one in drawn}) == len(drawn)


def test_bad_ranges_are_refused() -> None:
    """A range of what is no number, a falling one, or none at all is named."""
    world = load_world("evaluation")
    for ranges, match in (
        ({"chain.expiries": (0.0, 1.0)}, "no number"),
        ({"hats": (0.0, 1.0)}, "no number"),
        ({"arrivals.branching": (0.6, 0.5)}, "rise"),
        ({"arrivals.branching": (1.5, 1.6)}, "bounds"),
        (None, "missing"),
    ):
        with pytest.raises(ConfigError, match=match):
            draw_world(msgspec.structs.replace(world, ranges=ranges), 1)


def test_stresses_change_what_they_name() -> None:
    """Activity, strikes, the day's length and the sideless share change, one at a time."""
    world = load_world("evaluation")
    stressed = {name: stress_world(world, name) for name in STRESSES}
    for name, level in (("activity_4", 4.0), ("activity_quarter", 0.25)):
        arrivals = stressed[name].arrivals
        assert arrivals is not None
        assert arrivals.level == level
        assert stressed[name].flow == world.flow
    for count in (120, 3_000):
        chain = list_world(stressed[f"strikes_{count}"], DAY)
        assert sum(item.instrument_class == "C" for item in chain) == count
        assert len({item.symbol for item in chain}) == len(chain)
    assert stressed["side_n_30"].irregular.implied == 0.3
    assert stressed["side_n_100"].irregular.implied == 1.0
    arrivals = stressed["half_day"].arrivals
    assert arrivals is not None
    assert arrivals.session_s < 82_800.0
    with pytest.raises(ConfigError, match="stress"):
        stress_world(world, "hats")


def light(name: str | None = None) -> World:
    """Return a quick world, stressed or not."""
    world = load_world("evaluation")
    replace = msgspec.structs.replace
    world = replace(
        world,
        chain=replace(world.chain, strikes=15, strike_step=50.0),
        clock=replace(world.clock, quotes_s=0.3),
    )
    return world if name is None else stress_world(world, name)


def records(world: World, mirror: str | None = None) -> tuple[SimulatedSession, Any]:
    """Return a session and its records."""
    session = SimulatedSession(world, 5, DAY, plants=4, negatives=8, mirror=mirror)
    data = b"".join(list(session.mbo_chunks())[1:])
    return session, np.frombuffer(data, dtype=MBO)


@pytest.mark.jit
def test_a_half_day_ends_early() -> None:
    """Nothing happens after its end, and what is planted lies before it."""
    session, found = records(light("half_day"))
    hours = (session.end_ns - session.simulation.session.open_ns) / 3600e9
    assert hours == pytest.approx(19.25)
    assert int(found["ts_event"].max()) < session.end_ns
    assert (session.truth().episodes["end"].cast(pl.Int64) <= session.end_ns).all()


@pytest.mark.jit
def test_a_busy_day_has_the_usual_rates() -> None:
    """Four times the activity is four times the trades, of strikes with the rates of always."""
    usual, _ = records(light())
    busy, _ = records(light("activity_4"))
    assert usual.simulation.activity.rates == busy.simulation.activity.rates
    assert usual.simulation.flow is not None
    assert busy.simulation.flow is not None
    trades = [len(one.simulation.flow.trades) for one in (usual, busy) if one.simulation.flow]
    assert trades[1] == pytest.approx(4 * trades[0], rel=0.1)
    columns = ["usual_trades_hour", "votes_hour", "contracts_hour"]
    assert usual.truth().rates[columns].equals(busy.truth().rates[columns])


@pytest.mark.jit
def test_trades_without_side_come_as_asked() -> None:
    """The share of ordinary trades without aggressor is what the world says."""
    _, found = records(light("side_n_30"))
    trades = found[(found["action"] == b"T") & (found["order_id"] != 0) | (found["side"] == b"N")]
    trades = trades[trades["action"] == b"T"]
    share = float(np.mean(trades["side"] == b"N"))
    assert 0.25 < share < 0.4


@pytest.mark.jit
def test_mirrored_sides_are_an_exact_image() -> None:
    """Every record of an option has the other side and K - price; truth turns with it."""
    session, plain = records(light())
    image, found = records(light(), "sides")
    future = plain["instrument_id"] == session.chain[0].instrument_id
    assert (plain[future] == found[future]).all()
    for name in ("instrument_id", "ts_event", "order_id", "size", "flags", "action", "sequence"):
        assert (plain[name] == found[name]).all()
    for one, other in ((b"A", b"B"), (b"B", b"A"), (b"N", b"N")):
        assert (found["side"][~future & (plain["side"] == one)] == other).all()
    priced = ~future & (plain["price"] != UNDEF_PRICE)
    assert (plain["price"][priced] + found["price"][priced] == SUM_1E9).all()
    assert (found["price"][plain["price"] == UNDEF_PRICE] == UNDEF_PRICE).all()
    before, after = session.truth(), image.truth()
    assert (before.episodes["side"] == -after.episodes["side"]).all()
    assert (before.children["side"] == -after.children["side"]).all()
    assert before.episodes.drop("side").equals(after.episodes.drop("side"))


@pytest.mark.jit
def test_mirrored_types_change_definitions_only() -> None:
    """Calls are defined as puts and puts as calls; records are the same bytes."""
    session, plain = records(light())
    image, found = records(light(), "types")
    assert (plain == found).all()
    for before, after in zip(session.chain, image.chain, strict=True):
        assert before.instrument_id == after.instrument_id
        assert before.strike == after.strike
        expected = {"C": "P", "P": "C"}.get(before.instrument_class, before.instrument_class)
        assert after.instrument_class == expected
    assert image.definition_bytes() != session.definition_bytes()


def test_unknown_mirrors_are_refused() -> None:
    """A mirror that doesn't exist is named."""
    with pytest.raises(UsageError, match="hats"):
        SimulatedSession(load_world("evaluation"), 1, DAY, mirror="hats")


@pytest.mark.parametrize(
    ("first", "schema"),
    [
        ("trade_date", TRUTH_SCHEMA),
        ("label_id", CHILDREN_SCHEMA),
        ("instrument_id", RATES_SCHEMA),
        ("start", SEASON_SCHEMA),
    ],
)
def test_the_page_has_every_column(first: str, schema: pl.Schema) -> None:
    """Each frame of the truth has its table in docs/world.md, in the order of its columns."""
    text = (ROOT / "docs" / "world.md").read_text("utf-8")
    tables = [part.split("\n\n")[0] for part in text.split("| column | type | meaning |\n")[1:]]
    rows = [
        [[cell.strip(" `") for cell in line.split("|")[1:3]] for line in table.splitlines()[1:]]
        for table in tables
    ]
    (found,) = [table for table in rows if table[0][0] == first]
    expected = [[name, str(kind).split("(")[0]] for name, kind in schema.items()]
    assert found == expected
