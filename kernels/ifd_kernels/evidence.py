"""What one-sided flow is worth as evidence: leaf formulas on numbers, no state.

The statistic is the rule that won the project's simulation study, on votes instead of contracts:
a strike's larger side against what its history, its day, the market and its own smaller side
explain (negative binomial, signed root of the likelihood ratio). What that is worth in decades of
p, in false alerts a session and in log-odds comes from history and calibration, in LIMITS.

Every function is finite for any input and exactly mirrored when buying and selling swap.
"""

from __future__ import annotations

from math import erfc, exp, log, log10, sqrt
from typing import Final

import numpy as np
from numpy.typing import NDArray

from ifd_kernels._jit import kernel
from ifd_kernels.layout import (
    MARK_BAD_BOOK,
    MARK_CROSSED,
    MARK_HALTED,
    MARK_LAGGING,
    MARK_LATE,
    MARK_PARTLY_OBSERVED,
    MARK_QUOTE_RULE,
    MARK_REBUILT,
    MARK_STALE,
    MARK_TAPE_GAP,
    MARK_UNMAPPED,
    Integer,
    Records,
)
from ifd_kernels.signals import (
    LOG_ODDS_LIMIT,
    MAX_ACTIVITY,
    MAX_ANOMALY,
    MAX_COORDINATION,
    MAX_DECADES,
    MAX_RAW_DECADES,
    MIN_ACTIVITY,
)

__all__ = [
    "activity_log_odds",
    "anomaly_log_odds",
    "bounded",
    "confidence",
    "coordination_log_odds",
    "feed_grade",
    "feed_quality",
    "history_grade",
    "log_ratio",
    "maker_log_odds",
    "maker_probability",
    "market_factor",
    "market_level",
    "null_decades",
    "p_value",
    "percentile_rank",
    "raw_log_odds",
    "season_at",
    "season_share",
    "surprise",
    "today_factor",
    "upper_rank",
    "usual_votes",
    "zscore",
]

# --- the surprise; a factor of two in any of these moves the study's recall by about 3 points -----
# Channels: A, at most one vote a second and side; B, one in 60, 15 or 5 s; C, ten a second.
CHANNEL_A: Final = 0
CHANNEL_B60: Final = 1
CHANNEL_B15: Final = 2
CHANNEL_B5: Final = 3
CHANNEL_C: Final = 4
SHAPE: Final = 2.0  # of the gamma the rates are drawn from
DISPERSION: Final = (1.5, 1.0, 1.3, 1.4, 4.0)  # variance over mean of votes, by channel
TODAY_PRIOR: Final = (8.0, 5.0, 6.0, 7.0, 20.0)  # votes
MIN_NET: Final = (4.0, 4.0, 4.0, 4.0, 20.0)  # net votes: with fewer there is nothing to tell
GRAIN_LIMITS: Final = (8.0, 40.0, 120.0)  # votes in the busiest hour, below which B counts
GRAIN_S: Final = (60, 15, 5)
MARKET_PRIOR: Final = 40.0  # votes
MIN_FACTOR: Final = 0.1  # of today's and the market's factor
MAX_FACTOR: Final = 30.0
MIN_SESSION_VOTES: Final = 4.0  # a strike without history isn't expected to be silent
MAX_SESSION_VOTES: Final = 1e9
MIN_SHARE: Final = 1e-5  # of a session's votes, however quiet the hour
BIN_NS: Final = 300_000_000_000  # of the season

MAX_DEVIATE: Final = 30.0

MIN_RATIO_SD: Final = 0.25
MAX_RATIO: Final = 100.0  # no log ratio of contracts comes near it
MAX_RATIO_MEAN: Final = 20.0  # a mean beyond it, or NaN, is no mean
# P(maker): from where to where a fact begins to say so, and says it wholly.
TWO_SIDED: Final = (0.5, 1.0)  # twice the lesser side's share of votes
IN_STEP: Final = (0.2, 0.5)  # share of votes in step with an option of the other type
COMPANION: Final = (1.75, 2.5)  # decades
NORMAL_90: Final = 1.2815515655446004
MARKS_F: Final = MARK_TAPE_GAP | MARK_STALE | MARK_UNMAPPED | MARK_PARTLY_OBSERVED
MARKS_D: Final = MARK_BAD_BOOK | MARK_LAGGING | MARK_CROSSED
MARKS_C: Final = MARK_QUOTE_RULE | MARK_HALTED
MARKS_B: Final = MARK_REBUILT | MARK_LATE


@kernel
def bounded(value: float, low: float, high: float) -> float:
    """Return the value between its bounds, the lower bound for NaN."""
    if not value >= low:
        return low
    if value > high:
        return high
    return value


