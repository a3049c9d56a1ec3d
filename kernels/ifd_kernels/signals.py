"""Rows at the scorer's border: what is expected of a slot, what a profile asks, a signal."""

from __future__ import annotations

from typing import Final

import numpy as np

__all__ = ["EXPECTED", "LIMITS", "PROFILE", "SIGNAL"]

QUANTILES: Final = (10, 25, 50, 75, 90, 95, 99)  # per cent, of log_ratio_quantiles

CELL_STRIKE: Final = 0  # (type, strike, DTE class)
CELL_MONEYNESS: Final = 1  # (type, moneyness class, DTE class)
CELL_DTE: Final = 2  # (type, DTE class)
CELL_TYPE: Final = 3  # type
CELL_NONE: Final = 4  # no history at all: the other fields are zero

# The shape of the rank tables, and bounds of what adds to a confidence: here, where numba isn't
# imported, for those who only read or write array files.
CHANNELS: Final = 5
WINDOWS: Final = 4
BINS: Final = 14  # half decades of expected votes, from .001 on
NODES: Final = 97
NODE_STEP: Final = 0.25  # of a residual
# More of either, or of decades, says no more on unseen sessions: where it was let to, a fit gave
# all other features less, and found a tenth fewer at the same share of false alerts.
MAX_ANOMALY: Final = 2.0  # standard deviations
MAX_COORDINATION: Final = 3.0
MIN_ACTIVITY: Final = -2.0  # decades of usual votes
MAX_ACTIVITY: Final = 1.0
MAX_RAW_DECADES: Final = 2.0
MAX_AGREEMENT: Final = 6.0  # standard deviations, as shown
LOG_ODDS_LIMIT: Final = 12.0
MAX_DECADES: Final = 12.0  # below the null line

# What 20 sessions say about a slot, as of the session's open.
EXPECTED: Final = np.dtype(
    [
        ("votes_1", "<f8"),  # both sides' votes of a full session, at most 1 a second and side
        ("votes_10", "<f8"),  # the same, at most 10 a second and side
        # of ln(ask_volume + .5) - ln(bid_volume + .5) over the traded 300 s windows
        ("log_ratio_mean", "<f8"),
        ("log_ratio_sd", "<f8"),
        ("log_ratio_quantiles", "<f8", (7,)),  # at QUANTILES, not falling
        ("sessions", "<f8"),  # past sessions in which the cell was listed and observed; 0: none
        ("cell", "u1"),  # CELL_*
    ]
)

# What a profile asks, one row.
PROFILE: Final = np.dtype(
    [
        ("min_pressure_ratio", "<f8"),
        ("min_volume_concentration", "<f8"),
        ("min_time_persistence", "<f8"),
        ("min_baseline_anomaly", "<f8"),
        ("min_overall_confidence", "<f8"),
        ("market_making_penalty", "<f8"),
        ("min_data_quality", "<f8"),
        ("false_alerts_per_session", "<f8"),
        ("lookback_days", "<f8"),
        ("cooldown_ns", "<i8"),
        ("scoring_interval_ns", "<i8"),
    ]
)

# What ranks are worth, one row: the null line of 20 sessions, and the calibration's weights.
LIMITS: Final = np.dtype(
    [
        ("ready", "<f8"),  # 1: ranks and line come from history; 0: nothing alerts
        ("sessions", "<f8"),  # of history behind them
        ("alpha", "<f8"),  # log10(false episodes a session) = alpha - beta * rank
        ("beta", "<f8"),
        ("grain_shares", "<f8", (3,)),  # votes of channel B for one of channel A: 60, 15, 5 s
        # log-odds = intercept + per_decade * (beta * rank - alpha) + ...
        ("intercept", "<f8"),
        ("per_decade", "<f8"),
        ("per_persistence", "<f8"),  # of all active blocks of a minute leaning one way
        ("per_deviate", "<f8"),  # a standard deviation of the ratio's history
        ("per_coordination", "<f8"),
        ("per_activity", "<f8"),  # a decade of the strike's usual votes at this hour
        ("maker_loss", "<f8"),  # lost at penalty 1 and P(maker) 1
        ("least_rank", "<f8"),  # below it nothing can be a candidate
    ]
)

