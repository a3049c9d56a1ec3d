"""Ordinary flow of one session, planned ahead: the day's level, its bursts, its trades in order."""

from __future__ import annotations

import math
import random
from typing import Any, Final, NamedTuple

import numpy as np
from numpy.typing import NDArray

from ifd_fast.activity import Activity
from ifd_fast.calendar import Session
from ifd_fast.errors import ConfigError
from ifd_fast.optionchain import Listing
from ifd_fast.quantiles import alias_table, share_table
from ifd_fast.world import Arrivals, World
from ifd_kernels import layout
from ifd_kernels import market_flow as mf
from ifd_kernels import market_state as ms
from ifd_kernels.market_flow import grow_flow

__all__ = [
    "DayFlow",
    "Season",
    "draw_flow",
    "last_trade_ns",
    "law_tables",
    "parts_a_parent",
    "season_of",
    "trading_hours",
]

PART_NS: Final = 10 * layout.SECOND_NS
DAY_S: Final = 82_800.0  # what `season` spreads over
CHANCE: Final = 65_536
ROWS_FIRST: Final = 1 << 16


class Season(NamedTuple):
    """Activity by parts of `part_ns` of a session, as a multiple of regular trading's mean."""

    start_ns: int
    part_ns: int
    activity: NDArray[np.float64]

    def between(self, start_ns: int, end_ns: int) -> float:
        """Return the hours of regular trading that [start_ns, end_ns) amounts to."""
        reached = np.concatenate(([0.0], np.cumsum(self.activity)))
        places = np.arange(len(reached))
        low, high = ((at - self.start_ns) / self.part_ns for at in (start_ns, end_ns))
        share = np.interp([low, high], places, reached)
        return float(share[1] - share[0]) * self.part_ns / 3600e9

    def shares(self, part_ns: int, count: int) -> NDArray[np.float64]:
        """Return `between` of `count` parts of `part_ns` from the start; the last has the rest."""
        reached = np.concatenate(([0.0], np.cumsum(self.activity)))
        edges = np.minimum(np.arange(count + 1) * (part_ns / self.part_ns), len(self.activity))
        edges[-1] = len(self.activity)
        share = np.interp(edges, np.arange(len(reached)), reached)
        hours: NDArray[np.float64] = np.diff(share) * self.part_ns / 3600e9
        return hours

    def at_share(self, share: float) -> int:
        """Return the time by which `share` of the session's activity is over."""
        reached = np.concatenate(([0.0], np.cumsum(self.activity)))
        place = float(np.interp(share * reached[-1], reached, np.arange(len(reached))))
        return self.start_ns + round(place * self.part_ns)


class DayFlow(NamedTuple):
    """A session's ordinary trades in order of time (n,) of CHILD, and the level of each slot."""

    trades: ms.Records
    factor: NDArray[np.float64]


def trading_hours(world: World, session: Session) -> Session:
    """Return `session` as `world` has it: some end early."""
    if world.arrivals is None:
        return session
    end_ns = session.open_ns + round(world.arrivals.session_s * 1e9)
    return session._replace(close_ns=min(session.close_ns, end_ns))


def last_trade_ns(chain: list[Listing], slot: int) -> int:
    """Return when an instrument, or the first leg of a spread to do so, expires."""
    legs = [chain[leg].expiration_ns for leg, _ in chain[slot].legs]
    return min([chain[slot].expiration_ns, *legs])


