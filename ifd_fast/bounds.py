"""How much could be found: a rule that knows the rates, and one that knows when and how long too.

`knows_rates` is the rule of the simulation study with the generator's own rates in place of
estimates: expected votes of each option from the truth (usual rate, this session's factor, the
season), the rest as in the rule: surprise of the larger side given the other, over three ways to
count votes and four windows, ranked among null sessions by expected votes.

`clairvoyant` asks the same of the very span of each planted episode, for every option and side:
it need not search in time. Both are tuned to the false alerts of null sessions like all others.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Any, Final, NamedTuple

import numpy as np

from ifd_fast.known_rates import (
    Known,
    activity_between,
    chain_votes,
    make_chain,
    market_factors,
    surprise,
)
from ifd_fast.null_ranks import MAX_BIN, MIN_BIN, Peaks, Ranks, rank_values
from ifd_fast.tapes import Rows, Tape, rolling, votes_of

if TYPE_CHECKING:
    from numpy.typing import NDArray

__all__ = [
    "CHANNELS",
    "Counted",
    "Found",
    "count_votes",
    "find_peaks",
    "rank_rows",
    "rank_span",
    "span_peaks",
    "span_surprises",
    "surprises",
]

SECOND_NS: Final = 1_000_000_000
WINDOWS_S: Final = (60, 300, 900, 1800)
CONCENTRATION: Final = 0.4
MIN_MEAN: Final = 1e-4  # votes
LEAST: Final = 1.0  # surprises below are no peaks

# slots of one contract, seconds; the last channel counts up to ten a second
CHANNELS: Final = (("a", 1, 1, 1.5), ("b5", 1, 5, 1.4), ("b15", 1, 15, 1.3), ("b60", 1, 60, 1.0),
                   ("c", 10, 1, 4.0))  # fmt: skip


def _bins(mean: NDArray[np.float64]) -> NDArray[np.int64]:
    half_decades = np.floor(2.0 * np.log10(np.maximum(mean, MIN_MEAN)))
    bounded: NDArray[np.int64] = np.clip(half_decades, MIN_BIN, MAX_BIN).astype(np.int64)
    return bounded - MIN_BIN


class Found(NamedTuple):
    """One channel and window of a tape: each row's side, surprise and expected votes."""

    channel: int
    window: int
    option: NDArray[np.int64]
    side: NDArray[np.int8]
    instant_ns: NDArray[np.int64]
    surprise: NDArray[np.float64]
    mean: NDArray[np.float64]  # of the larger side


def _weigh(
    votes: NDArray[np.float64], mean: NDArray[np.float64], dispersion: float
) -> tuple[NDArray[np.int8], NDArray[np.float64], NDArray[np.float64]]:
    """Return side, surprise and the larger side's mean of `votes` (n, 2) of `mean` (n, 2)."""
    larger, smaller = votes.max(axis=1), votes.min(axis=1)
    buys = votes[:, 1] > votes[:, 0]
    mean_larger = np.maximum(np.where(buys, mean[:, 1], mean[:, 0]), MIN_MEAN)
    mean_smaller = np.maximum(np.where(buys, mean[:, 0], mean[:, 1]), MIN_MEAN)
    found = surprise(larger, smaller, mean_larger, mean_smaller, dispersion)
    gate = larger - smaller >= CONCENTRATION * (larger + smaller)
    return np.where(buys, 1, -1).astype(np.int8), np.where(gate, found, 0.0), mean_larger


def _channel_votes(tape: Tape, known: Known, channel: int) -> NDArray[np.float64]:
    """Return the votes (n, 2) of one channel; 0 for options that don't use it."""
    _, cap, slot, _ = CHANNELS[channel]
    votes = votes_of(tape, cap, slot)
    if slot > 1:
        votes[known.slot_s[tape.option] != slot] = 0.0
    return votes


def _channel_ratios(
    tape: Tape, known: Known, votes: NDArray[np.float64], base: NDArray[np.float64], channel: int
) -> NDArray[np.float64]:
    """Return each option's votes of this channel a vote of the first channel, (k,), by tier."""
    if channel == 0:
        return np.ones(len(tape.ids))
    ratios = np.ones(len(tape.ids))
    for slot in np.unique(known.slot_s):
        chosen = known.slot_s == slot
        rows = chosen[tape.option]
        ratios[chosen] = (votes[rows].sum() + 1.0) / (base[rows].sum() + 1.0)
    return ratios


