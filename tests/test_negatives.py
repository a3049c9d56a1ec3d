"""Hard negatives: each kind is what its name says, in the stream and in the truth.

Goal: labels that a detector can be held against. Method: plans of many sessions, and one stream
with all kinds replayed by an independent checker.
"""

from __future__ import annotations

import collections
import datetime as dt
import functools

import msgspec
import polars as pl
import pytest

from ifd_fast.errors import ConfigError
from ifd_fast.negatives import MAKERS
from ifd_fast.planner import SessionPlan, session_of
from ifd_fast.planning import plan_session
from ifd_fast.simulated_sessions import SimulatedSession
from ifd_fast.simulation import Simulation
from ifd_fast.truth import NEGATIVE_KINDS, Truth
from ifd_fast.world import World, load_world
from tests.oracle.market_stream import Checker, Record, read_records

DAY = dt.date(2026, 3, 11)


@functools.cache
def light_world() -> World:
    """Return the evaluation world with a fifth of its strikes and fewer quotes."""
    world = load_world("evaluation")
    replace = msgspec.structs.replace
    chain = replace(world.chain, strikes=15, strike_step=50.0)
    flow = replace(world.flow, future_trades_hour=60.0)
    return replace(world, chain=chain, flow=flow, clock=replace(world.clock, quotes_s=0.5))


@functools.cache
def streamed() -> tuple[list[Record], Truth, SimulatedSession]:
    """Return the records and the truth of a light session with all kinds."""
    session = SimulatedSession(light_world(), 4, DAY, plants=2, negatives=20)
    chunks = list(session.mbo_chunks())[1:]
    return [record for chunk in chunks for record in read_records(chunk)], session.truth(), session


@functools.cache
def plans() -> tuple[SessionPlan, ...]:
    """Return what is planned for 40 days."""
    days = [dt.date(2026, 3, 2) + dt.timedelta(days=count) for count in range(56)]
    world = load_world("evaluation")
    return tuple(plan_session(world, 9, day) for day in days if day.weekday() < 5)


def test_every_kind_has_a_maker() -> None:
    """The truth's list of kinds is the planner's."""
    assert set(MAKERS) == set(NEGATIVE_KINDS)


@pytest.mark.jit
def test_books_stay_legal_whatever_is_planted() -> None:
    """Replayed by the book's rules nothing is crossed or unknown, over a gap and a crush too."""
    records, truth, session = streamed()
    checker = Checker(session.simulation.session.open_ns)
    for record in records:
        checker.take(record)
    assert checker.faults == []
    assert {turn.kind for turn in session.plan.turns} == {"gap", "vol"}
    assert "C unknown" not in checker.odd
    kinds = set(truth.episodes["kind"])
    assert len(kinds) >= len(NEGATIVE_KINDS)


@pytest.mark.jit
@pytest.mark.parametrize("chunk", [700, 4_096])
def test_the_size_of_a_chunk_changes_nothing(chunk: int) -> None:
    """A planned session that stops often is the one that doesn't, over gap and crush too."""
    records, _, session = streamed()
    again = Simulation(light_world(), 4, session_of(DAY), chunk_records=chunk, plan=session.plan)
    data = b"".join(part.tobytes() for part in again)
    assert read_records(data) == records


@pytest.mark.jit
def test_another_seed_is_another_session() -> None:
    """Plans and flow depend on the seed and on the day, and on nothing else."""
    first, again, other = (plan_session(light_world(), seed, DAY) for seed in (1, 1, 2))
    assert first.children == again.children
    assert first.episodes == again.episodes
    assert first.children != other.children
    later = plan_session(light_world(), 1, DAY + dt.timedelta(days=1))
    assert later.children != first.children


@pytest.mark.jit
def test_a_gap_is_silent_and_ends_with_books() -> None:
    """No record bears a time inside a gap; at its end every book is cleared and sent again."""
    records, truth, session = streamed()
    gap = truth.episodes.filter(pl.col("kind") == "feed_gap")
    assert gap.height == 1
    start, end = (int(gap[name].cast(pl.Int64)[0]) for name in ("start", "end"))
    assert not [record for record in records if start <= record[1] < end]
    cleared = [record for record in records if record[6] == "R" and not record[5] & 32]
    assert len(cleared) == len(session.chain)
    assert {record[1] for record in cleared} == {end}


@pytest.mark.jit
def test_what_expires_leaves() -> None:
    """After 15:00 in Chicago nothing is heard of expired options; their books are empty."""
    records, _, session = streamed()
    expired = {
        item.instrument_id: item.expiration_ns
        for item in session.chain
        if item.expiration_ns < session.end_ns
    }
    assert len(expired) >= 30
    books: dict[int, set[int]] = {who: set() for who in expired}
    for record in records:
        who, at, order_id, action = record[0], record[1], record[2], record[6]
        if who in expired:
            assert at <= expired[who]
            if action == "A":
                books[who].add(order_id)
            elif action == "C":
                books[who].discard(order_id)
            elif action == "R":
                books[who].clear()
    assert not any(books.values())
    assert max(record[1] for record in records) > max(expired.values()) + 1_800 * 10**9