def season_of(arrivals: Arrivals, start_ns: int, end_ns: int) -> Season:
    """Return how activity runs between a session's open and its close."""
    if not arrivals.season or min(arrivals.season) <= 0.0:
        raise ConfigError(f"`arrivals.season` must be above 0, was {arrivals.season}.")
    count = max(1, -((start_ns - end_ns) // PART_NS))
    middles = (np.arange(count) + 0.5) * (PART_NS / 1e9)
    steps = np.array(arrivals.season)

    def level(at_s: NDArray[np.floating[Any]]) -> NDArray[np.float64]:
        place = (at_s / DAY_S * len(steps)).astype(np.int64)
        return steps[np.clip(place, 0, len(steps) - 1)]

    seconds = arrivals.regular_end_s - arrivals.regular_start_s
    regular = arrivals.regular_start_s + seconds * (np.arange(10_000) + 0.5) / 10_000
    mean = math.fsum(level(regular).tolist()) / len(regular)
    return Season(start_ns, PART_NS, level(middles) / mean)


def _geometric_parts(arrivals: Arrivals) -> list[tuple[int, float]]:
    """Return how many parts a parent has beyond its first when it is split, with their shares."""
    more = arrivals.split_further / (1.0 + arrivals.split_further)
    counts = range(1, arrivals.split_parts_max)
    return [(count, more ** (count - 1)) for count in counts]


def parts_a_parent(arrivals: Arrivals) -> float:
    """Return the mean number of trades of a parent, its offspring left out."""
    parts = _geometric_parts(arrivals)
    mean = math.fsum(n * share for n, share in parts) / math.fsum(share for _, share in parts)
    return 1.0 + arrivals.split_share * mean


def law_tables(arrivals: Arrivals) -> NDArray[np.int64]:
    """Return the quantiles of gaps, offspring and parts, (LAWS, 4096)."""
    length = ms.TABLE_LENGTH
    gaps = [-math.log1p(-(place + 0.5) / length) for place in range(length)]
    mean = math.fsum(gaps) / length
    n = arrivals.branching
    poisson = [(count, math.exp(-n) * n**count / math.factorial(count)) for count in range(12)]
    rows = [
        [round(gap / mean * CHANCE) for gap in gaps],
        share_table(poisson),
        share_table(_geometric_parts(arrivals)),
    ]
    return np.array(rows, dtype=np.int64)


def _bursts(
    arrivals: Arrivals, draw: random.Random, activity: NDArray[np.float64]
) -> tuple[NDArray[np.float64], NDArray[np.float64]]:
    """Return the factor and the lean of each part."""
    factor = np.ones(len(activity))
    lean = np.zeros(len(activity))
    reached = np.cumsum(activity)
    wanted, count = arrivals.bursts, 0
    while (wanted := wanted + math.log(1.0 - draw.random())) > 0.0:
        count += 1
    for _ in range(count):
        first = int(np.searchsorted(reached, draw.random() * reached[-1]))
        lasts = max(1, round(-math.log(1.0 - draw.random()) * arrivals.burst_s * 1e9 / PART_NS))
        factor[first : first + lasts] = arrivals.burst_factor
        if draw.random() < arrivals.burst_directional:
            lean[first : first + lasts] = arrivals.burst_lean * draw.choice((1.0, -1.0))
    return factor, lean


def draw_flow(
    world: World, activity: Activity, seed: int, session: Session, tables: NDArray[np.int64]
) -> DayFlow:
    """Return the ordinary trades of one session; `tables` are the market's."""
    arrivals = world.arrivals
    if arrivals is None:
        raise ConfigError(f"`arrivals` are missing in world {world.name!r}: nothing to plan.")
    draw = random.Random(seed ^ 0x5EED_F10E)  # noqa: S311  # a seed, not a secret
    count = len(activity.rates)
    rates = np.array(activity.rates)
    level = arrivals.day_sigma * draw.gauss(0.0, 1.0) - arrivals.day_sigma**2 / 2
    sigma = arrivals.strike_sigma
    own = np.array([sigma * draw.gauss(0.0, 1.0) - sigma**2 / 2 for _ in range(count)])
    factor = np.exp(level + own) * arrivals.level
    season = season_of(arrivals, session.open_ns, session.close_ns)
    busy, lean = _bursts(arrivals, draw, season.activity)
    trades_hour = math.fsum((rates * factor).tolist())
    parents_hour = trades_hour * (1.0 - arrivals.branching) / parts_a_parent(arrivals)
    mass = season.activity * busy * (parents_hour * PART_NS / 3600e9 * CHANCE)
    if mass.max() * PART_NS >= 2**62:
        raise ConfigError(f"`flow.tiers` of world {world.name!r} trade too often to be simulated.")
    listed = activity.chain
    until = [min(last_trade_ns(listed, slot), session.close_ns) for slot in range(count)]
    tilt = [{"C": 1, "P": -1}.get(item.instrument_class, 0) for item in listed]
    plan = mf.FlowPlan(
        np.maximum(1, np.rint(mass)).astype(np.int64),
        np.rint(lean * CHANCE).astype(np.int64),
        *alias_table((rates * factor).tolist()),
        np.array(tilt, dtype=np.int64),
        np.array(activity.lots(), dtype=np.int64),
        np.array(until, dtype=np.int64),
        tables,
        law_tables(arrivals),
        _rules(arrivals, session),
        np.zeros(mf.N_STATES, dtype=np.int64),
        np.array([seed ^ 0xF10E], dtype=np.uint64),
        np.zeros(ROWS_FIRST, dtype=ms.CHILD),
    )
    return DayFlow(_grow(plan), factor)


def _rules(arrivals: Arrivals, session: Session) -> NDArray[np.int64]:
    rule = np.zeros(mf.F_RULES, dtype=np.int64)
    rule[mf.F_START_NS], rule[mf.F_PART_NS] = session.open_ns, PART_NS
    rule[mf.F_FAST_NS] = round(arrivals.fast_s * 1e9)
    rule[mf.F_SLOW_NS] = round(arrivals.slow_s * 1e9)
    rule[mf.F_SLOW] = round(arrivals.slow_share * CHANCE)
    rule[mf.F_SAME] = round(arrivals.same_side * CHANCE)
    rule[mf.F_SPLIT] = round(arrivals.split_share * CHANCE)
    rule[mf.F_SPLIT_NS] = round(arrivals.split_gap_s * 1e9)
    return rule


def _grow(plan: mf.FlowPlan) -> ms.Records:
    """Return all trades of `plan` in order of time; those of one time in order of drawing."""
    with np.errstate(over="ignore"):
        while grow_flow(plan) != layout.DONE:
            rows = np.zeros(2 * len(plan.out), dtype=ms.CHILD)
            rows[: len(plan.out)] = plan.out
            plan = plan._replace(out=rows)
    found = plan.out[: int(plan.state[mf.N_ROWS])]
    return found[np.argsort(found["ts_event_ns"], kind="stable")]