def surprises(tape: Tape, known: Known) -> list[Found]:
    """Return every channel and window's surprises at every hand-over."""
    counted = count_votes(tape, known)
    base = counted.votes[0]
    chain = make_chain(tape, known, base)
    found = []
    instant = tape.instant_ns
    spans = []
    for seconds in WINDOWS_S:
        start = instant - seconds * SECOND_NS
        activity = activity_between(known, start, instant)
        own = rolling(tape, base, seconds)
        factor = market_factors(
            known, tape.option, own, chain_votes(chain, start, instant), activity
        )
        half = known.votes_s[tape.option] * activity / 2.0
        spans.append(half[:, None] * factor)
    for channel, (_, _, slot, dispersion) in enumerate(CHANNELS):
        votes, ratios = counted.votes[channel], counted.ratios[channel]
        for window, seconds in enumerate(WINDOWS_S):
            if slot >= 15 and seconds == 60:
                continue
            sums = rolling(tape, votes, seconds)
            mean = spans[window] * ratios[tape.option, None]
            side, value, larger = _weigh(sums, mean, dispersion)
            kept = value > LEAST
            if slot > 1:
                kept &= known.slot_s[tape.option] == slot
            found.append(
                Found(channel, window, tape.option[kept], side[kept], instant[kept], value[kept],
                      larger[kept])
            )  # fmt: skip
    return found