@pytest.mark.jit
def test_a_crush_sells_what_falls() -> None:
    """In a crush every child sells, calls and puts alike, and what is paid falls."""
    _, truth, _ = streamed()
    rows = truth.episodes.filter(pl.col("kind") == "vol_crush")
    assert set(rows["option_type"]) == {"C", "P"}
    assert set(rows["side"]) == {-1}
    assert rows["cluster_id"].n_unique() == 1
    children = truth.children.filter(pl.col("label_id").is_in(rows["label_id"].to_list()))
    assert set(children["side"]) == {-1}
    prices = children.group_by("label_id").agg(
        (pl.col("price").last() - pl.col("price").first()).alias("change")
    )
    fallen = prices.filter(pl.col("change") < 0).height
    assert fallen > 0.6 * prices.height


@pytest.mark.jit
def test_packages_come_together() -> None:
    """Call and put of a straddle or strangle trade within 50 ms, on one side, in one size."""
    for kind in ("straddle", "strangle"):
        _, truth, _ = streamed()
        rows = truth.episodes.filter(pl.col("kind") == kind)
        for _, pair in rows.group_by("cluster_id"):
            assert set(pair["option_type"]) == {"C", "P"}
            assert pair["strike"].n_unique() == (1 if kind == "straddle" else 2)
            legs = [
                truth.children.filter(pl.col("label_id") == label).sort("ts_event")
                for label in pair["label_id"]
            ]
            away = (legs[0]["ts_event"] - legs[1]["ts_event"]).dt.total_milliseconds().abs()
            assert (away <= 50).all()
            assert (legs[0]["side"] == legs[1]["side"]).all()
            assert sorted(legs[0]["asked"]) == sorted(legs[1]["asked"])


@pytest.mark.jit
def test_spreads_print_their_legs() -> None:
    """A covered or calendar spread trades itself, and each leg prints as many contracts."""
    records, truth, _ = streamed()
    prints: dict[tuple[int, int], int] = collections.Counter()
    for record in records:
        if record[6] == "T" and record[2] == 0:
            prints[record[0], record[1]] += record[4]
    for kind in ("covered", "calendar"):
        rows = truth.episodes.filter(pl.col("kind") == kind)
        spread = rows.filter(pl.col("option_type") == "S")
        legs = rows.filter(pl.col("option_type") != "S")
        assert legs.height == spread.height * (1 if kind == "covered" else 2)
        children = truth.children.filter(pl.col("label_id").is_in(spread["label_id"].to_list()))
        clusters = dict(zip(spread["label_id"], spread["cluster_id"], strict=True))
        times = children["ts_event"].cast(pl.Int64)
        for label, at, filled in zip(children["label_id"], times, children["filled"], strict=True):
            for leg in legs.filter(pl.col("cluster_id") == clusters[label])["instrument_id"]:
                assert prints[leg, at] >= filled


@pytest.mark.jit
def test_turns_and_noise_have_no_side() -> None:
    """A maker's turn ends flat; odd lots are of one contract; a block is one trade."""
    for plan in plans():
        children = collections.defaultdict(list)
        for child in plan.children:
            children[child.label_id].append(child)
        for one in plan.episodes:
            own = children[one.label_id]
            if one.kind == "maker_turn":
                assert sum(child.side * child.asked for child in own) == 0
            elif one.kind == "odd_lots":
                assert {child.asked for child in own} == {1}
            elif one.kind == "odd_block":
                assert len(own) == 1
                assert own[0].asked >= 100


@pytest.mark.jit
def test_kinds_come_as_weighed() -> None:
    """Over 40 sessions each kind comes about as often as its weight says."""
    world = load_world("evaluation")
    assert world.labels is not None
    seen: collections.Counter[str] = collections.Counter()
    for plan in plans():
        episodes = {(one.kind, one.cluster_id or -one.label_id) for one in plan.episodes}
        seen.update(kind for kind, _ in episodes)
    assert seen["metaorder"] == 6 * len(plans())
    for kind, weight in world.labels.negatives.items():
        assert seen[kind] == pytest.approx(weight * len(plans()), rel=0.3), kind


@pytest.mark.jit
def test_combinations_are_balanced() -> None:
    """Over 40 sessions sides, types, tiers, durations and styles come equally often."""
    planted = [
        one
        for plan in plans()
        for one in plan.episodes
        if one.kind == "metaorder" and one.cluster_id is None
    ]
    assert len(planted) > 150
    for values in (
        [one.side for one in planted],
        [one.style for one in planted],
        [one.end_ns - one.start_ns for one in planted],
    ):
        counts = collections.Counter(values)
        for count in counts.values():
            assert count == pytest.approx(len(planted) / len(counts), rel=0.35)


@pytest.mark.jit
def test_no_instrument_is_used_twice() -> None:
    """Two episodes of a session never share an instrument."""
    for plan in plans():
        slots = [one.slot for one in plan.episodes if one.slot >= 0]
        assert len(slots) == len(set(slots))


def test_unknown_kinds_are_refused() -> None:
    """A weight of a kind that nobody makes is named."""
    world = light_world()
    assert world.labels is not None
    labels = msgspec.structs.replace(world.labels, negatives={"hats": 1.0})
    with pytest.raises(ConfigError, match="hats"):
        plan_session(msgspec.structs.replace(world, labels=labels), 1, DAY)
    with pytest.raises(ConfigError, match="labels"):
        plan_session(load_world("ci"), 1, DAY)
