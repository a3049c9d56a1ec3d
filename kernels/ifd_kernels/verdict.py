"""From evidence to verdict: fill a signal's row with components, confidence, grade and gates.

A row comes in with its evidence (deviate, votes, contracts, quality of the feed) and leaves
complete. Both scorers use it, the rolling one and the one for a single record.
"""

from __future__ import annotations

from math import exp
from typing import Final

import numpy as np
from numpy.typing import NDArray

from ifd_kernels._jit import kernel
from ifd_kernels.evidence import (
    CHANNEL_A,
    CHANNEL_C,
    DISPERSION,
    MAX_SESSION_VOTES,
    MIN_NET,
    MIN_SESSION_VOTES,
    MIN_SHARE,
    activity_log_odds,
    anomaly_log_odds,
    bounded,
    confidence,
    coordination_log_odds,
    feed_grade,
    feed_quality,
    history_grade,
    log_ratio,
    maker_log_odds,
    maker_probability,
    null_decades,
    p_value,
    percentile_rank,
    raw_log_odds,
    surprise,
    usual_votes,
    zscore,
)
from ifd_kernels.layout import KIND_CALL, KIND_PUT, Records
from ifd_kernels.ranks import rank_of
from ifd_kernels.signals import CLASSES

__all__ = [
    "confidence_class",
    "judge",
    "judge_evidence",
    "judge_family",
    "judge_thresholds",
    "score_record",
]

# Gates a signal failed; an alert fails none.
FAILED_RATIO: Final = 1  # min_pressure_ratio
FAILED_PERSISTENCE: Final = 2  # min_time_persistence
FAILED_ANOMALY: Final = 4  # min_baseline_anomaly
FAILED_CONFIDENCE: Final = 8  # min_overall_confidence
FAILED_QUALITY: Final = 16  # min_data_quality
FAILED_GRADE: Final = 32  # grade D or F
FAILED_BUDGET: Final = 64  # false_alerts_per_session, or there are no ranks to keep it by

ALERT_GRADE: Final = 2  # C
STRADDLE_SHARE: Final = 0.5  # paired votes of all votes, from which a straddle is said
ANOMALY_DEVIATES: Final = 2.0
BUY_SHARE: Final = 0.6  # of known contracts; SELL below 1 - BUY_SHARE
FULL_TRADES: Final = 20.0  # at which a window's confidence is whole
RECORD_S: Final = 300.0  # votes of cap 1 that a window can hold
RECORD_WINDOW: Final = 1  # of the ranks: 300 s
MAX_RANK: Final = 300.0


@kernel
def judge_window(out: Records, i: int) -> None:
    """Fill what the 300 s window says by itself: ratio, dominant side, concentration."""
    row = out[i]
    bid, ask = float(row["bid_volume"]), float(row["ask_volume"])
    known = bid + ask
    row["pressure_ratio"] = (ask + 0.5) / (bid + 0.5)
    row["dominant_side"] = 0
    if ask > BUY_SHARE * known:
        row["dominant_side"] = 1
    elif bid > BUY_SHARE * known:
        row["dominant_side"] = -1
    row["volume_concentration"] = abs(ask - bid) / known if known > 0.0 else 0.0
    active = float(row["bid_votes"]) + float(row["ask_votes"]) + float(row["paired_votes"])
    full = bounded(active / FULL_TRADES, 0.0, 1.0)
    row["pressure_confidence"] = full * feed_quality(feed_grade(int(row["marks"])))
    sign = int(row["side"])
    row["delta_sign"] = 0
    if row["kind"] == KIND_CALL:
        row["delta_sign"] = sign
    elif row["kind"] == KIND_PUT:
        row["delta_sign"] = -sign


@kernel
def judge_history(
    out: Records, i: int, expected: Records, slot: int, lookback: float, ranked: float
) -> None:
    """Fill what the history of ratios says of the window, and how deep that history is.

    `ranked`: sessions behind the ranks; the grade is that of the shallower history.
    """
    row, known = out[i], expected[slot]
    sessions = bounded(known["sessions"], 0.0, 1e6)
    value = log_ratio(float(row["bid_volume"]), float(row["ask_volume"]))
    deviates = zscore(value, known["log_ratio_mean"], known["log_ratio_sd"], sessions)
    row["baseline_ratio"] = exp(bounded(known["log_ratio_mean"], -20.0, 20.0))
    row["zscore"] = deviates
    row["percentile_rank"] = percentile_rank(value, expected, slot)
    row["anomaly"] = 1 if float(row["side"]) * deviates >= ANOMALY_DEVIATES else 0
    row["sessions"] = sessions
    row["cell"] = known["cell"]
    completeness = bounded(sessions / bounded(lookback, 1.0, 1e6), 0.0, 1.0)
    of_feed = feed_grade(int(row["marks"]))
    of_history = history_grade(completeness, np.int64(known["cell"]))
    of_ranks = history_grade(bounded(ranked / bounded(lookback, 1.0, 1e6), 0.0, 1.0), np.int64(0))
    row["grade"] = max(of_feed, of_history, of_ranks)
    row["quality"] = feed_quality(int(row["grade"]))


