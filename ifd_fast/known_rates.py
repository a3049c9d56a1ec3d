"""What the generator says of a session: every option's rate, the day, the season, the market.

The leaf formulas of the bounds: expected votes of any option over any span, and the surprise of
the larger side given the other, as in the simulation study.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Final, NamedTuple

import numpy as np

if TYPE_CHECKING:
    import polars as pl
    from numpy.typing import NDArray

    from ifd_fast.tapes import Tape

__all__ = [
    "Chain",
    "Known",
    "activity_between",
    "chain_votes",
    "know",
    "make_chain",
    "market_factors",
    "surprise",
]

SECOND_NS: Final = 1_000_000_000
SHAPE: Final = 2.0
MARKET_PRIOR: Final = 40.0
SLOT_EDGES: Final = ((8.0, 60), (40.0, 15), (120.0, 5))  # expected votes an hour -> slot, s


class Known(NamedTuple):
    """What the generator says of one session's k options."""

    votes_s: NDArray[np.float64]  # (k,) both sides' votes a second at activity 1, this session
    slot_s: NDArray[np.int64]  # (k,) of the slower channel, 0: none
    edges_ns: NDArray[np.int64]  # (p + 1,)
    activity_s: NDArray[np.float64]  # (p + 1,) seconds of activity 1 before each edge
    types: NDArray[np.int64]  # (k,) 0 call, 1 put


def know(tape: Tape, rates: pl.DataFrame, season: pl.DataFrame) -> Known:
    """Return what `rates` and `season` of the truth say of the options of `tape`."""
    listed = dict(zip(rates["instrument_id"].to_list(), range(len(rates)), strict=True))
    rows = np.array([listed.get(int(one), -1) for one in tape.ids], np.int64)
    usual = np.append(rates["votes_hour"].to_numpy() / 3600.0, 0.0)[rows]
    factor = np.append(rates["day_factor"].to_numpy(), 1.0)[rows]
    types = np.append((rates["option_type"] == "P").to_numpy().astype(np.int64), 0)[rows]
    starts = season["start"].cast(int).to_numpy()
    edges = np.append(starts, tape.close_ns).astype(np.int64)
    parts = np.diff(edges) / SECOND_NS * season["activity"].to_numpy()
    slot = np.zeros(len(tape.ids), np.int64)
    for edge, seconds in reversed(SLOT_EDGES):
        slot[usual * 3600.0 < edge] = seconds
    return Known(
        usual * factor, slot, edges, np.append(0.0, np.cumsum(np.maximum(parts, 0.0))), types
    )


def activity_between(
    known: Known, start_ns: NDArray[np.int64], end_ns: NDArray[np.int64]
) -> NDArray[np.float64]:
    """Return seconds of activity 1 between two times, element by element."""
    reference = known.edges_ns[0]
    edges = (known.edges_ns - reference).astype(np.float64)
    before, after = (
        np.interp((times - reference).astype(np.float64), edges, known.activity_s)
        for times in (start_ns, end_ns)
    )
    found: NDArray[np.float64] = np.maximum(after - before, 0.0)
    return found


def surprise(
    larger: NDArray[np.float64],
    smaller: NDArray[np.float64],
    mean_larger: NDArray[np.float64],
    mean_smaller: NDArray[np.float64],
    dispersion: float,
) -> NDArray[np.float64]:
    """Return the signed root of the likelihood ratio of the larger side, given the smaller."""
    x, alpha = larger / dispersion, SHAPE + smaller / dispersion
    expected = mean_larger / dispersion * alpha / (SHAPE + mean_smaller / dispersion)
    safe = np.maximum(x, 1e-12)
    ratio = safe * np.log(safe / expected) - (x + alpha) * np.log((x + alpha) / (expected + alpha))
    return np.where(x > expected, np.sqrt(np.maximum(2.0 * ratio, 0.0)), 0.0)


class Chain(NamedTuple):
    """All votes of the session in order of time: what the market does."""

    times_ns: NDArray[np.int64]
    sums: NDArray[np.float64]  # (n + 1, 4) calls' bid and ask, puts' bid and ask


def make_chain(tape: Tape, known: Known, votes: NDArray[np.float64]) -> Chain:
    """Return the session's `votes` (n, 2) in order of time, by type and side."""
    order = np.argsort(tape.instant_ns, kind="stable")
    kinds = known.types[tape.option[order]]
    split = np.zeros((len(order) + 1, 4))
    for kind in range(2):
        split[1:, 2 * kind : 2 * kind + 2] = votes[order] * (kinds == kind)[:, None]
    return Chain(tape.instant_ns[order], np.cumsum(split, axis=0))


def chain_votes(
    chain: Chain, start_ns: NDArray[np.int64], end_ns: NDArray[np.int64]
) -> NDArray[np.float64]:
    """Return the chain's votes in (start, end], (n, 4)."""
    start = np.searchsorted(chain.times_ns, start_ns, side="right")
    stop = np.searchsorted(chain.times_ns, end_ns, side="right")
    votes: NDArray[np.float64] = chain.sums[stop] - chain.sums[start]
    return votes


def market_factors(
    known: Known,
    option: NDArray[np.int64],
    own: NDArray[np.float64],
    chain: NDArray[np.float64],
    activity_s: NDArray[np.float64],
) -> NDArray[np.float64]:
    """Return the market's factor of each side (n, 2), the option itself left out."""
    total = known.votes_s.sum()
    of_type = np.array([known.votes_s[known.types == kind].sum() for kind in range(2)])
    mine, kind = known.votes_s[option], known.types[option]
    others = np.maximum(chain.sum(axis=1) - own.sum(axis=1), 0.0)
    level = (others + MARKET_PRIOR) / ((total - mine) * activity_s + MARKET_PRIOR)
    half = (of_type[kind] - mine) * activity_s / 2.0
    factor = np.empty((len(option), 2))
    for side in range(2):
        votes = np.take_along_axis(chain, (2 * kind + side)[:, None], axis=1)[:, 0] - own[:, side]
        factor[:, side] = (np.maximum(votes, 0.0) + MARKET_PRIOR * level) / (half + MARKET_PRIOR)
    return np.clip(factor, 0.1, 30.0)
