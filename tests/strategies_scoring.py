"""Sessions of flow for the scorer: instants with the buckets handed over and the mids."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager
from typing import Any, NamedTuple

import numpy as np
import pytest
from hypothesis import strategies as st
from numpy.typing import NDArray

from ifd_fast import ranking
from ifd_fast.calibration import Calibration, Prior

__all__ = [
    "BINS",
    "OPEN_NS",
    "WEIGHTS",
    "Session",
    "expectations",
    "limits",
    "profiles",
    "sessions",
    "tables",
    "weighed_by",
]

SECOND_NS = 10**9
BINS = 276
OPEN_NS = 1_700_000_100 * SECOND_NS
# For sessions made by hand: the package's own are fitted anew now and then.
WEIGHTS = Calibration(1.37, 2.15, 0.0, 0.15, 0.1, 0.0, 14.0, Prior())
STRIKES = 5
SLOTS = 2 * STRIKES + 1  # a call and a put of each strike, and a future


@contextmanager
def weighed_by(weights: Calibration) -> Iterator[None]:
    """Let these weights be the package's own for a while."""
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(ranking, "load_calibration", lambda: weights)
        ranking.unknown_ranking.cache_clear()
        yield
    ranking.unknown_ranking.cache_clear()


class Session(NamedTuple):
    """What a scorer is given: the oracle's slots and expectations, and the steps."""

    slots: list[dict[str, Any]]
    expected: list[dict[str, Any]]
    season: list[float]
    profile: dict[str, Any]
    tables: Any  # ranks (5, 4, 14, 97)
    limits: dict[str, Any]
    steps: list[tuple[int, list[dict[str, Any]], list[int | None]]]


@st.composite
def expectations(draw: st.DrawFn) -> dict[str, Any]:
    """Return one slot's expectation, of any depth."""
    quantiles = sorted(draw(st.lists(st.floats(-4, 4), min_size=7, max_size=7)))
    sessions = draw(st.sampled_from([0.0, 3.0, 12.0, 20.0, 20.0]))
    return {
        "votes_1": draw(st.floats(0, 400)),
        "votes_10": draw(st.floats(0, 2000)),
        "log_ratio_mean": draw(st.floats(-2, 2)),
        "log_ratio_sd": draw(st.floats(0, 2)),
        "log_ratio_quantiles": quantiles,
        "sessions": sessions,
        "cell": draw(st.integers(0, 3)) if sessions else 4,
    }


def tables(slope: float = 2.0) -> NDArray[np.float64]:
    """Return tables of ranks that rise with the residual, a little otherwise in each."""
    shape = np.arange(5)[:, None, None, None] + np.arange(4)[:, None, None]
    place = (shape + np.arange(14)[:, None]) % 5 / 10
    nodes = np.arange(97) * 0.25
    return (slope + place) * nodes * (1 + nodes / 30)


@st.composite
def limits(draw: st.DrawFn) -> dict[str, Any]:
    """Return what ranks are worth, mostly from a whole history."""
    found: dict[str, Any] = {
        "ready": draw(st.sampled_from([1.0, 1.0, 1.0, 0.0])),
        "sessions": draw(st.sampled_from([20.0, 20.0, 8.0])),
        "alpha": draw(st.floats(3, 9)),
        "beta": draw(st.floats(0.3, 1.2)),
        "grain_shares": (0.7, 0.8, 0.9),
        "intercept": draw(st.floats(0, 2)),
        "per_decade": draw(st.floats(0.5, 3)),
        "per_persistence": draw(st.sampled_from([0.0, 0.8])),
        "per_deviate": draw(st.sampled_from([0.0, 0.15])),
        "per_coordination": draw(st.sampled_from([0.0, 0.3])),
        "per_activity": draw(st.sampled_from([0.0, 1.0])),
        "maker_loss": draw(st.sampled_from([0.0, 10.0])),
    }
    helped = 2 * found["per_deviate"] + 3 * found["per_coordination"] + found["per_persistence"]
    helped += found["per_activity"]
    decades = -(found["intercept"] + helped) / found["per_decade"]
    found["least_rank"] = max((decades + found["alpha"]) / found["beta"] - 1e-6, 0.25)
    return found