@kernel
def judge_maker(out: Records, i: int) -> None:
    """Fill how likely the flow is a maker's."""
    row = out[i]
    bid, ask = float(row["bid_votes"]), float(row["ask_votes"])
    paired = float(row["paired_votes"])
    against = bid if row["side"] > 0 else ask
    row["maker_probability"] = maker_probability(
        against, bid + ask, paired, row["crush"] > 0, row["in_step"], row["companion_decades"]
    )
    row["straddle"] = 1 if paired > STRADDLE_SHARE * (bid + ask + paired) else 0


@kernel
def judge_confidence(out: Records, i: int, penalty: float, limits: Records) -> None:
    """Fill p and the confidence with its components in log-odds."""
    row = out[i]
    towards = float(row["side"]) * float(row["zscore"])
    row["p"] = 10.0 ** -bounded(row["rank"], 0.0, MAX_RANK)
    decades = null_decades(limits, float(row["rank"]))
    row["false_alerts"] = 10.0**-decades
    raw = raw_log_odds(limits, decades, float(row["persistence"]))
    history = anomaly_log_odds(limits, towards)
    activity = activity_log_odds(limits, float(row["usual_votes"]))
    bonus = coordination_log_odds(limits, float(row["coordination"]))
    loss = maker_log_odds(limits, penalty, float(row["maker_probability"]))
    row["raw_confidence"] = confidence(raw)
    row["baseline_confidence"] = 1.0 - p_value(towards)
    row["raw_log_odds"] = raw
    row["anomaly_log_odds"] = history
    row["activity_log_odds"] = activity
    row["market_making_penalty"] = loss
    row["coordination_bonus"] = bonus
    row["final_confidence"] = confidence(raw + history + activity + bonus - loss)


@kernel
def judge_family(out: Records, i: int, family: float) -> None:
    """Fill q, Benjamini and Hochberg's; `family`: options over sides at least as strong."""
    out[i]["q"] = bounded(out[i]["p"] * family, 0.0, 1.0)


@kernel
def failed_gates(out: Records, i: int, profile: Records, limits: Records) -> int:
    """Return the FAILED bits of the profile's gates; each key acts monotonically."""
    row, asked = out[i], profile[0]
    bid, ask = float(row["bid_volume"]), float(row["ask_volume"])
    ratio = (ask + 0.5) / (bid + 0.5) if row["side"] > 0 else (bid + 0.5) / (ask + 0.5)
    failed = 0
    if not ratio >= asked["min_pressure_ratio"]:
        failed |= FAILED_RATIO
    if not row["persistence"] >= asked["min_time_persistence"]:
        failed |= FAILED_PERSISTENCE
    if not row["p"] <= p_value(asked["min_baseline_anomaly"]):
        failed |= FAILED_ANOMALY
    if not row["final_confidence"] >= asked["min_overall_confidence"]:
        failed |= FAILED_CONFIDENCE
    if not row["quality"] >= asked["min_data_quality"]:
        failed |= FAILED_QUALITY
    if row["grade"] > ALERT_GRADE:
        failed |= FAILED_GRADE
    if limits[0]["ready"] != 1.0:
        failed |= FAILED_BUDGET
    elif not row["false_alerts"] <= asked["false_alerts_per_session"]:
        failed |= FAILED_BUDGET
    return failed


@kernel
def confidence_class(final_confidence: float) -> int:
    """Return how many of CLASSES the confidence has reached; 0: no candidate."""
    reached = 0
    for edge in CLASSES:
        if final_confidence >= edge:
            reached += 1
    return reached


@kernel
def judge_evidence(
    out: Records, i: int, expected: Records, slot: int, lookback: float, limits: Records
) -> None:
    """Fill what the row `out[i]` of SIGNAL says whatever a profile's thresholds are."""
    judge_window(out, i)
    judge_history(out, i, expected, slot, lookback, limits[0]["sessions"])
    judge_maker(out, i)


