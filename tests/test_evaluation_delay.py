"""When the evidence crosses: what a finer rule saw come and go between two instants is nothing."""

from __future__ import annotations

import numpy as np
import polars as pl

from ifd_fast.evaluation_delay import crossing_before, late_after_finer
from ifd_fast.matching import ALERT_SCHEMA

SECOND_NS = 1_000_000_000


def crossed_s(rows: list[tuple[float, bool, int]], alert_s: float) -> float | None:
    """Return when evidence crossed before an alert, by rows of (second, holds, episode)."""
    times = np.array([round(at_s * SECOND_NS) for at_s, _, _ in rows], np.int64)
    holds = np.array([holds for _, holds, _ in rows], np.bool_)
    episodes = np.array([episode for _, _, episode in rows], np.int64)
    found = crossing_before(times, holds, episodes, round(alert_s * SECOND_NS), SECOND_NS)
    return None if found is None else found / SECOND_NS


def test_the_start_of_the_run_that_stands_is_the_crossing() -> None:
    """Further alerts of a run move nothing, nor does what comes after the alert."""
    rows = [(99.1, False, 1), (99.4, True, 1), (99.7, True, 1), (100.2, False, 1)]
    assert crossed_s(rows, 100.0) == 99.4
    assert crossed_s([(100.0, True, 1)], 100.0) == 100.0
    assert crossed_s([(100.1, True, 1)], 100.0) is None
    assert crossed_s([], 100.0) is None


def test_what_goes_before_the_next_instant_has_not_crossed() -> None:
    """Nobody who scores each second could have seen it; a later run counts from its own start."""
    rows = [(98.6, True, 1), (98.9, False, 1), (99.2, True, 1), (99.6, False, 1), (99.7, True, 1)]
    assert crossed_s(rows, 100.0) == 99.7
    gone_at_the_instant = [(98.6, True, 1), (99.0, False, 1), (99.7, True, 1)]
    assert crossed_s(gone_at_the_instant, 100.0) == 99.7


def test_what_stood_at_an_instant_counts_though_it_went() -> None:
    """A rule that missed it is late by all of the time since, or by that to an older episode."""
    rows = [(96.6, True, 1), (97.1, False, 1), (99.7, True, 1)]
    assert crossed_s(rows, 100.0) == 96.6
    assert crossed_s([(96.6, True, 1), (97.0, True, 1), (99.7, True, 2)], 100.0) == 96.6
    assert crossed_s([(96.6, True, 1), (96.8, True, 1), (96.9, False, 1)], 100.0) is None


def test_older_than_a_minute_is_other_evidence() -> None:
    """What crossed and went more than 60 s before an alert isn't what it stands on."""
    rows = [(30.5, True, 1), (31.5, False, 1), (99.5, True, 1)]
    assert crossed_s(rows, 100.0) == 99.5


def test_alerts_are_held_against_their_own_option_and_side() -> None:
    """Quantiles are of alerts with a crossing; those without are counted, not left out."""
    alerts = pl.DataFrame(
        {
            "session": [0, 0, 0, 1],
            "instrument_id": [7, 7, 8, 7],
            "side": [1, -1, 1, 1],
            "instant_ns": [100 * SECOND_NS] * 4,
            "score": [0.9] * 4,
        },
        schema=ALERT_SCHEMA,
    )
    finer = pl.DataFrame(
        {
            "timestamp": [97_500_000_000, 99_500_000_000],
            "instrument_id": [7, 7],
            "dominant_side": ["SELL", "BUY"],
            "alert": [True, True],
            "signal_id": ["a", "b"],
        },
        schema_overrides={"timestamp": pl.Datetime("ns", "UTC"), "instrument_id": pl.UInt32()},
    )
    found = late_after_finer(alerts, {0: finer}, SECOND_NS)
    assert found is not None
    assert (found["count"], found["without"], found["within"]) == (2, 1, 0.5)
    assert (found["p50"], found["max"]) == (1.5, 2.5)
    assert late_after_finer(alerts, {}, SECOND_NS) is None