@st.composite
def profiles(draw: st.DrawFn) -> dict[str, Any]:
    """Return a profile that lets some signals pass and stops others."""
    return {
        "min_pressure_ratio": draw(st.sampled_from([1.0, 2.0, 5.0])),
        "min_volume_concentration": draw(st.sampled_from([0.0, 0.4, 0.9])),
        "min_time_persistence": draw(st.sampled_from([0.0, 0.5, 1.0])),
        "min_baseline_anomaly": draw(st.sampled_from([2.0, 6.0])),
        "min_overall_confidence": draw(st.sampled_from([0.5, 0.7, 0.9])),
        "market_making_penalty": draw(st.sampled_from([0.0, 0.4, 1.0])),
        "min_data_quality": draw(st.sampled_from([0.0, 0.5, 0.9])),
        "false_alerts_per_session": draw(st.sampled_from([0.1, 1.0, 100.0])),
        "lookback_days": 20.0,
        "cooldown_ns": draw(st.sampled_from([0, 60, 300])) * SECOND_NS,
        "scoring_interval_ns": SECOND_NS,
    }


def _slots(marks: list[int], mapped: list[int]) -> list[dict[str, Any]]:
    kinds = [1, 2] * STRIKES + [3]
    twins: list[int | None] = [n ^ 1 for n in range(2 * STRIKES)]
    twins.append(None)
    return [
        {
            "instrument_id": 100 + n,
            "kind": kinds[n],
            "twin": twins[n],
            "strike": 100 * (n // 2),
            "mapped": mapped[n],
            "retired": 0,
            "marks": marks[n],
        }
        for n in range(SLOTS)
    ]


@st.composite
def sessions(draw: st.DrawFn, steps: int = 8) -> Session:
    """Return a session of runs of one-sided and two-sided flow, with pauses of any length."""
    now_ns = OPEN_NS + draw(st.integers(0, 80_000)) * SECOND_NS
    totals: dict[tuple[int, int], list[int]] = {}
    done = []
    for _ in range(draw(st.integers(1, steps))):
        now_ns += draw(st.sampled_from([1, 1, 3, 20, 59, 60, 61, 240, 300, 900, 1800])) * SECOND_NS
        flows = []
        for _ in range(draw(st.integers(0, 2))):
            slot, side = draw(st.integers(0, SLOTS - 1)), draw(st.integers(0, 1))
            size, other = draw(st.sampled_from([1, 2, 15])), draw(st.sampled_from([0, 0, 0, 1, 3]))
            for second in range(1, draw(st.sampled_from([1, 3, 9, 14])) + 1):
                bucket = (slot, now_ns // SECOND_NS - second)
                before = totals.get(bucket, [0, 0])
                grown = [size, other] if side == 0 else [other, size]
                after = [before[0] + grown[0], before[1] + grown[1]]
                totals[bucket] = after
                flows.append(
                    {
                        "slot": slot,
                        "second": bucket[1],
                        "instant_ns": now_ns,
                        "bid": (before[0], after[0]),
                        "ask": (before[1], after[1]),
                    }
                )
        mids = draw(st.lists(st.none() | st.integers(-50, 50), min_size=SLOTS, max_size=SLOTS))
        done.append((now_ns, flows, mids))
    marks = draw(st.lists(st.sampled_from([0, 0, 512, 256, 16]), min_size=SLOTS, max_size=SLOTS))
    mapped = draw(st.lists(st.sampled_from([1, 1, 1, 0]), min_size=SLOTS, max_size=SLOTS))
    bent = draw(st.sampled_from([1.0, 2.0]))
    return Session(
        slots=_slots(marks, mapped),
        expected=[draw(expectations()) for _ in range(SLOTS)],
        season=[(n / BINS) ** bent for n in range(BINS + 1)],
        profile=draw(profiles()),
        tables=tables(),
        limits=draw(limits()),
        steps=done,
    )
