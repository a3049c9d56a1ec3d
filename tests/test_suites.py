"""What a suite's row may say: verdicts by exact intervals, their power, worlds pooled.

Goal: no run is judged by so few sessions that it could not have failed, or passed.
"""

from __future__ import annotations

from typing import Any

import pytest

from ifd_fast import evaluating
from ifd_fast.evaluating import Plan
from ifd_fast.evaluation_run import Wanted
from ifd_fast.evaluation_suites import (
    drawn_suites,
    judge,
    pool_worlds,
    power_to_pass,
    stress_suites,
)
from ifd_fast.world import load_world
from tests.strategies_scoring import WEIGHTS


def plan_of(**changes: Any) -> Plan:
    """Return the plan of the whole evaluation."""
    return Plan(
        world=load_world("evaluation"), sessions=150, null_sessions=200, power_sessions=60,
        **changes,
    )  # fmt: skip


def row_of(false_alerts: float, low: float) -> dict[str, Any]:
    """Return what a drawn world says of its false alerts."""
    return {
        "false_alerts": false_alerts, "interval": [low, 3.0], "limit": 1.5,
        "sessions": {"null": 12},
    }  # fmt: skip


def test_a_verdict_needs_the_interval() -> None:
    """Above the limit is no, below with all of the interval is yes, anything else is open."""
    assert judge(2.1, 2.5, 2.0) is False
    assert judge(1.2, 1.9, 2.0) is True
    assert judge(1.9, 2.4, 2.0) is None


def test_sessions_are_enough_for_a_verdict() -> None:
    """A stress that keeps its promise passes with 40 sessions, nearly so with 20; not with 2."""
    assert power_to_pass(40, 1.0, 2.0) > 0.995
    assert 0.9 < power_to_pass(20, 1.0, 2.0) < power_to_pass(40, 1.0, 2.0)
    assert power_to_pass(1, 1.0, 2.0) == 0.0
    assert power_to_pass(40, 2.0, 2.0) < 0.025


def test_the_power_is_that_of_the_verdict() -> None:
    """A stress of 40 sessions passes just up to the largest count whose interval is inside."""
    assert power_to_pass(40, 1e-9, 2.0) == pytest.approx(1.0)
    powers = [power_to_pass(40, rate, 2.0) for rate in (0.5, 1.0, 1.5, 2.0)]
    assert powers == sorted(powers, reverse=True)


def test_worlds_are_pooled() -> None:
    """The mean is over worlds, with how many exceed and how many surely do."""
    found = pool_worlds([row_of(0.5, 0.2), row_of(1.0, 0.6), row_of(3.0, 1.6), row_of(2.0, 1.2)])
    assert found["false_alerts"] == pytest.approx(1.625)
    assert found["null_sessions"] == 48
    assert (found["exceed"], found["exceed_surely"]) == (2, 1)
    assert found["interval"][0] <= 1.625 <= found["interval"][1]
    assert found["met"] is False


def test_stresses_share_the_plans_history() -> None:
    """Only what changes the market, or how much of it is known, has a history of its own."""
    plan = plan_of()
    suites = stress_suites(plan)
    shared = [one.name for one in suites if one.plan.history_key() == plan.history_key()]
    assert shared == ["scored_each_0.1_s", "scored_each_1_s", "scored_each_60_s"]
    assert len({one.name for one in suites}) == len(suites) == 12
    assert min(one.plan.null_sessions for one in suites) == 20


def test_other_weights_are_played_again(monkeypatch: pytest.MonkeyPatch) -> None:
    """What a folder holds was alerted with the weights of then: newly fitted ones need another."""
    plan = plan_of()
    before = plan.history_key(), plan.key()
    monkeypatch.setattr(evaluating, "load_calibration", lambda: WEIGHTS)
    after = plan.history_key(), plan.key()
    assert not set(before) & set(after)


def test_drawn_worlds_differ() -> None:
    """Each has a history of its own, and never more sessions than the plan."""
    plan = plan_of()
    suites = drawn_suites(plan, 3)
    assert len({one.plan.history_key() for one in suites}) == 3
    small = drawn_suites(Plan(world=plan.world, sessions=1, null_sessions=2), 1)[0].plan
    assert (small.sessions, small.null_sessions) == (1, 2)


def test_parts_are_in_order_and_can_be_left_out() -> None:
    """The main table's own come first; what is skipped is not run."""
    plan = plan_of()
    every = Wanted(claims=5, worlds=2, stress=True)
    assert every.parts(plan) == ["mirrors", "claims", "stress", "worlds"]
    assert every._replace(skip=("stress", "mirrors")).parts(plan) == ["claims", "worlds"]
    assert Wanted().parts(plan) == ["mirrors"]
