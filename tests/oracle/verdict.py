"""From evidence to verdict in plain Python: components, confidence, gates (design §7)."""

from __future__ import annotations

import math
from typing import Any

from tests.oracle import evidence, ranks

GATES = {
    1: ("pressure_ratio_towards", "min_pressure_ratio"),
    2: ("persistence", "min_time_persistence"),
    8: ("final_confidence", "min_overall_confidence"),
    16: ("quality", "min_data_quality"),
}


def judge(
    found: dict[str, Any], expected: dict[str, Any], profile: dict[str, Any], limits: Any
) -> dict[str, Any]:
    """Complete a signal from its evidence; `side` is 1 buying, -1 selling, 0 neither.

    `found["q"]` is the family over the sides at least as strong.
    """
    row = dict(found)
    bid, ask, sign = row["bid_volume"], row["ask_volume"], row["side"]
    known = bid + ask
    row["pressure_ratio"] = (ask + 0.5) / (bid + 0.5)
    row["dominant_side"] = (ask > 0.6 * known) - (bid > 0.6 * known)
    row["volume_concentration"] = abs(ask - bid) / known if known else 0.0
    of_feed = evidence.feed_grade(row["marks"])
    seconds = row["bid_votes"] + row["ask_votes"] + row["paired_votes"]
    row["pressure_confidence"] = min(1.0, seconds / 20) * evidence.feed_quality(of_feed)
    row["delta_sign"] = {1: sign, 2: -sign}.get(row["kind"], 0)

    sessions = evidence.bounded(expected["sessions"], 0.0, 1e6)
    value = evidence.log_ratio(bid, ask)
    row["sessions"] = sessions
    row["cell"] = expected["cell"]
    row["zscore"] = evidence.zscore(
        value, expected["log_ratio_mean"], expected["log_ratio_sd"], sessions
    )
    row["baseline_ratio"] = math.exp(evidence.bounded(expected["log_ratio_mean"], -20, 20))
    row["percentile_rank"] = evidence.percentile_rank(
        value, expected["log_ratio_quantiles"], sessions
    )
    row["anomaly"] = int(sign * row["zscore"] >= 2.0)
    lookback = evidence.bounded(profile["lookback_days"], 1.0, 1e6)
    completeness = evidence.bounded(sessions / lookback, 0.0, 1.0)
    of_ranks = evidence.history_grade(min(1.0, limits["sessions"] / lookback), 0)
    of_history = evidence.history_grade(completeness, expected["cell"])
    row["grade"] = max(of_feed, of_history, of_ranks)
    row["quality"] = evidence.feed_quality(row["grade"])

    judge_maker(row)
    judge_confidence(row, profile, limits)

    swapped = (bid, ask) if sign > 0 else (ask, bid)
    row["pressure_ratio_towards"] = (swapped[1] + 0.5) / (swapped[0] + 0.5)
    row["failed"] = sum(bit for bit, (name, key) in GATES.items() if not row[name] >= profile[key])
    row["failed"] += 4 * (row["p"] > evidence.p_value(profile["min_baseline_anomaly"]))
    row["failed"] += 32 * (row["grade"] > 2)
    promised = row["false_alerts"] <= profile["false_alerts_per_session"]
    row["failed"] += 64 * (not (limits["ready"] and promised))
    row["candidate"] = int(confidence_class(row["final_confidence"]) > 0)
    row["alert"] = int(row["candidate"] and row["failed"] == 0)
    del row["pressure_ratio_towards"]
    return row


def confidence_class(confidence: float) -> int:
    """Return how many of the classes' edges the confidence has reached."""
    return sum(confidence >= edge for edge in (0.5, 0.6, 0.7, 0.8, 0.9))


def judge_family(row: dict[str, Any], family: float) -> None:
    """Fill q: p times the options over the sides at least as strong."""
    row["q"] = min(1.0, row["p"] * family)


def judge_maker(row: dict[str, Any]) -> None:
    """Fill how likely the flow is a maker's."""
    sign = row["side"]
    total = row["bid_votes"] + row["ask_votes"]
    against = row["bid_votes"] if sign > 0 else row["ask_votes"]
    row["maker_probability"] = evidence.maker_probability(
        against,
        total,
        row["paired_votes"],
        bool(row["crush"]),
        row["in_step"],
        row["companion_decades"],
    )
    row["straddle"] = int(row["paired_votes"] > 0.5 * (total + row["paired_votes"]))


def judge_confidence(row: dict[str, Any], profile: dict[str, Any], limits: Any) -> None:
    """Fill p, q, and the confidence with its components in log-odds."""
    sign = row["side"]
    row["p"] = 10.0 ** -row["rank"]
    judge_family(row, row["q"])
    decades = evidence.null_decades(limits, row["rank"])
    row["false_alerts"] = 10.0**-decades
    raw = evidence.raw_log_odds(limits, decades, row["persistence"])
    history = evidence.anomaly_log_odds(limits, sign * row["zscore"])
    activity = evidence.activity_log_odds(limits, row["usual_votes"])
    bonus = evidence.coordination_log_odds(limits, row["coordination"])
    loss = evidence.maker_log_odds(
        limits, profile["market_making_penalty"], row["maker_probability"]
    )
    row["raw_log_odds"], row["anomaly_log_odds"] = raw, history
    row["activity_log_odds"] = activity
    row["market_making_penalty"], row["coordination_bonus"] = loss, bonus
    row["raw_confidence"] = evidence.confidence(raw)
    row["baseline_confidence"] = 1 - evidence.p_value(max(0.0, sign * row["zscore"]))
    row["final_confidence"] = evidence.confidence(raw + history + activity + bonus - loss)


def score_record(
    bid: int, ask: int, trades: int, kind: int, share: float, marks: int,
    expected: dict[str, Any], profile: dict[str, Any], tables: Any, limits: Any,
) -> dict[str, Any]:  # fmt: skip
    """Judge one 300 s window by itself: each trade counts as a second of its own."""
    known = bid + ask
    votes = [min(trades * side / known, side, 300.0) if known else 0.0 for side in (bid, ask)]
    row: dict[str, Any] = {
        "bid_volume": bid, "ask_volume": ask, "bid_votes": votes[0], "ask_votes": votes[1],
        "paired_votes": 0, "crush": 0, "in_step": 0.0,
        "companion_decades": 0.0, "coordination": 0.0, "q": 1.0, "rank": 0.0, "kind": kind,
        "side": (ask > bid) - (bid > ask), "marks": marks, "persistence": 0.5, "deviate": 0.0,
    }  # fmt: skip
    share = evidence.bounded(share, evidence.MIN_SHARE, 1.0)
    row["usual_votes"] = evidence.usual_votes(expected["votes_1"], share)
    for channel, cap, name in ((evidence.A, 1, "votes_1"), (evidence.C, 10, "votes_10")):
        smaller, larger = sorted(
            min(cap * v, volume) for v, volume in zip(votes, (bid, ask), strict=True)
        )
        net = larger - smaller
        least = profile["min_volume_concentration"] * (larger + smaller)
        if net >= evidence.MIN_NET[channel] and net >= least:
            level = evidence.bounded(expected[name], evidence.MIN_SESSION_VOTES, 1e9)
            mean = level * share / 2
            found = evidence.surprise(larger, smaller, mean, mean, channel)
            rank = ranks.rank_of(tables, channel, 1, level * share, found)
            if rank > row["rank"]:
                row["rank"], row["deviate"] = rank, found
    return judge(row, expected, profile, limits)
