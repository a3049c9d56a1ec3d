"""Small worlds, plans, tapes, truths and alerts for the evaluation's tests."""

from __future__ import annotations

import datetime as dt
from collections.abc import Sequence

import msgspec
import polars as pl
from hypothesis import strategies as st

from ifd_fast.evaluating import Plan
from ifd_fast.matching import ALERT_SCHEMA
from ifd_fast.tapes import Tape, make_tape
from ifd_fast.truth import TRUTH_SCHEMA
from ifd_fast.world import World, load_world

__all__ = [
    "OPEN_NS",
    "SECOND_NS",
    "alerts_of",
    "flow_rows",
    "label",
    "little_plan",
    "little_world",
    "tape_of",
    "truth_of",
]

SECOND_NS = 10**9
OPEN_NS = 1_767_567_600 * SECOND_NS
CLOSE_NS = OPEN_NS + 82_800 * SECOND_NS
OPTIONS = 4  # ids 100 to 103; a call and a put of two strikes

Row = tuple[int, int, int, int, int]


@st.composite
def flow_rows(draw: st.DrawFn, most: int = 40) -> list[Row]:
    """Draw hand-overs (option, instant_ns, second, bid, ask), sorted as a tape is."""
    parts = st.tuples(
        st.integers(0, OPTIONS - 1),
        st.integers(1, 3_000),  # instant, s
        st.integers(0, 2),  # how long before it the second lies
        st.integers(0, 12),
        st.integers(0, 12),
    )
    found = {}
    for option, instant, back, bid, ask in draw(st.lists(parts, max_size=most)):
        if bid + ask > 0:
            second = OPEN_NS // SECOND_NS + max(instant - 1 - back, 0)
            found[option, OPEN_NS + instant * SECOND_NS, second] = (bid, ask)
    return [(*key, *found[key]) for key in sorted(found)]


def tape_of(rows: Sequence[Row]) -> Tape:
    """Return the tape of hand-overs (option, instant_ns, second, bid, ask)."""
    handovers = pl.DataFrame(
        [(row[1], row[2], 100 + row[0], row[3], row[4]) for row in rows],
        schema=["instant_ns", "second", "instrument_id", "bid_volume", "ask_volume"],
        orient="row",
        schema_overrides={"instrument_id": pl.UInt32()},
    )
    listed = pl.DataFrame(
        {
            "instrument_id": [100, 101, 102, 103],
            "option_type": ["C", "P", "C", "P"],
            "strike": [20_000.0, 20_000.0, 20_100.0, 20_100.0],
            "expiration": [dt.datetime(2026, 1, 9, tzinfo=dt.UTC)] * 4,
            "underlying": ["NQH6"] * 4,
        },
        schema_overrides={"instrument_id": pl.UInt32(), "expiration": pl.Datetime("ns", "UTC")},
    )
    return make_tape(handovers, listed, OPEN_NS, CLOSE_NS)


def label(
    number: int,
    instrument: int | None,
    side: int,
    start_s: float,
    end_s: float,
    *,
    session: int = 0,
    kind: str = "metaorder",
    cluster: int | None = None,
    **others: object,
) -> dict[str, object]:
    """Return one row of truth; times are seconds after the open."""
    return {
        "session": session,
        "trade_date": dt.date(2026, 1, 5),
        "label_id": number,
        "kind": kind,
        "positive": kind == "metaorder",
        "cluster_id": cluster,
        "instrument_id": instrument,
        "side": side,
        "start": OPEN_NS + round(start_s * SECOND_NS),
        "end": OPEN_NS + round(end_s * SECOND_NS),
        "duration_s": end_s - start_s,
        "k": 10.0,
        "children_filled": 20,
        "style": "time",
        "tier": "low",
        "option_type": "C",
        **others,
    }


def truth_of(labels: Sequence[dict[str, object]]) -> pl.DataFrame:
    """Return truth of several sessions as the evaluation reads it."""
    schema = {"session": pl.Int32(), **TRUTH_SCHEMA}
    rows = [{name: one.get(name) for name in schema} for one in labels]
    return pl.DataFrame(rows, schema=schema, orient="row")


def alerts_of(rows: Sequence[tuple[int, int, int, float, float]]) -> pl.DataFrame:
    """Return alerts of (session, instrument, side, seconds after the open, score)."""
    return pl.DataFrame(
        [(one[0], one[1], one[2], OPEN_NS + round(one[3] * SECOND_NS), one[4]) for one in rows],
        schema=ALERT_SCHEMA,
        orient="row",
    )


def little_world() -> World:
    """Return the evaluation's world with one expiry of ten strikes, and few quotes."""
    world = load_world("evaluation")
    replace = msgspec.structs.replace
    return replace(
        world,
        name="little",
        chain=replace(world.chain, expiries=["friday"], strikes=10, spreads=2),
        clock=replace(world.clock, quotes_s=0.5),
        book=replace(world.book, live_orders=800),
        packages=None,
    )


def little_plan(**changes: object) -> Plan:
    """Return a plan of a few sessions."""
    plan = Plan(
        world=little_world(), sessions=1, null_sessions=2, power_sessions=1, history_sessions=2,
        plants=3, power_plants=4, negatives=0, fine_sessions=1, mirrors=1,
    )  # fmt: skip
    return msgspec.structs.replace(plan, **changes)