def find_peaks(tape: Tape, known: Known, found: list[Found]) -> Peaks:
    """Return the strongest surprise of each option, side and block of a null session."""
    exposure = np.zeros((len(CHANNELS), len(WINDOWS_S), MAX_BIN - MIN_BIN + 1))
    parts: list[list[NDArray[Any]]] = [[], [], [], []]
    for one in found:
        span_ns = WINDOWS_S[one.window] * SECOND_NS
        blocks = max((tape.close_ns - tape.open_ns) // span_ns, 1)
        _expose(tape, known, one, blocks, span_ns, exposure)
        block = np.clip((one.instant_ns - tape.open_ns) // span_ns, 0, blocks - 1)
        group = (one.option * 2 + (one.side > 0)) * blocks + block
        order = np.lexsort((-one.surprise, group))
        first = np.append(True, np.diff(group[order]) != 0)[: len(order)]
        best = order[first]
        bins = _bins(one.mean[best])
        for part, values in zip(
            parts,
            (np.full(len(best), one.channel), np.full(len(best), one.window), bins,
             one.surprise[best]),
            strict=True,
        ):  # fmt: skip
            part.append(values)
    channel, window, bins, value = (np.concatenate(part) for part in parts)
    return Peaks(
        channel.astype(np.int8), window.astype(np.int8), bins.astype(np.int8), value, exposure
    )


def _expose(
    tape: Tape, known: Known, one: Found, blocks: int, span_ns: int, out: NDArray[np.float64]
) -> None:
    """Count options, sides and blocks by bin, at the expected votes without market factors."""
    chosen = np.ones(len(tape.ids), np.bool_)
    if CHANNELS[one.channel][2] > 1:
        chosen = known.slot_s == CHANNELS[one.channel][2]
    starts = tape.open_ns + np.arange(blocks) * span_ns
    activity = activity_between(known, starts, starts + span_ns)
    mean = known.votes_s[chosen][:, None] * activity[None, :] / 2.0
    np.add.at(out[one.channel, one.window], _bins(mean).ravel(), 2.0)


def rank_rows(found: list[Found], ranks: Ranks) -> Rows:
    """Return the largest rank over channels and windows at each hand-over, decades."""
    keys, sides, instants, values = [], [], [], []
    for one in found:
        bins = _bins(one.mean)
        ranked = np.zeros(len(bins))
        for number in np.unique(bins):
            chosen = bins == number
            place = (one.channel, one.window, int(number))
            ranked[chosen] = rank_values(ranks, place, one.surprise[chosen])
        kept = ranked > 1.0
        keys.append(one.option[kept])
        sides.append(one.side[kept])
        instants.append(one.instant_ns[kept])
        values.append(ranked[kept])
    option, side, instant, value = (
        np.concatenate(part) for part in (keys, sides, instants, values)
    )
    order = np.lexsort((np.negative(value), instant, side, option))
    option, side, instant, value = option[order], side[order], instant[order], value[order]
    same = (np.diff(option) == 0) & (np.diff(side) == 0) & (np.diff(instant) == 0)
    first = np.append(True, ~same)[: len(option)]
    return Rows(option[first], side[first], instant[first], value[first])


class Counted(NamedTuple):
    """A tape's votes (n, 2) by channel, and each option's ratio to the first channel's (k,)."""

    votes: list[NDArray[np.float64]]
    ratios: list[NDArray[np.float64]]


def count_votes(tape: Tape, known: Known) -> Counted:
    """Return the votes of all channels; they are the same for every span."""
    votes = [_channel_votes(tape, known, channel) for channel in range(len(CHANNELS))]
    ratios = [
        _channel_ratios(tape, known, one, votes[0], channel) for channel, one in enumerate(votes)
    ]
    return Counted(votes, ratios)


def span_surprises(
    tape: Tape, known: Known, counted: Counted, start_ns: int, end_ns: int
) -> tuple[NDArray[np.float64], NDArray[np.float64]]:
    """Return each option and side's surprise in one span, by channel: (channels, k, 2) each.

    The second array has the expected votes.
    """
    rows = (tape.second * SECOND_NS >= start_ns - SECOND_NS) & (tape.second * SECOND_NS < end_ns)
    size = len(tape.ids)
    options = np.arange(size)
    activity = np.full(size, activity_between(known, np.array([start_ns]), np.array([end_ns]))[0])
    own = _by_option(tape, counted.votes[0], rows, size)
    kinds = np.stack([own[known.types == kind].sum(axis=0) for kind in range(2)]).reshape(1, 4)
    factor = market_factors(known, options, own, np.repeat(kinds, size, axis=0), activity)
    span = (known.votes_s * activity / 2.0)[:, None] * factor
    values = np.zeros((len(CHANNELS), size, 2))
    means = np.full((len(CHANNELS), size, 2), MIN_MEAN)
    for channel, (_, _, slot, dispersion) in enumerate(CHANNELS):
        sums = _by_option(tape, counted.votes[channel], rows, size)
        mean = np.maximum(span * counted.ratios[channel][:, None], MIN_MEAN)
        used = np.ones(size, np.bool_) if slot == 1 else known.slot_s == slot
        for side in range(2):
            other = 1 - side
            found = surprise(sums[:, side], sums[:, other], mean[:, side], mean[:, other],
                             dispersion)  # fmt: skip
            values[channel, :, side] = np.where(used, found, 0.0)
        means[channel] = mean
    return values, means


def _by_option(
    tape: Tape, votes: NDArray[np.float64], rows: NDArray[np.bool_], size: int
) -> NDArray[np.float64]:
    """Return the votes of the chosen rows by option and side, (k, 2)."""
    return np.stack(
        [np.bincount(tape.option[rows], votes[rows, side], size) for side in range(2)], axis=1
    )


def _duration_class(start_ns: int, end_ns: int) -> int:
    """Return the shortest window that holds a span; it stands for the window in tables."""
    seconds = (end_ns - start_ns) / SECOND_NS
    return min(int(np.searchsorted(WINDOWS_S, seconds)), len(WINDOWS_S) - 1)


def span_peaks(tape: Tape, known: Known, counted: Counted, start_ns: int, end_ns: int) -> Peaks:
    """Return every option and side's surprise in one span of a null session."""
    values, means = span_surprises(tape, known, counted, start_ns, end_ns)
    window = _duration_class(start_ns, end_ns)
    bins = _bins(means)
    exposure = np.zeros((len(CHANNELS), len(WINDOWS_S), MAX_BIN - MIN_BIN + 1))
    for channel, (_, _, slot, _) in enumerate(CHANNELS):
        used = np.ones(len(tape.ids), np.bool_) if slot == 1 else known.slot_s == slot
        np.add.at(exposure[channel, window], bins[channel][used].ravel(), 1.0)
    at, option, side = np.nonzero(values > LEAST)
    return Peaks(
        at.astype(np.int8),
        np.full(len(at), window, np.int8),
        bins[at, option, side].astype(np.int8),
        values[at, option, side],
        exposure,
    )


def rank_span(
    tape: Tape, known: Known, counted: Counted, start_ns: int, end_ns: int, ranks: Ranks
) -> NDArray[np.float64]:
    """Return each option and side's rank in one span (k, 2), decades: the best channel's."""
    values, means = span_surprises(tape, known, counted, start_ns, end_ns)
    window, bins = _duration_class(start_ns, end_ns), _bins(means)
    best = np.zeros((len(tape.ids), 2))
    for channel in range(len(CHANNELS)):
        for number in np.unique(bins[channel]):
            chosen = (bins[channel] == number) & (values[channel] > LEAST)
            ranked = rank_values(ranks, (channel, window, int(number)), values[channel][chosen])
            best[chosen] = np.maximum(best[chosen], ranked)
    return best
