"""From evidence to verdict in plain Python: components, confidence, gates (design §7)."""

from __future__ import annotations

import math
from typing import Any

from tests.oracle import evidence

GATES = {
    1: ("pressure_ratio_towards", "min_pressure_ratio"),
    2: ("persistence", "min_time_persistence"),
    4: ("deviate", "min_baseline_anomaly"),
    8: ("final_confidence", "min_overall_confidence"),
    16: ("quality", "min_data_quality"),
}


def judge(
    found: dict[str, Any], expected: dict[str, Any], profile: dict[str, Any], family: int
) -> dict[str, Any]:
    """Complete a signal from its evidence; `side` is 1 buying, -1 selling, 0 neither."""
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
    row["grade"] = max(of_feed, evidence.history_grade(completeness, expected["cell"]))
    row["quality"] = evidence.feed_quality(row["grade"])

    total = row["bid_votes"] + row["ask_votes"]
    against = row["bid_votes"] if sign > 0 else row["ask_votes"]
    row["maker_probability"] = evidence.maker_probability(
        against, total, row["paired_votes"], bool(row["crush"])
    )
    row["straddle"] = int(row["paired_votes"] > 0.5 * (total + row["paired_votes"]))

    row["p"] = evidence.p_value(row["deviate"])
    row["q"] = min(1.0, row["p"] * family)
    raw = evidence.raw_log_odds(row["deviate"])
    history = evidence.anomaly_log_odds(sign * row["zscore"])
    penalty = evidence.bounded(profile["market_making_penalty"], 0.0, 1.0)
    loss = penalty * evidence.MAKER_LOSS * row["maker_probability"]
    row["raw_log_odds"], row["anomaly_log_odds"] = raw, history
    row["market_making_penalty"], row["coordination_bonus"] = loss, 0.0
    row["raw_confidence"] = evidence.confidence(raw)
    row["baseline_confidence"] = 1 - evidence.p_value(max(0.0, sign * row["zscore"]))
    row["final_confidence"] = evidence.confidence(raw + history - loss)

    swapped = (bid, ask) if sign > 0 else (ask, bid)
    row["pressure_ratio_towards"] = (swapped[1] + 0.5) / (swapped[0] + 0.5)
    row["failed"] = sum(bit for bit, (name, key) in GATES.items() if not row[name] >= profile[key])
    row["failed"] += 32 * (row["grade"] > 2)
    row["candidate"] = int(row["final_confidence"] >= 0.5)
    row["alert"] = int(row["candidate"] and row["failed"] == 0)
    del row["pressure_ratio_towards"]
    return row


def score_record(
    bid: int, ask: int, trades: int, kind: int, share: float, marks: int,
    expected: dict[str, Any], profile: dict[str, Any],
) -> dict[str, Any]:  # fmt: skip
    """Judge one 300 s window by itself: each trade counts as a second of its own."""
    known = bid + ask
    votes = [min(trades * side / known, side, 300.0) if known else 0.0 for side in (bid, ask)]
    row: dict[str, Any] = {
        "bid_volume": bid, "ask_volume": ask, "bid_votes": votes[0], "ask_votes": votes[1],
        "paired_votes": 0, "crush": 0, "side": (ask > bid) - (bid > ask), "kind": kind,
        "marks": marks, "persistence": 0.5, "deviate": 0.0,
    }  # fmt: skip
    share = evidence.bounded(share, evidence.MIN_SHARE, 1.0)
    for channel, (cap, name) in enumerate(((1, "votes_1"), (10, "votes_10"))):
        smaller, larger = sorted(
            min(cap * v, volume) for v, volume in zip(votes, (bid, ask), strict=True)
        )
        net = larger - smaller
        least = profile["min_volume_concentration"] * (larger + smaller)
        if net >= evidence.MIN_NET[channel] and net >= least:
            level = evidence.bounded(expected[name], evidence.MIN_SESSION_VOTES, 1e9)
            mean = level * share / 2
            found = evidence.surprise(larger, smaller, mean, mean, channel)
            row["deviate"] = max(row["deviate"], found)
    return judge(row, expected, profile, 1)
