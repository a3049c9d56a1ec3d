"""What one-sided flow is worth as evidence, in plain Python, from the rules of design §7.

Votes are contracts, at most `cap` a second and side. Channels: A, cap 1; B, one vote in 60, 15
or 5 s; C, cap 10.
"""

from __future__ import annotations

import math
from typing import Any

SHAPE = 2.0
A, B60, B15, B5, C = range(5)  # channels
DISPERSION = [1.5, 1.0, 1.3, 1.4, 4.0]
MIN_NET = [4, 4, 4, 4, 20]  # fewer net votes are no evidence
TODAY_PRIOR = [8.0, 5.0, 6.0, 7.0, 20.0]
MARKET_PRIOR = 40.0
MIN_SESSION_VOTES = 4.0
MIN_SHARE = 1e-5
BIN_NS = 300 * 10**9

LOG_ODDS_LIMIT = 12.0


def bounded(value: float, low: float, high: float) -> float:
    """Return the value between its bounds, the lower bound for NaN."""
    if math.isnan(value):
        return low
    return min(max(value, low), high)


def season_at(season: list[float], open_ns: int, now_ns: int) -> float:
    """Return the share of a session's votes that usually lies before `now_ns`."""
    bins = len(season) - 1
    elapsed = now_ns - open_ns
    if elapsed <= 0:
        return season[0]
    number = elapsed // BIN_NS
    if number >= bins:
        return season[bins]
    part = (elapsed % BIN_NS) / BIN_NS
    return season[number] + part * (season[number + 1] - season[number])


def season_share(season: list[float], open_ns: int, start_ns: int, end_ns: int) -> float:
    """Return the share of a session's votes that usually lies in a span of time."""
    share = season_at(season, open_ns, end_ns) - season_at(season, open_ns, start_ns)
    return bounded(share, MIN_SHARE, 1.0)


def today_factor(votes: float, expected: float, channel: int) -> float:
    """Return how busy the strike is today, against its history: the 90 min before the windows."""
    prior = TODAY_PRIOR[channel]
    return bounded((votes + prior) / (expected + prior), 0.1, 30.0)


def market_level(votes: float, expected: float) -> float:
    """Return how busy all other options are, against their history."""
    return bounded((votes + MARKET_PRIOR) / (expected + MARKET_PRIOR), 0.1, 30.0)


def market_factor(side: float, half: float, level: float) -> float:
    """Return how busy one side of the other strikes of this type is, against its history."""
    return bounded((side + MARKET_PRIOR * level) / (half + MARKET_PRIOR), 0.1, 30.0)


def surprise(
    larger: float, smaller: float, m_larger: float, m_smaller: float, channel: int
) -> float:
    """Return the signed root of the likelihood ratio of the larger side, given the smaller."""
    phi = DISPERSION[channel]
    x, alpha = larger / phi, SHAPE + smaller / phi
    mean = (m_larger / phi) * alpha / (SHAPE + m_smaller / phi)
    if x <= mean:
        return 0.0
    ratio = x * math.log(x / mean) - (x + alpha) * math.log((x + alpha) / (mean + alpha))
    return math.sqrt(max(0.0, 2 * ratio))


def p_value(deviate: float) -> float:
    """Return the upper tail of the normal distribution, never 0."""
    return 0.5 * math.erfc(min(deviate, 30.0) / math.sqrt(2))


def log_ratio(bid_volume: float, ask_volume: float) -> float:
    """Return ln((ask + .5) / (bid + .5)); swapped volumes change its sign only."""
    return math.log(ask_volume + 0.5) - math.log(bid_volume + 0.5)


def zscore(value: float, mean: float, sd: float, sessions: float) -> float:
    """Return how many standard deviations the log ratio lies from its history's mean."""
    if not sessions > 0:
        return 0.0
    centre = mean if abs(mean) <= 20 else 0.0
    return bounded((value - centre) / bounded(sd, 0.25, 20.0), -30.0, 30.0)


def feed_quality(grade: int) -> float:
    """Return h of a grade."""
    return [1.0, 0.9, 0.7, 0.4, 0.0][grade]


def percentile_rank(value: float, quantiles: list[float], sessions: float) -> float:
    """Return the value's percentile: interpolated from 10 to 90, a normal tail beyond.

    The tail runs through the quantiles 50 and 90 (10 on the lower side), because the table has
    no 1 and 5: a mirrored history gives the mirrored rank. The median is at 50, ties or not.
    """
    if not sessions > 0:
        return 50.0
    known = [bounded(quantile, -100.0, 100.0) for quantile in quantiles]
    if value == known[2]:
        return 50.0
    if value < known[2]:
        return 100.0 - upper_rank(-value, [-known[2], -known[1], -known[0]])
    return upper_rank(value, known[2:5])


