"""A session's flow as the scorer was given it, ready for rules other than the scorer's own.

One row a hand-over of one option, sorted by option and instant. Rolling sums at every row need
one cumulative sum and one search, so that a rule over a whole session is a handful of passes.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Final, NamedTuple

import numpy as np

if TYPE_CHECKING:
    import polars as pl
    from numpy.typing import NDArray

__all__ = ["Rows", "Tape", "cut_episodes", "make_tape", "rolling", "top_rows", "votes_of"]

SECOND_NS: Final = 1_000_000_000
GAP_NS: Final = 300 * SECOND_NS
_SPAN_NS: Final = 2**47  # 39 h: no session is as long


class Tape(NamedTuple):
    """Hand-overs of k options, n rows sorted by (option, instant, second)."""

    ids: NDArray[np.uint32]  # (k,) sorted
    twin: NDArray[np.int64]  # (k,) place of the other leg of the strike, -1: none
    option: NDArray[np.int64]  # (n,) place in `ids`
    instant_ns: NDArray[np.int64]  # (n,)
    second: NDArray[np.int64]
    bid: NDArray[np.int64]  # contracts that hit the bid, new at this instant
    ask: NDArray[np.int64]
    open_ns: int
    close_ns: int


class Rows(NamedTuple):
    """What a rule says at some rows of a tape: a score for one side, (n,) each."""

    option: NDArray[np.int64]
    side: NDArray[np.int8]
    instant_ns: NDArray[np.int64]
    score: NDArray[np.float64]


def make_tape(handovers: pl.DataFrame, options: pl.DataFrame, open_ns: int, close_ns: int) -> Tape:
    """Return the tape of `handovers` of the options listed in `options`.

    `handovers`: instant_ns, second, instrument_id, bid_volume, ask_volume. `options`:
    instrument_id, option_type, strike, expiration, underlying; each instrument once.
    """
    listed = options.sort("instrument_id")
    ids = listed["instrument_id"].to_numpy().astype(np.uint32)
    found = handovers["instrument_id"].to_numpy()
    place = np.minimum(np.searchsorted(ids, found), max(len(ids) - 1, 0))
    known = ids[place] == found if len(ids) else np.zeros(len(found), np.bool_)
    columns = [
        handovers[name].to_numpy()[known].astype(np.int64)
        for name in ("instant_ns", "second", "bid_volume", "ask_volume")
    ]
    option = place[known].astype(np.int64)
    order = np.lexsort((columns[1], columns[0], option))
    instant, second, bid, ask = (column[order] for column in columns)
    return Tape(ids, _twins(listed), option[order], instant, second, bid, ask, open_ns, close_ns)


def _twins(listed: pl.DataFrame) -> NDArray[np.int64]:
    """Return the place of each option's other leg, -1 where there is none."""
    legs = listed.select("underlying", "expiration", "strike", "option_type").rows()
    places = {leg: place for place, leg in enumerate(legs)}
    other = {"C": "P", "P": "C"}
    return np.array([places.get((*leg[:3], other.get(leg[3], "")), -1) for leg in legs], np.int64)


def _keys(tape: Tape, times_ns: NDArray[np.int64]) -> NDArray[np.int64]:
    bounded = np.clip(times_ns - tape.open_ns, -1, _SPAN_NS - 2) + 1
    keys: NDArray[np.int64] = tape.option * _SPAN_NS + bounded
    return keys


def rolling(tape: Tape, values: NDArray[np.float64], window_s: float) -> NDArray[np.float64]:
    """Return at each row the sum of its option's `values` in (t - window_s, t]; (n, ...) each."""
    keys = _keys(tape, tape.instant_ns)
    before = np.zeros((len(values) + 1, *values.shape[1:]))
    np.cumsum(values, axis=0, out=before[1:])
    start = np.searchsorted(
        keys, _keys(tape, tape.instant_ns - round(window_s * SECOND_NS)), side="right"
    )
    stop = np.searchsorted(keys, keys, side="right")
    sums: NDArray[np.float64] = before[stop] - before[start]
    return sums


def votes_of(tape: Tape, cap: int, slot_s: int = 1, *, paired: bool = True) -> NDArray[np.float64]:
    """Return each row's new votes (n, 2), bid and ask: contracts, at most `cap` a clock slot.

    With `paired`, a side's votes of a second are dropped where the twin had flow on it too.
    """
    votes = np.zeros((len(tape.option), 2))
    group = tape.option * _SPAN_NS + tape.second // slot_s
    order = np.argsort(group, kind="stable")
    fresh = np.append(True, group[order][1:] != group[order][:-1])[: len(order)]
    for side, contracts in enumerate((tape.bid, tape.ask)):
        total = np.cumsum(contracts[order])
        start = np.where(fresh, total - contracts[order], 0)
        base = np.maximum.accumulate(start)
        after = np.minimum(total - base, cap)
        before = np.minimum(total - contracts[order] - base, cap)
        votes[order, side] = after - before
        if paired:
            votes[_is_paired(tape, contracts), side] = 0.0
    return votes


def _is_paired(tape: Tape, contracts: NDArray[np.int64]) -> NDArray[np.bool_]:
    """Return the rows whose twin has contracts on the same side in the same second."""
    mine = tape.option * _SPAN_NS + tape.second
    active = np.unique(mine[contracts > 0])
    twin = tape.twin[tape.option]
    wanted = twin * _SPAN_NS + tape.second
    found: NDArray[np.bool_] = (twin >= 0) & np.isin(wanted, active)
    return found


def cut_episodes(rows: Rows, threshold: float) -> NDArray[np.int64]:
    """Return the first row of each episode, sorted by option, side, instant.

    Rows at or above the threshold, of one option and side, less than 300 s apart, are one.
    """
    (above,) = np.nonzero(rows.score >= threshold)
    above = above[np.lexsort((rows.instant_ns[above], rows.side[above], rows.option[above]))]
    if len(above) == 0:
        return above
    option, side, instant = rows.option[above], rows.side[above], rows.instant_ns[above]
    begins = np.ones(len(above), np.bool_)
    same = (option[1:] == option[:-1]) & (side[1:] == side[:-1])
    begins[1:] = ~same | (np.diff(instant) >= GAP_NS)
    return above[begins]


def top_rows(rows: Rows, episodes: int) -> Rows:
    """Return the rows above the lowest threshold at which no more than about `episodes` begin.

    So files stay small, and every threshold above it can still be tried.
    """
    finite = rows.score[np.isfinite(rows.score)]
    if len(finite) == 0 or len(cut_episodes(rows, float(finite.min()))) <= episodes:
        return rows
    ranked = np.unique(finite)
    low, high = 0, len(ranked) - 1  # at `high` few enough begin, at `low` too many
    while high - low > 1:
        middle = (low + high) // 2
        if len(cut_episodes(rows, float(ranked[middle]))) <= episodes:
            high = middle
        else:
            low = middle
    kept = rows.score >= ranked[high]
    return Rows(*(column[kept] for column in rows))