OPENS_CANDIDATE: Final = 1
OPENS_ALERT: Final = 2
OPENS_CLASS: Final = 4

# Confidences from which a signal is of the next class; the first makes a candidate.
CLASSES: Final = (0.5, 0.6, 0.7, 0.8, 0.9)

# One signal: everything `InstitutionalSignalV3` says, with its components.
SIGNAL: Final = np.dtype(
    [
        ("instant_ns", "<i8"),
        ("episode_ns", "<i8"),  # first instant of the run of candidates this row belongs to
        ("slot", "<i4"),
        ("instrument_id", "<u4"),
        ("side", "<i4"),  # 1 buying, -1 selling (0: neither, from score_record only)
        ("kind", "<i4"),  # KIND_CALL or KIND_PUT
        ("delta_sign", "<i4"),  # the side for a call, minus it for a put
        ("opens", "<i4"),  # OPENS_*: a candidate, an alert is counted here, a class is reached
        ("candidate", "<i4"),
        ("alert", "<i4"),  # 1: an alert is counted here (score_record: it would be one)
        ("failed", "<i4"),  # FAILED_*: gates not passed
        ("grade", "<i4"),  # 0 A ... 4 F
        ("marks", "<i4"),  # MARK_* of the feed
        ("cell", "<i4"),  # CELL_*
        # the strongest evidence
        ("rank", "<f8"),  # -log10(p), p the share of history's residuals as large
        ("deviate", "<f8"),  # the residual: signed root of the likelihood ratio
        ("p", "<f8"),
        ("q", "<f8"),  # Benjamini and Hochberg's p * family / (sides at least as strong)
        ("false_alerts", "<f8"),  # episodes a session expected by chance, as strong as this
        ("window_s", "<i4"),
        ("channel", "<i4"),  # CHANNEL_*
        ("votes_for", "<f8"),
        ("votes_against", "<f8"),
        ("expected_for", "<f8"),
        ("expected_against", "<f8"),
        ("today", "<f8"),  # factor in the expectations: the slot's own level today
        ("usual_votes", "<f8"),  # of a side in these 300 s, by history and season alone
        # the 300 s window
        ("bid_volume", "<i8"),
        ("ask_volume", "<i8"),
        ("bid_votes", "<f8"),  # cap 1, after the pair filter
        ("ask_votes", "<f8"),
        ("paired_votes", "<f8"),  # cap 1, what the pair filter dropped
        ("pressure_ratio", "<f8"),  # (ask + .5) / (bid + .5)
        ("dominant_side", "<i4"),
        ("straddle", "<i4"),
        ("crush", "<i4"),  # call and put fell while sold, or rose while bought
        ("anomaly", "<i4"),
        ("in_step", "<f8"),  # share of votes in step with a companion's, beyond chance
        ("companion_decades", "<f8"),  # evidence of the same side in options of the other type
        ("volume_concentration", "<f8"),  # of contracts
        ("persistence", "<f8"),
        ("pressure_confidence", "<f8"),
        # history
        ("baseline_ratio", "<f8"),
        ("zscore", "<f8"),
        ("percentile_rank", "<f8"),
        ("sessions", "<f8"),
        ("quality", "<f8"),  # h of the grade: 1, .9, .7, .4, 0
        # confidence
        ("maker_probability", "<f8"),
        ("raw_log_odds", "<f8"),
        ("anomaly_log_odds", "<f8"),
        ("activity_log_odds", "<f8"),
        ("market_making_penalty", "<f8"),  # log-odds lost
        ("coordination", "<f8"),  # agreement of the neighbours, standard deviations
        ("coordination_bonus", "<f8"),  # log-odds won
        ("raw_confidence", "<f8"),
        ("baseline_confidence", "<f8"),
        ("final_confidence", "<f8"),
    ]
)