def upper_rank(value: float, knots: list[float]) -> float:
    """Return the percentile of a value at or above the median; knots at 50, 75 and 90."""
    median, upper, top = knots
    if value < upper:
        return bounded(50.0 + 25.0 * (value - median) / (upper - median), 50.0, 100.0)
    if value < top:
        return bounded(75.0 + 15.0 * (value - upper) / (top - upper), 50.0, 100.0)
    sd = bounded((top - median) / 1.2815515655446004, 1e-3, 1e3)
    beyond = bounded((value - median) / sd, 0.0, 30.0)
    return bounded(100.0 - 50.0 * math.erfc(beyond / math.sqrt(2)), 90.0, 100.0)


def maker_probability(
    against: float, total: float, paired: float, crush: bool, in_step: float, decades: float
) -> float:
    """Return how likely a maker's flow is: each fact that says so leaves less room for doubt.

    Votes (cap 1) of the 300 s window; `paired` are those of the pair filter, not in `total`.
    Two-sided from a quarter of the votes on, wholly at a half; in step from a fifth to a half of
    the votes; evidence of companions from 1.75 to 2.5 decades.
    """
    two_sided = 2 * min(against, total - against) / (total + 2)
    doubts = [
        1 - 0.8 * bounded((two_sided - 0.5) / 0.5, 0.0, 1.0),
        1 - 0.9 * paired / (paired + total + 2),
        1 - 0.6 * crush,
        1 - 0.95 * bounded((in_step - 0.2) / 0.3, 0.0, 1.0),
        1 - 0.9 * bounded((decades - 1.75) / 0.75, 0.0, 1.0),
    ]
    return 1 - math.prod(doubts)


def confidence(log_odds: float) -> float:
    """Return the probability that belongs to log-odds, which are cut at +-12."""
    return 1 / (1 + math.exp(-bounded(log_odds, -LOG_ODDS_LIMIT, LOG_ODDS_LIMIT)))


def null_decades(limits: Any, rank: float) -> float:
    """Return -log10 of the false episodes a session at this rank or more."""
    return bounded(limits["beta"] * rank - limits["alpha"], -12.0, 12.0)


def raw_log_odds(limits: Any, decades: float, persistence: float) -> float:
    """Return the log-odds of the flow alone: decades below the null, of which 2 are enough."""
    flow = float(limits["per_decade"]) * bounded(decades, -12.0, 2.0)
    return float(
        limits["intercept"] + flow + limits["per_persistence"] * bounded(persistence, 0.0, 1.0)
    )


def anomaly_log_odds(limits: Any, zscore_towards: float) -> float:
    """Return what the history of ratios adds: never less than nothing."""
    return float(limits["per_deviate"]) * bounded(zscore_towards, 0.0, 2.0)


def coordination_log_odds(limits: Any, agreement: float) -> float:
    """Return what agreeing neighbours add: never less than nothing."""
    return float(limits["per_coordination"]) * bounded(agreement, 0.0, 3.0)


def usual_votes(votes: float, share: float) -> float:
    """Return the votes of one side that history expects of a share of the session."""
    return bounded(votes, MIN_SESSION_VOTES, 1e9) * bounded(share, MIN_SHARE, 1.0) / 2


def activity_log_odds(limits: Any, usual: float) -> float:
    """Return what the strike's usual activity at this hour adds or takes away."""
    return float(limits["per_activity"]) * bounded(math.log10(usual), -2.0, 1.0)


def maker_log_odds(limits: Any, penalty: float, maker: float) -> float:
    """Return what a likely maker takes away: by the square of its probability."""
    return float(limits["maker_loss"]) * bounded(penalty, 0.0, 1.0) * maker**2


def history_grade(completeness: float, cell: int) -> int:
    """Return 0 (A) to 4 (F) for the share of the wanted sessions and the width of the cell."""
    grade = sum(completeness < bound for bound in (0.75, 0.5, 0.25))
    if completeness <= 0 or cell >= 4:
        return 4
    return max(grade, [0, 0, 1, 2][cell])


def feed_grade(marks: int) -> int:
    """Return the worst grade among the quality marks, 0 (A) to 4 (F)."""
    for grade, bits in ((4, 1 | 2 | 4 | 8), (3, 16 | 32 | 64), (2, 128 | 256), (1, 512 | 1024)):
        if marks & bits:
            return grade
    return 0
