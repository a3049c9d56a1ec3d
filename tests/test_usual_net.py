"""Mean |net|: the packaged table is the measured one, and the tape agrees with it.

Goal: a k that means what it says. Method: the table measured anew, a closed form where trades are
rare, and windows of simulated tape beside what the table expects of them.
"""

from __future__ import annotations

import datetime as dt
import itertools

import msgspec
import numpy as np
import pytest

from ifd_fast.arrivals import season_of
from ifd_fast.simreport import MBO
from ifd_fast.simulated_sessions import SimulatedSession
from ifd_fast.usual_net import UsualNet, encode_usual, flow_digest, measure_usual, usual_net
from ifd_fast.world import World, load_world
from ifd_fast.worlds import stress_world
from ifd_kernels.layout import SECOND_NS


def flat(usual: UsualNet) -> list[float]:
    """Return all numbers of a table in order."""
    document = msgspec.json.decode(encode_usual("", usual))
    del document["flow_digest"]

    def numbers(value: object) -> list[float]:
        if isinstance(value, list):
            return [one for part in value for one in numbers(part)]
        return [float(str(value))]

    return [one for value in document.values() for one in numbers(value)]


@pytest.mark.jit
@pytest.mark.slow
def test_the_packaged_table_is_the_measured_one() -> None:
    """Measured again, the packaged world's table is the packaged table."""
    world = load_world("evaluation")
    assert flat(usual_net(world)) == pytest.approx(flat(measure_usual(world)), rel=1e-7, abs=1e-7)


def test_more_trades_or_time_give_more_net() -> None:
    """Mean |net| grows with expected trades, in step where they are rare, slower where not."""
    usual = usual_net(load_world("evaluation"))
    for row in range(3):
        for duration in (60.0, 200.0, 1_800.0):
            trades = [0.01 * 2**step for step in range(16)]
            found = [usual.mean_abs_net(duration, row, one) for one in trades]
            assert all(low < high for low, high in itertools.pairwise(found))
    rare = usual.mean_abs_net(60.0, 0, 0.0001)
    assert rare == pytest.approx(0.0001 * usual.mean_size(0), rel=0.35)
    assert usual.mean_abs_net(60.0, 0, 0.00005) == pytest.approx(rare / 2)
    many = usual.mean_abs_net(1_800.0, 2, 80.0)
    assert many == pytest.approx(usual.mean_abs_net(1_800.0, 2, 20.0) * 2, rel=0.35)


def test_what_flow_does_not_depend_on_needs_no_new_table() -> None:
    """A busier, shorter or sideless day is measured against the usual one."""
    world = load_world("evaluation")
    for stress in ("activity_4", "activity_quarter", "half_day", "side_n_100"):
        assert flow_digest(stress_world(world, stress)) == flow_digest(world)
    assert flow_digest(stress_world(world, "strikes_120")) != flow_digest(world)


def test_votes_are_fewer_than_trades() -> None:
    """Trades of one side in one second share a vote, more of them the busier a strike is."""
    usual = usual_net(load_world("evaluation"))
    votes = [usual.votes_a_trade(rate) for rate in (1.5, 20.0, 300.0)]
    assert 0.8 < votes[2] < votes[0] <= 1.0


def light_world() -> World:
    """Return the evaluation world with fewer quotes."""
    world = load_world("evaluation")
    return msgspec.structs.replace(world, clock=msgspec.structs.replace(world.clock, quotes_s=1.0))


@pytest.mark.jit
@pytest.mark.slow
def test_the_tape_agrees_with_the_table() -> None:
    """Over null sessions |net| of five-minute windows is the table's, to 15 % in every size row.

    The levels of six days differ by some 10 % from their mean; prints without a side and orders
    that found too few contracts make the tape 2 to 7 % smaller.
    """
    world = light_world()
    usual = usual_net(load_world("evaluation"))
    expected, actual = np.zeros(3), np.zeros(3)
    for day in range(2, 8):
        trade_date = dt.date(2026, 2, 2) + dt.timedelta(days=day + 2 * (day > 4))
        session = SimulatedSession(world, 11, trade_date, plants=0, negatives=0)
        chunks = list(session.mbo_chunks())[1:]
        trades = np.concatenate([np.frombuffer(chunk, dtype=MBO) for chunk in chunks])
        trades = trades[trades["action"] == b"T"]
        ids = np.array([item.instrument_id for item in session.chain])
        order = np.argsort(ids)
        slot = order[np.searchsorted(ids[order], trades["instrument_id"])]
        part = (trades["ts_event"].astype(np.int64) - session.simulation.start_ns) // (
            300 * SECOND_NS
        )
        sign = (trades["side"] == b"B").astype(float) - (trades["side"] == b"A")
        net = np.bincount(
            slot * 276 + part, weights=sign * trades["size"], minlength=len(ids) * 276
        ).reshape(len(ids), 276)
        activity = session.simulation.activity
        assert session.simulation.flow is not None
        assert world.arrivals is not None
        season = season_of(world.arrivals, session.simulation.start_ns, session.end_ns)
        hours = season.shares(300 * SECOND_NS, 276)
        lots = activity.lots()
        for one, item in enumerate(session.chain):
            if item.instrument_class in "CP" and one % 7 == 0:
                rate = activity.rates[one] * float(session.simulation.flow.factor[one])
                for window in range(190, 264, 9):
                    trades_expected = rate * float(hours[window])
                    expected[lots[one]] += usual.mean_abs_net(300.0, lots[one], trades_expected)
                    actual[lots[one]] += abs(net[one, window])
    assert (expected > 0).all()
    assert actual / expected == pytest.approx(0.95, rel=0.15)