@kernel
def season_at(season: NDArray[np.float64], open_ns: int, now_ns: Integer) -> float:
    """Return the share of a session's votes that usually lies before `now_ns`.

    `season` (b + 1,): cumulative at the edges of b bins of 300 s since the session's open.
    """
    elapsed = now_ns - open_ns
    if elapsed <= 0:
        return season[0]
    number = elapsed // BIN_NS
    if number >= season.shape[0] - 1:
        return season[season.shape[0] - 1]
    part = (elapsed - number * BIN_NS) / BIN_NS
    return season[number] + part * (season[number + 1] - season[number])


@kernel
def season_share(
    season: NDArray[np.float64], open_ns: int, start_ns: Integer, end_ns: Integer
) -> float:
    """Return the share of a session's votes that usually lies in a span of time."""
    share = season_at(season, open_ns, end_ns) - season_at(season, open_ns, start_ns)
    return bounded(share, MIN_SHARE, 1.0)


@kernel
def today_factor(votes: float, expected: float, prior: float) -> float:
    """Return how busy the strike is today against its history, from before the windows.

    Votes inside the windows stay out, else more one-sided flow could raise its own bar.
    """
    return bounded((votes + prior) / (expected + prior), MIN_FACTOR, MAX_FACTOR)


@kernel
def market_level(votes: float, expected: float) -> float:
    """Return how busy all other options are against their history."""
    level = (votes + MARKET_PRIOR) / (expected + MARKET_PRIOR)
    return bounded(level, MIN_FACTOR, MAX_FACTOR)


@kernel
def market_factor(side: float, half: float, level: float) -> float:
    """Return how busy one side of the type's other strikes is against its history.

    `side` votes of `half` expected: that side of the type; `level`: of all options.
    """
    return bounded((side + MARKET_PRIOR * level) / (half + MARKET_PRIOR), MIN_FACTOR, MAX_FACTOR)


@kernel
def surprise(
    larger: float, smaller: float, mean_larger: float, mean_smaller: float, dispersion: float
) -> float:
    """Return the signed root of the likelihood ratio of the larger side, given the smaller.

    Votes of both sides and their positive means. Two-sided flow raises its own bar.
    """
    x = larger / dispersion
    alpha = SHAPE + smaller / dispersion
    mean = (mean_larger / dispersion) * alpha / (SHAPE + mean_smaller / dispersion)
    if not x > mean:
        return 0.0
    ratio = x * log(x / mean) - (x + alpha) * log((x + alpha) / (mean + alpha))
    if not ratio > 0.0:
        return 0.0
    return sqrt(2.0 * ratio)


@kernel
def p_value(deviate: float) -> float:
    """Return the upper tail of the normal distribution, never 0."""
    return 0.5 * erfc(bounded(deviate, 0.0, MAX_DEVIATE) / sqrt(2.0))


@kernel
def log_ratio(bid_volume: float, ask_volume: float) -> float:
    """Return ln((ask + .5) / (bid + .5)); swapped volumes change its sign and nothing else."""
    return log(ask_volume + 0.5) - log(bid_volume + 0.5)


@kernel
def zscore(value: float, mean: float, sd: float, sessions: float) -> float:
    """Return how many standard deviations the log ratio lies from its history's mean."""
    if not sessions > 0.0:
        return 0.0
    towards = value
    if abs(mean) <= MAX_RATIO_MEAN:
        towards = value - mean
    return bounded(towards / bounded(sd, MIN_RATIO_SD, 20.0), -30.0, 30.0)


@kernel
def upper_rank(value: float, median: float, upper: float, top: float) -> float:
    """Return the percentile of a value at or above the median; knots at 50, 75 and 90."""
    if value < upper:
        return bounded(50.0 + 25.0 * (value - median) / (upper - median), 50.0, 100.0)
    if value < top:
        return bounded(75.0 + 15.0 * (value - upper) / (top - upper), 50.0, 100.0)
    sd = bounded((top - median) / NORMAL_90, 1e-3, 1e3)
    beyond = bounded((value - median) / sd, 0.0, 30.0)
    return bounded(100.0 - 50.0 * erfc(beyond / sqrt(2.0)), 90.0, 100.0)


@kernel
def percentile_rank(value: float, expected: Records, slot: int) -> float:
    """Return the percentile of a log ratio: interpolated from 10 to 90, a normal tail beyond.

    The tail runs through the quantiles 50 and 90 (10 on the lower side), because the table has
    no 1 and 5: so a mirrored history gives exactly the mirrored rank. The median itself is at 50,
    though quantiles around it may be equal: it belongs to neither side.
    """
    if not expected[slot]["sessions"] > 0.0:
        return 50.0
    q = expected[slot]["log_ratio_quantiles"]
    median = bounded(q[2], -MAX_RATIO, MAX_RATIO)
    if value == median:
        return 50.0
    if value < median:
        upper, top = bounded(q[1], -MAX_RATIO, MAX_RATIO), bounded(q[0], -MAX_RATIO, MAX_RATIO)
        return 100.0 - upper_rank(-value, -median, -upper, -top)
    upper, top = bounded(q[3], -MAX_RATIO, MAX_RATIO), bounded(q[4], -MAX_RATIO, MAX_RATIO)
    return upper_rank(value, median, upper, top)


