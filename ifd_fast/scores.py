"""The scorer's arrays: allocated, grown, given a session's history, and emptied of signals."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any, Final

import numpy as np

from ifd_fast.alignment import grow_rows
from ifd_fast.errors import IfdError
from ifd_fast.ranking import Ranking, unknown_ranking
from ifd_kernels import score_state
from ifd_kernels.layout import KIND_CALL, KIND_PUT, NEED_SIGNALS, NEED_VOTES, UNDEF_PRICE
from ifd_kernels.neighbours import SILENT
from ifd_kernels.score_state import (
    BESTS,
    COLUMNS,
    CURSORS,
    EVIDENCE,
    MOST_VOTES,
    NEIGHBOURS,
    NEVER,
    ROWS,
    SAID_SECONDS,
    SAID_SLOTS,
    VOTE,
    Score,
)
from ifd_kernels.scoring import refresh_family, score_record
from ifd_kernels.signals import CELL_NONE, EXPECTED, PROFILE, SIGNAL
from ifd_kernels.votes import open_session

if TYPE_CHECKING:
    from numpy.typing import NDArray

    from ifd_fast.profiles import Profile

__all__ = [
    "add_slots",
    "allocate_score",
    "begin_session",
    "bury_slots",
    "find_neighbours",
    "grow_score",
    "profile_row",
    "score_one",
    "set_expected",
    "take_signals",
    "unknown_expected",
]

SECOND_NS: Final = 1_000_000_000
# A busy hour of 600 strikes makes some 10,000 entries; the log doubles when it has to.
LOG_CAPACITY: Final = 16_384
SIGNALS_CAPACITY: Final = 1_024
SEASON_BINS: Final = 276

# Arrays with one row a slot: their value in a slot nothing is known of yet.
_BY_SLOT: Final[dict[str, int]] = {
    "windows": 0,
    "blocks": 0,
    "today": 0,
    "volumes": 0,
    "paired": 0,
    "newest": -1,
    "dirty": 0,
    "is_dirty": 0,
    "moved": 0,
    "logged": 0,
    "marks": 0,
    "told_marks": 0,
    "active": 0,
    "began_ns": 0,
    "ended_ns": -NEVER,
    "reached": 0,
    "due_ns": -NEVER,
    "best": 0,
    "grain_s": 0,
    "neighbours": -1,
    "leans": SILENT,
}


_LIVING: Final = (score_state.TAIL + score_state.TAILS - 1, score_state.HEAD)  # entries, cursors
_SUMS_OF_SLOT: Final = ("windows", "blocks", "today", "volumes", "paired")  # of entries in the log


def profile_row(profile: Profile) -> NDArray[np.void]:
    """Return the profile's scoring keys as PROFILE (1,)."""
    row = np.zeros(1, PROFILE)
    for name in PROFILE.names or ():
        if not name.endswith("_ns"):
            row[name] = getattr(profile, name)
    row["cooldown_ns"] = round(profile.cooldown_s * SECOND_NS)
    row["scoring_interval_ns"] = round(profile.scoring_interval_s * SECOND_NS)
    return row


def unknown_expected(slots: int) -> NDArray[np.void]:
    """Return EXPECTED (slots,) of slots without any history."""
    expected = np.zeros(slots, EXPECTED)
    expected["cell"] = CELL_NONE
    return expected