@kernel
def judge_thresholds(out: Records, i: int, profile: Records, limits: Records) -> None:
    """Fill what a profile's thresholds make of the evidence in the row `out[i]` of SIGNAL."""
    judge_confidence(out, i, profile[0]["market_making_penalty"], limits)
    failed = failed_gates(out, i, profile, limits)
    candidate = confidence_class(float(out[i]["final_confidence"])) > 0
    out[i]["failed"] = failed
    out[i]["candidate"] = 1 if candidate else 0
    out[i]["alert"] = 1 if candidate and failed == 0 else 0


@kernel
def judge(
    out: Records, i: int, expected: Records, slot: int, profile: Records, limits: Records
) -> None:
    """Complete the row `out[i]` of SIGNAL from its evidence and the slot's history."""
    judge_evidence(out, i, expected, slot, profile[0]["lookback_days"], limits)
    judge_thresholds(out, i, profile, limits)


@kernel
def weigh_record(
    out: Records,
    i: int,
    votes: float,
    channel: int,
    share: float,
    gate: float,
    ranks: NDArray[np.float64],
) -> None:
    """Weigh one channel of a record's window; keep it if it is the stronger one.

    `votes`: expected of a session, both sides; `gate`: min_volume_concentration.
    """
    row = out[i]
    most = 1.0 if channel == CHANNEL_A else 10.0
    bid = bounded(float(row["bid_votes"]) * most, 0.0, float(row["bid_volume"]))
    ask = bounded(float(row["ask_votes"]) * most, 0.0, float(row["ask_volume"]))
    larger = ask if ask > bid else bid
    smaller = bid if ask > bid else ask
    net = larger - smaller
    if net < MIN_NET[channel] or net < gate * (larger + smaller):
        return
    mean = bounded(votes, MIN_SESSION_VOTES, MAX_SESSION_VOTES) * share / 2.0
    deviate = surprise(larger, smaller, mean, mean, DISPERSION[channel])
    rank = rank_of(ranks, channel, RECORD_WINDOW, 2.0 * mean, deviate)
    if rank > row["rank"]:
        row["rank"] = rank
        row["deviate"] = deviate
        row["channel"] = channel
        row["votes_for"] = larger
        row["votes_against"] = smaller
        row["expected_for"] = mean
        row["expected_against"] = mean


@kernel
def score_record(
    bid_volume: int,
    ask_volume: int,
    trades: int,
    kind: int,
    share: float,
    marks: int,
    expected: Records,
    profile: Records,
    ranks: NDArray[np.float64],
    limits: Records,
    out: Records,
) -> int:
    """Judge one 300 s window by itself: `expected` (1,), `profile` (1,), into `out` (1,).

    `share`: the season's share of the window. Seconds are unknown, so a trade counts as a second
    of its own, split between the sides like the contracts. A family of one; nothing is known of
    the day, the market, the twin, the neighbours or the five blocks. Returns 1 for a candidate,
    2 for an alert.
    """
    row = out[0]
    bid = float(bid_volume if bid_volume > 0 else 0)
    ask = float(ask_volume if ask_volume > 0 else 0)
    each = float(trades if trades > 0 else 0) / (bid + ask) if bid + ask > 0.0 else 0.0
    row["bid_volume"] = bid_volume if bid_volume > 0 else 0
    row["ask_volume"] = ask_volume if ask_volume > 0 else 0
    row["bid_votes"] = bounded(bid * each, 0.0, bid if bid < RECORD_S else RECORD_S)
    row["ask_votes"] = bounded(ask * each, 0.0, ask if ask < RECORD_S else RECORD_S)
    row["paired_votes"] = 0.0
    row["crush"] = 0
    row["in_step"] = 0.0
    row["companion_decades"] = 0.0
    row["coordination"] = 0.0
    row["side"] = 1 if ask > bid else -1 if bid > ask else 0
    row["kind"] = kind
    row["marks"] = marks
    row["persistence"] = 0.5
    row["window_s"] = 300
    row["channel"] = CHANNEL_A
    row["today"] = 1.0
    row["rank"] = 0.0
    row["deviate"] = 0.0
    gate = float(profile[0]["min_volume_concentration"])
    part = bounded(share, MIN_SHARE, 1.0)
    row["usual_votes"] = usual_votes(expected[0]["votes_1"], part)
    weigh_record(out, 0, expected[0]["votes_1"], CHANNEL_A, part, gate, ranks)
    weigh_record(out, 0, expected[0]["votes_10"], CHANNEL_C, part, gate, ranks)
    judge(out, 0, expected, 0, profile, limits)
    judge_family(out, 0, 1.0)
    return 2 if row["alert"] == 1 else 1 if row["candidate"] == 1 else 0