@kernel
def ramp(value: float, span: tuple[float, float]) -> float:
    """Return 0 up to the span's start, 1 from its end on, and a straight line between."""
    return bounded((value - span[0]) / (span[1] - span[0]), 0.0, 1.0)


@kernel
def maker_probability(
    against: float, total: float, paired: float, crush: bool, in_step: float, decades: float
) -> float:
    """Return how likely a maker's flow is: two-sided, or of volatility, calls and puts alike.

    Votes (cap 1) of the 300 s window; `paired` are those of the pair filter, not in `total`.
    `in_step` and `decades` of companions are those of SIGNAL.
    """
    lesser = against if against < total - against else total - against
    two_sided = ramp(2.0 * lesser / (total + 2.0), TWO_SIDED)
    straddles = paired / (paired + total + 2.0)
    crushed = 0.6 if crush else 0.0
    direction = (1.0 - 0.95 * ramp(in_step, IN_STEP)) * (1.0 - 0.9 * ramp(decades, COMPANION))
    single = (1.0 - 0.8 * two_sided) * (1.0 - 0.9 * straddles) * (1.0 - crushed)
    return 1.0 - single * direction


@kernel
def confidence(log_odds: float) -> float:
    """Return the probability that belongs to log-odds, which are cut at +-12."""
    return 1.0 / (1.0 + exp(-bounded(log_odds, -LOG_ODDS_LIMIT, LOG_ODDS_LIMIT)))


@kernel
def null_decades(limits: Records, rank: float) -> float:
    """Return how rare evidence is by chance: -log10 of the false episodes a session."""
    return bounded(limits[0]["beta"] * rank - limits[0]["alpha"], -MAX_DECADES, MAX_DECADES)


@kernel
def raw_log_odds(limits: Records, decades: float, persistence: float) -> float:
    """Return the log-odds of the flow alone: its decades below the null, and how it persists."""
    known = limits[0]
    flow = known["per_decade"] * bounded(decades, -MAX_DECADES, MAX_RAW_DECADES)
    return known["intercept"] + flow + known["per_persistence"] * bounded(persistence, 0.0, 1.0)


@kernel
def anomaly_log_odds(limits: Records, zscore_towards: float) -> float:
    """Return what the history of ratios adds: never less than nothing."""
    return limits[0]["per_deviate"] * bounded(zscore_towards, 0.0, MAX_ANOMALY)


@kernel
def coordination_log_odds(limits: Records, agreement: float) -> float:
    """Return what agreeing neighbours add: never less than nothing."""
    return limits[0]["per_coordination"] * bounded(agreement, 0.0, MAX_COORDINATION)


@kernel
def usual_votes(votes: float, share: float) -> float:
    """Return the votes of one side that history and season expect of a share of the session."""
    known = bounded(votes, MIN_SESSION_VOTES, MAX_SESSION_VOTES)
    return known * bounded(share, MIN_SHARE, 1.0) / 2.0


@kernel
def activity_log_odds(limits: Records, usual: float) -> float:
    """Return what the strike's usual activity at this hour adds; below one vote it takes away.

    Chance gives every strike about as many episodes a session, whether anybody trades it or not;
    orders that are worked go where there is trading. Of the usual flow alone, not of what there is
    now: so more flow never lowers a confidence by it, and no gate acts on it.
    """
    decades = log10(bounded(usual, 1e-9, 1e9))
    return limits[0]["per_activity"] * bounded(decades, MIN_ACTIVITY, MAX_ACTIVITY)


@kernel
def maker_log_odds(limits: Records, penalty: float, maker: float) -> float:
    """Return what a likely maker takes away, at the profile's penalty.

    By the square of P(maker): on unseen sessions a P of .3 says next to nothing, one of .9 nearly
    all, and a straight line through both gave a third more false alerts at as many finds.
    """
    return limits[0]["maker_loss"] * bounded(penalty, 0.0, 1.0) * maker * maker


@kernel
def history_grade(completeness: float, cell: Integer) -> Integer:
    """Return 0 (A) to 4 (F) for the share of the wanted sessions and the width of the cell."""
    if not completeness > 0.0 or cell >= 4:
        return 4
    grade = 0 if cell < 2 else cell - 1
    if completeness < 0.25:
        return 3
    if completeness < 0.5:
        return 2
    if completeness < 0.75 and grade < 1:
        return 1
    return grade


@kernel
def feed_grade(marks: int) -> int:
    """Return the worst grade among the quality marks, 0 (A) to 4 (F)."""
    if marks & MARKS_F:
        return 4
    if marks & MARKS_D:
        return 3
    if marks & MARKS_C:
        return 2
    if marks & MARKS_B:
        return 1
    return 0


@kernel
def feed_quality(grade: int) -> float:
    """Return h of a grade: 1, .9, .7, .4, 0."""
    if grade == 0:
        return 1.0
    if grade == 1:
        return 0.9
    if grade == 2:
        return 0.7
    if grade == 3:
        return 0.4
    return 0.0