def allocate_score(
    profile: Profile,
    slots: int,
    log_capacity: int = LOG_CAPACITY,
    signals_capacity: int = SIGNALS_CAPACITY,
) -> Score:
    """Return the state of a scorer that has seen nothing and has no history.

    Raises
    ------
    ValueError
        If `log_capacity` is no power of two, or `signals_capacity` is below 2.
    """
    if log_capacity < 1 or log_capacity & (log_capacity - 1):
        raise ValueError(f"`log_capacity` must be a power of two, was {log_capacity}. Use 16384.")
    if signals_capacity < 2:
        raise ValueError(f"`signals_capacity` must be at least 2, was {signals_capacity}.")
    ranking = unknown_ranking()
    score = Score(
        log=np.zeros(log_capacity, VOTE),
        windows=np.zeros((slots, 4, COLUMNS), np.int32),
        blocks=np.zeros((slots, 5, 2), np.int32),
        today=np.zeros((slots, 3), np.int32),
        volumes=np.zeros((slots, 2), np.int64),
        paired=np.zeros(slots, np.int32),
        chain=np.zeros((2, 4, 2), np.int64),
        newest=np.full(slots, -1, np.int64),
        dirty=np.zeros(slots, np.int32),
        is_dirty=np.zeros(slots, np.uint8),
        mids=np.full((score_state.MARKS_KEPT, slots), UNDEF_PRICE, np.int64),
        moved=np.zeros(slots, np.int8),
        logged=np.zeros(slots, np.int8),
        marks=np.zeros(slots, np.uint16),
        told_marks=np.zeros(slots, np.uint16),
        active=np.zeros((slots, 2), np.uint8),
        began_ns=np.zeros((slots, 2), np.int64),
        ended_ns=np.full((slots, 2), _BY_SLOT["ended_ns"], np.int64),
        reached=np.zeros((slots, 2), np.uint8),
        due_ns=np.full((slots, 2, 2), _BY_SLOT["due_ns"], np.int64),
        best=np.zeros((slots, 2, BESTS), np.float64),
        scratch=np.zeros(EVIDENCE, np.float64),
        grain_s=np.zeros(slots, np.int8),
        neighbours=np.full((slots, NEIGHBOURS), -1, np.int32),
        leans=np.full(slots, SILENT, np.int32),
        leant=np.zeros(score_state.LEANT_PLACES, np.int64),
        shares=np.zeros(5, np.float64),
        levels=np.zeros(2, np.float64),
        said=np.zeros((_words(slots), SAID_SECONDS, 2), np.int64),
        said_second=np.full(SAID_SECONDS, -1, np.int64),
        steps=np.zeros(MOST_VOTES, np.int64),
        cursor=np.zeros(CURSORS, np.int64),
        expected=unknown_expected(slots),
        season=np.linspace(0.0, 1.0, SEASON_BINS + 1),
        ranks=ranking.ranks,
        limits=ranking.limits,
        profile=profile_row(profile),
        signals=np.zeros(signals_capacity, SIGNAL),
    )
    score.cursor[score_state.KEPT] = NEVER
    open_session(score, 0, 0)
    return score


def add_slots(score: Score, slots: int) -> Score:
    """Return the state with room for `slots` slots; the new ones have no history."""
    before = len(score.newest)
    if slots <= before:
        return score
    grown: dict[str, Any] = {
        name: grow_rows(getattr(score, name), slots, fill) for name, fill in _BY_SLOT.items()
    }
    mids = np.full((score_state.MARKS_KEPT, slots), UNDEF_PRICE, np.int64)
    mids[:, :before] = score.mids
    expected = grow_rows(score.expected, slots, unknown_expected(1)[0])
    said = grow_rows(score.said, _words(slots))
    return score._replace(mids=mids, expected=expected, said=said, **grown)


