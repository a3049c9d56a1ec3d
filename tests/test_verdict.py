"""One window judged by itself: equal to its oracle, monotone, gated by each key."""

from __future__ import annotations

from typing import Any

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from ifd_fast import scores
from ifd_fast.ranking import Ranking, make_limits
from ifd_kernels.signals import LIMITS
from tests.oracle import verdict as oracle
from tests.strategies_scoring import expectations, limits, profiles, tables
from tests.test_scoring import expected_of, profile_of

TOLERANCE = 1e-9

NAMES = ("bid_volume", "ask_volume", "trades", "kind", "share", "marks")
counts = st.integers(0, 400)


KNOWN = make_limits(ready=True, sessions=20.0, line=(4.0, 0.8))[0]


def judged(
    window: dict[str, Any], expected: dict[str, Any], profile: dict[str, Any], worth: Any = KNOWN
) -> Any:
    """Return the kernels' verdict on one window."""
    row = np.zeros(1, LIMITS)
    for name in LIMITS.names or ():
        row[name] = worth[name]
    ranking = Ranking(tables(), row)
    asked, history = profile_of(profile), expected_of([expected])
    return scores.score_one(asked, history, ranking=ranking, **window)[0]


@st.composite
def windows(draw: st.DrawFn) -> dict[str, Any]:
    """Return one 300 s window: contracts, trades, kind, share of the session, marks."""
    return {
        "bid_volume": draw(counts),
        "ask_volume": draw(counts),
        "trades": draw(st.integers(0, 500)),
        "kind": draw(st.sampled_from([1, 2])),
        "share": draw(st.floats(0, 0.1)),
        "marks": draw(st.sampled_from([0, 512, 256, 16, 1])),
    }


@given(windows(), expectations(), profiles(), limits())
def test_score_record_equals_its_oracle(
    window: dict[str, Any],
    expected: dict[str, Any],
    profile: dict[str, Any],
    worth: dict[str, Any],
) -> None:
    """Every field the oracle knows, for any window, history and profile."""
    bid, ask, trades, kind, share, marks = (window[name] for name in NAMES)
    wanted = oracle.score_record(
        bid, ask, trades, kind, share, marks, expected, profile, tables(), worth
    )
    actual = judged(window, expected, profile, worth)
    for name, value in wanted.items():
        assert actual[name] == pytest.approx(value, rel=TOLERANCE, abs=1e-300), name


@given(windows(), expectations(), profiles(), st.integers(1, 50))
def test_more_of_the_larger_side_never_lowers_confidence(
    window: dict[str, Any], expected: dict[str, Any], profile: dict[str, Any], more: int
) -> None:
    """Contracts on the larger side, the trades they came in included, only help."""
    larger = "ask_volume" if window["ask_volume"] > window["bid_volume"] else "bid_volume"
    if window["ask_volume"] == window["bid_volume"]:
        return
    before = judged(window, expected, profile)
    after = judged(window | {larger: window[larger] + more}, expected, profile)
    assert after["final_confidence"] >= before["final_confidence"] * (1 - TOLERANCE)
    assert after["side"] == before["side"]


@given(windows(), expectations(), profiles())
def test_an_anomaly_never_lowers_confidence(
    window: dict[str, Any], expected: dict[str, Any], profile: dict[str, Any]
) -> None:
    """A history in which such ratios are rarer leaves the confidence as high or higher."""
    usual = judged(window, expected | {"log_ratio_sd": 2.0, "log_ratio_mean": 0.0}, profile)
    rare = judged(window, expected | {"log_ratio_sd": 0.5, "log_ratio_mean": 0.0}, profile)
    assert rare["final_confidence"] >= usual["final_confidence"]


@given(windows(), expectations(), profiles())
def test_quality_is_the_factor_of_the_grade(
    window: dict[str, Any], expected: dict[str, Any], profile: dict[str, Any]
) -> None:
    """A 1, B .9, C .7, D .4, F 0: of the feed's grade or the history's, whichever is worse."""
    actual = judged(window, expected, profile)
    assert actual["quality"] == (1.0, 0.9, 0.7, 0.4, 0.0)[actual["grade"]]


@given(windows(), expectations(), profiles(), st.floats(0, 20))
def test_less_history_never_raises_the_grade(
    window: dict[str, Any], expected: dict[str, Any], profile: dict[str, Any], less: float
) -> None:
    """Grades are numbers from 0 (A) to 4 (F)."""
    whole = judged(window, expected | {"sessions": 20.0}, profile)
    part = judged(window, expected | {"sessions": 20.0 - less}, profile)
    assert part["grade"] >= whole["grade"]
    assert part["quality"] <= whole["quality"]