def _words(slots: int) -> int:
    """Return how many words of SAID_SLOTS bits hold one bit a slot."""
    return -(-slots // SAID_SLOTS)


def bury_slots(score: Score, slots: NDArray[np.int64], grave: int) -> None:
    """Make `slots` (k,) those of instruments without flow; what counts in the market's still does.

    Entries of the log, and the sums they will be taken out of as they grow old, go to the slot
    `grave`, which no record reaches and nobody scores.
    """
    oldest, head = (int(score.cursor[at]) for at in _LIVING)
    entries = np.arange(oldest, head) & (len(score.log) - 1)
    buried = entries[np.isin(score.log["slot"][entries], slots)]
    score.log["slot"][buried] = grave
    score.log["previous"][buried] = -1
    sums = [getattr(score, name)[slots].sum(axis=0) for name in _SUMS_OF_SLOT]
    for name, fill in _BY_SLOT.items():
        if name != "dirty":  # a list of slots, not one row a slot
            getattr(score, name)[slots] = fill
    for name, moved in zip(_SUMS_OF_SLOT, sums, strict=True):
        getattr(score, name)[grave] += moved
    for slot in slots.tolist():
        score.said[slot // SAID_SLOTS] &= ~(np.int64(1) << np.int64(slot % SAID_SLOTS))
    score.mids[:, slots] = UNDEF_PRICE
    score.expected[slots] = unknown_expected(1)[0]


def grow_score(score: Score, status: int) -> Score:
    """Return the state with twice the room a kernel asked for.

    Raises
    ------
    IfdError
        If the status names nothing the scorer can grow.
    """
    if status == NEED_VOTES:
        return score._replace(log=_grow_log(score))
    if status == NEED_SIGNALS:
        signals = np.zeros(2 * len(score.signals), SIGNAL)
        signals[: len(score.signals)] = score.signals
        return score._replace(signals=signals)
    raise IfdError(f"The scorer can't mend status {status}; it grows on NEED_VOTES, NEED_SIGNALS.")


def _grow_log(score: Score) -> NDArray[np.void]:
    """Return the log at twice its capacity, each entry where its sequence number puts it."""
    capacity = len(score.log)
    log = np.zeros(2 * capacity, VOTE)
    cursor = score.cursor
    oldest = min(
        int(cursor[score_state.TAIL + score_state.TAILS - 1]), int(cursor[score_state.KEPT])
    )
    living = np.arange(oldest, int(cursor[score_state.HEAD]))
    log[living & (2 * capacity - 1)] = score.log[living & (capacity - 1)]
    return log


def begin_session(
    score: Score,
    open_ns: int,
    season: NDArray[np.float64],
    observed_from_ns: int = 0,
    ranking: Ranking | None = None,
) -> Score:
    """Return the state for a session: all flow and episodes forgotten, its history in force.

    `season` (b + 1,): the share of a session's votes before each 300 s bin since the open, and 1.
    `observed_from_ns`: since when its flow is known; before, nothing is expected of the day.
    `ranking`: what residuals are worth; None: nothing is known of it, and nothing alerts.

    Raises
    ------
    ValueError
        If the season is not finite, falls, or has no bin.
    """
    if len(season) < 2 or not np.isfinite(season).all() or (np.diff(season) < 0).any():
        raise ValueError(f"`season` must be finite, never falling, of 2 or more; was {season!r}.")
    open_session(score, open_ns, observed_from_ns)
    known = ranking or unknown_ranking()
    return score._replace(
        season=np.array(season, np.float64),  # copies: they may be read-only
        ranks=np.array(known.ranks, np.float64),
        limits=known.limits.copy(),
    )


def set_expected(
    score: Score,
    expected: NDArray[np.void],
    identities: NDArray[np.void],
    first: int = 0,
) -> None:
    """Write what is expected of the slots from `first` on, and count who can be scored.

    `expected` (k,) of EXPECTED is of slots first to first + k, which are then all the slots there
    are; call it at a session's open, and for each slot that opens or changes its identity.
    """
    slots = first + len(expected)
    score.expected[first:slots] = expected
    score.neighbours[:slots] = find_neighbours(identities[:slots])
    refresh_family(score, identities, slots)


def find_neighbours(identities: NDArray[np.void]) -> NDArray[np.int32]:
    """Return the slots (n, 4) of the strikes -2, -1, 1, 2 of each option's type and expiry."""
    found = np.full((len(identities), NEIGHBOURS), -1, np.int32)
    kind = identities["kind"]
    option = ((kind == KIND_CALL) | (kind == KIND_PUT)) & (identities["mapped"] == 1)
    option &= (identities["retired"] == 0) & (identities["strike_1e9"] != UNDEF_PRICE)
    slots = np.flatnonzero(option)
    part = identities[slots]
    keys = ("strike_1e9", "kind", "expiration_ns", "underlying_slot")
    order = np.lexsort([part[key] for key in keys])
    slots, part = slots[order], part[order]
    for place, step in enumerate((-2, -1, 1, 2)):
        far = abs(step)
        low, high = slice(None, -far), slice(far, None)
        same = np.ones(max(len(slots) - far, 0), bool)
        for key in keys[1:]:
            same &= part[key][low] == part[key][high]
        here, there = (high, low) if step < 0 else (low, high)
        found[slots[here][same], place] = slots[there][same]
    return found


def take_signals(score: Score) -> NDArray[np.void]:
    """Return the signals since the last call, SIGNAL (k,), by instant, instrument, buys first."""
    count = int(score.cursor[ROWS])
    signals = score.signals[:count].copy()
    score.cursor[ROWS] = 0
    order = np.lexsort((-signals["side"], signals["instrument_id"], signals["instant_ns"]))
    return signals[order]


def score_one(
    profile: NDArray[np.void],
    expected: NDArray[np.void],
    *,
    bid_volume: int,
    ask_volume: int,
    trades: int,
    kind: int,
    share: float = 1 / SEASON_BINS,
    marks: int = 0,
    ranking: Ranking | None = None,
) -> NDArray[np.void]:
    """Judge one 300 s window by itself; return its SIGNAL (1,), whatever the verdict.

    `profile` (1,) PROFILE, `expected` (1,) EXPECTED; `share` of a session's votes that usually
    falls into the window.

    Raises
    ------
    ValueError
        If a count is negative or beyond 2**53, where it can't be weighed exactly.
    """
    counts = {"bid_volume": bid_volume, "ask_volume": ask_volume, "trades": trades}
    for name, value in counts.items():
        if not 0 <= value <= 2**53:
            raise ValueError(f"`{name}` must be from 0 to 2**53, was {value}.")
    out = np.zeros(1, SIGNAL)
    known = ranking or unknown_ranking()
    window = (bid_volume, ask_volume, trades, kind, float(share), marks)
    score_record(*window, expected, profile, known.ranks, known.limits, out)
    return out
